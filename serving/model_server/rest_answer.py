"""Answers of the REST server: status, headers and body."""

from __future__ import annotations

from serving.model_server import json_results
from serving.model_server.errors import Code, ServingError

HTTP_STATUS = {
    Code.OK: 200,
    Code.CANCELLED: 499,
    Code.UNKNOWN: 500,
    Code.INVALID_ARGUMENT: 400,
    Code.DEADLINE_EXCEEDED: 504,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.PERMISSION_DENIED: 403,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.FAILED_PRECONDITION: 400,
    Code.ABORTED: 409,
    Code.OUT_OF_RANGE: 400,
    Code.UNIMPLEMENTED: 501,
    Code.INTERNAL: 500,
    Code.UNAVAILABLE: 503,
    Code.DATA_LOSS: 500,
    Code.UNAUTHENTICATED: 401,
}
JSON = "application/json"


class Answer:
    """An answer.

    Args:
        body: its body.
        code: how the request ended.
        status: the HTTP status; None for the one of the code.
        content_type: the body's; empty for no header.

    Attributes:
        closes: whether the connection ends with it.
    """

    __slots__ = ("body", "code", "status", "content_type", "closes")

    def __init__(self, body: bytes, code: Code = Code.OK, status: int | None = None, content_type: str = JSON) -> None:
        self.body = body
        self.code = code
        self.status = HTTP_STATUS[code] if status is None else status
        self.content_type = content_type
        self.closes = False

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Returns its headers."""
        headers = [(b"content-length", b"%d" % len(self.body))]
        if self.content_type:
            headers.append((b"content-type", self.content_type.encode()))
        if self.status == 401:
            headers.append((b"www-authenticate", b"Bearer"))
        if self.closes:
            headers.append((b"connection", b"close"))
        return headers


class TooLarge(ServingError):
    """A request is larger than it may be. HTTP has a status of its own for that."""

    def __init__(self, what: str, limit: int) -> None:
        super().__init__(Code.RESOURCE_EXHAUSTED, f"The request's {what} may have {limit} bytes at most")


def error_answer(error: ServingError) -> Answer:
    """Returns the answer to a request that failed."""
    return Answer(json_results.error(error.message), error.code, 413 if isinstance(error, TooLarge) else None)


def page(status: int, body: bytes, content_type: str) -> Answer:
    """Returns a page that is no part of the API."""
    return Answer(body, status=status, content_type=content_type)
