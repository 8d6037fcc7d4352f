"""HTTP to the server behind the gateway: what goes out and what comes back are passed on byte by byte.

The usual clients put paths into a normal form, add headers and unpack bodies; and an event loop for each of them costs
more than a small model.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterable

import httptools

from serving.client.target import Address
from serving.gateway.upstream import unreachable
from serving.model_server.errors import Code, ServingError

Headers = Iterable[tuple[bytes, bytes]]

_CONNECT_SECONDS = 5.0


@dataclasses.dataclass
class HttpAnswer:
    """An answer.

    Attributes:
        status: HTTP's.
        headers: names, in lower case, and values.
        body: as it came, but for its chunks.
    """

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class _Ended(Exception):
    """The connection has ended.

    Attributes:
        silent: whether nothing of an answer had come.
    """

    def __init__(self, silent: bool) -> None:
        super().__init__()
        self.silent = silent


class HttpUpstream:
    """Sends requests over connections that it keeps. For one event loop.

    Args:
        address: where the server is.
    """

    def __init__(self, address: Address) -> None:
        self.address = address
        self._idle: list[_Connection] = []

    async def ask(self, method: str, path: bytes, headers: Headers, body: bytes) -> HttpAnswer:
        """Sends a request and returns its answer.

        Args:
            method: HTTP's.
            path: with its query, as it is to be sent.
            headers: without `host` and those of the body's length.
            body: the body.

        Raises:
            ServingError: UNAVAILABLE; the server does not answer.
        """
        head = [b"%s %s HTTP/1.1\r\nhost: %s\r\n" % (method.encode(), path, str(self.address).encode())]
        head += [b"%s: %s\r\n" % pair for pair in headers]
        if body or method in ("POST", "PUT", "PATCH"):
            head.append(b"content-length: %d\r\n" % len(body))
        request = b"".join((*head, b"\r\n", body))
        while True:
            connection = self._rested()
            reused = connection is not None
            connection = connection or await self._connect()
            try:
                answer = await connection.ask(request, method == "HEAD")
            except _Ended as error:
                # The server may end a connection that rests just when it is used again.
                if reused and error.silent:
                    continue
                raise ServingError(Code.UNAVAILABLE, unreachable(self.address)) from error
            except BaseException:
                connection.close()
                raise
            if connection.lasts:
                self._idle.append(connection)
            else:
                connection.close()
            return answer

    def close(self) -> None:
        """Ends the connections that rest."""
        for connection in self._idle:
            connection.close()
        self._idle.clear()

    def _rested(self) -> _Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.lasts:
                return connection
        return None

    async def _connect(self) -> _Connection:
        connecting = asyncio.get_running_loop().create_connection(_Connection, self.address.host, self.address.port)
        try:
            _, connection = await asyncio.wait_for(connecting, _CONNECT_SECONDS)
        except (OSError, asyncio.TimeoutError) as error:
            why = str(error) or "no connection in time"
            raise ServingError(Code.UNAVAILABLE, f"{unreachable(self.address)} ({why})") from error
        return connection


class _Connection(asyncio.Protocol):
    """A connection; one request at a time. Those named `on_…` are called by the parser.

    Attributes:
        lasts: whether another request can be sent.
    """

    def __init__(self) -> None:
        self.lasts = True
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._answer: asyncio.Future[HttpAnswer] | None = None
        self._silent = True
        self._bodyless = False
        self._by_length = True
        self._headers: list[tuple[bytes, bytes]] = []
        self._parts: list[bytes] = []
        self._status = 0

    async def ask(self, request: bytes, bodyless: bool) -> HttpAnswer:
        """Sends a request and returns its answer.

        Args:
            request: all of it.
            bodyless: whether the answer has no body, whatever its headers say.

        Raises:
            _Ended: the connection has ended before.
        """
        assert self._transport is not None
        if not self.lasts:
            raise _Ended(silent=True)
        self._answer = asyncio.get_running_loop().create_future()
        self._silent, self._bodyless = True, bodyless
        self._transport.write(request)
        return await self._answer

    def close(self) -> None:
        """Ends the connection."""
        self.lasts = False
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio."""
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        self._silent = False
        if self._answer is None or self._answer.done():
            self.close()  # Nobody has asked.
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._fail()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        self.lasts = False
        if self._status and not self._by_length and exc is None:
            self._complete()
        self._fail()

    def on_message_begin(self) -> None:
        """Begins an answer."""
        self._headers, self._parts, self._status, self._by_length = [], [], 0, False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Takes a header."""
        name = name.lower()
        self._by_length |= name in (b"content-length", b"transfer-encoding")
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Knows what follows."""
        self._status = self._parser.get_status_code()
        if self._status >= 200:
            self.lasts &= self._parser.should_keep_alive() and not self._bodyless
            if self._bodyless:
                self._complete()

    def on_body(self, body: bytes) -> None:
        """Takes a part of the body."""
        self._parts.append(body)

    def on_message_complete(self) -> None:
        """Ends an answer, unless it only says that another will follow."""
        if self._status >= 200:
            self._complete()

    def _complete(self) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(HttpAnswer(self._status, self._headers, b"".join(self._parts)))

    def _fail(self) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(_Ended(self._silent))
        self.close()
