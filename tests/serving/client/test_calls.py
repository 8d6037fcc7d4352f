"""Requests and answers of both APIs as bytes, held against TensorFlow's own messages and the protocol's JSON."""

from __future__ import annotations

import contextlib
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving import messages
from serving.client.grpc_calls import GrpcCalls
from serving.client.rest_calls import RestCalls
from serving.client.signatures import SignatureSpec, TensorSpec
from serving.client.target import Model
from serving.model_server import tensor_codec
from serving.model_server.errors import Code

DTYPES = ["float32", "float64", "int64", "int32", "uint8", "uint64", "bool", "string"]


def signature(**outputs: tuple[str, Any]) -> SignatureSpec:
    specs = {name: TensorSpec(name, dtype, shape) for name, (dtype, shape) in outputs.items()}
    return SignatureSpec("s", "tensorflow/serving/predict", {}, specs)


def test_a_predict_request_is_tensorflows() -> None:
    predict_pb2 = pytest.importorskip("tensorflow_serving.apis.predict_pb2")
    import tensorflow as tf

    tensors = {
        "f": np.array([[1.5, math.nan]], np.float32),
        "i": np.array([np.iinfo(np.int64).min, 7]),
        "t": np.array([b"a", b"\xff"], object),
    }
    call = GrpcCalls().predict(Model("m", version=7), signature(), tensors, ["y"])
    assert call.path == "/tensorflow.serving.PredictionService/Predict"
    theirs = predict_pb2.PredictRequest.FromString(call.body)
    assert theirs.model_spec.name == "m"
    assert theirs.model_spec.version.value == 7
    assert theirs.model_spec.signature_name == "s"
    assert list(theirs.output_filter) == ["y"]
    for name, array in tensors.items():
        np.testing.assert_array_equal(tf.make_ndarray(theirs.inputs[name]), array)


def test_paths_of_rest() -> None:
    calls = RestCalls()
    assert calls.metadata(Model("a/b c", version=3)).path == "/v1/models/a%2Fb%20c/versions/3/metadata"
    assert calls.status(Model("m", label="x:y")).path == "/v1/models/m/labels/x%3Ay"
    assert calls.classify(Model("m"), "s", []).path == "/v1/models/m:classify"


@pytest.mark.parametrize("dtype", DTYPES)
def test_json_of_tensors(dtype: str) -> None:
    values: Any = {
        "string": ["a", "é", "", '"'],
        "bool": [True, False, True, False],
        "float32": [1.5, -0.0, 1e-30, 0.1],
    }.get(dtype, [0, 1, 2, 100])
    array = np.array(values, object if dtype == "string" else dtype)
    if dtype == "string":
        array = np.array([value.encode() for value in values], object)
    body = RestCalls().predict(Model("m"), signature(), {"x": array.reshape(2, 2), "y": array}, []).body
    sent = json.loads(body)
    assert sent["signature_name"] == "s"
    flat = [value for row in sent["inputs"]["x"] for value in row]
    assert flat == sent["inputs"]["y"]
    assert [type(value) for value in flat] == [type(value) for value in array.tolist()] or dtype == "string"
    read = RestCalls().read_predict(
        json.dumps({"outputs": sent["inputs"]}).encode(), signature(x=(dtype, (None, 2)), y=(dtype, (None,))), []
    )
    np.testing.assert_array_equal(read.outputs["y"], np.array(values, read.outputs["y"].dtype))
    assert read.outputs["x"].shape == (2, 2)


@given(st.lists(st.floats(width=32), min_size=1), st.lists(st.binary(), min_size=1))
def test_numbers_and_bytes_survive_json(floats: list[float], texts: list[bytes]) -> None:
    tensors = {"f": np.array(floats, np.float32), "t": np.array(texts, object)}
    sent = json.loads(RestCalls().predict(Model("m"), signature(), tensors, []).body)["inputs"]
    spec = signature(f=("float32", (None,)), t=("string", (None,)))
    read = RestCalls().read_predict(json.dumps({"outputs": sent}).encode(), spec, []).outputs
    np.testing.assert_array_equal(read["f"], tensors["f"])
    assert [value.encode() if isinstance(value, str) else value for value in read["t"]] == texts


def test_a_single_output_has_no_name() -> None:
    read = RestCalls().read_predict(
        b'{"outputs": [[1.0, NaN], [Infinity, -3e+06]]}', signature(y=("float32", None)), []
    )
    np.testing.assert_array_equal(read.outputs["y"], np.array([[1, math.nan], [math.inf, -3e6]], np.float32))


def test_text_outputs_may_hold_any_bytes() -> None:
    read = RestCalls().read_predict(b'{"outputs": ["a", "\xff"]}', signature(y=("string", None)), [])
    assert read.outputs["y"].tolist() == ["a", b"\xff"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b'{"error": "x"}',
        b'{"outputs": {"x": [1.0]}}',
        b'{"outputs": {"x": [1.0], "y": [1.0], "z": [1.0]}}',
        b'{"outputs": {"x": [[1.0], [1.0, 2.0]], "y": ["a"]}}',
        b'{"outputs": {"x": [{}], "y": ["a"]}}',
        b'{"outputs": {"x": [1.0], "y": [{"b65": "a"}]}}',
        b'{"outputs": {"x": [1.0], "y": [["a"], []]}}',
        b'{"outputs": {"x": [1.0], "y": [["a"], "b"]}}',
        b'{"outputs": {"x": [1.0], "y": ["\\ud800"]}}',
    ],
)
def test_answers_that_are_none(body: bytes) -> None:
    with pytest.raises(ValueError):
        RestCalls().read_predict(body, signature(x=("float32", (None,)), y=("string", (None,))), [])


@pytest.mark.filterwarnings("ignore:Unexpected end-group tag")  # protobuf 3.20's way to refuse some bytes
@given(st.binary(max_size=50))
def test_any_bytes_are_an_answer_or_a_value_error(body: bytes) -> None:
    spec = signature(x=("float32", (None,)))
    for calls in (GrpcCalls(), RestCalls()):
        for read in (
            lambda b, c=calls: c.read_predict(b, spec, []),
            calls.read_classify,
            calls.read_regress,
            calls.read_metadata,
            calls.read_status,
        ):
            with contextlib.suppress(ValueError):
                read(body)


@pytest.mark.parametrize(
    "answer",
    ['{"results": 5}', '{"results": [5]}', '{"results": [[5]]}', '{"results": [["a", "b"]]}', '{"results": [[[]]]}'],
)
def test_results_that_are_none(answer: str) -> None:
    with pytest.raises(ValueError):
        RestCalls().read_classify(answer.encode())


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"model_spec": 5},
        {"model_spec": {"name": "m"}, "metadata": {}},
        {"model_spec": {"name": "m", "version": "x"}},
    ],
)
def test_metadata_that_is_none(answer: Any) -> None:
    with pytest.raises(ValueError):
        RestCalls().read_metadata(json.dumps(answer).encode())


def test_a_bad_tensor_in_an_answer() -> None:
    response = messages.PredictResponse()
    response.outputs["x"].dtype = 1
    response.outputs["x"].tensor_content = b"123"
    response.outputs["x"].tensor_shape.dim.add(size=1)
    with pytest.raises(ValueError, match="tensor"):
        GrpcCalls().read_predict(response.SerializeToString(), signature(), [])


def test_unknown_states_and_codes_of_a_newer_server() -> None:
    response = messages.GetModelStatusResponse()
    response.model_version_status.add(version=1, state=77).status.error_code = 99
    (status,) = GrpcCalls().read_status(response.SerializeToString())
    assert (status.state, status.code) == ("77", Code.UNKNOWN)


def test_texts_of_an_answer() -> None:
    response = messages.PredictResponse()
    tensor_codec.fill_tensor(response.outputs["x"], np.array([[b"a", b"\xff"]], object))
    read = GrpcCalls().read_predict(response.SerializeToString(), signature(), [])
    assert read.outputs["x"].tolist() == [["a", b"\xff"]]
