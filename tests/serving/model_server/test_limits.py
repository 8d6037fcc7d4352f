"""How much one caller can use up: limits and time-outs, over real connections."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
from tensorflow_serving.apis import (
    classification_pb2,
)

from serving.model_server.access import Access, Limits
from serving.model_server.errors import Code, ServingError
from serving.model_server.hooks import Exchange, NoHooks
from serving.model_server.manager import Manager
from serving.model_server.metrics import Metrics
from serving.model_server.tokens import TokenFile
from tests.serving.model_server.grpc_asking import Asking, example_request, predict_request
from tests.serving.model_server.toy_models import example

X = np.float32([1.0, 2.0])
READ = [("authorization", "Bearer reader")]


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> TokenFile:
    file = tmp_path_factory.mktemp("tokens") / "tokens"
    file.touch(0o600)
    file.write_text("read reader\nadmin chief\n")
    return TokenFile(file)


def test_messages_that_are_too_large(toy_manager: Manager, caplog: pytest.LogCaptureFixture) -> None:
    with Asking(toy_manager, access=Access(limits=Limits(message_bytes=10_000))) as asking:
        code, message = asking.error("Predict", predict_request(x=np.zeros(3_000, np.float32)))
        assert code == "RESOURCE_EXHAUSTED"
        assert "larger than max" in message
        code, message = asking.error("Predict", predict_request("toy", "all_types"))
        assert code == "INVALID_ARGUMENT"
        assert len(asking("Predict", predict_request(x=np.zeros(2_000, np.float32))).outputs["y"].float_val) == 2_000
        assert asking.server._access.under_way == 0
    assert "Traceback" not in caplog.text


def test_answers_that_are_too_large(toy_manager: Manager) -> None:
    with Asking(toy_manager, access=Access(limits=Limits(message_bytes=5_000))) as asking:
        request = predict_request("toy", "matrix", m=np.zeros((600, 2), np.float32))
        code, message = asking.error("Predict", request)
        assert code == "RESOURCE_EXHAUSTED"
        assert list(asking("Predict", predict_request(x=X)).outputs["y"].float_val) == [2.5, 3.0]


def test_headers_that_are_too_large(toy_manager: Manager) -> None:
    with Asking(toy_manager, access=Access(limits=Limits(header_bytes=2000))) as asking:
        assert asking.error("Predict", predict_request(x=X), [("a", "x" * 4000)])[0] == "RESOURCE_EXHAUSTED"
        assert asking("Predict", predict_request(x=X), [("a", "x" * 1000)]).model_spec.name == "toy"


def test_batches_that_are_too_large(toy_manager: Manager) -> None:
    message = "A request may have 3 rows at most, not 4. Send it in parts"
    with Asking(toy_manager, access=Access(limits=Limits(batch_rows=3))) as asking:
        for _ in range(4):
            assert len(asking("Predict", predict_request(x=np.zeros(3, np.float32))).outputs["y"].float_val) == 3
            assert asking.error("Predict", predict_request(x=np.zeros(4, np.float32))) == ("INVALID_ARGUMENT", message)
        examples = example_request(classification_pb2.ClassificationRequest, "classify", [example(1.0)] * 4)
        assert asking.error("Classify", examples) == ("INVALID_ARGUMENT", message)


def test_too_many_requests_at_once(toy_manager: Manager) -> None:
    access = Access(limits=Limits(concurrent_requests=2))
    slow = predict_request("toy", "slow", loops=np.int64(300_000))
    with Asking(toy_manager, access=access) as asking, ThreadPoolExecutor(2) as executor:
        running = [executor.submit(asking, "Predict", slow) for _ in range(2)]
        deadline = time.monotonic() + 60
        while access.under_way < 2:
            assert time.monotonic() < deadline
        assert asking.error("Predict", predict_request(x=X)) == (
            "RESOURCE_EXHAUSTED",
            "More than 2 requests are under way. Try again later",
        )
        for future in running:
            assert list(future.result().outputs["n"].int64_val) == [300_000]
        assert asking("Predict", predict_request(x=X)).model_spec.name == "toy"
    assert access.under_way == 0


def test_requests_that_take_too_long(toy_manager: Manager) -> None:
    access = Access(limits=Limits(request_seconds=0.3))
    with Asking(toy_manager, access=access) as asking:
        assert asking.error("Predict", predict_request("toy", "slow", loops=np.int64(200_000))) == (
            "DEADLINE_EXCEEDED",
            "The request took more than 0.3 seconds",
        )
        # TensorFlow goes on, and until it is done the request counts.
        deadline = time.monotonic() + 60
        while access.under_way:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_what_is_refused_is_counted_and_what_is_too_slow_is_noted_as_that(
    toy_manager: Manager, tokens: TokenFile
) -> None:
    class Notes(NoHooks):
        def __init__(self) -> None:
            self.codes: list[Code] = []

        def done(self, exchange: Exchange) -> None:
            self.codes.append(exchange.code)

    metrics, notes = Metrics(), Notes()
    access = Access(tokens=tokens, limits=Limits(request_seconds=0.3))
    with Asking(toy_manager, access=access, metrics=metrics, hooks=notes) as asking:
        asking.error("Predict", predict_request(x=X))
        asking.error("Predict", predict_request("toy", "slow", loops=np.int64(200_000)), READ)
        deadline = time.monotonic() + 60
        while access.under_way:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    counts = [
        line for line in metrics.page().decode().splitlines() if line.startswith(":tensorflow:serving:request_count")
    ]
    assert counts == [
        ':tensorflow:serving:request_count{model_name="",status="UNAUTHENTICATED"} 1',
        ':tensorflow:serving:request_count{model_name="toy",status="DEADLINE_EXCEEDED"} 1',
    ]
    assert notes.codes == [Code.DEADLINE_EXCEEDED]


def test_a_request_whose_body_does_not_come(toy_manager: Manager) -> None:
    access = Access(limits=Limits(request_seconds=0.3))
    with Asking(toy_manager, access=access) as asking:
        hold = threading.Event()

        def nothing() -> Iterator[bytes]:
            hold.wait(60)
            yield from ()

        call = asking.channel.stream_unary("/tensorflow.serving.PredictionService/Predict")
        try:
            with pytest.raises(grpc.RpcError) as caught:
                call(nothing(), timeout=60)
        finally:
            hold.set()
        assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        assert caught.value.details() == "The request took more than 0.3 seconds"
        assert access.under_way == 0


def test_a_request_without_a_body(toy_manager: Manager) -> None:
    with Asking(toy_manager) as asking:
        call = asking.channel.stream_unary("/tensorflow.serving.PredictionService/Predict")
        with pytest.raises(grpc.RpcError) as caught:
            call(iter(()), timeout=60)
        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert caught.value.details() == "No message was sent"


def test_the_body_of_a_refused_request_is_not_waited_for(toy_manager: Manager, tokens: TokenFile) -> None:
    with Asking(toy_manager, access=Access(tokens=tokens)) as asking:
        hold = threading.Event()

        def nothing() -> Iterator[bytes]:
            hold.wait(60)
            yield from ()

        try:
            with pytest.raises(grpc.RpcError) as caught:
                asking.channel.stream_unary("/tensorflow.serving.PredictionService/Predict")(nothing(), timeout=60)
        finally:
            hold.set()
        assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED


def test_counting_in_and_out() -> None:
    access = Access(limits=Limits(concurrent_requests=1))
    access.enter()
    with pytest.raises(ServingError) as caught:
        access.enter()
    assert caught.value.code == Code.RESOURCE_EXHAUSTED
    access.leave()
    access.enter()
    assert access.under_way == 1


def test_without_limits_there_are_none() -> None:
    access = Access()
    access.check_rows(10**12)
    for _ in range(1000):
        access.enter()
    assert access.limits.message_bytes == 2**31 - 1
