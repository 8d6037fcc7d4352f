"""Loads a server with clients in processes of their own, and does the sums."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.commands import ROOT, CommandFailed
from benchmarks.serving.servers import Server

PROCESSES = 2
"""The clients are spread over so many processes: one Python process alone could not keep two cores busy."""

START_SECONDS = 2.5
"""Until then the clients have started, and what they have asked has warmed the server up."""


@dataclasses.dataclass(frozen=True)
class Load:
    """What clients ask.

    Attributes:
        api: `grpc` or `rest`.
        method: gRPC: the method's path; REST: the URL's.
        body: file with the request.
        clients: how many ask at the same time.
        seconds: for how long.
        requests: how many at most, of all clients together; 0: as many as they can.
        warm_up: whether they ask before the measurement begins.
    """

    api: str
    method: str
    body: Path
    clients: int
    seconds: float
    requests: int = 0
    warm_up: bool = True


@dataclasses.dataclass(frozen=True)
class Answers:
    """What came of it.

    Attributes:
        began: float64 (n,), when each request began, seconds since the epoch; ascending.
        seconds: float64 (n,), how long each took.
        failures: what failed, with its count in front.
        cpu_seconds: processor time that the server took for them.
    """

    began: np.ndarray
    seconds: np.ndarray
    failures: list[str]
    cpu_seconds: float

    @property
    def qps(self) -> float:
        """Requests a second."""
        return len(self.began) / float((self.began + self.seconds).max() - self.began[0])

    def quantile(self, q: float) -> float:
        """Returns a quantile of the latencies in milliseconds."""
        return float(np.quantile(self.seconds, q) * 1e3)

    def figures(self) -> dict[str, float]:
        """Returns the figures of a table's row."""
        return {
            "qps": round(self.qps, 1),
            "p50_ms": round(self.quantile(0.5), 2),
            "p99_ms": round(self.quantile(0.99), 2),
            "server_cpu_us": round(1e6 * self.cpu_seconds / len(self.began), 1),
        }


def ask(server: Server, load: Load, folder: Path, meanwhile: Callable[[float], None] | None = None) -> Answers:
    """Loads a server.

    Args:
        server: the server.
        load: what is asked.
        folder: where the clients write what they saw.
        meanwhile: is called as they start, with the time at which the measurement begins; returns in time.

    Raises:
        CommandFailed: a process of clients failed, or nothing was answered.
    """
    folder.mkdir(parents=True, exist_ok=True)
    count = min(PROCESSES, load.clients)
    begin = time.time() + START_SECONDS if load.warm_up else 0.0
    end = (begin or time.time()) + load.seconds
    processes = [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "benchmarks.serving.load", "--api", load.api, "--method", load.method),
                *("--address", server.addresses[load.api], "--body", str(load.body)),
                *("--clients", str(len(range(number, load.clients, count)))),
                *("--begin", repr(begin), "--seconds", repr(end - begin)),
                *("--requests", str(len(range(number, load.requests, count)))),
                *("--output", str(folder / f"clients-{number}.npz")),
            ],
            cwd=ROOT,
        )
        for number in range(count)
    ]
    time.sleep(max(begin - time.time(), 0))
    before = server.cpu_seconds()
    if meanwhile is not None:
        meanwhile(begin)
    for process in processes:
        if process.wait():
            raise CommandFailed(f"clients of {load.method} must end with exit code 0. Got {process.returncode} instead")
    cpu_seconds = server.cpu_seconds() - before
    parts = [np.load(folder / f"clients-{number}.npz") for number in range(count)]
    began = np.concatenate([part["began"] for part in parts])
    if not len(began):
        raise CommandFailed(f"{load.method}: nothing was answered")
    order = np.argsort(began, kind="stable")
    seconds = np.concatenate([part["seconds"] for part in parts])
    failures = [str(text) for part in parts for text in part["failures"]]
    return Answers(began[order], seconds[order], failures, cpu_seconds)
