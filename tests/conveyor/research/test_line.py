"""What `Line` checks before anything runs, and what it says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from conveyor import Line
from schema.errors import ConfigError, UsageError


@pytest.fixture
def line(tmp_path: Path) -> Line:
    (tmp_path / "line.yaml").write_text(
        "name: mine\ntask: binary_classification\nlabel: {name: y}\nexamples: {input: t.csv}\n"
    )
    (tmp_path / "line.prod.yaml").write_text("trainer: {batch_size: 64}\n")
    return Line(tmp_path, home=tmp_path / "state")


def test_changes_are_laid_over_the_config(line: Line) -> None:
    trial = line.experiment({"trainer.learning_rate": 0.5, "trainer": {"batch_size": 32}}, window=3, sample=0.25)
    assert (trial.config.trainer.learning_rate, trial.config.trainer.batch_size) == (0.5, 32)
    assert (trial.config.examples.window, trial.config.examples.sample) == (3, 0.25)
    assert line.config.trainer.learning_rate != 0.5, "the line itself is as it was"
    assert line.name == "mine" and "mine" in repr(line)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"trainer.learning_rat": 0.1}, "changes:1: .*trainer.learning_rat.*learning_rate"),
        ({"trainer.learning_rate": "fast"}, "changes:1: trainer.learning_rate must be a number"),
        ({"trainer..x": 1}, "a change must be named by its key"),
        ({3: 1}, "a change must be named by its key"),
        ({"trainer": 1, "trainer.batch_size": 2}, "a change must be given once"),
    ],
)
def test_changes_that_cannot_be(line: Line, changes: dict[object, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        line.experiment(changes)  # type: ignore[arg-type]


def test_an_experiment_keeps_the_name_of_its_line(line: Line) -> None:
    with pytest.raises(UsageError, match="leave the name 'mine' as it is. Got 'other'"):
        line.experiment({"name": "other"})


def test_numbers_for_classes_are_taken_as_texts(line: Line) -> None:
    trial = line.experiment({"label.classes": [0, 1]})
    assert trial.config.label.classes == ("0", "1")


def test_changes_are_saved_over_the_environment_that_they_were_tried_in(line: Line, tmp_path: Path) -> None:
    prod = Line(tmp_path, environment="prod", home=tmp_path / "state")
    path = prod.experiment({"trainer.learning_rate": 0.5}).save("faster")
    assert yaml.safe_load(path.read_text()) == {"trainer": {"batch_size": 64, "learning_rate": 0.5}}
    again = Line(tmp_path, environment="faster", home=tmp_path / "state")
    assert (again.config.trainer.learning_rate, again.config.trainer.batch_size) == (0.5, 64)


def test_nothing_has_run_yet(line: Line) -> None:
    trial = line.experiment()
    with pytest.raises(UsageError, match="the experiment must have run. Got nothing yet"):
        trial.history()
    with pytest.raises(UsageError, match="until must be a component before the Pusher"):
        trial.run("Pusher")
    with pytest.raises(UsageError, match="RUN must name one run"):
        line.results()
    assert line.runs().empty


def test_importing_it_imports_no_tensorflow() -> None:
    code = (
        "import sys, conveyor; assert 'pipeline' not in sys.modules; from conveyor import Line;"
        "assert not {'tensorflow', 'tfx', 'pandas', 'apache_beam'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).resolve().parents[3])
