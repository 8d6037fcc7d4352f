"""The REST server."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from serving.model_server.access import Access
from serving.model_server.hooks import Hooks
from serving.model_server.http_server import HttpServer
from serving.model_server.rest_app import RestApp
from serving.model_server.rest_protocol import Bounds

if TYPE_CHECKING:
    from serving.model_server.manager import Manager
    from serving.model_server.metrics import Metrics

BODY_BYTES = 100 * 2**20
"""As much as TensorFlow Serving unpacks of a compressed body. Reading JSON takes many times its size in memory."""


class RestServer(HttpServer):
    """Serves a manager's models by REST, in a thread and an event loop of its own.

    Args:
        manager: where the models are.
        port: TCP port; 0 for any that is free.
        address: the address to listen on; empty for all, IPv6 and IPv4.
        access: who may call, and how much; everybody and everything unless given.
        hooks: what is called around each prediction.
        metrics: where requests are counted, or None.
        metrics_path: the path of the metrics page, e.g. `metrics.PATH`; empty for none.
        cors: whether browsers may call from pages of any origin.
        timeout_seconds: for a request to arrive, and again for its answer; None for no limit. The one of the access
            limits counts where it is less.
        body_bytes: size of a body, as sent and unpacked; the one of the access limits counts where it is less.
        num_threads: threads for what takes long; None for four a CPU, as in TensorFlow Serving.
        inline: whether quick requests run in the loop. Not for batching, where a request waits for others.
        probes: whether `/healthz` and `/readyz` answer. TensorFlow Serving has no such paths.

    Attributes:
        port: the TCP port; after `start` the one that was free, if it was 0.
    """

    def __init__(
        self,
        manager: Manager,
        *,
        port: int = 0,
        address: str = "",
        access: Access | None = None,
        hooks: Hooks | None = None,
        metrics: Metrics | None = None,
        metrics_path: str = "",
        cors: bool = False,
        timeout_seconds: float | None = 30.0,
        body_bytes: int = BODY_BYTES,
        num_threads: int | None = None,
        inline: bool = True,
        probes: bool = False,
    ) -> None:
        access = access or Access()
        seconds = min(filter(None, (timeout_seconds, access.limits.request_seconds)), default=None)
        self._executor = ThreadPoolExecutor(num_threads or 4 * (os.cpu_count() or 1), thread_name_prefix="rest")
        app = RestApp(
            manager,
            self._executor,
            access=access,
            hooks=hooks,
            metrics=metrics,
            metrics_path=metrics_path,
            cors=cors,
            timeout_seconds=seconds,
            body_bytes=body_bytes,
            inline=inline,
            probes=probes,
        )
        bounds = Bounds(access.limits.header_bytes, seconds)
        super().__init__(app, port=port, address=address, bounds=bounds, tls=access.tls)

    def stop(self, grace: float | None = None) -> None:
        """Takes no more requests, lets those under way finish, and closes the port.

        Args:
            grace: seconds after which those still under way are answered with 503; None to wait for all.
        """
        super().stop(grace)
        # A thread that TensorFlow keeps busy cannot be ended.
        self._executor.shutdown(wait=False, cancel_futures=True)
