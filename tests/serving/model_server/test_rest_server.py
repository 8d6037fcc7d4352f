"""The REST server over real connections: its life, its bounds and what it survives."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from schema.errors import UsageError
from serving.model_server.access import Access, Limits
from serving.model_server.hooks import ModelSpecQuery
from serving.model_server.manager import Manager
from serving.model_server.metrics import PATH, Metrics
from serving.model_server.rest_server import RestServer
from tests.serving.model_server.eventually import PATIENCE, eventually

PREDICT = "/v1/models/toy:predict"
ROW = b'{"instances": [2]}'
GATED = "/v1/models/gated:predict"

Serve = Callable[..., RestServer]


class Gate:
    """A manager whose model `gated` does what `toy` does, but only once the gate is opened."""

    ready = True

    def __init__(self, manager: Manager) -> None:
        self._manager = manager
        self._opened = threading.Event()

    def open(self) -> None:
        self._opened.set()

    @contextlib.contextmanager
    def acquire(self, query: ModelSpecQuery) -> Iterator[Any]:
        with self._manager.acquire(dataclasses.replace(query, name="toy")) as lease:
            servable = lease.servable

            def run(*args: Any) -> Any:
                assert query.name != "gated" or self._opened.wait(PATIENCE)
                return servable.run(*args)

            yield SimpleNamespace(
                servable=SimpleNamespace(name=query.name, version=1, signatures=servable.signatures, run=run)
            )


@pytest.fixture
def gate(toy_manager: Manager) -> Iterator[Gate]:
    """A gate, opened at the end of the test in any case."""
    gate = Gate(toy_manager)
    yield gate
    gate.open()


@pytest.fixture
def serve(toy_manager: Manager) -> Iterator[Serve]:
    """Starts servers that are stopped after the test."""
    servers: list[RestServer] = []

    def start(manager: Any = toy_manager, **options: Any) -> RestServer:
        limits = options.pop("limits", None)
        if limits is not None:
            options["access"] = Access(limits=limits)
        servers.append(RestServer(manager, address="127.0.0.1", **options))
        servers[-1].start()
        return servers[-1]

    yield start
    for server in servers:
        server.stop(grace=5)


def url(server: RestServer, path: str = PREDICT) -> str:
    return f"http://127.0.0.1:{server.port}{path}"


def post(server: RestServer, body: bytes = ROW, path: str = PREDICT, **options: Any) -> httpx.Response:
    return httpx.post(url(server, path), content=body, timeout=60, **options)


class Raw:
    """A connection on which a test writes what it likes."""

    def __init__(self, server: RestServer) -> None:
        self.socket = socket.create_connection(("127.0.0.1", server.port), timeout=30)

    def send(self, data: bytes) -> Raw:
        self.socket.sendall(data)
        return self

    def answer(self) -> tuple[int, dict[str, str], bytes]:
        """Reads one answer: status, headers and body."""
        with_body = b""
        while b"\r\n\r\n" not in with_body:
            part = self.socket.recv(65536)
            assert part, f"the connection ended after {with_body!r}"
            with_body += part
        head, body = with_body.split(b"\r\n\r\n", 1)
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        while len(body) < int(headers.get("content-length", 0)):
            body += self.socket.recv(65536)
        return int(first.split()[1]), headers, body

    def ended(self) -> bool:
        """Returns whether the server ends the connection, without waiting longer than for that."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True


def request(body: bytes = ROW, *headers: str, method: str = "POST", path: str = PREDICT) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


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


# Bounds


@pytest.mark.parametrize(
    "head",
    [
        b"GET /v1/models/toy HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * 2000 + b"\r\n\r\n",
        b"GET /v1/models/toy HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 300 + b"\r\n",
        b"GET /v1/models/" + b"m" * 2000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v1/models/toy HTTP/1.1\r\nHost: x\r\nX-Endless: " + b"a" * 2000,
        b"GET /v1/models/" + b"m" * 2000,
    ],
)
def test_large_headers_are_refused(serve: Serve, head: bytes) -> None:
    server = serve(limits=Limits(header_bytes=1000))
    connection = Raw(server).send(head)
    status, headers, body = connection.answer()
    assert status == 431
    assert json.loads(body) == {"error": "The request's headers may have 1000 bytes at most"}
    assert headers["connection"] == "close"
    assert connection.ended()
    assert post(server).status_code == 200


def test_trailers_do_not_pile_up(serve: Serve) -> None:
    chunked = b"POST /v1/models/toy:predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    connection = Raw(serve(limits=Limits(header_bytes=1000)))
    connection.send(chunked + b"12\r\n" + ROW + b"\r\n0\r\n" + b"X-T: 1\r\n" * 500 + b"\r\n")
    assert connection.answer()[0] == 200


def test_a_body_at_the_limit_passes_and_a_larger_one_does_not(serve: Serve) -> None:
    server = serve(body_bytes=100_000)
    at_limit = ROW.ljust(100_000)
    assert post(server, at_limit).status_code == 200
    for body in (at_limit + b" ", ROW.ljust(5_000_000)):
        response = post(server, body)
        assert response.status_code == 413
        assert response.json() == {"error": "The request's body may have 100000 bytes at most"}
    # Its length is not announced.
    response = httpx.post(url(server), content=(b" " * 50_000 for _ in range(20)))
    assert response.status_code == 413
    assert post(server).status_code == 200


def test_a_body_that_is_too_large_is_refused_before_it_is_sent(serve: Serve) -> None:
    connection = Raw(serve(body_bytes=1000))
    connection.send(b"POST /v1/models/toy:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n")
    status, headers, _ = connection.send(b"Expect: 100-continue\r\n\r\n").answer()
    assert status == 413
    assert headers["connection"] == "close"
    assert connection.ended()


def test_the_limit_of_a_message_holds_for_rest_too(serve: Serve) -> None:
    assert post(serve(limits=Limits(message_bytes=10))).status_code == 413


def test_a_body_that_unpacks_to_too_much_is_refused(serve: Serve) -> None:
    import gzip

    server = serve(body_bytes=1_000_000)
    bomb = gzip.compress(b" " * 50_000_000)
    assert len(bomb) < 100_000
    response = post(server, bomb, headers={"content-encoding": "gzip"})
    assert response.status_code == 413
    assert response.json() == {"error": "The request's unpacked body may have 1000000 bytes at most"}
    fits = gzip.compress(ROW.ljust(1_000_000))
    assert post(server, fits, headers={"content-encoding": "gzip"}).json() == {"predictions": [3.0]}


def test_a_batch_may_have_a_limit(serve: Serve) -> None:
    server = serve(limits=Limits(batch_rows=2))
    assert post(server, b'{"instances": [1, 2]}').status_code == 200
    response = post(server, b'{"instances": [1, 2, 3]}')
    assert response.status_code == 400
    assert "2 rows at most" in response.json()["error"]
    body = b'{"signature_name": "regress", "examples": [{}, {}, {}]}'
    assert post(server, body, "/v1/models/toy:regress").status_code == 400


@pytest.mark.parametrize(
    "begin",
    [b"", b"POST /v1/models/toy:pre", b"GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n", request()[:-5]]
    + [b"POST /v1/models/toy:predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n"],
)
def test_a_request_that_does_not_arrive_in_time_is_ended(serve: Serve, begin: bytes) -> None:
    server = serve(timeout_seconds=0.3)
    connection = Raw(server).send(begin)
    status, headers, body = connection.answer()
    assert status == 408
    assert json.loads(body) == {"error": "The request did not arrive whole within 0.3 seconds"}
    assert headers["connection"] == "close"
    assert connection.ended()
    eventually(lambda: post(server).status_code == 200)


def test_a_request_that_comes_bit_by_bit_is_ended(serve: Serve) -> None:
    connection = Raw(serve(timeout_seconds=0.5))
    with pytest.raises(OSError):  # noqa: PT011 - reset or broken pipe
        for byte in request(b" " * 3000):
            connection.send(bytes([byte]))
            time.sleep(0.01)


def test_the_next_request_of_a_connection_has_its_own_time(serve: Serve) -> None:
    connection = Raw(serve(timeout_seconds=1))
    status = b"GET /v1/models/toy HTTP/1.1\r\nHost: x\r\n\r\n"
    for _ in range(3):
        assert connection.send(status).answer()[0] == 200
        time.sleep(0.5)
    assert connection.send(status).answer()[0] == 200
    assert connection.send(b"POST ").answer()[0] == 408


def test_slow_connections_do_not_keep_others_out(serve: Serve) -> None:
    server = serve()
    slow = [Raw(server).send(request()[:-1]) for _ in range(50)]
    assert post(server).status_code == 200
    assert all(connection.send(b"}").answer()[0] == 200 for connection in slow)


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


class Waiting:
    """A request to the gated model in a thread of its own, under way once this is made."""

    def __init__(self, server: RestServer, access: Access) -> None:
        self._responses: list[httpx.Response] = []
        before = access.under_way
        self._thread = threading.Thread(target=lambda: self._responses.append(post(server, path=GATED)))
        self._thread.start()
        eventually(lambda: access.under_way > before)

    def response(self) -> httpx.Response:
        self._thread.join()
        return self._responses[0]


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
