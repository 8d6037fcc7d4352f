"""The gRPC methods over a real connection: answers, errors, ids, hooks, metrics, and the choice of thread or loop."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
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

from serving.model_server import grpc_inference, predict
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


# Request ids, hooks, metrics.


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
        plan = asking.server._service.plans.find(predict_request(x=np.float32([0.0])).SerializeToString())
        assert plan is not None and len(plan._bindings) == 2, "each version answers by the plan, none makes it anew"
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


# Threads and the loop.


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the threads in which models ran, in order."""
    found: list[str] = []
    original = grpc_inference.InferenceCall._run

    def run(self: Any, *args: Any) -> bytes:
        found.append(threading.current_thread().name)
        return original(self, *args)

    monkeypatch.setattr(grpc_inference.InferenceCall, "_run", run)
    return found


def test_quick_requests_move_into_the_loop_and_large_ones_do_not(toy_manager: Manager, threads: list[str]) -> None:
    with Asking(toy_manager) as asking:
        for _ in range(200):
            asking("Predict", predict_request(x=X))
            if threads[-1] == "grpc-server":
                break
        assert threads[0].startswith("grpc_")
        assert threads[-1] == "grpc-server"
        for _ in range(50):
            asking("Predict", predict_request(x=np.zeros(17_000, np.float32)))
            assert threads[-1].startswith("grpc_")
        asking("Predict", predict_request(x=X))
        assert threads[-1] == "grpc-server"


def test_nothing_runs_in_the_loop_where_it_may_not(toy_manager: Manager, threads: list[str]) -> None:
    with Asking(toy_manager, inline=False) as asking:
        for _ in range(20):
            asking("Predict", predict_request(x=X))
    assert {name.startswith("grpc_") for name in threads} == {True}


def test_a_slow_request_keeps_no_other_waiting(toy_manager: Manager) -> None:
    with Asking(toy_manager) as asking, ThreadPoolExecutor(2) as executor:
        asking("Predict", predict_request(x=X))
        slow = executor.submit(asking, "Predict", predict_request("toy", "slow", loops=np.int64(200_000)))
        answered = 0
        while not slow.done():
            asking("Predict", predict_request(x=X))
            answered += 1
        assert slow.result().outputs["n"].int64_val[0] == 200_000
    assert answered > 20


def test_many_at_once(toy_manager: Manager) -> None:
    with Asking(toy_manager) as asking, ThreadPoolExecutor(16) as executor:

        def ask(n: int) -> None:
            response = asking("Predict", predict_request(x=np.float32([n] * (n % 40 + 1))))
            assert list(response.outputs["y"].float_val) == [n / 2 + 2] * (n % 40 + 1)

        list(executor.map(ask, range(600)))
        assert asking.server._access.under_way == 0


def test_a_version_is_swapped_without_a_failed_request(
    toy_models: ToyModels, make_manager: MakeManager, tmp_path: Path
) -> None:
    toy_models.write(tmp_path, 1, offset=1.0)
    manager = make_manager(tmp_path)
    stop = threading.Event()
    with Asking(manager) as asking, ThreadPoolExecutor(4) as executor:

        def ask() -> list[tuple[int, float]]:
            seen = []
            while not stop.is_set():
                response = asking("Predict", predict_request("m", x=np.float32([0.0])))
                seen.append((response.model_spec.version.value, response.outputs["y"].float_val[0]))
            return seen

        clients = [executor.submit(ask) for _ in range(4)]
        try:
            for version in range(2, 6):
                toy_models.write(tmp_path, version, offset=float(version))
                deadline = time.monotonic() + 60
                while asking("Predict", predict_request("m", x=np.float32([0.0]))).model_spec.version.value < version:
                    assert time.monotonic() < deadline
        finally:
            stop.set()
        seen = [pair for client in clients for pair in client.result()]
    assert {version for version, _ in seen} >= {1, 5}
    assert all(version == value for version, value in seen)


def test_a_client_that_leaves_is_counted_out(toy_manager: Manager) -> None:
    with Asking(toy_manager, max_threads=1) as asking:
        calls = [
            asking.channel.unary_unary("/tensorflow.serving.PredictionService/Predict").future(
                predict_request("toy", "slow", loops=np.int64(n)).SerializeToString()
            )
            for n in (200_000, 200_001, 200_002)
        ]
        access = asking.server._access
        deadline = time.monotonic() + 60
        while access.under_way < 3:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        for call in calls:
            call.cancel()
        while access.under_way:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert list(asking("Predict", predict_request(x=X)).outputs["y"].float_val) == [2.5, 3.0]
