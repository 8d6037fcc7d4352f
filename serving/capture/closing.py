"""What is done to whole files, in a thread of its own so that no record waits for a disk to sync."""

from __future__ import annotations

import logging
import queue
import threading
import time
from pathlib import Path

from serving.capture.capture_file import CaptureFile, recover
from serving.capture.metrics import CaptureMetrics
from serving.capture.retention import sweep

logger = logging.getLogger(__name__)

_PERIOD_SECONDS = 600.0
_SETTLE_SECONDS = 1.0


class Closer:
    """Closes files, mends those that killed processes left, and removes the old ones.

    It mends and removes at the start and every ten minutes, and removes once more when files were closed.

    Args:
        root: the folder of all captured records.
        days: the most days that a file is kept, or None.
        max_bytes: the most bytes that closed files may have together, or None.
        metrics: what is told to Prometheus.
    """

    def __init__(self, root: Path, days: float | None, max_bytes: int | None, metrics: CaptureMetrics) -> None:
        self._root = root
        self._days = days
        self._max_bytes = max_bytes
        self._metrics = metrics
        self._files: queue.SimpleQueue[CaptureFile | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="capture-closer", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def close(self, file: CaptureFile) -> None:
        """Has a file closed soon. It must not be used any more."""
        self._files.put(file)

    def stop(self, seconds: float) -> bool:
        """Closes what is still to be closed and ends the thread. Returns whether it did so in time."""
        if self._thread.ident is None:
            return True
        self._files.put(None)
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        self._tidy()
        tidied = time.monotonic()
        closed = 0
        while True:
            try:
                file = self._files.get(timeout=_SETTLE_SECONDS if closed else _PERIOD_SECONDS)
            except queue.Empty:
                file = None
                ended = False
            else:
                ended = file is None
            if file is not None:
                self._close(file)
                closed += 1
            if time.monotonic() - tidied >= (_SETTLE_SECONDS if closed else _PERIOD_SECONDS) or (ended and closed):
                self._tidy()
                tidied = time.monotonic()
                closed = 0
            if ended:
                return

    def _close(self, file: CaptureFile) -> None:
        try:
            file.close()
        except Exception as error:
            logger.error("capture: %s could not be closed, it is mended later: %s", file.path, error)
        else:
            self._metrics.files.inc()

    def _tidy(self) -> None:
        try:
            for file in recover(self._root):
                text = "capture: %s was left open by a killed process: kept %d bytes of whole records, cut off %d"
                logger.warning(text, file.path, file.bytes_kept, file.bytes_cut)
            removed = sweep(self._root, self._days, self._max_bytes)
        except Exception as error:
            logger.error("capture: %s could not be tidied up: %s", self._root, error)
        else:
            self._metrics.removed.inc(removed.bytes)
