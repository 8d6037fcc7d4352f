"""Kills the process that loads it, and all that it has started, at a moment that a test names by the environment.

Python imports a module of this name from PYTHONPATH at its start. The product knows nothing of it.

    KILL_AFTER=NODE    as soon as it is on disk that NODE is done
    KILL_BELOW=FOLDER  as soon as a file that was not there before appears below FOLDER
"""

from __future__ import annotations

import builtins
import functools
import io
import json
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

AFTER, BELOW, GROUP = "KILL_AFTER", "KILL_BELOW", "KILL_GROUP"


def _kill() -> None:
    os.killpg(int(os.environ[GROUP]), signal.SIGKILL)


def _after(node: str) -> None:
    fsync = os.fsync

    def wrapped(fd: int) -> None:
        fsync(fd)
        path = os.readlink(f"/proc/self/fd/{fd}")
        if os.path.basename(path) == "events.jsonl":
            with open(path, encoding="utf-8") as file:
                event = json.loads(file.readlines()[-1])
            if (event["node"], event["state"]) == (node, "done"):
                _kill()

    os.fsync = wrapped


def _files(folder: str) -> set[str]:
    found = set()
    for place, folders, names in os.walk(folder):
        # TFX's own notes, not what a component writes.
        if ".system" in folders:
            folders.remove(".system")
        found.update(os.path.join(place, name) for name in names)
    return found


def _below(folder: str) -> None:
    before = _files(folder)
    opened = io.open

    def is_new(path: Any) -> bool:
        if not isinstance(path, (str, os.PathLike)):
            return False
        text = os.path.abspath(os.fspath(path))
        return text.startswith(folder + os.sep) and text not in before and f"{os.sep}.system{os.sep}" not in text

    def wrapped_open(file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        result = opened(file, mode, *args, **kwargs)
        if set(mode) & set("wxa+") and is_new(file):
            _kill()
        return result

    def wrapped_move(move: Callable[..., None]) -> Callable[..., None]:
        def wrapped(source: Any, target: Any, *args: Any, **kwargs: Any) -> None:
            move(source, target, *args, **kwargs)
            if is_new(target):
                _kill()

        return functools.partial(wrapped)

    def watch() -> None:
        # TensorFlow and ML Metadata write without Python.
        while not _files(folder) - before:
            time.sleep(0.0005)
        _kill()

    # Partials: pathlib makes attributes of a class of these, and a function would become a method there.
    builtins.open = io.open = functools.partial(wrapped_open)  # type: ignore[assignment]
    os.link, os.rename, os.replace = wrapped_move(os.link), wrapped_move(os.rename), wrapped_move(os.replace)
    threading.Thread(target=watch, daemon=True).start()


if os.environ.get(AFTER) or os.environ.get(BELOW):
    os.environ.setdefault(GROUP, str(os.getpgid(0)))
    if os.environ.get(AFTER):
        _after(os.environ[AFTER])
    if os.environ.get(BELOW):
        _below(os.environ[BELOW])
