"""What capture tells Prometheus."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge

DropReason = Literal["queue_full", "disk", "error", "stopped"]
"""`queue_full`: records came faster than they were written, or the disk stood still; `disk`: they could not be written;
`error`: no record could be made of them; `stopped`: they came after the end."""


class CaptureMetrics:
    """Counters and gauges of one line's capture.

    Args:
        line: the line; label `line` of each.
        registry: where they are registered; by default in one of their own, which nobody sees.
    """

    def __init__(self, line: str, registry: CollectorRegistry | None = None) -> None:
        registry = CollectorRegistry() if registry is None else registry

        def counter(name: str, text: str) -> Counter:
            return Counter(f"conveyor_capture_{name}", text, ["line"], registry=registry).labels(line)

        self.records = counter("records", "Requests that were written, with their answers.")
        self.bytes = counter("bytes", "Bytes that were written.")
        self.files = counter("files", "Files that were closed.")
        self.incomplete = counter("incomplete", "Records without a request and answer that standard readers know.")
        self.removed = counter("removed_bytes", "Bytes of closed files that were removed for their age or size.")
        dropped = Counter(
            "conveyor_capture_dropped",
            "Requests that were not written, by reason.",
            ["line", "reason"],
            registry=registry,
        )
        self.dropped = {reason: dropped.labels(line, reason) for reason in get_args(DropReason)}
        self._queue = Gauge(
            "conveyor_capture_queue_records", "Requests that wait to be written.", ["line"], registry=registry
        ).labels(line)
        self.last_write = Gauge(
            "conveyor_capture_last_write_timestamp_seconds",
            "When something was written last, seconds since the epoch.",
            ["line"],
            registry=registry,
        ).labels(line)

    def watch_queue(self, length: Callable[[], int]) -> None:
        """Sets how the length of the queue is found whenever somebody asks."""
        self._queue.set_function(length)
