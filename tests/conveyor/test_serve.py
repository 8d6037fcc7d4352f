"""`conveyor serve` as a user runs it: a process that answers, follows the ledger and drains."""

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
from conveyor.verbs.serve import command
from serving.capture.reader import CaptureLog
from serving.client import Client
from tests.serving.line_server.conftest import ToyLine, until
from tests.serving.model_server.toy_models import ToyModels


class Served:
    """A line that is being served.

    Attributes:
        home: the folder of states.
        line: its ledger and its models.
        address: what it has printed.
    """

    def __init__(self, folder: Path, models: ToyModels, serving: dict[str, Any]) -> None:
        self.home = folder / "home"
        self.line = ToyLine(self.home / "toy", models)
        (self.home / "toy" / "runs").mkdir(parents=True)
        self.config = folder / "line.yaml"
        config = {
            "name": "toy",
            "task": "regression",
            "label": {"name": "y"},
            "examples": {"input": "t.csv"},
            "serving": serving,
        }
        self.config.write_text(yaml.safe_dump(config))
        self.address: dict[str, Any] = {}
        self.process: subprocess.Popen[str] | None = None
        self.log = folder / "stderr"

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "conveyor", "serve", str(self.config), "--port=0", "--rest-port=0", "--json"],
            env={**os.environ, "CONVEYOR_HOME": str(self.home)},
            stdout=subprocess.PIPE,
            stderr=self.log.open("w"),
            text=True,
        )
        assert self.process.stdout is not None
        decoder, text = json.JSONDecoder(), ""
        for line in self.process.stdout:
            text += line
            try:
                self.address = decoder.decode(text)
            except ValueError:
                continue
            return
        raise AssertionError(self.log.read_text())

    def ask(self, **headers: str) -> httpx.Response:
        url = f"http://{self.address['rest']}/v1/models/toy:predict"
        return httpx.post(url, json={"instances": [0.0]}, headers=headers, timeout=60)

    def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@pytest.fixture
def served(tmp_path: Path, toy_models: ToyModels, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setenv("CONVEYOR_HOME", str(tmp_path / "home"))
    served = Served(tmp_path, toy_models, {})
    yield served
    if served.process is not None and served.process.poll() is None:
        served.process.kill()
        served.process.wait()


@pytest.fixture(scope="session")
def toy_models(tmp_path_factory: pytest.TempPathFactory) -> ToyModels:
    return ToyModels(tmp_path_factory.mktemp("toy-models"))


def test_a_line_over_its_life(served: Served) -> None:
    served.line.push(1)
    served.start()
    assert (served.address["model"], served.address["version"]) == ("toy", 1)
    assert httpx.get(f"http://{served.address['rest']}/readyz").status_code == 200
    answer = served.ask(**{"x-request-id": "first", "x-caller-key": "ada"})
    assert (answer.json(), answer.headers["x-request-id"]) == ({"predictions": [1.0]}, "first")
    with Client("toy", served.address["grpc"]) as client:
        assert [status.version for status in client.status()] == [1]

    failures, stop = [], threading.Event()

    def hammer() -> None:
        while not stop.is_set():
            if served.ask().status_code != 200:
                failures.append(1)

    thread = threading.Thread(target=hammer)
    thread.start()
    served.line.push(2)
    until(lambda: served.ask().json() == {"predictions": [2.0]}, 60)
    assert main(["canary", "toy", "--version", "2", "--share", "1", "--json"]) == 0
    assert main(["promote", "toy", "--json"]) == 0
    assert main(["rollback", "toy", "--json"]) == 0
    until(lambda: served.ask().json() == {"predictions": [1.0]}, 60)
    stop.set()
    thread.join()
    assert not failures

    assert served.stop() == 0
    captured = {one.metadata.capture.request_id: one for one in CaptureLog(served.home / "toy" / "capture").read()}
    assert captured["first"].metadata.capture.caller_key == "ada" and captured["first"].version == 1


def test_before_the_first_push_it_is_alive_and_not_ready(served: Served) -> None:
    served.start()
    assert served.address["version"] is None
    probe = f"http://{served.address['rest']}"
    assert httpx.get(f"{probe}/healthz").status_code == 200
    assert httpx.get(f"{probe}/readyz").status_code == 503
    served.line.push(1)
    until(lambda: httpx.get(f"{probe}/readyz").status_code == 200, 60)
    assert served.stop() == 0


def test_a_model_that_is_not_the_released_one_is_refused(served: Served, toy_models: ToyModels) -> None:
    served.line.push(1)
    shutil.rmtree(served.line.base / "1")
    toy_models.write(served.line.base, 1, offset=9.0)
    done = subprocess.run(
        [sys.executable, "-m", "conveyor", "serve", str(served.config), "--port=0", "--rest-port=0"],
        env={**os.environ, "CONVEYOR_HOME": str(served.home)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert "version 1, which is live" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--port", "99999"], "99999"),
        (["--backend", "ovms"], "ovms"),
    ],
)
def test_wrong_options_are_usage_errors(options: list[str], words: str) -> None:
    result = CliRunner().invoke(command, ["taxi", *options])
    assert result.exit_code == 2 and words in result.output
