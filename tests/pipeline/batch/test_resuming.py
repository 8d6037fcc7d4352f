"""A batch goes on where it was, and only the same one does."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import filelock
import pytest
import yaml

from components.bulk_inferrer import part
from pipeline.batch import work
from pipeline.batch.folder import OutputFolder
from schema.errors import ReleaseError
from tests.pipeline.batch.conftest import Batch
from tests.pipeline.batch.toy_line import ToyLine, csv_rows

ARGS = ("--input", "in.csv", "--rows-per-part", 30)
NAMES = [f"predictions-{number:05d}-of-00004.{end}" for number in range(4) for end in ("parquet", "tfrecord.gz")]


@pytest.fixture
def expected(toy: ToyLine, batch: Batch) -> dict[str, bytes]:
    """The bytes of an undisturbed batch of four parts; it is in `whole`."""
    toy.table("in.csv", csv_rows(100))
    assert batch(toy, *ARGS, "--output", "whole") == 0
    found = toy.contents("whole")
    assert list(found) == NAMES
    return found


def test_a_second_batch_is_the_same_bytes(toy: ToyLine, batch: Batch, expected: dict[str, bytes]) -> None:
    assert batch(toy, *ARGS, "--output", "again") == 0
    assert toy.contents("again") == expected
    assert sorted(path.name for path in (toy.folder / "again").iterdir()) == [".batch.lock", "manifest.json", *NAMES]


def test_a_finished_one_does_nothing(
    toy: ToyLine, batch: Batch, expected: dict[str, bytes], capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = toy.manifest("whole")
    monkeypatch.setattr(part, "make_part", lambda *_: pytest.fail("nothing is to be made"))
    monkeypatch.setattr(work, "make_part", part.make_part)
    capsys.readouterr()
    assert batch(toy, *ARGS, "--output", "whole", "--json") == 0
    captured = capsys.readouterr()
    assert "nothing to do: all 4 parts are in" in captured.err
    document = json.loads(captured.out)
    assert (document["made"], document["rows_in"], document["rows_out"]) == (0, 100, 100)
    assert toy.manifest("whole") == manifest
    assert (document["model_version"], document["run_id"], document["signature_name"]) == (
        1,
        "run-1",
        "serving_default",
    )


@pytest.mark.parametrize("damage", ["gone", "cut short", "changed"])
def test_a_damaged_part_is_made_again(
    toy: ToyLine, batch: Batch, expected: dict[str, bytes], damage: str, capsys: Any
) -> None:
    path = toy.folder / "whole" / NAMES[3]
    kept = {name: (toy.folder / "whole" / name).stat().st_ino for name in NAMES if "00001" not in name[:17]}
    if damage == "gone":
        path.unlink()
    else:
        content = expected[NAMES[3]]
        path.write_bytes(content[:-5] if damage == "cut short" else content[:-5] + b"-----")
    assert batch(toy, *ARGS, "--output", "whole") == 0
    assert "4 parts (3 were there)" in capsys.readouterr().err
    assert toy.contents("whole") == expected
    assert {name: (toy.folder / "whole" / name).stat().st_ino for name in kept} == kept


def test_one_that_failed_goes_on(
    toy: ToyLine, batch: Batch, expected: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    made: list[int] = []

    def failing(job: part.PartJob, table: Any) -> None:
        if job.part == 2:
            raise RuntimeError("out of luck")
        made.append(job.part)
        part.make_part(job, table)

    with monkeypatch.context() as patch:
        patch.setattr(work, "make_part", failing)
        assert batch(toy, *ARGS, "--output", "out") == 1
        error = capsys.readouterr().err
        assert "Got RuntimeError: out of luck instead" in error and "Traceback" not in error
        assert not (toy.folder / "out" / "manifest.json").exists()
        assert "out of luck" in (toy.folder / "out" / ".batch" / "log.txt").read_text()
        patch.setattr(work, "make_part", lambda job, table: (made.append(job.part), part.make_part(job, table)))
        assert batch(toy, *ARGS, "--output", "out") == 0
    assert made == [0, 1, 2, 3]
    assert toy.contents("out") == expected


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (("--rows-per-part", 31), "rows_per_part is 30 there and 31 now"),
        (("--key", "id"), 'key is [] there and ["id"] now'),
        (("--format", "parquet"), 'format is ["parquet", "tfrecord"] there and ["parquet"] now'),
        (("--no-schema",), "schema is "),
        (("--model-version", 2), "model_version is 1 there and 2 now"),
        (("--input", "other.csv"), 'input is [["in.csv", '),
    ],
)
def test_another_one_is_refused(
    toy: ToyLine,
    batch: Batch,
    models: dict[str, Path],
    expected: dict[str, bytes],
    change: tuple[Any, ...],
    named: str,
    capsys: Any,
) -> None:
    toy.push(2, models["other"])
    toy.table("other.csv", csv_rows(100))
    asked = ("--model-version", 1, *ARGS, *change)
    assert batch(toy, *asked, "--output", "whole") == 2
    error = capsys.readouterr().err
    assert "must hold the same batch. Got another one instead" in error
    assert named in error
    assert "name another folder with --output" in error
    assert toy.contents("whole") == expected
    assert batch(toy, *asked, "--output", "out") == 0, "in another folder it may be"


def test_changed_content_is_another_input(toy: ToyLine, batch: Batch, expected: dict[str, bytes], capsys: Any) -> None:
    toy.table("in.csv", csv_rows(99))
    assert batch(toy, *ARGS, "--output", "whole") == 2
    assert "input is" in capsys.readouterr().err
    toy.table("in.csv", csv_rows(100))
    assert batch(toy, *ARGS, "--output", "whole") == 0


def test_a_table_that_changes_meanwhile_leaves_no_part(
    toy: ToyLine, batch: Batch, expected: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    def changing(job: part.PartJob, table: Any) -> None:
        part.make_part(job, table)
        (toy.folder / "in.csv").write_text((toy.folder / "in.csv").read_text() + "late,1,1,red,0\n")

    with monkeypatch.context() as patch:
        patch.setattr(work, "make_part", changing)
        assert batch(toy, *ARGS, "--output", "out") == 2
    assert "in.csv must not change while a batch reads it" in capsys.readouterr().err
    toy.table("in.csv", csv_rows(100))
    made: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr(work, "make_part", lambda job, table: (made.append(job.part), part.make_part(job, table)))
        assert batch(toy, *ARGS, "--output", "out") == 0
    assert made == [0, 1, 2, 3]
    assert toy.contents("out") == expected


def test_two_at_a_time_are_refused(toy: ToyLine, batch: Batch, expected: dict[str, bytes], capsys: Any) -> None:
    with filelock.FileLock(toy.folder / "whole" / ".batch.lock"):
        assert batch(toy, *ARGS, "--output", "whole") == 1
    assert "is held by another batch" in capsys.readouterr().err
    assert batch(toy, *ARGS, "--output", "whole") == 0


def test_what_a_killed_one_left_behind_is_removed(tmp_path: Path) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    staging = tmp_path / ".batch" / f".staging.{dead.pid}-01234567.tmp"
    staging.mkdir(parents=True)
    half = tmp_path / f".predictions-00000-of-00001.parquet.{dead.pid}-01234567.tmp"
    alive = tmp_path / f".predictions-00000-of-00001.parquet.{os.getpid()}-01234567.tmp"
    half.write_text("half of it")
    alive.write_text("half of it")
    with OutputFolder(tmp_path).locked():
        assert [path.exists() for path in (staging, half, alive)] == [False, False, True]


def test_predictions_of_unknown_origin_are_left_alone(toy: ToyLine, batch: Batch, capsys: Any) -> None:
    toy.table("in.csv", csv_rows(10))
    (toy.folder / "out").mkdir()
    (toy.folder / "out" / "predictions-00000-of-00001.parquet").write_text("mine")
    assert batch(toy, "--input", "in.csv", "--output", "out") == 2
    assert "must hold no predictions of unknown origin" in capsys.readouterr().err
    assert (toy.folder / "out" / "predictions-00000-of-00001.parquet").read_text() == "mine"


@pytest.mark.parametrize("workers", [1, 2])
def test_beam_makes_the_same_bytes(
    toy: ToyLine, batch: Batch, expected: dict[str, bytes], workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    mode = "multi_threading" if workers == 2 else "in_memory"
    overlay = {"beam": {"direct_running_mode": mode, "direct_num_workers": workers, "pipeline_args": ["--no_gc"]}}
    (toy.folder / "line.beam.yaml").write_text(yaml.safe_dump(overlay))
    monkeypatch.setattr(work, "BEAM_ABOVE_BYTES", 0)
    assert batch(toy, *ARGS, "--output", "out", "--env", "beam") == 0
    assert toy.contents("out") == expected
    runner = toy.manifest("out")["runner"]
    assert runner[:3] == ["DirectRunner", f"--direct_running_mode={mode}", f"--direct_num_workers={workers}"]
    assert toy.manifest("whole")["runner"] == ["in process"]
    assert not (toy.folder / "out" / ".batch").exists()


def test_what_a_beam_worker_raises_arrives_as_it_is(
    toy: ToyLine, batch: Batch, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    toy.table("in.csv", csv_rows(100))
    (toy.folder / "line.beam.yaml").write_text("beam: {direct_running_mode: multi_threading, direct_num_workers: 2}")

    def broken(*args: Any) -> None:
        raise ReleaseError("the model must be whole", hint="mend it")

    monkeypatch.setattr(work, "BEAM_ABOVE_BYTES", 0)
    monkeypatch.setattr(part, "load_model", broken)
    assert batch(toy, *ARGS, "--output", "out", "--env", "beam") == 1
    assert capsys.readouterr().err.endswith("conveyor: the model must be whole\n  next: mend it\n")
