"""A gRPC request that runs a model: led to a version, passed on, and noted."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

import grpc
import grpc.aio

from serving.gateway.grpc_proxy import Unary
from serving.gateway.request_wire import METHODS, Asked, read, version_of, with_version
from serving.model_server.errors import Code
from serving.model_server.hooks import Exchange
from serving.model_server.pace import MAX_BYTES
from serving.model_server.request_id import CALLER_KEY_HEADER

NOT_SERVED = "Servable not found for request"
"""How TensorFlow Serving says that it has not got a version."""

AGAIN_SECONDS = 0.05
"""How soon a request is sent again for which there is no version at the moment."""

NOBODY = frozenset({Code.NOT_FOUND, Code.UNAVAILABLE, Code.UNIMPLEMENTED, Code.UNAUTHENTICATED, Code.PERMISSION_DENIED})
"""Codes of requests that no version has looked at."""

_LOG = logging.getLogger(__name__)


class Inference(Unary):
    """A request to Predict, Classify, Regress or MultiInference."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._entrypoint = METHODS[self.path][0]
        self._raw: bytes | None = None
        self._asked = Asked(None, "", 0)
        self._version: int | None = None

    async def pass_on(self, context: Any) -> bytes:
        """See `Passed`."""
        self._raw = raw = await self.read(context)
        try:
            # What does not fit into a moment must not hold up the others.
            found = await asyncio.to_thread(read, self._entrypoint, raw) if len(raw) > MAX_BYTES else None
            self._asked = found or read(self._entrypoint, raw)
        except ValueError:
            _LOG.debug("request %s cannot be read", self.id)  # The server will say so.
        self.proxy.access.check_rows(self._asked.rows)
        answer = await self._asked_for(raw, context)
        version = version_of(self._entrypoint, answer)
        self._version = self._version if version is None else version
        self._note(answer, Code.OK, "")
        return answer

    def noted(self, code: Code, message: str) -> None:
        """See `Passed`."""
        if code in NOBODY:
            self._version = None
        self._note(b"", code, message)

    async def _asked_for(self, raw: bytes, context: Any) -> bytes:
        """Asks the version that the request is led to, and if the server has not got it the one that it has."""
        query, models = self._asked.query, self.proxy.models
        while True:
            routed = None if query is None else self._routed()
            self._version = None if routed is None else routed.version
            if routed is None or routed == query:
                return await self.ask(raw, context)
            assert routed.version is not None
            led = with_version(self._entrypoint, raw, routed.version)
            # Left to the server, the choice could fall on the shadow, whose answers nobody is given.
            attempts = (led, raw) if models.split.shadow is None else (led,)
            for message in attempts:
                try:
                    return await self.ask(message, context)
                except grpc.aio.AioRpcError as error:
                    missing = error.code() is grpc.StatusCode.NOT_FOUND and NOT_SERVED in (error.details() or "")
                    if not missing or (message is attempts[-1] and not models.settling):
                        raise
            await asyncio.sleep(AGAIN_SECONDS)

    def _routed(self) -> Any:
        try:
            return self.proxy.hooks.route(self._asked.query, self.headers.get(CALLER_KEY_HEADER, ""), self.id)  # type: ignore[arg-type]
        except Exception:
            _LOG.exception("request %s is not routed", self.id)
            return self._asked.query

    def _note(self, response: bytes, code: Code, message: str) -> None:
        seconds = time.perf_counter() - self.clock
        query = self._asked.query
        model = query.name if query is not None else ""
        try:
            if self._entrypoint != "MultiInference":  # TensorFlow Serving counts none.
                self.proxy.metrics.request(model, self._entrypoint, "GRPC", code.name, seconds)
            if self._raw is None or query is None:
                return
            self.proxy.hooks.done(
                Exchange(
                    api="gRPC",
                    entrypoint=self._entrypoint,
                    model=model,
                    version=self._version,
                    signature=self._asked.signature,
                    request=self._raw,
                    response=response,
                    code=code,
                    message=message,
                    request_id=self.id,
                    caller_key=self.headers.get(CALLER_KEY_HEADER, ""),
                    started=time.time() - seconds,
                    seconds=seconds,
                )
            )
        except Exception:
            _LOG.exception("request %s is not noted", self.id)
