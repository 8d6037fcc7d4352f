"""When a run may be taken for a repetition of an earlier one, and when not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from data.window import Window
from pipeline.inputs import RunInputs
from pipeline.record import NodeRecord, RunRecord, load_all, save
from pipeline.state import State
from pipeline.unchanged import inputs_digest, repeat_of, take_over
from schema.line import Line
from serving.ledger import Ledger
from serving.ledger_events import LedgerEvent

ME = "tests"


def release(state: State, version: int) -> None:
    Ledger(state.ledger).append(
        LedgerEvent(
            event="pushed",
            version=version,
            run_id="r",
            model_digest="d" * 64,
            verdict="pushed",
            who=ME,
            when="2026-01-01T00:00:00+00:00",
            model_uri="/m",
        )
    )
    folder = state.base_path(None) / str(version)
    folder.mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"")


@pytest.fixture
def state(tmp_path: Path) -> State:
    state = State(tmp_path / "toy", "toy")
    artifact = tmp_path / "artifact"
    artifact.mkdir()
    run = RunRecord("r1", "toy", "2026-01-01T00:00:00+00:00", inputs_digest="same")
    run.nodes = [NodeRecord("Trainer", "done", 9.0, "fine", {"model": [{"uri": str(artifact), "id": 1}]})]
    run.slices = [{"slice": "Overall"}]
    run.verdict = {"outcome": "pushed", "version": 1, "nothing_new": False, "exit_code": 0}
    save(state, run)
    release(state, 1)
    return state


def test_same_inputs_and_a_live_model_are_a_repetition(state: State) -> None:
    earlier = repeat_of(state, "same")
    assert earlier is not None
    run = RunRecord("r2", "toy", "2026-01-02T00:00:00+00:00")
    take_over(run, earlier)
    assert run.verdict == {"outcome": "pushed", "version": 1, "nothing_new": True, "exit_code": 0}
    assert [(node.state, node.seconds, node.finding) for node in run.nodes] == [("cached", 0.0, "fine")]
    assert earlier.nodes[0].state == "done"


def test_it_says_which_run_it_repeats_and_not_one_that_repeats_itself(state: State) -> None:
    earlier = repeat_of(state, "same")
    assert earlier is not None
    second, third = (RunRecord(name, "toy", "2026-01-02T00:00:00+00:00") for name in ("r2", "r3"))
    take_over(second, earlier)
    take_over(third, second)
    assert (second.repeats, third.repeats) == ("r1", "r1")


def test_a_run_that_took_artifacts_of_another_is_never_repeated(state: State) -> None:
    (run,) = load_all(state)
    run.taken_from = {"Transform": "r0"}
    save(state, run)
    assert repeat_of(state, "same") is None


def test_other_inputs_are_none(state: State) -> None:
    assert repeat_of(state, "other") is None


def test_another_live_version_is_none(state: State) -> None:
    release(state, 2)
    assert repeat_of(state, "same") is None


def test_a_missing_artifact_is_none(state: State, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "artifact")
    assert repeat_of(state, "same") is None


def test_a_missing_model_folder_is_none(state: State) -> None:
    shutil.rmtree(state.base_path(None) / "1")
    assert repeat_of(state, "same") is None


def test_no_release_is_none(tmp_path: Path) -> None:
    assert repeat_of(State(tmp_path / "new", "new"), "same") is None


def test_how_a_model_is_served_is_no_input_of_a_run() -> None:
    label = {"name": "y"}
    config = {"name": "toy", "task": "regression", "label": label, "examples": {"input": "t.csv"}}
    inputs = RunInputs(Window(format="csv", spans=()), {}, Path("schema.pbtxt"), "s", {})

    def digest(**changes: object) -> str:
        return inputs_digest(Line.model_validate({**config, **changes}), inputs)

    assert digest(serving={"capture": {"sampling_rate": 0.5}}) == digest()
    assert digest(retention={"keep_runs": 9}) == digest()
    assert digest(seed=7) != digest()
