"""What cannot be predicted is said in one message, before anything is written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.pipeline.batch.conftest import Batch
from tests.pipeline.batch.toy_line import ToyLine, csv_rows

TABLE = ("--input", "in.csv", "--output", "out")


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (("--input", "absent.csv", "--output", "out"), 2, "Got 'absent.csv' instead, where there is no file"),
        (("--input", "days", "--output", "out"), 2, "Got 'days' instead"),
        (("--input", "9", "--output", "out"), 2, "Got '9' instead: there is no such file, and the span must be one"),
        (("--input", "notes.txt", "--output", "out"), 2, "--input must end in .csv, .csv.gz, .parquet"),
        ((*TABLE, "--key", "idd"), 2, "--key must name columns of the table. Got 'idd' instead. Did you mean 'id'?"),
        ((*TABLE, "--key", "id", "--key", "amuont"), 2, "--key must name columns of the table. Got 'amuont' instead"),
        ((*TABLE, "--key", "id", "--key", "id"), 2, "--key must name each column once. Got id, id instead"),
        ((*TABLE, "--model-version", "7"), 1, "the version must be one that was released: 1. Got 7 instead"),
        ((*TABLE, "--signature-name", "serving_defualt"), 2, "Did you mean 'serving_default'?"),
        ((*TABLE, "--signature-name", "serving_raw"), 1, "must take serialized tf.Examples. Got 'serving_raw' instead"),
        (("--input", "in.csv", "--output", "in.csv"), 2, "--output must be a folder that can be written"),
        (("--input", "misspelt.csv", "--output", "out"), 2, "Got 'amountt' instead. Did you mean 'amount'?"),
        (("--input", "nothing.csv", "--output", "out"), 2, "must have the columns 'amount', 'count', 'shade'. Got id"),
        (("--input", "twice.csv", "--output", "out"), 2, "must be unique. Got 'id' for columns 1 and 2 instead"),
        (("--input", "texts.csv", "--output", "out"), 4, "texts.csv:2: column 'amount' must be a finite number"),
    ],
)
def test_wrong_usage(toy: ToyLine, batch: Batch, capsys: Any, args: Any, code: int, message: str) -> None:
    toy.table("in.csv", csv_rows(3))
    toy.table("days/1.csv", csv_rows(3))
    toy.table("notes.txt", "")
    toy.table("misspelt.csv", "1,1,1\n", "amountt,count,shade\n")
    toy.table("nothing.csv", "1\n", "id\n")
    toy.table("twice.csv", "1,1\n", "id,id\n")
    toy.table("texts.csv", "much,1,red\n" * 12, "amount,count,shade\n")
    assert batch(toy, *args, "--json") == code
    captured = capsys.readouterr()
    assert message in captured.err
    assert "should not have happened" not in captured.err and "Traceback" not in captured.err
    assert json.loads(captured.out)["exit_code"] == code
    assert not list(toy.folder.glob("out/predictions-*"))


def test_without_a_model(tmp_path: Path, batch: Batch, capsys: Any) -> None:
    toy = ToyLine.make(tmp_path / "toy", "regression")
    toy.table("in.csv", csv_rows(3))
    assert batch(toy, *TABLE) == 1
    assert "the line must have a live model. Got none instead" in capsys.readouterr().err
    assert not (toy.folder / "out").exists()


def test_another_model_than_was_released(toy: ToyLine, batch: Batch, models: dict[str, Path], capsys: Any) -> None:
    toy.table("in.csv", csv_rows(3))
    shutil.rmtree(toy.base / "1")
    shutil.copytree(models["other"], toy.base / "1")
    assert batch(toy, *TABLE) == 1
    assert "version 1 must be the model that was released" in capsys.readouterr().err
    assert not list(toy.folder.glob("out/predictions-*"))


def test_few_wrong_values_are_bad_rows(toy: ToyLine, batch: Batch) -> None:
    toy.table("in.csv", "x,1,red\n" * 9 + "1,1,red\n" * 30, "amount,count,shade\n")
    assert batch(toy, *TABLE) == 0
    assert toy.predictions("out")["error"].null_count == 30
    toy.table("in.csv", "x,1,red\n" * 3, "amount,count,shade\n")
    assert batch(toy, "--input", "in.csv", "--output", "three") == 4
    assert toy.predictions("three")["error"].null_count == 0, "three rows out all the same"


def test_columns_that_are_not_there_are_told(toy: ToyLine, batch: Batch, capsys: Any) -> None:
    toy.table("in.csv", "1,1,x\n", "amount,tip,more\n")
    assert batch(toy, *TABLE) == 0
    error = capsys.readouterr().err
    assert "not asked for by the model: more, tip" in error
    assert "missing in every row: count, shade" in error
