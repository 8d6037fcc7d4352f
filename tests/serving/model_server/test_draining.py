"""The life of a server as a process, of signals above all. Each server is a process of its own, without TensorFlow."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from typing import Any

import pytest

_HEAD = """
import asyncio, sys, threading
from serving.model_server.draining import serve_until_signal

def say(word):
    print(word, flush=True)

def load():
    say("load")

async def start():
    say("start")

async def stop(grace):
    say(f"stop {grace:g}")
"""

_RUN = """
asyncio.run(serve_until_signal(load=load, start=start, stop=stop, grace=7))
say("end")
"""


class Process:
    def __init__(self, middle: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _HEAD + textwrap.dedent(middle) + _RUN],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def says(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def rest(self) -> tuple[int, list[str], str]:
        """Returns the exit code, what it says until then, and its stderr."""
        out, err = self._process.communicate(timeout=60)
        return self._process.returncode, out.splitlines(), err

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def process(request: Any) -> Iterator[Process]:
    process = Process(request.param)
    yield process
    process.kill()


def body(text: str) -> Any:
    return pytest.mark.parametrize("process", [text], indirect=True, ids=["process"])


@body("")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_well(process: Process, number: signal.Signals) -> None:
    assert [process.says(), process.says()] == ["load", "start"]
    process.signal(number)
    assert process.rest() == (0, ["stop 7", "end"], "")


@body(
    """
    async def stop(grace):
        say("stop")
        await asyncio.sleep(1000)
    """
)
def test_a_second_signal_ends_it_at_once(process: Process) -> None:
    assert [process.says(), process.says()] == ["load", "start"]
    process.signal(signal.SIGTERM)
    assert process.says() == "stop"
    process.signal(signal.SIGTERM)
    assert process.rest() == (128 + signal.SIGTERM, [], "")


@body(
    """
    stopped = threading.Event()

    def load():
        say("load")
        stopped.wait()
        raise ValueError("given up")

    async def stop(grace):
        say("stop")
        stopped.set()
    """
)
def test_a_signal_ends_a_load(process: Process) -> None:
    """Nothing is opened then, and how the load ends does not count."""
    assert process.says() == "load"
    process.signal(signal.SIGTERM)
    assert process.rest() == (0, ["stop", "end"], "")


@body(
    """
    def load():
        raise ValueError("no model")
    """
)
def test_a_load_that_fails(process: Process) -> None:
    code, said, error = process.rest()
    assert (code, said) == (1, ["stop 7"])
    assert error.endswith("ValueError: no model\n")


@body(
    """
    async def start():
        raise ValueError("no port")
    """
)
def test_a_start_that_fails(process: Process) -> None:
    code, said, error = process.rest()
    assert (code, said) == (1, ["load", "stop 7"])
    assert error.endswith("ValueError: no port\n")


@body(
    """
    import gc

    async def start():
        say("frozen" if gc.get_freeze_count() else "not frozen")
    """
)
def test_what_is_loaded_is_not_looked_through_again(process: Process) -> None:
    """A pause of the garbage collector over TensorFlow's modules would keep all requests waiting."""
    assert [process.says(), process.says()] == ["load", "frozen"]
