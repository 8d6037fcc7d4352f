"""compose.yaml: valid, wired to the code, and open to this machine alone."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from pipeline.state import State
from serving.line_server.binary import CONFIG, IMAGE
from serving.model_server.draining import GRACE_SECONDS
from tests.deploy.deployed import DEPLOY, LINE, ROOT, Document, compose

SERVICES: dict[str, Document] = compose()["services"]
SERVERS = {name: one for name, one in SERVICES.items() if "profiles" not in one}


def volumes(service: str) -> dict[str, tuple[str, bool]]:
    """Returns path in the container to what is mounted there, and whether for reading only."""
    found = {}
    for text in SERVICES[service]["volumes"]:
        source, path, *mode = text.split(":")
        found[path] = (source, mode == ["ro"])
    return found


def config(*command: str) -> dict[str, Any]:
    done = subprocess.run(
        [*command, "-f", str(DEPLOY / "compose.yaml"), "--profile", "tools", "config", "--format", "json"],
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")},
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "level=warning" not in done.stderr
    read: dict[str, Any] = json.loads(done.stdout)
    return read


def test_docker_compose_takes_it() -> None:
    docker = shutil.which("docker")
    if docker and subprocess.run([docker, "compose", "version"], capture_output=True).returncode == 0:
        read = config(docker, "compose")
    elif standalone := shutil.which("docker-compose"):
        read = config(standalone)
    else:
        pytest.skip("there is no docker compose (go build -o docker-compose github.com/docker/compose/v2/cmd)")
    assert read["services"].keys() == SERVICES.keys()
    assert read["services"]["gateway"]["command"][:2] == ["gateway", LINE]


def test_the_files_that_are_mounted_are_there() -> None:
    for service in SERVICES:
        for source, _ in volumes(service).values():
            if source.startswith("."):
                assert (DEPLOY / source).exists(), source
            else:
                assert source in compose()["volumes"]
    build = SERVICES["gateway"]["build"]
    assert (DEPLOY / build["context"]).resolve() == ROOT
    assert (ROOT / build["dockerfile"]).is_file()


def test_the_image_of_tensorflow_serving_is_the_one_that_conveyor_serve_takes() -> None:
    assert SERVICES["tensorflow-serving"]["image"] == IMAGE


def test_the_model_server_reads_what_the_gateway_writes() -> None:
    gateway, serving = volumes("gateway"), volumes("tensorflow-serving")
    assert gateway["/config"] == ("model-config", False) and serving["/config"] == ("model-config", True)
    assert f"--model-config=/config/{CONFIG}" in SERVICES["gateway"]["command"]
    # At the same place in both, so that the gateway's base path is TensorFlow Serving's too.
    assert gateway["/state"] == ("state", False) and serving["/state"] == ("state", True)
    assert volumes("conveyor")["/state"] == ("state", False)
    assert not [one for one in SERVICES["gateway"]["command"] if one.startswith("--model-base-path")]
    base_path = State(Path("/state") / LINE, LINE).base_path(None)
    assert PurePosixPath(base_path).is_relative_to("/state")


def test_the_ports_are_this_machines_alone() -> None:
    for name, service in SERVICES.items():
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), f"{name} {port}"
    assert "ports" not in SERVICES["tensorflow-serving"]
    assert SERVICES["tensorflow-serving"]["networks"] == ["back"]
    assert compose()["networks"]["back"] == {"internal": True}


def test_the_servers_are_locked_down() -> None:
    for name, service in SERVERS.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert "mem_limit" in service, name
        assert not {"privileged", "network_mode", "pid"} & service.keys(), name


def test_the_gateway_ends_first_and_drains() -> None:
    # Compose ends a service before those that it depends on.
    assert SERVICES["gateway"]["depends_on"] == ["tensorflow-serving"]
    assert float(SERVICES["gateway"]["stop_grace_period"].rstrip("s")) > GRACE_SECONDS


def test_every_image_has_a_version() -> None:
    for name, service in SERVICES.items():
        assert re.search(r":v?\d+\.\d+\.\d+$", service["image"]), name


def test_the_variables_are_documented() -> None:
    text = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
    guide = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
    variables = dict(re.findall(r"\$\{([A-Z_]+):-([^}]*)\}", text))
    assert variables == dict(re.findall(r"^\| `([A-Z_]+)` \| `([^`]+)` \|", guide, re.M))
