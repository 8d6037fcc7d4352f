"""TensorFlow Serving's REST API as an ASGI application.

Its routing is one rule over the whole path, and what does not fit is told in TensorFlow Serving's words; so no router
or middleware stands in front of it.
"""

from __future__ import annotations

import asyncio
import re
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any

from serving.model_server import json_results, metrics
from serving.model_server.access import Access
from serving.model_server.errors import Code, ServingError
from serving.model_server.hooks import Hooks, NoHooks
from serving.model_server.pace import Pace
from serving.model_server.request_id import RequestIds
from serving.model_server.rest_answer import Answer, error_answer, page
from serving.model_server.rest_body import Disconnected
from serving.model_server.rest_inference import ENTRYPOINTS
from serving.model_server.rest_path import is_api, target
from serving.model_server.rest_request import RestRequest

if TYPE_CHECKING:
    from serving.model_server.manager import Manager

_METHODS = ("GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH")
_ORIGIN = re.compile(rb"https?://")


class RestApp:
    """Answers the requests of one event loop.

    Args:
        manager: where the models are.
        executor: threads for what takes long.
        access: who may call, and how much.
        hooks: what is called around each prediction.
        metrics: where requests are counted, or None.
        metrics_path: the path of the metrics page; empty for none.
        cors: whether browsers may call from pages of any origin.
        timeout_seconds: from a request's arrival to its answer, after which that is 504; None for no limit.
        body_bytes: size of a body, as sent and unpacked.
        inline: whether quick requests run in the loop. Not for batching, where a request waits for others.
        probes: whether `/healthz` and `/readyz` answer.
    """

    def __init__(
        self,
        manager: Manager,
        executor: Executor,
        *,
        access: Access,
        hooks: Hooks | None = None,
        metrics: metrics.Metrics | None = None,
        metrics_path: str = "",
        cors: bool = False,
        timeout_seconds: float | None = 30.0,
        body_bytes: int = 2**31 - 1,
        inline: bool = True,
        probes: bool = False,
    ) -> None:
        self.manager = manager
        self.executor = executor
        self.access = access
        self.hooks = None if hooks is None or type(hooks) is NoHooks else hooks
        self.metrics = metrics
        self.timeout_seconds = timeout_seconds
        self.body_bytes = min(body_bytes, access.limits.message_bytes)
        self.pace = Pace(inline)
        self.check_rows = access.check_rows if access.limits.batch_rows is not None else None
        self._metrics_path = metrics_path if metrics is not None else ""
        self._cors = cors
        self._cors_headers = b"Content-Type" if access.tokens is None else b"Content-Type, Authorization"
        self._probes = probes
        self._request_ids = RequestIds()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answers one request; see the ASGI specification."""
        if scope["type"] != "http":
            raise RuntimeError(f"Only HTTP is served, not {scope['type']}")
        headers = dict(scope["headers"])
        path = scope["raw_path"].decode("latin-1")
        if scope["query_string"]:
            path += "?" + scope["query_string"].decode("latin-1")
        request = RestRequest(self, scope["method"], path, headers, receive, self._request_ids)
        try:
            answer = await self._answer(request)
        except Disconnected:
            return
        except asyncio.CancelledError:
            answer = error_answer(ServingError(Code.UNAVAILABLE, "The server is shutting down"))
            answer.closes = True
        except Exception as e:
            answer = error_answer(request.explained(e))
        # A client that waits for our 100 does not send its body now, and the next request would be taken for it.
        answer.closes |= b"expect" in headers and not request.received
        await self._send(send, answer, request.id)

    async def _answer(self, request: RestRequest) -> Answer:
        path = request.path
        if self._probes and path in ("/healthz", "/readyz"):
            ready = path == "/healthz" or self.manager.ready
            return page(200 if ready else 503, b"ok\n" if ready else b"no model is ready\n", "text/plain")
        if request.method not in _METHODS:
            return page(501, _error_page(501, "Not Implemented"), "text/html")
        if self._metrics_path and path.partition("?")[0] == self._metrics_path:
            return await self._metrics_answer(request)
        found = target(request.method, path)
        if found is None and not is_api(path):
            return page(404, _error_page(404, "Not Found"), "text/html")
        if request.method == "OPTIONS":
            return self._preflight(request)
        try:
            request.enter()
            try:
                await request.receive_body()
                if found is None:
                    raise ServingError(Code.INVALID_ARGUMENT, f"Malformed request: {request.method} {path}")
                request.target = found
                request.query = found.query()
                if request.method == "GET":
                    answer = await self._about(request)
                elif found.action in ENTRYPOINTS:
                    answer = await request.infer()
                else:
                    raise ServingError(Code.INVALID_ARGUMENT, f"Malformed request: {request.method} {path}")
            finally:
                request.leave()
        except (Disconnected, asyncio.CancelledError):
            raise
        except Exception as e:
            answer = error_answer(request.explained(e))
        request.count(answer.code)
        return answer

    async def _about(self, request: RestRequest) -> Answer:
        query, found = request.query, request.target
        assert query is not None and found is not None
        if not query.name:
            raise ServingError(Code.INVALID_ARGUMENT, "Missing model name in request.")
        if found.action != "metadata":
            return Answer(json_results.model_status(self.manager.statuses(query.name, query.version)))

        def metadata() -> bytes:
            with self.manager.acquire(query) as lease:
                servable = lease.servable
                return json_results.model_metadata(servable.name, servable.version, servable.signature_defs)

        return Answer(await request.in_thread(metadata))

    async def _metrics_answer(self, request: RestRequest) -> Answer:
        request.authorize()
        assert self.metrics is not None
        if request.path != self._metrics_path:
            text = f"Unexpected path: {request.path}. Should be {self._metrics_path}"
            return page(400, text.encode("latin-1", "replace"), metrics.CONTENT_TYPE)
        content = await asyncio.wrap_future(self.executor.submit(self.metrics.page))
        return page(200, content, metrics.CONTENT_TYPE)

    def _preflight(self, request: RestRequest) -> Answer:
        known = _ORIGIN.search(request.headers.get(b"origin", b"")) is not None
        code = Code.OK if known else Code.FAILED_PRECONDITION
        request.count(code)
        return Answer(b"", code, content_type="")

    async def _send(self, send: Any, answer: Answer, request_id: str) -> None:
        headers = answer.headers()
        headers.append((b"x-request-id", request_id.encode()))
        if self._cors:
            headers += [
                (b"access-control-allow-origin", b"*"),
                (b"access-control-allow-methods", b"POST, GET"),
                (b"access-control-allow-headers", self._cors_headers),
            ]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})


def _error_page(status: int, reason: str) -> bytes:
    # libevent's, in which TensorFlow Serving answers what is not for it.
    return (
        f"<HTML><HEAD>\n<TITLE>{status} {reason}</TITLE>\n</HEAD><BODY>\n<H1>{reason}</H1>\n</BODY></HTML>\n"
    ).encode()
