"""Which versions and runs need their artifacts, and why. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence

from pipeline.garbage.lineage import Lineage
from schema.retention import RetentionConfig
from serving.ledger_events import LedgerEvent, replay
from serving.standing import standings

_DAY = 86_400.0
_ALONE = "baseline"
"""The node whose output a model was judged against."""


@dataclasses.dataclass(frozen=True)
class Run:
    """A run, as far as its record says what it needs.

    Attributes:
        run_id: the run.
        started: when it began, seconds since the epoch.
        ended: when it ended or, of one that was killed, began.
        outputs: node and URI of each artifact that its nodes made or were given from the cache.
        ingest_keys: entries of the span store that its records came from.
        pushed: the version that it has released or has found to be live, or None.
    """

    run_id: str
    started: float
    ended: float
    outputs: tuple[tuple[str, str], ...] = ()
    ingest_keys: tuple[str, ...] = ()
    pushed: int | None = None


@dataclasses.dataclass(frozen=True)
class Version:
    """A released version that is needed.

    Attributes:
        version: the version.
        why: why, in words.
        run_id: the run that made it.
        model_uri: the model that was pushed.
    """

    version: int
    why: str
    run_id: str | None
    model_uri: str | None


def needed_versions(events: Sequence[LedgerEvent], retention: RetentionConfig, now: float) -> list[Version]:
    """Returns the versions whose lineage is needed, the best reason first.

    Args:
        events: the events of the release ledger.
        retention: what is to be kept.
        now: seconds since the epoch.

    Raises:
        ReleaseError: the ledger contradicts itself, or has a time that is none.
    """
    state = replay(events)
    served: dict[int, float] = {}
    for standing in standings(events):
        until = now if standing.until is None else max(standing.since, standing.until)
        served[standing.version] = max(until, served.get(standing.version, until))
    roles: list[tuple[int, int, str]] = []
    for version, entry in state.entries.items():
        ago = (now - served[version]) / _DAY if version in served else float("inf")
        if version == state.live:
            roles.append((0, version, "is live"))
        elif state.canary is not None and version == state.canary.version:
            roles.append((1, version, "is the canary"))
        elif state.shadow is not None and version == state.shadow.version:
            roles.append((2, version, "is the shadow"))
        elif not entry.pruned:
            roles.append((3, version, "can be put back by a rollback"))
        elif ago <= retention.served_days:
            roles.append((4, version, f"answered requests within {retention.served_days:g} days"))
        elif ago <= retention.label_days:
            roles.append((5, version, f"may get labels within {retention.label_days:g} days"))
    pushed = {version: entry.pushed for version, entry in state.entries.items()}
    return [
        Version(version, f"version {version} {why}", pushed[version].run_id, pushed[version].model_uri)
        for _, version, why in sorted(roles, key=lambda role: (role[0], -role[1]))
    ]


def forgotten_versions(
    runs: Iterable[Run], events: Sequence[LedgerEvent], there: Callable[[int], bool]
) -> list[Version]:
    """Returns the versions that a run has released, that can be served, and that the ledger has lost.

    Args:
        runs: every run that has a record.
        events: the events of the release ledger.
        there: whether a version has a folder in the model base path.
    """
    recorded = {event.version for event in events}
    why = "is in the model base path, and not in the ledger"
    return [
        Version(run.pushed, f"version {run.pushed} {why}", run.run_id, None)
        for run in runs
        if run.pushed is not None and run.pushed not in recorded and there(run.pushed)
    ]


def needed_runs(runs: Iterable[Run], retention: RetentionConfig, now: float) -> list[tuple[Run, str]]:
    """Returns the runs within the retention and why they are, the newest first."""
    newest = sorted(runs, key=lambda run: run.run_id, reverse=True)
    found = []
    for place, run in enumerate(newest):
        if place < retention.keep_runs:
            what = "the newest run" if retention.keep_runs == 1 else f"one of the newest {retention.keep_runs} runs"
            found.append((run, f"run {run.run_id} is {what}"))
        elif now - run.ended <= retention.runs_days * _DAY:
            found.append((run, f"run {run.run_id} ended within {retention.runs_days:g} days"))
    return found


@dataclasses.dataclass
class Needs:
    """What is needed, each with the best reason for it; the reasons come in their order.

    Attributes:
        artifacts: artifacts.
        paths: URIs: those of the artifacts, and those that only a record names.
        runs: run ids.
        ingest_keys: entries of the span store that needed records came from.
        since: when the oldest execution began that made anything needed; None when nothing is.
        runs_since: when the oldest run within the retention began; None when there is none.
    """

    artifacts: dict[int, str] = dataclasses.field(default_factory=dict)
    paths: dict[str, str] = dataclasses.field(default_factory=dict)
    runs: dict[str, str] = dataclasses.field(default_factory=dict)
    ingest_keys: dict[str, str] = dataclasses.field(default_factory=dict)
    since: float | None = None
    runs_since: float | None = None


def needs(
    lineage: Lineage, versions: Sequence[Version], runs: Mapping[str, Run], kept: Sequence[tuple[Run, str]]
) -> Needs:
    """Returns what versions and runs need.

    Args:
        lineage: what ML Metadata says.
        versions: the versions whose lineage is needed.
        runs: run id to run, of every run that has a record.
        kept: the runs within the retention, and why they are.
    """
    found = Needs()
    for version in versions:
        model = [("", version.model_uri)] if version.model_uri else []
        _need(found, lineage, version.run_id, runs.get(version.run_id or ""), model, version.why)
    for run, why in kept:
        _need(found, lineage, run.run_id, run, (), why)
    begun = [
        lineage.executions[maker].created for artifact in found.artifacts for maker in lineage.makers.get(artifact, ())
    ]
    found.runs_since = min((run.started for run, _ in kept), default=None)
    found.since = min([*begun, *(runs[run].started for run in found.runs if run in runs)], default=None)
    return found


def _need(
    found: Needs, lineage: Lineage, run_id: str | None, run: Run | None, more: Iterable[tuple[str, str]], why: str
) -> None:
    followed: list[int] = []
    alone: list[int] = []
    for node, uri in (*more, *(run.outputs if run else ())):
        found.paths.setdefault(uri, why)
        (alone if node == _ALONE else followed).extend(lineage.by_uri.get(uri, ()))
    for execution in lineage.runs.get(run_id or "", ()):
        followed.extend(lineage.executions[execution].outputs)
    if run_id is not None:
        found.runs.setdefault(run_id, why)
    for key in run.ingest_keys if run else ():
        found.ingest_keys.setdefault(key, why)
    for number in sorted(lineage.reached(followed).union(alone)):
        artifact = lineage.artifacts[number]
        if artifact.state != "unfinished":
            found.artifacts.setdefault(number, why)
            found.paths.setdefault(artifact.uri, why)
            if artifact.ingest_key is not None:
                found.ingest_keys.setdefault(artifact.ingest_key, why)
