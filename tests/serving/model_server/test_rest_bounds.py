"""What one connection or request may take of the REST server: bytes and time."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator

import httpx
import pytest

from serving.model_server.access import Access, Limits
from serving.model_server.manager import Manager
from serving.model_server.rest_server import RestServer
from tests.serving.model_server.eventually import eventually
from tests.serving.model_server.rest_serving import ROW, Raw, post, request, serving, url

Serve = Callable[..., RestServer]


@pytest.fixture
def serve(toy_manager: Manager) -> Iterator[Callable[..., RestServer]]:
    """Starts servers that are stopped after the test."""
    with contextlib.ExitStack() as stack:
        yield lambda manager=toy_manager, **options: stack.enter_context(serving(manager, **options))


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
    server = serve(access=Access(limits=Limits(header_bytes=1000)))
    connection = Raw(server).send(head)
    status, headers, body = connection.answer()
    assert status == 431
    assert json.loads(body) == {"error": "The request's headers may have 1000 bytes at most"}
    assert headers["connection"] == "close"
    assert connection.ended()
    assert post(server).status_code == 200


def test_trailers_do_not_pile_up(serve: Serve) -> None:
    chunked = b"POST /v1/models/toy:predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    connection = Raw(serve(access=Access(limits=Limits(header_bytes=1000))))
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
    assert post(serve(access=Access(limits=Limits(message_bytes=10)))).status_code == 413


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
    server = serve(access=Access(limits=Limits(batch_rows=2)))
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
