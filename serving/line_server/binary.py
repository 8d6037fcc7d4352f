"""TensorFlow Serving itself for a line: its model config from the release ledger, its command, its life as a child."""

from __future__ import annotations

import logging
import shutil
import signal
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from data.whole_file import replace_text
from schema.errors import ConveyorError, UsageError
from serving.ledger import Ledger
from serving.line_server.models import LOOK_SECONDS
from serving.traffic import Split, split_of

Backend = Literal["embedded", "tensorflow_model_server", "docker"]
BINARY = "tensorflow_model_server"
IMAGE = "tensorflow/serving:2.19.1"
CONFIG = "models.config"
_IN_IMAGE = Path("/models")

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


def model_config(split: Split, base_path: Path) -> str:
    """Returns TensorFlow Serving's model config file for a split: the versions by policy, and their labels."""
    versions = "".join(f" versions: {version}" for version in split.versions)
    labels = "".join(
        f'    version_labels {{ key: "{label}" value: {version} }}\n' for label, version in split.labels.items()
    )
    return (
        "# Written by conveyor from the release ledger; changes are lost.\n"
        "model_config_list {\n"
        "  config {\n"
        f'    name: "{split.line}"\n'
        f'    base_path: "{base_path}"\n'
        '    model_platform: "tensorflow"\n'
        f"    model_version_policy {{ specific {{{versions} }} }}\n"
        f"{labels}"
        "  }\n"
        "}\n"
    )


def command(backend: Backend, config: Path, base_path: Path, *, host: str, port: int, rest_port: int) -> list[str]:
    """Returns the command that starts the real server.

    Args:
        backend: `tensorflow_model_server` or `docker`.
        config: the model config file.
        base_path: the model base path.
        host: the address to listen on; a container is published there, the binary itself listens on all.
        port: gRPC's port.
        rest_port: REST's port.
    """
    flags = [
        "--model_config_file_poll_wait_seconds=1",
        "--allow_version_labels_for_unavailable_models=true",
        "--enable_grpc_healthcheck_service=true",
    ]
    if backend == "docker":
        folder = _IN_IMAGE / base_path.name
        return [
            *("docker", "run", "--rm", "--init"),
            *("-p", f"{host}:{port}:8500", "-p", f"{host}:{rest_port}:8501"),
            *("-v", f"{base_path}:{folder}:ro", "-v", f"{config.parent}:/config:ro"),
            *(IMAGE, f"--model_config_file=/config/{config.name}", *flags),
        ]
    return [BINARY, f"--port={port}", f"--rest_api_port={rest_port}", f"--model_config_file={config}", *flags]


class BinaryServer:
    """The real server as a child of this process, with a model config that follows the ledger.

    Args:
        line: the line's name.
        base_path: the model base path, absolute.
        ledger: the release ledger.
        folder: where the model config file is written.
        backend: `tensorflow_model_server` or `docker`.
    """

    def __init__(self, line: str, base_path: Path, ledger: Ledger, folder: Path, backend: Backend) -> None:
        self._line = line
        self._base_path = base_path
        # In the container the base path has another name.
        self._served_path = _IN_IMAGE / base_path.name if backend == "docker" else base_path
        self._ledger = ledger
        self._backend = backend
        self._config = folder / CONFIG
        self._stopping = threading.Event()
        self._last: Split | None = None

    def run(self, *, host: str, port: int, rest_port: int) -> int:
        """Runs the server until it ends or this process is told to, and returns its exit code.

        Raises:
            ReleaseError: the ledger is damaged.
            ConveyorError: the server cannot be started.
        """
        self._write()
        arguments = command(self._backend, self._config, self._base_path, host=host, port=port, rest_port=rest_port)
        child = _start(arguments)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda number, _: child.send_signal(number))
        follower = threading.Thread(target=self._follow, name="ledger", daemon=True)
        follower.start()
        code = child.wait()
        self._stopping.set()
        follower.join()
        # It has no handler for SIGTERM, so that is how it ends when it is told to.
        return 0 if code in (-signal.SIGTERM, -signal.SIGINT, 128 + signal.SIGTERM) else code

    def _follow(self) -> None:
        while not self._stopping.wait(LOOK_SECONDS):
            try:
                self._write()
            except ConveyorError as error:
                _log.error("The release ledger is not followed: %s", error)

    def _write(self) -> None:
        split = split_of(self._line, self._ledger.state())
        if split != self._last:
            replace_text(self._config, model_config(split, self._served_path))
            self._last = split


def _start(arguments: Sequence[str]) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(arguments)
    except OSError as error:
        raise ConveyorError(
            f"{arguments[0]} must be a program that can be started. Got {error} instead",
            hint="install it again, or take --backend embedded, which answers the same API",
        ) from error
