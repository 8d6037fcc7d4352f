"""The servers that are measured, each a process of its own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

from benchmarks.commands import ROOT, CommandFailed

START_SECONDS = 120.0


class Server:
    """A server that runs.

    Args:
        process: its process.
        addresses: `grpc` and `rest` to host:port, as far as it has them.
    """

    def __init__(self, process: subprocess.Popen[bytes], addresses: Mapping[str, str]) -> None:
        self.process = process
        self.addresses = dict(addresses)
        self._processes = psutil.Process(process.pid)

    def cpu_seconds(self) -> float:
        """Returns the user and system time that it has taken so far."""
        times = self._processes.cpu_times()
        return float(times.user + times.system)

    def resident_mib(self) -> float:
        """Returns its resident memory in MiB."""
        return float(self._processes.memory_info().rss / 2**20)


@contextmanager
def running(
    module: str,
    args: Sequence[str],
    log: Path,
    env: Mapping[str, str] | None = None,
    addresses: Mapping[str, str] | None = None,
) -> Iterator[Server]:
    """Runs a server of this environment's Python, and ends it.

    Args:
        module: the module to run.
        args: its arguments.
        log: gets what it prints.
        env: laid over the present environment.
        addresses: where it listens once it is ready; by default it prints that as a JSON document.

    Raises:
        CommandFailed: it did not start.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    answers = log.with_suffix(".json")
    with log.open("wb") as errors, answers.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *args],
            cwd=ROOT,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", **(env or {})},
            stdout=output,
            stderr=errors,
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while (found := _printed(answers) if addresses is None else _open(addresses)) is None:
            if process.poll() is not None or time.monotonic() > deadline:
                raise CommandFailed(f"{process.args} must start. Its last words:\n{log.read_text()[-2000:]}")
            time.sleep(0.1)
        yield Server(process, found)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _printed(answers: Path) -> Mapping[str, str] | None:
    try:
        found: dict[str, str] = json.loads(answers.read_text())
    except ValueError:
        return None
    return found


def _open(addresses: Mapping[str, str]) -> Mapping[str, str] | None:
    for address in addresses.values():
        host, _, port = address.rpartition(":")
        try:
            socket.create_connection((host, int(port)), 1.0).close()
        except OSError:
            return None
    return addresses
