"""How long captured records are kept: by age and by size, whole files at a time."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from pathlib import Path

from serving.capture.capture_file import closed_files

_DAY = 86400.0


@dataclasses.dataclass(frozen=True)
class Removed:
    """What a sweep has removed.

    Attributes:
        files: how many.
        bytes: their sizes together.
    """

    files: int
    bytes: int


def sweep(root: Path, days: float | None, max_bytes: int | None, now: float | None = None) -> Removed:
    """Removes closed files that are too old, then the oldest ones until the rest is small enough.

    A file is as old as its last record, which is when it was written last. Nothing is removed but files of captured
    records, and folders that are empty then.

    Args:
        root: the folder of all captured records.
        days: the most days that a file is kept, or None.
        max_bytes: the most bytes that closed files may have together, or None.
        now: seconds since the epoch; by default the time now.

    Raises:
        OSError: a file could not be removed.
    """
    if days is None and max_bytes is None:
        return Removed(0, 0)
    now = time.time() if now is None else now
    files = []
    for path in closed_files(root):
        with contextlib.suppress(FileNotFoundError):
            status = path.stat()
            files.append((status.st_mtime, path.name, path, status.st_size))
    files.sort()
    total = sum(size for _, _, _, size in files)
    count = removed = 0
    for written, _, path, size in files:
        too_old = days is not None and now - written > days * _DAY
        too_much = max_bytes is not None and total - removed > max_bytes
        if too_old or too_much:
            path.unlink(missing_ok=True)
            count += 1
            removed += size
            # Not empty yet: a file is in it.
            with contextlib.suppress(OSError):
                path.parent.rmdir()
                path.parent.parent.rmdir()
    return Removed(count, removed)
