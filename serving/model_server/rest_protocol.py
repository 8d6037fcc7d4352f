"""HTTP connections that cannot be held open for free: a request must arrive whole in time, its headers in bounds.

uvicorn looks after connections that rest between requests, but not after those that send a request bit by bit, nor
after the size of headers.
"""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from serving.model_server import json_results
from serving.model_server.rest_answer import JSON


@dataclasses.dataclass(frozen=True)
class Bounds:
    """What a connection may take.

    Attributes:
        header_bytes: the request line and all headers together.
        receive_seconds: from the first byte of a request (or the connection's begin) to its last; None for ever.
    """

    header_bytes: int
    receive_seconds: float | None


class BoundedProtocol(HttpToolsProtocol):
    """A connection within bounds. Those of a server are an attribute of a class of its own: see `bounded`."""

    bounds: Bounds

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Starts the clock: a client that connects has something to say."""
        self._head_bytes = 0
        self._in_head = True
        self._refused = False
        self._clock: asyncio.TimerHandle | None = None
        super().connection_made(transport)
        self._start_clock()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops the clock."""
        self._stop_clock()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Takes what has come, unless too much has."""
        if self._refused:
            return
        if self._in_head and self._clock is None:
            self._start_clock()
        self._head_bytes += len(data) if self._in_head else 0
        super().data_received(data)
        if self._in_head and self._head_bytes > self.bounds.header_bytes:
            self._refuse_head()

    def on_message_begin(self) -> None:
        """Begins a request; others may stand behind it in the same bytes."""
        self._sizes = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Counts and keeps a part of the path."""
        self._sizes += len(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Counts and keeps a header, or a trailer that comes after the body."""
        self._sizes += len(name) + len(value) + len(": \r\n")
        if self._sizes <= self.bounds.header_bytes:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Starts the request, unless its headers are too large."""
        self._in_head = False
        self._head_bytes = 0
        if self._sizes > self.bounds.header_bytes:
            self._refuse_head()
        elif not self._refused:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Hands on a part of the body."""
        if not self._refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Stops the clock."""
        self._in_head = True
        self._stop_clock()
        if not self._refused:
            super().on_message_complete()

    def _start_clock(self) -> None:
        if self.bounds.receive_seconds is not None:
            self._clock = self.loop.call_later(self.bounds.receive_seconds, self._too_slow)

    def _stop_clock(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None

    def _too_slow(self) -> None:
        self._clock = None
        self._refuse(408, f"The request did not arrive whole within {self.bounds.receive_seconds:g} seconds")

    def _refuse_head(self) -> None:
        self._refuse(431, f"The request's headers may have {self.bounds.header_bytes} bytes at most")

    def _refuse(self, status: int, message: str) -> None:
        """Answers in place of the application and ends the connection."""
        if self._refused or self.transport.is_closing():
            return
        self._refused = True
        # The answer to an earlier request, which may still be under way, must not be cut in two.
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            body = json_results.error(message)
            self.transport.write(
                STATUS_LINE[status]
                + f"content-length: {len(body)}\r\ncontent-type: {JSON}\r\nconnection: close\r\n\r\n".encode()
                + body
            )
        self.transport.close()


def bounded(bounds: Bounds) -> type[BoundedProtocol]:
    """Returns the class of a server's connections."""
    attributes: dict[str, Any] = {"bounds": bounds}
    return type("BoundedProtocol", (BoundedProtocol,), attributes)
