"""Tensors out of JSON, and back into it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from serving.model_server import json_results, json_tensor
from serving.model_server.errors import Code, ServingError
from serving.model_server.json_document import request_object
from serving.v1_loader import TensorInfo

NUMERIC = ("float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint32", "uint64", "bool")
SHAPES = hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=4)


def info(**dtypes: str) -> dict[str, TensorInfo]:
    return {name: TensorInfo(f"{name}:0", dtype, None) for name, dtype in dtypes.items()}


def read(body: bytes | str, **dtypes: str) -> dict[str, np.ndarray]:
    body = body if isinstance(body, bytes) else body.encode()
    return json_tensor.tensors(request_object(body), info(**dtypes))[1]


def refused(body: str, **dtypes: str) -> ServingError:
    with pytest.raises(ServingError) as error:
        read(body, **dtypes)
    return error.value


def strings(*values: bytes) -> np.ndarray:
    array = np.empty(len(values), object)
    array[:] = values
    return array


@pytest.mark.parametrize("dtype", NUMERIC)
@settings(max_examples=25)
@given(data=st.data())
def test_a_tensor_goes_out_and_comes_back_as_it_was(dtype: str, data: Any) -> None:
    array = data.draw(hnp.arrays(dtype, SHAPES))
    answer = json_results.prediction({"t": array}, "columnar")
    back = read(answer.replace(b'"outputs"', b'"inputs"'), t=dtype)["t"]
    # A dimension after one of size 0 is not in the JSON.
    np.testing.assert_array_equal(back, array if array.size else array.reshape(back.shape), strict=True)


@pytest.mark.parametrize("dtype", NUMERIC)
@settings(max_examples=25)
@given(data=st.data())
def test_rows_go_out_and_come_back_as_they_were(dtype: str, data: Any) -> None:
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=3))
    arrays = {name: data.draw(hnp.arrays(dtype, shape)) for name in ("a", "b")}
    answer = json_results.prediction(arrays, "row")
    back = read(answer.replace(b'"predictions"', b'"instances"'), a=dtype, b=dtype)
    for name, array in arrays.items():
        np.testing.assert_array_equal(back[name], array, strict=True)
    lone = json_results.prediction({"a": arrays["a"]}, "row")
    back = read(lone.replace(b'"predictions"', b'"instances"'), a=dtype)
    np.testing.assert_array_equal(back["a"], arrays["a"], strict=True)


@given(hnp.arrays(object, SHAPES, elements=st.binary(max_size=12)), st.sampled_from(["t", "t_bytes"]))
def test_strings_go_out_and_come_back_byte_for_byte(array: np.ndarray, name: str) -> None:
    answer = json_results.prediction({name: array}, "columnar")
    back = read(answer.replace(b'"outputs"', b'"inputs"'), **{name: "string"})[name]
    assert back.tolist() == (array if array.size else array.reshape(back.shape)).tolist()


@given(st.lists(st.lists(st.integers(-5, 5) | st.floats(-5, 5)), min_size=1, max_size=6), st.booleans())
def test_a_list_is_an_array_or_an_error_and_never_another_array(rows: list[list[Any]], by_row: bool) -> None:
    body = json.dumps({"instances" if by_row else "inputs": rows})
    if len(set(map(len, rows))) == 1:
        np.testing.assert_array_equal(read(body, x="float64")["x"], np.array(rows, np.float64), strict=True)
    else:
        assert refused(body, x="float64").code is Code.INVALID_ARGUMENT


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**64), 2**65) | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["x", "z", "b64"]), inner, max_size=2),
    max_leaves=12,
)


@given(st.sampled_from(["instances", "inputs"]), JSON_VALUES, st.sampled_from([*NUMERIC, "string", "float16"]))
def test_hostile_input_gives_arrays_or_a_clear_error(key: str, value: Any, dtype: str) -> None:
    body = json.dumps({key: value}).encode("utf-8", "surrogatepass")
    for dtypes in ({"x": dtype}, {"x": dtype, "z": dtype}):
        try:
            found = read(body, **dtypes)
        except ServingError as e:
            assert e.code in (Code.INVALID_ARGUMENT, Code.UNIMPLEMENTED)
            assert e.message
        else:
            assert set(found) == set(dtypes)
            assert all(a.dtype == (object if dtype == "string" else dtype) for a in found.values())


@given(st.lists(JSON_VALUES, min_size=1, max_size=3), st.sampled_from([*NUMERIC, "string"]))
def test_the_quick_way_and_the_walk_agree(rows: list[Any], dtype: str) -> None:
    body = json.dumps({"instances": rows}).encode("utf-8", "surrogatepass")
    try:
        document = request_object(body)
    except ServingError:
        return
    inputs = info(x=dtype)

    def quick() -> Any:
        return json_tensor.tensors(document, inputs)[1]["x"].tolist()

    def walked() -> Any:
        named = json_tensor._is_named(document["instances"][0])
        return json_tensor._RowWalk(inputs).walk(document["instances"], named)["x"].tolist()

    outcomes = []
    for way in (quick, walked):
        try:
            outcomes.append(repr(way()))
        except ServingError as e:
            outcomes.append(f"{e.code.name}: {e.message}")
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize(
    ("dtype", "tokens", "values"),
    [
        ("float32", "[1, 2.0, 1435774380, 5e-1]", [1, 2, 1435774380, 0.5]),
        ("float32", "[1e300, -1e300, 1e-300, NaN, Infinity]", [np.inf, -np.inf, 0, np.nan, np.inf]),
        ("float64", "[18446744073709551615, 9223372036854775807]", [2.0**64, 2.0**63]),
        ("int8", "[127, 128, 300, -129]", [127, -128, 44, 127]),  # as TensorFlow narrows
        ("uint8", "[255, 256, -1]", [255, 0, 255]),
        ("int16", "[32768]", [-32768]),
        ("int32", "[-2147483648, 2147483647]", [-(2**31), 2**31 - 1]),
        ("int64", "[-9223372036854775808, 9223372036854775807]", [-(2**63), 2**63 - 1]),
        ("uint32", "[4294967295]", [2**32 - 1]),
        ("uint64", "[18446744073709551615]", [2**64 - 1]),
        ("bool", "[true, false]", [True, False]),
    ],
)
def test_tokens_of_each_dtype(dtype: str, tokens: str, values: list[Any]) -> None:
    expected = np.array(values, np.float64 if dtype.startswith("float") else dtype).astype(dtype)
    for key in ("instances", "inputs"):
        np.testing.assert_array_equal(read(f'{{"{key}": {tokens}}}', x=dtype)["x"], expected, strict=True)


@pytest.mark.parametrize(
    ("dtype", "token", "text"),
    [
        ("float32", '"x"', 'JSON Value: "x" Type: String is not of expected type: float'),
        ("float32", "true", "JSON Value: true Type: True is not of expected type: float"),
        ("float64", "null", "JSON Value: null Type: Null is not of expected type: double"),
        (
            "float64",
            '{"b64": "YQ=="}',
            'JSON Value: {\n    "b64": "YQ=="\n} Type: Object is not of expected type: double',
        ),
        ("int32", "1.0", "JSON Value: 1.0 Type: Number is not of expected type: int32"),
        ("int32", "2147483648", "JSON Value: 2147483648 Type: Number is not of expected type: int32"),
        ("int32", "false", "JSON Value: false Type: False is not of expected type: int32"),
        ("int32", "NaN", "JSON Value:  Type: Number is not of expected type: int32"),
        ("int64", "9223372036854775808", "JSON Value: 9223372036854775808 Type: Number is not of expected type: int64"),
        ("int64", "1e2", "JSON Value: 100.0 Type: Number is not of expected type: int64"),
        ("int64", "1e25", "JSON Value: 1e25 Type: Number is not of expected type: int64"),
        (
            "uint64",
            "18446744073709551616",
            "JSON Value: 18446744073709552000.0 Type: Number is not of expected type: uint64",
        ),
        ("uint32", "-1", "JSON Value: -1 Type: Number is not of expected type: uint32"),
        ("bool", "1", "JSON Value: 1 Type: Number is not of expected type: bool"),
        ("string", "1", "JSON Value: 1 Type: Number is not of expected type: string"),
    ],
)
def test_a_token_of_another_type_is_refused(dtype: str, token: str, text: str) -> None:
    error = refused(f'{{"instances": [{token}]}}' if token[0] != "{" else f'{{"instances": [[{token}]]}}', x=dtype)
    assert error.code is Code.INVALID_ARGUMENT
    assert error.message == f"Failed to process element: 0 of 'instances' list. Error: INVALID_ARGUMENT: {text}"
    assert refused(f'{{"inputs": [{token}]}}', x=dtype).message == text


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "uint16", "complex64"])
def test_dtypes_that_json_does_not_carry(dtype: str) -> None:
    name = {"float16": "half"}.get(dtype, dtype)
    text = f"Conversion of JSON Value: 1 to type: {name}"
    error = refused('{"inputs": [1]}', x=dtype)
    assert (error.code, error.message) == (Code.UNIMPLEMENTED, text)
    error = refused('{"instances": [1]}', x=dtype)
    assert error.code is Code.INVALID_ARGUMENT
    assert error.message == f"Failed to process element: 0 of 'instances' list. Error: UNIMPLEMENTED: {text}"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("aGVsbG8=", b"hello"),
        ("aGVsbG8", b"hello"),
        ("aGVs\\nbG8=", b"hello"),
        ("", b""),
        ("YQ==", b"a"),
        ("YQ..", b"a"),
    ]
    + [("////", b"\xff\xff\xff"), ("++++", b"\xfb\xef\xbe")],
)
def test_base64(text: str, value: bytes) -> None:
    assert read(f'{{"instances": [{{"b64": "{text}"}}, "b"]}}', x="string")["x"].tolist() == [value, b"b"]
    assert read(f'{{"inputs": {{"b64": "{text}"}}}}', x="string")["x"].tolist() == value


@pytest.mark.parametrize("text", ["a", "YQ=", "YQ===", "aGVs=", "a-_b", "aGV sbG8*", "é€aa", "=aaa"])
def test_what_is_no_base64(text: str) -> None:
    assert refused(json.dumps({"inputs": {"b64": text}}), x="string").message == "Unable to base64 decode"


def test_only_an_object_with_nothing_but_b64_is_base64() -> None:
    message = refused('{"inputs": [{"b64": "YQ==", "c": 1}]}', x="string").message
    assert message == 'JSON Value: {\n    "b64": "YQ==",\n    "c": 1\n} not formatted correctly for base64 data'
    assert refused('{"inputs": [{"b64": 5}]}', x="string").message.endswith("not formatted correctly for base64 data")
    twice = '{"inputs": [{"b64": "YQ==", "b64": "Yg=="}]}'
    assert refused(twice, x="string").message.endswith("not formatted correctly for base64 data")


def test_strings_are_bytes_whatever_they_hold() -> None:
    assert read(b'{"inputs": ["\xff", "caf\xc3\xa9", "\\ud83d\\ude00", "\\u0000"]}', x="string")["x"].tolist() == [
        b"\xff",
        "café".encode(),
        "😀".encode(),
        b"\0",
    ]


def test_named_rows_and_columns() -> None:
    rows = b'{"instances": [{"i": [[1], [2]], "s": "a"}, {"s": "b", "i": [[3], [4]]}]}'
    found = read(rows, i="int32", s="string")
    np.testing.assert_array_equal(found["i"], np.int32([[[1], [2]], [[3], [4]]]), strict=True)
    assert found["s"].tolist() == [b"a", b"b"]
    columns = b'{"inputs": {"i": 5, "s": [["a"]], "ignored": {}}}'
    found = read(columns, i="int32", s="string")
    assert found["i"].shape == () and found["i"] == 5
    assert found["s"].tolist() == [[b"a"]]


def test_of_a_repeated_input_the_first_one_counts() -> None:
    assert read('{"instances": [{"x": 1, "x": 2}, {"x": 3}]}', x="int32")["x"].tolist() == [1, 3]
    assert read('{"inputs": {"x": [1], "x": [2]}, "inputs": [9]}', x="int32")["x"].tolist() == [1]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('{"a": 1}', "Missing 'inputs' or 'instances' key"),
        (
            '{"inputs": 1, "instances": 2}',
            'JSON Value: {\n    "inputs": 1,\n    "instances": 2\n} Not formatted correctly expecting only one of '
            "'inputs' or 'instances' keys to exist ",
        ),
        ('{"instances": 1}', "JSON Value: {\n    \"instances\": 1\n} Expecting 'instances' to be an list/array"),
        ('{"instances": []}', "JSON Value: {\n    \"instances\": []\n} No values in 'instances' array"),
        ('{"inputs": [[1], [2, 3]]}', "Encountered list at unexpected size: 2 at level: 1 expected size: 1"),
        ('{"inputs": [1, [2]]}', "Encountered list at unexpected level: 1 expected < 1"),
        ('{"inputs": [[1], 2]}', "JSON Value: 2 found at incorrect level: 2 in the JSON DOM. Expected at level: 2"),
        ('{"inputs": {"z": 1}}', "Missing named input: x in 'inputs' object."),
        ('{"instances": [[1], {"x": [1]}]}', "Expecting value/list but got object at item 1 of input list"),
        ('{"instances": [{"x": 1}, [1]]}', "Expecting object but got list at item 1 of input list"),
        (
            '{"instances": [[1, 2], [3, 4], [5, 6, 7]]}',
            "Failed to process element: 2 of 'instances' list. Error: INVALID_ARGUMENT: "
            "Expecting tensor size: 2 but got: 3",
        ),
        (
            '{"instances": [[1, 2], [[5, 6]]]}',
            "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: "
            "Expecting shape [2] but got: [1,2]",
        ),
        (
            '{"instances": [1, [1]]}',
            "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: "
            "Expecting shape [] but got: [1]",
        ),
        (
            '{"instances": [{"x": 1}, {"x": "a"}]}',
            "Failed to process element: 1 key: x of 'instances' list. Error: INVALID_ARGUMENT: "
            'JSON Value: "a" Type: String is not of expected type: int32',
        ),
        (
            '{"instances": [{"q": 1}]}',
            "Failed to process element: 0 key: q of 'instances' list. Error: INVALID_ARGUMENT: "
            "JSON object: does not have named input: q",
        ),
        (
            '{"instances": [{}]}',
            "Failed to process element: 0 of 'instances' list. JSON object: {} keys must be equal to: x",
        ),
    ],
)
def test_errors_of_one_input(body: str, message: str) -> None:
    error = refused(body, x="int32")
    assert (error.code, error.message) == (Code.INVALID_ARGUMENT, message)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            '{"instances": [1]}',
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
            "tensorinfo_map",
        ),
        (
            '{"inputs": [1]}',
            "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
            "tensorinfo_map",
        ),
        (
            '{"instances": [{"a": 1, "b": 2}, {"b": 1}]}',
            "Failed to process element: 1 of 'instances' list. JSON object: {\n    \"b\": 1\n} "
            "keys must be equal to: a,b",
        ),
        ('{"inputs": {"a": 1}}', "Missing named input: b in 'inputs' object."),
    ],
)
def test_errors_of_several_inputs(body: str, message: str) -> None:
    assert refused(body, b="int32", a="int32").message == message


def test_nesting_beyond_what_an_array_can_have_is_refused() -> None:
    for levels in (33, 50_000):
        for key in ("instances", "inputs"):
            body = f'{{"{key}": {"[" * levels}1{"]" * levels}}}'
            assert "lists must not be nested deeper than 32 levels" in refused(body, x="int32").message


def test_a_long_value_is_cut_in_the_message() -> None:
    message = refused(json.dumps({"inputs": [{"x": [1, 2, 3]}] * 100}), x="int32").message
    assert message.startswith('JSON Value: {\n    "x": [1, 2, 3]\n} Type: Object')
    message = refused(json.dumps({"instances": {"rows": list(range(1000))}}), x="int32").message
    value = message.removeprefix("JSON Value: ").removesuffix(" Expecting 'instances' to be an list/array")
    assert value.startswith('{\n    "instances": {\n        "rows": [0, 1, 2, ')
    assert 256 <= len(value) < 262
