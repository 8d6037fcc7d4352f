"""tf.Examples out of JSON."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.model_server.errors import Code, ServingError
from serving.model_server.json_document import request_object
from serving.model_server.json_examples import examples


def read(body: str | bytes) -> list[Any]:
    """Returns the examples as TensorFlow parses them."""
    import tensorflow as tf

    body = body if isinstance(body, bytes) else body.encode()
    return [tf.train.Example.FromString(raw) for raw in examples(request_object(body))]


def features(body: str | bytes) -> list[dict[str, tuple[str | None, list[Any]]]]:
    found = []
    for example in read(body):
        row = {}
        for name, feature in example.features.feature.items():
            kind = feature.WhichOneof("kind")
            row[name] = (kind, list(getattr(feature, kind).value) if kind else [])
        found.append(row)
    return found


def test_the_token_decides_on_the_type() -> None:
    body = b"""{"examples": [{"names": ["foo", {"b64": "aGVsbG8="}], "ratings": [8.0, 9.5], "age": 20, "one": 1e0,
        "mix": [1, true, false], "name": "baz", "raw": "\xff", "none": [], "least": -9223372036854775808}]}"""
    assert features(body) == [
        {
            "names": ("bytes_list", [b"foo", b"hello"]),
            "ratings": ("float_list", [8.0, 9.5]),
            "age": ("int64_list", [20]),
            "one": ("float_list", [1.0]),
            "mix": ("int64_list", [1, 1, 0]),
            "name": ("bytes_list", [b"baz"]),
            "raw": ("bytes_list", [b"\xff"]),
            "none": (None, []),
            "least": ("int64_list", [-(2**63)]),
        }
    ]


def test_the_context_is_part_of_each_example_and_the_example_goes_before_it() -> None:
    body = '{"context": {"query": "pizza", "n": 1}, "examples": [{"a": 1}, {"n": 2}]}'
    assert features(body) == [
        {"query": ("bytes_list", [b"pizza"]), "n": ("int64_list", [1]), "a": ("int64_list", [1])},
        {"query": ("bytes_list", [b"pizza"]), "n": ("int64_list", [2])},
    ]


def test_what_is_not_finite_or_too_large_for_a_float32() -> None:
    [row] = features('{"examples": [{"x": [NaN, Infinity, -Infinity, 1e300, 18446744073709551616]}]}')
    assert row["x"][0] == "float_list"
    np.testing.assert_array_equal(row["x"][1], [np.nan, np.inf, -np.inf, np.inf, 2.0**64])


def test_of_a_repeated_feature_the_last_one_counts() -> None:
    assert features('{"examples": [{"x": 1, "x": 2.0}], "examples": []}') == [{"x": ("float_list", [2.0])}]


def test_the_same_row_is_the_same_bytes() -> None:
    first, second = (
        examples(request_object(b)) for b in (b'{"examples":[{"a":1,"b":2}]}', b'{"examples":[{"b":2,"a":1}]}')
    )
    assert first == second


VALUES = (
    st.lists(st.integers(-(2**63), 2**63 - 1), max_size=5)
    | st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), max_size=5)
    | st.lists(st.text(max_size=5), max_size=5)
)


@settings(max_examples=60)
@given(st.lists(st.dictionaries(st.text(max_size=5), VALUES, max_size=4), min_size=1, max_size=3))
def test_what_is_written_is_what_was_sent(rows: list[dict[str, list[Any]]]) -> None:
    for row, found in zip(rows, features(json.dumps({"examples": rows})), strict=True):
        assert found.keys() == row.keys()
        for name, values in row.items():
            kind, got = found[name]
            assert got == [v.encode() if isinstance(v, str) else v for v in values]
            if values:
                assert kind == {int: "int64_list", float: "float_list", str: "bytes_list"}[type(values[0])]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            '{"a": 1}',
            "JSON Value: {\n    \"a\": 1\n} When method is classify, key 'examples' is expected and was not found",
        ),
        ('{"examples": {}}', "JSON Value: {\n    \"examples\": {}\n} Expecting 'examples' value to be an list/array"),
        ('{"examples": []}', "JSON Value: {\n    \"examples\": []\n} 'examples' value is an empty array"),
        ('{"examples": [[{}]]}', "Example must be JSON object but got JSON Array"),
        ('{"examples": [true]}', "Example must be JSON object but got JSON True"),
        ('{"context": [], "examples": 5}', "Example must be JSON object but got JSON Array"),
        ('{"examples": [{"n": [10, null]}]}', "Feature: n has element with unexpected JSON type: Null"),
        ('{"examples": [{"n": {"test": 10}}]}', "Feature: n has element with unexpected JSON type: Object"),
        ('{"examples": [{"n": [[10], 20]}]}', "Feature: n has element with unexpected JSON type: Array"),
        ('{"examples": [{"n": [10, 10.0]}]}', "Unexpected element type in feature: n expecting type: int64"),
        ('{"examples": [{"n": [1.5, 10]}]}', "Unexpected element type in feature: n expecting type: float"),
        ('{"examples": [{"n": ["a", true]}]}', "Unexpected element type in feature: n expecting type: bytes"),
        ('{"examples": [{"n": [1.5, {"b64": "?"}]}]}', "Unexpected element type in feature: n expecting type: float"),
        ('{"examples": [{"n": {"b64": "?"}}]}', "Unable to base64 decode"),
        (
            '{"examples": [{"n": [20, 18446744073709551603]}]}',
            "Feature: n has uint64_t element. Only int64_t is supported.",
        ),
        ('{"examples": [{"n": [null], "n": 1}]}', "Feature: n has element with unexpected JSON type: Null"),
    ],
)
def test_errors(body: str, message: str) -> None:
    with pytest.raises(ServingError) as error:
        examples(request_object(body.encode()))
    assert (error.value.code, error.value.message) == (Code.INVALID_ARGUMENT, message)
