"""A row out for each row in, with what the model says of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from components.bulk_inferrer import part
from serving.v1_loader import V1Model
from tests.pipeline.batch.conftest import Batch
from tests.pipeline.batch.toy_line import CLASSES, TASKS, ToyLine, csv_rows

ROWS = 2100
"""More than a part, which is more than a batch of the model."""
TOLERANCE = 1e-6
"""A sum of floats of another number of rows at a time may differ in its last bits."""


def served(model: Path, rows: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    """Returns what the model answers when it is asked for raw rows one by one, as a server is."""
    with V1Model(model) as graph:
        answers = [
            graph(
                "serving_raw",
                {
                    "amount": np.array([float("nan") if row["amount"] is None else row["amount"]], np.float32),
                    "count": np.array([row["count"]], np.int64),
                    "shade": np.array([row["shade"].encode()], object),
                },
            )
            for row in rows
        ]
    return {name: np.concatenate([answer[name] for answer in answers]) for name in answers[0]}


@pytest.mark.parametrize("task", TASKS)
def test_predictions_are_what_the_server_answers(
    task: str, tmp_path: Path, models: dict[str, Path], batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tensorflow as tf

    monkeypatch.setattr(part, "LOG_ROWS", 700)

    toy = ToyLine.make(tmp_path / "toy", task)
    toy.push(3, models[task])
    file = toy.table("in.csv", csv_rows(ROWS))
    assert batch(toy, "--input", file, "--output", "out", "--key", "id", "--rows-per-part", 2060) == 0
    read = pa_csv.read_csv(file, convert_options=pa_csv.ConvertOptions(strings_can_be_null=False))
    expected = served(models[task], read.to_pylist())
    table = toy.predictions("out")
    assert table["row"].to_pylist() == list(range(ROWS))
    assert table["line"].to_pylist() == list(range(2, ROWS + 2))
    assert set(table["file"].to_pylist()) == {"in.csv"}
    assert table["id"].to_pylist() == [f"r{row}" for row in range(ROWS)]
    assert set(table["model_version"].to_pylist()) == {3}
    assert table["error"].null_count == ROWS
    logs = toy.logs("out")
    assert len(logs) == ROWS
    if task == "regression":
        found = {"predictions": np.array(table["predictions"])}
    else:
        assert table["predicted_class"].to_pylist() == [name.decode() for name in expected["predicted_class"]]
        columns = [np.array(table[f"probabilities[{name}]"]) for name in CLASSES[task]]
        found = {"probabilities": np.stack(columns, axis=1)}
        assert ("scores" in table.column_names) == (task == "binary_classification")
    for name, values in found.items():
        assert values.dtype == np.float32
        np.testing.assert_allclose(values.reshape(expected[name].shape), expected[name], rtol=0, atol=TOLERANCE)
        assert np.ptp(values) > 0.1, "rows must differ for this to say anything"
        told = np.concatenate([tf.make_ndarray(log.predict_log.response.outputs[name]) for log in logs])
        np.testing.assert_array_equal(told.reshape(values.shape), values)
    spec = logs[5].predict_log.response.model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == ("toy", 3, "serving_default")


def test_a_row_that_cannot_be_read_is_a_row_out(
    toy: ToyLine, batch: Batch, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from serving.capture.log_format import Record

    rows = 'a,1,2,red,0\nb,1,2,red\nc,x,2.5,red,0\nd,-1,2,"red",1\ne,NA,2,red,1\n'
    toy.table("in.csv", rows)
    monkeypatch.setattr(part, "LOG_ROWS", 2)
    args = ("--input", "in.csv", "--output", "out", "--key", "id", "--key", "tip")
    assert batch(toy, *args) == 4
    error = capsys.readouterr().err
    assert "bad rows must be at most 0.3 of the rows (examples.max_bad_rows). Got 3 of 5 rows (60.00%)" in error
    assert "in.csv:4: column 'amount' must be a finite number (float32). Got 'x' instead; column 'count'" in error
    table = toy.predictions("out")
    assert table["line"].to_pylist() == [2, 3, 4, 5, 6]
    assert table["id"].to_pylist() == ["a", None, "c", "d", "e"]
    assert table["error"].to_pylist() == [
        None,
        "a row must have 5 fields. Got 4 instead",
        "column 'amount' must be a finite number (float32). Got 'x' instead; "
        "column 'count' must be an integer (int64). Got '2.5' instead",
        "column 'amount' must be at least 0 (curated schema). Got -1.0 instead",
        None,
    ]
    assert [value is None for value in table["scores"].to_pylist()] == [False, True, True, True, False]
    logs = toy.logs("out")
    assert [len(log.predict_log.response.outputs) for log in logs] == [4, 0, 0, 0, 4]
    told = [Record.FromString(log.SerializeToString()).log_metadata.capture for log in logs]
    assert [one.caller_key for one in told] == [
        json.dumps(key) for key in (["a", "0"], [None, None], ["c", "0"], ["d", "1"], ["e", "1"])
    ]
    assert [(one.code, one.message) for one in told] == [
        (3 * (text is not None), text or "") for text in table["error"].to_pylist()
    ]
    assert batch(toy, *args) == 4, "the second time, too"
    assert batch(toy, "--input", "in.csv", "--output", "without", "--no-schema", "--format", "parquet") == 4
    assert toy.predictions("without")["error"].to_pylist()[3] is None


def test_every_format_gives_the_same(toy: ToyLine, batch: Batch) -> None:
    fastavro = pytest.importorskip("fastavro")
    import tensorflow as tf

    toy.table("in.csv", csv_rows(50))
    options = pa_csv.ConvertOptions(strings_can_be_null=True, column_types={"amount": pa.float64()})
    rows = pa_csv.read_csv(toy.folder / "in.csv", convert_options=options).drop(["tip"])
    pq.write_table(rows, toy.folder / "in.parquet", row_group_size=20)
    kinds = {"id": "string", "amount": "double", "count": "long", "shade": "string"}
    fields = [{"name": name, "type": ["null", kind]} for name, kind in kinds.items()]
    with open(toy.folder / "in.avro", "wb") as file:
        fastavro.writer(file, {"type": "record", "name": "row", "fields": fields}, rows.to_pylist())
    with tf.io.TFRecordWriter(str(toy.folder / "in.tfrecord")) as writer:
        for row in rows.to_pylist():
            features = {}
            for name, value in row.items():
                if value is not None:
                    many = {"double": "float_list", "long": "int64_list", "string": "bytes_list"}[kinds[name]]
                    one = value.encode() if isinstance(value, str) else value
                    features[name] = tf.train.Feature(**{many: {"value": [one]}})
            writer.write(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())
    for name in ("csv", "parquet", "avro", "tfrecord"):
        assert batch(toy, "--input", f"in.{name}", "--output", name, "--key", "id", "--rows-per-part", 30) == 0
    expected = toy.predictions("csv").drop(["file", "line"])
    assert expected.num_rows == 50 and expected["error"].null_count == 50
    for name in ("parquet", "avro", "tfrecord"):
        assert toy.predictions(name).drop(["file", "line"]).equals(expected), name
        assert toy.predictions(name)["line"].to_pylist() == list(range(1, 51))


def test_spans_of_the_line(toy: ToyLine, batch: Batch, capsys: Any) -> None:
    for span in (1, 2, 3):
        toy.table(f"days/{span}.csv", f"r{span},{span},1,red,0\n")
    for given, ids in (("2", ["r2"]), ("latest", ["r3"]), ("all", ["r1", "r2", "r3"])):
        output = f"out-{given}"
        assert batch(toy, "--input", given, "--output", output, "--key", "id") == 0
        assert toy.predictions(output)["id"].to_pylist() == ids
    assert toy.manifest("out-all")["spans"] == ["1", "2", "3"]
    assert toy.predictions("out-all")["file"].to_pylist() == ["1.csv", "2.csv", "3.csv"]
    toy.table("2", "here,1,1,red,0\n")
    assert batch(toy, "--input", "2", "--output", "file") == 2
    assert "--input must end in .csv" in capsys.readouterr().err, "a file comes before a span"


def test_spans_that_are_cut_out_of_a_table(tmp_path: Path, models: dict[str, Path], batch: Batch) -> None:
    by_time = {"input": "in.csv", "span_by": {"column": "at", "unit": "iso8601", "period": "month"}, "max_bad_rows": 1}
    toy = ToyLine.make(tmp_path / "toy", "regression", examples=by_time)
    toy.push(1, models["regression"])
    rows = ["a,1,1,red,2024-01-01", "b,2,1,red,2024-02-01", "c,3,1,red,soon", "d,x,1,red,2024-02-03"]
    toy.table("in.csv", "\n".join([*rows, "e,5,1,red,2024-01-09", "bad"]), "id,amount,count,shade,at\n")
    assert batch(toy, "--input", "2024-02", "--output", "out", "--key", "id") == 0
    table = toy.predictions("out")
    assert table["line"].to_pylist() == [3, 4, 5]
    assert table["id"].to_pylist() == ["b", None, "d"]
    assert [error is None for error in table["error"].to_pylist()] == [True, False, False]
    assert "must be a time (iso8601)" in table["error"].to_pylist()[1]


def test_an_input_without_rows_is_a_part_without_rows(toy: ToyLine, batch: Batch) -> None:
    toy.table("in.csv", "")
    assert batch(toy, "--input", "in.csv", "--output", "out", "--key", "id") == 0
    assert toy.manifest("out")["rows_out"] == 0
    table = toy.predictions("out")
    assert (table.num_rows, table.column_names[:4]) == (0, ["row", "file", "line", "id"])
    assert "probabilities[yes]" in table.column_names
    assert toy.logs("out") == []


def test_names_that_a_key_has_already(toy: ToyLine, batch: Batch) -> None:
    toy.table("in.csv", "7,1,1,x\n", "row,amount,count,scores\n")
    assert batch(toy, "--input", "in.csv", "--output", "out", "--key", "row", "--key", "scores") == 0
    row = toy.predictions("out").to_pylist()[0]
    assert (row["row"], row["scores"], row["prediction.row"]) == ("7", "x", 0)
    assert 0 < row["prediction.scores"] < 1
