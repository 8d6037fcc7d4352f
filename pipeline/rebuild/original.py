"""The run that is to be rebuilt: found by version or by name, and whole."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from components.tuner.earlier import EarlierSearch
from data.window import Window
from pipeline.record import RunRecord, find, load_all, run_folder
from pipeline.resume import recorded_window
from pipeline.snapshot import read_search
from pipeline.state import State
from schema.base import sha256_json
from schema.errors import ConveyorError, UsageError
from serving.ledger import Ledger

_NOT_OF_THE_ROWS = ("input", "window", "allow_gaps", "max_bad_rows", "exclude_rows")
"""Keys of `examples` that say which spans there are, where, and whether that will do."""


@dataclasses.dataclass(frozen=True)
class Original:
    """A run that is to be rebuilt.

    Attributes:
        state: its line's state.
        record: its record.
        version: the model version that it released, or None.
    """

    state: State
    record: RunRecord
    version: int | None

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return run_folder(self.state, self.record.run_id)

    @property
    def window(self) -> Window:
        """The spans that it ran on."""
        return recorded_window(self.record)


def find_original(state: State, version: int | None, run: str | None) -> Original:
    """Returns the run that made a version, or the one that is named.

    Args:
        state: the line's state.
        version: a released version; by default the live one.
        run: a run id, its beginning or `latest`, in the version's place.

    Raises:
        UsageError: there is no such version or run.
        ConveyorError: its record was lost, or changed since.
        ReleaseError: the ledger is damaged.
    """
    if version is not None and run is not None:
        raise UsageError(f"VERSION must not be given with --run. Got version {version} and run {run!r}")
    if run is not None:
        record, _ = find([state], run)
        if record.repeats:
            record, _ = find([state], record.repeats)
        released = (record.verdict or {}).get("version")
        return Original(state, _unchanged(record, state), released)
    ledger = Ledger(state.ledger).state()
    wanted = ledger.live if version is None else version
    entry = None if wanted is None else ledger.entries.get(wanted)
    if entry is None:
        known = ", ".join(str(number) for number in ledger.entries) or "none yet"
        raise UsageError(
            f"VERSION must be one that was released. Got {'none' if wanted is None else wanted} instead; there are "
            f"{known}",
            hint="conveyor releases shows them; --run RUN names a run that released nothing",
        )
    runs = {record.run_id: record for record in load_all(state)}
    found = runs.get(entry.pushed.run_id or "")
    if found is None:
        raise ConveyorError(
            f"{state.runs}: there must be a record of run {entry.pushed.run_id}, which made version {wanted}. Got none "
            "instead",
            hint="restore that folder from a backup: without it nobody knows what the run was made of",
        )
    return Original(state, _unchanged(found, state), wanted)


def _unchanged(record: RunRecord, state: State) -> RunRecord:
    digest = sha256_json(record.config)
    if digest != record.config_digest:
        raise ConveyorError(
            f"{run_folder(state, record.run_id) / 'run.json'}: the config must have the digest {record.config_digest}. "
            f"Got {digest} instead: somebody changed a key of it",
            hint="restore the file from a backup",
        )
    return record


def search_of(original: Original) -> tuple[EarlierSearch | None, str]:
    """Returns what a rebuild has to be told of the search for hyperparameters, and why, in words.

    A search on the same data is made again, trial by trial where a clock cut it short. One on other data, whose result
    the run only remembered, is not part of the run: its result is taken over.
    """
    kept = read_search(original.folder)
    if kept is None or not kept.get("trials"):
        return None, "not tuned"
    searched_by = str(kept.get("run_id", "unknown"))
    if searched_by == original.record.run_id or _same_data(original, searched_by):
        if not kept.get("out_of_time"):
            return None, "searched again"
        made = EarlierSearch.model_validate({"run_id": searched_by, "made": kept["made"]})
        return made, f"time cut the search short: its {len(kept['made'])} trials are made again"
    taken = {"run_id": searched_by, "hyperparameters": kept["hyperparameters"], "trials": kept["trials"]}
    return EarlierSearch.model_validate(taken), f"remembered from run {searched_by}, which had other data"


def _same_data(original: Original, run_id: str) -> bool:
    for record in load_all(original.state):
        if record.run_id == run_id:
            return _data(record) == _data(original.record)
    return False


def _data(record: RunRecord) -> Any:
    """All that decides which rows a search saw."""
    examples = {key: value for key, value in record.config.get("examples", {}).items() if key not in _NOT_OF_THE_ROWS}
    spans = [(span["span"], span["fingerprint"]) for span in record.window.get("spans", [])]
    return spans, examples, (record.exclusions or {}).get("digest"), record.config.get("validation")
