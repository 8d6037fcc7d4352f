"""What a run keeps for its rebuild."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.comparison import compare_runs
from pipeline.record import RunRecord
from pipeline.snapshot import keep, keep_search, own_functions, own_modules, read_search, read_surroundings
from pipeline.sources import Sources
from schema.line import Line


def line(**over: object) -> Line:
    config = {"name": "x", "task": "regression", "label": {"name": "y"}, "examples": {"input": "t.csv"}, **over}
    return Line.model_validate(config)


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "mine" / "my_features" / "good.py"
    file.parent.mkdir(parents=True)
    file.write_text("def fn(inputs): return inputs\n")
    monkeypatch.syspath_prepend(str(tmp_path / "mine"))
    return file


def test_a_lines_own_module_is_kept_where_its_name_says(own: Path, tmp_path: Path) -> None:
    (tmp_path / "schema.pbtxt").write_text("feature {}")
    mine = line(transform={"preprocessing_fn": "my_features.good.fn"})
    keep(tmp_path / "run", mine, tmp_path / "schema.pbtxt", b"diff")
    assert (tmp_path / "run" / "own" / "my_features" / "good.py").read_bytes() == own.read_bytes()
    assert (tmp_path / "run" / "schema.pbtxt").read_text() == "feature {}"
    assert (tmp_path / "run" / "code.diff").read_bytes() == b"diff"
    assert read_surroundings(tmp_path / "run")["packages"]["tfx"]


def test_modules_of_ours_and_installed_ones_are_not_kept(tmp_path: Path) -> None:
    named = ["components.trainer.run.run_fn", "json.loads", "click.echo", "no_such_module.fn", "nodots"]
    found = own_modules([name for name in named if name not in ("json.loads",)])
    assert found == {}
    keep(tmp_path / "run", line(), tmp_path / "none.pbtxt", b"")
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["surroundings.json"]
    assert own_functions(line()) == []


def test_a_search_is_kept_as_it_can_be_taken_over(tmp_path: Path) -> None:
    results, best = tmp_path / "results", tmp_path / "best"
    results.mkdir()
    best.mkdir()
    (results / "search.json").write_text(json.dumps({"run_id": "r", "out_of_time": True, "made": []}))
    rows = [{"trial_id": "0", "score": 0.5, "learning_rate": 0.1}]
    (results / "tuner_results.json").write_text(json.dumps(rows))
    (best / "best_hyperparameters.txt").write_text(json.dumps({"values": {"learning_rate": 0.1}}))
    keep_search(tmp_path / "run", {})
    assert read_search(tmp_path / "run") is None
    keep_search(
        tmp_path / "run", {"tuner_results": [{"uri": str(results)}], "best_hyperparameters": [{"uri": str(best)}]}
    )
    found = read_search(tmp_path / "run")
    assert found is not None and found["trials"] == [{"trial_id": "0", "score": 0.5, "values": {"learning_rate": 0.1}}]
    assert found["hyperparameters"] == {"values": {"learning_rate": 0.1}} and found["run_id"] == "r"


def test_two_runs_are_compared_by_source_package_and_variable(tmp_path: Path) -> None:
    folders = tmp_path / "one", tmp_path / "two"
    for folder, text, version in zip(folders, ("a" * 64, "b" * 64), ("1.0", "2.0"), strict=True):
        Sources({"tfx": "1"}, {"components/a.py": text, "components/b.py": "c" * 64}, {}).write(folder)
        around = {"packages": {"numpy": version}, "variables": {}, "processor": {"cores": 2}}
        (folder / "surroundings.json").write_text(json.dumps(around))
    runs = RunRecord("1", "x", "t"), RunRecord("2", "x", "t")
    assert compare_runs(*runs, *folders)["code"] == {
        "source components/a.py": ["a" * 12, "b" * 12],
        "packages numpy": ["1.0", "2.0"],
    }
    assert compare_runs(*runs)["code"] == {}
    assert compare_runs(*runs, folders[0], tmp_path / "older")["code"] == {}
