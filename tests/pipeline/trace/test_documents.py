"""What a trace says of versions, spans and runs, and what is kept when artifacts are gone."""

from __future__ import annotations

import dataclasses
import json
import shutil

import pytest

from pipeline.record import run_folder
from pipeline.trace.documents import trace
from pipeline.trace.kept import FILE, facts_of, keep
from pipeline.trace.subject import Subject, find_subject
from schema.errors import UsageError
from schema.serving import CaptureConfig
from serving.capture.hook import CaptureHook
from tests.pipeline.trace.conftest import RELEASED, Home, run_id
from tests.serving.capture.exchanges import DATE, fill


def test_what_is_kept_outlives_the_artifacts(home: Home) -> None:
    run = home.run(7)
    keep(home.state, run)
    before = facts_of(home.state, run)
    assert before[1] == "kept"
    shutil.rmtree(home.state.pipeline_root)
    facts, source = facts_of(home.state, run)
    assert (facts, source) == before
    assert facts["curated_schema"] == "s" * 64
    assert facts["spans"][0]["rows"] == {"train": 70, "validation": 10, "eval": 20}
    assert facts["gate"]["spans"][0]["quarantined_rows"] == 2
    assert (facts["tuner"]["trials"], facts["tuner"]["score"], facts["tuner"]["out_of_time"]) == (2, 0.25, True)
    assert facts["tuner"]["hyperparameters"] == {"learning_rate": 0.01}
    assert [epoch["epoch"] for epoch in facts["training"]["history"]] == [0, 1]
    assert "Ada" not in (run_folder(home.state, run.run_id) / FILE).read_text()


def test_a_run_from_before_that_file(home: Home) -> None:
    run = home.run(7)
    facts, source = facts_of(home.state, run)
    assert source == "artifacts" and facts["training"]["best_epoch"] == 1
    shutil.rmtree(home.state.pipeline_root)
    facts, source = facts_of(home.state, run)
    assert source == "not kept" and facts["spans"] is None


def test_a_run_that_got_half_way(home: Home) -> None:
    run = home.run(7)
    run.nodes = [node for node in run.nodes if node.node in ("SpanExampleGen", "CuratedSchemaGen")]
    keep(home.state, run)
    facts, _ = facts_of(home.state, run)
    assert facts["spans"] and facts["schema"]
    assert (facts["gate"], facts["tuner"], facts["training"]) == (None, None, None)


def test_data_that_was_rejected_has_its_decisions(home: Home) -> None:
    run = home.run(7)
    gate = json.loads((home.state.pipeline_root / run.run_id / "DataGate" / "gate" / "gate.json").read_text())
    (home.state.root / "gate").mkdir()
    (home.state.root / "gate" / "last.json").write_text(
        json.dumps({**gate, "verdict": "rejected", "run_id": run.run_id})
    )
    run.node("DataGate").outputs = {}
    keep(home.state, run)
    assert facts_of(home.state, run)[0]["gate"]["verdict"] == "rejected"


def test_a_version(home: Home) -> None:
    for version in (7, 8):
        home.event("pushed", version, RELEASED + version)
        home.run(version)
    home.event("rollback", 7, RELEASED + 20, from_version=8)
    with CaptureHook(home.state.capture, "cabs", CaptureConfig()) as hook:
        fill(hook, 30)
    document = trace(find_subject("v7", [home.state]))
    (version,) = document["versions"]
    assert [event["event"] for event in version["events"]] == ["pushed", "rollback"]
    assert [standing["role"] for standing in version["standings"]] == ["live", "live"]
    assert version["answered"] == {DATE: 30} and version["status"] == "live"
    (run,) = document["runs"]
    assert (run["git_commit"], run["git_dirty"], run["schema"]["used"] is not None) == ("e" * 40, True, True)


def test_a_span_that_was_delivered_twice(home: Home) -> None:
    home.event("pushed", 7, RELEASED)
    home.event("pushed", 8, RELEASED + 1)
    home.run(7, {"2026Q1": "a" * 64, "2026Q2": "b" * 64})
    home.run(8, {"2026Q1": "a" * 64, "2026Q2": "9" * 64})
    document = trace(find_subject("2026q2", [home.state]))
    span = document["span"]
    assert (span["span"], span["label"], span["fingerprints"]) == (41, "2026Q2", ["b" * 64, "9" * 64])
    assert [(one["run_id"], one["versions"]) for one in span["appearances"]] == [(run_id(7), [7]), (run_id(8), [8])]
    assert [version["version"] for version in document["versions"]] == [7, 8]
    first = trace(find_subject("2026Q1", [home.state]))["span"]["appearances"][0]
    assert (first["bad_rows"], first["excluded_rows"], first["gate"]["action"]) == (1, 3, "used")
    assert first["gate"]["decisions"][0]["kind"] == "drift"


def test_what_is_meant(home: Home) -> None:
    home.event("pushed", 7, RELEASED)
    home.run(7, {"2026Q1": "a" * 64, "2026Q2": "b" * 64})
    states = [home.state]

    def found(what: str) -> tuple[str, str]:
        subject: Subject = find_subject(what, states)
        return subject.kind, subject.value

    assert found("7") == found("v7") == found("version:7") == ("version", "7")
    assert found("40") == found("span:40") == found("2026q1") == ("span", "40")
    assert found("latest") == found(run_id(7)[:12]) == found("run:" + run_id(7)) == ("run", run_id(7))
    with CaptureHook(home.state.capture, "cabs", CaptureConfig()) as hook:
        fill(hook, 3)
    assert found("id-000002") == found("request:id-000002") == ("request", "id-000002")


def test_what_is_not_clear(home: Home) -> None:
    for version in (7, 40):
        home.event("pushed", version, RELEASED + version)
    home.run(7)
    for what, message in (
        ("40", "version:40.*span:40.*conveyor trace span:40 or conveyor trace version:40"),
        ("v9", "versions 7, 40"),
        ("span:nine", "spans 2026Q1"),
        ("nothing", "must be a captured request's id"),
        ("\udcff", "must be UTF-8 text"),
        ("version:", "must not be empty"),
        ("request:id-000009", "captured requests"),
    ):
        with pytest.raises(UsageError, match=f"(?s){message}"):
            find_subject(what, [home.state])
    assert find_subject("span:40", [home.state]).kind == "span"
    other = dataclasses.replace(home.state, line="vans")
    with pytest.raises(UsageError, match="--line"):
        find_subject("v7", [home.state, other])
