"""Bodies of REST requests: received and unpacked, neither beyond a bound."""

from __future__ import annotations

import zlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

Receive = Callable[[], Awaitable[Any]]

_GZIP = 16 + zlib.MAX_WBITS


class BodyTooLarge(Exception):
    """A body is larger than it may be."""


class Disconnected(Exception):
    """The client went away, or was sent away, before its request was complete."""


async def receive_body(receive: Receive, headers: Mapping[bytes, bytes], limit: int) -> bytes:
    """Returns a request's body, as it was sent.

    Args:
        receive: ASGI's.
        headers: lower-case names to values.
        limit: bytes.

    Raises:
        BodyTooLarge: it is larger than the limit.
        Disconnected: the rest of it will not come.
    """
    # Told before it is sent: uvicorn throws away what still comes, so that the client lives to read its error.
    announced = headers.get(b"content-length", b"0")
    if len(announced) > 18 or int(announced) > limit:
        raise BodyTooLarge
    parts: list[bytes] = []
    size = 0
    more = True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise Disconnected
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > limit:
            raise BodyTooLarge
        more = message.get("more_body", False)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def is_compressed(headers: Mapping[bytes, bytes]) -> bool:
    """Returns whether a body is to be unpacked, by TensorFlow Serving's rule."""
    return b"gzip" in headers.get(b"content-encoding", b"")


def unpacked(body: bytes, limit: int) -> bytes:
    """Returns a gzip-compressed body unpacked; one that cannot be unpacked is empty, as in TensorFlow Serving.

    Args:
        body: the compressed bytes.
        limit: bytes of what comes out of them.

    Raises:
        BodyTooLarge: more comes out.
    """
    decoder = zlib.decompressobj(_GZIP)
    try:
        content = decoder.decompress(body, limit + 1)
    except zlib.error:
        return b""
    if len(content) > limit:
        raise BodyTooLarge
    return content if decoder.eof else b""
