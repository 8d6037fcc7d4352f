"""One gRPC request: let in, read, answered, and told what went wrong.

gRPC takes it for the handler of a method whose request is a stream. So its body is read here: nothing is read of a
request that is refused, and one that comes too slowly gets its error.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import grpc
import grpc.aio

from serving.model_server.errors import Code, ServingError
from serving.model_server.grpc_calls import Management, parse
from serving.model_server.pace import MAX_BYTES
from serving.model_server.request_id import HEADER
from serving.model_server.tokens import Role

if TYPE_CHECKING:
    from serving.model_server.grpc_service import GrpcService

_LOG = logging.getLogger(__name__)
_STATUS = {code: next(s for s in grpc.StatusCode if s.value[0] == code) for code in Code}
_MAX_MESSAGE_BYTES = 1024
_T = TypeVar("_T")


class Call:
    """A request to any method.

    Args:
        service: what it is made to.
        role: what the caller must be allowed.
        metadata: names and values.
    """

    request_streaming = True
    response_streaming = False
    request_deserializer = None
    response_serializer = None

    def __init__(self, service: GrpcService, role: Role, metadata: Any) -> None:
        self.clock = time.perf_counter()
        self.overdue = False
        self.service = service
        self.headers: dict[str, str] = dict(metadata)
        self.id = service.request_ids.of(self.headers.get(HEADER))
        self._role = role
        self._entered = False
        self._thread_has_it = False

    async def answer(self, raw: bytes) -> bytes:
        """Returns the serialized answer to a serialized request.

        Raises:
            ServingError: there is none.
        """
        raise NotImplementedError

    def failed(self, error: ServingError) -> None:
        """Takes note of what the caller is told, unless a thread still has the request."""

    async def stream_unary(self, _: Any, context: grpc.aio.ServicerContext[Any, Any]) -> bytes:
        """Reads and answers the request; gRPC calls it."""
        service = self.service
        context.set_trailing_metadata(((HEADER, self.id),))
        try:
            try:
                service.access.authorize(self.headers.get("authorization"), self._role)
                service.access.enter()
                self._entered = True
                if service.under_way is not None:
                    service.under_way[self] = asyncio.current_task()
                raw = await context.read()
                if raw is grpc.aio.EOF:
                    raise ServingError(Code.INVALID_ARGUMENT, "No message was sent")
                return await self.answer(raw)
            finally:
                if service.under_way is not None:
                    service.under_way.pop(self, None)
                if self._entered and not self._thread_has_it:
                    service.access.leave()
        except ServingError as e:
            error = e
        except asyncio.CancelledError:
            if not self.overdue:
                raise
            error = self.too_slow()
        if not self._thread_has_it:
            self.failed(error)
        message = error.message.encode("utf-8", "replace")
        if len(message) > _MAX_MESSAGE_BYTES:
            message = message[:_MAX_MESSAGE_BYTES] + b"...TRUNCATED"
        await context.abort(_STATUS[error.code], message.decode("utf-8", "ignore"))
        raise AssertionError("abort raises")

    async def in_thread(self, work: Callable[[], _T]) -> _T:
        """Runs something in a thread, which counts the request out even if nobody waits for it any more."""
        try:
            future = self.service.executor.submit(self._then_leave, work)
        except RuntimeError as e:
            raise ServingError(Code.UNAVAILABLE, "The server is shutting down") from e
        self._thread_has_it = True
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            self._thread_has_it = not future.cancel()
            raise

    def too_slow(self) -> ServingError:
        """Returns what the caller is told of a request that took longer than it may."""
        limit = self.service.access.limits.request_seconds
        return ServingError(Code.DEADLINE_EXCEEDED, f"The request took more than {limit:g} seconds")

    def explained(self, error: Exception) -> ServingError:
        """Returns what the caller is told of any error."""
        if isinstance(error, ServingError):
            return error
        if isinstance(error, MemoryError):
            return ServingError(Code.RESOURCE_EXHAUSTED, "The server has not enough memory for this request")
        _LOG.error("request %s failed", self.id, exc_info=error)
        return ServingError(Code.INTERNAL, f"The server failed. Its log says more about request {self.id}")

    def _then_leave(self, work: Callable[[], _T]) -> _T:
        try:
            return work()
        finally:
            self.service.access.leave()


class ManagementCall(Call):
    """A request that asks or changes the manager."""

    def __init__(self, service: GrpcService, method: Management, metadata: Any) -> None:
        super().__init__(service, method.role, metadata)
        self._method = method

    async def answer(self, raw: bytes) -> bytes:
        """See `Call`."""
        if self._method.waits or len(raw) > MAX_BYTES:
            return await self.in_thread(lambda: self._answer(raw))
        return self._answer(raw)

    def _answer(self, raw: bytes) -> bytes:
        try:
            return self._method.answer(self.service.manager, parse(self._method.message, raw), self.service.metrics)
        except Exception as e:
            raise self.explained(e) from e
