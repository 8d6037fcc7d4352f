"""Rows to leave out, from the command or the config to the record of the run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.compiled.checks import config_problems
from pipeline.excluded import count_excluded, recorded
from pipeline.inputs import resolve_inputs
from pipeline.options import RunOptions
from pipeline.plan import make_plan
from pipeline.record import RunRecord
from pipeline.state import State
from pipeline.unchanged import inputs_digest
from schema.errors import ConfigError, UsageError
from schema.loading import LoadedLine, load_line

LINE = "name: toy\ntask: regression\nlabel: {name: y}\nexamples: {input: toy.csv%s}\n"


def load(folder: Path, more: str = "") -> LoadedLine:
    (folder / "toy.csv").write_text("x,y\n1,2.5\n2,3.5\n")
    (folder / "line.yaml").write_text(LINE % more)
    return load_line(folder / "line.yaml")


def write(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text)
    return folder / name


def test_the_key_and_the_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = State(tmp_path / "s", "toy")
    write(tmp_path, "key.csv", "x\n1\n")
    write(tmp_path, "option.csv", "x\n2\n")
    loaded = load(tmp_path, ", exclude_rows: key.csv")
    by_key = resolve_inputs(loaded, state)
    assert by_key.exclusions is not None and by_key.exclusions.path == str(tmp_path.resolve() / "key.csv")
    monkeypatch.chdir(tmp_path)
    by_option = resolve_inputs(loaded, state, exclude_rows=Path("option.csv"))
    assert by_option.exclusions is not None and by_option.exclusions.path == str(tmp_path / "option.csv")
    assert resolve_inputs(load(tmp_path), state).exclusions is None
    digests = {inputs_digest(loaded.line, inputs) for inputs in (by_key, by_option)}
    write(tmp_path, "key.csv", "x\n1\n1.0\n")
    digests.add(inputs_digest(loaded.line, resolve_inputs(loaded, state)))
    assert len(digests) == 3


def test_a_plan_signs_the_record(tmp_path: Path) -> None:
    state = State(tmp_path / "s" / "toy", "toy")
    file = write(tmp_path, "out.csv", "x\n1\n")
    run = RunRecord("r", "toy", "2026-01-01T00:00:00+00:00")
    make_plan(load(tmp_path), state, RunOptions(exclude_rows=file)).write_to(run)
    assert run.exclusions is not None and len(run.exclusions.pop("digest")) == 64
    assert run.exclusions == {"columns": ["x"], "path": str(file)}
    with pytest.raises(ConfigError, match="there is none"):
        make_plan(load(tmp_path), state, RunOptions(exclude_rows=tmp_path / "nosuch.csv"))


def test_examples_that_are_taken_are_as_they_are(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--exclude-rows must not be given with --from Trainer"):
        RunOptions(exclude_rows=tmp_path / "out.csv", from_component="Trainer").check()
    RunOptions(exclude_rows=tmp_path / "out.csv", from_component="SpanExampleGen").check()


def test_steps_on_vertex_must_see_the_file(tmp_path: Path) -> None:
    problems, _ = config_problems(load(tmp_path, ", exclude_rows: out.csv"), "vertex", {})
    assert {problem.key for problem in problems} >= {"examples.input", "examples.exclude_rows"}
    problems, _ = config_problems(load(tmp_path), "vertex", {})
    assert "examples.exclude_rows" not in {problem.key for problem in problems}


@pytest.mark.parametrize(
    ("properties", "counted"),
    [
        ([{"excluded_rows": 2, "unmatched_exclusions": 1}, {"excluded_rows": 0, "unmatched_exclusions": 1}], (2, 1)),
        ([{"rows": 5}], None),
        ([], None),
    ],
)
def test_the_record_counts_them(properties: list[dict[str, Any]], counted: tuple[int, int] | None) -> None:
    run = RunRecord("r", "toy", "2026-01-01T00:00:00+00:00", exclusions={"digest": "d", "columns": ["x"], "path": "p"})
    run.node("SpanExampleGen").outputs["examples"] = [{"uri": "u", "properties": one} for one in properties]
    count_excluded(run)
    assert run.exclusions is not None
    found = run.exclusions.get("excluded_rows"), run.exclusions.get("unmatched")
    assert found == (counted or (None, None))
    assert recorded(None) is None


def test_counting_adds_no_component_to_a_run_that_ended_before_its_first() -> None:
    run = RunRecord("r", "toy", "t", exclusions={"digest": "d", "columns": ["x"], "path": "p"})
    count_excluded(run)
    assert run.nodes == [] and "excluded_rows" not in (run.exclusions or {})
