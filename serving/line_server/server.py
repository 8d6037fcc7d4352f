"""The embedded server for a line: its models, its ports, what stands around each request, and its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import uvloop

from serving.capture.hook import CaptureHook, signatures_in
from serving.ledger import Ledger
from serving.line_server.hooks import LineHooks
from serving.line_server.models import LineModels
from serving.line_server.served_line import ServedLine
from serving.line_server.shadow import Shadow, asked_here
from serving.model_server.draining import serve_until_signal
from serving.model_server.grpc_server import GrpcServer
from serving.model_server.metrics import PATH as METRICS_PATH
from serving.model_server.metrics import Metrics
from serving.model_server.rest_server import RestServer


class LineServer:
    """Serves a line by gRPC and REST.

    Args:
        line: the line.
        host: the address to listen on.
        port: gRPC's port; 0 for any that is free.
        rest_port: REST's port; 0 for any that is free.
        verify: whether only models are loaded whose digest is the ledger's.

    Attributes:
        models: its versions.
        port: gRPC's port, once it runs.
        rest_port: REST's port, once it runs.

    Raises:
        UsageError: the tokens or certificates cannot be used.
    """

    def __init__(self, line: ServedLine, *, host: str, port: int, rest_port: int, verify: bool) -> None:
        config = line.config
        self.models = LineModels(line.name, line.base_path, Ledger(line.ledger), verify=verify, trust=line.trust)
        self._metrics = Metrics()
        registry = self._metrics.registry
        self._capture = None
        if config.capture.enabled:
            self._capture = CaptureHook(
                line.capture,
                line.name,
                config.capture,
                find_signatures=signatures_in(self.models.manager),
                registry=registry,
            )
        keep = self._capture.done if self._capture is not None else lambda _: None
        self._shadow = Shadow(line.name, asked_here(self.models.manager), keep, registry)
        hooks = LineHooks(line.name, self.models, self._capture, self._shadow)
        shared = {"access": line.access(), "hooks": hooks, "metrics": self._metrics}
        self._grpc = GrpcServer(
            self.models.manager,
            port=port,
            address=host,
            health=True,
            gather=line.config.gather,
            **shared,  # type: ignore[arg-type]
        )
        self._rest = RestServer(
            self.models.manager,
            port=rest_port,
            address=host,
            metrics_path=METRICS_PATH,
            timeout_seconds=config.limits.request_timeout_seconds,
            body_bytes=config.limits.max_message_bytes,
            probes=True,
            **shared,  # type: ignore[arg-type]
        )

    @property
    def port(self) -> int:
        """gRPC's port."""
        return self._grpc.port or 0

    @property
    def rest_port(self) -> int:
        """REST's port."""
        return self._rest.port

    def run(self, announce: Callable[[LineServer], None]) -> None:
        """Serves until SIGTERM or SIGINT, then finishes the requests under way. A second signal ends it at once.

        Args:
            announce: is called once requests are answered.

        Raises:
            ReleaseError: the ledger is damaged, or the live version cannot be loaded.
            UsageError: a port is taken.
        """
        uvloop.run(serve_until_signal(load=self.models.start, start=lambda: self._start(announce), stop=self._stop))

    async def _start(self, announce: Callable[[LineServer], None]) -> None:
        if self._capture is not None:
            self._capture.start()
        self._shadow.start()
        await self._grpc.start()
        await asyncio.to_thread(self._rest.start)
        announce(self)

    async def _stop(self, grace: float) -> None:
        await asyncio.gather(self._grpc.stop(grace), asyncio.to_thread(self._rest.stop, grace))
        await asyncio.to_thread(self._shadow.stop)
        await asyncio.to_thread(self.models.stop)
        if self._capture is not None:
            await asyncio.to_thread(self._capture.stop)
