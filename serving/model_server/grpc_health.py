"""`grpc.health.v1.Health`: whether requests should be sent here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
from grpc_health.v1 import health_pb2  # type: ignore[import-untyped]

from serving.model_server.errors import ServingError
from serving.model_server.grpc_calls import parse

# The empty name stands for the server as a whole.
SERVICES = ("", "ModelService", "PredictionService")

_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


class GrpcHealth(grpc.GenericRpcHandler):
    """Says SERVING for each of `SERVICES`, and NOT_SERVING once the server drains. Needs no token."""

    def __init__(self) -> None:
        self._draining = asyncio.Event()
        self._methods = {
            "/grpc.health.v1.Health/Check": grpc.unary_unary_rpc_method_handler(self._check),
            "/grpc.health.v1.Health/Watch": grpc.unary_stream_rpc_method_handler(self._watch),
        }

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        """Returns what answers a request, or None for another service's method."""
        return self._methods.get(handler_call_details.method)

    def drain(self) -> None:
        """Says NOT_SERVING from now on, to those who watch too, and lets them go."""
        self._draining.set()

    async def _check(self, raw: bytes, context: Any) -> bytes:
        service = await _service(raw, context)
        if service not in SERVICES:
            await context.abort(grpc.StatusCode.NOT_FOUND, "service name unknown")
        return self._answer(service)

    async def _watch(self, raw: bytes, context: Any) -> AsyncIterator[bytes]:
        service = await _service(raw, context)
        yield self._answer(service)
        if not self._draining.is_set():
            await self._draining.wait()
            yield self._answer(service)

    def _answer(self, service: str) -> bytes:
        status = _NOT_SERVING if self._draining.is_set() else _SERVING
        return health_pb2.HealthCheckResponse(status=status if service in SERVICES else _UNKNOWN).SerializeToString()


async def _service(raw: bytes, context: Any) -> str:
    try:
        return parse(health_pb2.HealthCheckRequest, raw).service
    except ServingError as e:
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, e.message)
        raise
