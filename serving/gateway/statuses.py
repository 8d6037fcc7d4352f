"""Codes of gRPC and of HTTP as the canonical ones, for what a gateway notes of an answer."""

from __future__ import annotations

from typing import Any

import grpc

from serving.model_server.errors import Code
from serving.model_server.rest_answer import HTTP_STATUS

GRPC_STATUS: dict[Code, Any] = {code: next(s for s in grpc.StatusCode if s.value[0] == code) for code in Code}
"""Canonical code to gRPC's."""

_CODES = {status: code for code, status in GRPC_STATUS.items()}
# Several codes have one status; the first is the one that requests are mostly refused with.
_OF_HTTP: dict[int, Code] = {}
for _code, _status in HTTP_STATUS.items():
    _OF_HTTP.setdefault(_status, _code)
_OF_HTTP[500] = Code.INTERNAL


def code_of_grpc(status: Any) -> Code:
    """Returns the canonical code of a `grpc.StatusCode`."""
    return _CODES.get(status, Code.UNKNOWN)


def code_of_http(status: int) -> Code:
    """Returns the canonical code of an HTTP status; of several the likeliest."""
    if 200 <= status < 400:
        return Code.OK
    return _OF_HTTP.get(status, Code.INVALID_ARGUMENT if status < 500 else Code.INTERNAL)
