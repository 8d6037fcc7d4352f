"""`conveyor gc`: what it says, its exit codes, and that wrong input removes nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from conveyor.cli import main
from tests.pipeline.garbage.fake_line import FakeLine

ROOT = Path(__file__).resolve().parents[2]
LINE_YAML = """\
name: toy
task: regression
label: {name: y}
examples: {input: t.csv}
retention: {runs_days: 0, keep_runs: 1}
"""


@pytest.fixture
def line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeLine:
    """A line with a run that nothing needs and one that is live."""
    (tmp_path / "line.yaml").write_text(LINE_YAML)
    monkeypatch.setenv("CONVEYOR_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    made = FakeLine(tmp_path / "home", time.time() - 100)
    made.run(seed=1)
    made.push(made.run(seed=2)[0])
    return made


def words(line: FakeLine) -> list[Path]:
    return sorted(line.state.root.rglob("word"))


def test_it_says_what_goes_before_and_after(line: FakeLine, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gc", "line.yaml"]) == 0
    before, after = capsys.readouterr().out.split("kept:")
    assert before.startswith("line toy: 8 folders and files to be removed, ")
    assert "model_run" in before and "leftovers" in before
    assert "version 1 is live" in after
    assert after.splitlines()[-1].startswith("freed ")
    assert main(["gc", "line.yaml"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("line toy: nothing to be removed") and out.endswith("nothing was removed\n")


def test_a_dry_run_changes_nothing(line: FakeLine, capsys: pytest.CaptureFixture[str]) -> None:
    before = words(line), line.artifact_states()
    assert main(["gc", "line.yaml", "--dry-run"]) == 0
    assert (words(line), line.artifact_states()) == before
    assert capsys.readouterr().out.endswith("nothing was changed (--dry-run)\n")


def test_json_is_one_document(line: FakeLine, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gc", "line.yaml", "--dry-run", "--json"]) == 0
    planned = json.loads(capsys.readouterr().out)
    assert main(["gc", "line.yaml", "--json"]) == 0
    captured = capsys.readouterr()
    done = json.loads(captured.out)
    assert "to be removed" in captured.err
    assert planned == {**done, "dry_run": True}
    assert done["freed_bytes"] == sum(item["bytes"] for item in done["removed"]) > 0
    assert all(item["why"] for item in done["kept"])
    assert not any(Path(item["path"]).exists() for item in done["removed"])
    assert all(Path(item["path"]).exists() for item in done["kept"])


def refused(line: FakeLine, capsys: pytest.CaptureFixture[str], code: int, *says: str) -> None:
    """Asserts that a collection is refused with an exit code and words, and removes nothing."""
    before = words(line)
    assert main(["gc", "line.yaml"]) == code
    err = capsys.readouterr().err
    assert all(word in err for word in says), err
    assert "Traceback" not in err and "should not have happened" not in err
    assert words(line) == before


def test_a_line_without_a_state(
    line: FakeLine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CONVEYOR_HOME", str(tmp_path / "other"))
    refused(line, capsys, 2, "LINE must have been run before. Got 'toy' instead")
    assert not (tmp_path / "other").exists()


def test_a_damaged_ledger(line: FakeLine, capsys: pytest.CaptureFixture[str]) -> None:
    content = line.state.ledger.read_text()
    line.state.ledger.write_text("{}\n")
    refused(line, capsys, 1, "line 1: the release ledger is damaged")
    line.state.ledger.write_text(content.replace('"when":"', '"when":"someday '))
    refused(line, capsys, 1, "the time of a release must be ISO 8601")


def test_a_damaged_record(line: FakeLine, capsys: pytest.CaptureFixture[str]) -> None:
    (line.state.runs / "toy-0000" / "run.json").write_text("[")
    refused(line, capsys, 1, "runs/toy-0000/run.json must be the record of a run")


def test_a_run_under_way(line: FakeLine, capsys: pytest.CaptureFixture[str]) -> None:
    with line.state.locked():
        refused(line, capsys, 1, "line 'toy' is held by another run")


def test_ml_metadata_that_is_gone_or_broken(line: FakeLine, capsys: pytest.CaptureFixture[str]) -> None:
    line.state.metadata_db.rename(line.state.root / "elsewhere")
    refused(line, capsys, 1, "ML Metadata must know the artifacts of line 'toy'", "--env")
    assert not line.state.metadata_db.exists()
    line.state.metadata_db.write_text("no database")
    refused(line, capsys, 1, "metadata.sqlite must be a store that ML Metadata can use")


def test_a_retention_that_is_none(line: FakeLine, capsys: pytest.CaptureFixture[str]) -> None:
    Path("line.yaml").write_text(LINE_YAML.replace("keep_runs: 1", "keep_runs: 0"))
    refused(line, capsys, 2, "retention.keep_runs", "line.yaml")


def test_a_folder_that_cannot_be_moved(line: FakeLine, capsys: pytest.CaptureFixture[str]) -> None:
    # Where the trash is to be.
    (line.state.root / "trash").write_text("mine")
    refused(line, capsys, 1, "trash must be", "the next conveyor gc finishes")


STEPS = ("live again", "marked", "first rename", "a rename", "deleted", "trash removed")


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_any_step_the_next_one_finishes(
    line: FakeLine, when: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["gc", "line.yaml"]) == 0
    needed = words(line)
    for number, step in enumerate(STEPS):
        # New garbage, and then a run that is all from the cache: nothing of it may be taken for garbage.
        line.run(seed=1, spans=number + 2)
        garbage = set(words(line)) - set(needed)
        assert line.run(seed=2)[1] == 6
        removed = len(json_of(capsys, "gc", "line.yaml", "--dry-run", "--json")["removed"])
        # Two changes of states, as many renames as there is to remove, a change of states, the trash.
        last = 2 + removed
        at = dict(zip(STEPS, (0, 1, 2, 5, last, last + 1), strict=True))[step]
        program = [sys.executable, "-m", "tests.pipeline.garbage.dying", str(at), when, str(tmp_path / "line.yaml")]
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        killed = subprocess.run(program, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        states = line.artifact_states()
        there = set(words(line))
        assert there >= set(needed)
        for made in line.made.values():
            whole = made.uri / "word" in there
            assert whole if states[made.id] == "LIVE" else made.uri / "word" not in needed
            assert not (whole and states[made.id] == "DELETED")
        # The line can be run in between; what it makes anew is no garbage.
        assert line.run(seed=2)[1] == 6
        assert main(["gc", "line.yaml"]) == 0
        assert words(line) == needed and not garbage & set(words(line))
        assert not (line.state.root / "trash").exists()
        assert set(line.artifact_states().values()) == {"LIVE", "DELETED"}
        capsys.readouterr()
        assert json_of(capsys, "gc", "line.yaml", "--dry-run", "--json")["removed"] == []


def json_of(capsys: pytest.CaptureFixture[str], *args: str) -> Any:
    """Returns the JSON document that a command prints."""
    capsys.readouterr()
    assert main(list(args)) == 0
    return json.loads(capsys.readouterr().out)
