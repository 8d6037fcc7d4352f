"""Two answers to one request, compared output by output."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from serving.capture.contents import rows as rows_of
from serving.model_server.tensor_codec import to_array

ROUNDING = 4e-6
"""Floats nearer to each other than this, relative to their size, may differ by the order of a sum alone: how many rows
a server puts together decides it."""

Kind = Literal["values", "labels", "dtype", "shape", "absent now", "absent then"]


@dataclasses.dataclass(frozen=True)
class Difference:
    """How an output differs.

    Attributes:
        output: its key.
        kind: `values`; `labels`, where the set of texts is another one; or what else of it is not the same.
        rows: rows in which it differs.
        max_abs: the largest difference between two finite numbers, or None for texts.
        rounding: whether the numbers differ by no more than the order of a sum makes them.
        text: what was there and what is, where it is not about finite values.
    """

    output: str
    kind: Kind
    rows: int = 0
    max_abs: float | None = None
    rounding: bool = False
    text: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Returns it as JSON-ready data."""
        return dataclasses.asdict(self)


def outputs_of(log: Any) -> dict[str, np.ndarray]:
    """Returns what was answered as arrays, by output key.

    Args:
        log: a `serving.messages.PredictionLog`.

    Returns:
        Predict: the outputs; Classify: `classes` and `scores`; Regress: `outputs`; MultiInference: these by signature.

    Raises:
        ServingError: a tensor cannot be read.
    """
    kind = log.WhichOneof("log_type")
    if kind == "predict_log":
        return {key: to_array(log.predict_log.response.outputs[key]) for key in log.predict_log.response.outputs}
    if kind == "classify_log":
        return _classes(log.classify_log.response.result)
    if kind == "regress_log":
        return _regressions(log.regress_log.response.result)
    found: dict[str, np.ndarray] = {}
    if kind == "multi_inference_log":
        for result in log.multi_inference_log.response.results:
            classifies = result.WhichOneof("result") == "classification_result"
            part = _classes(result.classification_result) if classifies else _regressions(result.regression_result)
            name = result.model_spec.signature_name
            found.update({f"{name}.{key}": array for key, array in part.items()})
    return found


def _classes(result: Any) -> dict[str, np.ndarray]:
    rows = [row.classes for row in result.classifications]
    width = max((len(row) for row in rows), default=0)
    classes = np.full((len(rows), width), b"", object)
    scores = np.zeros((len(rows), width), np.float32)
    for place, row in enumerate(rows):
        classes[place, : len(row)] = [one.label.encode() for one in row]
        scores[place, : len(row)] = [one.score for one in row]
    return {"classes": classes, "scores": scores}


def _regressions(result: Any) -> dict[str, np.ndarray]:
    return {"outputs": np.array([one.value for one in result.regressions], np.float32)}


def differences(then: Mapping[str, np.ndarray], now: Mapping[str, np.ndarray]) -> list[Difference]:
    """Returns the outputs that are not equal byte by byte.

    Args:
        then: output key to array, as captured.
        now: as answered now.
    """
    found = []
    for key in sorted({*then, *now}):
        if key not in now:
            found.append(Difference(key, "absent now"))
        elif key not in then:
            found.append(Difference(key, "absent then"))
        elif (difference := _difference(key, then[key], now[key])) is not None:
            found.append(difference)
    return found


def _difference(key: str, then: np.ndarray, now: np.ndarray) -> Difference | None:
    if then.dtype != now.dtype:
        return Difference(key, "dtype", text=f"{then.dtype} then, {now.dtype} now")
    if then.shape != now.shape:
        return Difference(key, "shape", text=f"{then.shape} then, {now.shape} now")
    if then.dtype == object:
        unequal = np.asarray(then != now, bool)
        if not unequal.any():
            return None
        kind: Kind = "labels" if set(then.reshape(-1)) != set(now.reshape(-1)) else "values"
        return Difference(key, kind, _rows(unequal))
    if then.tobytes() == now.tobytes():
        return None
    width = then.dtype.itemsize
    bits = [np.ascontiguousarray(array).view(np.uint8).reshape(*array.shape, width) for array in (then, now)]
    unequal = (bits[0] != bits[1]).any(axis=-1)
    if then.dtype.kind not in "fiu":
        return Difference(key, "values", _rows(unequal))
    before, after = then.astype(np.float64), now.astype(np.float64)
    both = np.isfinite(before) & np.isfinite(after)
    size = np.abs(np.subtract(before, after, where=both, out=np.zeros_like(before)))
    # Two NaN of other bits are both no number.
    endless = unequal & ~both & ~(np.isnan(before) & np.isnan(after))
    scale = np.maximum(np.abs(np.where(both, before, 0.0)), 1e-3)
    rounding = then.dtype.kind == "f" and not endless.any() and bool((size <= ROUNDING * scale).all())
    text = f"not finite, then or now, in {_rows(endless)} rows" if endless.any() else ""
    return Difference(key, "values", _rows(unequal), float(size.max()), rounding, text)


def _rows(unequal: np.ndarray) -> int:
    if not unequal.ndim:
        return int(unequal)
    return int(unequal.reshape(len(unequal), -1).any(axis=1).sum())


def request_rows(log: Any) -> int:
    """Returns how many rows a request had; 0 where that cannot be told."""
    return rows_of(log) or 0
