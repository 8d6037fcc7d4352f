"""The gateway's gRPC service: every method of every service, passed on as bytes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterable
from typing import Any

import grpc
import grpc.aio

from serving import messages
from serving.gateway.models import UpstreamModels
from serving.gateway.statuses import GRPC_STATUS, code_of_grpc
from serving.gateway.upstream import CHANNEL_OPTIONS, Upstream, unreachable
from serving.model_server.access import Access
from serving.model_server.errors import Code, ServingError
from serving.model_server.hooks import Hooks
from serving.model_server.metrics import Metrics
from serving.model_server.request_id import HEADER, RequestIds
from serving.model_server.tokens import Role

_LOG = logging.getLogger(__name__)
_HEALTH = ("/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch")
# What belongs to the connection, and what gRPC writes itself.
_OWN = frozenset({"user-agent", "content-type", "te", "host", "accept-encoding"})
_DONE = (asyncio.InvalidStateError, grpc.aio.AioRpcError, grpc.aio.UsageError, grpc.aio.InternalError)
"""What is raised by whatever comes too late for a call."""
_MORE_SECONDS = 0.02
"""How long the end of a request of one message may be behind it."""
_NOT_SERVING = messages.HealthCheckResponse(
    status=messages.HealthCheckResponse.ServingStatus.Value("NOT_SERVING")
).SerializeToString()


class GrpcProxy:
    """What all requests share.

    Args:
        upstream: where they go.
        models: which versions they are led to.
        access: who may call, and how much.
        hooks: what is called around each prediction.
        metrics: where requests are counted.
    """

    def __init__(
        self, upstream: Upstream, models: UpstreamModels, *, access: Access, hooks: Hooks, metrics: Metrics
    ) -> None:
        self.models = models
        self.access = access
        self.hooks = hooks
        self.metrics = metrics
        self.request_ids = RequestIds()
        self.draining = asyncio.Event()
        self._upstream = upstream
        # In the loop that runs, which is the server's.
        self.channel = grpc.aio.insecure_channel(upstream.grpc, CHANNEL_OPTIONS)
        self._unary: dict[str, Any] = {}

    def unary(self, path: str) -> Any:
        """Returns what calls a method that takes one message and answers one."""
        found = self._unary.get(path)
        if found is None:
            found = self._unary[path] = self.channel.unary_unary(path)
        return found

    def explained(self, error: Exception, request_id: str) -> ServingError:
        """Returns what the caller is told of an error of the gateway's own."""
        if isinstance(error, ServingError):
            return error
        _LOG.error("request %s failed", request_id, exc_info=error)
        return ServingError(Code.INTERNAL, f"The gateway failed. Its log says more about request {request_id}")

    def details(self, error: grpc.aio.AioRpcError) -> str:
        """Returns the message of an error: the server's own, unless that was not reached."""
        text = error.details() or ""
        # A server that is there says so itself.
        connected = self.channel.get_state() is grpc.ChannelConnectivity.READY
        if error.code() is grpc.StatusCode.UNAVAILABLE and not connected:
            return f"{unreachable(self._upstream.grpc)} ({text})"
        return text


class Passed:
    """A request that is passed on as it is, whatever its method takes and answers.

    Args:
        proxy: the gateway.
        path: the method.
        metadata: names and values.
    """

    role = Role.READ

    def __init__(self, proxy: GrpcProxy, path: str, metadata: Any) -> None:
        self.proxy = proxy
        self.path = path
        self.headers: dict[str, Any] = dict(metadata or ())
        self.id = proxy.request_ids.of(self.headers.get(HEADER))
        self.clock = time.perf_counter()
        self._metadata = metadata or ()
        self._overdue = False

    @property
    def outgoing(self) -> tuple[tuple[str, Any], ...]:
        """The metadata that the server gets."""
        own = _OWN if self.proxy.access.tokens is None else _OWN | {"authorization"}
        return (*(p for p in passed_metadata(self._metadata) if p[0] not in own and p[0] != HEADER), (HEADER, self.id))

    def handler(self) -> grpc.RpcMethodHandler:
        """Returns what gRPC calls."""
        return grpc.stream_stream_rpc_method_handler(self._stream)

    async def pass_on(self, context: Any) -> Any:
        """Passes the request and its answer on.

        Raises:
            ServingError: it is refused here.
            grpc.aio.AioRpcError: the server has refused it.
        """
        first = await context.read()
        after: asyncio.Future[Any] = asyncio.ensure_future(context.read())
        sending: asyncio.Future[Any] = after
        options = {"timeout": context.time_remaining(), "metadata": self.outgoing}
        await asyncio.wait({after}, timeout=_MORE_SECONDS)
        if first is not grpc.aio.EOF and after.done() and after.result() is grpc.aio.EOF:
            # As one: what is written bit by bit to a server that refuses it at once fails with an error of gRPC's own.
            call = self.proxy.channel.unary_stream(self.path)(first, **options)
        else:
            call = self.proxy.channel.stream_stream(self.path)(**options)
            sending = asyncio.create_task(_send(first, after, context, call))
        try:
            await self.initial(context, await call.initial_metadata())
            async for message in call:
                await context.write(message)
            self.trailing(context, await call.trailing_metadata())
        finally:
            after.cancel()
            sending.cancel()
            call.cancel()

    def noted(self, code: Code, message: str) -> None:
        """Takes note of how the request ended."""

    async def initial(self, context: Any, metadata: Any) -> None:
        """Hands the server's initial metadata to the caller."""
        found = tuple(pair for pair in passed_metadata(metadata) if pair[0] not in _OWN)
        if found:
            await context.send_initial_metadata(found)

    def trailing(self, context: Any, metadata: Any) -> None:
        """Hands the server's trailing metadata to the caller, with the request's id."""
        found = [pair for pair in passed_metadata(metadata) if pair[0] not in _OWN and pair[0] != HEADER]
        context.set_trailing_metadata((*found, (HEADER, self.id)))

    async def answered(self, context: Any) -> Any:
        """Lets the request in, passes it on, and tells the caller what went wrong."""
        access = self.proxy.access
        self.trailing(context, ())
        timer = None
        entered = False
        try:
            access.authorize(self.headers.get("authorization"), self.role)
            access.enter()
            entered = True
            if access.limits.request_seconds is not None:
                task = asyncio.current_task()
                assert task is not None
                timer = asyncio.get_running_loop().call_later(access.limits.request_seconds, self._too_slow, task)
            return await self.pass_on(context)
        except grpc.aio.AioRpcError as error:
            self.trailing(context, error.trailing_metadata())
            code, message = code_of_grpc(error.code()), self.proxy.details(error)
            with contextlib.suppress(*_DONE):
                await self.initial(context, error.initial_metadata())
        except asyncio.CancelledError:
            if not self._overdue:
                raise
            code = Code.DEADLINE_EXCEEDED
            message = f"The request took more than {access.limits.request_seconds:g} seconds"
        except Exception as error:
            refused = self.proxy.explained(error, self.id)
            code, message = refused.code, refused.message
        finally:
            if timer is not None:
                timer.cancel()
            if entered:
                access.leave()
        self.noted(code, message)
        await context.abort(GRPC_STATUS[code], message)

    async def _stream(self, _: Any, context: Any) -> None:
        await self.answered(context)

    def _too_slow(self, task: asyncio.Task[Any]) -> None:
        self._overdue = True
        task.cancel()


class Unary(Passed):
    """A request of one message that is answered by one."""

    def handler(self) -> grpc.RpcMethodHandler:
        """Returns what gRPC calls. Nothing is read of a request that is refused, so that it reads the body itself."""
        return grpc.stream_unary_rpc_method_handler(self._unary)

    async def pass_on(self, context: Any) -> bytes:
        """See `Passed`."""
        return await self.ask(await self.read(context), context)

    async def read(self, context: Any) -> bytes:
        """Returns the request.

        Raises:
            ServingError: INVALID_ARGUMENT; there is none.
        """
        raw = await context.read()
        if raw is grpc.aio.EOF:
            raise ServingError(Code.INVALID_ARGUMENT, "No message was sent")
        return bytes(raw)

    async def ask(self, raw: bytes, context: Any) -> bytes:
        """Returns the server's answer to a request.

        Raises:
            grpc.aio.AioRpcError: it has refused it.
        """
        call = self.proxy.unary(self.path)(raw, timeout=context.time_remaining(), metadata=self.outgoing)
        try:
            answer: bytes = await call
            await self.initial(context, await call.initial_metadata())
            self.trailing(context, await call.trailing_metadata())
        except asyncio.CancelledError:
            # Of the caller, or of the gateway's own clock.
            call.cancel()
            raise
        return answer

    async def _unary(self, _: Any, context: Any) -> Any:
        return await self.answered(context)


class Admin(Unary):
    """A request that changes what is served."""

    role = Role.ADMIN


class Forbidden(Admin):
    """The same where the release ledger alone decides what is served."""

    async def pass_on(self, context: Any) -> bytes:
        """See `Passed`.

        Raises:
            ServingError: PERMISSION_DENIED.
        """
        raise ServingError(
            Code.PERMISSION_DENIED, "Only signed releases are served, those that the release ledger names"
        )


class Health(Passed):
    """A request whether the server is well. It needs no token and counts for nothing; a gateway that drains is not."""

    async def answered(self, context: Any) -> Any:
        """See `Passed`."""
        draining = asyncio.create_task(self.proxy.draining.wait())
        passing = asyncio.create_task(self.pass_on(context))
        try:
            await asyncio.wait({draining, passing}, return_when=asyncio.FIRST_COMPLETED)
            if not draining.done():
                await passing
                return
        except grpc.aio.AioRpcError as error:
            self.trailing(context, error.trailing_metadata())
            await context.abort(error.code(), self.proxy.details(error))
        finally:
            for task in (draining, passing):
                task.cancel()
            await asyncio.gather(draining, passing, return_exceptions=True)
        await context.write(_NOT_SERVING)


def passed_metadata(metadata: Any) -> Iterable[tuple[str, Any]]:
    """Returns the pairs of metadata that are not gRPC's own."""
    for key, value in metadata or ():
        # The details of an error are the application's, in spite of their name.
        if not key.startswith(("grpc-", ":")) or key == "grpc-status-details-bin":
            yield key, value


async def _send(first: Any, after: asyncio.Future[Any], context: Any, call: Any) -> None:
    # It may answer without reading to the end.
    with contextlib.suppress(*_DONE):
        if first is not grpc.aio.EOF:
            await call.write(first)
        message = await after
        while message is not grpc.aio.EOF:
            await call.write(message)
            message = await context.read()
        await call.done_writing()
