"""The gateway's REST service as an ASGI application: every path is passed on; predictions are led and noted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from serving.gateway.http_upstream import HttpAnswer, HttpUpstream
from serving.gateway.models import UpstreamModels
from serving.gateway.rest_inference import RestInference
from serving.gateway.statuses import code_of_http
from serving.gateway.upstream import UpstreamClient
from serving.model_server import metrics
from serving.model_server.access import Access
from serving.model_server.errors import Code, ServingError
from serving.model_server.hooks import Hooks
from serving.model_server.request_id import HEADER, RequestIds
from serving.model_server.rest_answer import Answer, TooLarge, error_answer, page
from serving.model_server.rest_body import BodyTooLarge, Disconnected, receive_body
from serving.model_server.rest_path import target

# Those of one connection; what is passed on has its own.
_HOP_BY_HOP = frozenset(
    {
        *(b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection", b"te"),
        *(b"trailer", b"transfer-encoding", b"upgrade", b"expect", b"host", b"content-length"),
    }
)


class RestProxy:
    """Passes on the requests of one event loop.

    Args:
        upstream: where they go, or None where the server has no REST API.
        models: which versions they are led to.
        client: asks the server by itself.
        access: who may call, and how much.
        hooks: what is called around each prediction.
        metrics: where requests are counted.
    """

    def __init__(
        self,
        upstream: HttpUpstream | None,
        models: UpstreamModels,
        client: UpstreamClient,
        *,
        access: Access,
        hooks: Hooks,
        metrics: metrics.Metrics,
    ) -> None:
        self.upstream = upstream
        self.models = models
        self.client = client
        self.access = access
        self.hooks = hooks
        self.metrics = metrics
        self._request_ids = RequestIds()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answers one request; see the ASGI specification."""
        if scope["type"] != "http":
            raise RuntimeError(f"Only HTTP is served, not {scope['type']}")
        request = RestRequest(self, scope, self._request_ids)
        own = self._own_page(request)
        if own is not None:
            await _send(send, own.status, own.headers(), own.body, request.id)
            return
        try:
            answer = await request.answer(receive)
        except Disconnected:
            return
        except asyncio.CancelledError:
            answer = _refusal(ServingError(Code.UNAVAILABLE, "The gateway is shutting down"), closes=True)
        except ServingError as error:
            if not request.counted:
                self.metrics.request("", "", "REST", error.code.name, 0.0)
            # A client that waits for our 100 does not send its body now: the next request would be taken for it.
            answer = _refusal(error, closes=b"expect" in request.headers and not request.received)
        await _send(send, answer.status, answer.headers, answer.body, request.id)

    def _own_page(self, request: RestRequest) -> Answer | None:
        """Returns the answer to a request that is for the gateway itself."""
        if request.path in (b"/healthz", b"/readyz"):
            ready = request.path == b"/healthz" or self.models.ready
            return page(200 if ready else 503, b"ok\n" if ready else b"no model is ready\n", "text/plain")
        if request.path != metrics.PATH.encode():
            return None
        try:
            request.authorize()
        except ServingError as error:
            return error_answer(error)
        return page(200, self.metrics.page(), metrics.CONTENT_TYPE)


class RestRequest:
    """A request under way.

    Args:
        proxy: the gateway.
        scope: ASGI's.
        request_ids: where its id comes from.

    Attributes:
        method: HTTP's.
        path: as it was sent, with its query.
        headers: lower-case names to values.
        id: the caller's id for it, or a minted one.
        received: whether its body has arrived.
        counted: whether it is in the metrics.
        body: its body, as it was sent.
    """

    def __init__(self, proxy: RestProxy, scope: Any, request_ids: RequestIds) -> None:
        self.proxy = proxy
        self.method: str = scope["method"]
        query: bytes = scope["query_string"]
        self.path: bytes = scope["raw_path"] + (b"?" + query if query else b"")
        self.headers: Mapping[bytes, bytes] = dict(scope["headers"])
        self.id = request_ids.of(self.header(HEADER))
        self.received = False
        self.counted = False
        self.body = b""
        self._pairs: list[tuple[bytes, bytes]] = scope["headers"]

    def header(self, name: str) -> str | None:
        """Returns a header, or None."""
        value = self.headers.get(name.encode())
        return None if value is None else value.decode("latin-1")

    def authorize(self) -> None:
        """Checks the caller's token.

        Raises:
            ServingError: UNAUTHENTICATED or PERMISSION_DENIED.
        """
        self.proxy.access.authorize(self.header("authorization"))

    async def answer(self, receive: Any) -> HttpAnswer:
        """Lets the request in and passes it on.

        Raises:
            ServingError: it is refused, or the server does not answer.
            Disconnected: its body will not come.
        """
        access = self.proxy.access
        self.authorize()
        access.enter()
        try:
            limit = access.limits.message_bytes
            try:
                self.body = await receive_body(receive, self.headers, limit)
            except BodyTooLarge:
                raise TooLarge("body", limit) from None
            self.received = True
            seconds = access.limits.request_seconds
            try:
                return await asyncio.wait_for(self._passed_on(), seconds)
            except asyncio.TimeoutError:
                raise ServingError(Code.DEADLINE_EXCEEDED, f"The request took more than {seconds:g} seconds") from None
        finally:
            access.leave()

    async def ask(self, path: bytes) -> HttpAnswer:
        """Passes the request on to a path.

        Raises:
            ServingError: UNAVAILABLE; the server does not answer.
        """
        upstream = self.proxy.upstream
        if upstream is None:
            raise ServingError(
                Code.UNIMPLEMENTED, "This gateway passes on gRPC only: it has not been told of a --rest-upstream"
            )
        answer = await upstream.ask(self.method, path, self._outgoing(), self.body)
        named = _named(dict(answer.headers).get(b"connection", b""))
        unseen = _HOP_BY_HOP | named | {HEADER.encode()}
        headers = [pair for pair in answer.headers if pair[0] not in unseen]
        # A body of HEAD's is announced and does not come.
        length = dict(answer.headers).get(b"content-length") if self.method == "HEAD" else None
        if answer.status not in (204, 304):
            headers.append((b"content-length", length or b"%d" % len(answer.body)))
        return HttpAnswer(answer.status, headers, answer.body)

    async def _passed_on(self) -> HttpAnswer:
        found = target(self.method, self.path.decode("latin-1"))
        if self.method == "POST" and found is not None:
            return await RestInference(self, found).answer()
        clock = time.perf_counter()
        answer = await self.ask(self.path)
        model, seconds = found.model if found is not None else "", time.perf_counter() - clock
        self.counted = True
        self.proxy.metrics.request(model, "", "REST", code_of_http(answer.status).name, seconds)
        return answer

    def _outgoing(self) -> list[tuple[bytes, bytes]]:
        own = _HOP_BY_HOP | _named(self.headers.get(b"connection", b"")) | {HEADER.encode()}
        if self.proxy.access.tokens is not None:
            own |= {b"authorization"}
        return [*(pair for pair in self._pairs if pair[0] not in own), (HEADER.encode(), self.id.encode())]


def _named(connection: bytes) -> frozenset[bytes]:
    """Returns the headers that a `connection` header names; they are the connection's too."""
    return frozenset(name.strip().lower() for name in connection.split(b",")) if connection else frozenset()


def _refusal(error: ServingError, closes: bool) -> HttpAnswer:
    answer = error_answer(error)
    answer.closes = closes
    return HttpAnswer(answer.status, answer.headers(), answer.body)


async def _send(send: Any, status: int, headers: list[tuple[bytes, bytes]], body: bytes, request_id: str) -> None:
    headers = [*headers, (HEADER.encode(), request_id.encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
