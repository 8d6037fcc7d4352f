"""The commands of compose.yaml and of the pods as they are, with the embedded server in TensorFlow Serving's place."""

from __future__ import annotations

import contextlib
import os
import shutil
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from serving.capture.reader import CaptureLog
from serving.model_server.metrics import PATH
from tests.deploy.deployed import DEPLOY, LINE, ROOT, overlay
from tests.deploy.test_flags import Deployed, deployed
from tests.serving.line_server.conftest import ToyLine, until
from tests.serving.model_server.certificates import Authority
from tests.serving.model_server.server_process import free_ports
from tests.serving.model_server.toy_models import ToyModels

# What the state is to the gateway in a pod: for reading only, but for the captured requests.
READ_ONLY_STATE = """
mount --bind "$0" "$0" && mount -o remount,bind,ro "$0"
mount --bind "$0/$1/capture" "$0/$1/capture" && mount -o remount,bind,rw "$0/$1/capture"
shift
exec "$@"
"""


class Pod:
    """Both servers on free ports of the loopback, on a state of their own.

    Attributes:
        line: its ledger and its models.
        state: $CONVEYOR_HOME.
        rest: the gateway's REST URL.
        serving_rest: that of the server behind it.
    """

    def __init__(self, folder: Path, models: ToyModels, commands: Deployed) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.line = ToyLine(self.state / LINE, models)
        self.line.base = self.state / LINE / "serving_model" / LINE
        # As the init container leaves it.
        self.line.base.parent.mkdir(parents=True)
        (self.state / LINE / "capture").mkdir()
        (folder / "config").mkdir()
        shutil.copytree(ROOT / "data" / LINE, folder / "lines" / LINE)
        self._commands = commands
        self._ports = dict(zip(("8500", "8501", "9000", "9001"), map(str, free_ports(4)), strict=True))
        self._started: list[subprocess.Popen[bytes]] = []
        scheme = "https" if "--env=prod" in commands.gateway else "http"
        self.rest = f"{scheme}://127.0.0.1:{self._ports['8501']}"
        self.serving_rest = f"http://127.0.0.1:{self._ports['9001']}"

    def start_serving(self) -> subprocess.Popen[bytes]:
        shim = self.folder / "bin" / "tensorflow_model_server"
        shim.parent.mkdir()
        shim.write_text(f'#!/bin/sh\nexec {sys.executable} -m serving.model_server.main --host=127.0.0.1 "$@"\n')
        shim.chmod(0o755)
        script = self.folder / "start.sh"
        script.write_text(self._here((DEPLOY / "tensorflow-serving" / "start.sh").read_text()))
        # In compose.yaml both servers have ports of the same numbers, each in a container of its own.
        flags = [one.replace("=8500", "=9000").replace("=8501", "=9001") for one in self._commands.serving]
        path = f"{shim.parent}{os.pathsep}{os.environ['PATH']}"
        return self._start(["sh", str(script), *map(self._here, flags)], "serving", PATH=path)

    def start_gateway(self, *, read_only: bool) -> subprocess.Popen[bytes]:
        verb, line, *flags = self._commands.gateway
        flags = [one.replace("tensorflow-serving:8500", "127.0.0.1:9000") for one in flags]
        flags = [one.replace("tensorflow-serving:8501", "127.0.0.1:9001") for one in flags]
        flags = [self._here(one).replace("0.0.0.0", "127.0.0.1") for one in flags]
        command = [sys.executable, "-m", "conveyor", verb, str(self.folder / "lines" / line), *flags]
        if read_only:
            command = ["unshare", "--mount", "sh", "-ec", READ_ONLY_STATE, str(self.state), LINE, *command]
        return self._start(command, "gateway", CONVEYOR_HOME=str(self.state))

    def said(self) -> str:
        return "\n".join((self.folder / f"{name}.log").read_text() for name in ("serving", "gateway"))

    def stop(self) -> None:
        for process in self._started:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, 9)
            process.wait()

    def _here(self, text: str) -> str:
        """Returns a command's text with the paths and ports of this machine in place of the containers'."""
        for there, here in (
            ("/config/", f"{self.folder}/config/"),
            ("/models/", f"{self.line.base.parent}/"),
            ("/opt/tensorflow-serving/", f"{DEPLOY}/tensorflow-serving/"),
            ("/opt/monitoring.config", f"{DEPLOY}/tensorflow-serving/monitoring.config"),
        ):
            text = text.replace(f"={there}", f"={here}")
        for there, here in self._ports.items():
            text = text.replace(f"={there}", f"={here}").replace(f":{there}", f":{here}")
        return text

    def _start(self, command: list[str], name: str, **variables: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                command, cwd=ROOT, env={**os.environ, **variables}, stdout=log, stderr=log, start_new_session=True
            )
        self._started.append(process)
        return process


@pytest.fixture(scope="module")
def toy_models(tmp_path_factory: pytest.TempPathFactory) -> ToyModels:
    return ToyModels(tmp_path_factory.mktemp("toy-models"))


@pytest.fixture
def make_pod(tmp_path: Path, toy_models: ToyModels) -> Iterator[Callable[[str], Pod]]:
    made = []

    def make(place: str) -> Pod:
        made.append(Pod(tmp_path, toy_models, deployed(place)))
        return made[-1]

    yield make
    for pod in made:
        pod.stop()


def can_mount() -> bool:
    return subprocess.run(["unshare", "--mount", "mount", "--bind", "/", "/"], capture_output=True).returncode == 0


def status(client: httpx.Client, path: str) -> int:
    """Returns the status of a page, 0 while nobody listens."""
    try:
        return client.get(path).status_code
    except httpx.TransportError:
        return 0


# Three processes import TensorFlow; where others work too, that takes minutes.
PATIENCE = 400.0


def serve(pod: Pod, options: dict[str, Any], *, read_only: bool) -> None:
    """Takes a pod from its start before the first push over a release to its end."""
    serving, gateway = pod.start_serving(), pod.start_gateway(read_only=read_only)
    with httpx.Client(base_url=pod.rest, timeout=PATIENCE, **options) as client:
        until(lambda: gateway.poll() is not None or status(client, "/healthz") == 200, PATIENCE)
        assert gateway.poll() is None, pod.said()
        assert status(client, "/readyz") == 503
        pod.line.push(1)
        until(lambda: status(client, "/readyz") == 200, PATIENCE)
        answer = client.post(f"/v1/models/{LINE}:predict", json={"instances": [1.0]})
        assert answer.json() == {"predictions": [1.5]}
        pod.line.push(2)
        until(
            lambda: client.post(f"/v1/models/{LINE}:predict", json={"instances": [1.0]}).json() != answer.json(),
            PATIENCE,
        )
        # What Prometheus is told to read, of both.
        for page in (client.get(PATH), httpx.get(pod.serving_rest + PATH, timeout=PATIENCE)):
            assert f':tensorflow:serving:request_count{{model_name="{LINE}",status="OK"}}' in page.text
        if "verify" in options:
            assert httpx.get(f"{pod.rest}{PATH}", verify=options["verify"], timeout=PATIENCE).status_code == 401
    gateway.terminate()
    assert gateway.wait(PATIENCE) == 0
    serving.terminate()
    assert serving.wait(PATIENCE) == 0
    assert {one.version for one in CaptureLog(pod.state / LINE / "capture").read()} == {1, 2}


@pytest.mark.slow
def test_in_the_clear(make_pod: Callable[[str], Pod]) -> None:
    serve(make_pod("compose"), {}, read_only=False)


@pytest.mark.slow
def test_with_tls_and_tokens(make_pod: Callable[[str], Pod], tmp_path: Path) -> None:
    pod = make_pod("prod")
    (config,) = (
        one["data"]["line.prod.yaml"]
        for one in overlay("prod")
        if one["kind"] == "ConfigMap" and "line.prod.yaml" in one["data"]
    )
    secrets = tmp_path / "secrets"
    (pod.folder / "lines" / LINE / "line.prod.yaml").write_text(config.replace("/run/secrets", str(secrets)))
    authority = Authority()
    key, certificate = authority.issue()
    for name, content in (
        ("gateway-tls/tls.key", key),
        ("gateway-tls/tls.crt", certificate),
        ("gateway-tokens/tokens", b"read a-token-of-role-read\n"),
    ):
        (secrets / name).parent.mkdir(parents=True, exist_ok=True)
        (secrets / name).write_bytes(content)
        # As the Secrets are mounted.
        (secrets / name).chmod(0o440)
    trusting = ssl.create_default_context(cadata=authority.pem.decode())
    options = {"verify": trusting, "headers": {"authorization": "Bearer a-token-of-role-read"}}
    serve(pod, options, read_only=can_mount())
