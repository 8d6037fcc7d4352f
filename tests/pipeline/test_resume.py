"""A killed or failed run is gone on with only when it would find what it found before."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.code_digest import source_closure
from pipeline.options import RunOptions
from pipeline.plan import Plan, make_plan
from pipeline.record import NodeRecord, RunRecord, run_folder, save
from pipeline.sources import Sources
from pipeline.state import State
from schema.errors import UsageError
from schema.loading import LoadedLine, load_line

CONFIG = """\
name: toy
task: regression
label: {{name: y}}
examples: {{input: 'day-{{SPAN}}.csv'}}
trainer: {{epochs: {epochs}}}
"""
SCHEMA = 'feature { name: "x" type: FLOAT }\nfeature { name: "y" type: FLOAT }\n'


class Line:
    """A line of two spans and its state."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = State(folder / "state" / "toy", "toy")
        for span in (1, 2):
            (folder / f"day-{span}.csv").write_text(f"x,y\n{span},2.5\n")
        (folder / "schema.pbtxt").write_text(SCHEMA)
        self.write()

    def write(self, epochs: int = 3) -> None:
        (self.folder / "line.yaml").write_text(CONFIG.format(epochs=epochs))

    @property
    def loaded(self) -> LoadedLine:
        return load_line(self.folder / "line.yaml", env={})

    def plan(self, **options: Any) -> Plan:
        chosen = RunOptions(**options)
        chosen.check()
        return make_plan(self.loaded, self.state, chosen)

    def killed(self, run_id: str = "20260101T000000.000000Z-aaaaaa", **options: Any) -> RunRecord:
        """Puts the record of a run here that was killed."""
        plan = self.plan(**options)
        run = RunRecord(
            run_id,
            "toy",
            "2026-01-01T00:00:00+00:00",
            config=self.loaded.line.model_dump(mode="json", by_alias=True),
            window=json.loads(plan.inputs.window.to_json()),
            warm_start=plan.inputs.warm_start[1] if plan.inputs.warm_start else None,
        )
        plan.write_to(run)
        assert plan.inputs.sources is not None
        plan.inputs.sources.write(run_folder(self.state, run_id))
        save(self.state, run)
        return run


@pytest.fixture
def line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Line:
    # All the sources of all components take a second to be found.
    sources = {"Trainer": source_closure(["components.trainer.fit"])}
    monkeypatch.setattr("pipeline.inputs.node_sources", lambda line: sources)
    return Line(tmp_path)


def refusal(line: Line, **options: Any) -> str:
    with pytest.raises(UsageError) as refused:
        line.plan(resume="latest", **options)
    assert refused.value.exit_code == 2
    return str(refused.value)


def test_the_window_is_the_recorded_one_whatever_has_come_since(line: Line) -> None:
    run = line.killed(span="1", until="Trainer")
    (line.folder / "day-3.csv").write_text("x,y\n3,2.5\n")
    plan = line.plan(resume="latest")
    assert [span.label for span in plan.inputs.window.spans] == ["1"]
    assert plan.resumes is not None and plan.resumes.run_id == run.run_id
    assert (plan.options.span, plan.options.until) == ("1", "Trainer")
    assert not plan.may_repeat
    again = RunRecord("r2", "toy", "")
    plan.write_to(again)
    assert again.resumes == run.run_id


def test_every_difference_is_named(line: Line) -> None:
    run = line.killed()
    line.write(epochs=5)
    (line.folder / "day-1.csv").write_text("x,y\n1,3.5\n")
    (line.folder / "day-2.csv").unlink()
    (line.folder / "day-3.csv").write_text("x,y\n1,3.5\n")
    (line.folder / "schema.pbtxt").write_text(SCHEMA + "# reviewed\n")
    sources = Sources.read(run_folder(line.state, run.run_id))
    assert sources is not None
    files = {**sources.files, "components/trainer/fit.py": "00" * 32}
    libraries = {**sources.libraries, "tensorflow": "1.0"}
    dataclasses.replace(sources, files=files, libraries=libraries).write(run_folder(line.state, run.run_id))
    message = refusal(line)
    for part in (
        "config trainer.epochs: 3 -> 5",
        f"the curated schema {line.folder / 'schema.pbtxt'} has changed",
        "the span must be one that is there. Got '2' instead",
        "components/trainer/fit.py has changed",
        "tensorflow: 1.0 -> ",
        "next: put it back as it was",
    ):
        assert part in message


def test_a_changed_file_is_named_with_its_span(line: Line) -> None:
    line.killed()
    (line.folder / "day-1.csv").write_text("x,y\n1,3.5\n")
    assert f"span 1: file {line.folder / 'day-1.csv'} has another content" in refusal(line)
    (line.folder / "day-1.csv").touch()
    (line.folder / "day-1.csv").write_text("x,y\n1,2.5\n")
    assert line.plan(resume="latest").resumes is not None


def test_a_line_that_only_serves_otherwise_is_the_same(line: Line) -> None:
    line.killed()
    with (line.folder / "line.yaml").open("a") as file:
        file.write("serving: {capture: {sampling_rate: 0.5}}\n")
    assert line.plan(resume="latest").resumes is not None


@pytest.mark.parametrize("outcome", ["pushed", "not blessed", "data rejected", "not infra-blessed", "stopped"])
def test_a_run_that_has_ended_is_refused(line: Line, outcome: str) -> None:
    run = line.killed()
    run.verdict = {"outcome": outcome}
    save(line.state, run)
    assert f"whose verdict is {outcome}" in refusal(line)


def test_a_failed_run_can_be_resumed(line: Line) -> None:
    run = line.killed()
    run.verdict = {"outcome": "failed"}
    save(line.state, run)
    assert line.plan(resume="20260101").resumes == run


def test_runs_that_cannot_be_resumed_say_so(line: Line) -> None:
    assert "there is no such run" in refusal(line)
    run = line.killed(as_compiled=True)
    assert "which ran --as-compiled" in refusal(line)
    run.options = {}
    save(line.state, run)
    assert "an earlier version" in refusal(line)


def test_what_was_forced_is_forced_again_unless_it_was_done(line: Line) -> None:
    run = line.killed(force=("Tuner", "Trainer"))
    assert line.plan(resume="latest").forced == ("Tuner", "Trainer")
    run.nodes = [NodeRecord("Tuner", "done"), NodeRecord("Trainer", "running")]
    save(line.state, run)
    assert line.plan(resume="latest").forced == ("Trainer",)
    assert line.plan(resume="latest", force=("Evaluator",)).forced == ("Evaluator", "Trainer")


def test_a_resumed_experiment_stays_one(line: Line) -> None:
    run = line.killed(experiment="faster", until="Trainer")
    assert run.is_trial
    again = RunRecord("x", run.line, run.started)
    line.plan(resume="latest").write_to(again)
    assert (again.experiment, again.is_trial) == ("faster", True)


def test_a_run_from_a_component_takes_the_same_again(line: Line) -> None:
    source = line.killed("20260101T000000.000000Z-aaaaaa")
    folder = run_folder(line.state, source.run_id)
    (folder / "events.jsonl").write_text("{}\n")
    source.nodes = [NodeRecord("SpanExampleGen", "done", outputs={"examples": [{"uri": str(folder), "id": 1}]})]
    save(line.state, source)
    run = line.killed("20260102T000000.000000Z-bbbbbb", from_component="SpanStatisticsGen")
    assert run.taken_from == {"SpanExampleGen": source.run_id}
    assert [(node.node, node.state) for node in run.nodes] == [("SpanExampleGen", "taken")]
    (line.folder / "day-2.csv").unlink()
    plan = line.plan(resume="latest")
    assert plan.source == source and plan.forced == ("SpanStatisticsGen",)
    assert [span.label for span in plan.inputs.window.spans] == ["1", "2"], "what is taken is not looked for"
    assert plan.partial.taken == ("SpanExampleGen",) and plan.partial.source == source.run_id


def test_only_a_plain_run_may_be_answered_by_an_earlier_one(line: Line) -> None:
    assert line.plan().may_repeat
    for options in ({"until": "Tuner"}, {"force": ("Tuner",)}, {"as_compiled": True}):
        assert not line.plan(**options).may_repeat
