"""What gRPC carries besides messages goes through the gateway too, in both directions, and whatever the method."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest

from serving import messages
from serving.gateway.server import Gateway
from serving.gateway.upstream import Upstream
from tests.serving.gateway.conftest import Asker, MakeGateway, predict_request, running, served, until
from tests.serving.line_server.conftest import ToyLine

DETAILS = ("grpc-status-details-bin", b"\x08\x03\x12\x01x")
PREDICT = messages.PREDICT.path


class Fake(grpc.GenericRpcHandler):
    """A server that answers as a test says, and keeps what it was sent.

    Attributes:
        answer: is called with what comes and the context of each request.
        metadata: what came with each request.
        left: seconds that each request had left.
        gone: is set when a request was given up.
    """

    def __init__(self, answer: Callable[[Iterator[bytes], Any], Iterator[bytes]]) -> None:
        self.answer = answer
        self.metadata: list[dict[str, Any]] = []
        self.left: list[float | None] = []
        self.gone = threading.Event()
        self._server = grpc.server(ThreadPoolExecutor(8), handlers=[self], options=[("grpc.so_reuseport", 0)])
        self.upstream = Upstream(f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}")
        self._server.start()

    def service(self, details: Any) -> Any:
        if details.method == messages.GET_MODEL_STATUS.path:
            return None

        def handle(requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
            self.metadata.append(dict(details.invocation_metadata))
            self.left.append(context.time_remaining())
            context.add_callback(self.gone.set)
            yield from self.answer(requests, context)

        return grpc.stream_stream_rpc_method_handler(handle)

    def stop(self) -> None:
        self._server.stop(None).wait()


@pytest.fixture
def fake(toy_line: ToyLine) -> Iterator[Fake]:
    fake = Fake(lambda requests, context: requests)
    yield fake
    fake.stop()


def failing(_: Iterator[bytes], context: Any) -> Iterator[bytes]:
    context.send_initial_metadata((("a", "1"), ("b-bin", b"\x00\xff")))
    context.set_trailing_metadata((DETAILS, ("c", "2"), ("c", "3")))
    context.abort(grpc.StatusCode.DATA_LOSS, "lost, and für immer")
    yield b""


def answering(requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
    context.send_initial_metadata((("a", "1"),))
    context.set_trailing_metadata((("c", "2"),))
    yield next(requests)


@pytest.mark.parametrize("path", [PREDICT, messages.GET_MODEL_METADATA.path, "/a.B/C"])
def test_what_comes_with_an_answer(fake: Fake, make_gateway: MakeGateway, path: str) -> None:
    _, asker = make_gateway(fake.upstream)
    fake.answer = answering
    answer, call = asker.grpc(
        path, predict_request(), [("x-request-id", "i"), ("x-b-bin", b"\xff"), ("authorization", "Bearer t")]
    )
    assert messages.PredictRequest.FromString(answer) == predict_request()
    assert tuple(call.initial_metadata()) == (("a", "1"),)
    assert tuple(call.trailing_metadata()) == (("c", "2"), ("x-request-id", "i"))
    sent = fake.metadata[-1]
    assert (sent["x-request-id"], sent["x-b-bin"], sent["authorization"]) == ("i", b"\xff", "Bearer t")


@pytest.mark.parametrize("path", [PREDICT, messages.GET_MODEL_METADATA.path, "/a.B/C"])
def test_what_comes_with_an_error(fake: Fake, make_gateway: MakeGateway, path: str) -> None:
    _, asker = make_gateway(fake.upstream)
    fake.answer = failing
    error = asker.error(path, predict_request(), [("x-request-id", "i")])
    assert (error.code(), error.details()) == (grpc.StatusCode.DATA_LOSS, "lost, and für immer")
    if path != "/a.B/C":
        # Of a stream whose begin and end come together, gRPC's own client may lose what came first.
        assert tuple(error.initial_metadata()) == (("a", "1"), ("b-bin", b"\x00\xff"))
    found = sorted(tuple(pair) for pair in error.trailing_metadata())
    assert found == sorted([DETAILS, ("c", "2"), ("c", "3"), ("x-request-id", "i")])


def test_an_error_of_the_servers_own_is_not_one_of_the_way_to_it(fake: Fake, make_gateway: MakeGateway) -> None:
    def unavailable(_: Iterator[bytes], context: Any) -> Iterator[bytes]:
        context.abort(grpc.StatusCode.UNAVAILABLE, "I am full")
        yield b""

    _, asker = make_gateway(fake.upstream)
    fake.answer = unavailable
    assert asker.error(PREDICT, predict_request()).details() == "I am full"


@pytest.mark.parametrize("path", [PREDICT, "/a.B/C"])
def test_deadlines(fake: Fake, make_gateway: MakeGateway, path: str) -> None:
    _, asker = make_gateway(fake.upstream)
    asker.grpc(path, predict_request(), timeout=50)
    assert fake.left[-1] is not None and 20 < fake.left[-1] <= 50


@pytest.mark.parametrize("path", [PREDICT, "/a.B/C"])
def test_what_the_caller_gives_up_is_given_up_behind(fake: Fake, make_gateway: MakeGateway, path: str) -> None:
    asked = threading.Event()

    def waiting(requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        next(requests)
        asked.set()
        until(lambda: not context.is_active(), 60)
        yield b""

    _, asker = make_gateway(fake.upstream)
    fake.answer = waiting
    call = asker.channel.unary_unary(path).future(predict_request().SerializeToString(), timeout=60)
    assert asked.wait(60) and not fake.gone.is_set()
    call.cancel()
    assert fake.gone.wait(60)


def test_streams_of_both_directions(fake: Fake, make_gateway: MakeGateway) -> None:
    _, asker = make_gateway(fake.upstream)
    turn = threading.Semaphore(1)

    def requests() -> Iterator[bytes]:
        for n in range(5):
            # Each only once the one before has come back.
            assert turn.acquire(timeout=60)
            yield b"%d" % n

    found = []
    for answer in asker.channel.stream_stream("/a.B/C")(requests(), timeout=60):
        found.append(answer)
        turn.release()
    assert found == [b"0", b"1", b"2", b"3", b"4"]


def test_what_takes_too_long_is_ended(fake: Fake, make_gateway: MakeGateway) -> None:
    def waiting(requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        until(lambda: not context.is_active(), 60)
        yield b""

    _, asker = make_gateway(fake.upstream, limits={"request_timeout_seconds": 0.2})
    fake.answer = waiting
    for path in (PREDICT, "/a.B/C"):
        error = asker.error(path, predict_request())
        assert (error.code(), error.details()) == (
            grpc.StatusCode.DEADLINE_EXCEEDED,
            "The request took more than 0.2 seconds",
        )


def test_a_gateway_that_ends_is_not_well_and_answers_what_it_has(fake: Fake, tmp_path: Path, toy_line: ToyLine) -> None:
    release = threading.Event()

    def waiting(requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        if fake.metadata[-1].get("kind") == "watch":
            yield b"\x08\x01"
            until(lambda: not context.is_active(), 60)
        else:
            release.wait(60)
            yield next(requests)

    fake.answer = waiting
    gateway = Gateway(served(tmp_path, toy_line), fake.upstream, host="127.0.0.1", port=0, rest_port=0)
    with running(gateway):
        asker = Asker(gateway.port, gateway.rest_port)
        watch = asker.channel.unary_stream(messages.HEALTH_WATCH.path)(b"", timeout=60, metadata=(("kind", "watch"),))
        assert next(watch) == b"\x08\x01"
        call = asker.channel.unary_unary(PREDICT).future(predict_request().SerializeToString(), timeout=60)
        until(lambda: len(fake.left) == 2)
        threading.Thread(target=lambda: (time.sleep(0.3), release.set())).start()
    # It has been told to stop, and has.
    assert call.result() and list(watch) == [b"\x08\x02"]
    asker.close()
