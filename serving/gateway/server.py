"""The gateway of a line: what stands in front of TensorFlow Serving, its ports, and its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import uvloop
from prometheus_client import Gauge

from schema.errors import UsageError
from serving.capture.hook import CaptureHook
from serving.gateway.digests import Digests
from serving.gateway.grpc_gateway import GrpcGateway
from serving.gateway.http_upstream import HttpUpstream
from serving.gateway.model_config_file import ModelConfigFile
from serving.gateway.models import UpstreamModels, Written
from serving.gateway.rest_proxy import RestProxy
from serving.gateway.signed_versions import signed_versions
from serving.gateway.upstream import Upstream, UpstreamClient
from serving.ledger import Ledger
from serving.line_server.hooks import LineHooks
from serving.line_server.served_line import ServedLine
from serving.line_server.shadow import Shadow
from serving.model_server.draining import serve_until_signal
from serving.model_server.http_server import HttpServer
from serving.model_server.metrics import Metrics
from serving.model_server.rest_protocol import Bounds


class Gateway:
    """Passes requests for a line on to the server behind it, by gRPC and REST.

    Args:
        line: the line.
        upstream: where that server is.
        host: the address to listen on.
        port: gRPC's port; 0 for any that is free.
        rest_port: REST's port; 0 for any that is free.
        model_config: the model config file by which that server is led, or None where it finds its versions itself.
        model_base_path: the model base path as that server sees it; by default as the gateway does.
        verify: whether only models get into that file whose digest is the ledger's.
        waits: whether the ports open only once the live version can be served.

    Attributes:
        models: the versions that requests are led to.
        port: gRPC's port, once it runs.
        rest_port: REST's port, once it runs.

    Raises:
        UsageError: the tokens or certificates cannot be used, or releases must be signed and the server behind is not
            led by its model config file.
    """

    def __init__(
        self,
        line: ServedLine,
        upstream: Upstream,
        *,
        host: str,
        port: int,
        rest_port: int,
        model_config: Path | None = None,
        model_base_path: Path | None = None,
        verify: bool = True,
        waits: bool = False,
    ) -> None:
        config, access, ledger, metrics = line.config, line.access(), Ledger(line.ledger), Metrics()
        self._client = UpstreamClient(upstream)
        if line.trust is not None and model_config is None:
            raise UsageError(
                "a gateway that requires signed releases must lead the server behind it by its model config file. Got "
                "none instead: that server loads whatever it finds",
                hint="start TensorFlow Serving with --model_config_file, and give that file to --model-config",
            )
        written = None
        if model_config is not None:
            written = Written(
                ModelConfigFile(model_config, line.name, model_base_path or line.base_path),
                line.base_path,
                _digests(line, ledger, verify),
                alone=line.trust is not None,
            )
        self.models = UpstreamModels(line.name, ledger, self._client, written)
        self._waits = waits
        Gauge(
            "conveyor_gateway_ready",
            "Whether the model server behind has what requests are led to",
            ["line"],
            registry=metrics.registry,
        ).labels(line.name).set_function(lambda: float(self.models.ready))
        self._capture = None
        if config.capture.enabled:
            self._capture = CaptureHook(
                line.capture,
                line.name,
                config.capture,
                find_signatures=self._client.signatures,
                registry=metrics.registry,
            )
        keep = self._capture.done if self._capture is not None else lambda _: None
        self._shadow = Shadow(line.name, self._client.again, keep, metrics.registry)
        hooks = LineHooks(line.name, self.models, self._capture, self._shadow)
        self._grpc = GrpcGateway(
            upstream, self.models, address=host, port=port, access=access, hooks=hooks, metrics=metrics
        )
        http = None if upstream.rest is None else HttpUpstream(upstream.rest)
        app = RestProxy(http, self.models, self._client, access=access, hooks=hooks, metrics=metrics)
        self._rest = HttpServer(
            app,
            port=rest_port,
            address=host,
            bounds=Bounds(access.limits.header_bytes, access.limits.request_seconds),
            tls=access.tls,
            # The server behind tells the time.
            dated=False,
            at_end=None if http is None else http.close,
        )

    @property
    def port(self) -> int:
        """gRPC's port."""
        return self._grpc.port

    @property
    def rest_port(self) -> int:
        """REST's port."""
        return self._rest.port

    def run(self, announce: Callable[[Gateway], None], begin: Callable[[], None] | None = None) -> None:
        """Passes requests on until SIGTERM or SIGINT, then finishes those under way. A second signal ends it at once.

        Args:
            announce: is called once requests are passed on.
            begin: is called once the model config is there, by which the server behind can be started.

        Raises:
            ReleaseError: the ledger is damaged, or the live version cannot be served.
            UsageError: a port is taken.
        """

        async def start() -> None:
            await self.start()
            announce(self)

        uvloop.run(serve_until_signal(load=lambda: self.load(begin), start=start, stop=self.stop))

    def load(self, begin: Callable[[], None] | None = None) -> None:
        """Gets to know the ledger and the server behind; see `run`.

        Raises:
            ReleaseError: the ledger is damaged, or the live version cannot be served.
        """
        self.models.prepare()
        if begin is not None:
            begin()
        self.models.look()
        self.models.start()
        if self._waits:
            self.models.wait()

    async def start(self) -> None:
        """Opens the ports. To be called, like `stop`, in one event loop, after `load`.

        Raises:
            UsageError: a port is taken.
        """
        if self._capture is not None:
            self._capture.start()
        self._shadow.start()
        await self._grpc.start()
        await asyncio.to_thread(self._rest.start)

    async def stop(self, grace: float) -> None:
        """Takes no more requests, gives those under way so many seconds, and closes the ports."""
        await asyncio.gather(self._grpc.stop(grace), asyncio.to_thread(self._rest.stop, grace))
        await asyncio.to_thread(self._shadow.stop)
        await asyncio.to_thread(self.models.stop)
        if self._capture is not None:
            await asyncio.to_thread(self._capture.stop)
        self._client.close()


def _digests(line: ServedLine, ledger: Ledger, verify: bool) -> Digests | None:
    if line.trust is not None:
        return signed_versions(line.base_path, ledger, line.trust)
    return Digests(line.base_path, ledger) if verify else None
