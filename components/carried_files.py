"""Files of mounted storage for Beam workers that have not mounted it, Dataflow's among them.

Components read and write files. On workers that share a file system with the run, or have mounted the bucket at the
same folder, that is all there is to it. Where the folder is missing, what a job reads is fetched from the bucket to the
same path before it, and what it has written is put into the bucket after it, by Beam's own file systems.
"""

from __future__ import annotations

import functools
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from data.mounts import as_uri, mounts
from data.whole_file import new_folder, replacing
from data.worker_errors import Noting

_MARKER = ".conveyor-fetched"
"""Lies in a mount folder that is none, but was made to hold what was fetched."""

BLOCK_BYTES = 1 << 20
Files = Callable[..., Iterable[str]]


class Carried:
    """A function that workers call, with the paths of its files. Not a closure, so that it can be pickled.

    Args:
        function: what is called, with positional arguments.
        reads: called with the same arguments, gives the files and folders that it reads.
        writes: likewise those that it writes.
        noting: notes the function's errors, in a folder that is taken back too.
        mounted: scheme to the folder that its storage is mounted in where the run is; by default what this process's
            environment says.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        reads: Files,
        writes: Files,
        noting: Noting,
        mounted: Mapping[str, str] | None = None,
    ) -> None:
        self._function = noting(function)
        self._reads = reads
        self._writes = writes
        self._notes = str(noting.folder)
        # Only what the run itself has mounted can be missing elsewhere.
        found = {scheme: folder for scheme, folder in mounts(os.environ).items() if Path(folder).is_dir()}
        self._mounted = dict(found if mounted is None else mounted)
        # Beam reads the signature for its types.
        functools.update_wrapper(self, function)

    def __call__(self, *args: Any) -> Any:
        """Calls the function; where the bucket is not mounted, fetches files before and puts files into it after."""
        missing = {scheme: folder for scheme, folder in self._mounted.items() if _is_elsewhere(Path(folder))}
        if not missing:
            return self._function(*args)
        for path in self._reads(*args):
            _fetch(path, missing)
        written = [path for path in (*self._writes(*args), self._notes) if as_uri(path, missing) is not None]
        before = {name: os.stat(name).st_mtime_ns for path in written for name in _files(Path(path))}
        try:
            return self._function(*args)
        finally:
            # After an error too: what it was is among the files.
            _put(written, before, missing)


def _is_elsewhere(mounted: Path) -> bool:
    return not mounted.is_dir() or (mounted / _MARKER).exists()


def _fetch(path: str, mounted: Mapping[str, str]) -> None:
    uri = as_uri(path, mounted)
    if uri is None:
        return
    from apache_beam.io.filesystems import FileSystems

    scheme = uri.partition("://")[0]
    # Marked from the first moment on: another worker may look at it at any time.
    with new_folder(Path(mounted[scheme])) as made:
        (made / _MARKER).touch()
    for pattern in (uri, f"{uri}/**"):
        (match,) = FileSystems.match([pattern])
        for found in match.metadata_list:
            target = Path(mounted[scheme]) / found.path.removeprefix(f"{scheme}://")
            stamp = (found.last_updated_in_seconds or 0.0, found.size_in_bytes)
            if found.path.endswith("/") or _is_same(target, stamp):
                continue
            with (
                replacing(target) as temporary,
                FileSystems.open(found.path, "application/octet-stream", "uncompressed") as source,
            ):
                with temporary.open("wb") as file:
                    shutil.copyfileobj(source, file, BLOCK_BYTES)
                os.utime(temporary, (stamp[0], stamp[0]))


def _is_same(target: Path, stamp: tuple[float, int]) -> bool:
    try:
        found = target.stat()
    except FileNotFoundError:
        return False
    return (round(found.st_mtime, 3), found.st_size) == (round(stamp[0], 3), stamp[1])


def _put(written: Iterable[str], before: Mapping[str, int], mounted: Mapping[str, str]) -> None:
    from apache_beam.io.filesystems import FileSystems

    for path in written:
        # In the order in which they were written: a reader takes a folder for whole by its last file.
        names = [name for name in _files(Path(path)) if os.stat(name).st_mtime_ns != before.get(name)]
        for name in sorted(names, key=lambda name: (os.stat(name).st_mtime_ns, name)):
            uri = as_uri(name, mounted)
            assert uri is not None, "what is below a folder of a bucket is in the bucket"
            with FileSystems.create(uri, "application/octet-stream", "uncompressed") as sink, open(name, "rb") as file:
                shutil.copyfileobj(file, sink, BLOCK_BYTES)


def _files(path: Path) -> list[str]:
    if path.is_dir():
        # Not what another job is still writing: that has a name for a moment only.
        return [str(file) for file in sorted(path.rglob("*")) if file.is_file() and file.suffix != ".tmp"]
    return [str(path)] if path.is_file() else []
