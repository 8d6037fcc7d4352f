"""What the shadow answers is compared and kept, and nobody else has it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from serving import messages
from serving.capture.record import ShadowExchange
from serving.line_server.answers import difference
from serving.line_server.hooks import LineHooks
from serving.line_server.models import LineModels
from serving.line_server.shadow import QUEUE, Shadow, asked_here
from serving.model_server.errors import Code
from serving.model_server.hooks import Exchange
from serving.model_server.tensor_codec import fill_tensor
from tests.serving.line_server.conftest import ToyLine, until


@pytest.fixture
def models(toy_line: ToyLine) -> Iterator[LineModels]:
    toy_line.push(1, 2)
    toy_line.rollback()
    toy_line.shadow(2)
    models = LineModels(toy_line.name, toy_line.base, toy_line.ledger)
    models.start()
    yield models
    models.stop()


def grpc_exchange(signature: str = "", x: float = 4.0) -> Exchange:
    request = messages.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "toy", signature
    fill_tensor(request.inputs["x"], np.array([x], np.float32))
    response = messages.PredictResponse()
    fill_tensor(response.outputs["y"], np.array([x / 2 + 1], np.float32))
    return Exchange(
        api="gRPC",
        entrypoint="Predict",
        model="toy",
        version=1,
        signature=signature,
        request=request.SerializeToString(),
        response=response.SerializeToString(),
        code=Code.OK,
        message="",
        request_id="id-1",
        caller_key="ada",
        started=1.0,
        seconds=0.5,
    )


def rest_exchange() -> Exchange:
    body, answer = {"instances": [4.0, 6.0]}, {"predictions": [3.0, 4.0]}
    return dataclasses.replace(
        grpc_exchange(), api="REST", request=json.dumps(body).encode(), response=json.dumps(answer).encode()
    )


def shadowed(models: LineModels, *exchanges: Exchange) -> tuple[list[ShadowExchange], CollectorRegistry]:
    kept: list[ShadowExchange] = []
    registry = CollectorRegistry()
    shadow = Shadow("toy", asked_here(models.manager), kept.append, registry)
    hooks = LineHooks("toy", models, None, shadow)
    shadow.start()
    for exchange in exchanges:
        hooks.done(exchange)
    until(lambda: len(kept) == len(exchanges))
    shadow.stop()
    return kept, registry


@pytest.mark.parametrize("exchange", [grpc_exchange(), rest_exchange()])
def test_both_apis_are_copied_and_compared(models: LineModels, exchange: Exchange) -> None:
    (kept,), registry = shadowed(models, exchange)
    assert (kept.version, kept.of_version, kept.request_id, kept.code) == (2, 1, "id-1", Code.OK)
    assert kept.max_abs_difference == pytest.approx(1.0)
    assert kept.response and kept.response != exchange.response
    count = registry.get_sample_value("conveyor_shadow_requests_total", {"line": "toy", "outcome": "answered"})
    assert count == 1


def test_a_shadow_that_fails_is_noted(models: LineModels) -> None:
    (kept,), registry = shadowed(models, grpc_exchange("fails"))
    assert kept.code is Code.INVALID_ARGUMENT and "this signature fails" in kept.message
    count = registry.get_sample_value("conveyor_shadow_requests_total", {"line": "toy", "outcome": "failed"})
    assert count == 1


def test_too_many_are_dropped_and_counted(models: LineModels) -> None:
    registry = CollectorRegistry()
    # Not started, so that nothing is taken from its queue.
    shadow = Shadow("toy", asked_here(models.manager), lambda _: None, registry)
    for _ in range(QUEUE + 7):
        shadow.put(grpc_exchange(), 2)
    dropped = registry.get_sample_value("conveyor_shadow_requests_total", {"line": "toy", "outcome": "dropped"})
    assert dropped == 7


def predict_response(**outputs: np.ndarray) -> bytes:
    response = messages.PredictResponse()
    for name, value in outputs.items():
        fill_tensor(response.outputs[name], value)
    return bytes(response.SerializeToString())


def test_class_agreement_is_by_the_name_of_the_best() -> None:
    names = np.array([[b"a", b"b"], [b"a", b"b"]], dtype=object)
    one = predict_response(classes=names, probabilities=np.array([[0.9, 0.1], [0.2, 0.8]], np.float32))
    other = predict_response(classes=names, probabilities=np.array([[0.6, 0.4], [0.7, 0.3]], np.float32))
    found = difference("gRPC", "Predict", one, other)
    assert found.class_agreement == 0.5
    assert found.max_abs_difference == pytest.approx(0.5)


def test_rest_classify_and_regress() -> None:
    one = json.dumps({"results": [[["a", 0.9], ["b", 0.1]]]}).encode()
    other = json.dumps({"results": [[["a", 0.3], ["b", 0.7]]]}).encode()
    found = difference("REST", "Classify", one, other)
    assert (found.class_agreement, found.max_abs_difference) == (0.0, pytest.approx(0.6))
    found = difference("REST", "Regress", b'{"results": [1.0, 2.0]}', b'{"results": [1.0, 4.5]}')
    assert (found.class_agreement, found.max_abs_difference) == (None, 2.5)


def test_answers_with_nothing_in_common_have_no_difference() -> None:
    one, other = predict_response(y=np.array([1.0])), predict_response(y=np.array([1.0, 2.0]))
    assert difference("gRPC", "Predict", one, other).max_abs_difference is None
    with pytest.raises(ValueError, match="no Predict response"):
        difference("gRPC", "Predict", one, b"\xff\xff")
