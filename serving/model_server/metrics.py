"""What the server counts, under TensorFlow Serving's names and in its text format.

prometheus-client cannot write those names: it ends every counter in `_total`. So the server's own metrics are written
here, and it writes whatever else is in the registry.
"""

from __future__ import annotations

import bisect
import threading

from prometheus_client import CollectorRegistry, generate_latest

CONTENT_TYPE = "text/plain"
PATH = "/monitoring/prometheus/metrics"

REQUEST_COUNT = "/tensorflow/serving/request_count"
REQUEST_LATENCY = "/tensorflow/serving/request_latency"
RUNTIME_LATENCY = "/tensorflow/serving/runtime_latency"

# Microseconds; up to 25 minutes.
_LIMITS = [10 * 1.8**power for power in range(33)]
# A client that asks for ever new models must not fill the memory.
_MAX_MODELS = 1000
_MAX_NAME = 256

_Labels = tuple[str, ...]


class Metrics:
    """Counts requests. Safe to use from several threads.

    Attributes:
        registry: where others put metrics of theirs.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._lock = threading.Lock()
        self._models: set[str] = set()
        self._counts: dict[_Labels, int] = {}
        self._requests = _Histogram(REQUEST_LATENCY, ("model_name", "API", "entrypoint"))
        self._runs = _Histogram(RUNTIME_LATENCY, ("model_name", "API", "runtime"))

    def request(self, model: str, api: str, entrypoint: str, status: str, seconds: float) -> None:
        """Counts a request.

        Args:
            model: the model's name as it was asked for; empty for a request that names none.
            api: the method, e.g. `Predict` (gRPC) or `predict` (REST).
            entrypoint: `GRPC` or `REST`.
            status: the name of its canonical code; only of an `OK` one the time counts.
            seconds: how long it took.
        """
        with self._lock:
            model = self._known(model)
            key = (model, status)
            self._counts[key] = self._counts.get(key, 0) + 1
            if status == "OK":
                self._requests.add((model, api, entrypoint), seconds)

    def runtime(self, model: str, api: str, seconds: float) -> None:
        """Notes how long TensorFlow ran for a request.

        Args:
            model: the model's name.
            api: the method, e.g. `Predict`, for REST too.
            seconds: how long.
        """
        with self._lock:
            self._runs.add((self._known(model), api, "TF1"), seconds)

    def value(self, name: str) -> int:
        """Returns what HandleReloadConfigRequest tells of a metric.

        Args:
            name: its name in TensorFlow, e.g. `/tensorflow/serving/request_count`.

        Returns:
            The first of its counts, by label; 0 if there is none or it is not a count.
        """
        with self._lock:
            return self._counts[min(self._counts)] if name == REQUEST_COUNT and self._counts else 0

    def page(self) -> bytes:
        """Returns all metrics as text."""
        with self._lock:
            name = _prometheus_name(REQUEST_COUNT)
            lines = [f"# TYPE {name} counter"]
            for labels, count in sorted(self._counts.items()):
                lines.append(f"{name}{{{_labels(('model_name', 'status'), labels)}}} {count}")
            lines += self._requests.lines()
            lines += self._runs.lines()
        return ("\n".join(lines) + "\n").encode("utf-8", "replace") + generate_latest(self.registry)

    def _known(self, model: str) -> str:
        if model in self._models:
            return model
        if len(self._models) >= _MAX_MODELS or len(model) > _MAX_NAME:
            return ""
        self._models.add(model)
        return model


class _Histogram:
    """Latencies in microseconds. Not safe by itself."""

    def __init__(self, name: str, label_names: _Labels) -> None:
        self._name = _prometheus_name(name)
        self._label_names = label_names
        self._cells: dict[_Labels, _Cell] = {}

    def add(self, labels: _Labels, seconds: float) -> None:
        cell = self._cells.get(labels)
        if cell is None:
            cell = self._cells[labels] = _Cell()
        micros = round(seconds * 1e6)
        cell.buckets[bisect.bisect_right(_LIMITS, micros)] += 1
        cell.sum += micros

    def lines(self) -> list[str]:
        lines = [f"# TYPE {self._name} histogram"]
        for values, cell in sorted(self._cells.items(), key=lambda item: item[0]):
            labels = _labels(self._label_names, values)
            count = 0
            for bucket, limit in zip(cell.buckets, [*(f"{limit:g}" for limit in _LIMITS), "+Inf"], strict=True):
                count += bucket
                lines.append(f'{self._name}_bucket{{{labels},le="{limit}"}} {count}')
            lines.append(f"{self._name}_sum{{{labels}}} {cell.sum}")
            lines.append(f"{self._name}_count{{{labels}}} {count}")
        return lines


class _Cell:
    __slots__ = ("buckets", "sum")

    def __init__(self) -> None:
        self.buckets = [0] * (len(_LIMITS) + 1)
        self.sum = 0


def _prometheus_name(name: str) -> str:
    return name.replace("/", ":")


def _labels(names: _Labels, values: _Labels) -> str:
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in zip(names, values, strict=True))


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
