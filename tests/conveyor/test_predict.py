"""`conveyor predict`, against a fake server."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conveyor import cli
from serving.client.target import Api
from serving.model_server.errors import Code
from tests.serving.client.fake_model import Failure, FakeModel
from tests.serving.client.fake_server import grpc_server, http_server

LINE = """
name: people
task: binary_classification
label: {name: tip}
examples: {input: people.csv, missing_values: ["", "NA"], max_bad_rows: 0.5}
serving: {capture: {hash: [kind], hash_key: "${NOT_SET_ANYWHERE}"}}
"""
SCHEMA = """
feature { name: "age" type: INT presence { min_fraction: 1 } int_domain { min: 0 max: 120 } }
feature { name: "fare" type: FLOAT }
feature { name: "kind" type: BYTES }
feature { name: "tip" type: INT not_in_environment: "SERVING" }
"""


@pytest.fixture
def model() -> FakeModel:
    return FakeModel()


@pytest.fixture(params=["gRPC", "REST"])
def api(request: pytest.FixtureRequest) -> Api:
    chosen: Api = request.param
    return chosen


@pytest.fixture
def line(tmp_path: Path) -> Path:
    (tmp_path / "line").mkdir()
    (tmp_path / "line" / "line.yaml").write_text(LINE)
    (tmp_path / "line" / "schema.pbtxt").write_text(SCHEMA)
    return tmp_path / "line"


@pytest.fixture
def predict(model: FakeModel, api: Api, line: Path) -> Iterator[Any]:
    """Runs the verb on the line and the fake server, and returns the exit code."""
    server = grpc_server(model) if api == "gRPC" else http_server(model)
    where = ["--rest"] if api == "REST" else []
    port = next(server)

    def run(*args: Any) -> int:
        return cli.main(["predict", str(line), "--address", f"127.0.0.1:{port}", *where, *map(str, args)])

    yield run
    next(server, None)


Captured = pytest.CaptureFixture[str]


def test_rows_for_people(predict: Any, capsys: Captured) -> None:
    assert predict("--row", '{"age": 30, "fare": 12}', "--row", '[{"age": 40}]') == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].split() == ["row", "kind_bytes", "scores[no]", "scores[yes]", "version"]
    assert out[1].split()[:3] == ["0", "0.8500", "0.1500"]
    assert out[2].split()[:3] == ["1", "0.9600", "0.0400"]


def test_rows_as_json(predict: Any, model: FakeModel, capsys: Captured, api: Api) -> None:
    assert predict("--row", '{"age": 30, "tip": 1, "id": "k7"}', "--key", "id", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    (sent,) = model.predicts()
    assert sent.headers["x-caller-key"] == "k7"
    assert document["predictions"] == [
        {
            "input": {"age": 30, "tip": 1, "id": "k7"},
            "prediction": {"kind_bytes": "", "scores[no]": 0.97, "scores[yes]": 0.03},
            "version": 3 if api == "gRPC" else None,
            "request_id": sent.headers["x-request-id"],
            "error": None,
        }
    ]
    assert (document["rows"], document["predicted"], document["bad_rows"]) == (1, 1, [])
    assert (document["line"], document["model"], document["api"]) == ("people", "people", api)
    assert document["signature"] == "serving_raw"


def test_options_reach_the_server(predict: Any, model: FakeModel, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s3cret\n")
    asked = ["--row", '{"age": 1}', "--model", "other", "--label", "canary", "--token-file", tmp_path / "token"]
    assert predict(*asked, "--signature", "serving_default") == 0
    assert {seen.model for seen in model.seen} == {"other/labels/canary"}
    assert {seen.headers["authorization"] for seen in model.seen} == {"Bearer s3cret"}
    assert model.predicts()[0].signature == "serving_default"
    assert predict("--row", '{"age": 1}', "--version", 0) == 0
    assert model.seen[-1].model == "people/versions/0"


def test_a_wrong_row(predict: Any, model: FakeModel, capsys: Captured) -> None:
    assert predict("--row", '{"age": "30", "fair": 1}') == 4
    error = capsys.readouterr().err
    assert "column 'age' must be an integer (int64). Got '30' instead; write the number without quotes" in error
    assert "Got 'fair' instead. Did you mean 'fare'?" in error
    assert model.predicts() == []
    assert predict("--row", '{"age": 130}') == 4
    assert predict("--row", '{"age": 130}', "--no-schema") == 0


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "exactly one of --row, --csv and --parquet must be given. Got none instead"),
        (["--row", "{}", "--csv", "x.csv"], "Got --row, --csv instead"),
        (["--row", "{}", "--output", "x.csv"], "--output must go with --csv or --parquet"),
        (["--row", "{"], "--row must be JSON. Got '{' instead"),
        (["--row", "[5]"], "--row must be a JSON object, or a list of them. Got '[5]' instead"),
        (["--row", "{}", "--key", "id"], "every row must have the key column 'id'. Got none in row 0 instead"),
        (["--row", "{}", "--version", "1", "--label", "a"], "version and label must not both be given"),
        (["--row", "{}", "--ca", "absent.pem"], "ca must be a PEM file. Got absent.pem instead"),
        (["--csv", "absent.csv"], "absent.csv must be a file that can be read"),
        (["--row", "{}", "--batch-size", "0"], "--batch-size"),
        (["--row", "{}", "--signature", "x"], "the signature must be one of"),
    ],
)
def test_wrong_usage(predict: Any, capsys: Captured, args: list[str], message: str) -> None:
    assert predict(*args) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""


def test_a_file_to_stdout(predict: Any, tmp_path: Path, capsys: Captured) -> None:
    file = tmp_path / "in.csv"
    file.write_text("age,tip\n" + "".join(f"{age},0\n" for age in range(25)))
    assert predict("--csv", file) == 0
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert lines[1].split()[0] == "2"
    assert len(lines) == 22
    assert lines[-1] == "and 5 more; --output FILE writes all of them"
    assert "not asked for by the model: tip" in captured.err
    assert "missing in every row: fare, kind" in captured.err
    assert "25 of 25 rows predicted" in captured.err


def test_progress_on_a_terminal(
    predict: Any, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    file = tmp_path / "in[1].csv"
    file.write_text("age\n1\nx\n")
    assert predict("--csv", file, "--json") == 0
    captured = capsys.readouterr()
    assert "2 rows, 1 bad" in captured.err
    assert json.loads(captured.out)["predicted"] == 1


def test_a_file_as_json(predict: Any, tmp_path: Path, capsys: Captured) -> None:
    file = tmp_path / "in.csv"
    file.write_text("age,fare\n30,12\n200,1\n40\n50,NA\n")
    assert predict("--csv", file, "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert [record["line"] for record in document["predictions"]] == [2, 3, 4, 5]
    assert document["predictions"][0]["input"] == {"age": "30", "fare": "12"}
    assert document["predictions"][0]["prediction"]["scores[yes]"] == pytest.approx(0.15)
    assert document["predictions"][1]["prediction"] is None
    assert document["predictions"][1]["error"] == "column 'age' must be at most 120 (curated schema). Got 200 instead"
    assert document["predictions"][2]["input"] == "40"
    assert (document["rows"], document["predicted"]) == (4, 2)
    assert [(bad["line"], bad["column"]) for bad in document["bad_rows"]] == [(3, "age"), (4, None)]
    assert document["missing_columns"] == ["kind"]


def test_csv_to_csv(predict: Any, tmp_path: Path, model: FakeModel, capsys: Captured) -> None:
    source, output = tmp_path / "in.csv", tmp_path / "new" / "out.csv"
    source.write_text("age,tip\n1,0\n2,0\n3,0\nx,0\n")
    assert predict("--csv", source, "--output", output, "--batch-size", 2, "--json") == 0
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert document["output"] == str(output)
    assert "predictions" not in document
    assert f"3 of 4 rows predicted, written to {output}" in captured.err
    assert "  in.csv:5: column 'age' must be an integer (int64). Got 'x' instead" in captured.err
    with open(output, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["age"] for row in rows] == ["1", "2", "3", "x"]
    assert [row["scores[yes]"] for row in rows] == ["0.001", "0.002", "0.003", ""]
    assert sorted(len(seen.inputs["age"]) for seen in model.predicts()) == [1, 2]


def test_parquet_to_parquet(predict: Any, tmp_path: Path) -> None:
    pq.write_table(pa.table({"age": pa.array([1, None], pa.int8())}), tmp_path / "in.parquet")
    assert predict("--parquet", tmp_path / "in.parquet", "--output", tmp_path / "out.parquet") == 0
    table = pq.read_table(tmp_path / "out.parquet")
    assert table["age"].to_pylist() == [1, None]
    assert table["scores[yes]"].to_pylist() == [pytest.approx(0.001), None]


def test_more_bad_rows_than_the_line_allows(predict: Any, tmp_path: Path, capsys: Captured) -> None:
    source, output = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text("age\n1\nx\ny\n")
    assert predict("--csv", source, "--output", output) == 4
    error = capsys.readouterr().err
    assert "bad rows must be at most 0.5 of the rows (examples.max_bad_rows). Got 2 of 3 rows (66.67%) instead" in error
    assert len(output.read_text().splitlines()) == 4


def test_a_server_that_fails(predict: Any, tmp_path: Path, model: FakeModel, capsys: Captured) -> None:
    source, output = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text("age\n1\n")
    model.failures.extend([None, Failure(Code.UNAVAILABLE, "busy"), Failure(Code.UNAVAILABLE, "busy")])
    assert predict("--csv", source, "--output", output, "--attempts", 2) == 1
    error = capsys.readouterr().err
    assert "UNAVAILABLE: busy; attempt 1 failed, the next one in 0.1 s" in error
    assert "must answer. Got UNAVAILABLE: busy (tried 2 times)" in error
    assert not output.exists()
    model.failures.extend([Failure(Code.NOT_FOUND, "no such model")])
    assert predict("--row", '{"age": 1}', "--json") == 1
    assert "NOT_FOUND: no such model" in json.loads(capsys.readouterr().out)["error"]


def test_a_token_in_the_open(line: Path, tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "token").write_text("s3cret")
    args = [
        "--address",
        "192.0.2.1:9",
        "--token-file",
        str(tmp_path / "token"),
        "--deadline",
        "0.05",
        "--attempts",
        "1",
    ]
    assert cli.main(["predict", str(line), "--row", "{}", *args]) == 1
    error = capsys.readouterr().err
    assert "warning: the token goes to 192.0.2.1:9 without TLS" in error
    assert "s3cret" not in error
