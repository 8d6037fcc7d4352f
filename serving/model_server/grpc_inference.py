"""A gRPC request that runs a model: in the event loop where that is quick, else in a thread."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from serving.model_server.errors import Code, ServingError
from serving.model_server.grpc_call import Call
from serving.model_server.grpc_calls import Inference, parse
from serving.model_server.hooks import Exchange, ModelSpecQuery
from serving.model_server.pace import MAX_BYTES, Watch
from serving.model_server.predict_plan import Planned
from serving.model_server.request_id import CALLER_KEY_HEADER
from serving.model_server.tokens import Role

if TYPE_CHECKING:
    from serving.model_server.grpc_service import GrpcService
    from serving.model_server.servable import Servable

_LOG = logging.getLogger(__name__)
_Kind = tuple[str, str, int, str, int]


class InferenceCall(Call):
    """A request to Predict, Classify, Regress or MultiInference.

    Args:
        service: what it is made to.
        method: which of them.
        metadata: names and values.
    """

    def __init__(self, service: GrpcService, method: Inference, metadata: Any) -> None:
        super().__init__(service, Role.READ, metadata)
        self._method = method
        self._request: Any = None
        self._query: ModelSpecQuery | None = None
        self._version: int | None = None
        self._signature = ""
        self._planned: Planned | None = None
        self._kind: _Kind | None = None
        self._seconds = 0.0
        self._was_noted = False

    async def answer(self, raw: bytes) -> bytes:
        """See `Call`."""
        if len(raw) <= MAX_BYTES:
            if self._method.planned:
                self._planned = self.service.plans.find(raw)
            response = None if self._planned is None else await self._together(raw, self._planned)
            if response is None:
                response = self._noted(raw, self._in_loop)
            if response is not None:
                return response
        response = await self.in_thread(lambda: self._noted(raw, self._in_thread))
        if self._kind is not None:
            self.service.pace.took(self._kind, self._seconds)
        assert response is not None
        return response

    def failed(self, error: ServingError) -> None:
        """See `Call`. Hooks are told of nothing that was refused before it was read."""
        if not self._was_noted and self.service.metrics is not None:
            self._count("", error.code, time.perf_counter() - self.clock)

    async def _together(self, raw: bytes, planned: Planned) -> bytes | None:
        """Answers a request together with others that are there; returns None if it must be answered by itself."""
        service, plan = self.service, planned.plan
        if service.gatherer is None or not plan.frame.by_row:
            return None
        try:
            with service.manager.acquire(self._prepare(raw)) as lease:
                servable = lease.servable
                binding = plan.binding(servable)
                if binding is None:
                    return None
                if service.check_rows is not None:
                    service.check_rows(plan.frame.rows)
                started = time.perf_counter()
                outputs = await service.gatherer.run(self._kind_of(servable, raw), servable, planned, binding)
                if outputs is None:
                    return None
                self._version = servable.version
                observe_run = service.observe_run(self._method.entrypoint, servable.name)
                if observe_run is not None:
                    observe_run(time.perf_counter() - started)
                response = plan.response(servable, binding, outputs, service.as_content)
        except Exception as e:
            raise self._noted_error(raw, e) from e
        self._note(raw, response, Code.OK, "")
        return response

    def _kind_of(self, servable: Servable, raw: bytes) -> _Kind:
        # By its size, so that a batch does not pass for a row.
        return self._method.entrypoint, servable.name, servable.version, self._signature, len(raw).bit_length()

    def _in_loop(self, raw: bytes) -> bytes | None:
        """Answers a request that will be quick; returns None for any other."""
        service, method = self.service, self._method
        query = self._query or self._prepare(raw)
        with service.manager.acquire(query) as lease:
            servable = lease.servable
            kind = self._kind = self._kind_of(servable, raw)
            response = service.pace.run(kind, lambda: self._run(servable, raw))
            if response is not None and self._request is not None and method.planned:
                if self._planned is not None:
                    self._planned.plan.bind(servable)
                else:
                    service.plans.learn(raw, self._request, method.query(self._request), servable)
            return response

    def _in_thread(self, raw: bytes) -> bytes:
        watch = Watch()
        query = self._query or self._prepare(raw)
        with self.service.manager.acquire(query) as lease:
            response = self._run(lease.servable, raw)
        self._seconds = watch.seconds()
        return response

    def _prepare(self, raw: bytes) -> ModelSpecQuery:
        planned = self._planned
        if planned is not None:
            query, self._signature = planned.plan.query, planned.plan.signature_name
        else:
            self._request = parse(self._method.message, raw)
            query = self._method.query(self._request)
            self._signature = self._method.signature(self._request)
        self._query = query
        hooks = self.service.hooks
        if hooks is not None:
            try:
                self._query = query = hooks.route(query, self.headers.get(CALLER_KEY_HEADER, ""), self.id)
            except Exception:
                _LOG.exception("request %s is not routed", self.id)
        return query

    def _run(self, servable: Servable, raw: bytes) -> bytes:
        service, planned = self.service, self._planned
        self._version = servable.version
        observe_run = service.observe_run(self._method.entrypoint, servable.name)
        content, check_rows = service.as_content, service.check_rows
        if planned is not None:
            response = planned.answer(servable, as_content=content, check_rows=check_rows, observe_run=observe_run)
            if response is not None:
                return response
            self._request = parse(self._method.message, raw)
        return self._method.answer(
            servable, self._request, as_content=content, check_rows=check_rows, observe_run=observe_run
        )

    def _noted(self, raw: bytes, work: Callable[[bytes], bytes | None]) -> bytes | None:
        try:
            response = work(raw)
        except Exception as e:
            raise self._noted_error(raw, e) from e
        if response is not None:
            self._note(raw, response, Code.OK, "")
        return response

    def _noted_error(self, raw: bytes, error: Exception) -> ServingError:
        explained = self.explained(error)
        self._note(raw, b"", explained.code, explained.message)
        return explained

    def _note(self, raw: bytes, response: bytes, code: Code, message: str) -> None:
        self._was_noted = True
        service = self.service
        if service.metrics is None and service.hooks is None:
            return
        if self.overdue:
            # A thread is done with what the caller does not wait for any more.
            error = self.too_slow()
            response, code, message = b"", error.code, error.message
        seconds = time.perf_counter() - self.clock
        model = self._query.name if self._query is not None else ""
        try:
            if service.metrics is not None:
                self._count(model, code, seconds)
            if service.hooks is not None:
                exchange = Exchange(
                    api="gRPC",
                    entrypoint=self._method.entrypoint,
                    model=model,
                    version=self._version,
                    signature=self._signature,
                    request=raw,
                    response=response,
                    code=code,
                    message=message,
                    request_id=self.id,
                    caller_key=self.headers.get(CALLER_KEY_HEADER, ""),
                    started=time.time() - seconds,
                    seconds=seconds,
                )
                service.hooks.done(exchange)
        except Exception:
            _LOG.exception("request %s is not noted", self.id)

    def _count(self, model: str, code: Code, seconds: float) -> None:
        entrypoint, metrics = self._method.entrypoint, self.service.metrics
        # TensorFlow Serving counts no MultiInference.
        if metrics is not None and entrypoint != "MultiInference":
            metrics.request(model, entrypoint, "GRPC", code.name, seconds)
