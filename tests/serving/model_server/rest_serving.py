"""REST servers for tests, and the ways to reach them."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import httpx

from serving.model_server.access import Access
from serving.model_server.hooks import ModelSpecQuery
from serving.model_server.manager import Manager
from serving.model_server.rest_server import RestServer
from tests.serving.model_server.eventually import PATIENCE, eventually

PREDICT = "/v1/models/toy:predict"
GATED = "/v1/models/gated:predict"
ROW = b'{"instances": [2]}'


@contextlib.contextmanager
def serving(manager: Any, **options: Any) -> Iterator[RestServer]:
    """Starts a server that is stopped at the end."""
    server = RestServer(manager, address="127.0.0.1", **options)
    server.start()
    try:
        yield server
    finally:
        server.stop(grace=5)


def url(server: RestServer, path: str = PREDICT) -> str:
    return f"http://127.0.0.1:{server.port}{path}"


def post(server: RestServer, body: bytes = ROW, path: str = PREDICT, **options: Any) -> httpx.Response:
    return httpx.post(url(server, path), content=body, timeout=60, **options)


def request(body: bytes = ROW, *headers: str, method: str = "POST", path: str = PREDICT) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


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
