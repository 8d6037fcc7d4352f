"""The run to rebuild: found by its version, and whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.rebuild.original import Original, find_original, search_of
from pipeline.record import RunRecord, run_folder, save
from pipeline.state import State
from schema.base import sha256_json
from schema.errors import ConveyorError, UsageError
from serving.ledger import Ledger
from serving.ledger_events import LedgerEvent


def add_run(state: State, run_id: str, fingerprint: str = "f", **more: Any) -> RunRecord:
    config = {"name": "taxi", "seed": 1}
    window = {"format": "csv", "spans": [{"span": 0, "label": "0", "files": [], "fingerprint": fingerprint}]}
    record = RunRecord(
        run_id, "taxi", "t", config=config, config_digest=sha256_json(config), window=window, **more
    )  # fmt: skip
    save(state, record)
    return record


def release(state: State, version: int, run_id: str) -> None:
    event = LedgerEvent(
        event="pushed", version=version, run_id=run_id, model_digest="d", verdict="pushed", who="me", when="now"
    )
    Ledger(state.ledger).append(event)


@pytest.fixture
def state(tmp_path: Path) -> State:
    found = State(tmp_path / "taxi", "taxi")
    for version, run_id in ((1, "a"), (2, "b")):
        add_run(found, run_id)
        release(found, version, run_id)
    return found


def test_by_version_by_run_and_the_live_one(state: State) -> None:
    add_run(state, "c", repeats="a")
    assert find_original(state, None, None).record.run_id == "b"
    assert (find_original(state, 1, None).record.run_id, find_original(state, 1, None).version) == ("a", 1)
    assert find_original(state, None, "b").record.run_id == "b"
    assert find_original(state, None, "c").record.run_id == "a", "a run that did nothing repeats another"


def test_what_cannot_be_found(state: State, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="VERSION must be one that was released. Got 9 instead; there are 1, 2"):
        find_original(state, 9, None)
    with pytest.raises(UsageError, match="Got none instead; there are none yet"):
        find_original(State(tmp_path / "new", "new"), None, None)
    (run_folder(state, "a") / "run.json").unlink()
    with pytest.raises(ConveyorError, match="there must be a record of run a, which made version 1"):
        find_original(state, 1, None)


def test_a_changed_key_of_the_record_is_found(state: State) -> None:
    file = run_folder(state, "a") / "run.json"
    record = json.loads(file.read_text())
    record["config"]["seed"] = 2
    file.write_text(json.dumps(record))
    with pytest.raises(ConveyorError, match="run.json: the config must have the digest .* somebody changed a key"):
        find_original(state, 1, None)


class TestSearch:
    """What a rebuild is told of the search for hyperparameters."""

    def kept(self, state: State, run: RunRecord, **search: Any) -> Original:
        trials = [{"trial_id": "0", "score": 0.5, "values": {}}]
        value = {
            "hyperparameters": {"values": {}},
            "made": [{"trial_id": "0", "epochs": 2}],
            "trials": trials,
            **search,
        }
        (run_folder(state, run.run_id) / "search.json").write_text(json.dumps(value))
        return Original(state, run, 1)

    def test_none_was_made(self, state: State) -> None:
        assert search_of(Original(state, add_run(state, "x"), 1)) == (None, "not tuned")
        assert search_of(self.kept(state, add_run(state, "x"), run_id="x", trials=[])) == (None, "not tuned")

    def test_one_that_had_its_time_is_made_again(self, state: State) -> None:
        own = self.kept(state, add_run(state, "x"), run_id="x", out_of_time=False)
        assert search_of(own) == (None, "searched again")
        same_data = self.kept(state, add_run(state, "y"), run_id="x", out_of_time=False)
        assert search_of(same_data) == (None, "searched again")

    def test_one_that_was_cut_short_is_repeated(self, state: State) -> None:
        search, why = search_of(self.kept(state, add_run(state, "x"), run_id="x", out_of_time=True))
        assert search is not None and search.made is not None and search.made[0].epochs == 2
        assert "its 1 trials are made again" in why

    @pytest.mark.parametrize("which", ["exclusions", "sample"])
    def test_the_same_spans_with_other_rows_are_other_data(self, state: State, which: str) -> None:
        """The Tuner recalls a search whatever the rows: a rebuild must not search where the run did not."""
        add_run(state, "whole")
        more: dict[str, Any] = {"exclusions": {"digest": "d"}} if which == "exclusions" else {}
        run = add_run(state, "x", **more)
        if which == "sample":
            run.config["examples"] = {"sample": 0.5, "input": "t.csv"}
        search, why = search_of(self.kept(state, run, run_id="whole", out_of_time=False))
        assert search is not None and search.hyperparameters == {"values": {}}, why

    @pytest.mark.parametrize("searched_by", ["other", "lost"])
    def test_one_on_other_data_is_taken_over(self, state: State, searched_by: str) -> None:
        add_run(state, "other", fingerprint="g")
        search, why = search_of(self.kept(state, add_run(state, "x"), run_id=searched_by, out_of_time=True))
        assert search is not None and search.made is None and search.hyperparameters == {"values": {}}
        assert why == f"remembered from run {searched_by}, which had other data"
