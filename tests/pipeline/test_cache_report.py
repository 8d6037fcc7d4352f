"""What is said of the components of a run, whatever kind of run it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.cache_report import CacheReport, cache_report
from pipeline.executions import History
from pipeline.explanation import PastExecution
from pipeline.record import NodeRecord, RunRecord, run_folder, save
from pipeline.sources import Sources
from pipeline.state import State
from schema.errors import MetadataError, UsageError
from schema.orchestration import NODES

OPTIONS = {"span": "all", "until": None, "from": None, "as_compiled": False}


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State(tmp_path / "toy", "toy")


def run_of(state: State, **nodes: str) -> RunRecord:
    run = RunRecord("r2", "toy", "", options=dict(OPTIONS))
    run.nodes = [NodeRecord(node, ended) for node, ended in nodes.items()]
    save(state, run)
    return run


def reasons(report: CacheReport) -> dict[str, str]:
    return {each.node: each.reason for each in report.components}


def test_a_run_that_repeats_another(state: State) -> None:
    run = run_of(state, **dict.fromkeys(NODES, "cached"))
    run.repeats = "r1"
    report = cache_report(state, run, {})
    assert report.summary == "nothing has changed since run r1"
    assert {each.state for each in report.components} == {"cached"}


def test_a_run_as_compiled_does_all_anew(state: State) -> None:
    run = run_of(state, **dict.fromkeys(NODES, "done"))
    run.options["as_compiled"] = True
    assert set(reasons(cache_report(state, run, {})).values()) == {
        "carried out as compiled, which does every step anew"
    }


def test_each_kind_of_component(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_of(state, SpanExampleGen="taken", DataGate="cached", Transform="done", Trainer="failed", baseline="done")
    run.taken_from, run.forced, run.options["until"] = {"SpanExampleGen": "r0"}, ["Transform"], "Evaluator"
    for run_id, digest in (("r1", "0"), ("r2", "1")):
        Sources({}, {"fit.py": digest}, {"Trainer": ["fit.py"]}).write(run_folder(state, run_id))
    before, now = (PastExecution(n, f"r{n}", {}, {"code_digest": n}) for n in (1, 2))
    histories = {"Transform": History(now, ()), "Trainer": History(now, (before,))}
    monkeypatch.setattr("pipeline.cache_report._histories", lambda *args: histories)
    report = cache_report(state, run, {})
    said = reasons(report)
    assert said["SpanExampleGen"] == "taken as it is from run r0, by --from"
    assert said["DataGate"] == "its inputs, config and code are those of an earlier execution"
    assert said["Transform"] == "forced, and its first execution"
    assert said["Trainer"] == "the code has changed"
    assert said["baseline"] == "it is asked in every run which model is served"
    assert said["Pusher"] == "left out by --until Evaluator"
    (trainer,) = (each for each in report.components if each.node == "Trainer")
    assert [difference.text for difference in trainer.differences] == ["fit.py has changed"]
    assert report.summary == "2 of 5 components did no work"


def test_ml_metadata_that_is_gone_is_said(state: State) -> None:
    with pytest.raises(MetadataError, match="ML Metadata must know of run r2"):
        cache_report(state, run_of(state, Trainer="done"), {})


def test_a_secret_that_is_not_there_is_named_and_not_shown(state: State) -> None:
    run = run_of(state, Trainer="done")
    server = {"host": "db", "database": "mlmd", "user": "u", "password": "${PASSWORD_OF_DB}"}
    run.config = {"metadata": {"backend": "mysql", **server}}
    with pytest.raises(UsageError, match="as PASSWORD_OF_DB"):
        cache_report(state, run, {})
