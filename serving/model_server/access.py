"""Who may call the server, and how much of it one caller can use up. The same for gRPC and REST."""

from __future__ import annotations

import dataclasses
import threading

from serving.model_server.errors import Code, ServingError
from serving.model_server.tls import Tls
from serving.model_server.tokens import Role, TokenFile

INT32_MAX = 2**31 - 1


@dataclasses.dataclass(frozen=True)
class Limits:
    """The largest request that is taken. None means no limit, as in TensorFlow Serving.

    Attributes:
        message_bytes: bytes of a request or an answer.
        header_bytes: bytes of all headers of a request together.
        batch_rows: size of an input's first dimension, or number of examples.
        concurrent_requests: requests under way at one time, over both APIs.
        request_seconds: from the arrival of a request's headers to its answer.
    """

    message_bytes: int = INT32_MAX
    header_bytes: int = 16384
    batch_rows: int | None = None
    concurrent_requests: int | None = None
    request_seconds: float | None = None


class Access:
    """Lets requests in or refuses them. Safe to use from several threads.

    Args:
        tokens: the tokens that are known, or None to let everybody in.
        tls: the certificates of both ports, or None to serve in the clear.
        limits: the largest request.
    """

    def __init__(
        self, *, tokens: TokenFile | None = None, tls: Tls | None = None, limits: Limits | None = None
    ) -> None:
        self.tokens = tokens
        self.tls = tls
        self.limits = limits or Limits()
        self._under_way = 0
        self._lock = threading.Lock()

    def authorize(self, header: str | None, needed: Role = Role.READ) -> None:
        """Checks a caller's token.

        Args:
            header: the request's `authorization`, or None where it has none.
            needed: the role that the call asks for.

        Raises:
            ServingError: UNAUTHENTICATED (no token or an unknown one) or PERMISSION_DENIED (the role is too low).
        """
        if self.tokens is None:
            return
        if not header:
            raise ServingError(
                Code.UNAUTHENTICATED, "No token was sent. Expected the header: authorization: Bearer TOKEN"
            )
        scheme, _, token = header.partition(" ")
        role = self.tokens.role(token.strip()) if scheme.lower() == "bearer" else None
        if role is None:
            raise ServingError(
                Code.UNAUTHENTICATED,
                "The token is not one of this server's. Expected the header: authorization: Bearer TOKEN",
            )
        if role < needed:
            raise ServingError(
                Code.PERMISSION_DENIED,
                f"This call needs a token of role {needed.name.lower()}; the one sent has role {role.name.lower()}",
            )

    def enter(self) -> None:
        """Counts a request in; each one that was let in must `leave`.

        Raises:
            ServingError: RESOURCE_EXHAUSTED; too many are under way.
        """
        limit = self.limits.concurrent_requests
        with self._lock:
            if limit is not None and self._under_way >= limit:
                raise ServingError(
                    Code.RESOURCE_EXHAUSTED, f"More than {limit} requests are under way. Try again later"
                )
            self._under_way += 1

    def leave(self) -> None:
        """Counts a request out."""
        with self._lock:
            self._under_way -= 1

    @property
    def under_way(self) -> int:
        """How many requests are in."""
        return self._under_way

    def check_rows(self, rows: int) -> None:
        """Checks the size of a batch.

        Raises:
            ServingError: INVALID_ARGUMENT; it is too large.
        """
        limit = self.limits.batch_rows
        if limit is not None and rows > limit:
            raise ServingError(
                Code.INVALID_ARGUMENT, f"A request may have {limit} rows at most, not {rows}. Send it in parts"
            )
