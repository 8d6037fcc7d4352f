"""The REST server: its port, its thread and its event loop."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import uvicorn

from schema.errors import UsageError
from serving.model_server.access import Access
from serving.model_server.hooks import Hooks
from serving.model_server.rest_app import RestApp
from serving.model_server.rest_protocol import Bounds, bounded

if TYPE_CHECKING:
    from serving.model_server.manager import Manager
    from serving.model_server.metrics import Metrics

BODY_BYTES = 100 * 2**20
"""As much as TensorFlow Serving unpacks of a compressed body. Reading JSON takes many times its size in memory."""

_LOG = logging.getLogger(__name__)
_KEEP_ALIVE_SECONDS = 60
_BACKLOG = 2048


class RestServer:
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
        self.port = port
        self._address = address
        access = access or Access()
        seconds = min(filter(None, (timeout_seconds, access.limits.request_seconds)), default=None)
        self._executor = ThreadPoolExecutor(num_threads or 4 * (os.cpu_count() or 1), thread_name_prefix="rest")
        self._config = uvicorn.Config(
            RestApp(
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
            ),
            http=bounded(Bounds(access.limits.header_bytes, seconds)),
            loop="asyncio",
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        )
        self._tls = access.tls
        self._server = uvicorn.Server(self._config)
        self._thread: threading.Thread | None = None
        self._listening = threading.Event()

    def start(self) -> None:
        """Opens the port; returns once requests are answered.

        Raises:
            UsageError: the port is taken, the address is none of this machine's, or the certificates are wrong.
        """
        self._config.load()
        if self._tls is not None:
            self._config.ssl = self._tls.context()
        listener = _listen(self._address, self.port)
        # Connections inherit it. Headers and body are two writes, and the second must not wait for the client's ACK.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.port = listener.getsockname()[1]
        self._thread = threading.Thread(target=self._run, args=(listener,), name="rest-server", daemon=True)
        self._thread.start()
        self._listening.wait()

    def stop(self, grace: float | None = None) -> None:
        """Takes no more requests, lets those under way finish, and closes the port.

        Args:
            grace: seconds after which those still under way are answered with 503; None to wait for all.
        """
        if self._thread is None:
            self._executor.shutdown(wait=False)
            return
        self._config.timeout_graceful_shutdown = grace  # type: ignore[assignment]  # a float does as well
        self._server.should_exit = True
        self._thread.join()
        # A thread that TensorFlow keeps busy cannot be ended.
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _run(self, listener: socket.socket) -> None:
        try:
            asyncio.run(self._serve(listener))
        except Exception:
            _LOG.exception("the REST server on port %d has ended", self.port)

    async def _serve(self, listener: socket.socket) -> None:
        # The socket listens already; the first clients wait until the loop runs.
        self._listening.set()
        await self._server.serve(sockets=[listener])


def _listen(address: str, port: int) -> socket.socket:
    try:
        if not address and socket.has_dualstack_ipv6():
            try:
                return socket.create_server(("", port), family=socket.AF_INET6, backlog=_BACKLOG, dualstack_ipv6=True)
            except OSError:
                # IPv6 may be built in and yet not be there.
                return socket.create_server(("", port), backlog=_BACKLOG)
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        return socket.create_server((address, port), family=family, backlog=_BACKLOG)
    except OSError as e:
        raise UsageError(
            f"{address or 'port'}{':' if address else ' '}{port} must be free to listen on. {e.strerror or e}",
            hint="see who has it: ss -ltnp; or choose another --rest_api_port",
        ) from e
