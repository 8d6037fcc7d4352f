"""Files of rows with their predictions beside them."""

from __future__ import annotations

import asyncio
import csv
import datetime
import gzip
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schema.errors import ConfigError, UsageError
from serving.client import CallFailed, Code, Retry
from serving.client.client import connect
from serving.client.outputs import writing
from serving.client.table_predictions import Report, predict_table
from serving.client.tables import CsvInput, InputTable, ParquetInput, check_columns
from tests.serving.client.fake_model import Failure, FakeModel

SCHEMA = """
feature { name: "age" type: INT presence { min_fraction: 1 } int_domain { min: 0 max: 120 } }
feature { name: "tip" type: INT not_in_environment: "SERVING" }
"""
ADDED = ["kind_bytes", "scores[no]", "scores[yes]", "model_version", "request_id", "error"]


@pytest.fixture
def predict(model: FakeModel, grpc_port: int, tmp_path: Path) -> Any:
    """Predicts a table file, and returns the output's path and the report."""

    def run(source: InputTable, suffix: str = ".csv", **options: Any) -> tuple[Path, Report]:
        output = tmp_path / f"out{suffix}"
        key, schema = options.pop("key", None), tmp_path / "schema.pbtxt"
        schema.write_text(SCHEMA)

        async def go() -> Report:
            given = {"schema": schema, "batch_rows": 3, "retry": Retry(attempts=1), **options}
            core = connect("people", f"127.0.0.1:{grpc_port}", given, concurrent=True)  # type: ignore[arg-type]
            try:
                plan = await core.plan(options.get("signature"))
                check_columns(source, plan.encoder, core.rules, key)
                with writing(output, source) as writer:
                    return await predict_table(core, plan, source, writer, key=key)
            finally:
                await core.caller.close()

        return output, asyncio.run(go())

    return run


def read_csv(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write_csv(path: Path, content: str | bytes) -> CsvInput:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return CsvInput(path, ("", "NA"))


def test_csv_rows_stay_as_they_are(predict: Any, tmp_path: Path, model: FakeModel) -> None:
    text = 'id,age,"fare",kind,tip\r\n007,30,12.5,"a ""b""",1\r\n008, 40 ,NA,"two\nlines",\r\n\r\n009,50.0,1e1,ü,x\r\n'
    output, report = predict(write_csv(tmp_path / "in.csv", text))
    assert (report.rows, report.predicted, report.bad) == (3, 3, [])
    lines = output.read_bytes().decode()
    assert lines.startswith('id,age,"fare",kind,tip,kind_bytes,scores[no],')
    for kept in ('007,30,12.5,"a ""b""",1,', '008, 40 ,NA,"two\nlines",,', "009,50.0,1e1,ü,x,"):
        assert f"\r\n{kept}" in lines
    rows = read_csv(output)
    assert list(rows[0])[5:] == ADDED
    assert [row["scores[yes]"] for row in rows] == ["0.155", "0.04", "0.15"]
    assert [row["kind_bytes"] for row in rows] == ['a "b"', "two\nlines", "ü"]
    assert {row["model_version"] for row in rows} == {"3"}
    assert {row["request_id"] for row in rows} == {seen.headers["x-request-id"] for seen in model.predicts()}
    assert {row["error"] for row in rows} == {""}


def test_bad_rows_are_not_lost(predict: Any, tmp_path: Path) -> None:
    text = b"age,fare,kind\n200,1,a\n30,1\n30,abc,b\n30,2,c\n,1,d\n\xff,2,e\n30,4,f,g\n"
    output, report = predict(write_csv(tmp_path / "in.csv", text))
    assert (report.rows, report.predicted) == (7, 1)
    assert [(bad.line, bad.column) for bad in report.bad] == [
        (2, "age"),
        (3, None),
        (4, "fare"),
        (6, "age"),
        (7, "age"),
        (8, None),
    ]
    assert str(report.bad[2]) == "in.csv:4: column 'fare' must be a finite number (float32). Got 'abc' instead"
    rows = read_csv(output)
    assert len(rows) == 7
    assert [row["kind"] for row in rows] == ["a", "", "b", "c", "d", "", ""]
    assert [bool(row["error"]) for row in rows] == [True, True, True, False, True, True, True]
    assert [bool(row["scores[yes]"]) for row in rows] == [not row["error"] for row in rows]
    assert rows[1]["error"] == "in.csv:3: a row must have 3 fields. Got 2 instead: 30,1"
    assert rows[6]["error"] == "in.csv:8: a row must have 3 fields. Got 4 instead: 30,4,f,g"
    assert "\\xff" in rows[5]["error"]


def test_bad_rows_of_a_csv_in_parquet(predict: Any, tmp_path: Path) -> None:
    text = "age,fare,kind\n30,1\n30,abc,b\n30,2,NA\n30\n"
    output, report = predict(write_csv(tmp_path / "in.csv", text), ".parquet")
    table = pq.read_table(output)
    assert report.predicted == 1
    assert table.column_names == ["age", "fare", "kind", *ADDED]
    assert table["age"].to_pylist() == [None, "30", "30", None]
    assert table["kind"].to_pylist() == [None, "b", None, None]
    assert table["scores[yes]"].to_pylist() == [None, None, pytest.approx(0.05), None]
    assert table.schema.field("scores[yes]").type == pa.float32()
    assert table["model_version"].to_pylist() == [None, None, 3, None]
    assert [bool(error) for error in table["error"].to_pylist()] == [True, True, False, True]


PARQUET = pa.table(
    {
        "age": pa.array([30, 40, None], pa.int16()),
        "fare": pa.array([1.0, None, 3.5], pa.float64()),
        "kind": pa.array(["a", None, "ü"]).dictionary_encode(),
        "when": pa.array([datetime.datetime(2020, 1, 2, 3), None, None], pa.timestamp("us")),
        "raw": pa.array([b"\xff", b"", None]),
    }
)


def test_parquet_keeps_its_columns(predict: Any, tmp_path: Path) -> None:
    pq.write_table(PARQUET, tmp_path / "in.parquet")
    output, report = predict(ParquetInput(tmp_path / "in.parquet"), ".parquet")
    table = pq.read_table(output)
    for name in PARQUET.column_names:
        assert table[name].to_pylist() == PARQUET[name].to_pylist()
        assert table.schema.field(name).type == PARQUET.schema.field(name).type
    assert table["scores[yes]"].to_pylist() == [pytest.approx(0.04), pytest.approx(0.04), None]
    assert [str(bad) for bad in report.bad] == [
        "in.parquet:3: column 'age' must be given (curated schema). Got nothing instead"
    ]


def test_parquet_as_csv(predict: Any, tmp_path: Path) -> None:
    pq.write_table(PARQUET, tmp_path / "in.parquet")
    output, _ = predict(ParquetInput(tmp_path / "in.parquet"))
    first, second, third = read_csv(output)
    assert (first["age"], first["fare"], first["kind"], first["when"]) == ("30", "1.0", "a", "2020-01-02 03:00:00")
    assert first["raw"] == "\\xff"
    assert (second["fare"], second["when"], third["age"]) == ("", "", "")


def test_files_larger_than_what_is_held(
    predict: Any, tmp_path: Path, model: FakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.client.tables.ROWS_READ", 7)
    pq.write_table(pa.table({"age": list(range(50))}), tmp_path / "in.parquet")
    output, report = predict(ParquetInput(tmp_path / "in.parquet"), ".parquet")
    table = pq.read_table(output)
    assert report.predicted == 50
    assert table["age"].to_pylist() == list(range(50))
    assert table["scores[yes]"].to_pylist() == [pytest.approx(age / 1000) for age in range(50)]
    assert max(len(seen.inputs["age"]) for seen in model.predicts()) == 3


def test_keys_go_with_their_rows(predict: Any, tmp_path: Path, model: FakeModel) -> None:
    text = "who,age\nanna,1\nanna,2\nbert,3\n,4\nü,5\n"
    output, report = predict(write_csv(tmp_path / "in.csv", text), key="who")
    keyed = sorted((seen.headers["x-caller-key"], seen.inputs["age"].tolist()) for seen in model.predicts())
    assert keyed == [("anna", [1, 2]), ("bert", [3])]
    assert [bad.line for bad in report.bad] == [5, 6]
    assert "a caller's key must be printable ASCII text" in read_csv(output)[4]["error"]


def test_no_row_fits(predict: Any, tmp_path: Path, model: FakeModel) -> None:
    for suffix in (".csv", ".parquet"):
        output, report = predict(write_csv(tmp_path / "in.csv", "age\nx\ny\n"), suffix)
        assert (report.rows, report.predicted) == (2, 0)
        names = list(read_csv(output)[0]) if suffix == ".csv" else pq.read_table(output).column_names
        assert names[0] == "age"
        assert names[-1] == "error"
    assert model.predicts() == []


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_no_rows_at_all(predict: Any, tmp_path: Path, suffix: str) -> None:
    output, report = predict(write_csv(tmp_path / "in.csv", "age,fare\n"), suffix)
    assert report.rows == 0
    if suffix == ".csv":
        assert output.read_text().startswith("age,fare,classes")
        assert output.read_text().count("\n") == 1
    else:
        assert pq.read_table(output).num_rows == 0


def test_compressed_csv(predict: Any, tmp_path: Path) -> None:
    output, _ = predict(write_csv(tmp_path / "in.csv.gz", gzip.compress(b"\xef\xbb\xbfage\n30\n")))
    assert read_csv(output)[0]["age"] == "30"


def test_names_that_are_taken(predict: Any, tmp_path: Path) -> None:
    output, _ = predict(write_csv(tmp_path / "in.csv", "age,error,model_version\n30,x,7\n"))
    (row,) = read_csv(output)
    assert (row["error"], row["model_version"]) == ("x", "7")
    assert (row["prediction.error"], row["prediction.model_version"]) == ("", "3")


def test_nothing_is_written_when_the_server_fails(predict: Any, tmp_path: Path, model: FakeModel) -> None:
    (tmp_path / "out.csv").write_text("before")
    model.failures.extend([None, None, Failure(Code.INTERNAL)])
    with pytest.raises(CallFailed):
        predict(write_csv(tmp_path / "in.csv", "age\n" + "30\n" * 10))
    assert (tmp_path / "out.csv").read_text() == "before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.csv", "out.csv", "schema.pbtxt"]


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("agee,fare", "Got 'agee' instead. Did you mean 'age'?"),
        ("Age,fare", "Got 'Age' instead. Did you mean 'age'?"),
        ("fare,kind", "in.csv must have the column 'age'. Got fare, kind instead"),
        ("x,y", "in.csv must have the column 'age'. Got x, y instead"),
    ],
)
def test_columns_that_the_model_needs(predict: Any, tmp_path: Path, header: str, message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        predict(write_csv(tmp_path / "in.csv", f"{header}\n1,2\n"))
    assert message in str(raised.value)


def test_a_key_column_that_is_not_there(predict: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--key must name columns of the table. Got 'whom' instead"):
        predict(write_csv(tmp_path / "in.csv", "who,age\na,1\n"), key="whom")


def test_an_output_without_a_format(tmp_path: Path) -> None:
    table = write_csv(tmp_path / "in.csv", "age\n1\n")
    with pytest.raises(UsageError, match="must end in .csv or .parquet"), writing(tmp_path / "out.json", table):
        pass
