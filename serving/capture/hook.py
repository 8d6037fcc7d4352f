"""Capture as a server sees it: something that takes note of every exchange, at no cost to it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry

from schema.serving import CaptureConfig
from serving.capture.closing import Closer
from serving.capture.metrics import CaptureMetrics
from serving.capture.record import RecordMaker
from serving.capture.redaction import Redaction
from serving.capture.rest_messages import FindSignatures, RestMessages, SignatureTensors
from serving.capture.writer import Writer
from serving.model_server.hooks import Exchange, ModelSpecQuery

if TYPE_CHECKING:
    from serving.model_server.manager import Manager


class CaptureHook:
    """Keeps requests and answers, as the line's config says. Also a context manager.

    A server calls `done` after each answer. That takes a microsecond or two, never waits and never raises: what cannot
    be kept is dropped and counted. Several processes may keep theirs in one folder.

    Args:
        root: the folder of all captured records of the line, `State.capture`.
        line: the line's name.
        config: the line's `serving.capture`.
        find_signatures: finds the signatures of a version, by which REST bodies are made messages of; without it, REST
            bodies of Predict are kept as they are. Runs in a thread of capture's own.
        registry: where the metrics are registered; by default nowhere.
    """

    def __init__(
        self,
        root: Path,
        line: str,
        config: CaptureConfig,
        *,
        find_signatures: FindSignatures | None = None,
        registry: CollectorRegistry | None = None,
    ) -> None:
        self._rate = config.sampling_rate
        metrics = CaptureMetrics(line, registry)
        redaction = None
        if config.leave_out or config.hash:
            redaction = Redaction(config.leave_out, config.hash, config.hash_key or "")
        maker = RecordMaker(
            line, config.sampling_rate, redaction, RestMessages(find_signatures), metrics.incomplete.inc
        )
        self._closer = Closer(root, config.retention_days, config.retention_bytes, metrics)
        self._writer = Writer(
            root,
            line,
            maker.make,
            self._closer,
            metrics,
            max_file_bytes=config.max_file_bytes,
            max_file_seconds=config.max_file_seconds,
            queue_records=config.queue_records,
        )

    def start(self) -> None:
        """Starts to write. What a killed process has left in the folder is mended in the background."""
        self._closer.start()
        self._writer.start()

    def stop(self, seconds: float = 10.0) -> bool:
        """Writes what waits and closes the files.

        Args:
            seconds: how long that may take.

        Returns:
            Whether it did so in time. What then is not closed yet is mended by the next start.
        """
        deadline = time.monotonic() + seconds
        return self._writer.stop(seconds) and self._closer.stop(max(deadline - time.monotonic(), 0.0))

    def route(self, query: ModelSpecQuery, caller_key: str, request_id: str) -> ModelSpecQuery:
        """Returns the query as it is: capture leaves the choice of a version to others."""
        return query

    def done(self, exchange: Exchange) -> None:
        """Takes note of an exchange; a `ShadowExchange` is marked as such and kept apart."""
        if self._rate >= 1.0 or is_sampled(exchange.request_id, self._rate):
            self._writer.put(exchange)

    @property
    def dropped(self) -> dict[str, int]:
        """How many exchanges were not kept though they should have been, by reason (`metrics.DropReason`)."""
        return self._writer.dropped

    def __enter__(self) -> CaptureHook:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def is_sampled(request_id: str, rate: float) -> bool:
    """Returns whether a request is among the share that is kept. Any process says the same of the same id."""
    digest = hashlib.blake2b(request_id.encode("utf-8", "replace"), digest_size=8).digest()
    return int.from_bytes(digest, "big") < rate * 2**64


def signatures_in(manager: Manager) -> FindSignatures:
    """Returns what finds the signatures of a version that the embedded server serves."""

    def find(model: str, version: int) -> Mapping[str, SignatureTensors]:
        with manager.acquire(ModelSpecQuery(model, version)) as lease:
            return lease.servable.signatures

    return find
