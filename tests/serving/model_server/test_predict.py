"""Predict: what the signature asks for, what the request gives, and the words for each way in which they differ."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import predict_pb2

from serving.model_server.errors import Code, ServingError
from serving.model_server.hooks import ModelSpecQuery
from serving.model_server.manager import Manager
from serving.model_server.predict import predict, response_bytes, run_predict
from serving.v1_loader import Signature
from tests.serving.model_server.conftest import MakeManager
from tests.serving.model_server.grpc_asking import predict_request
from tests.serving.model_server.toy_models import DTYPES, ToyModels

X = np.float32([1.0, 2.0])


def error_of(manager: Manager, request: predict_pb2.PredictRequest) -> tuple[Code, str]:
    with pytest.raises(ServingError) as caught:
        predict(manager, request)
    return caught.value.code, caught.value.message


def run(manager: Manager, signature: str, inputs: dict[str, Any], *filters: str) -> tuple[Signature, dict[str, Any]]:
    with manager.acquire(ModelSpecQuery("toy")) as lease:
        return run_predict(lease.servable, signature, inputs, filters)


def test_the_answer_names_what_has_answered(toy_manager: Manager) -> None:
    response = predict(toy_manager, predict_request(x=X))
    assert response.model_spec.name == "toy"
    assert response.model_spec.signature_name == "serving_default"
    assert response.model_spec.version.value == 1
    assert response.model_spec.WhichOneof("version_choice") == "version"
    assert list(response.outputs) == ["y"]
    assert list(response.outputs["y"].float_val) == [2.5, 3.0]
    assert response.outputs["y"].tensor_content == b""


def test_the_answer_can_be_in_tensor_content(toy_manager: Manager) -> None:
    response = predict(toy_manager, predict_request(x=X), as_content=True)
    assert response.outputs["y"].tensor_content == np.float32([2.5, 3.0]).tobytes()
    assert not response.outputs["y"].float_val


def test_several_inputs_and_outputs_with_strings(toy_manager: Manager) -> None:
    words = np.array([b"a", b"\xff"], object)
    response = predict(toy_manager, predict_request("toy", "predict_multi", words=words, counts=np.int64([3, -4])))
    assert response.model_spec.signature_name == "predict_multi"
    assert {k: tf.make_ndarray(v).tolist() for k, v in response.outputs.items()} == {
        "upper": [b"A", b"\xff"],
        "doubled": [6, -8],
        "words_bytes": [b"a", b"\xff"],
    }


def test_every_type_goes_in_and_comes_out(toy_manager: Manager) -> None:
    inputs = {}
    for name in DTYPES:
        dtype = tf.dtypes.as_dtype(name).as_numpy_dtype
        inputs[name] = np.array([b"a", b""], object) if name == "string" else np.array([0, 1]).astype(dtype)
    response = predict(toy_manager, predict_request("toy", "all_types", **inputs))
    assert set(response.outputs) == set(DTYPES)
    for name in DTYPES:
        assert response.outputs[name].dtype == tf.dtypes.as_dtype(name).as_datatype_enum
        assert tf.make_ndarray(response.outputs[name]).tolist() == inputs[name].tolist()


def test_an_input_with_a_default_may_be_left_out(toy_manager: Manager) -> None:
    left_out = predict(toy_manager, predict_request("toy", "with_default", x=X))
    assert list(left_out.outputs["z"].float_val) == [11.0, 12.0]
    given = predict(toy_manager, predict_request("toy", "with_default", x=X, add=np.float32([1.0])))
    assert list(given.outputs["z"].float_val) == [2.0, 3.0]


def test_outputs_are_filtered(toy_manager: Manager) -> None:
    request = predict_request("toy", "predict_multi", words=np.array([b"a"], object), counts=np.int64([3]))
    request.output_filter.append("doubled")
    assert list(predict(toy_manager, request).outputs) == ["doubled"]


def test_a_version_and_a_label_choose(toy_models: ToyModels, make_manager: MakeManager, tmp_path: Any) -> None:
    from serving.model_server.model_config import All, ModelConfig, ServerModels

    toy_models.write(tmp_path, 1, offset=1.0)
    toy_models.write(tmp_path, 2, offset=2.0)
    manager = make_manager(
        ServerModels((ModelConfig("toy", str(tmp_path), policy=All(), labels={"old": 1}),)),
        allow_version_labels_for_unavailable_models=True,
    )
    for asked, version in (({}, 2), ({"version": 1}, 1), ({"label": "old"}, 1)):
        response = predict(manager, predict_request(x=np.float32([0.0]), **asked))
        assert response.model_spec.version.value == version
        assert list(response.outputs["y"].float_val) == [float(version)]


# The rows of the protocol's table.


def test_no_model_spec(toy_manager: Manager) -> None:
    assert error_of(toy_manager, predict_pb2.PredictRequest()) == (Code.INVALID_ARGUMENT, "Missing ModelSpec")


def test_no_name(toy_manager: Manager) -> None:
    expected = Code.INVALID_ARGUMENT, "ModelSpec has no name specified."
    assert error_of(toy_manager, predict_request("")) == expected


@pytest.mark.parametrize(
    ("asked", "code", "message"),
    [
        ({"model": "m"}, Code.NOT_FOUND, "Servable not found for request: Latest(m)"),
        ({"model": "toy", "version": 5}, Code.NOT_FOUND, "Servable not found for request: Specific(toy, 5)"),
        ({"model": "toy", "version": 0}, Code.NOT_FOUND, "Servable not found for request: Specific(toy, 0)"),
        ({"model": "toy", "label": "L"}, Code.INVALID_ARGUMENT, "Unrecognized servable version label: L"),
        ({"model": "toy", "label": ""}, Code.INVALID_ARGUMENT, "Unrecognized servable version label: "),
        (
            {"model": "toy", "signature": "s"},
            Code.FAILED_PRECONDITION,
            'Serving signature key "s" not found.',
        ),
    ],
)
def test_nothing_of_that_name(toy_manager: Manager, asked: dict[str, Any], code: Code, message: str) -> None:
    assert error_of(toy_manager, predict_request(x=X, **asked)) == (code, message)


@pytest.mark.parametrize(
    ("signature", "inputs", "message"),
    [
        (
            "serving_default",
            ["x", "z"],
            "input size does not match signature: 2!=1 len({x,z}) != len({x}). Sent extra: {z}. "
            "Missing but required: {}.",
        ),
        (
            "serving_default",
            [],
            "input size does not match signature: 0!=1 len({}) != len({x}). Sent extra: {}. Missing but required: {x}.",
        ),
        (
            "with_default",
            ["x", "add", "b", "a"],
            "input size does not match signature: 4!=2 len({a,add,b,x}) != len({add,x}). Sent extra: {a,b}. "
            "Missing but required: {}.",
        ),
        (
            "serving_default",
            ["z"],
            "Signature input alias: x(feed name: x:0) not found in request and no default value provided. "
            "Inputs expected to be in the request {z}, or default input alias set: ",
        ),
        (
            "with_default",
            ["add"],
            "Signature input alias: x(feed name: x:0) not found in request and no default value provided. "
            "Inputs expected to be in the request {add}, or default input alias set: add",
        ),
        (
            "with_default",
            ["x", "b"],
            "Inputs contains invalid name. Used request inputs: x, request input: b,x",
        ),
    ],
)
def test_inputs_that_are_not_the_signatures(
    toy_manager: Manager, signature: str, inputs: list[str], message: str
) -> None:
    arrays = {key: np.float32([1.0]) for key in inputs}
    assert error_of(toy_manager, predict_request("toy", signature, **arrays)) == (Code.INVALID_ARGUMENT, message)
    with pytest.raises(ServingError) as caught:
        run(toy_manager, signature, arrays)
    assert (caught.value.code, caught.value.message) == (Code.INVALID_ARGUMENT, message)


def test_a_tensor_that_cannot_be_read(toy_manager: Manager) -> None:
    request = predict_request(x=X)
    request.inputs["x"].tensor_content = b"123"
    assert error_of(toy_manager, request) == (Code.INVALID_ARGUMENT, "tensor parsing error: x")


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        (["q"], "output tensor alias not found in signature: q Outputs expected to be in the set {y}."),
        (["y", "y"], "duplicate output tensor alias: y"),
    ],
)
def test_outputs_that_are_not_the_signatures(toy_manager: Manager, filters: list[str], message: str) -> None:
    request = predict_request(x=X)
    request.output_filter.extend(filters)
    assert error_of(toy_manager, request) == (Code.INVALID_ARGUMENT, message)


def test_the_filter_is_looked_at_after_the_inputs(toy_manager: Manager) -> None:
    request = predict_request(x=X)
    request.inputs["x"].tensor_content = b"123"
    request.output_filter.append("q")
    assert error_of(toy_manager, request)[1] == "tensor parsing error: x"


def test_a_wrong_dtype(toy_manager: Manager) -> None:
    request = predict_request(x=np.array([b"a"], object))
    message = "Expects arg[0] to be float but string is provided"
    assert error_of(toy_manager, request) == (Code.INVALID_ARGUMENT, message)


def test_a_wrong_shape_gives_the_kernels_text(toy_manager: Manager) -> None:
    code, message = error_of(toy_manager, predict_request("toy", "matrix", m=np.zeros((2, 3), np.float32)))
    assert code == Code.INVALID_ARGUMENT
    assert "Matrix size-incompatible: In[0]: [2,3], In[1]: [2,3]" in message


def test_a_graph_that_fails(toy_manager: Manager) -> None:
    code, message = error_of(toy_manager, predict_request("toy", "fails", x=X))
    assert code == Code.INVALID_ARGUMENT
    assert "this signature fails" in message


def test_a_shape_that_the_signature_does_not_have_is_the_graphs_business(toy_manager: Manager) -> None:
    # The placeholder says [N]; TensorFlow Serving checks no shapes of its own.
    response = predict(toy_manager, predict_request("toy", "any_shape", x=np.zeros((2, 3), np.float32)))
    assert [d.size for d in response.outputs["y"].tensor_shape.dim] == [2, 3]


def test_arrays_in_arrays_out(toy_manager: Manager) -> None:
    signature, outputs = run(toy_manager, "", {"x": X})
    assert signature.name == "serving_default"
    assert outputs["y"].tolist() == [2.5, 3.0]
    _, outputs = run(toy_manager, "uneven", {"x": X}, "total", "y")
    assert list(outputs) == ["total", "y"]
    assert outputs["total"].shape == ()


def test_the_rows_are_those_of_the_longest_input(toy_manager: Manager) -> None:
    seen: list[int] = []
    seconds: list[float] = []
    with toy_manager.acquire(ModelSpecQuery("toy")) as lease:
        run_predict(
            lease.servable,
            "with_default",
            {"x": np.zeros(3, np.float32)},
            check_rows=seen.append,
            observe_run=seconds.append,
        )
        run_predict(lease.servable, "slow", {"loops": np.array(0)}, check_rows=seen.append)
    assert seen == [3, 1]
    assert len(seconds) == 1 and seconds[0] > 0


def test_a_batch_that_is_too_large_is_not_run(toy_manager: Manager) -> None:
    def refuse(rows: int) -> None:
        raise ServingError(Code.INVALID_ARGUMENT, f"{rows} rows")

    with pytest.raises(ServingError, match="2 rows"):
        predict(toy_manager, predict_request(x=X), check_rows=refuse)


def test_a_response_is_a_message_like_any_other() -> None:
    outputs = {
        "é": np.array([[b"a"]], object),
        "none": np.zeros((0, 2), np.int64),
        "i": np.array([-1, 300], np.int64),
        "f": np.array(1.5),
    }
    response = predict_pb2.PredictResponse.FromString(response_bytes("m", "", 0, outputs))
    assert response.model_spec.name == "m"
    assert response.model_spec.signature_name == "serving_default"
    assert response.model_spec.WhichOneof("version_choice") == "version"
    assert {k: tf.make_ndarray(v).tolist() for k, v in response.outputs.items()} == {
        k: v.tolist() for k, v in outputs.items()
    }
    assert response.outputs["none"].dtype == types_pb2.DT_INT64
