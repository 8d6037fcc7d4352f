"""The gRPC methods over a real connection: their answers and their errors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    predict_pb2,
    regression_pb2,
)

from serving.model_server import predict
from serving.model_server.manager import Manager
from tests.serving.model_server.conftest import MakeManager
from tests.serving.model_server.grpc_asking import Asking, example_request, multi_request, predict_request
from tests.serving.model_server.toy_models import ToyModels, example

X = np.float32([1.0, 2.0])


@pytest.fixture(scope="module")
def asking(toy_manager: Manager) -> Iterator[Asking]:
    with Asking(toy_manager) as found:
        yield found


# Answers.


def test_predict(asking: Asking) -> None:
    for n in range(5):
        # The first in a thread, the next in the loop, those after by a plan.
        response = asking("Predict", predict_request(x=X + n))
        assert list(response.outputs["y"].float_val) == [2.5 + n / 2, 3.0 + n / 2]
        assert response.model_spec.signature_name == "serving_default"
        assert response.model_spec.version.value == 1


def test_classify_regress_and_both(asking: Asking) -> None:
    examples = [example(0.25), example(1.0)]
    for _ in range(3):
        classified = asking("Classify", example_request(classification_pb2.ClassificationRequest, "classify", examples))
        assert [c.score for c in classified.result.classifications[0].classes] == [0.75, 0.25]
        regressed = asking("Regress", example_request(regression_pb2.RegressionRequest, "regress", examples))
        assert [r.value for r in regressed.result.regressions] == [2.125, 2.5]
        both = asking(
            "MultiInference", multi_request(("regress", "regress"), ("classify", "classify"), examples=examples)
        )
        assert [r.WhichOneof("result") for r in both.results] == ["regression_result", "classification_result"]


def test_status_and_metadata(asking: Asking) -> None:
    status = get_model_status_pb2.GetModelStatusRequest()
    status.model_spec.name = "toy"
    assert asking("GetModelStatus", status).model_version_status[0].state == 30
    metadata = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    metadata.model_spec.name = "toy"
    assert "signature_def" in asking("GetModelMetadata", metadata).metadata


def test_a_reload(toy_models: ToyModels, make_manager: MakeManager, tmp_path: Path) -> None:
    toy_models.write(tmp_path / "a", 1)
    toy_models.write(tmp_path / "b", 1)
    request = model_management_pb2.ReloadConfigRequest()
    request.config.model_config_list.config.add(name="n", base_path=str(tmp_path / "b"), model_platform="tensorflow")
    with Asking(make_manager(tmp_path / "a")) as asking:
        assert asking("HandleReloadConfigRequest", request).status.error_code == 0
        assert list(asking("Predict", predict_request("n", x=X)).outputs["y"].float_val) == [2.5, 3.0]
        assert asking.error("Predict", predict_request("m", x=X)) == (
            "NOT_FOUND",
            "Servable not found for request: Latest(m)",
        )


def test_answers_in_tensor_content(toy_manager: Manager) -> None:
    with Asking(toy_manager, as_content=True) as asking:
        for _ in range(3):
            tensor = asking("Predict", predict_request(x=X)).outputs["y"]
            assert tensor.tensor_content == np.float32([2.5, 3.0]).tobytes()
            assert not tensor.float_val


# Errors.


@pytest.mark.parametrize(
    ("method", "request_", "code", "message"),
    [
        ("Predict", predict_pb2.PredictRequest(), "INVALID_ARGUMENT", "Missing ModelSpec"),
        ("Predict", predict_request("", x=X), "INVALID_ARGUMENT", "ModelSpec has no name specified."),
        ("Predict", predict_request("m", x=X), "NOT_FOUND", "Servable not found for request: Latest(m)"),
        (
            "Predict",
            predict_request("toy", version=5, x=X),
            "NOT_FOUND",
            "Servable not found for request: Specific(toy, 5)",
        ),
        (
            "Predict",
            predict_request("toy", label="L", x=X),
            "INVALID_ARGUMENT",
            "Unrecognized servable version label: L",
        ),
        ("Predict", predict_request("toy", "s", x=X), "FAILED_PRECONDITION", 'Serving signature key "s" not found.'),
        (
            "Predict",
            predict_request(x=np.array([b"a"], object)),
            "INVALID_ARGUMENT",
            "Expects arg[0] to be float but string is provided",
        ),
        ("Classify", classification_pb2.ClassificationRequest(), "INVALID_ARGUMENT", "Missing ModelSpec"),
        (
            "Regress",
            example_request(regression_pb2.RegressionRequest, "s", [example(1.0)]),
            "INVALID_ARGUMENT",
            "No signature was found with the name: s",
        ),
        (
            "Classify",
            example_request(classification_pb2.ClassificationRequest, "classify", []),
            "INVALID_ARGUMENT",
            "Input is empty.",
        ),
        (
            "MultiInference",
            multi_request(("regress", "predict"), examples=[example(1.0)]),
            "UNIMPLEMENTED",
            "Unsupported signature method_name: tensorflow/serving/predict",
        ),
        ("MultiInference", multi_request(), "INVALID_ARGUMENT", "ModelSpec has no name specified."),
        ("GetModelStatus", get_model_status_pb2.GetModelStatusRequest(), "INVALID_ARGUMENT", "Missing ModelSpec"),
        (
            "GetModelMetadata",
            get_model_metadata_pb2.GetModelMetadataRequest(),
            "INVALID_ARGUMENT",
            "Missing ModelSpec",
        ),
        (
            "HandleReloadConfigRequest",
            model_management_pb2.ReloadConfigRequest(),
            "INVALID_ARGUMENT",
            "ServerModelConfig type not supported by HandleReloadConfigRequest."
            " Only ModelConfigList is currently supported",
        ),
        ("Predict", b"\xff\xff", "INVALID_ARGUMENT", "The 2 bytes that were sent are no PredictRequest"),
        # A group ends that never began, and a request follows.
        ("Predict", b"\x0c\x0a\x03\x0a\x01m", "INVALID_ARGUMENT", "The 6 bytes that were sent are no PredictRequest"),
        ("GetModelStatus", b"\xff\xff", "INVALID_ARGUMENT", "The 2 bytes that were sent are no GetModelStatusRequest"),
        ("Predict", b"", "INVALID_ARGUMENT", "Missing ModelSpec"),
    ],
)
def test_errors_have_their_code_and_message(
    asking: Asking, method: str, request_: Any, code: str, message: str
) -> None:
    # Again, for what the first one leaves behind.
    for _ in range(2):
        assert asking.error(method, request_) == (code, message)


def test_an_unknown_method(asking: Asking) -> None:
    for method in ("/tensorflow.serving.PredictionService/Nothing", "/tensorflow.serving.SessionService/SessionRun"):
        assert asking.error(method, b"")[0] == "UNIMPLEMENTED"


@pytest.mark.parametrize(("length", "cut"), [(1024, False), (1025, True), (5000, True)])
def test_long_messages_are_cut(asking: Asking, length: int, cut: bool) -> None:
    whole = 'Serving signature key "{}" not found.'
    name = "s" * (length - len(whole.format("")))
    message = asking.error("Predict", predict_request("toy", name, x=X))[1]
    expected = whole.format(name)
    assert message == (expected[:1024] + "...TRUNCATED" if cut else expected)


def test_messages_are_cut_between_characters(asking: Asking) -> None:
    message = asking.error("Predict", predict_request("toy", "é" * 600, x=X))[1]
    assert message.startswith('Serving signature key "éé')
    assert message.endswith("é...TRUNCATED")


def test_a_fault_of_the_server_is_told_without_its_innards(
    asking: Asking, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(predict, "check_count", fail)
    request = predict_request("toy", "uneven", x=X)
    code, message = asking.error("Predict", request, [("x-request-id", "r-1")])
    assert (code, message) == ("INTERNAL", "The server failed. Its log says more about request r-1")
    assert "ZeroDivisionError: secret" in caplog.text
    assert "request r-1 failed" in caplog.text


def test_no_memory_is_the_requests_fault(asking: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(predict, "check_count", fail)
    assert asking.error("Predict", predict_request("toy", "uneven", x=X))[0] == "RESOURCE_EXHAUSTED"
