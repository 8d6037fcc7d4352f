"""HTTP to the server behind: byte for byte, over connections that are kept and may end at any time."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from serving.client.target import Address
from serving.gateway.http_upstream import HttpAnswer, HttpUpstream
from serving.model_server.errors import Code, ServingError

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A: 1\r\nx-a: 2\r\n\r\nok"


class Scripted:
    """A server that says what it is told to, one connection after another.

    Attributes:
        script: what each connection does: texts are answers, each to what has come by then; None ends it.
        received: what has come.
    """

    def __init__(self, *script: list[bytes | None]) -> None:
        self.received: list[bytes] = []
        self._script = script
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = Address("127.0.0.1", self._socket.getsockname()[1])
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        for answers in self._script:
            connection, _ = self._socket.accept()
            with connection:
                for answer in answers:
                    if answer is None:
                        break
                    self.received.append(connection.recv(65536))
                    connection.sendall(answer)

    def close(self) -> None:
        self._thread.join(10)
        self._socket.close()


Serve = Callable[..., Scripted]


@pytest.fixture
def serve() -> Iterator[Serve]:
    servers: list[Scripted] = []

    def make(*script: list[bytes | None]) -> Scripted:
        servers.append(Scripted(*script))
        return servers[-1]

    yield make
    for server in servers:
        server.close()


def ask(server: Scripted, *requests: tuple[str, bytes, list[tuple[bytes, bytes]], bytes]) -> list[HttpAnswer]:
    async def run() -> list[HttpAnswer]:
        upstream = HttpUpstream(server.address)
        try:
            answers = []
            for request in requests:
                answers.append(await asyncio.wait_for(upstream.ask(*request), 10))
                await asyncio.sleep(0.02)
            return answers
        finally:
            upstream.close()

    return asyncio.run(run())


GET = ("GET", b"/a", [], b"")
POST = ("POST", b"/a", [], b"body")


def test_bytes_go_out_as_they_are(serve: Serve) -> None:
    server = serve([OK])
    ask(
        server,
        ("POST", b"/v1/a%2Fb//../'\xe9?x=%zz", [(b"accept", b"*/*"), (b"x-b", b"1"), (b"x-b", b"2")], b"\x00\xff"),
    )
    assert server.received == [
        b"POST /v1/a%2Fb//../'\xe9?x=%zz HTTP/1.1\r\nhost: " + str(server.address).encode() + b"\r\n"
        b"accept: */*\r\nx-b: 1\r\nx-b: 2\r\ncontent-length: 2\r\n\r\n\x00\xff"
    ]


def test_answers_of_every_form(serve: Serve) -> None:
    chunked = b"HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    until_end = b"HTTP/1.1 200 OK\r\n\r\nall that comes"
    interim = b"HTTP/1.1 100 Continue\r\n\r\n" + OK
    bodyless = b"HTTP/1.1 204 No Content\r\n\r\n"
    head = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 99\r\n\r\n"
    server = serve([OK, chunked, interim, bodyless, until_end], [head])
    found = ask(server, GET, GET, POST, GET, GET, ("HEAD", b"/", [], b""))
    assert [(answer.status, answer.body) for answer in found] == [
        (200, b"ok"),
        (404, b"abcde"),
        (200, b"ok"),
        (204, b""),
        (200, b"all that comes"),
        (400, b""),
    ]
    assert found[0].headers == [(b"content-length", b"2"), (b"x-a", b"1"), (b"x-a", b"2")]


def test_a_connection_that_the_server_has_ended_is_replaced(serve: Serve) -> None:
    server = serve([OK], [OK, OK])
    assert [answer.status for answer in ask(server, POST, POST, POST)] == [200, 200, 200]


def test_one_that_it_ends_when_it_is_used_again_is_too(serve: Serve) -> None:
    closing = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"
    # The second request comes, and the connection ends without a word.
    server = serve([OK, b"", None], [closing])
    assert [answer.status for answer in ask(server, POST, POST)] == [200, 200]
    assert len(server.received) == 3


@pytest.mark.parametrize(
    "answer",
    [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", b"220 smtp.example ESMTP\r\n"],
    ids=["silence", "half", "other"],
)
def test_what_is_no_answer(serve: Serve, answer: bytes) -> None:
    server = serve([answer])
    with pytest.raises(ServingError, match="does not answer") as caught:
        ask(server, POST)
    assert caught.value.code is Code.UNAVAILABLE
    assert len(server.received) == 1


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as found:
        address = Address("127.0.0.1", found.getsockname()[1])
    with pytest.raises(ServingError, match=f"The model server at {address} does not answer"):
        asyncio.run(HttpUpstream(address).ask(*POST))


def test_the_answer_to_a_request_that_was_given_up_is_nobody_elses(serve: Serve) -> None:
    server = serve([b"", b""], [OK])

    async def run() -> int:
        upstream = HttpUpstream(server.address)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(upstream.ask(*GET), 0.2)
        answer = await asyncio.wait_for(upstream.ask(*POST), 10)
        upstream.close()
        return answer.status

    assert asyncio.run(run()) == 200
    # The first connection has ended before the second was made.
    assert [request[:4] for request in server.received] == [b"GET ", b"", b"POST"]
