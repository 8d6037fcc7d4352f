"""The sources of a run: which files and library versions each component's result depended on.

The code digest says that the code is another one; this says which file. It is written when a run starts, so that a
later run, or a person, can be told what has changed since.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.code_digest import PROJECT_ROOT, library_versions
from pipeline.state import write_json

SOURCES_FILE = "sources.json"


@dataclasses.dataclass(frozen=True)
class SourceChange:
    """A source that has changed.

    Attributes:
        what: the file's path, or the library's name.
        text: what has become of it.
        before: its SHA-256 or version before; None where it was not there.
        after: the same now.
    """

    what: str
    text: str
    before: str | None
    after: str | None


@dataclasses.dataclass(frozen=True)
class Sources:
    """What the results of a run's components depend on, besides data and config.

    Attributes:
        libraries: library name to version.
        files: path to SHA-256; relative to the project, absolute for a line's own functions elsewhere.
        nodes: node id to the paths that it depends on, in order.
    """

    libraries: dict[str, str]
    files: dict[str, str]
    nodes: dict[str, list[str]]

    @classmethod
    def of(cls, nodes: Mapping[str, Mapping[str, Path]], root: Path = PROJECT_ROOT) -> Sources:
        """Hashes the sources as they are now.

        Args:
            nodes: node id to module name to source file.
            root: the folder that paths are relative to.
        """
        named = {node: {_name(file, root): file for file in files.values()} for node, files in nodes.items()}
        every = {name: file for files in named.values() for name, file in files.items()}
        return cls(
            libraries=library_versions(),
            files={name: hashlib.sha256(file.read_bytes()).hexdigest() for name, file in sorted(every.items())},
            nodes={node: sorted(files) for node, files in named.items()},
        )

    def of_node(self, node: str) -> dict[str, str]:
        """Returns path to SHA-256 for the files that a node depends on."""
        return {path: self.files[path] for path in self.nodes.get(node, ())}

    def changes_since(self, before: Sources, node: str | None = None) -> list[SourceChange]:
        """Returns the files and libraries that have changed.

        Args:
            before: the sources of an earlier run.
            node: look only at what this node depends on.
        """
        files = (before.files, self.files) if node is None else (before.of_node(node), self.of_node(node))
        return _changes(*files, show=False) + _changes(before.libraries, self.libraries, show=True)

    def write(self, folder: Path) -> None:
        """Writes `sources.json` into a run's folder."""
        write_json(folder / SOURCES_FILE, dataclasses.asdict(self))

    @classmethod
    def read(cls, folder: Path) -> Sources | None:
        """Returns what `write` wrote, or None where there is no such file, as with runs of earlier versions."""
        try:
            value: Any = json.loads((folder / SOURCES_FILE).read_text(encoding="utf-8"))
            return cls(libraries=value["libraries"], files=value["files"], nodes=value["nodes"])
        except (OSError, ValueError, KeyError, TypeError):
            return None


def _changes(before: Mapping[str, str], after: Mapping[str, str], *, show: bool) -> list[SourceChange]:
    found = []
    for what in sorted({*before, *after}):
        old, new = before.get(what), after.get(what)
        if old != new:
            fate = "is new" if old is None else "is gone" if new is None else "has changed"
            text = f"{what}: {old or 'absent'} -> {new or 'absent'}" if show else f"{what} {fate}"
            found.append(SourceChange(what, text, old, new))
    return found


def _name(file: Path, root: Path) -> str:
    resolved = file.resolve()
    return resolved.relative_to(root).as_posix() if resolved.is_relative_to(root) else str(resolved)
