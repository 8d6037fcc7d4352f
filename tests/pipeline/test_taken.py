"""The run that `--from` takes artifacts from."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pipeline.ancestry import taken_before
from pipeline.record import NodeRecord, RunRecord, run_folder, save
from pipeline.state import State
from pipeline.taken import run_to_take_from
from schema.errors import UsageError

BEFORE_TRAINER = taken_before("Trainer")


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State(tmp_path / "toy", "toy")


def ran(state: State, run_id: str, nodes: dict[str, str], *, executed: bool = True, **values: object) -> RunRecord:
    """Makes the record of a run, with an artifact a node that ended well."""
    run = RunRecord(run_id, "toy", "2026-01-01T00:00:00+00:00", **values)  # type: ignore[arg-type]
    for node, ended in nodes.items():
        folder = state.root / "artifacts" / run_id / node
        folder.mkdir(parents=True)
        run.nodes.append(NodeRecord(node, ended, outputs={"out": [{"uri": str(folder), "id": 1}]}))
    save(state, run)
    if executed:
        (run_folder(state, run_id) / "events.jsonl").write_text("{}\n")
    return run


def chosen(state: State, **more: object) -> str:
    return run_to_take_from(state, BEFORE_TRAINER, "Trainer", **more).run_id  # type: ignore[arg-type]


def test_the_newest_that_has_all(state: State) -> None:
    ran(state, "r1", dict.fromkeys(BEFORE_TRAINER, "done"))
    ran(state, "r2", dict.fromkeys(BEFORE_TRAINER, "cached"))
    ran(state, "r3", {**dict.fromkeys(BEFORE_TRAINER, "done"), "Tuner": "running"})
    ran(state, "r4", dict.fromkeys(BEFORE_TRAINER[:-1], "done"))
    assert chosen(state) == "r2"
    assert chosen(state, settled={"Transform": "r1"}) == "r1"


def test_one_whose_artifacts_are_gone_will_not_do(state: State) -> None:
    ran(state, "r1", dict.fromkeys(BEFORE_TRAINER, "done"))
    ran(state, "r2", dict.fromkeys(BEFORE_TRAINER, "done"))
    shutil.rmtree(state.root / "artifacts" / "r2" / "Transform")
    assert chosen(state) == "r1"


def test_a_run_that_repeats_another_stands_for_that_one(state: State) -> None:
    ran(state, "r1", dict.fromkeys(BEFORE_TRAINER, "done"))
    ran(state, "r2", dict.fromkeys(BEFORE_TRAINER, "done"))
    ran(state, "r3", dict.fromkeys(BEFORE_TRAINER, "cached"), executed=False, repeats="r1")
    assert chosen(state) == "r1"


def test_what_ml_metadata_does_not_know_will_not_do(state: State) -> None:
    ran(state, "r1", dict.fromkeys(BEFORE_TRAINER, "done"))
    ran(state, "r2", dict.fromkeys(BEFORE_TRAINER, "done"))
    (run_folder(state, "r2") / "pipeline_job.json").write_text("{}")
    ran(state, "r3", dict.fromkeys(BEFORE_TRAINER, "cached"), executed=False)
    assert chosen(state) == "r1"


def test_nothing_to_take_says_why(state: State) -> None:
    with pytest.raises(UsageError, match="--from Trainer must find a run in which SpanExampleGen.*Got none instead"):
        chosen(state)
    ran(state, "r1", dict.fromkeys(BEFORE_TRAINER[:-1], "done"))
    with pytest.raises(UsageError, match="the newest run, r1, did not get through Tuner"):
        chosen(state)
    ran(state, "r2", dict.fromkeys(BEFORE_TRAINER, "done"))
    shutil.rmtree(state.root / "artifacts" / "r2" / "Tuner")
    with pytest.raises(UsageError, match="r2, has lost what Tuner made"):
        chosen(state)


def test_an_experiment_will_not_do_until_it_is_promoted(state: State) -> None:
    ran(state, "r1", dict.fromkeys(BEFORE_TRAINER, "done"))
    ran(state, "r2", dict.fromkeys(BEFORE_TRAINER, "done"), experiment="a fifth", options={"until": "Evaluator"})
    assert chosen(state) == "r1"
    ran(state, "r3", dict.fromkeys(BEFORE_TRAINER, "done"), experiment="a fifth", options={"until": None})
    assert chosen(state) == "r3"
