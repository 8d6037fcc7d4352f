"""One REST request under way: let in, received, run, and noted."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeVar

from serving.model_server import rest_inference
from serving.model_server.errors import Code, ServingError
from serving.model_server.hooks import Exchange, ModelSpecQuery
from serving.model_server.json_text import printable
from serving.model_server.pace import MAX_BYTES, Watch
from serving.model_server.request_id import CALLER_KEY_HEADER, HEADER, RequestIds
from serving.model_server.rest_answer import Answer, TooLarge
from serving.model_server.rest_body import BodyTooLarge, Receive, is_compressed, receive_body, unpacked
from serving.model_server.rest_inference import ENTRYPOINTS, Inference
from serving.model_server.rest_path import Target

if TYPE_CHECKING:
    from serving.model_server.rest_app import RestApp
    from serving.model_server.servable import Servable

_LOG = logging.getLogger(__name__)
_Kind = tuple[str, str, int, str, int]
_T = TypeVar("_T")


class RestRequest:
    """A request.

    Args:
        app: what it is made to.
        method: HTTP's.
        path: as it was sent, with its query.
        headers: lower-case names to values.
        receive: ASGI's.
        request_ids: where its id comes from.

    Attributes:
        id: the caller's id for it, or a minted one.
        target: what its path names, once that is known.
        query: the model that it asks for, once that is known.
        received: whether its body has arrived.
    """

    def __init__(
        self,
        app: RestApp,
        method: str,
        path: str,
        headers: Mapping[bytes, bytes],
        receive: Receive,
        request_ids: RequestIds,
    ) -> None:
        self.method = method
        self.path = path
        self.headers = headers
        self.id = request_ids.of(self._header(HEADER))
        self.target: Target | None = None
        self.query: ModelSpecQuery | None = None
        self.received = False
        self._app = app
        self._receive = receive
        self._clock = time.perf_counter()
        self._deadline: float | None = None
        self._entered = False
        self._body = b""
        self._inference: Inference | None = None
        self._version: int | None = None
        self._kind: _Kind | None = None
        self._seconds = 0.0

    def authorize(self) -> None:
        """Checks the caller's token.

        Raises:
            ServingError: UNAUTHENTICATED or PERMISSION_DENIED.
        """
        self._app.access.authorize(self._header("authorization"))

    def enter(self) -> None:
        """Lets the request in; it must `leave`.

        Raises:
            ServingError: UNAUTHENTICATED, PERMISSION_DENIED or RESOURCE_EXHAUSTED.
        """
        self.authorize()
        self._app.access.enter()
        self._entered = True

    def leave(self) -> None:
        """Counts the request out, unless a thread of its will."""
        if self._entered:
            self._entered = False
            self._app.access.leave()

    async def receive_body(self) -> None:
        """Receives the body. From then on the time for the answer runs.

        Raises:
            TooLarge: it is.
            Disconnected: it will not come.
        """
        try:
            self._body = await receive_body(self._receive, self.headers, self._app.body_bytes)
        except BodyTooLarge:
            raise TooLarge("body", self._app.body_bytes) from None
        self.received = True
        if self._app.timeout_seconds:
            self._deadline = time.monotonic() + self._app.timeout_seconds

    async def infer(self) -> Answer:
        """Runs the model that the request asks for, and notes the exchange.

        Raises:
            ServingError: that failed.
        """
        assert self.target is not None
        try:
            answer = Answer(await self._infer(self.target.action))
        except Exception as e:
            error = self.explained(e)
            self._note(b"", error.code, error.message)
            raise error from e
        self._note(answer.body, Code.OK, "")
        return answer

    async def in_thread(self, work: Callable[[], _T]) -> _T:
        """Runs something in a thread, which counts the request out even if nobody waits for it any more.

        Raises:
            ServingError: DEADLINE_EXCEEDED, or UNAVAILABLE where the server stops.
        """

        def work_and_leave() -> _T:
            try:
                return work()
            finally:
                self._app.access.leave()

        try:
            future = self._app.executor.submit(work_and_leave)
        except RuntimeError as e:
            raise ServingError(Code.UNAVAILABLE, "The server is shutting down") from e
        self._entered = False
        left = None if self._deadline is None else max(self._deadline - time.monotonic(), 0)
        try:
            return await asyncio.wait_for(asyncio.wrap_future(future), left)
        except asyncio.TimeoutError:
            raise ServingError(Code.DEADLINE_EXCEEDED, "Timed out waiting for notification") from None
        finally:
            # One that never began does not leave by itself.
            self._entered = future.cancel()

    def explained(self, error: Exception) -> ServingError:
        """Returns what the caller is told of any error."""
        if isinstance(error, ServingError):
            message = printable(error.message)
            return error if message == error.message else ServingError(error.code, message)
        if isinstance(error, MemoryError):
            return ServingError(Code.RESOURCE_EXHAUSTED, "The server has not enough memory for this request")
        _LOG.error("request %s failed", self.id, exc_info=error)
        return ServingError(Code.INTERNAL, f"The server failed. Its log says more about request {self.id}")

    def count(self, code: Code) -> None:
        """Counts the request in the metrics."""
        if self._app.metrics is not None:
            model, api = (self.target.model, self.target.action) if self.target else ("", "")
            seconds = time.perf_counter() - self._clock
            self._app.metrics.request(model, api if self.method == "POST" else "", "REST", code.name, seconds)

    async def _infer(self, action: str) -> bytes:
        if is_compressed(self.headers) or len(self._body) > MAX_BYTES:
            return await self.in_thread(self._unpack_and_run)
        self._inference = rest_inference.read_quickly(action, self._body)
        if self._inference is not None:
            self._route()
            answer = self._run_if_quick(self._inference)
            if answer is not None:
                return answer
        answer = await self.in_thread(self._read_and_run)
        if self._kind is not None:
            self._app.pace.took(self._kind, self._seconds)
        return answer

    def _run_if_quick(self, inference: Inference) -> bytes | None:
        app = self._app
        assert self.query is not None and self.target is not None
        with app.manager.acquire(self.query) as lease:
            servable = lease.servable
            size = len(self._body).bit_length()
            kind = (self.target.action, servable.name, servable.version, inference.signature, size)
            self._kind = kind
            return app.pace.run(kind, lambda: self._run(servable, inference))

    def _unpack_and_run(self) -> bytes:
        if is_compressed(self.headers):
            try:
                self._body = unpacked(self._body, self._app.body_bytes)
            except BodyTooLarge:
                raise TooLarge("unpacked body", self._app.body_bytes) from None
        return self._read_and_run()

    def _read_and_run(self) -> bytes:
        watch = Watch()
        assert self.target is not None and self.query is not None
        inference = self._inference
        if inference is None:
            inference = self._inference = rest_inference.read(self.target.action, self._body, self._deadline)
            self._route()
        with self._app.manager.acquire(self.query) as lease:
            answer = self._run(lease.servable, inference)
        self._seconds = watch.seconds()
        return answer

    def _route(self) -> None:
        hooks = self._app.hooks
        assert self.query is not None
        if hooks is not None:
            try:
                self.query = hooks.route(self.query, self._caller_key, self.id)
            except Exception:
                _LOG.exception("request %s is not routed", self.id)

    def _run(self, servable: Servable, inference: Inference) -> bytes:
        app = self._app
        assert self.target is not None
        self._version = servable.version
        metrics, entrypoint = app.metrics, ENTRYPOINTS[self.target.action]
        observe = None if metrics is None else lambda s: metrics.runtime(servable.name, entrypoint, s)
        return inference.answer(servable, app.check_rows, observe)

    def _note(self, response: bytes, code: Code, message: str) -> None:
        hooks = self._app.hooks
        if hooks is None or self.target is None:
            return
        seconds = time.perf_counter() - self._clock
        inference = self._inference
        exchange = Exchange(
            api="REST",
            entrypoint=ENTRYPOINTS[self.target.action],
            model=self.target.model,
            version=self._version,
            signature=inference.signature if inference is not None else "",
            request=self._body,
            response=response,
            code=code,
            message=message,
            request_id=self.id,
            caller_key=self._caller_key,
            started=time.time() - seconds,
            seconds=seconds,
            # Those of a large one would fill up whatever queue they come to.
            tensors=inference.tensors if inference is not None and len(self._body) <= MAX_BYTES else None,
        )
        try:
            hooks.done(exchange)
        except Exception:
            _LOG.exception("request %s is not noted", self.id)

    @property
    def _caller_key(self) -> str:
        return self._header(CALLER_KEY_HEADER) or ""

    def _header(self, name: str) -> str | None:
        value = self.headers.get(name.encode())
        return None if value is None else value.decode("latin-1")
