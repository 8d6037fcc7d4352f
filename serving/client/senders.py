"""The transport: bytes to a server and back, once. What to do when that fails is for others to decide."""

from __future__ import annotations

from typing import Protocol

from serving.client.calls import Call

Headers = list[tuple[str, str]]
"""Names in lower case, as gRPC wants them."""

_DISTRUST = ("SSL_ERROR_SSL", "[SSL", "Hostname Verification", "not in peer certificate")
"""What messages have in them when one side does not trust the other. It will not the next time either."""


class Sender(Protocol):
    """A way to a server. Blocking ones have `async` methods too, that never wait for the event loop."""

    concurrent: bool
    """Whether several requests can be under way in one event loop."""

    async def send(self, call: Call, seconds: float, headers: Headers) -> bytes:
        """Sends a request once and returns the answer's body.

        Raises:
            SendFailed: there is no answer within `seconds`, or it is an error.
        """

    async def sleep(self, seconds: float) -> None:
        """Waits."""

    async def close(self) -> None:
        """Closes connections."""


def distrusted(message: str) -> bool:
    """Tells whether a message says that one side does not trust the other."""
    return any(words in message for words in _DISTRUST)
