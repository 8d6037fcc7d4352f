"""A REST request that runs a model: led to a version, passed on, and noted."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from serving.gateway.grpc_inference import AGAIN_SECONDS, NOBODY, NOT_SERVED
from serving.gateway.http_upstream import HttpAnswer
from serving.gateway.statuses import code_of_http
from serving.gateway.upstream import error_of
from serving.model_server.errors import Code, ServingError
from serving.model_server.hooks import Entrypoint, Exchange, ModelSpecQuery
from serving.model_server.json_document import parse_quickly, request_object
from serving.model_server.pace import MAX_BYTES
from serving.model_server.request_id import CALLER_KEY_HEADER
from serving.model_server.rest_answer import TooLarge
from serving.model_server.rest_body import BodyTooLarge, is_compressed, unpacked
from serving.model_server.rest_path import Target
from serving.model_server.version_state import State

if TYPE_CHECKING:
    from serving.gateway.rest_proxy import RestRequest

ENTRYPOINTS: dict[str, Entrypoint] = {"predict": "Predict", "classify": "Classify", "regress": "Regress"}

_LOG = logging.getLogger(__name__)


class RestInference:
    """A request to predict, classify or regress.

    Args:
        request: the request.
        found: what its path names.
    """

    def __init__(self, request: RestRequest, found: Target) -> None:
        self._request = request
        self._target = found
        self._entrypoint = ENTRYPOINTS.get(found.action)
        self._clock = time.perf_counter()
        self._body = b""
        self._document: dict[str, Any] = {}
        self._version: int | None = None

    async def answer(self) -> HttpAnswer:
        """Returns the answer, after it was noted.

        Raises:
            ServingError: the request is refused, or the server does not answer.
        """
        try:
            query = self._target.query()
        except ServingError:
            query = None  # The server says so too.
        if self._entrypoint is None or query is None:
            answer = await self._request.ask(self._request.path)
            self._count(code_of_http(answer.status))
            return answer
        try:
            await self._read()
            self._request.proxy.access.check_rows(_rows(self._document))
            answer = await self._asked_for(query)
        except ServingError as error:
            self._note(b"", error.code, error.message)
            raise
        except asyncio.CancelledError:
            # The time is up, or the gateway ends; either way there is no answer.
            self._note(b"", Code.DEADLINE_EXCEEDED, "The request took too long")
            raise
        code = code_of_http(answer.status)
        body = _plain(answer)
        self._note(body if code is Code.OK else b"", code, "" if code is Code.OK else error_of(body))
        return answer

    async def _read(self) -> None:
        """Reads the body, as far as the gateway has to know it."""
        request = self._request
        self._body = request.body
        if is_compressed(request.headers):
            limit = request.proxy.access.limits.message_bytes
            try:
                self._body = await asyncio.to_thread(unpacked, request.body, limit)
            except BodyTooLarge:
                raise TooLarge("unpacked body", limit) from None
        quick = parse_quickly(self._body) if len(self._body) <= MAX_BYTES else None
        if quick is None and self._body:
            try:
                seconds = request.proxy.access.limits.request_seconds
                deadline = None if seconds is None else time.monotonic() + seconds
                quick = await asyncio.to_thread(request_object, self._body, deadline)
            except ServingError as error:
                if error.code is not Code.INVALID_ARGUMENT:
                    raise
                # The server says what is wrong with it.
        self._document = quick if isinstance(quick, dict) else {}

    async def _asked_for(self, query: ModelSpecQuery) -> HttpAnswer:
        """Asks the version that the request is led to, and if the server has not got it the one that it has.

        Answers by REST do not tell which version they are of. So even where the choice is left to the server, a
        request for the line's model names the newest version that the server has.
        """
        request, models = self._request, self._request.proxy.models
        while True:
            routed = self._routed(query)
            if query.label is not None and routed == query:
                self._version = models.split.labels.get(query.label) if query.name == models.line else None
                return await request.ask(request.path)
            if query.version is not None and routed == query:
                self._version = query.version
                return await request.ask(request.path)
            self._version = routed.version
            if self._version is None and query.name == models.line:
                self._version = models.newest
            if self._version is None:
                return await request.ask(request.path)
            answer = await request.ask(self._path(self._version))
            if not _is_missing(answer):
                return answer
            self._version = await self._newest(query.name)
            if self._version is not None:
                answer = await request.ask(self._path(self._version))
                if not _is_missing(answer):
                    return answer
            if not models.settling:
                self._version = None
                return answer if models.split.shadow is not None else await request.ask(request.path)
            await asyncio.sleep(AGAIN_SECONDS)

    def _routed(self, query: ModelSpecQuery) -> ModelSpecQuery:
        try:
            key = self._request.header(CALLER_KEY_HEADER) or ""
            return self._request.proxy.hooks.route(query, key, self._request.id)
        except Exception:
            _LOG.exception("request %s is not routed", self._request.id)
            return query

    async def _newest(self, model: str) -> int | None:
        """Returns the highest version that the server has to answer, asked just now; None where that is not known."""
        try:
            statuses = await asyncio.to_thread(self._request.proxy.client.statuses, model)
        except ServingError:
            return None
        # The answers of the shadow are for nobody.
        shadow = self._request.proxy.models.split.shadow
        return max(
            (one.version for one in statuses if one.state is State.AVAILABLE and one.version != shadow), default=None
        )

    def _path(self, version: int) -> bytes:
        model = quote(self._target.model, safe="")
        return f"/v1/models/{model}/versions/{version}:{self._target.action}".encode()

    def _note(self, response: bytes, code: Code, message: str) -> None:
        seconds = time.perf_counter() - self._clock
        self._count(code)
        signature = self._document.get("signature_name", "")
        request = self._request
        try:
            assert self._entrypoint is not None
            request.proxy.hooks.done(
                Exchange(
                    api="REST",
                    entrypoint=self._entrypoint,
                    model=self._target.model,
                    version=None if code in NOBODY else self._version,
                    signature=signature if isinstance(signature, str) else "",
                    request=self._body,
                    response=response,
                    code=code,
                    message=message,
                    request_id=request.id,
                    caller_key=request.header(CALLER_KEY_HEADER) or "",
                    started=time.time() - seconds,
                    seconds=seconds,
                )
            )
        except Exception:
            _LOG.exception("request %s is not noted", request.id)

    def _count(self, code: Code) -> None:
        seconds = time.perf_counter() - self._clock
        self._request.counted = True
        self._request.proxy.metrics.request(self._target.model, self._target.action, "REST", code.name, seconds)


def _is_missing(answer: HttpAnswer) -> bool:
    return answer.status == 404 and NOT_SERVED in error_of(answer.body)


def _rows(document: dict[str, Any]) -> int:
    """Returns the size of the largest first dimension of what is asked, or how many examples there are."""
    inputs = document.get("inputs")
    values = [document.get("instances"), document.get("examples"), inputs]
    if isinstance(inputs, dict):
        values += inputs.values()
    return max((len(value) for value in values if isinstance(value, list)), default=0)


def _plain(answer: HttpAnswer) -> bytes:
    """Returns an answer's body, unpacked where it is packed."""
    if is_compressed(dict(answer.headers)):
        try:
            return unpacked(answer.body, 2**31 - 1)
        except BodyTooLarge:
            return b""
    return answer.body
