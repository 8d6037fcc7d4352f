"""Takes exchanges from any thread at once and writes them later, in a thread of its own."""

from __future__ import annotations

import collections
import errno
import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from serving.capture.capture_file import CaptureFile
from serving.capture.closing import Closer
from serving.capture.metrics import CaptureMetrics, DropReason
from serving.model_server.hooks import Exchange

logger = logging.getLogger(__name__)

Encode = Callable[[Exchange], tuple[str, bytes]]
"""Makes a record of an exchange: the folder that it belongs to, and the framed record."""

TICK_SECONDS = 0.1
_BATCH = 64
_LARGE_BYTES = 16 * 1024
_MAX_LARGE_BYTES = 64 * 1024 * 1024
_LOG_SECONDS = 10.0
# A disk that is full is asked again with the same file; after any other error the file is given up.
_FULL = (errno.ENOSPC, errno.EDQUOT)


class Writer:
    """A bounded queue, and one thread that writes what is in it.

    What is put in is written within a tenth of a second, as long as the disk keeps up.

    Args:
        root: the folder of all captured records.
        line: the line's name.
        encode: makes the records; runs in the writer's thread and may raise anything.
        closer: closes the files.
        metrics: what is told to Prometheus.
        max_file_bytes: a file is closed at this size.
        max_file_seconds: and at this age.
        queue_records: exchanges that may wait. Those above 16 KiB may besides not have more than 64 MiB together.
    """

    def __init__(
        self,
        root: Path,
        line: str,
        encode: Encode,
        closer: Closer,
        metrics: CaptureMetrics,
        *,
        max_file_bytes: int,
        max_file_seconds: float,
        queue_records: int,
    ) -> None:
        self._root = root
        self._line = line
        self._encode = encode
        self._closer = closer
        self._metrics = metrics
        self._max_file_bytes = max_file_bytes
        self._max_file_seconds = max_file_seconds
        self._limit = queue_records
        self._half = max(queue_records // 2, 1)
        self._queue: collections.deque[Exchange] = collections.deque()
        self._large_bytes = 0
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stopping = False
        self._files: dict[str, CaptureFile] = {}
        self._dropped: collections.Counter[DropReason] = collections.Counter()
        self._logged: collections.Counter[DropReason] = collections.Counter()
        self._logged_when: dict[DropReason, float] = {}
        self._last_error: dict[DropReason, str] = {}
        self._thread = threading.Thread(target=self._run, name="capture-writer", daemon=True)
        metrics.watch_queue(self._queue.__len__)

    @property
    def dropped(self) -> dict[str, int]:
        """How many exchanges were not written, by reason."""
        with self._lock:
            return {str(reason): count for reason, count in self._dropped.items()}

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def put(self, exchange: Exchange) -> None:
        """Takes an exchange, or drops it and counts that. Returns at once and never raises."""
        queue = self._queue
        waiting = len(queue)
        if waiting >= self._limit:
            self._drop("queue_full")
            return
        if self._stopping:
            self._drop("stopped")
            return
        size = len(exchange.request) + len(exchange.response)
        if size > _LARGE_BYTES and not self._room(size):
            self._drop("queue_full")
            return
        # No lock: `append` is atomic, and that racing threads exceed the limit by one each does no harm.
        queue.append(exchange)
        if waiting == self._half:
            self._wake.set()

    def stop(self, seconds: float) -> bool:
        """Writes what waits, has the files closed and ends the thread. Returns whether it did so in time."""
        self._stopping = True
        if self._thread.ident is None:
            return True
        self._wake.set()
        self._thread.join(seconds)
        if not self._thread.is_alive():
            if self._queue:
                self._drop("stopped", len(self._queue))
                self._queue.clear()
            return True
        logger.error("capture: %d requests are lost, %s could not be written in time", len(self._queue), self._root)
        return False

    def _room(self, size: int) -> bool:
        # Small ones are bounded by their number alone: without a lock no sum over threads would stay right.
        with self._lock:
            if self._large_bytes and self._large_bytes + size > _MAX_LARGE_BYTES:
                return False
            self._large_bytes += size
            return True

    def _drop(self, reason: DropReason, count: int = 1, error: str = "") -> None:
        with self._lock:
            self._dropped[reason] += count
            if error:
                self._last_error[reason] = error
        self._metrics.dropped[reason].inc(count)

    def _run(self) -> None:
        stopping = False
        while not stopping:
            self._wake.wait(TICK_SECONDS)
            self._wake.clear()
            # Read before the queue is emptied: what was put before the end is written.
            stopping = self._stopping
            self._empty_queue()
            for folder, file in list(self._files.items()):
                if stopping or file.age >= self._max_file_seconds:
                    self._close(folder)
            self._log_drops(at_end=stopping)

    def _empty_queue(self) -> None:
        while self._queue:
            frames: dict[str, list[bytes]] = {}
            for exchange in self._batch():
                try:
                    folder, framed = self._encode(exchange)
                except Exception as e:
                    # Its text may have values of the request in it.
                    self._drop("error", error=type(e).__name__)
                else:
                    frames.setdefault(folder, []).append(framed)
            for folder, framed_records in frames.items():
                self._append(folder, framed_records)

    def _batch(self) -> Iterator[Exchange]:
        for _ in range(_BATCH):
            if not self._queue:
                return
            exchange = self._queue.popleft()
            size = len(exchange.request) + len(exchange.response)
            if size > _LARGE_BYTES:
                with self._lock:
                    self._large_bytes -= size
            yield exchange

    def _append(self, folder: str, frames: list[bytes]) -> None:
        before = written = 0
        error: Exception | None
        try:
            file = self._file(folder)
            before = file.size
            written, error = file.write(frames)
        except Exception as e:
            error = e
        current = self._files.get(folder)
        if written and current is not None:
            self._metrics.records.inc(written)
            self._metrics.bytes.inc(current.size - before)
            self._metrics.last_write.set_to_current_time()
        if error is not None:
            self._drop("disk", len(frames) - written, error=str(error))
        full = isinstance(error, OSError) and error.errno in _FULL
        if current is not None and (
            current.size >= self._max_file_bytes or current.torn or (error is not None and not full)
        ):
            self._close(folder)

    def _file(self, folder: str) -> CaptureFile:
        if folder in self._files and self._files[folder].removed:
            self._close(folder)
        if folder not in self._files:
            self._files[folder] = CaptureFile(self._root, folder, self._line)
        return self._files[folder]

    def _close(self, folder: str) -> None:
        self._closer.close(self._files.pop(folder))

    def _log_drops(self, at_end: bool) -> None:
        now = time.monotonic()
        with self._lock:
            dropped = dict(self._dropped)
        for reason, count in dropped.items():
            new = count - self._logged[reason]
            if not new or not (at_end or now - self._logged_when.get(reason, -_LOG_SECONDS) >= _LOG_SECONDS):
                continue
            self._logged[reason] = count
            self._logged_when[reason] = now
            why = f"{reason.replace('_', ' ')}: {self._last_error.get(reason, '')}".rstrip(": ")
            text = "capture of line %r: %d requests were answered but not kept (%s); files are in %s"
            logger.warning(text, self._line, new, why, self._root)
