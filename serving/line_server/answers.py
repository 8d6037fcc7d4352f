"""Two answers to one request, compared: the version's that answered it, and its shadow's."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np

from serving.model_server.hooks import Api, Entrypoint
from serving.model_server.tensor_codec import to_array

Columns = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Difference:
    """How far two answers are apart.

    Attributes:
        max_abs_difference: the largest difference between two numbers, or None where they have none in common.
        class_agreement: the share of rows in which both name the same class, or None where they name none.
    """

    max_abs_difference: float | None = None
    class_agreement: float | None = None


def difference(api: Api, entrypoint: Entrypoint, one: bytes, other: bytes) -> Difference:
    """Compares two answers to the same request.

    Args:
        api: which API they are of.
        entrypoint: which method.
        one: the serialized answer, or the body.
        other: likewise.

    Returns:
        The difference over the outputs that both have in the same shape.

    Raises:
        ValueError: an answer cannot be read.
    """
    read = _of_json if api == "REST" else _of_message
    a, b = read(entrypoint, one), read(entrypoint, other)
    distances, agreement = [], None
    for name in sorted(a.keys() & b.keys()):
        if a[name].shape == b[name].shape and a[name].size and a[name].dtype.kind in "fiub":
            distances.append(float(np.max(np.abs(a[name].astype(np.float64) - b[name].astype(np.float64)))))
    classes = _classes(a), _classes(b)
    if classes[0] is not None and classes[1] is not None and classes[0].shape == classes[1].shape and classes[0].size:
        agreement = float(np.mean(classes[0] == classes[1]))
    return Difference(max(distances, default=None), agreement)


def _classes(columns: Columns) -> np.ndarray | None:
    """Returns the class of each row: the name, or else the position, of the highest score."""
    scores = next((columns[name] for name in ("probabilities", "scores") if name in columns), None)
    if scores is None or scores.ndim != 2 or not scores.shape[1]:
        return None
    best = np.argmax(scores, axis=1)
    names = columns.get("classes")
    if names is None or names.shape != scores.shape:
        return best
    return np.array([_text(name) for name in names[np.arange(len(best)), best]], dtype=object)


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _of_message(entrypoint: Entrypoint, answer: bytes) -> Columns:
    from google.protobuf.message import DecodeError

    from serving import messages

    try:
        if entrypoint == "Predict":
            response = messages.PredictResponse.FromString(answer)
            return {name: to_array(tensor) for name, tensor in response.outputs.items()}
        if entrypoint == "Classify":
            response = messages.ClassificationResponse.FromString(answer)
            rows = [[(c.label, c.score) for c in row.classes] for row in response.result.classifications]
            return _labelled(rows)
        if entrypoint == "Regress":
            response = messages.RegressionResponse.FromString(answer)
            return {"outputs": np.array([row.value for row in response.result.regressions])}
    except DecodeError as error:
        raise ValueError(f"the answer is no {entrypoint} response: {error}") from error
    return {}


def _of_json(entrypoint: Entrypoint, answer: bytes) -> Columns:
    document = json.loads(answer)
    if entrypoint == "Classify":
        return _labelled(document["results"])
    if entrypoint == "Regress":
        return {"outputs": np.array(document["results"], dtype=float)}
    if "outputs" in document:
        outputs = document["outputs"]
        return {k: _column(v) for k, v in (outputs if isinstance(outputs, dict) else {"": outputs}).items()}
    rows = document["predictions"]
    if rows and isinstance(rows[0], dict):
        return {name: _column([row[name] for row in rows]) for name in rows[0]}
    return {"": _column(rows)}


def _column(values: Any) -> np.ndarray:
    try:
        column = np.array(values)
    except ValueError:
        return np.array([], dtype=object)  # ragged: nothing to compare cell by cell
    return column if column.dtype.kind in "fiub" else np.array(values, dtype=object)


def _labelled(rows: list[list[Any]]) -> Columns:
    if not rows or len({len(row) for row in rows}) != 1:
        return {}
    return {
        "classes": np.array([[label for label, _ in row] for row in rows], dtype=object),
        "scores": np.array([[score for _, score in row] for row in rows], dtype=float),
    }
