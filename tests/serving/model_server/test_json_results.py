"""Answers, letter by letter as TensorFlow Serving writes them."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.model_server import json_results
from serving.model_server.errors import Code, ServingError
from serving.model_server.json_text import decimals, string


def floats(*values: float, dtype: str = "float32") -> list[str]:
    return decimals(np.array(values, dtype))


def test_six_digits_where_they_round_trip_else_full_precision() -> None:
    assert floats(9000000, 999999, 0.5, 0.0003, 0.00003, 555557.5, 0.2, 3.0, 0.0, -0.0, 1e10) == (
        ["9e+06", "999999.0", "0.5", "0.0003", "3e-05", "555557.5", "0.2", "3.0", "0.0", "-0.0", "1e+10"]
    )
    assert floats(1 / 3, 16777217, 1234567, 3.4028235e38, 1e-45) == (
        ["0.333333343", "16777216.0", "1234567.0", "3.40282347e+38", "1.4013e-45"]
    )
    assert floats(0.1, 1 / 3, 2.0**53, 1e300, 5e-324, dtype="float64") == (
        ["0.1", "0.33333333333333331", "9007199254740992.0", "1e+300", "4.94066e-324"]
    )
    assert floats(math.nan, math.inf, -math.inf) == ["NaN", "Infinity", "-Infinity"]
    assert floats() == []
    assert floats(*[math.nan, math.inf, -math.inf, 0.1, 3] * 20) == ["NaN", "Infinity", "-Infinity", "0.1", "3.0"] * 20


def slowly(value: float, dtype: type) -> str:
    """The rule itself, a value at a time."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    text = f"{value:.6g}"
    if dtype(float(text)) != value:
        text = f"{value:.9g}" if dtype is np.float32 else f"{value:.17g}"
    return text if "." in text or "e" in text else f"{text}.0"


@given(st.lists(st.floats(width=32) | st.floats(0, 1, width=32) | st.integers(-999999, 999999).map(float), max_size=20))
def test_floats_by_the_rule(values: list[float]) -> None:
    array = np.array(values, np.float32)
    expected = [slowly(value, np.float32) for value in array.tolist()]
    assert decimals(array) == expected
    assert decimals(np.tile(array, 65)) == expected * 65


@given(st.lists(st.floats() | st.floats(-1e6, 1e6).map(lambda x: round(x, 3)) | st.integers(0, 10**7).map(float)))
def test_doubles_by_the_rule(values: list[float]) -> None:
    array = np.array(values, np.float64)
    expected = [slowly(value, np.float64) for value in values]
    assert decimals(array) == expected
    assert decimals(np.tile(array, 65)) == expected * 65


@given(st.binary(max_size=30) | st.text(max_size=30).map(str.encode))
def test_strings_come_back(value: bytes) -> None:
    text = string(value)
    assert json.loads(text).encode("utf-8", "surrogateescape") == value


def test_control_characters_are_escaped_and_nothing_else() -> None:
    assert string(b'"\\\b\f\n\r\t\x00\x1f/\x7f') == '"\\"\\\\\\b\\f\\n\\r\\t\\u0000\\u001F/\x7f"'
    assert json_results.error("naïve \udcff") == '{\n    "error": "naïve '.encode() + b'\xff"\n}'


def text(*lines: str) -> bytes:
    return "\n".join(lines).encode()


def test_rows_of_one_output() -> None:
    y = np.float32([[2.5, 3.0], [3.5, 4.0]])
    assert json_results.prediction({"y": y}, "row") == text(
        "{", '    "predictions": [[2.5, 3.0], [3.5, 4.0]', "    ]", "}"
    )
    assert json_results.prediction({"y": np.float32([2.5, 3])}, "row") == text(
        "{", '    "predictions": [2.5, 3.0', "    ]", "}"
    )
    assert json_results.prediction({"y": np.zeros((0, 2), np.int32)}, "row") == text("{", '    "predictions": []', "}")
    assert json_results.prediction({"y": np.zeros((2, 0), np.int32)}, "row") == text(
        "{", '    "predictions": [[], []', "    ]", "}"
    )


def test_rows_of_several_outputs() -> None:
    outputs = {
        "b_bytes": np.array([b"hello", b"\xff"], object),
        "i": np.int64([[1, 2], [3, -(2**63)]]),
        "s": np.array([b'a"', "ä".encode()], object),
    }
    assert json_results.prediction(outputs, "row") == text(
        "{",
        '    "predictions": [',
        "        {",
        '            "b_bytes": {',
        '                "b64": "aGVsbG8="',
        "            },",
        '            "i": [1, 2],',
        '            "s": "a\\""',
        "        },",
        "        {",
        '            "b_bytes": {',
        '                "b64": "/w=="',
        "            },",
        '            "i": [3, -9223372036854775808],',
        '            "s": "ä"',
        "        }",
        "    ]",
        "}",
    )


def test_rows_of_bytes() -> None:
    outputs = {"b_bytes": np.array([[b"hello", b"tf"]], object)}
    assert json_results.prediction(outputs, "row") == text(
        "{",
        '    "predictions": [[{',
        '                "b64": "aGVsbG8="',
        "            }, {",
        '                "b64": "dGY="',
        "            }]",
        "    ]",
        "}",
    )


def test_columns() -> None:
    y = np.array([[True], [False]])
    assert json_results.prediction({"y": y}, "columnar") == text(
        "{",
        '    "outputs": [',
        "        [",
        "            true",
        "        ],",
        "        [",
        "            false",
        "        ]",
        "    ]",
        "}",
    )
    assert json_results.prediction({"y": np.array(3, np.uint64)}, "columnar") == text("{", '    "outputs": 3', "}")
    assert json_results.prediction({"a": np.int8([1]), "z_bytes": np.array(b"a", object)}, "columnar") == text(
        "{",
        '    "outputs": {',
        '        "a": [',
        "            1",
        "        ],",
        '        "z_bytes": {',
        '            "b64": "YQ=="',
        "        }",
        "    }",
        "}",
    )
    assert json_results.prediction({"a": np.zeros((2, 0, 3), np.int8)}, "columnar") == text(
        "{", '    "outputs": [', "        [],", "        []", "    ]", "}"
    )


def test_a_number_is_no_bytes_whatever_its_name() -> None:
    assert b"b64" not in json_results.prediction({"n_bytes": np.int32([1])}, "row")


@pytest.mark.parametrize(
    ("outputs", "form", "message"),
    [
        ({}, "row", "Cannot convert empty tensor map to JSON"),
        ({"y": np.float32(1).reshape(())}, "row", "Tensor name: y has no shape information "),
        (
            {"a": np.zeros(2), "b": np.zeros((3, 1))},
            "row",
            "Tensor name: b has inconsistent batch size: 3 expecting: 2",
        ),
        ({"a": np.zeros(0), "b": np.zeros(1)}, "row", "Tensor name: b has inconsistent batch size: 1 expecting: 0"),
        ({"y": np.zeros(1, np.float16)}, "row", "Failed to write JSON value for tensor type: half"),
        ({"y": np.zeros(1, np.uint16)}, "columnar", "Failed to write JSON value for tensor type: uint16"),
        ({"y": np.zeros(1, np.complex64)}, "columnar", "Failed to write JSON value for tensor type: complex64"),
    ],
)
def test_what_json_cannot_carry(outputs: dict[str, np.ndarray], form: str, message: str) -> None:
    with pytest.raises(ServingError) as error:
        json_results.prediction(outputs, form)  # type: ignore[arg-type]
    assert (error.value.code, error.value.message) == (Code.INVALID_ARGUMENT, message)


def test_classification() -> None:
    results = [[("car", 0.2), (b"bike", 0.7)], [], [('"', math.nan)]]
    assert json_results.classification(results) == text(
        "{", '    "results": [[["car", 0.2], ["bike", 0.7]], [], [["\\"", NaN]]', "    ]", "}"
    )
    with pytest.raises(ServingError, match="Cannot convert empty ClassificationResults to JSON"):
        json_results.classification([])


def test_regression() -> None:
    assert json_results.regression([0.2, math.inf, 42]) == text("{", '    "results": [0.2, Infinity, 42.0]', "}")
    with pytest.raises(ServingError, match="Cannot convert empty RegressionResults to JSON"):
        json_results.regression([])


def test_model_status() -> None:
    from serving.model_server.version_state import State, VersionStatus

    answer = json_results.model_status(
        [VersionStatus(124, State.END, Code.NOT_FOUND, 'no "x"'), VersionStatus(123, State.AVAILABLE)]
    )
    assert json.loads(answer) == {
        "model_version_status": [
            {"version": "124", "state": "END", "status": {"error_code": "NOT_FOUND", "error_message": 'no "x"'}},
            {"version": "123", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}},
        ]
    }
    assert answer.startswith(b'{\n "model_version_status": [\n  {\n   "version": "124",\n   "state": "END",\n')


def test_model_metadata_prints_all_defaults_and_64_bit_integers_as_strings() -> None:
    from tensorflow.core.protobuf import meta_graph_pb2

    signature = meta_graph_pb2.SignatureDef(method_name="tensorflow/serving/predict")
    signature.inputs["x"].dtype = 1
    signature.inputs["x"].name = "x:0"
    signature.inputs["x"].tensor_shape.dim.add(size=-1)
    signature.outputs["y"].name = "y:0"
    signature.outputs["y"].tensor_shape.unknown_rank = True
    answer = json_results.model_metadata("m", 123, {"serving_default": signature})
    assert json.loads(answer) == {
        "model_spec": {"name": "m", "signature_name": "", "version": "123"},
        "metadata": {
            "signature_def": {
                "signature_def": {
                    "serving_default": {
                        "inputs": {
                            "x": {
                                "dtype": "DT_FLOAT",
                                "name": "x:0",
                                "tensor_shape": {"dim": [{"size": "-1", "name": ""}], "unknown_rank": False},
                            }
                        },
                        "outputs": {
                            "y": {
                                "dtype": "DT_INVALID",
                                "name": "y:0",
                                "tensor_shape": {"dim": [], "unknown_rank": True},
                            }
                        },
                        "method_name": "tensorflow/serving/predict",
                        "defaults": {},
                    }
                }
            }
        },
    }
    assert answer.startswith(b'{\n"model_spec":{\n "name": "m",\n')
