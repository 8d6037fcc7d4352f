"""Files of records: one that is being written has a name that readers pass over, and gets its own by rename.

A file is locked by its writer for as long as it is open, so that any process can tell one that is being written from
one that a killed process has left.
"""

from __future__ import annotations

import dataclasses
import fcntl
import functools
import os
import re
import time
import uuid
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

from serving.capture import tfrecord
from serving.ledger import sync_folder

SUFFIX = ".tfrecord"
OPEN_SUFFIX = ".open"
NO_VERSION = "none"
_TRIES = 10
_DAY = 86400

_FOLDER = re.compile(r"\d{4}-\d{2}-\d{2}/(shadow-)?version=(\d+|none)")


def folder_of(started: float, version: int | None, shadow: bool = False) -> str:
    """Returns the folder of a record, relative to the root.

    Args:
        started: when its request came, seconds since the epoch; the folder's date is UTC.
        version: the model version that answered, or None when none did.
        shadow: the answer was not the caller's; such records are kept apart from those that were.
    """
    return _folder_of(int(started // _DAY), version, shadow)


@functools.lru_cache(maxsize=256)
def _folder_of(day: int, version: int | None, shadow: bool) -> str:
    date = datetime.fromtimestamp(day * _DAY, timezone.utc).date().isoformat()
    kind = "shadow-version" if shadow else "version"
    return f"{date}/{kind}={NO_VERSION if version is None else version}"


def closed_files(root: Path) -> list[Path]:
    """Returns the closed files, the oldest first by name."""
    return sorted(_files(root, f"*{SUFFIX}"), key=lambda path: path.name)


def open_files(root: Path) -> list[Path]:
    """Returns the files that are being written, or that a killed process has left."""
    return sorted(_files(root, f".*{SUFFIX}{OPEN_SUFFIX}"), key=lambda path: path.name)


def _files(root: Path, pattern: str) -> list[Path]:
    folders = (folder for folder in root.glob("*/*") if _FOLDER.fullmatch(f"{folder.parent.name}/{folder.name}"))
    return [
        path for folder in folders for path in folder.glob(pattern) if path.name.startswith(".") == (pattern[0] == ".")
    ]


class CaptureFile:
    """One file of records, from its first record until it is closed. Not thread-safe.

    Args:
        root: the folder of all captured records.
        folder: the file's folder in it.
        line: the line, with which its name begins.

    Attributes:
        path: the name that it gets in the end.
        size: bytes of whole records in it.
        torn: there is something after them that could not be cut off.

    Raises:
        OSError: it cannot be made.
    """

    def __init__(self, root: Path, folder: str, line: str) -> None:
        self.size = 0
        self.torn = False
        self.began = time.monotonic()
        for _ in range(_TRIES):
            (root / folder).mkdir(parents=True, exist_ok=True)
            moment = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%S%fZ")
            self.path = root / folder / f"{line}-{moment}-{uuid.uuid4().hex[:8]}{SUFFIX}"
            self._open_path = self.path.with_name(f".{self.path.name}{OPEN_SUFFIX}")
            if (descriptor := _created(self._open_path)) is not None:
                self._descriptor = descriptor
                return
        raise OSError(f"{root / folder}: no file could be made that is not removed at once")

    @property
    def age(self) -> float:
        """Seconds since it was begun."""
        return time.monotonic() - self.began

    @property
    def removed(self) -> bool:
        """Whether somebody has removed it, so that what is written would be lost."""
        return os.fstat(self._descriptor).st_nlink == 0

    def write(self, frames: Sequence[bytes]) -> tuple[int, OSError | None]:
        """Appends framed records, as far as there is room.

        Returns:
            How many were written, always the first ones and each of them whole; and why it was not all of them.

        Raises:
            OSError: what was written last could not be cut off again; the file must be closed.
        """
        content = memoryview(b"".join(frames))
        written = 0
        error = None
        while written < len(content):
            try:
                written += os.write(self._descriptor, content[written:])
            except OSError as e:
                error = e
                break
        if error is None:
            self.size += written
            return len(frames), None
        count = whole = 0
        for framed in frames:
            if whole + len(framed) > written:
                break
            whole += len(framed)
            count += 1
        self.size += whole
        if written > whole:
            self._cut()
        return count, error

    def _cut(self) -> None:
        self.torn = True
        os.ftruncate(self._descriptor, self.size)
        self.torn = False

    def close(self) -> None:
        """Gives the file its name, with everything in it on disk; an empty one is removed.

        Raises:
            OSError: it could not; the file is closed all the same, and is mended by the next `recover`.
        """
        try:
            if self.torn:
                self._cut()
            _finish(self._descriptor, self._open_path, self.path)
        finally:
            os.close(self._descriptor)


@dataclasses.dataclass(frozen=True)
class Recovered:
    """A file that a killed process had left open.

    Attributes:
        path: its name now; there is no such file when there was no whole record in it.
        bytes_kept: bytes of whole records.
        bytes_cut: bytes after them that were cut off.
    """

    path: Path
    bytes_kept: int
    bytes_cut: int


def recover(root: Path) -> list[Recovered]:
    """Cuts files that killed processes left open down to their whole records, and closes them.

    Files that a process is writing are left alone.

    Raises:
        OSError: one could not be mended.
    """
    found = []
    for path in open_files(root):
        try:
            file = open(path, "r+b")  # noqa: SIM115
        except FileNotFoundError:
            continue
        with file:
            if not (_lock(file.fileno()) and _same(file.fileno(), path)):
                continue
            size = os.fstat(file.fileno()).st_size
            whole = tfrecord.whole_bytes(file)
            if whole < size:
                os.ftruncate(file.fileno(), whole)
            final = path.with_name(path.name[1 : -len(OPEN_SUFFIX)])
            _finish(file.fileno(), path, final)
            found.append(Recovered(final, whole, size - whole))
    return found


def _created(path: Path) -> int | None:
    """Returns the descriptor of a new file that is locked; or None when its folder or itself was removed meanwhile."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o640)
    except FileNotFoundError:
        return None
    try:
        if _lock(descriptor) and _same(descriptor, path):
            return descriptor
    except OSError:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def _finish(descriptor: int, open_path: Path, path: Path) -> None:
    status = os.fstat(descriptor)
    if status.st_nlink == 0:
        return
    if status.st_size == 0:
        open_path.unlink(missing_ok=True)
        return
    os.fsync(descriptor)
    # Still locked, so that nobody else takes it for one that was left.
    os.rename(open_path, path)
    sync_folder(path.parent)


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _same(descriptor: int, path: Path) -> bool:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return False
    mine = os.fstat(descriptor)
    return (mine.st_dev, mine.st_ino) == (found.st_dev, found.st_ino)
