"""What surrounds a gRPC prediction: its id, the hooks and the metrics."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from tensorflow_serving.apis import (
    classification_pb2,
    regression_pb2,
)

from serving.model_server.errors import Code
from serving.model_server.hooks import Exchange, ModelSpecQuery
from serving.model_server.manager import Manager
from serving.model_server.metrics import Metrics
from serving.model_server.model_config import All, ModelConfig, ServerModels
from tests.serving.model_server.conftest import MakeManager
from tests.serving.model_server.grpc_asking import Asking, example_request, multi_request, predict_request
from tests.serving.model_server.toy_models import ToyModels, example

X = np.float32([1.0, 2.0])


@pytest.fixture(scope="module")
def asking(toy_manager: Manager) -> Iterator[Asking]:
    with Asking(toy_manager) as found:
        yield found


class Notes:
    """Hooks that keep what they are told."""

    def __init__(self, routed: ModelSpecQuery | None = None) -> None:
        self.routed = routed
        self.asked: list[tuple[ModelSpecQuery, str, str]] = []
        self.exchanges: list[Exchange] = []
        self.told = threading.Condition()

    def route(self, query: ModelSpecQuery, caller_key: str, request_id: str) -> ModelSpecQuery:
        self.asked.append((query, caller_key, request_id))
        return self.routed or query

    def done(self, exchange: Exchange) -> None:
        with self.told:
            self.exchanges.append(exchange)
            self.told.notify_all()


def trailing(call: Any) -> dict[str, str]:
    return dict(call.trailing_metadata())


def test_a_request_id_comes_back_and_is_minted_where_there_is_none(asking: Asking) -> None:
    _, call = asking.with_call("Predict", predict_request(x=X), [("x-request-id", "mine")])
    assert trailing(call)["x-request-id"] == "mine"
    minted = [trailing(asking.with_call("Predict", predict_request(x=X))[1])["x-request-id"] for _ in range(3)]
    assert len(set(minted)) == 3
    with pytest.raises(grpc.RpcError) as caught:
        asking("Predict", predict_request("m", x=X), [("x-request-id", "mine too")])
    assert trailing(caught.value)["x-request-id"] not in ("", "mine too")


def test_hooks_are_told_of_every_prediction(toy_manager: Manager) -> None:
    notes = Notes()
    examples = [example(1.0)]
    requests: list[tuple[str, Any, str]] = [
        ("Predict", predict_request("toy", "uneven", x=X), "uneven"),
        ("Predict", predict_request(x=X), ""),
        ("Predict", predict_request(x=X), ""),
        ("Predict", predict_request(x=X), ""),
        ("Classify", example_request(classification_pb2.ClassificationRequest, "classify", examples), "classify"),
        ("Regress", example_request(regression_pb2.RegressionRequest, "regress", examples), "regress"),
        ("MultiInference", multi_request(("regress", "regress"), examples=examples), "regress"),
    ]
    before = time.time()
    with Asking(toy_manager, hooks=notes) as asking:
        for n, (method, request, signature) in enumerate(requests):
            metadata = [("x-request-id", f"r{n}"), ("x-caller-key", f"k{n}")]
            answer = asking(method, request, metadata)
            exchange = notes.exchanges[n]
            assert (exchange.api, exchange.entrypoint, exchange.model) == ("gRPC", method, "toy")
            assert (exchange.version, exchange.signature) == (1, signature)
            assert exchange.request == request.SerializeToString()
            assert type(answer).FromString(exchange.response) == answer
            assert (exchange.code, exchange.message) == (Code.OK, "")
            assert (exchange.request_id, exchange.caller_key) == (f"r{n}", f"k{n}")
            assert before - 1 <= exchange.started <= time.time()
            assert exchange.seconds > 0
            assert notes.asked[n] == (ModelSpecQuery("toy"), f"k{n}", f"r{n}")
    assert len(notes.exchanges) == len(notes.asked) == len(requests)


def test_hooks_are_told_of_errors(toy_manager: Manager) -> None:
    notes = Notes()
    with Asking(toy_manager, hooks=notes) as asking:
        asking.error("Predict", predict_request("m", x=X))
        asking.error("Predict", predict_request("toy", "fails", x=X))
        asking.error("Predict", b"\xff")
    missing, failed, nonsense = notes.exchanges
    assert (missing.model, missing.version, missing.code) == ("m", None, Code.NOT_FOUND)
    assert missing.message == "Servable not found for request: Latest(m)"
    assert (failed.model, failed.version, failed.signature) == ("toy", 1, "fails")
    assert failed.code == Code.INVALID_ARGUMENT and "this signature fails" in failed.message
    assert (nonsense.model, nonsense.version, nonsense.request) == ("", None, b"\xff")
    assert [e.response for e in notes.exchanges] == [b""] * 3


def test_hooks_choose_the_version(toy_models: ToyModels, make_manager: MakeManager, tmp_path: Path) -> None:
    toy_models.write(tmp_path, 1, offset=1.0)
    toy_models.write(tmp_path, 2, offset=2.0)
    manager = make_manager(ServerModels((ModelConfig("toy", str(tmp_path), policy=All()),)))
    notes = Notes()
    with Asking(manager, hooks=notes) as asking:
        # To and fro, past the first in a thread and the plans of those after.
        for n in range(12):
            notes.routed = ModelSpecQuery("toy", version=n // 2 % 2 + 1)
            response = asking("Predict", predict_request(x=np.float32([0.0])))
            assert response.model_spec.version.value == n // 2 % 2 + 1
            assert list(response.outputs["y"].float_val) == [float(n // 2 % 2 + 1)]
        found = asking.server._service.plans.find(predict_request(x=np.float32([0.0])).SerializeToString())
        assert found is not None
        assert len(found.plan._bindings) == 2, "each version answers by the plan, none makes it anew"
    assert [e.version for e in notes.exchanges] == [n // 2 % 2 + 1 for n in range(12)]


def test_hooks_that_fail_fail_no_request(toy_manager: Manager, caplog: pytest.LogCaptureFixture) -> None:
    class Failing:
        def route(self, *_: Any) -> ModelSpecQuery:
            raise ZeroDivisionError

        def done(self, _: Exchange) -> None:
            raise ZeroDivisionError

    with Asking(toy_manager, hooks=Failing()) as asking:
        for _ in range(3):
            assert list(asking("Predict", predict_request(x=X)).outputs["y"].float_val) == [2.5, 3.0]
    assert "is not routed" in caplog.text
    assert "is not noted" in caplog.text


def test_requests_are_counted_as_tensorflow_serving_counts_them(toy_manager: Manager) -> None:
    metrics = Metrics()
    examples = [example(1.0)]
    with Asking(toy_manager, metrics=metrics) as asking:
        for _ in range(4):
            asking("Predict", predict_request(x=X))
        asking("Classify", example_request(classification_pb2.ClassificationRequest, "classify", examples))
        asking("Regress", example_request(regression_pb2.RegressionRequest, "regress", examples))
        asking("MultiInference", multi_request(("regress", "regress"), examples=examples))
        asking.error("Predict", predict_request("m", x=X))
        asking.error("Predict", predict_request("toy", "s", x=X))
        page = metrics.page().decode()
    lines = {line.rpartition(" ")[0]: line.rpartition(" ")[2] for line in page.splitlines()}
    assert lines[':tensorflow:serving:request_count{model_name="toy",status="OK"}'] == "6"
    assert lines[':tensorflow:serving:request_count{model_name="toy",status="FAILED_PRECONDITION"}'] == "1"
    assert lines[':tensorflow:serving:request_count{model_name="m",status="NOT_FOUND"}'] == "1"
    latency = ":tensorflow:serving:request_latency_count"
    assert lines[f'{latency}{{model_name="toy",API="Predict",entrypoint="GRPC"}}'] == "4"
    assert lines[f'{latency}{{model_name="toy",API="Regress",entrypoint="GRPC"}}'] == "1"
    runtime = ":tensorflow:serving:runtime_latency_count"
    assert lines[f'{runtime}{{model_name="toy",API="Predict",runtime="TF1"}}'] == "4"
    assert lines[f'{runtime}{{model_name="toy",API="Classify",runtime="TF1"}}'] == "1"
    assert "MultiInference" not in page
