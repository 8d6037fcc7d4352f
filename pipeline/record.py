"""The record of runs: one folder a run under the line's state, with its record, its log and its events."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.state import State, write_json
from schema.errors import ConveyorError, UsageError


@dataclasses.dataclass
class NodeRecord:
    """What a node did in a run.

    Attributes:
        node: the node's id.
        state: running, done, cached, taken (from an earlier run, by `--from`), failed or skipped.
        seconds: how long it took.
        finding: what it found, in a few words.
        outputs: output key to artifacts, each with `uri`, `id`, `type` and its custom properties.
    """

    node: str
    state: str = "running"
    seconds: float = 0.0
    finding: str = ""
    outputs: dict[str, list[dict[str, Any]]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class RunRecord:
    """Everything about a run that is kept.

    Attributes:
        run_id: sortable, unique.
        line: the line's name.
        started: UTC, ISO 8601.
        finished: UTC, ISO 8601, or None while it is under way or when it was killed.
        seconds: wall-clock time of the run.
        config: the line config with every default, secrets masked.
        config_digest: SHA-256 of it.
        base_dir: the folder that relative paths of the config started from.
        inputs_digest: SHA-256 of all that the graph was made of: config, window, schema, code.
        provenance: git commit, dirty flag, lock file's hash and versions.
        window: the spans, with fingerprints.
        warm_start: digest of the model that training began with, for a line that does so.
        search: the run whose search for hyperparameters was repeated or taken over because somebody said so.
        nodes: what each node did, in order of start.
        slices: metrics by slice.
        verdict: the verdict as data, or None while there is none.
        exclusions: the rows that were left out on request: `digest`, `columns` and `path` of what names them, and how
            many rows that were; or None. What they are is kept nowhere.
        experiment: what somebody calls the experiment that it belongs to.
        options: how the run was asked for, by the options' names.
        schema_digest: SHA-256 of the curated schema, empty without one.
        warm_start_folder: the folder that it was in.
        forced: components that were to do their work anew.
        taken_from: component to the run that its artifacts were taken from as they were.
        resumes: the run that this one went on with.
        repeats: the run that this one found to be the same as itself, so that nothing was done.
    """

    run_id: str
    line: str
    started: str
    finished: str | None = None
    seconds: float = 0.0
    config: dict[str, Any] = dataclasses.field(default_factory=dict)
    config_digest: str = ""
    base_dir: str = ""
    inputs_digest: str = ""
    provenance: dict[str, Any] = dataclasses.field(default_factory=dict)
    window: dict[str, Any] = dataclasses.field(default_factory=dict)
    warm_start: str | None = None
    search: str | None = None
    nodes: list[NodeRecord] = dataclasses.field(default_factory=list)
    slices: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    verdict: dict[str, Any] | None = None
    exclusions: dict[str, Any] | None = None
    experiment: str | None = None
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    schema_digest: str = ""
    warm_start_folder: str | None = None
    forced: list[str] = dataclasses.field(default_factory=list)
    taken_from: dict[str, str] = dataclasses.field(default_factory=dict)
    resumes: str | None = None
    repeats: str | None = None

    @property
    def is_trial(self) -> bool:
        """Whether it only tried changes (`conveyor.Line.experiment`); one that was promoted is the line's own."""
        return self.experiment is not None and self.options.get("until") is not None

    @property
    def outputs(self) -> dict[str, dict[str, list[dict[str, Any]]]]:
        """Node id to what the node made, by output key, of each node that has a record."""
        return {node.node: node.outputs for node in self.nodes}

    def node(self, name: str) -> NodeRecord:
        """Returns the record of a node, a new one when it has none yet: for who writes; `outputs` is for readers."""
        for record in self.nodes:
            if record.node == name:
                return record
        self.nodes.append(NodeRecord(name))
        return self.nodes[-1]

    def to_dict(self) -> dict[str, Any]:
        """Returns the record as JSON-ready data."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> RunRecord:
        """Reads what `to_dict` wrote."""
        return cls(**{**value, "nodes": [NodeRecord(**node) for node in value["nodes"]]})


def run_folder(state: State, run_id: str) -> Path:
    """Returns the folder of a run."""
    return state.runs / run_id


def save(state: State, record: RunRecord) -> None:
    """Writes the record, replacing an earlier one at once."""
    write_json(run_folder(state, record.run_id) / "run.json", record.to_dict())


def load_all(state: State) -> list[RunRecord]:
    """Returns the records of all runs, the oldest first.

    Raises:
        ConveyorError: one of them is damaged.
    """
    if not state.runs.is_dir():
        return []
    return [load(file) for file in sorted(state.runs.glob("*/run.json"))]


def load(file: Path) -> RunRecord:
    """Returns the record in a file.

    Raises:
        ConveyorError: it is damaged.
    """
    try:
        return RunRecord.from_dict(json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConveyorError(
            f"{file} must be the record of a run. Got something else instead: {error}",
            hint="restore it from a backup, or move the run's folder out of the way",
        ) from None


def find(states: Sequence[State], name: str) -> tuple[RunRecord, State]:
    """Returns the run whose id is `name` or starts with it, and its line's state.

    Args:
        states: where to look.
        name: a run id or its beginning; `latest`, or the name of a line for its latest run.

    Raises:
        UsageError: there is no such run, or more than one.
    """
    runs = [(record, state) for state in states for record in load_all(state)]
    runs.sort(key=lambda pair: pair[0].run_id)
    latest = [pair for pair in runs if name in ("latest", pair[1].line)]
    if latest:
        return latest[-1]
    matches = [pair for pair in runs if pair[0].run_id.startswith(name)]
    if len(matches) == 1:
        return matches[0]
    known = ", ".join(f"{record.run_id} ({state.line})" for record, state in runs[-5:]) or "none yet"
    what = "more than one run starts so" if matches else "there is no such run"
    raise UsageError(f"RUN must name one run. Got {name!r} instead: {what}; the newest are {known}")


def newest_of_line(state: State) -> RunRecord | None:
    """Returns the newest run with the line's own config, or None; experiments change keys of it."""
    return next((run for run in reversed(load_all(state)) if not run.is_trial), None)


def base_path(state: State, run: RunRecord | None = None) -> Path:
    """Returns the model base path of a line, as a run had it; by default the newest of the line's own."""
    if run is None:
        run = newest_of_line(state)
    return state.base_path(run.config.get("pusher", {}).get("push_destination") if run else None)
