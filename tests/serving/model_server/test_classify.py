"""Classify: examples in, classes and scores out, and the words for what does not fit."""

from __future__ import annotations

import numpy as np
import pytest
from tensorflow_serving.apis import classification_pb2, input_pb2

from serving.model_server.classify import classify, result_of, run_classify
from serving.model_server.errors import Code, ServingError
from serving.model_server.examples import examples_of
from serving.model_server.hooks import ModelSpecQuery
from serving.model_server.manager import Manager
from tests.serving.model_server.grpc_asking import example_request
from tests.serving.model_server.toy_models import example


def request_of(signature: str, *values: float | None, model: str = "toy") -> classification_pb2.ClassificationRequest:
    return example_request(
        classification_pb2.ClassificationRequest, signature, [example(value) for value in values], model
    )


def error_of(manager: Manager, request: classification_pb2.ClassificationRequest) -> tuple[Code, str]:
    with pytest.raises(ServingError) as caught:
        classify(manager, request)
    return caught.value.code, caught.value.message


def classes_of(result: classification_pb2.ClassificationResult) -> list[list[tuple[str, float]]]:
    return [[(c.label, c.score) for c in row.classes] for row in result.classifications]


def test_classes_and_scores_of_each_example(toy_manager: Manager) -> None:
    response = classify(toy_manager, request_of("classify", 0.25, 1.0))
    assert classes_of(response.result) == [[("low", 0.75), ("high", 0.25)], [("low", 0.0), ("high", 1.0)]]
    assert response.model_spec.name == "toy"
    assert response.model_spec.signature_name == "classify"
    assert response.model_spec.version.value == 1


@pytest.mark.parametrize(
    ("signature", "wanted"),
    [("classify_scores", [[("", 0.75), ("", 0.25)]]), ("classify_classes", [[("low", 0.0), ("high", 0.0)]])],
)
def test_scores_or_classes_alone(toy_manager: Manager, signature: str, wanted: list[list[tuple[str, float]]]) -> None:
    assert classes_of(classify(toy_manager, request_of(signature, 0.25)).result) == wanted


def test_a_context_belongs_to_every_example_and_the_example_wins(toy_manager: Manager) -> None:
    request = request_of("classify")
    listed = request.input.example_list_with_context
    listed.context.ParseFromString(example(0.25))
    listed.examples.add().ParseFromString(example(0.5))
    listed.examples.add()
    assert classes_of(classify(toy_manager, request).result) == [
        [("low", 0.5), ("high", 0.5)],
        [("low", 0.75), ("high", 0.25)],
    ]


def test_bytes_in_result_out(toy_manager: Manager) -> None:
    rows: list[int] = []
    seconds: list[float] = []
    with toy_manager.acquire(ModelSpecQuery("toy")) as lease:
        result = run_classify(
            lease.servable,
            "classify",
            [example(0.5), example()],
            check_rows=rows.append,
            observe_run=seconds.append,
        )
        with pytest.raises(ServingError, match="Input is empty."):
            run_classify(lease.servable, "classify", [])
    assert classes_of(result) == [[("low", 0.5), ("high", 0.5)], [("low", 1.0), ("high", 0.0)]]
    assert rows == [2]
    assert len(seconds) == 1 and seconds[0] > 0


# The rows of the protocol's table.


@pytest.mark.parametrize(
    ("request_", "code", "message"),
    [
        (classification_pb2.ClassificationRequest(), Code.INVALID_ARGUMENT, "Missing ModelSpec"),
        (request_of("classify", 1.0, model=""), Code.INVALID_ARGUMENT, "ModelSpec has no name specified."),
        (request_of("", 1.0, model="m"), Code.NOT_FOUND, "Servable not found for request: Latest(m)"),
        (request_of("s", 1.0), Code.INVALID_ARGUMENT, "No signature was found with the name: s"),
        (request_of("classify"), Code.INVALID_ARGUMENT, "Input is empty."),
        (request_of("predict_multi", 1.0), Code.INVALID_ARGUMENT, "Expected one input Tensor."),
        (request_of("with_default", 1.0), Code.INVALID_ARGUMENT, "Expected one input Tensor."),
        # The signature is looked at before the examples.
        (request_of("predict_multi"), Code.INVALID_ARGUMENT, "Expected one input Tensor."),
    ],
)
def test_requests_that_cannot_be_answered(
    toy_manager: Manager, request_: classification_pb2.ClassificationRequest, code: Code, message: str
) -> None:
    assert error_of(toy_manager, request_) == (code, message)


def test_a_list_of_no_examples_is_empty(toy_manager: Manager) -> None:
    request = request_of("classify")
    request.input.example_list.SetInParent()
    assert error_of(toy_manager, request) == (Code.INVALID_ARGUMENT, "Input is empty.")
    request.input.example_list_with_context.context.ParseFromString(example(1.0))
    assert error_of(toy_manager, request) == (Code.INVALID_ARGUMENT, "Input is empty.")
    with pytest.raises(ServingError, match="Input is empty."):
        examples_of(input_pb2.Input())


def test_no_inputs_or_no_outputs_of_the_right_name(toy_manager: Manager) -> None:
    code, message = error_of(toy_manager, request_of("serving_default", 1.0))
    assert code == Code.INVALID_ARGUMENT
    assert message.startswith('No classification inputs found in SignatureDef: inputs {\n  key: "x"')
    code, message = error_of(toy_manager, request_of("regress", 1.0))
    assert code == Code.INVALID_ARGUMENT
    assert message.startswith(
        'Expected classification signature outputs to contain at least one of "classes" or "scores". '
        "Signature was: inputs {"
    )


def test_examples_that_are_fed_to_floats(toy_manager: Manager) -> None:
    # Not a classify signature, but one input named `inputs`; TensorFlow says what is wrong.
    from serving.model_server.regress import run_regress

    with toy_manager.acquire(ModelSpecQuery("toy")) as lease, pytest.raises(ServingError) as caught:
        run_regress(lease.servable, "not_parsed", [example(1.0)])
    assert caught.value.code == Code.INVALID_ARGUMENT
    assert caught.value.message == "Expects arg[0] to be float but string is provided"


_CLASSES = np.array([[b"a", b"b"]], object)
_SCORES = np.float32([[0.5, 0.5]])


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ({"classes": _CLASSES[0]}, "Expected Tensor shape: [batch_size num_classes] but got [2]"),
        ({"scores": _SCORES[None]}, "Expected Tensor shape: [batch_size num_classes] but got [1,1,2]"),
        ({"classes": _SCORES}, "Expected classes Tensor of DT_STRING. Got: DT_FLOAT"),
        ({"scores": _SCORES.astype(np.float64)}, "Expected scores Tensor of DT_FLOAT. Got: DT_DOUBLE"),
        ({"scores": _CLASSES}, "Expected scores Tensor of DT_FLOAT. Got: DT_STRING"),
        ({"classes": np.repeat(_CLASSES, 2, 0)}, "Expected classes output batch size of 1. Got: 2"),
        ({"scores": _SCORES[:0]}, "Expected scores output batch size of 1. Got: 0"),
        (
            {"classes": _CLASSES, "scores": _SCORES[:, :1]},
            "Tensors class and score should match in dim_size(1). Got 2 vs. 1",
        ),
    ],
)
def test_outputs_that_are_no_classes(outputs: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(ServingError) as caught:
        result_of(1, outputs)
    assert (caught.value.code, caught.value.message) == (Code.INVALID_ARGUMENT, message)


def test_a_label_that_is_no_text_can_still_be_read() -> None:
    result = result_of(1, {"classes": np.array([[b"\xff"]], object)})
    parsed = classification_pb2.ClassificationResult.FromString(result.SerializeToString())
    assert parsed.classifications[0].classes[0].label == "\ufffd"
