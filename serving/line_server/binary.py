"""TensorFlow Serving itself for a line: its command, its life as a child, and the gateway in front of it."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from schema.errors import ConveyorError, UsageError
from serving.client.target import Address
from serving.gateway.model_config_file import FLAGS
from serving.gateway.server import Gateway
from serving.gateway.upstream import Upstream
from serving.line_server.served_line import ServedLine

Backend = Literal["embedded", "tensorflow_model_server", "docker"]
BINARY = "tensorflow_model_server"
IMAGE = "tensorflow/serving:2.19.1"
CONFIG = "models.config"
_IN_IMAGE = Path("/models")
_STOP_SECONDS = 10.0

_log = logging.getLogger(__name__)


def choose_backend(wanted: str) -> Backend:
    """Returns the server to use: for `auto` the real one when it is on the PATH, else the embedded one.

    Raises:
        UsageError: what is wanted is not on the PATH.
    """
    if wanted == "auto":
        return "tensorflow_model_server" if shutil.which(BINARY) else "embedded"
    program = {"tensorflow_model_server": BINARY, "docker": "docker"}.get(wanted)
    if program is not None and shutil.which(program) is None:
        raise UsageError(
            f"--backend {wanted} needs {program} on the PATH. It is not there",
            hint="install it, or take --backend embedded, which answers the same API",
        )
    return wanted  # type: ignore[return-value]


def served_path(backend: Backend, base_path: Path) -> Path:
    """Returns the model base path as the server sees it: in a container it has another name."""
    return _IN_IMAGE / base_path.name if backend == "docker" else base_path


def command(backend: Backend, config: Path, base_path: Path, upstream: Upstream) -> list[str]:
    """Returns the command that starts the real server where only this machine reaches it, as far as it can be told so.

    Args:
        backend: `tensorflow_model_server` or `docker`.
        config: the model config file.
        base_path: the model base path.
        upstream: where it is to listen: `unix:PATH` for the binary's gRPC, a port of 127.0.0.1 for a container's.
    """
    # What cannot be loaded is tried again when the ledger changes, not in a minute.
    flags = [*FLAGS, "--enable_grpc_healthcheck_service=true", "--max_num_load_retries=0"]
    assert upstream.rest is not None
    rest = upstream.rest.port
    if backend == "docker":
        return [
            *("docker", "run", "--rm", "--init"),
            *("-p", f"{upstream.grpc}:8500", "-p", f"127.0.0.1:{rest}:8501"),
            *("-v", f"{base_path}:{served_path(backend, base_path)}:ro", "-v", f"{config.parent}:/config:ro"),
            *(IMAGE, f"--model_config_file=/config/{config.name}", *flags),
        ]
    path = upstream.grpc.removeprefix("unix:")
    return [
        BINARY,
        "--port=0",
        f"--grpc_socket_path={path}",
        f"--rest_api_port={rest}",
        f"--model_config_file={config}",
        *flags,
    ]


class BinaryServer:
    """The real server as a child of this process, behind a gateway that has the line's ports.

    Args:
        line: the line.
        backend: `tensorflow_model_server` or `docker`.
        host: the address that the gateway listens on.
        port: its gRPC port; 0 for any that is free.
        rest_port: its REST port; 0 for any that is free.
        verify: whether only models are served whose digest is the ledger's.
    """

    def __init__(
        self, line: ServedLine, backend: Backend, *, host: str, port: int, rest_port: int, verify: bool
    ) -> None:
        self._line = line
        self._backend = backend
        self._ports = {"host": host, "port": port, "rest_port": rest_port}
        self._verify = verify
        self._child: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()

    def run(self, announce: Callable[[Gateway], None]) -> int | None:
        """Serves until SIGTERM or SIGINT, or until the real server ends.

        Args:
            announce: is called once requests are answered.

        Returns:
            The real server's exit code where it has ended by itself, else None.

        Raises:
            ReleaseError: the ledger is damaged, or the live version cannot be served.
            UsageError: a port is taken, or the tokens or certificates cannot be used.
            ConveyorError: the server cannot be started.
        """
        # Nobody else may reach into it: the socket asks for no token.
        folder = Path(tempfile.mkdtemp(prefix="conveyor-"))
        try:
            return self._run(folder, announce)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _run(self, folder: Path, announce: Callable[[Gateway], None]) -> int | None:
        backend, base_path = self._backend, self._line.base_path
        where = f"127.0.0.1:{free_port()}" if backend == "docker" else f"unix:{folder / 'grpc.sock'}"
        upstream = Upstream(where, Address("127.0.0.1", free_port()))
        config = folder / CONFIG
        base_path.mkdir(parents=True, exist_ok=True)
        gateway = Gateway(
            self._line,
            upstream,
            model_config=config,
            model_base_path=served_path(backend, base_path),
            verify=self._verify,
            waits=True,
            **self._ports,  # type: ignore[arg-type]
        )
        self._warn(upstream)
        try:
            gateway.run(announce, begin=lambda: self._begin(command(backend, config, base_path, upstream)))
        finally:
            self._stopping.set()
            ended = None if self._child is None else self._child.poll()
            if self._child is not None:
                _stop(self._child)
        return ended

    def _begin(self, arguments: Sequence[str]) -> None:
        self._child = _start(arguments)
        threading.Thread(target=self._watch, args=(self._child,), name="backend", daemon=True).start()

    def _watch(self, child: subprocess.Popen[bytes]) -> None:
        child.wait()
        if not self._stopping.is_set():
            os.kill(os.getpid(), signal.SIGTERM)

    def _warn(self, upstream: Upstream) -> None:
        config = self._line.config
        if self._backend == BINARY and (config.tls or config.tokens_file):
            assert upstream.rest is not None
            _log.warning(
                "%s itself answers REST on port %d of all addresses, with neither TLS nor tokens, and cannot be told "
                "otherwise: close that port to others, or take --backend docker or embedded",
                BINARY,
                upstream.rest.port,
            )


def free_port() -> int:
    """Returns a port that nobody listens on at the moment."""
    with socket.create_server(("", 0)) as found:
        return int(found.getsockname()[1])


def _start(arguments: Sequence[str]) -> subprocess.Popen[bytes]:
    try:
        # In a session of its own, so that Ctrl-C leaves it alone until the requests under way are answered; and what it
        # says is no part of what this process prints.
        return subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=2, start_new_session=True)
    except OSError as error:
        raise ConveyorError(
            f"{arguments[0]} must be a program that can be started. Got {error} instead",
            hint="install it again, or take --backend embedded, which answers the same API",
        ) from error


def _stop(child: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        child.terminate()
    try:
        child.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
