"""The model server as a process, for tests."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import httpx
import psutil

PATIENCE = 300.0
ROOT = Path(__file__).resolve().parents[3]


def free_ports(count: int) -> list[int]:
    """Returns TCP ports of the loopback that are free, no two of them the same."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [one.getsockname()[1] for one in sockets]


class ServerProcess:
    """`python -m serving.model_server.main` on free ports of the loopback. A context manager, which kills it.

    Args:
        flags: besides `--host`, `--port` and `--rest_api_port`.
        program: what Python is to run.

    Attributes:
        grpc: gRPC's address.
        rest: REST's URL.
        process: the process.
        lines: what it has written to stderr so far.
    """

    def __init__(self, *flags: str, program: tuple[str, ...] = ("-m", "serving.model_server.main")) -> None:
        port, rest_port = free_ports(2)
        self.grpc = f"127.0.0.1:{port}"
        self.rest = f"http://127.0.0.1:{rest_port}"
        arguments = ["--host=127.0.0.1", f"--port={port}", f"--rest_api_port={rest_port}", *flags]
        self.lines: list[str] = []
        self._more = threading.Condition()
        self.process = subprocess.Popen(
            [sys.executable, *program, *arguments],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._ended = False

    def until(self, words: str) -> ServerProcess:
        """Returns itself once it has written these words.

        Raises:
            AssertionError: it has ended without.
        """
        with self._more:
            came = self._more.wait_for(lambda: self._ended or any(words in line for line in self.lines), PATIENCE)
            assert came and any(words in line for line in self.lines), "".join(self.lines)
        return self

    def until_ready(self) -> ServerProcess:
        """Returns itself once both ports are open."""
        return self.until("Exporting HTTP/REST API")

    def predict(self, instance: float = 0.0, model: str = "m") -> httpx.Response:
        """Asks a toy model for `instance / 2 + offset`."""
        return httpx.post(f"{self.rest}/v1/models/{model}:predict", json={"instances": [instance]}, timeout=PATIENCE)

    def worked(self) -> float:
        """Returns for how many seconds its threads have worked so far."""
        times = psutil.Process(self.process.pid).cpu_times()
        return times.user + times.system

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Sends a signal, and returns the exit code."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        """Returns the exit code once it has ended and all that it wrote is in `lines`."""
        code = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return code

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._more:
                self.lines.append(line)
                self._more.notify_all()
        with self._more:
            self._ended = True
            self._more.notify_all()

    def __enter__(self) -> ServerProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.wait()
