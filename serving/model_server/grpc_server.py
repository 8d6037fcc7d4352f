"""The gRPC server: its ports, its options, its start and its end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import uvloop

from schema.errors import UsageError
from serving.model_server.access import Access
from serving.model_server.grpc_health import GrpcHealth
from serving.model_server.grpc_port import host_and_port, listen, server_options
from serving.model_server.grpc_service import GrpcService
from serving.model_server.hooks import Hooks, NoHooks
from serving.model_server.pace import Pace

if TYPE_CHECKING:
    from serving.model_server.manager import Manager
    from serving.model_server.metrics import Metrics

_LOG = logging.getLogger(__name__)


class GrpcServer:
    """Serves a manager's models by gRPC. To be started and stopped in one event loop.

    Args:
        manager: where the models are.
        port: TCP port; 0 for any that is free, None for none.
        address: the address to listen on.
        socket_path: path of a UNIX socket to listen on besides, or empty.
        access: who may call, and how much; everybody and everything unless given.
        hooks: what is called around each prediction.
        metrics: where requests are counted, or None.
        health: whether the health service answers.
        as_content: Predict answers in `tensor_content` instead of the typed fields.
        inline: whether quick requests run in the loop. Not for batching, where a request waits for others.
        gather: whether quick Predict requests that are there at the same moment run as one batch. Only for models that
            answer a row in a batch as they answer it alone.
        max_threads: threads for the others; None for four a CPU, as in TensorFlow Serving.
        channel_arguments: `name=value,name=value`, whole numbers as such; they come after those set here.

    Attributes:
        port: the TCP port; after `start` the one that was free, if it was 0.

    Raises:
        UsageError: there is nothing to listen on, or a channel argument cannot be read.
    """

    def __init__(
        self,
        manager: Manager,
        *,
        port: int | None = 0,
        address: str = "0.0.0.0",
        socket_path: str = "",
        access: Access | None = None,
        hooks: Hooks | None = None,
        metrics: Metrics | None = None,
        health: bool = False,
        as_content: bool = False,
        inline: bool = True,
        gather: bool = False,
        max_threads: int | None = None,
        channel_arguments: str = "",
    ) -> None:
        if port is None and not socket_path:
            raise UsageError("a gRPC server must have a port or a socket path. Got neither")
        self.port = port
        self._address = address
        self._socket_path = socket_path
        self._access = access or Access()
        self._options = server_options(self._access, channel_arguments)
        self._executor = ThreadPoolExecutor(max_threads or 4 * (os.cpu_count() or 1), thread_name_prefix="grpc")
        self._service = GrpcService(
            manager,
            access=self._access,
            hooks=hooks or NoHooks(),
            metrics=metrics,
            executor=self._executor,
            pace=Pace(inline),
            as_content=as_content,
            gather=gather,
        )
        self._health_wanted = health
        self._health: GrpcHealth | None = None
        self._server: Any = None
        self._clock: asyncio.Task[Any] | None = None

    async def start(self) -> None:
        """Opens the ports.

        Raises:
            UsageError: a port is taken, the socket cannot be made, or the certificates are wrong.
        """
        # Made here, since gRPC binds it to the loop that runs.
        self._server = server = grpc.aio.server(options=self._options)
        handlers: list[grpc.GenericRpcHandler] = [self._service]
        if self._health_wanted:
            self._health = GrpcHealth()
            handlers.append(self._health)
        server.add_generic_rpc_handlers(handlers)
        if self.port is not None:
            self.port = listen(server, host_and_port(self._address, self.port), self._access)
        if self._socket_path:
            listen(server, f"unix:{self._socket_path}", self._access)
        await server.start()
        if self._access.limits.request_seconds:
            self._clock = asyncio.create_task(self._service.watch_clock())

    async def stop(self, grace: float | None = None) -> None:
        """Takes no more requests, lets those under way finish, and closes the ports.

        Args:
            grace: seconds after which those still under way are cut off; None to cut them off at once.
        """
        if self._health is not None:
            self._health.drain()
        if self._server is not None:
            await self._server.stop(grace)
        if self._clock is not None:
            self._clock.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._clock
        # A thread that TensorFlow keeps busy cannot be ended.
        self._executor.shutdown(wait=False, cancel_futures=True)


class GrpcThread:
    """A gRPC server in a thread and an event loop of its own.

    Args:
        server: the server.
    """

    def __init__(self, server: GrpcServer) -> None:
        self.server = server
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="grpc-server", daemon=True)

    def start(self) -> None:
        """Opens the ports; returns once they are open.

        Raises:
            UsageError: see `GrpcServer.start`.
        """
        self._thread.start()
        try:
            asyncio.run_coroutine_threadsafe(self.server.start(), self._loop).result()
        except BaseException:
            self.stop()
            raise

    def stop(self, grace: float | None = None) -> None:
        """See `GrpcServer.stop`; returns once it is done."""
        if self._loop.is_closed():
            return
        try:
            asyncio.run_coroutine_threadsafe(self.server.stop(grace), self._loop).result()
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()
