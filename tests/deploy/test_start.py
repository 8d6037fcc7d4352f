"""How TensorFlow Serving is started in a container: after the gateway, with its flags, and so that it ends as told."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.deploy.deployed import DEPLOY

SERVER = """#!/bin/sh
printf '%s\\n' "$@" > "$NOTES.tmp" && mv "$NOTES.tmp" "$NOTES"
if [ -n "${FAILS-}" ]; then exit "$FAILS"; fi
exec sleep 600
"""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts the script with a server that only takes notes; the config file is `models.config`."""
    script = tmp_path / "start.sh"
    text = (DEPLOY / "tensorflow-serving" / "start.sh").read_text()
    assert "/config/models.config" in text
    script.write_text(text.replace("/config/models.config", str(tmp_path / "models.config")))
    server = tmp_path / "bin" / "tensorflow_model_server"
    server.parent.mkdir()
    server.write_text(SERVER)
    server.chmod(0o755)
    started = []

    def run(*flags: str, **variables: str) -> subprocess.Popen[bytes]:
        environment = {"PATH": f"{server.parent}{os.pathsep}{os.environ['PATH']}", "NOTES": str(tmp_path / "notes")}
        process = subprocess.Popen(["sh", script, *flags], env=environment | variables, start_new_session=True)
        started.append(process)
        return process

    yield run
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_it_waits_for_the_gateway_and_passes_the_flags_on(
    start: Callable[..., subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    process = start("--port=8500", "--a flag=with spaces")
    (tmp_path / "models.config").touch()
    # A file that is still empty is not what it waits for.
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.5)
    assert not (tmp_path / "notes").exists()
    (tmp_path / "models.config").write_text("model_config_list {}")
    until((tmp_path / "notes").exists)
    flags = (tmp_path / "notes").read_text().splitlines()
    assert flags == [f"--model_config_file={tmp_path / 'models.config'}", "--port=8500", "--a flag=with spaces"]
    process.terminate()
    assert process.wait(30) == 0
    until(lambda: not alive(process.pid))


def test_it_ends_while_it_waits(start: Callable[..., subprocess.Popen[bytes]], tmp_path: Path) -> None:
    process = start()
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.3)
    process.terminate()
    assert process.wait(30) == 0
    assert not (tmp_path / "notes").exists()


def test_a_server_that_ends_ends_the_container_with_its_code(
    start: Callable[..., subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    (tmp_path / "models.config").write_text("model_config_list {}")
    assert start(FAILS="7").wait(30) == 7
