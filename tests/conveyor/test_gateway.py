"""`conveyor gateway`, and `conveyor serve` with TensorFlow Serving's program, as a user runs them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from click.testing import CliRunner

from conveyor.cli import main
from conveyor.verbs.gateway import command
from serving.capture.reader import CaptureLog
from serving.client import Client
from tests.serving.gateway.conftest import Behind
from tests.serving.line_server.conftest import ToyLine, until
from tests.serving.model_server.toy_models import ToyModels

ROOT = Path(__file__).parents[2]
SECONDS = 120
"""For what needs TensorFlow started, on a busy machine."""


class Process:
    """A `conveyor` process that serves the toy line.

    Attributes:
        line: its ledger and its models.
        address: what it has printed.
    """

    def __init__(self, folder: Path, models: ToyModels, **serving: Any) -> None:
        self.home = folder / "home"
        self.line = ToyLine(self.home / "toy", models)
        (self.home / "toy" / "runs").mkdir(parents=True)
        self.config = folder / "line.yaml"
        self.address: dict[str, Any] = {}
        self.log = folder / "stderr"
        self._process: subprocess.Popen[str] | None = None
        self._path = os.environ["PATH"]
        self.write(**serving)

    def write(self, **serving: Any) -> None:
        """Writes the line config."""
        line = {"name": "toy", "task": "regression", "label": {"name": "y"}, "examples": {"input": "t.csv"}}
        self.config.write_text(yaml.safe_dump({**line, "serving": serving}))

    def command(self, *words: str) -> subprocess.Popen[str]:
        """Starts `conveyor` with a verb and its options."""
        verb, *options = words
        return subprocess.Popen(
            [sys.executable, "-m", "conveyor", verb, str(self.config), "--port=0", "--rest-port=0", *options],
            env={**os.environ, "CONVEYOR_HOME": str(self.home), "PYTHONPATH": str(ROOT), "PATH": self._path},
            stdout=subprocess.PIPE,
            stderr=self.log.open("a"),
            text=True,
        )

    def start(self, *words: str) -> None:
        """Starts it and waits until it has printed where it is."""
        self._process = self.command(*words, "--json")
        assert self._process.stdout is not None
        text = ""
        for line in self._process.stdout:
            text += line
            try:
                self.address = json.loads(text)
            except ValueError:
                continue
            return
        raise AssertionError(self.log.read_text())

    def ask(self, **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        url = f"http://{self.address['rest']}/v1/models/toy:predict"
        return httpx.post(url, json={"instances": [0.0]}, headers=named, timeout=60)

    def get(self, path: str) -> int:
        return httpx.get(f"http://{self.address['rest']}{path}", timeout=60).status_code

    def put_on_path(self, folder: Path) -> None:
        self._path = f"{folder}{os.pathsep}{os.environ['PATH']}"

    def end(self) -> int:
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(60)

    def kill(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self._process.kill()


@pytest.fixture(scope="session")
def toy_models(tmp_path_factory: pytest.TempPathFactory) -> ToyModels:
    return ToyModels(tmp_path_factory.mktemp("toy-models"))


@pytest.fixture
def process(tmp_path: Path, toy_models: ToyModels, monkeypatch: pytest.MonkeyPatch) -> Iterator[Process]:
    monkeypatch.setenv("CONVEYOR_HOME", str(tmp_path / "home"))
    process = Process(tmp_path, toy_models)
    yield process
    process.kill()


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A folder with a `tensorflow_model_server`: the embedded server takes the same flags."""
    path = tmp_path / "bin" / "tensorflow_model_server"
    path.parent.mkdir()
    path.write_text(f'#!/bin/sh\nexec {sys.executable} -m serving.model_server.main "$@"\n')
    path.chmod(0o755)
    return path.parent


def test_a_gateway_over_its_life(process: Process) -> None:
    behind = Behind(process.line.base)
    try:
        rest = str(behind.upstream.rest)
        process.start("gateway", "--upstream", behind.upstream.grpc, "--rest-upstream", rest)
        assert process.address["model"] == "toy" and process.address["version"] is None
        assert (process.get("/healthz"), process.get("/readyz")) == (200, 503)
        process.line.push(1)
        until(lambda: process.get("/readyz") == 200)
        answer = process.ask(x_request_id="first", x_caller_key="ada")
        assert (answer.json(), answer.headers["x-request-id"]) == ({"predictions": [1.0]}, "first")
        with Client("toy", process.address["grpc"]) as client:
            assert [status.version for status in client.status()] == [1]
        process.line.push(2)
        assert main(["canary", "toy", "--version", "1", "--share", "1", "--json"]) == 0
        until(lambda: process.ask().json() == {"predictions": [1.0]})
        assert process.end() == 0
        captured = {one.metadata.capture.request_id: one for one in CaptureLog(process.home / "toy" / "capture").read()}
        assert captured["first"].metadata.capture.caller_key == "ada" and captured["first"].version == 1
    finally:
        behind.stop()


@pytest.mark.slow
def test_tensorflow_servings_program_follows_the_ledger_behind_a_gateway(
    process: Process, program: Path, tmp_path: Path
) -> None:
    (tmp_path / "tokens").write_text("read secret\n")
    (tmp_path / "tokens").chmod(0o600)
    process.write(tokens_file="tokens")
    process.put_on_path(program)
    process.line.push(1)
    process.start("serve")
    token = "Bearer secret"
    assert process.address["version"] == 1
    assert process.ask().status_code == 401
    assert process.ask(authorization=token).json() == {"predictions": [1.0]}
    # What asks for no token is told of.
    assert "answers REST on port" in process.log.read_text()

    failures, stop = [], threading.Event()

    def hammer() -> None:
        while not stop.is_set():
            answer = process.ask(authorization=token)
            if answer.status_code != 200:
                failures.append(answer.text)

    def answers(value: float) -> bool:
        return process.ask(authorization=token).json() == {"predictions": [value]}

    thread = threading.Thread(target=hammer)
    thread.start()
    process.line.push(2)
    until(lambda: answers(2.0), SECONDS)
    process.line.rollback()
    until(lambda: answers(1.0))
    process.line.canary(2, 1.0)
    until(lambda: answers(2.0))
    stop.set()
    thread.join()
    assert not failures
    assert process.end() == 0
    assert len(list(CaptureLog(process.home / "toy" / "capture").read())) > 3


@pytest.mark.slow
def test_a_model_that_is_not_the_released_one_is_refused(
    process: Process, program: Path, toy_models: ToyModels
) -> None:
    process.put_on_path(program)
    process.line.push(1)
    shutil.rmtree(process.line.base / "1")
    toy_models.write(process.line.base, 1, offset=9.0)
    running = process.command("serve", "--backend=tensorflow_model_server")
    assert running.wait(SECONDS) == 1
    text = process.log.read_text()
    assert "version 1, which is live" in text and "must be the model that was released" in text
    assert "Traceback" not in text


@pytest.mark.slow
def test_the_end_of_the_program_is_told(process: Process, program: Path) -> None:
    (program / "tensorflow_model_server").write_text("#!/bin/sh\necho last words >&2\nexit 7\n")
    process.put_on_path(program)
    process.line.push(1)
    running = process.command("serve", "--no-verify")
    assert running.wait(SECONDS) == 1
    text = process.log.read_text()
    assert "last words" in text and "tensorflow_model_server ended with exit code 7" in text


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "--upstream"),
        (["--upstream=x:y"], "must be HOST:PORT"),
        (["--upstream=127.0.0.1:1", "--rest-upstream=http://x"], "must be HOST:PORT"),
        (["--upstream=127.0.0.1:1", "--model-base-path=/models"], "--model-config"),
        (["--upstream=127.0.0.1:1", "--port=99999"], "99999"),
        (["--upstream=127.0.0.1:8500"], "which is the gateway's own"),
        (["--upstream=127.0.0.1:1", "--rest-upstream=[::1]:8501"], "which is the gateway's own"),
    ],
)
def test_wrong_options_are_usage_errors(
    process: Process, options: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["gateway", str(process.config), *options]) == 2
    assert words in capsys.readouterr().err


def test_its_options_are_those_that_deployments_use() -> None:
    result = CliRunner().invoke(command, ["--help"])
    options = (
        "--upstream --rest-upstream --host --port --rest-port --model-config --model-base-path --no-verify --env --json"
    )
    assert all(option in result.output for option in options.split())
