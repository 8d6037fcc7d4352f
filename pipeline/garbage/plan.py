"""What of a line's state is kept and why, and what goes."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Sequence, Set

from pipeline.garbage.lineage import Lineage
from pipeline.garbage.needs import Needs
from pipeline.garbage.places import Place, freed, local, sizes
from pipeline.state import State

_MEMORIES = ("column profiles", "row searches", "analyses", "searches")


@dataclasses.dataclass(frozen=True)
class Item:
    """A place that is kept or goes.

    Attributes:
        path: where it is.
        kind: the types of the artifacts in it, or what else it is.
        bytes: what it takes, or what its removal frees.
        why: why it is kept; empty when it goes.
    """

    path: str
    kind: str
    bytes: int
    why: str = ""


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is to be done.

    Attributes:
        kept: what is kept, and why.
        removed: what goes.
        left: paths that are left alone though nothing needs them, and why.
        missing: paths that are needed and not there, and why they are needed.
        to_mark: artifacts that are to be marked for deletion before anything goes.
        to_restore: artifacts that an earlier collection has marked, and that are there and needed again.
        to_delete: artifacts that are deleted when all has gone.
    """

    kept: tuple[Item, ...] = ()
    removed: tuple[Item, ...] = ()
    left: tuple[tuple[str, str], ...] = ()
    missing: tuple[tuple[str, str], ...] = ()
    to_mark: tuple[int, ...] = ()
    to_restore: tuple[int, ...] = ()
    to_delete: tuple[int, ...] = ()

    @property
    def freed(self) -> int:
        """The bytes that are freed."""
        return sum(item.bytes for item in self.removed)


def make_plan(
    state: State,
    lineage: Lineage,
    needed: Needs,
    places: Sequence[Place],
    protected: Iterable[str] = (),
    left: Iterable[tuple[str, str]] = (),
) -> Plan:
    """Returns what goes and what is kept. Looks at the disk only for artifacts that no place holds.

    Args:
        state: the line's state, its root without links.
        lineage: what ML Metadata says.
        needed: what is needed.
        places: what `scan` found.
        protected: folders of others, of which nothing is touched.
        left: what `scan` left alone, and why.
    """
    holders = _Holders(places)
    reasons = _reasons(state, needed, holders, protected)
    types: dict[str, set[str]] = {}
    for artifact in lineage.artifacts.values():
        holder = holders.of(local(artifact.uri, state))
        if holder is not None and artifact.state != "deleted":
            types.setdefault(holder, set()).add(artifact.type)
    executions = {maker for artifact in needed.artifacts for maker in lineage.makers.get(artifact, ())}
    kept: list[tuple[Place, str]] = []
    removed: list[Place] = []
    for place in places:
        why = reasons.get(str(place.path)) or _use(place, needed)
        if why:
            kept.append((place, why))
        elif not _waits(place, executions):
            removed.append(place)

    def kind(place: Place) -> str:
        if place.kind in ("output", "system"):
            return "/".join(sorted(types.get(str(place.path), {"leftovers"})))
        return place.kind

    artifacts = _Artifacts(list(left))
    gone = {str(place.path) for place in removed}
    for number in sorted(lineage.artifacts):
        artifacts.sort(number, state, lineage, needed, holders, gone)
    return Plan(
        kept=tuple(
            Item(str(place.path), kind(place), size, why)
            for (place, why), size in zip(kept, sizes(place for place, _ in kept), strict=True)
        ),
        removed=tuple(
            Item(str(place.path), kind(place), size) for place, size in zip(removed, freed(removed), strict=True)
        ),
        left=tuple(artifacts.left),
        missing=tuple(artifacts.missing),
        to_mark=tuple(artifacts.mark),
        to_restore=tuple(artifacts.restore),
        to_delete=tuple(artifacts.delete),
    )


class _Holders:
    """Finds the place that a path lies in."""

    def __init__(self, places: Iterable[Place]) -> None:
        self.paths = [str(place.path) for place in places]
        self._known = set(self.paths)

    def of(self, path: str | None) -> str | None:
        while path is not None and path not in self._known:
            above = os.path.dirname(path)
            path = None if above == path else above
        return path

    def below(self, folder: str) -> list[str]:
        return [path for path in self.paths if path.startswith(folder + os.sep)]


class _Artifacts:
    """Sorts artifacts by what becomes of them."""

    def __init__(self, left: list[tuple[str, str]]) -> None:
        self.left = left
        self.missing: list[tuple[str, str]] = []
        self.mark: list[int] = []
        self.restore: list[int] = []
        self.delete: list[int] = []

    def sort(
        self, number: int, state: State, lineage: Lineage, needed: Needs, holders: _Holders, gone: set[str]
    ) -> None:
        artifact = lineage.artifacts[number]
        path = local(artifact.uri, state)
        holder = holders.of(path)
        there = os.path.lexists(path or artifact.uri)
        if number in needed.artifacts:
            if not there:
                self.missing.append((artifact.uri, needed.artifacts[number]))
            elif artifact.state in ("marked", "deleted"):
                self.restore.append(number)
        elif artifact.state == "deleted" or (holder is not None and holder not in gone):
            return
        elif path is None:
            self.left.append((artifact.uri, "lies outside of the line's state"))
        elif holder is None and there:
            self.left.append((artifact.uri, "lies where no artifact is expected"))
        else:
            if artifact.state != "marked":
                self.mark.append(number)
            self.delete.append(number)


def _reasons(state: State, needed: Needs, holders: _Holders, protected: Iterable[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for uri, why in needed.paths.items():
        path = local(uri, state)
        holder = holders.of(path)
        # A path that holds places, which no run of ours has made, keeps all that is in it.
        for each in [holder] if holder is not None else holders.below(path) if path is not None else []:
            found.setdefault(each, why)
    for folder in protected:
        holder = holders.of(folder)
        for each in [*([holder] if holder is not None else []), *holders.below(folder)]:
            found.setdefault(each, "is part of the model base path")
    return found


def _use(place: Place, needed: Needs) -> str | None:
    """Returns why a place is kept that holds nothing of which a needed path is known, or None."""
    if place.kind == "compiled run":
        return needed.runs.get(place.path.name)
    recent = needed.runs_since is not None and place.written >= needed.runs_since
    if place.kind == "span store":
        why = needed.ingest_keys.get(place.path.name)
        return why or ("written since the oldest kept run began" if recent else None)
    if place.kind == "checkpoints":
        return "written since the oldest kept run began" if recent else None
    if place.kind in _MEMORIES:
        used = needed.since is not None and place.written >= needed.since
        return "used since the oldest kept artifact was made" if used else None
    return None


def _waits(place: Place, executions: Set[int]) -> bool:
    """Tells whether a place is an empty folder of TFX's that goes when its execution's outputs go."""
    name = place.path.name
    return place.kind == "system" and not place.files and name.isdecimal() and int(name) in executions
