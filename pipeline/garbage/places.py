"""What lies where below a line's state, of what may be garbage: folders and files, how large and how old they are."""

from __future__ import annotations

import dataclasses
import os
import re
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

from pipeline.state import State
from schema.errors import UsageError

Kind = Literal[
    "output",
    "system",
    "compiled run",
    "span store",
    "column profiles",
    "row searches",
    "analyses",
    "searches",
    "checkpoints",
    "baseline copies",
    "leftovers",
]
"""What a place is for. `output` is a folder of an execution's output: artifacts lie in it, or it is one. `system` is a
folder that TFX keeps for an execution while it runs."""

TRASH = "trash"
"""Below the state: what has left its place. It is there only while a collection is under way, or was killed."""

_KEY = re.compile(r"[0-9a-f]{16,128}(\.json)?")
_NUMBER = re.compile(r"\d+")


@dataclasses.dataclass(frozen=True)
class Place:
    """A folder or file that is kept or removed as a whole.

    Attributes:
        path: where it is.
        kind: what it is for.
        written: when anything in it was written or used last, seconds since the epoch.
        files: device and inode of each file, its size, and how many names it has anywhere.
    """

    path: Path
    kind: Kind
    written: float = 0.0
    files: tuple[tuple[tuple[int, int], int, int], ...] = ()


def scan(state: State) -> tuple[list[Place], list[tuple[str, str]]]:
    """Returns the places of a line's state, in order of their paths, and what is left alone there and why.

    Raises:
        UsageError: a folder that is to be looked into is a link.
    """
    places: list[Place] = []
    links: list[tuple[str, str]] = []
    for path, kind in sorted(_paths(state)):
        if path.is_symlink():
            links.append((str(path), "is a symbolic link"))
        else:
            places.append(measured(path, kind))
    return places, links


def measured(path: Path, kind: Kind) -> Place:
    """Returns a place with its size and age. Links in it are not followed."""
    written = 0.0
    files = []
    for item in _walk(path):
        try:
            status = os.lstat(item)
        except FileNotFoundError:
            continue
        written = max(written, status.st_mtime)
        if not stat.S_ISDIR(status.st_mode):
            files.append(((status.st_dev, status.st_ino), status.st_size, status.st_nlink))
    return Place(path, kind, written, tuple(files))


def sizes(places: Iterable[Place]) -> list[int]:
    """Returns the bytes of each place; a file of several names counts where it comes first."""
    seen: set[tuple[int, int]] = set()
    found = []
    for place in places:
        total = 0
        for file, size, _ in place.files:
            if file not in seen:
                seen.add(file)
                total += size
        found.append(total)
    return found


def freed(places: Iterable[Place]) -> list[int]:
    """Returns the bytes that removing all of the places frees, shared out among them.

    A file that has a name elsewhere too, as the records of a span have in the store and in artifacts, is not freed.
    """
    gone: dict[tuple[int, int], int] = {}
    listed = list(places)
    for place in listed:
        for file, _, _ in place.files:
            gone[file] = gone.get(file, 0) + 1
    found = []
    for place in listed:
        total = 0
        for file, size, names in place.files:
            if gone.get(file, 0) >= names:
                total += size
                del gone[file]
        found.append(total)
    return found


def local(uri: str, state: State) -> str | None:
    """Returns where an artifact lies in a line's state, links resolved; None for one that lies elsewhere.

    A state that was moved, or that is reached by another path, has artifacts whose URIs begin otherwise.

    Args:
        uri: the artifact's URI.
        state: the line's state, its root without links.
    """
    if not os.path.isabs(uri):
        return None
    path = os.path.realpath(uri)
    if path.startswith(f"{state.root}{os.sep}"):
        return path
    for folder in ("pipeline_root", "compiled_root", "work/baseline"):
        _, found, rest = os.path.normpath(uri).partition(f"/{state.line}/{folder}/")
        if found:
            return str(state.root / folder / rest)
    return None


def _paths(state: State) -> Iterator[tuple[Path, Kind]]:
    if (state.root / TRASH).is_dir():
        yield state.root / TRASH, "leftovers"
    yield from _pipeline_root(state.pipeline_root)
    for pipeline in _folder(state.compiled_root):
        for run in _folder(pipeline):
            yield run, "compiled run"
    work = state.root / "work"
    _folder(work)
    for folder, kind in (
        (state.root / "spans", "span store"),
        (state.root / "spans" / "profiles", "column profiles"),
        (state.root / "spans" / "exclusions", "row searches"),
        (state.root / "analysis", "analyses"),
        (state.root / "analysis" / "own", "analyses"),
        (work / "tuner", "searches"),
        (work / "trainer", "checkpoints"),
        (work / "baseline", "baseline copies"),
    ):
        for path in _folder(folder):
            if path.name.startswith("."):
                yield path, "leftovers"
            elif _KEY.fullmatch(path.name):
                yield path, kind  # type: ignore[misc]


def _pipeline_root(root: Path) -> Iterator[tuple[Path, Kind]]:
    for node in _folder(root):
        for key in _folder(node):
            if key.name == ".system":
                for what in _folder(key):
                    for path in _folder(what):
                        yield path, "system"
            else:
                for path in _folder(key):
                    if _NUMBER.fullmatch(path.name):
                        yield path, "output"


def _folder(path: Path) -> list[Path]:
    """Returns what is in a folder; nothing when it is none."""
    if path.is_symlink():
        raise UsageError(
            f"{path} must be a folder of the line's state. Got a symbolic link to {os.readlink(path)} instead",
            hint="put the folder itself there; conveyor gc removes nothing by way of a link",
        )
    return sorted(path.iterdir()) if path.is_dir() else []


def _walk(path: Path) -> Iterator[str]:
    yield str(path)
    if path.is_dir() and not path.is_symlink():
        for folder, folders, files in os.walk(path):
            for name in (*folders, *files):
                yield os.path.join(folder, name)
