"""The model config file: read at the start and, where that is asked for, again and again."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from schema.errors import ConveyorError
from serving.model_server.errors import ServingError
from serving.model_server.manager import Manager
from serving.model_server.model_config import ServerModels
from serving.model_server.text_protos import read_text

_log = logging.getLogger(__name__)


def read_config(file: str | Path) -> ServerModels:
    """Reads a model config file.

    Raises:
        ConfigError: it cannot be read, or with the file and the line.
    """
    return ServerModels.from_text(read_text(file, "model_config_file"), str(file))


class ConfigFollower:
    """Has a manager serve what a file says. What cannot be followed is logged, and the config before stays in force.

    The file is followed at each look, changed or not, as TensorFlow Serving does: a label waits so for its version, and
    what HandleReloadConfigRequest brought is replaced.

    Args:
        file: the model config file.
        manager: the manager, started.
        seconds: between two looks.
    """

    def __init__(self, file: str | Path, manager: Manager, seconds: float) -> None:
        self._file = file
        self._manager = manager
        self._seconds = seconds
        self._complaint = ""
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="model-config-file", daemon=True)

    def start(self) -> None:
        """Begins to look."""
        self._thread.start()

    def stop(self) -> None:
        """Looks no more. A look under way ends when the manager stops."""
        self._stopping.set()

    def _run(self) -> None:
        while not self._stopping.wait(self._seconds):
            complaint = ""
            try:
                self._manager.reload(read_config(self._file))
            except ServingError as error:
                complaint = f"{error.code.name}: {error.message}"
            except ConveyorError as error:
                complaint = str(error)
            except Exception as error:
                complaint = f"{type(error).__name__}: {error}"
            if complaint and complaint != self._complaint and not self._stopping.is_set():
                _log.error("The model config file cannot be followed: %s", complaint)
            self._complaint = complaint
