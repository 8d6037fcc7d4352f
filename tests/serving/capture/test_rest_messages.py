"""REST bodies as messages: what the caller would have sent by gRPC."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from serving import messages
from serving.capture import rest_messages
from serving.capture.quick_tensors import MAX_VALUES, tensor_map
from serving.capture.rest_messages import NotConverted, RestMessages
from serving.model_server.errors import ServingError
from serving.model_server.hooks import Tensors as ReadTensors
from serving.model_server.json_tensor import tensors
from serving.model_server.tensor_codec import tensor_bytes, to_array
from serving.model_server.wire import delimited
from tests.serving.capture.exchanges import Tensor, Tensors, exchange, rest_exchange

SIGNATURES = {
    "serving_raw": Tensors(
        {"fare": Tensor("float32"), "trips": Tensor("int64"), "company": Tensor("string")},
        {"scores": Tensor("float32"), "classes": Tensor("string"), "raw_bytes": Tensor("string")},
    ),
    "serving_default": Tensors({"x": Tensor("float32")}, {"y": Tensor("float32")}),
}
ROW = {"fare": 1.5, "trips": -3, "company": "Blue"}


def _messages() -> RestMessages:
    return RestMessages(lambda model, version: SIGNATURES)


def _request(body: Any, **changes: Any) -> Any:
    serialized = _messages().request(rest_exchange(body, {}, **changes))
    return messages.PredictRequest.FromString(serialized)


def _response(body: Any, **changes: Any) -> Any:
    serialized = _messages().response(rest_exchange({}, body, **changes))
    return messages.PredictResponse.FromString(serialized)


def _values(tensors: Any) -> dict[str, Any]:
    return {key: to_array(tensor).tolist() for key, tensor in tensors.items()}


@pytest.mark.parametrize(
    "body", [{"instances": [ROW, ROW]}, {"inputs": {"fare": [1.5] * 2, "trips": [-3] * 2, "company": ["Blue"] * 2}}]
)
def test_rows_and_columns_of_a_request(body: dict[str, Any]) -> None:
    request = _request(body)
    assert (request.model_spec.name, request.model_spec.signature_name) == ("taxi", "serving_raw")
    assert _values(request.inputs) == {"fare": [1.5, 1.5], "trips": [-3, -3], "company": [b"Blue", b"Blue"]}


def test_rows_and_columns_of_an_answer() -> None:
    row = {"scores": [0.25, 0.75], "classes": ["0", "1"], "raw_bytes": {"b64": "/w=="}}
    wanted = {"scores": [[0.25, 0.75]], "classes": [[b"0", b"1"]], "raw_bytes": [b"\xff"]}
    response = _response({"predictions": [row]})
    assert _values(response.outputs) == wanted
    spec = response.model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == ("taxi", 7, "serving_raw")
    columns = {"scores": [[0.25, 0.75]], "classes": [["0", "1"]], "raw_bytes": [{"b64": "/w=="}]}
    assert _values(_response({"outputs": columns}).outputs) == wanted


def test_a_single_tensor_has_no_name() -> None:
    request = _request({"instances": [1.0, 2.5]}, signature="")
    assert request.model_spec.signature_name == ""
    assert _values(request.inputs) == {"x": [1.0, 2.5]}
    answer = _response(b'{"predictions": [NaN, -Infinity]}', signature="")
    assert answer.model_spec.signature_name == "serving_default"
    values = _values(answer.outputs)["y"]
    assert math.isnan(values[0]) and values[1] == -math.inf
    assert _values(_response({"outputs": 3.0}, signature="").outputs) == {"y": 3.0}


def test_classify_and_regress_need_no_signature() -> None:
    convert = RestMessages(None)
    body = {"context": {"company": "Blue"}, "examples": [{"fare": 1.5}, {"fare": 2.5}]}
    given_ = rest_exchange(body, {"results": [[["low", 0.25], ["high", 0.75]]] * 2}, entrypoint="Classify")
    request = messages.ClassificationRequest.FromString(convert.request(given_))
    assert request.model_spec.signature_name == "serving_raw"
    first, second = request.input.example_list.examples
    assert first.features.feature["company"].bytes_list.value[0] == b"Blue"
    assert second.features.feature["fare"].float_list.value[0] == 2.5
    response = messages.ClassificationResponse.FromString(convert.response(given_))
    classes = response.result.classifications[1].classes
    assert [(one.label, one.score) for one in classes] == [("low", 0.25), ("high", 0.75)]
    assert response.model_spec.version.value == 7
    given_ = rest_exchange({"examples": [{"fare": 1}]}, {"results": [2.5]}, entrypoint="Regress")
    assert messages.RegressionRequest.FromString(convert.request(given_)).input.example_list.examples
    response = messages.RegressionResponse.FromString(convert.response(given_))
    assert response.result.regressions[0].value == 2.5


@pytest.mark.parametrize(
    ("request_body", "response_body"),
    [
        (b"", b""),
        (b"{", b"{"),
        (b"[1]", b"[1]"),
        (b'{"instances": [{"fare": 1}]}', b'{"predictions": [1]}'),
        (b'{"instances": 1}', b'{"error": "no"}'),
        (b'{"instances": [], "inputs": []}', b"null"),
        (b'{"inputs": {"fare": [1], "trips": ["x"], "company": ["y"]}}', b'{"predictions": [{"scores": 1}]}'),
    ],
)
def test_what_is_no_body_of_the_api_is_not_converted(request_body: bytes, response_body: bytes) -> None:
    given_ = rest_exchange(request_body, response_body)
    for convert in (_messages().request, _messages().response):
        with pytest.raises(NotConverted):
            convert(given_)


@pytest.mark.parametrize("entrypoint", ["Classify", "Regress"])
@pytest.mark.parametrize("body", [b"{}", b'{"results": 1}', b'{"results": [["x"]]}', b'{"results": ["x"]}'])
def test_what_is_no_result_is_not_converted(entrypoint: str, body: bytes) -> None:
    with pytest.raises(NotConverted):
        _messages().response(rest_exchange({}, body, entrypoint=entrypoint))


def test_a_version_is_asked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    now = 100.0
    monkeypatch.setattr(rest_messages.time, "monotonic", lambda: now)

    def find(model: str, version: int) -> Any:
        asked.append((model, version))
        if len(asked) == 1:
            raise RuntimeError("not yet")
        return SIGNATURES

    convert = RestMessages(find)
    given_ = rest_exchange({"instances": [ROW]}, {})
    for _ in range(3):
        with pytest.raises(NotConverted):
            convert.request(given_)
    assert asked == [("taxi", 7)]
    now += 5.0
    for _ in range(3):
        convert.request(given_)
    assert asked == [("taxi", 7)] * 2
    with pytest.raises(NotConverted):
        convert.request(rest_exchange({"instances": [ROW]}, {}, version=None))
    convert.request(rest_exchange({"instances": [ROW]}, {}, version=8))
    assert asked[2:] == [("taxi", 8)]


def test_a_signature_that_the_version_does_not_have() -> None:
    with pytest.raises(NotConverted):
        _messages().request(rest_exchange({"instances": [ROW]}, {}, signature="other"))
    with pytest.raises(NotConverted):
        RestMessages(None).request(exchange(api="REST", request=b'{"instances": [1]}'))


CELLS: dict[str, st.SearchStrategy[Any]] = {
    "float32": st.one_of(st.floats(), st.integers(-(2**60), 2**60), st.just(1e300)),
    "float64": st.one_of(st.floats(), st.integers()),
    "int64": st.integers(-(2**64), 2**64),
    "string": st.one_of(st.text(), st.just("\ud800"), st.just({"b64": "YQ=="})),
    "bool": st.booleans(),
    "int32": st.integers(-(2**33), 2**33),
}
ODD = st.one_of(st.none(), st.booleans(), st.text(max_size=3), st.integers(), st.floats(), st.lists(st.integers()))


@st.composite
def _documents(draw: st.DrawFn) -> tuple[dict[str, Tensor], dict[str, Any]]:
    names = draw(st.lists(st.sampled_from(["a", "b64", "é", "c"]), min_size=1, max_size=3, unique=True))
    types = {name: draw(st.sampled_from(sorted(CELLS))) for name in names}
    count = draw(st.integers(0, 4))
    width = draw(st.integers(0, 3))

    def cell(name: str) -> Any:
        value = CELLS[types[name]]
        if draw(st.integers(0, 19)) == 0:
            return draw(ODD)
        return [draw(value) for _ in range(width)] if width and name == "a" else draw(value)

    if draw(st.booleans()):
        rows = [{name: cell(name) for name in names} for _ in range(count)]
        if len(names) == 1 and draw(st.booleans()):
            return {n: Tensor(t) for n, t in types.items()}, {"instances": [row[names[0]] for row in rows]}
        return {n: Tensor(t) for n, t in types.items()}, {"instances": rows}
    columns: Any = {name: [cell(name) for _ in range(count)] for name in names}
    if len(names) == 1 and draw(st.booleans()):
        columns = columns[names[0]]
    return {n: Tensor(t) for n, t in types.items()}, {"inputs": columns}


@given(_documents())
def test_the_quick_way_gives_what_the_long_one_gives(given_: tuple[dict[str, Tensor], dict[str, Any]]) -> None:
    infos, document = given_
    by_row = "instances" in document
    quick = tensor_map(2, document["instances" if by_row else "inputs"], infos, by_row)
    if quick is None:
        return
    try:
        _, arrays = tensors(document, infos)  # type: ignore[arg-type]
    except ServingError as e:
        raise AssertionError(f"{document} is refused: {e}") from e
    assert quick == b"".join(
        delimited(2, delimited(1, name.encode()) + delimited(2, tensor_bytes(array))) for name, array in arrays.items()
    )


@pytest.mark.parametrize(
    ("name", "dtype", "rows"),
    [
        ("b64", "string", [{"b64": "YQ=="}]),
        ("x", "string", [{"b64": "YQ=="}]),
        ("x", "string", ["\ud800"]),
        ("x", "string", ["a", 1]),
        ("x", "int64", [2**63]),
        ("x", "int64", [-(2**63) - 1]),
        ("x", "int64", [1.0]),
        ("x", "int64", [True]),
        ("x", "float32", [True]),
        ("x", "float32", [1e300]),
        ("x", "float32", [10**400]),
        ("x", "float32", ["1"]),
        ("x", "float32", [None]),
        ("x", "float32", [[1.0], [2.0, 3.0]]),
        ("x", "float32", [[1.0, 2.0], [3.0], [4.0, 5.0, 6.0]]),
        ("x", "float32", [[1.0], 2.0]),
        ("x", "float32", [[[1.0]]]),
        ("x", "float32", [[]]),
        ("x", "float32", []),
        ("x", "float32", 1.0),
        ("x", "float32", [{"y": 1.0}]),
        ("x", "float32", [{"x": 1.0}, 2.0]),
        ("x", "float32", [{"x": 1.0}, {"x": 1.0, "y": 1.0}]),
        ("x", "bool", [True]),
        ("x", "int32", [1]),
    ],
)
def test_whatever_is_not_plain_is_left_to_the_long_way(name: str, dtype: str, rows: Any) -> None:
    assert tensor_map(2, rows, {name: Tensor(dtype)}, by_row=True) is None
    if not (isinstance(rows, list) and rows and isinstance(rows[0], dict)):
        assert tensor_map(2, {name: rows}, {name: Tensor(dtype)}, by_row=False) is None


def test_several_tensors_need_names() -> None:
    infos = {"a": Tensor("float32"), "b": Tensor("float32")}
    for value, by_row in (([1.0], True), ([1.0], False), ({"a": [1.0]}, False), ({"a": [1.0], "b": [1.0]}, True)):
        assert tensor_map(2, value, infos, by_row=by_row) is None


def test_the_quick_way_is_taken_for_plain_rows_and_not_for_large_ones() -> None:
    infos = {name: Tensor(dtype) for name, dtype in (("f", "float32"), ("i", "int64"), ("s", "string"))}
    row = {"f": 1.5, "i": 3, "s": "x"}
    assert tensor_map(2, [row] * 2, infos, by_row=True) is not None
    assert tensor_map(2, {"f": [[1, 2.5]], "i": [-1], "s": ["é"]}, infos, by_row=False) is not None
    assert tensor_map(2, [row] * (MAX_VALUES + 1), infos, by_row=True) is None
    large = json.loads(json.dumps({"instances": [row] * (MAX_VALUES + 1)}))
    assert np.prod(tensors(large, infos)[1]["f"].shape) == MAX_VALUES + 1  # type: ignore[arg-type]


_DTYPES = ["float16", "float32", "float64", "int8", "int32", "int64", "uint64", "bool", "complex64"]


@given(st.sampled_from(_DTYPES), st.lists(st.integers(0, 3), max_size=3), st.data())
def test_what_the_server_has_read_already_is_not_read_again(dtype: str, shape: list[int], data: st.DataObject) -> None:
    size = math.prod(shape)
    numbers = np.array(data.draw(st.lists(st.integers(0, 1), min_size=size, max_size=size)), dtype).reshape(shape)
    texts = np.empty(size, object)
    texts[:] = data.draw(st.lists(st.binary(max_size=5), min_size=size, max_size=size))
    texts = texts.reshape(shape)
    # Bodies that nobody could read.
    given_ = rest_exchange(b"", b"", tensors=ReadTensors({"fare": numbers, "company": texts}, {"scores": numbers}))
    request = messages.PredictRequest.FromString(RestMessages(None).request(given_))
    assert request.model_spec.signature_name == "serving_raw"
    response = messages.PredictResponse.FromString(RestMessages(None).response(given_))
    assert response.model_spec.version.value == 7
    assert (request.inputs.keys(), response.outputs.keys()) == ({"fare", "company"}, {"scores"})
    for tensor, wanted in (
        (request.inputs["fare"], numbers),
        (request.inputs["company"], texts),
        (response.outputs["scores"], numbers),
    ):
        # As any reader of the log would.
        found = tf.make_ndarray(tensor)
        assert (found.dtype, found.tolist()) == (wanted.dtype, wanted.tolist())
