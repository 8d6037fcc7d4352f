"""The commands in deploy/ are ones that the programs take, and their ports, hosts and files are those beside them."""

from __future__ import annotations

import asyncio
import dataclasses
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import httpx
import pytest

from conveyor.cli import VERBS, root
from conveyor.verbs.gateway import command as gateway_command
from schema.loading import shipped_lines
from serving.gateway.model_config_file import FLAGS as LED_BY_FILE
from serving.gateway.rest_proxy import RestProxy
from serving.model_server import flags as serving_flags
from serving.model_server.access import Access
from serving.model_server.hooks import NoHooks
from serving.model_server.metrics import Metrics
from serving.model_server.tokens import TokenFile
from tests.deploy.deployed import (
    JOB,
    LINE,
    ROOT,
    Document,
    compose,
    containers,
    documents,
    expanded,
    overlay,
    pod,
    the,
)

PLACES = ("compose", "dev", "prod")


@dataclasses.dataclass(frozen=True)
class Deployed:
    """How the two servers are started in one place.

    Attributes:
        gateway: the gateway's arguments.
        serving: TensorFlow Serving's, without the model config file, which start.sh adds.
        serving_host: where the gateway finds it.
        published: the ports that clients reach: port of the gateway to the one that it is published at.
    """

    gateway: list[str]
    serving: list[str]
    serving_host: str
    published: dict[int, int]


def deployed(place: str) -> Deployed:
    if place == "compose":
        services = compose()["services"]
        ports = (one.split(":")[-2:] for one in services["gateway"]["ports"])
        return Deployed(
            services["gateway"]["command"],
            services["tensorflow-serving"]["command"],
            "tensorflow-serving",
            {int(inside): int(outside) for outside, inside in ports},
        )
    manifests = overlay(place)
    both = containers(the(manifests, "Deployment"))
    ports = {port["name"]: port["containerPort"] for port in both["gateway"]["ports"]}
    service = the(manifests, "Service", "model-server")
    return Deployed(
        [expanded(one) for one in both["gateway"]["args"]],
        both["tensorflow-serving"]["args"],
        "127.0.0.1",
        {ports[port["targetPort"]]: port["port"] for port in service["spec"]["ports"]},
    )


def given(arguments: list[str]) -> dict[str, Any]:
    """Returns what `conveyor` would be called with; fails where it does not take the arguments."""
    verb, *rest = arguments
    assert verb in VERBS
    found = root.get_command(click.Context(root), verb)
    assert found is not None
    return found.make_context(verb, rest).params


@pytest.mark.parametrize("place", PLACES)
def test_the_gateway_is_started_with_flags_that_it_has(place: str) -> None:
    one = deployed(place)
    assert one.gateway[0] == gateway_command.name
    params = given(one.gateway)
    assert params["line"] == LINE and LINE in shipped_lines()
    # In a container of its own or behind a Service, nobody reaches 127.0.0.1.
    assert params["host"] == "0.0.0.0"
    assert one.published == {params["port"]: 8500, params["rest_port"]: 8501}
    assert params["verify"] is None, "digests are compared, as the line config says"
    assert params["environment"] == ("prod" if place == "prod" else None)
    # Options that are defaults today could be others tomorrow.
    named = {argument.partition("=")[0] for argument in one.gateway}
    assert {"--host", "--port", "--rest-port", "--upstream", "--rest-upstream", "--model-config"} <= named


@pytest.mark.parametrize("place", PLACES)
def test_tensorflow_serving_is_started_with_flags_that_it_has(place: str) -> None:
    one = deployed(place)
    # The embedded server takes TensorFlow Serving's flags, and some of its own, which are not for here.
    parsed = serving_flags.parse([*one.serving, "--model_config_file=/config/models.config"])
    own = {field.name for field in dataclasses.fields(serving_flags.Flags) if field.metadata.get("ours")}
    names = {argument.removeprefix("--").partition("=")[0] for argument in one.serving}
    assert not names & own
    assert set(LED_BY_FILE) <= set(one.serving)
    assert parsed.enable_grpc_healthcheck_service
    params = given(one.gateway)
    assert params["upstream"] == f"{one.serving_host}:{parsed.port}"
    assert params["rest_upstream"] == f"{one.serving_host}:{parsed.rest_api_port}"
    if one.serving_host == "127.0.0.1":
        # They share a network, and TensorFlow Serving listens on every address.
        assert len({parsed.port, parsed.rest_api_port, params["port"], params["rest_port"]}) == 4


def probed(place: str) -> set[str]:
    """Returns the paths that the gateway is asked for by those who look after it."""
    if place == "compose":
        test = compose()["services"]["gateway"]["healthcheck"]["test"]
        return {re.sub(r".*http://127\.0\.0\.1:8501(/\w+).*", r"\1", test[-1])}
    gateway = containers(the(overlay(place), "Deployment"))["gateway"]
    probes = [gateway[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")]
    assert {probe["port"] for probe in probes} == {"http"}
    return {probe["path"] for probe in probes}


@pytest.mark.parametrize("place", PLACES)
def test_the_gateway_answers_its_probes_without_a_token(place: str, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("read some-token\n")
    tokens.chmod(0o400)
    models = SimpleNamespace(ready=True)
    app = RestProxy(
        None,
        models,  # type: ignore[arg-type]
        None,  # type: ignore[arg-type]
        access=Access(tokens=TokenFile(tokens)),
        hooks=NoHooks(),
        metrics=Metrics(),
    )

    async def ask(path: str) -> int:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return (await client.get(path)).status_code

    answers = {path: asyncio.run(ask(path)) for path in probed(place)}
    assert set(answers.values()) == {200} and "/readyz" in answers
    models.ready = False
    assert asyncio.run(ask("/readyz")) == 503
    assert asyncio.run(ask("/healthz")) == 200


def start_of(serving: Document) -> list[str]:
    return list(serving.get("entrypoint") or serving["command"])


def test_the_files_of_tensorflow_serving_are_where_its_flags_say() -> None:
    serving = compose()["services"]["tensorflow-serving"]
    mounted = {volume.split(":")[1] for volume in serving["volumes"]}
    (monitoring,) = (one.partition("=")[2] for one in serving["command"] if one.startswith("--monitoring_config_file="))
    assert {monitoring, start_of(serving)[1]} <= mounted

    manifests = overlay("prod")
    deployment = the(manifests, "Deployment")
    serving = containers(deployment)["tensorflow-serving"]
    (monitoring,) = (one.partition("=")[2] for one in serving["args"] if one.startswith("--monitoring_config_file="))
    volumes = {one["name"]: one for one in pod(deployment)["volumes"]}
    folder = {one["mountPath"]: volumes[one["name"]] for one in serving["volumeMounts"]}[str(Path(monitoring).parent)]
    (files,) = (
        one["data"]
        for one in manifests
        if one["kind"] == "ConfigMap" and one["metadata"]["name"] == folder["configMap"]["name"]
    )
    assert files.keys() == {Path(monitoring).name, Path(start_of(serving)[1]).name}


def test_the_verbs_of_the_jobs_and_the_documentation_are_ones_that_are_there() -> None:
    job = containers(documents(JOB)[0])["conveyor"]
    assert given(job["args"])["line"] == LINE
    guide = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
    for command in re.findall(r"(?:run --rm conveyor|-- conveyor) ([a-z]+ [^`\n#]*)", guide):
        assert given(command.split())["line"] == LINE
    (verb,) = re.findall(r"sed 's/\\\[run, taxi\\\]/\[(.*?)\]/'", guide)
    assert f"args: [{', '.join(job['args'])}]" in JOB.read_text(encoding="utf-8"), "what that sed looks for"
    assert given([word.strip('" ') for word in verb.split(",")])["line"] == LINE


def test_the_documentation_names_files_that_are_there() -> None:
    guide = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
    for path in re.findall(r"\b((?:deploy|tests)/[\w./-]+)", guide):
        assert (ROOT / path.rstrip(".")).exists(), path
    for path in re.findall(r"^\| `([\w./-]+)`(?:, `([\w./-]+)`)? \|", guide.partition("## The image")[0], re.M):
        assert all((ROOT / "deploy" / one).exists() for one in path if one), path
