"""MultiInference: several signatures, the same examples, one run."""

from __future__ import annotations

import pytest
from tensorflow_serving.apis import inference_pb2

from serving.model_server.errors import Code, ServingError
from serving.model_server.hooks import ModelSpecQuery
from serving.model_server.manager import Manager
from serving.model_server.multi_inference import multi_inference, multi_inference_with
from tests.serving.model_server.grpc_asking import multi_request
from tests.serving.model_server.toy_models import example

X = [example(0.5), example(1.0)]


def error_of(manager: Manager, request: inference_pb2.MultiInferenceRequest) -> tuple[Code, str]:
    with pytest.raises(ServingError) as caught:
        multi_inference(manager, request)
    return caught.value.code, caught.value.message


def test_each_task_has_its_result(toy_manager: Manager) -> None:
    request = multi_request(("regress", "regress"), ("classify", "classify"), ("regress_flat", "regress"), examples=X)
    results = multi_inference(toy_manager, request).results
    assert [r.WhichOneof("result") for r in results] == [
        "regression_result",
        "classification_result",
        "regression_result",
    ]
    assert [r.value for r in results[0].regression_result.regressions] == [2.25, 2.5]
    assert [r.value for r in results[2].regression_result.regressions] == [2.25, 2.5]
    classes = [[(c.label, c.score) for c in row.classes] for row in results[1].classification_result.classifications]
    assert classes == [[("low", 0.5), ("high", 0.5)], [("low", 0.0), ("high", 1.0)]]
    assert [(r.model_spec.name, r.model_spec.signature_name, r.model_spec.version.value) for r in results] == [
        ("toy", "regress", 1),
        ("toy", "classify", 1),
        ("toy", "regress_flat", 1),
    ]


def test_the_graph_runs_once_and_is_fed_once(toy_manager: Manager) -> None:
    rows: list[int] = []
    seconds: list[float] = []
    with toy_manager.acquire(ModelSpecQuery("toy")) as lease:
        multi_inference_with(
            lease.servable,
            multi_request(("regress", "regress"), ("classify", "classify"), examples=X),
            check_rows=rows.append,
            observe_run=seconds.append,
        )
    assert rows == [2]
    assert len(seconds) == 1


def test_the_first_tasks_version_is_everybodys(toy_manager: Manager) -> None:
    request = multi_request(("regress", "regress"), ("classify", "classify"), examples=X)
    request.tasks[1].model_spec.version.value = 7
    assert [r.model_spec.version.value for r in multi_inference(toy_manager, request).results] == [1, 1]
    request.tasks[0].model_spec.version.value = 7
    assert error_of(toy_manager, request) == (Code.NOT_FOUND, "Servable not found for request: Specific(toy, 7)")


def _without_second_name() -> inference_pb2.MultiInferenceRequest:
    request = multi_request(("regress", "regress"), ("classify", "classify"), examples=X)
    request.tasks[1].model_spec.name = ""
    return request


def _with_another_model() -> inference_pb2.MultiInferenceRequest:
    request = multi_request(("regress", "regress"), ("classify", "classify"), examples=X)
    request.tasks[1].model_spec.name = "m"
    return request


@pytest.mark.parametrize(
    ("request_", "code", "message"),
    [
        (multi_request(examples=X), Code.INVALID_ARGUMENT, "ModelSpec has no name specified."),
        (
            multi_request(("regress", "regress"), examples=X, model=""),
            Code.INVALID_ARGUMENT,
            "ModelSpec has no name specified.",
        ),
        (
            multi_request(("regress", "regress"), examples=X, model="m"),
            Code.NOT_FOUND,
            "Servable not found for request: Latest(m)",
        ),
        (_without_second_name(), Code.INVALID_ARGUMENT, "Found ModelSpec with an empty model name."),
        (
            _with_another_model(),
            Code.INVALID_ARGUMENT,
            "All ModelSpecs in a MultiInferenceRequest must access the same model name.",
        ),
        (
            multi_request(("regress", "regress"), ("regress", "regress"), examples=X),
            Code.INVALID_ARGUMENT,
            "Duplicate evaluation of signature: regress",
        ),
        (
            multi_request(("s", "regress"), examples=X),
            Code.INVALID_ARGUMENT,
            "Requested signature not found in model graph: s",
        ),
        (
            multi_request(("regress", "predict"), examples=X),
            Code.UNIMPLEMENTED,
            "Unsupported signature method_name: tensorflow/serving/predict",
        ),
        (multi_request(("classify", "regress"), examples=X), Code.INVALID_ARGUMENT, "Expected one output Tensor."),
        (multi_request(("predict_multi", "classify")), Code.INVALID_ARGUMENT, "Expected one input Tensor."),
        (multi_request(("regress", "regress")), Code.INVALID_ARGUMENT, "Input is empty."),
    ],
)
def test_requests_that_cannot_be_answered(
    toy_manager: Manager, request_: inference_pb2.MultiInferenceRequest, code: Code, message: str
) -> None:
    assert error_of(toy_manager, request_) == (code, message)
