"""An HTTP server of an ASGI application: its port, its thread and its event loop."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable
from typing import Any

import uvicorn
import uvloop

from schema.errors import UsageError
from serving.model_server.rest_protocol import Bounds, bounded
from serving.model_server.tls import Tls

_LOG = logging.getLogger(__name__)
_KEEP_ALIVE_SECONDS = 60
_BACKLOG = 2048


class HttpServer:
    """Serves an application by HTTP, in a thread and an event loop of its own.

    Args:
        app: the ASGI application.
        port: TCP port; 0 for any that is free.
        address: the address to listen on; empty for all, IPv6 and IPv4.
        bounds: what a connection may take.
        tls: the certificates, or None to serve in the clear.
        dated: whether answers get the time as a header.
        at_end: is called in the loop when the last request was answered.

    Attributes:
        port: the TCP port; after `start` the one that was free, if it was 0.
    """

    def __init__(
        self,
        app: Any,
        *,
        port: int,
        address: str,
        bounds: Bounds,
        tls: Tls | None,
        dated: bool = True,
        at_end: Callable[[], None] | None = None,
    ) -> None:
        self.port = port
        self._address = address
        self._config = uvicorn.Config(
            app,
            http=bounded(bounds),
            loop="asyncio",
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=dated,
            proxy_headers=False,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        )
        self._tls = tls
        self._at_end = at_end
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
            grace: seconds after which those still under way are cancelled; None to wait for all.
        """
        if self._thread is None:
            return
        self._config.timeout_graceful_shutdown = grace  # type: ignore[assignment]  # a float does as well
        self._server.should_exit = True
        self._thread.join()

    def _run(self, listener: socket.socket) -> None:
        try:
            uvloop.run(self._serve(listener))
        except Exception:
            _LOG.exception("the REST server on port %d has ended", self.port)

    async def _serve(self, listener: socket.socket) -> None:
        # The socket listens already; the first clients wait until the loop runs.
        self._listening.set()
        await self._server.serve(sockets=[listener])
        if self._at_end is not None:
            self._at_end()


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
