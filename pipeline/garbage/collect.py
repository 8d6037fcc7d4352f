"""One collection: reads what a line's state holds and what needs it, and removes the rest."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from pipeline.garbage.lineage import Lineage
from pipeline.garbage.metadata import open_store, read_lineage
from pipeline.garbage.needs import Run, forgotten_versions, needed_runs, needed_versions, needs
from pipeline.garbage.places import scan
from pipeline.garbage.plan import Plan, make_plan
from pipeline.garbage.sweep import carry_out, empty_trash
from pipeline.record import RunRecord
from pipeline.state import State
from schema.errors import ConveyorError, MetadataError, UsageError
from schema.line import Line
from schema.loading import LoadedLine
from serving.base_path import scan as version_folders
from serving.ledger import Ledger
from serving.ledger_events import LedgerEvent


def collect_garbage(
    loaded: LoadedLine, state: State, *, dry_run: bool, now: float, announce: Callable[[Plan], None]
) -> Plan:
    """Removes what nothing needs any more, and returns what that was.

    Args:
        loaded: the line config.
        state: the line's state.
        dry_run: whether to change nothing.
        now: seconds since the epoch.
        announce: is called with the plan before anything is removed.

    Raises:
        UsageError: the line has no state.
        LineBusy: a run or another collection holds the line.
        ReleaseError: the release ledger is damaged.
        MetadataError: ML Metadata cannot be used, or is not the one that the line's runs are in.
        ConveyorError: a run's record cannot be read, or a folder cannot be removed.
    """
    if not state.runs.is_dir():
        raise UsageError(
            f"LINE must have been run before. Got {state.line!r} instead, of which {state.root.parent} has no state",
            hint=f"conveyor run {state.line}, or set CONVEYOR_HOME",
        )
    state = State(Path(os.path.realpath(state.root)), state.line)
    with state.locked():
        store = open_store(loaded.line.metadata, state, loaded.secrets, ", ".join(map(str, loaded.files)))
        runs = read_runs(state)
        events, _ = Ledger(state.ledger).read()
        run_ids = {*runs, *(event.run_id for event in events if event.run_id)}
        lineage = Lineage() if store is None else read_lineage(store, loaded.line.name, run_ids)
        _check_known(state, lineage, runs)
        plan = _plan(loaded.line, state, lineage, runs, events, now)
        announce(plan)
        if not dry_run:
            empty_trash(state)
            carry_out(plan, state, store)
    return plan


def read_runs(state: State) -> dict[str, Run]:
    """Returns every run of a line by its id.

    Raises:
        ConveyorError: a record cannot be read: nobody knows what that run needs.
    """
    found = {}
    for folder in sorted(state.runs.iterdir()):
        file = folder / "run.json"
        if not file.exists() and not (folder / "events.jsonl").exists():
            # It was killed before it began.
            continue
        try:
            record = RunRecord.from_dict(json.loads(file.read_text(encoding="utf-8")))
            found[record.run_id] = _run(record)
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise ConveyorError(
                f"{file} must be the record of a run. Got something else instead: {type(error).__name__}: {error}",
                hint="restore it from a backup, or remove its folder when nothing of that run is needed; nothing was "
                "removed",
            ) from None
    return found


def _run(record: RunRecord) -> Run:
    started = datetime.fromisoformat(record.started).timestamp()
    artifacts = [
        (node.node, artifact) for node in record.nodes for values in node.outputs.values() for artifact in values
    ]
    verdict = record.verdict or {}
    keys = [artifact.get("properties", {}).get("ingest_key") for _, artifact in artifacts]
    return Run(
        run_id=record.run_id,
        started=started,
        ended=max(started, datetime.fromisoformat(record.finished or record.started).timestamp()),
        outputs=tuple((node, os.fspath(artifact["uri"])) for node, artifact in artifacts),
        ingest_keys=tuple(key for key in keys if isinstance(key, str)),
        pushed=verdict.get("version") if verdict.get("outcome") == "pushed" else None,
    )


def _check_known(state: State, lineage: Lineage, runs: dict[str, Run]) -> None:
    """Checks that ML Metadata is the one that knows the line's artifacts.

    Raises:
        MetadataError: it is not.
    """
    if lineage.executions:
        return
    for run in runs.values():
        for _, uri in run.outputs:
            if "/pipeline_root/" in uri:
                raise MetadataError(
                    f"ML Metadata must know the artifacts of line {state.line!r}. Got a store without any instead, "
                    f"though run {run.run_id} has made {uri}",
                    hint="name the overlay that the line runs with (--env), or restore ML Metadata; nothing is removed",
                )


def _plan(
    line: Line, state: State, lineage: Lineage, runs: dict[str, Run], events: Sequence[LedgerEvent], now: float
) -> Plan:
    base_path = state.base_path(line.pusher.push_destination)
    try:
        base = version_folders(base_path)
    except OSError as error:
        raise ConveyorError(
            f"{base_path} must be a model base path that can be read. Got an error instead: {error.strerror}",
            hint="whatever it serves is to be kept; give read permission on it; nothing was removed",
        ) from None
    versions = [
        *needed_versions(events, line.retention, now),
        *forgotten_versions(runs.values(), events, lambda version: base.folder(version) is not None),
    ]
    needed = needs(lineage, versions, runs, needed_runs(runs.values(), line.retention, now))
    bases = {str(base_path)}
    bases.update(os.path.dirname(event.path) for event in events if event.path)
    places, left = scan(state)
    return make_plan(state, lineage, needed, places, sorted(map(os.path.realpath, bases)), left)
