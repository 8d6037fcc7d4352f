"""The shadow: copies of requests for a version on trial, whose answers are compared and kept, and never returned."""

from __future__ import annotations

import dataclasses
import logging
import queue
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Histogram

from serving.capture.record import ShadowExchange
from serving.line_server.answers import Difference, difference
from serving.model_server.errors import Code, ServingError
from serving.model_server.hooks import Exchange, ModelSpecQuery

if TYPE_CHECKING:
    from serving.model_server.manager import Manager

Ask = Callable[[Exchange, int], bytes]
"""Returns what a version answers to a request that another one has had; raises ServingError."""

QUEUE = 1000
"""Requests that may wait for the shadow; more are dropped and counted."""

_log = logging.getLogger(__name__)


class Shadow:
    """Asks a version what another has answered, in a thread of its own.

    Args:
        line: the line's name.
        ask: asks the version.
        keep: is given each comparison.
        registry: where the metrics are registered.
    """

    def __init__(
        self, line: str, ask: Ask, keep: Callable[[ShadowExchange], None], registry: CollectorRegistry | None
    ) -> None:
        self._ask_version = ask
        self._keep = keep
        self._queue: queue.Queue[tuple[Exchange, int] | None] = queue.Queue(QUEUE)
        self._thread = threading.Thread(target=self._work, name="shadow", daemon=True)
        self._requests = Counter(
            "conveyor_shadow_requests", "Requests copied to the shadow", ("line", "outcome"), registry=registry
        )
        self._difference = Histogram(
            "conveyor_shadow_max_abs_difference",
            "Largest difference between two numbers of both answers",
            ("line",),
            buckets=(0, 1e-6, 1e-4, 1e-3, 1e-2, 0.05, 0.1, 0.25, 0.5, 1.0),
            registry=registry,
        ).labels(line)
        self._disagreement = Counter(
            "conveyor_shadow_disagreements",
            "Requests in which both answers differ in a class",
            ("line",),
            registry=registry,
        ).labels(line)
        self._line = line

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread; what still waits is dropped."""
        if self._thread.ident is None:
            return
        while True:
            try:
                self._queue.put_nowait(None)
                break
            except queue.Full:
                self._queue.get_nowait()
        self._thread.join()

    def put(self, exchange: Exchange, version: int) -> None:
        """Takes a copy of a request, if there is room. Neither waits nor raises."""
        try:
            self._queue.put_nowait((exchange, version))
        except queue.Full:
            self._requests.labels(self._line, "dropped").inc()

    def _work(self) -> None:
        while (task := self._queue.get()) is not None:
            try:
                self._ask(*task)
            except Exception:
                _log.exception("request %s is not compared with the shadow's", task[0].request_id)

    def _ask(self, exchange: Exchange, version: int) -> None:
        started = time.perf_counter()
        response, code, message = b"", Code.OK, ""
        try:
            response = self._ask_version(exchange, version)
        except ServingError as error:
            code, message = error.code, error.message
        found = Difference()
        if code is Code.OK and exchange.code is Code.OK:
            found = difference(exchange.api, exchange.entrypoint, exchange.response, response)
        self._count(code, found)
        own = {
            **{field.name: getattr(exchange, field.name) for field in dataclasses.fields(Exchange)},
            "version": version,
            "response": response,
            "code": code,
            "message": message,
            "seconds": time.perf_counter() - started,
        }
        self._keep(
            ShadowExchange(
                **own,
                of_version=exchange.version,
                max_abs_difference=found.max_abs_difference,
                class_agreement=found.class_agreement,
            )
        )

    def _count(self, code: Code, found: Difference) -> None:
        self._requests.labels(self._line, "answered" if code is Code.OK else "failed").inc()
        if found.max_abs_difference is not None:
            self._difference.observe(found.max_abs_difference)
        if found.class_agreement is not None and found.class_agreement < 1:
            self._disagreement.inc()


def asked_here(manager: Manager) -> Ask:
    """Returns what asks versions that the embedded server has loaded."""

    def ask(exchange: Exchange, version: int) -> bytes:
        with manager.acquire(ModelSpecQuery(exchange.model, version)) as lease:
            return answer(exchange, lease.servable)

    return ask


def answer(exchange: Exchange, servable: object) -> bytes:
    """Returns what a servable answers to a request that another one has had.

    Raises:
        ServingError: the request does not fit it, or it failed.
    """
    if exchange.api == "REST":
        from serving.model_server.rest_inference import read

        return read(exchange.entrypoint.lower(), exchange.request).answer(servable)  # type: ignore[arg-type]
    from serving.model_server.grpc_calls import METHODS, Inference, parse

    method = METHODS[f"/tensorflow.serving.PredictionService/{exchange.entrypoint}"]
    assert isinstance(method, Inference)
    return method.answer(servable, parse(method.message, exchange.request))
