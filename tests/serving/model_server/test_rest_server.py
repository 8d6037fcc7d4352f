"""The REST server over real connections: its life, slow models, and what is there only when asked for."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator

import httpx
import pytest

from schema.errors import UsageError
from serving.model_server.access import Access, Limits
from serving.model_server.manager import Manager
from serving.model_server.metrics import PATH, Metrics
from serving.model_server.rest_server import RestServer
from tests.serving.model_server.eventually import eventually
from tests.serving.model_server.rest_serving import GATED, ROW, Gate, Raw, Waiting, post, request, serving, url

Serve = Callable[..., RestServer]


@pytest.fixture
def gate(toy_manager: Manager) -> Iterator[Gate]:
    """A gate, opened at the end of the test in any case."""
    gate = Gate(toy_manager)
    yield gate
    gate.open()


@pytest.fixture
def serve(toy_manager: Manager) -> Iterator[Callable[..., RestServer]]:
    """Starts servers that are stopped after the test."""
    with contextlib.ExitStack() as stack:
        yield lambda manager=toy_manager, **options: stack.enter_context(serving(manager, **options))


def test_a_port_of_its_own_is_found_and_kept(serve: Serve) -> None:
    server = serve()
    assert server.port > 0
    assert post(server).json() == {"predictions": [3.0]}


def test_a_taken_port_is_told(serve: Serve, toy_manager: Manager) -> None:
    server = serve()
    with pytest.raises(UsageError, match=f"127.0.0.1:{server.port} must be free to listen on"):
        RestServer(toy_manager, address="127.0.0.1", port=server.port).start()
    with pytest.raises(UsageError, match="must be free to listen on"):
        RestServer(toy_manager, address="203.0.113.1").start()


def test_without_an_address_it_listens_everywhere(toy_manager: Manager) -> None:
    server = RestServer(toy_manager)
    server.start()
    try:
        assert post(server).status_code == 200
    finally:
        server.stop(grace=5)


def test_connections_are_kept(serve: Serve) -> None:
    connection = Raw(serve())
    for _ in range(3):
        assert connection.send(request()).answer()[0] == 200
    status, headers, _ = connection.send(request(ROW, "Connection: close")).answer()
    assert (status, headers["connection"]) == (200, "close")
    assert connection.ended()


def test_requests_in_one_go_are_answered_in_order(serve: Serve) -> None:
    connection = Raw(serve()).send(request(b'{"instances": [2]}') + request(b'{"instances": [4]}'))
    received = b""
    while received.count(b"predictions") < 2:
        received += connection.socket.recv(65536)
    assert received.index(b"[3.0") < received.index(b"[4.0")


def test_the_head_of_an_answer_comes_without_its_body(serve: Serve) -> None:
    connection = Raw(serve()).send(request(b"", method="HEAD", path="/v1/models/toy"))
    head = connection.socket.recv(65536)
    assert head.startswith(b"HTTP/1.1 400 ") and head.endswith(b"\r\n\r\n")
    status, _, body = connection.send(request()).answer()
    assert (status, json.loads(body)) == (200, {"predictions": [3.0]})


@pytest.mark.parametrize(
    "garbage",
    [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\r\n\0\r\n" * 3]
    + [b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n"]
    + [b"POST /v1/models/\xff:predict HTTP/1.1\r\nHost: x\r\n\r\n"]
    + [b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"],
)
def test_what_is_no_http_ends_its_connection_and_no_more(serve: Serve, garbage: bytes) -> None:
    server = serve()
    status, _, _ = Raw(server).send(garbage).answer()
    assert status == 400
    assert post(server).status_code == 200


@pytest.mark.parametrize(("method", "status"), [("TRACE", 501), ("PROPFIND", 501), ("OPTIONS", 400)])
def test_methods_that_nobody_expects(serve: Serve, method: str, status: int) -> None:
    assert httpx.request(method, url(serve())).status_code == status


# Slow models


def test_a_model_that_takes_too_long_is_answered_for(serve: Serve, gate: Gate) -> None:
    server = serve(gate, timeout_seconds=0.3)
    response = post(server, path=GATED)
    assert response.status_code == 504
    assert response.json() == {"error": "Timed out waiting for notification"}
    eventually(lambda: post(server).status_code == 200)


def test_json_that_takes_too_long_is_answered_for(serve: Serve) -> None:
    server = serve(timeout_seconds=0.5, num_threads=1)
    # Twice a surrogate, so that only the exact reader takes it.
    body = b'{"a": "\\ud83d\\ude00", "b:": [' + b"1," * 3_000_000 + b"1]}"
    response = post(server, body)
    assert response.status_code == 504
    assert response.json() == {"error": "Timed out waiting for notification"}


def test_others_are_answered_while_a_model_is_slow(serve: Serve, gate: Gate) -> None:
    access = Access()
    server = serve(gate, access=access)
    waiting = Waiting(server, access)
    assert [post(server).status_code for _ in range(3)] == [200] * 3
    assert access.under_way == 1
    gate.open()
    assert waiting.response().json() == {"predictions": [3.0]}


def test_no_more_run_at_a_time_than_may(serve: Serve, gate: Gate) -> None:
    access = Access(limits=Limits(concurrent_requests=2))
    server = serve(gate, access=access)
    waiting = [Waiting(server, access) for _ in range(2)]
    refused = post(server)
    assert refused.status_code == 429
    assert refused.json() == {"error": "More than 2 requests are under way. Try again later"}
    gate.open()
    assert [one.response().status_code for one in waiting] == [200, 200]
    assert post(server).status_code == 200
    assert access.under_way == 0


def test_a_request_that_timed_out_counts_until_it_really_ends(serve: Serve, gate: Gate) -> None:
    access = Access(limits=Limits(concurrent_requests=1))
    server = serve(gate, access=access, timeout_seconds=0.3)
    assert post(server, path=GATED).status_code == 504
    assert post(server).status_code == 429
    gate.open()
    eventually(lambda: not access.under_way)
    eventually(lambda: post(server).status_code == 200)


def test_requests_that_never_began_are_counted_out(serve: Serve, gate: Gate) -> None:
    access = Access()
    server = serve(gate, access=access, timeout_seconds=0.3, num_threads=1)
    waiting = Waiting(server, access)
    # It waits for the one thread, and is told before it gets that.
    assert post(server, ROW.ljust(70_000)).status_code == 504
    assert access.under_way == 1
    gate.open()
    assert waiting.response().status_code == 504
    eventually(lambda: access.under_way == 0)


# The end


def test_stop_lets_requests_finish_and_takes_no_more(serve: Serve, gate: Gate) -> None:
    access = Access()
    server = serve(gate, access=access)
    idle = Raw(server)
    assert idle.send(request()).answer()[0] == 200
    waiting = Waiting(server, access)
    stopping = threading.Thread(target=server.stop)
    stopping.start()
    assert idle.ended()
    with pytest.raises(httpx.ConnectError):
        post(server)
    gate.open()
    stopping.join()
    assert waiting.response().json() == {"predictions": [3.0]}
    assert waiting.response().headers["connection"] == "close"


def test_what_does_not_end_in_time_is_cut_off_with_an_answer(serve: Serve, gate: Gate) -> None:
    access = Access()
    server = serve(gate, access=access)
    waiting = Waiting(server, access)
    server.stop(grace=0.2)
    assert waiting.response().status_code == 503
    assert waiting.response().json() == {"error": "The server is shutting down"}


def test_stop_before_start_and_twice(toy_manager: Manager) -> None:
    server = RestServer(toy_manager, address="127.0.0.1")
    server.stop()
    server = RestServer(toy_manager, address="127.0.0.1")
    server.start()
    server.stop(grace=1)
    server.stop(grace=1)


# What is only there when asked for


def test_probes(serve: Serve, toy_manager: Manager) -> None:
    class Unready:
        ready = False

    server = serve(probes=True)
    assert [httpx.get(url(server, path)).status_code for path in ("/healthz", "/readyz")] == [200, 200]
    server = serve(Unready(), probes=True)
    assert [httpx.get(url(server, path)).status_code for path in ("/healthz", "/readyz")] == [200, 503]
    server = serve()
    assert [httpx.get(url(server, path)).status_code for path in ("/healthz", "/readyz")] == [404, 404]


def test_cross_origin_requests(serve: Serve) -> None:
    server = serve(cors=True)
    for response in (post(server), post(server, b""), httpx.options(url(server), headers={"origin": "https://a.b"})):
        assert response.headers["access-control-allow-origin"] == "*"
        assert response.headers["access-control-allow-methods"] == "POST, GET"
        assert response.headers["access-control-allow-headers"] == "Content-Type"
    assert httpx.options(url(server), headers={"origin": "https://a.b"}).status_code == 200
    refused = httpx.options(url(server), headers={"origin": "file://a"})
    assert (refused.status_code, refused.content) == (400, b"")
    assert "access-control-allow-origin" not in post(serve()).headers


def test_the_metrics_page(serve: Serve) -> None:
    metrics = Metrics()
    server = serve(metrics=metrics, metrics_path=PATH)
    post(server)
    post(server, b"", "/v1/models/toy:predict")
    httpx.get(url(server, "/v1/models/toy"))
    httpx.get(url(server, "/v1/models"))
    httpx.get(url(server, "/elsewhere"))
    response = httpx.get(url(server, PATH))
    assert response.headers["content-type"] == "text/plain"
    lines = response.text.splitlines()
    assert ':tensorflow:serving:request_count{model_name="",status="INVALID_ARGUMENT"} 1' in lines
    assert ':tensorflow:serving:request_count{model_name="toy",status="INVALID_ARGUMENT"} 1' in lines
    assert ':tensorflow:serving:request_count{model_name="toy",status="OK"} 2' in lines
    count = ':tensorflow:serving:request_latency_count{model_name="toy",API="%s",entrypoint="REST"} 1'
    assert count % "predict" in lines and count % "" in lines
    assert ':tensorflow:serving:runtime_latency_count{model_name="toy",API="Predict",runtime="TF1"} 1' in lines
    wrong = httpx.get(url(server, PATH + "?x"))
    assert (wrong.status_code, wrong.text) == (400, f"Unexpected path: {PATH}?x. Should be {PATH}")
    assert httpx.get(url(serve(metrics=metrics), PATH)).status_code == 404
    assert httpx.get(url(serve(metrics=metrics, metrics_path="/m"), "/m")).status_code == 200
