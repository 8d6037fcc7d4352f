"""The embedded server for a line: its models, its ports, what stands around each request, and its end."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import logging
import os
import signal
from collections.abc import Callable
from pathlib import Path

from schema.serving import LimitsConfig, ServingConfig, TlsConfig
from serving.capture.hook import CaptureHook, signatures_in
from serving.ledger import Ledger
from serving.line_server.hooks import LineHooks
from serving.line_server.models import LineModels
from serving.line_server.shadow import Shadow
from serving.model_server.access import Access, Limits
from serving.model_server.grpc_server import GrpcServer
from serving.model_server.metrics import PATH as METRICS_PATH
from serving.model_server.metrics import Metrics
from serving.model_server.rest_server import RestServer
from serving.model_server.tls import Tls
from serving.model_server.tokens import TokenFile

GRACE_SECONDS = 30.0
"""How long requests under way may take after SIGTERM."""

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class ServedLine:
    """What is served, and from where.

    Attributes:
        name: the line's name, which clients call the model.
        base_path: the model base path, absolute.
        ledger: the release ledger.
        capture: the folder of captured records.
        config: the line's `serving` section, secrets filled in.
        config_folder: where relative paths in it begin.
    """

    name: str
    base_path: Path
    ledger: Path
    capture: Path
    config: ServingConfig
    config_folder: Path


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
        self.models = LineModels(line.name, line.base_path, Ledger(line.ledger), verify=verify)
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
        self._shadow = Shadow(line.name, self.models.manager, keep, registry)
        hooks = LineHooks(line.name, self.models, self._capture, self._shadow)
        tokens = TokenFile(line.config_folder / config.tokens_file) if config.tokens_file else None
        access = Access(tokens=tokens, tls=read_tls(config.tls, line.config_folder), limits=limits_of(config.limits))
        shared = {"access": access, "hooks": hooks, "metrics": self._metrics}
        self._grpc = GrpcServer(self.models.manager, port=port, address=host, health=True, **shared)  # type: ignore[arg-type]
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
        asyncio.run(self._run(announce))

    async def _run(self, announce: Callable[[LineServer], None]) -> None:
        loop = asyncio.get_running_loop()
        stopping = asyncio.Event()

        def on_signal() -> None:
            if stopping.is_set():
                os._exit(128 + signal.SIGTERM)
            stopping.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, on_signal)
        try:
            await asyncio.to_thread(self.models.start)
            # What has been imported stays; to look through it takes a fifth of a second in which nobody is answered.
            gc.collect()
            gc.freeze()
            if self._capture is not None:
                self._capture.start()
            self._shadow.start()
            await self._grpc.start()
            await asyncio.to_thread(self._rest.start)
            announce(self)
            await stopping.wait()
            _log.info("Draining: requests under way have %g s", GRACE_SECONDS)
        finally:
            await asyncio.gather(self._grpc.stop(GRACE_SECONDS), asyncio.to_thread(self._rest.stop, GRACE_SECONDS))
            await asyncio.to_thread(self._shadow.stop)
            await asyncio.to_thread(self.models.stop)
            if self._capture is not None:
                await asyncio.to_thread(self._capture.stop)


def read_tls(config: TlsConfig | None, folder: Path) -> Tls | None:
    """Returns the certificates that a config names, or None when it names none.

    Raises:
        UsageError: a file cannot be read, or the key is not the certificate's.
    """
    if config is None:
        return None
    tls = Tls(
        server_key=_read(folder / config.key, "key"),
        server_cert=_read(folder / config.certificate, "certificate"),
        custom_ca=b"" if config.client_ca is None else _read(folder / config.client_ca, "client_ca"),
        client_verify=config.client_ca is not None,
    )
    tls.check()
    return tls


def limits_of(config: LimitsConfig) -> Limits:
    """Returns the limits that a config names."""
    return Limits(
        message_bytes=config.max_message_bytes,
        header_bytes=config.max_header_bytes,
        batch_rows=config.max_batch_rows,
        concurrent_requests=config.max_concurrent_requests,
        request_seconds=config.request_timeout_seconds,
    )


def _read(path: Path, key: str) -> bytes:
    from schema.errors import UsageError

    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"serving.tls.{key} must be a PEM file that can be read. Got {path} instead ({error.strerror})",
            hint="correct the path in the line config, or make the file readable for the server's user",
        ) from error
