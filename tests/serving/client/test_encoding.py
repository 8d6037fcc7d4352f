"""Rows as what signatures take: tensors, and tf.Examples."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from schema.errors import UsageError
from serving.client.encoding import Encoded, Encoder
from serving.client.examples import as_json, serialize
from serving.client.rules import ColumnRule
from serving.client.signatures import Metadata, SignatureSpec, TensorSpec, read_signatures
from tests.serving.client.fake_model import LEAST, FakeModel

PREDICT = "tensorflow/serving/predict"


def metadata(**signatures: dict[str, TensorSpec]) -> Metadata:
    return Metadata("m", 1, {n: SignatureSpec(n, PREDICT, inputs, {}) for n, inputs in signatures.items()})


def encode(rows: Any, described: Metadata, rules: dict[str, ColumnRule] | None = None) -> Encoded:
    return Encoder(described, described.signature(None), rules).encode(rows)


def examples_only() -> Metadata:
    return metadata(serving_default={"examples": TensorSpec("examples", "string", (None,))})


def test_signatures_of_a_server() -> None:
    described = Metadata("people", 3, read_signatures(FakeModel().signatures()))
    assert list(described.signatures) == ["classify", "regress", "scaled", "serving_default", "serving_raw", "vectors"]
    raw = described.signature(None)
    assert raw.name == "serving_raw"
    assert raw.inputs["age"] == TensorSpec("age", "int64", (None,))
    assert raw.inputs["age"].missing == LEAST
    assert described.signatures["scaled"].outputs["sum"].by_row is False
    assert described.signatures["serving_default"].takes_examples
    assert not described.signatures["vectors"].takes_examples


@pytest.mark.parametrize(
    ("inputs", "name", "method", "expected"),
    [
        ({"examples": TensorSpec("examples", "string", (None,))}, "serving_default", PREDICT, True),
        ({"examples": TensorSpec("examples", "string", None)}, "serving_default", PREDICT, True),
        ({"examples": TensorSpec("examples", "string", (None,))}, "serving_raw", PREDICT, False),
        ({"text": TensorSpec("text", "string", (None,))}, "serving_default", PREDICT, False),
        ({"inputs": TensorSpec("inputs", "string", (None,))}, "serving_default", PREDICT, False),
        ({"inputs": TensorSpec("inputs", "string", (None,))}, "x", "tensorflow/serving/regress", True),
        ({"examples": TensorSpec("examples", "int64", (None,))}, "serving_default", PREDICT, False),
    ],
)
def test_which_signatures_take_examples(inputs: Any, name: str, method: str, expected: bool) -> None:
    assert SignatureSpec(name, method, inputs, {}).takes_examples is expected


def test_the_signature_for_rows() -> None:
    spec = {"x": TensorSpec("x", "float32", (None,))}
    assert metadata(serving_default=spec, serving_raw=spec).signature(None).name == "serving_raw"
    assert metadata(other=spec, serving_default=spec).signature(None).name == "serving_default"
    assert metadata(other=spec).signature(None).name == "other"
    with pytest.raises(UsageError, match="must be named. It has no serving_raw and no serving_default, but a, b"):
        metadata(a=spec, b=spec).signature(None)


def test_good_rows_are_kept_and_bad_ones_told() -> None:
    described = metadata(
        serving_raw={"x": TensorSpec("x", "float32", (None,)), "y": TensorSpec("y", "string", (None,))}
    )
    found = encode([{"x": 1, "y": "a"}, {"x": "?", "y": 5}, {"x": 2.5, "y": "b"}, {"x": 1}], described)
    assert found.good.tolist() == [0, 2]
    assert found.tensors["x"].tolist() == [1.0, 2.5]
    assert found.tensors["y"].tolist() == [b"a", b"b"]
    assert [(problem.row, problem.column) for problem in found.problems] == [(1, "x"), (1, "y"), (3, "y")]


@pytest.mark.parametrize(
    "spec", [TensorSpec("x", "complex64", (None,)), TensorSpec("x", "float32", (3,)), TensorSpec("x", "?", None)]
)
def test_inputs_that_rows_cannot_fill(spec: TensorSpec) -> None:
    with pytest.raises(UsageError, match="every input of the signature 'serving_raw' must have a value a row. Got 'x'"):
        encode([], metadata(serving_raw={"x": spec}))


def test_examples_of_raw_columns() -> None:
    described = Metadata("people", 3, read_signatures(FakeModel().signatures()))
    encoder = Encoder(described, described.signature("serving_default"))
    found = encoder.encode([{"age": 3, "fare": 2, "kind": "a"}, {"age": None, "fare": np.nan, "kind": ""}, {"fair": 1}])
    assert found.examples == [{"age": [3], "fare": [2.0], "kind": [b"a"]}, {}]
    assert [problem.row for problem in found.problems] == [2]


def test_examples_of_a_schemas_columns() -> None:
    rules = {
        "n": ColumnRule("n", "INT", required=True),
        "f": ColumnRule("f", "FLOAT"),
        "label": ColumnRule("label", "INT", served=False),
    }
    found = encode([{"n": 1, "f": 1, "label": 0}, {"f": 1.5}, {"n": 1, "g": 2}], examples_only(), rules)
    assert found.examples == [{"n": [1], "f": [1.0]}]
    assert found.unused == ("label",)
    assert [(problem.row, problem.column) for problem in found.problems] == [(1, "n"), (2, "g")]


def test_examples_of_whatever_there_is() -> None:
    rows = [
        {"i": 1, "f": 1, "t": "é", "l": [1, 2], "e": []},
        {"i": True, "f": 2.5, "t": b"\xff", "l": np.array([3]), "m": None},
        {"f": np.nan, "bad": {"a": 1}},
        {"mixed": 1, "big": 2**63},
        {"mixed": "a"},
    ]
    found = encode(rows, examples_only())
    assert found.examples == [
        {"i": [1], "f": [1.0], "t": ["é".encode()], "l": [1, 2], "e": []},
        {"i": [1], "f": [2.5], "t": [b"\xff"], "l": [3]},
    ]
    assert [(problem.row, problem.column) for problem in found.problems] == [
        (2, "bad"),
        (3, "big"),
        (3, "mixed"),
        (4, "mixed"),
    ]
    assert "column 'mixed' must hold numbers only, or texts only. Got both instead" in str(found.problems)


def test_examples_are_tensorflows() -> None:
    example_pb2 = pytest.importorskip("tensorflow.core.example.example_pb2")
    features = {"i": [LEAST, 5], "f": [0.1, 2.0], "t": [b"\xff", b""], "empty": []}
    theirs = example_pb2.Example.FromString(serialize(features)).features.feature
    assert list(theirs["i"].int64_list.value) == [LEAST, 5]
    assert list(theirs["t"].bytes_list.value) == [b"\xff", b""]
    np.testing.assert_allclose(list(theirs["f"].float_list.value), [0.1, 2.0])
    assert theirs["empty"].WhichOneof("kind") is None
    assert serialize(features) == serialize(dict(reversed(features.items())))


def test_examples_as_json() -> None:
    assert as_json({"i": [5], "f": [2.0], "t": [b"a"], "b": [b"\xff"], "l": [1, 2]}) == {
        "i": 5,
        "f": 2.0,
        "t": "a",
        "b": {"b64": "/w=="},
        "l": [1, 2],
    }
