"""The Kubernetes manifests: valid, wired to each other and to the code, and locked down."""

from __future__ import annotations

import shutil
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml

from pipeline.state import State
from schema.loading import load_line
from serving.line_server.binary import CONFIG, IMAGE
from serving.model_server.draining import GRACE_SECONDS
from tests.deploy.deployed import (
    JOB,
    KUBERNETES,
    LINE,
    OVERLAYS,
    ROOT,
    Document,
    containers,
    documents,
    expanded,
    overlay,
    pod,
    the,
)

VERSIONS = ("1.29", "1.32")


@pytest.fixture(scope="module", params=OVERLAYS)
def manifests(request: pytest.FixtureRequest) -> list[Document]:
    """The manifests of an overlay as they are applied."""
    return overlay(request.param)


@pytest.fixture(scope="module")
def prod() -> list[Document]:
    return overlay("prod")


def base() -> list[Document]:
    """The manifests of the base as they are written, for machines that cannot build them."""
    names = yaml.safe_load((KUBERNETES / "base" / "kustomization.yaml").read_text())["resources"]
    return [one for name in names if name.endswith(".yaml") for one in documents(KUBERNETES / "base" / name)]


def mounts(container: Document, pod_spec: Document) -> dict[str, tuple[Document, Document]]:
    """Returns path to mount and volume."""
    volumes = {one["name"]: one for one in pod_spec["volumes"]}
    return {one["mountPath"]: (one, volumes[one["name"]]) for one in container["volumeMounts"]}


def test_every_file_is_used() -> None:
    for kustomization in KUBERNETES.rglob("kustomization.yaml"):
        text = kustomization.read_text(encoding="utf-8")
        for file in kustomization.parent.iterdir():
            if file.is_file() and file != kustomization:
                assert file.name in text, f"{file.relative_to(ROOT)} is in no kustomization"


@pytest.mark.parametrize("version", VERSIONS)
def test_they_are_valid(manifests: list[Document], version: str) -> None:
    kubernetes_validate = pytest.importorskip("kubernetes_validate", reason="pip install kubernetes-validate")
    for one in [*manifests, *documents(JOB)]:
        kubernetes_validate.validate(one, version, strict=True)


def test_the_base_has_what_a_model_server_needs() -> None:
    kinds = sorted(one["kind"] for one in base())
    assert kinds == [
        "Deployment",
        "HorizontalPodAutoscaler",
        "NetworkPolicy",
        "PersistentVolumeClaim",
        "PodDisruptionBudget",
        "Service",
        "Service",
        "ServiceAccount",
    ]


def test_what_names_another_names_one_that_is_there(manifests: list[Document]) -> None:
    deployment = the(manifests, "Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    spec = pod(deployment)
    ports = {
        port["name"]: port["containerPort"] for one in containers(deployment).values() for port in one.get("ports", [])
    }
    config_maps = {one["metadata"]["name"] for one in manifests if one["kind"] == "ConfigMap"}

    selectors = [
        deployment["spec"]["selector"]["matchLabels"],
        the(manifests, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
    ]
    selectors += [one["spec"]["selector"] for one in manifests if one["kind"] == "Service"]
    selectors += [one["spec"]["selector"]["matchLabels"] for one in manifests if one["kind"] == "PodDisruptionBudget"]
    selectors += [one["labelSelector"]["matchLabels"] for one in spec["topologySpreadConstraints"]]
    assert all(selector.items() <= labels.items() for selector in selectors)
    # The pods of the Job are none of the server's.
    assert not selectors[0].items() <= documents(JOB)[0]["spec"]["template"]["metadata"]["labels"].items()

    for one in manifests:
        if one["kind"] == "Service":
            assert {port["targetPort"] for port in one["spec"]["ports"]} == {"grpc", "http"}
            assert all(port["port"] == ports[port["targetPort"]] for port in one["spec"]["ports"])
        if one["kind"] == "HorizontalPodAutoscaler":
            assert one["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
            scaled_by = {metric["containerResource"]["container"] for metric in one["spec"]["metrics"]}
            assert scaled_by == {name for name, container in containers(deployment).items() if "ports" in container}
    for container in containers(deployment).values():
        for variable in container.get("env", []):
            if "valueFrom" in variable:
                assert variable["valueFrom"]["configMapKeyRef"]["name"] in config_maps
    for volume in spec["volumes"]:
        if "configMap" in volume:
            assert volume["configMap"]["name"] in config_maps
        if "persistentVolumeClaim" in volume:
            assert (
                volume["persistentVolumeClaim"]["claimName"]
                == the(manifests, "PersistentVolumeClaim")["metadata"]["name"]
            )
    assert spec["serviceAccountName"] == the(manifests, "ServiceAccount")["metadata"]["name"]


def test_they_are_in_one_namespace(manifests: list[Document]) -> None:
    namespace = the(manifests, "Namespace")["metadata"]
    assert namespace["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert {one["metadata"]["namespace"] for one in manifests if one["kind"] != "Namespace"} == {namespace["name"]}


def test_the_containers_are_locked_down(manifests: list[Document]) -> None:
    for workload in (the(manifests, "Deployment"), documents(JOB)[0]):
        spec = pod(workload)
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True and spec["securityContext"]["runAsUser"] > 0
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
        assert not any("hostPath" in volume for volume in spec["volumes"])
        for container in containers(workload).values():
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            for kind in ("requests", "limits"):
                assert container["resources"][kind].keys() == {"cpu", "memory", "ephemeral-storage"}
    assert the(manifests, "ServiceAccount")["automountServiceAccountToken"] is False


def test_nobody_reaches_tensorflow_serving_but_prometheus(manifests: list[Document]) -> None:
    deployment = the(manifests, "Deployment")
    own = {port["containerPort"] for port in containers(deployment)["tensorflow-serving"]["ports"]}
    metrics = next(
        port["containerPort"]
        for port in containers(deployment)["tensorflow-serving"]["ports"]
        if port["name"] == "upstream-http"
    )
    policy = the(manifests, "NetworkPolicy")["spec"]
    assert set(policy["policyTypes"]) == {"Ingress", "Egress"} and not policy.get("egress")
    open_to_clients = set()
    for rule in policy["ingress"]:
        assert rule["from"], "an empty list lets everybody in"
        numbers = {port["port"] for port in rule["ports"]}
        assert not numbers & (own - {metrics})
        if any("podSelector" in peer for peer in rule["from"]):
            open_to_clients |= numbers
    if the(manifests, "Namespace")["metadata"]["name"] == "conveyor-prod":
        assert open_to_clients == {8500, 8501}


def test_the_paths_are_those_of_the_state(manifests: list[Document]) -> None:
    deployment = the(manifests, "Deployment")
    spec = pod(deployment)
    gateway, serving = containers(deployment)["gateway"], containers(deployment)["tensorflow-serving"]
    (line,) = (
        one["data"]["name"] for one in manifests if one["kind"] == "ConfigMap" and one["metadata"]["name"] == "line"
    )
    assert line == LINE
    state = State(Path("/state") / line, line)
    seen_by_gateway, seen_by_serving = mounts(gateway, spec), mounts(serving, spec)

    mount, volume = seen_by_gateway["/state"]
    assert mount["readOnly"] is True and "persistentVolumeClaim" in volume
    mount, volume = seen_by_gateway[str(state.capture)]
    assert not mount.get("readOnly") and "persistentVolumeClaim" in volume
    assert expanded(mount["subPathExpr"]) == str(state.capture.relative_to("/state"))

    mount, volume = seen_by_serving["/models"]
    assert mount["readOnly"] is True and "persistentVolumeClaim" in volume
    (base_path,) = (expanded(one) for one in gateway["args"] if one.startswith("--model-base-path="))
    inside = PurePosixPath(base_path.partition("=")[2]).relative_to("/models")
    assert PurePosixPath("/state") / expanded(mount["subPathExpr"]) / inside == PurePosixPath(state.base_path(None))

    made = containers(deployment)["folders"]["command"][2:]
    assert set(map(expanded, made)) == {str(state.capture), str(state.base_path(None).parent)}

    # The gateway writes the file that TensorFlow Serving reads, and nobody else can.
    assert f"--model-config=/config/{CONFIG}" in gateway["args"]
    assert seen_by_gateway["/config"][1] == seen_by_serving["/config"][1]
    assert seen_by_serving["/config"][0]["readOnly"] is True and not seen_by_gateway["/config"][0].get("readOnly")


def test_it_drains(manifests: list[Document]) -> None:
    spec = pod(the(manifests, "Deployment"))
    (gateway,) = spec["containers"]
    pause = float(gateway["lifecycle"]["preStop"]["exec"]["command"][1])
    assert spec["terminationGracePeriodSeconds"] > pause + GRACE_SECONDS
    # Kubernetes ends sidecars after the containers, so that the gateway still has its upstream; it also starts them
    # before, and a startup probe would then wait for a file that the gateway writes.
    folders, serving = spec["initContainers"]
    assert "restartPolicy" not in folders
    assert serving["restartPolicy"] == "Always"
    assert "startupProbe" not in serving
    assert "--enable_grpc_healthcheck_service=true" in serving["args"]
    grpc_port = serving["livenessProbe"]["grpc"]["port"]
    assert f"--port={grpc_port}" in serving["args"]


def test_the_image_of_tensorflow_serving_is_the_one_that_conveyor_serve_takes(manifests: list[Document]) -> None:
    assert containers(the(manifests, "Deployment"))["tensorflow-serving"]["image"] == IMAGE


def test_a_change_of_a_mounted_file_makes_new_pods(manifests: list[Document]) -> None:
    for one in manifests:
        if one["kind"] == "ConfigMap" and one["metadata"]["name"] != "line":
            assert one["metadata"]["name"].rpartition("-")[0] in ("tensorflow-serving", "line-config")


def test_prod_survives_the_loss_of_a_node(prod: list[Document]) -> None:
    assert the(prod, "HorizontalPodAutoscaler")["spec"]["minReplicas"] >= 3
    assert the(prod, "PodDisruptionBudget")["spec"]["maxUnavailable"] == 1
    assert the(prod, "PersistentVolumeClaim")["spec"]["accessModes"] == ["ReadWriteMany"]
    assert "replicas" not in the(prod, "Deployment")["spec"], "a new apply would undo what the autoscaler did"
    assert the(prod, "Deployment")["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


def test_dev_is_one_pod() -> None:
    dev = overlay("dev")
    assert the(dev, "Deployment")["spec"]["replicas"] == 1
    assert not {"HorizontalPodAutoscaler", "PodDisruptionBudget"} & {one["kind"] for one in dev}
    assert the(dev, "PersistentVolumeClaim")["spec"]["accessModes"] == ["ReadWriteOnce"]


def test_the_config_of_prod_is_valid_and_names_what_is_mounted(prod: list[Document], tmp_path: Path) -> None:
    deployment = the(prod, "Deployment")
    gateway = containers(deployment)["gateway"]
    seen = mounts(gateway, pod(deployment))
    mount, volume = seen[f"/opt/conveyor/data/{LINE}/line.prod.yaml"]
    (config,) = (
        one["data"]
        for one in prod
        if one["kind"] == "ConfigMap" and one["metadata"]["name"] == volume["configMap"]["name"]
    )
    assert "--env=prod" in gateway["args"]
    shutil.copy(ROOT / "data" / LINE / "line.yaml", tmp_path)
    (tmp_path / "line.prod.yaml").write_text(config[mount["subPath"]])
    serving = load_line(tmp_path / "line.yaml", environment="prod").line.serving

    assert serving.tls is not None and serving.tokens_file is not None
    files: dict[str, Any] = {serving.tls.certificate: "tls.crt", serving.tls.key: "tls.key"}
    files[serving.tokens_file] = "tokens"
    for path, key in files.items():
        mount, volume = seen[str(PurePosixPath(path).parent)]
        assert PurePosixPath(path).name == key
        # serving/model_server/tokens.py refuses a file that others may read.
        assert mount["readOnly"] is True and volume["secret"]["defaultMode"] == 0o440
    assert serving.capture.retention_days and serving.capture.retention_bytes
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert gateway[probe]["httpGet"]["scheme"] == "HTTPS"
