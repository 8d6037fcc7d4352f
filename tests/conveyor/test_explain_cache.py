"""`conveyor explain-cache` and the options of `conveyor run` that go on with or take from an earlier run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from conveyor import cli
from pipeline.record import NodeRecord, RunRecord, save
from pipeline.state import State
from schema.orchestration import NODES

RUN = "20260102T000000.000000Z-aaaaaa"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CONVEYOR_HOME", str(tmp_path / "home"))
    run = RunRecord(RUN, "toy", "2026-01-02T00:00:00+00:00", repeats="20260101T000000.000000Z-bbbbbb")
    run.nodes = [NodeRecord(node, "cached") for node in NODES]
    run.verdict = {"outcome": "pushed"}
    save(State(tmp_path / "home" / "toy", "toy"), run)
    (tmp_path / "toy.csv").write_text("x,y\n1,2.5\n")
    (tmp_path / "line.yaml").write_text(
        "name: toy\ntask: regression\nlabel: {name: y}\nexamples: {input: toy.csv}\n", encoding="utf-8"
    )
    return tmp_path


def test_it_says_for_each_component_why(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["explain-cache", RUN]) == 0
    shown = capsys.readouterr().out
    assert f"run {RUN} of line toy: nothing has changed since run 20260101T000000.000000Z-bbbbbb" in shown
    assert all(node in shown for node in NODES)
    assert cli.main(["explain-cache", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["run"] == RUN and len(report["components"]) == len(NODES)
    assert {each["state"] for each in report["components"]} == {"cached"}


def test_a_run_that_is_not_there(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["explain-cache", "2031"]) == 2
    assert "there is no such run" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--from", "trainer"], "did you mean Trainer?"),
        (["--force", "Tunner"], "did you mean Tuner?"),
        (["--resume", "latest"], "whose verdict is pushed"),
        (["--resume", "2031"], "there is no such run"),
        (["--resume", "latest", "--from", "Trainer"], "--from must not be given with --resume"),
        (["--from", "Trainer"], "--from Trainer must find a run"),
    ],
)
def test_what_run_cannot_do_is_a_usage_error(
    home: Path, capsys: pytest.CaptureFixture[str], args: list[str], message: str
) -> None:
    assert cli.main(["run", str(home), *args]) == 2
    assert message in capsys.readouterr().err
    assert len(list((home / "home" / "toy" / "runs").iterdir())) == 1, "a run that is refused leaves no record"
