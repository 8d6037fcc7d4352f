"""The gRPC part of the protocol, row by row: `reference/tf-serving.md`, section gRPC."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    predict_pb2,
    regression_pb2,
)

from tests.contract.servers import Server
from tests.serving.model_server.grpc_asking import ANSWERS, METHODS, example_request, multi_request, predict_request
from tests.serving.model_server.toy_models import example

X = np.float32([1.0, 2.0])
ROW = [example(0.25)]


def classify(signature: str = "classify", examples: Any = ROW, model: str = "toy") -> Any:
    return example_request(classification_pb2.ClassificationRequest, signature, examples, model)


def regress(signature: str = "regress", examples: Any = ROW, model: str = "toy") -> Any:
    return example_request(regression_pb2.RegressionRequest, signature, examples, model)


def metadata(model: str = "toy", *fields: str) -> Any:
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=fields)
    request.model_spec.name = model
    return request


def status(model: str = "toy", version: int | None = None, label: str | None = None) -> Any:
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = model
    if version is not None:
        request.model_spec.version.value = version
    if label is not None:
        request.model_spec.version_label = label
    return request


def changed(request: Any, change: Callable[[Any], Any]) -> Any:
    change(request)
    return request


def version(request: Any, number: int) -> Any:
    request.model_spec.version.value = number
    return request


def label(request: Any, name: str) -> Any:
    request.model_spec.version_label = name
    return request


def bad_tensor() -> Any:
    request = predict_request(x=X)
    request.inputs["x"].tensor_content = b"\x00"
    return request


ROWS: dict[str, tuple[str, Any, str, str]] = {
    "Predict without a spec": ("Predict", predict_pb2.PredictRequest(), "INVALID_ARGUMENT", "Missing ModelSpec"),
    "Classify without a spec": (
        "Classify",
        classification_pb2.ClassificationRequest(),
        "INVALID_ARGUMENT",
        "Missing ModelSpec",
    ),
    "Regress without a spec": ("Regress", regression_pb2.RegressionRequest(), "INVALID_ARGUMENT", "Missing ModelSpec"),
    "GetModelMetadata without a spec": (
        "GetModelMetadata",
        get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"]),
        "INVALID_ARGUMENT",
        "Missing ModelSpec",
    ),
    "GetModelStatus without a spec": (
        "GetModelStatus",
        get_model_status_pb2.GetModelStatusRequest(),
        "INVALID_ARGUMENT",
        "Missing ModelSpec",
    ),
    "no name": ("Predict", predict_request("", x=X), "INVALID_ARGUMENT", "ModelSpec has no name specified."),
    "MultiInference, no name": (
        "MultiInference",
        multi_request(("regress", "regress"), examples=ROW, model=""),
        "INVALID_ARGUMENT",
        "ModelSpec has no name specified.",
    ),
    "unknown model": (
        "Predict",
        predict_request("m", x=X),
        "NOT_FOUND",
        "Servable not found for request: Latest(m)",
    ),
    "Classify, unknown model": (
        "Classify",
        classify(model="m"),
        "NOT_FOUND",
        "Servable not found for request: Latest(m)",
    ),
    "Regress, unknown model": ("Regress", regress(model="m"), "NOT_FOUND", "Servable not found for request: Latest(m)"),
    "MultiInference, unknown model": (
        "MultiInference",
        multi_request(("regress", "regress"), examples=ROW, model="m"),
        "NOT_FOUND",
        "Servable not found for request: Latest(m)",
    ),
    "GetModelMetadata, unknown model": (
        "GetModelMetadata",
        metadata("m", "signature_def"),
        "NOT_FOUND",
        "Servable not found for request: Latest(m)",
    ),
    "unknown version": (
        "Predict",
        predict_request("toy", version=9, x=X),
        "NOT_FOUND",
        "Servable not found for request: Specific(toy, 9)",
    ),
    "version 0 is none of them": (
        "Regress",
        version(regress(), 0),
        "NOT_FOUND",
        "Servable not found for request: Specific(toy, 0)",
    ),
    "unknown label": (
        "Predict",
        predict_request("toy", label="L", x=X),
        "INVALID_ARGUMENT",
        "Unrecognized servable version label: L",
    ),
    "Classify, unknown label": (
        "Classify",
        label(classify(), "L"),
        "INVALID_ARGUMENT",
        "Unrecognized servable version label: L",
    ),
    "unknown signature": (
        "Predict",
        predict_request("toy", "s", x=X),
        "FAILED_PRECONDITION",
        'Serving signature key "s" not found.',
    ),
    "Classify, unknown signature": (
        "Classify",
        classify("s"),
        "INVALID_ARGUMENT",
        "No signature was found with the name: s",
    ),
    "Regress, unknown signature": (
        "Regress",
        regress("s"),
        "INVALID_ARGUMENT",
        "No signature was found with the name: s",
    ),
    "MultiInference, unknown signature": (
        "MultiInference",
        multi_request(("s", "regress"), examples=ROW),
        "INVALID_ARGUMENT",
        "Requested signature not found in model graph: s",
    ),
    "an input too many": (
        "Predict",
        predict_request(x=X, z=X),
        "INVALID_ARGUMENT",
        "input size does not match signature: 2!=1 len({x,z}) != len({x}). Sent extra: {z}. Missing but required: {}.",
    ),
    "an input too few": (
        "Predict",
        predict_request(),
        "INVALID_ARGUMENT",
        "input size does not match signature: 0!=1 len({}) != len({x}). Sent extra: {}. Missing but required: {x}.",
    ),
    "right number, wrong name": (
        "Predict",
        predict_request(z=X),
        "INVALID_ARGUMENT",
        "Signature input alias: x(feed name: x:0) not found in request and no default value provided. Inputs expected "
        "to be in the request {z}, or default input alias set: ",
    ),
    "bad TensorProto": ("Predict", bad_tensor(), "INVALID_ARGUMENT", "tensor parsing error: x"),
    "unknown output": (
        "Predict",
        changed(predict_request(x=X), lambda r: r.output_filter.append("q")),
        "INVALID_ARGUMENT",
        "output tensor alias not found in signature: q Outputs expected to be in the set {y}.",
    ),
    "repeated output": (
        "Predict",
        changed(predict_request(x=X), lambda r: r.output_filter.extend(["y", "y"])),
        "INVALID_ARGUMENT",
        "duplicate output tensor alias: y",
    ),
    "wrong dtype": (
        "Predict",
        predict_request(x=np.array([b"a"], object)),
        "INVALID_ARGUMENT",
        "Expects arg[0] to be float but string is provided",
    ),
    "status of an unknown model": (
        "GetModelStatus",
        status("m"),
        "NOT_FOUND",
        "Could not find any versions of model m",
    ),
    "status of an unknown version": (
        "GetModelStatus",
        status("toy", 9),
        "NOT_FOUND",
        "Could not find version 9 of model toy",
    ),
    "no metadata field": (
        "GetModelMetadata",
        metadata("toy"),
        "INVALID_ARGUMENT",
        "GetModelMetadataRequest must specify at least one metadata_field",
    ),
    "unknown metadata field": (
        "GetModelMetadata",
        metadata("toy", "X"),
        "INVALID_ARGUMENT",
        "Metadata field X is not supported",
    ),
    "Classify, no examples": ("Classify", classify(examples=[]), "INVALID_ARGUMENT", "Input is empty."),
    "Regress, no examples": ("Regress", regress(examples=[]), "INVALID_ARGUMENT", "Input is empty."),
    "MultiInference, no examples": (
        "MultiInference",
        multi_request(("regress", "regress")),
        "INVALID_ARGUMENT",
        "Input is empty.",
    ),
}


@pytest.mark.parametrize("row", ROWS)
def test_errors(server: Server, row: str) -> None:
    method, request, code, message = ROWS[row]
    for _ in range(3):
        # In a thread, in the loop, by a plan: always the same.
        assert server.outcome(method, request) == (code, message)


def test_a_wrong_shape_is_told_in_the_kernels_words(server: Server) -> None:
    code, message = server.outcome("Predict", predict_request("toy", "matrix", m=np.float32([[1, 2, 3]])))
    assert code == "INVALID_ARGUMENT" and "[1,3]" in message and "[2,3]" in message


def test_a_long_message_is_cut(server: Server) -> None:
    code, message = server.outcome("Predict", predict_request("toy", "s" * 2000, x=X))
    assert code == "FAILED_PRECONDITION"
    assert message == f'Serving signature key "{"s" * 2000}'[:1024] + "...TRUNCATED"
    # What is just short enough is not.
    exact = "s" * (1024 - len('Serving signature key "" not found.'))
    assert (
        server.outcome("Predict", predict_request("toy", exact, x=X))[1]
        == f'Serving signature key "{exact}" not found.'
    )


@pytest.mark.parametrize("path", sorted(ANSWERS))
def test_each_method_of_both_services_is_there(server: Server, path: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        server.ask(path, b"\xff")
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert len(METHODS) == 7


@pytest.mark.parametrize("path", ["/tensorflow.serving.PredictionService/Other", "/tensorflow.serving.Other/Predict"])
def test_no_other_is(server: Server, path: str) -> None:
    assert server.outcome(path, b"")[0] == "UNIMPLEMENTED"


@pytest.mark.parametrize("service", ["", "ModelService", "PredictionService"])
def test_health(server: Server, service: str) -> None:
    request = health_pb2.HealthCheckRequest(service=service)
    answer = health_pb2.HealthCheckResponse.FromString(server.ask("/grpc.health.v1.Health/Check", request))
    assert answer.status == health_pb2.HealthCheckResponse.SERVING
    unknown = health_pb2.HealthCheckRequest(service="other")
    assert server.outcome("/grpc.health.v1.Health/Check", unknown)[0] == "NOT_FOUND"


def test_messages_are_not_bounded_by_grpcs_four_megabytes(server: Server) -> None:
    values = np.arange(3_000_000, dtype=np.float32)
    answer = server.ask("Predict", predict_request("toy", x=values))
    np.testing.assert_array_equal(np.float32(answer.outputs["y"].float_val), values / 2 + 6)


def test_predict_answers_in_typed_fields_and_names_the_version(server: Server) -> None:
    for request, version_, offset in (
        (predict_request(x=X), 6, 6.0),
        (predict_request("toy", version=5, x=X), 5, 5.0),
        (predict_request("toy", label="stable", x=X), 5, 5.0),
        (predict_request("toy", "serving_default", x=X), 6, 6.0),
    ):
        answer = server.ask("Predict", request)
        assert list(answer.outputs["y"].float_val) == [0.5 + offset, 1.0 + offset]
        assert not answer.outputs["y"].tensor_content
        spec = answer.model_spec
        assert (spec.name, spec.signature_name, spec.version.value) == ("toy", "serving_default", version_)


def test_an_output_filter(server: Server) -> None:
    request = predict_request("toy", "predict_multi", words=np.array([b"a"], object), counts=np.int64([4]))
    request.output_filter.append("doubled")
    answer = server.ask("Predict", request)
    assert set(answer.outputs) == {"doubled"} and list(answer.outputs["doubled"].int64_val) == [8]


def test_a_default_value_fills_in(server: Server) -> None:
    answer = server.ask("Predict", predict_request("toy", "with_default", x=np.float32([1.0])))
    assert list(answer.outputs["z"].float_val) == [11.0]


def test_classify(server: Server) -> None:
    answer = server.ask("Classify", classify(examples=[example(0.25), example(1.0)]))
    found = [[(one.label, one.score) for one in row.classes] for row in answer.result.classifications]
    assert found == [[("low", 0.75), ("high", 0.25)], [("low", 0.0), ("high", 1.0)]]
    assert answer.model_spec.version.value == 6
    scores = server.ask("Classify", classify("classify_scores")).result.classifications[0].classes
    assert [(one.label, one.score) for one in scores] == [("", 0.75), ("", 0.25)]
    classes = server.ask("Classify", classify("classify_classes")).result.classifications[0].classes
    assert [(one.label, one.score) for one in classes] == [("low", 0.0), ("high", 0.0)]


@pytest.mark.parametrize("signature", ["regress", "regress_flat"])
def test_regress_takes_one_or_two_dimensions(server: Server, signature: str) -> None:
    answer = server.ask("Regress", regress(signature, [example(0.25), example(1.0)]))
    assert [one.value for one in answer.result.regressions] == [6.125, 6.5]


def test_a_method_name_is_not_checked(server: Server) -> None:
    # `classify` says that it classifies.
    answer = server.ask("Predict", predict_request("toy", "classify", inputs=np.array(ROW, object)))
    assert list(answer.outputs["scores"].float_val) == [0.75, 0.25]


@pytest.mark.parametrize("method", ["Classify", "Regress"])
def test_signatures_that_do_not_fit_the_method(server: Server, method: str) -> None:
    request = classify if method == "Classify" else regress
    assert server.outcome(method, request("serving_default"))[0] == "INVALID_ARGUMENT"
    assert server.outcome(method, request("predict_multi")) == ("INVALID_ARGUMENT", "Expected one input Tensor.")


def test_multi_inference(server: Server) -> None:
    answer = server.ask("MultiInference", multi_request(("regress", "regress"), ("classify", "classify"), examples=ROW))
    assert [r.WhichOneof("result") for r in answer.results] == ["regression_result", "classification_result"]
    assert answer.results[0].regression_result.regressions[0].value == 6.125
    assert [r.model_spec.signature_name for r in answer.results] == ["regress", "classify"]
    assert {r.model_spec.version.value for r in answer.results} == {6}
    assert server.outcome("MultiInference", inference_pb2.MultiInferenceRequest())[0] == "INVALID_ARGUMENT"


def test_metadata_names_no_signature(server: Server) -> None:
    answer = server.ask("GetModelMetadata", metadata("toy", "signature_def"))
    assert (answer.model_spec.name, answer.model_spec.signature_name) == ("toy", "")
    assert answer.model_spec.version.value == 6
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert answer.metadata["signature_def"].Unpack(signatures)
    assert signatures.signature_def["serving_default"].inputs["x"].name == "x:0"


def test_a_status_ignores_labels_and_lists_all_versions(server: Server) -> None:
    for request in (status(), status(label="stable"), status(label="no such label")):
        found = server.ask("GetModelStatus", request).model_version_status
        assert [(one.version, one.state) for one in found] == [(6, 30), (5, 30)]
    found = server.ask("GetModelStatus", status(version=5)).model_version_status
    assert [(one.version, one.status.error_code, one.status.error_message) for one in found] == [(5, 0, "")]
