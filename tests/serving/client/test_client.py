"""Both clients, over both APIs, against a fake server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from schema.errors import UsageError
from serving.client import BadRows, CallFailed, Client, Code
from serving.client.target import Api
from tests.serving.client.fake_model import LEAST, Failure, FakeModel

Connect = Callable[..., Any]
SCHEMA = """
feature { name: "age" type: INT presence { min_fraction: 1 } int_domain { min: 0 max: 120 } }
feature { name: "fare" type: FLOAT }
feature { name: "kind" type: BYTES string_domain { name: "kind" value: "Cash" value: "Card" } }
feature { name: "tip" type: INT not_in_environment: "SERVING" }
default_environment: "SERVING"
"""


@pytest.fixture
def schema(tmp_path: Path) -> Path:
    file = tmp_path / "schema.pbtxt"
    file.write_text(SCHEMA)
    return file


def test_predict_rows(connect: Connect, model: FakeModel, api: Api) -> None:
    client = connect()
    found = client.predict([{"age": 30, "fare": 12.5, "kind": "Cash"}, {}, {"fare": None, "kind": b"\xff"}])
    assert found.outputs["scores"].dtype == np.float32
    np.testing.assert_allclose(found.outputs["scores"][:, 1], [0.155, 0.0, 0.0], rtol=1e-6)
    assert found.outputs["classes"].tolist() == [["no", "yes"]] * 3
    assert found.outputs["kind_bytes"].tolist() == ["Cash", "", b"\xff"]
    assert found.versions == ((3, 3, 3) if api == "gRPC" else (None, None, None))
    assert found.rows.tolist() == [0, 1, 2]
    assert found.records()[1] == {"classes": ["no", "yes"], "scores": [1.0, 0.0], "kind_bytes": ""}
    (asked,) = model.predicts()
    assert asked.inputs["age"].tolist() == [30, LEAST, LEAST]
    assert np.isnan(asked.inputs["fare"][1:]).all()
    assert asked.inputs["kind"].tolist() == [b"Cash", b"", b"\xff"]
    assert asked.signature == "serving_raw"


def test_a_single_row_and_columns(connect: Connect, model: FakeModel) -> None:
    client = connect()
    assert len(client.predict({"fare": 1.0})) == 1
    assert len(client.predict({"fare": [1.0, 2.0], "kind": np.array(["a", "b"])})) == 2
    assert model.predicts()[1].inputs["age"].tolist() == [LEAST, LEAST]


def test_metadata_is_asked_once(connect: Connect, model: FakeModel) -> None:
    client = connect()
    client.predict({"fare": 1.0})
    client.predict({"fare": 1.0})
    assert client.metadata().version == 3
    assert "__saved_model_init_op" not in client.metadata().signatures
    assert model.methods() == ["GetModelMetadata", "Predict", "Predict"]


def test_no_rows_ask_nothing(connect: Connect, model: FakeModel) -> None:
    found = connect().predict([])
    assert len(found) == 0
    assert found.outputs["scores"].shape == (0, 2)
    assert found.outputs["scores"].dtype == np.float32
    assert model.predicts() == []


def test_large_inputs_go_in_batches(connect: Connect, model: FakeModel) -> None:
    client = connect(batch_rows=3)
    found = client.predict({"fare": np.arange(10.0)})
    np.testing.assert_allclose(found.outputs["scores"][:, 1], np.arange(10) / 100, rtol=1e-6)
    assert found.rows.tolist() == list(range(10))
    assert sorted(len(asked.inputs["fare"]) for asked in model.predicts()) == [1, 3, 3, 3]
    sent = {asked.headers["x-request-id"] for asked in model.predicts()}
    assert len(sent) == 4
    assert set(found.request_ids) == sent
    assert len(set(found.request_ids[:3])) == 1


def test_request_id_and_callers_key(connect: Connect, model: FakeModel) -> None:
    client = connect(batch_rows=2)
    found = client.predict({"fare": [1.0]}, request_id="mine", key="customer 7")
    assert found.request_ids == ("mine",)
    assert model.predicts()[0].headers["x-request-id"] == "mine"
    assert model.predicts()[0].headers["x-caller-key"] == "customer 7"
    found = client.predict({"fare": [0.0, 1.0, 2.0, 3.0, 4.0]}, request_id="mine", key=["a", "a", "a", "b", "a"])
    later = sorted(model.predicts()[1:], key=lambda asked: asked.headers["x-request-id"])
    assert [asked.headers["x-request-id"] for asked in later] == ["mine.0", "mine.1", "mine.2", "mine.3"]
    assert [asked.headers["x-caller-key"] for asked in later] == ["a", "a", "b", "a"]
    assert [asked.inputs["fare"].tolist() for asked in later] == [[0.0, 1.0], [2.0], [3.0], [4.0]]
    assert found.request_ids == ("mine.0", "mine.0", "mine.1", "mine.2", "mine.3")


@pytest.mark.parametrize("key", ["", "ü", "two\nlines", " blank", 5])
def test_a_key_that_no_header_can_hold(connect: Connect, model: FakeModel, key: Any) -> None:
    with pytest.raises(UsageError, match="row 1: a caller's key must be printable ASCII text"):
        connect().predict({"fare": [1.0, 2.0]}, key=["a", key])
    with pytest.raises(UsageError, match="a key for each of the 2 rows. Got 1 keys"):
        connect().predict({"fare": [1.0, 2.0]}, key=["a"])
    assert model.predicts() == []


@pytest.mark.parametrize(
    ("asked", "named"),
    [({}, "people"), ({"version": 0}, "people/versions/0"), ({"label": "canary"}, "people/labels/canary")],
)
def test_version_and_label(connect: Connect, model: FakeModel, asked: dict[str, Any], named: str) -> None:
    client = connect(**asked)
    client.predict({"fare": 1.0})
    client.classify({"fare": 1.0})
    client.regress({"fare": 1.0})
    client.status()
    assert {seen.model for seen in model.seen} == {named}
    assert len(model.seen) == 5


def test_version_and_label_together(connect: Connect) -> None:
    with pytest.raises(UsageError, match="version and label must not both be given"):
        connect(version=1, label="canary")


def test_outputs_that_are_asked_for(connect: Connect, model: FakeModel, api: Api) -> None:
    client = connect()
    assert set(client.predict({"fare": 1.0}, outputs=["scores"]).outputs) == {"scores"}
    if api == "gRPC":
        assert model.predicts()[0].output_filter == ["scores"]
    with pytest.raises(UsageError, match="outputs must be of 'serving_raw': classes, kind_bytes, scores. Got 'score'"):
        client.predict({"fare": 1.0}, outputs=["score"])


def test_token(connect: Connect, model: FakeModel) -> None:
    client = connect(token="s3cret")
    client.predict({"fare": 1.0})
    assert {seen.headers["authorization"] for seen in model.seen} == {"Bearer s3cret"}
    model.failures.extend([Failure(Code.NOT_FOUND)])
    with pytest.raises(CallFailed) as raised:
        client.predict({"fare": 1.0})
    assert "s3cret" not in f"{raised.value}{raised.value!r}{client._core.caller.options!r}"


def test_examples_where_there_is_no_raw_signature(connect: Connect, model: FakeModel) -> None:
    found = connect().predict(
        [{"age": 30, "fare": 12, "kind": "Cash"}, {}, {"kind": b"\xff", "fare": 2.5}], signature="serving_default"
    )
    np.testing.assert_allclose(found.outputs["scores"][:, 1], [0.15, 0.0, 0.025], rtol=1e-6)
    assert found.outputs["kind_bytes"].tolist() == ["Cash", "", b"\xff"]


def test_classify_and_regress(connect: Connect, model: FakeModel) -> None:
    client = connect(batch_rows=2)
    rows = [{"age": 30, "fare": 12}, {}, {"fare": 50.0, "kind": b"\xff"}]
    found = client.classify(rows)
    assert [[label for label, _ in row] for row in found] == [["no", "yes"]] * 3
    np.testing.assert_allclose([row[1][1] for row in found], [0.15, 0.0, 0.5], rtol=1e-6)
    np.testing.assert_allclose(client.regress(rows, signature="serving_default"), [0.15, 0.0, 0.5], rtol=1e-6)
    assert [seen.signature for seen in model.seen[1:]] == ["classify"] * 2 + ["serving_default"] * 2
    kinds = [example.features.feature["kind"].bytes_list.value for seen in model.seen[1:] for example in seen.examples]
    assert [list(kind) for kind in kinds].count([b"\xff"]) == 2


def test_status(connect: Connect) -> None:
    newest, failed = connect().status()
    assert (newest.version, newest.state, newest.code, newest.message) == (3, "AVAILABLE", Code.OK, "")
    assert (failed.version, failed.state, failed.code, failed.message) == (2, "END", Code.NOT_FOUND, "no such file")


def test_rows_of_several_values(connect: Connect) -> None:
    client = connect()
    found = client.predict([{"v": [1, 2]}, {"v": np.array([3.5, 4])}], signature="vectors")
    assert found.outputs["total"].tolist() == [3.0, 7.5]
    with pytest.raises(BadRows) as raised:
        client.predict([{"v": [1, 2]}, {"v": [1, 2, 3]}, {"v": 5}, {}, {"v": [1, "x"]}], signature="vectors")
    assert [problem.row for problem in raised.value.problems] == [1, 2, 3, 4]
    assert "column 'v' must be float32 of shape (2). Got [1, 2, 3] instead" in str(raised.value)


def test_inputs_and_outputs_without_a_row_each(connect: Connect) -> None:
    found = connect(batch_rows=2).predict({"x": [1.0, 2.0, 3.0]}, signature="scaled")
    assert found.outputs["y"].tolist() == [10.0, 20.0, 30.0]
    assert found.outputs["sum"].tolist() == [30.0, 30.0, 30.0]


def test_whole_tensors(connect: Connect, model: FakeModel, api: Api) -> None:
    client = connect()
    found = client.predict_tensors({"x": [1, 2]}, signature="scaled", request_id="r", key="k")
    assert found.outputs["y"].tolist() == [10.0, 20.0]
    assert found.outputs["sum"].tolist() == 30.0
    assert set(model.predicts()[0].inputs) == ({"x"} if api == "gRPC" else {"x", "factor"})
    assert model.predicts()[0].headers["x-caller-key"] == "k"
    assert client.predict_tensors({"x": [1], "factor": [3]}, signature="scaled").outputs["y"].tolist() == [3.0]
    with pytest.raises(UsageError, match="inputs must be of 'scaled': factor, x. Got 'z'"):
        client.predict_tensors({"z": [1]}, signature="scaled")
    with pytest.raises(UsageError, match="input 'x' must be an array of float32. Got something else"):
        client.predict_tensors({"x": ["a"]}, signature="scaled")


def test_bad_rows_send_nothing(connect: Connect, model: FakeModel, schema: Path) -> None:
    client = connect(schema=schema)
    rows = [
        {"age": 30, "fare": "12", "kind": "cash"},
        {"age": 130, "fair": 1.0},
        {"fare": 1e300, "tip": 3},
        {"age": 30, "fare": 1.0, "kind": "Cash"},
    ]
    with pytest.raises(BadRows) as raised:
        client.predict(rows)
    assert str(raised.value) == (
        "rows must fit the model. Got something else in 3 of 4 rows (the first is row 0):\n"
        "  row 0: column 'fare' must be a finite number (float32). Got '12' instead; write the number without quotes\n"
        "  row 0: column 'kind' must be one of Cash, Card (curated schema). Got 'cash' instead. Did you mean 'Cash'?\n"
        "  row 1: column 'age' must be at most 120 (curated schema). Got 130 instead\n"
        "  row 1: columns must be those of the model. Got 'fair' instead. Did you mean 'fare'?\n"
        "  row 2: column 'age' must be given (curated schema). Got nothing instead\n"
        "  row 2: column 'fare' must be a finite number (float32). Got 1e+300 instead"
    )
    assert raised.value.exit_code == 4
    assert model.predicts() == []
    assert len(client.predict(rows[3:])) == 1


def test_a_server_that_passes_no_defaults_on(connect: Connect, model: FakeModel) -> None:
    model.defaults = False
    connect().predict([{"fare": 1.0}])
    assert model.predicts()[0].inputs["age"].tolist() == [LEAST]


def test_the_model_may_change_while_the_client_lives(connect: Connect, model: FakeModel) -> None:
    client = connect()
    client.predict({"fare": 1.0})
    model.raw = {**model.raw, "extra": ("float32", [None])}
    assert len(client.predict({"fare": 1.0})) == 1
    assert np.isnan(model.predicts()[-1].inputs["extra"]).all()
    assert model.methods() == ["GetModelMetadata", "Predict", "Predict", "GetModelMetadata", "Predict"]
    model.failures.extend([Failure(Code.INVALID_ARGUMENT, "for another reason")])
    with pytest.raises(CallFailed, match="for another reason"):
        client.predict({"fare": 1.0})
    assert model.methods()[5:] == ["Predict", "GetModelMetadata"]


def test_an_unknown_signature(connect: Connect) -> None:
    with pytest.raises(UsageError, match="Got 'serving_row' instead. Did you mean 'serving_raw'?"):
        connect().predict({"fare": 1.0}, signature="serving_row")


def test_the_blocking_client_works_where_a_loop_runs(grpc_port: int) -> None:
    async def in_a_notebook() -> int:
        with Client("people", f"127.0.0.1:{grpc_port}") as client:
            return len(client.predict({"fare": 1.0}))

    assert asyncio.run(in_a_notebook()) == 1
