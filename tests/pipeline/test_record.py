"""The record of runs, and what differs between two of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.comparison import compare_runs, differences
from pipeline.record import RunRecord, base_path, find, load_all, save
from pipeline.state import State
from schema.errors import ConveyorError, UsageError


def make(run_id: str, **values: object) -> RunRecord:
    return RunRecord(run_id=run_id, line="taxi", started="2026-01-01T00:00:00+00:00", **values)  # type: ignore[arg-type]


def test_record_round_trip(tmp_path: Path) -> None:
    state = State(tmp_path / "taxi", "taxi")
    run = make("20260101T000000.000000Z-aaaaaa")
    run.node("Trainer").finding = "best epoch 3"
    save(state, run)
    assert load_all(state) == [run]


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    state = State(tmp_path / "taxi", "taxi")
    for content in ('{"run_id": "x"', "[]", '{"run_id": "x", "nodes": []}', "\xff"):
        (state.runs / "x").mkdir(parents=True, exist_ok=True)
        (state.runs / "x" / "run.json").write_bytes(content.encode("latin-1"))
        with pytest.raises(ConveyorError, match="x/run.json must be the record of a run"):
            load_all(state)


def test_find_by_beginning_latest_and_line(tmp_path: Path) -> None:
    states = [State(tmp_path / name, name) for name in ("taxi", "census")]
    save(states[0], make("20260101T000000.000000Z-aaaaaa"))
    save(states[0], make("20260102T000000.000000Z-bbbbbb"))
    save(states[1], make("20260103T000000.000000Z-cccccc"))
    assert find(states, "20260102")[0].run_id.endswith("bbbbbb")
    assert find(states, "latest")[1].line == "census"
    assert find(states, "taxi")[0].run_id.endswith("bbbbbb")
    for name, message in (("2026010", "more than one"), ("2027", "no such run")):
        with pytest.raises(UsageError, match=message):
            find(states, name)


def test_base_path_is_the_latest_runs(tmp_path: Path) -> None:
    state = State(tmp_path / "taxi", "taxi")
    assert base_path(state) == state.base_path(None)
    save(state, make("a", config={"pusher": {"push_destination": "/models/taxi"}}))
    assert base_path(state) == Path("/models/taxi")
    save(
        state,
        make("b", experiment="x", options={"until": "Trainer"}, config={"pusher": {"push_destination": "/elsewhere"}}),
    )
    assert base_path(state) == Path("/models/taxi"), "an experiment does not lead servers elsewhere"


def test_differences_name_the_keys() -> None:
    assert differences({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3, "d": 4}}) == {
        "a.c": (2, 3),
        "a.d": (None, 4),
    }


def test_compare_names_config_data_code_and_metrics() -> None:
    spans = [{"label": "2016Q1", "fingerprint": "x"}, {"label": "2016Q2", "fingerprint": "y"}]
    first = make(
        "a",
        config={"trainer": {"epochs": 1}},
        provenance={"git_commit": "1"},
        window={"spans": spans},
        slices=[{"slice": "Overall", "metrics": {"auc": 0.9}, "examples": 1, "too_small": False}],
    )
    second = make(
        "b",
        config={"trainer": {"epochs": 2}},
        provenance={"git_commit": "1"},
        window={"spans": [{**spans[0], "fingerprint": "z"}, {"label": "2016Q3", "fingerprint": "w"}]},
        slices=[{"slice": "Overall", "metrics": {"auc": 0.95}, "examples": 1, "too_small": False}],
        exclusions={"digest": "abc", "columns": ["company"]},
    )
    result = compare_runs(first, second)
    assert result["config"] == {"trainer.epochs": [1, 2]}
    assert result["code"] == {}
    assert result["data"] == {
        "added": ["2016Q3"],
        "removed": ["2016Q2"],
        "changed": ["2016Q1"],
        "rows left out": ["none -> abc"],
    }
    assert result["metrics"][0]["change"] == pytest.approx(0.05)
