"""The gateway's gRPC server: its port, its start and its end."""

from __future__ import annotations

from typing import Any

import grpc
import grpc.aio

from serving import messages
from serving.gateway.grpc_inference import Inference
from serving.gateway.grpc_proxy import Admin, Forbidden, GrpcProxy, Health, Passed, Unary
from serving.gateway.models import UpstreamModels
from serving.gateway.request_wire import METHODS
from serving.gateway.upstream import Upstream
from serving.model_server.access import Access
from serving.model_server.grpc_port import host_and_port, listen, server_options
from serving.model_server.hooks import Hooks
from serving.model_server.metrics import Metrics

_KINDS: dict[str, type[Passed]] = {
    **dict.fromkeys(METHODS, Inference),
    messages.GET_MODEL_METADATA.path: Unary,
    messages.GET_MODEL_STATUS.path: Unary,
    messages.RELOAD_CONFIG.path: Admin,
    messages.HEALTH_CHECK.path: Health,
    messages.HEALTH_WATCH.path: Health,
}


class GrpcGateway(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Passes gRPC on. To be started and stopped in one event loop.

    Args:
        upstream: where requests go.
        models: which versions they are led to.
        address: the address to listen on.
        port: TCP port; 0 for any that is free.
        access: who may call, and how much.
        hooks: what is called around each prediction.
        metrics: where requests are counted.

    Attributes:
        port: the TCP port; after `start` the one that was free, if it was 0.
    """

    def __init__(
        self,
        upstream: Upstream,
        models: UpstreamModels,
        *,
        address: str,
        port: int,
        access: Access,
        hooks: Hooks,
        metrics: Metrics,
    ) -> None:
        self.port = port
        self._upstream = upstream
        self._models = models
        self._address = address
        self._access = access
        self._hooks = hooks
        self._metrics = metrics
        self._proxy: GrpcProxy | None = None
        self._server: Any = None

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        """Returns what passes a request on."""
        assert self._proxy is not None
        path = handler_call_details.method
        kind = _KINDS.get(path, Passed)
        if kind is Admin and self._models.alone:
            kind = Forbidden
        return kind(self._proxy, path, handler_call_details.invocation_metadata).handler()

    async def start(self) -> None:
        """Opens the port.

        Raises:
            UsageError: it is taken, or the certificates are wrong.
        """
        self._proxy = GrpcProxy(
            self._upstream, self._models, access=self._access, hooks=self._hooks, metrics=self._metrics
        )
        self._server = grpc.aio.server(options=server_options(self._access))
        self._server.add_generic_rpc_handlers([self])
        self.port = listen(self._server, host_and_port(self._address, self.port), self._access)
        await self._server.start()

    async def stop(self, grace: float | None = None) -> None:
        """Takes no more requests, lets those under way finish, and closes the port.

        Args:
            grace: seconds after which those still under way are cut off; None to cut them off at once.
        """
        if self._proxy is not None:
            self._proxy.draining.set()
        if self._server is not None:
            await self._server.stop(grace)
        if self._proxy is not None:
            await self._proxy.channel.close()
