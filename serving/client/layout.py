"""Predictions as columns of a table: which columns there are, and what stands in them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from serving.client.results import Predictions
from serving.client.signatures import SignatureSpec

CLASSES = "classes"


@dataclasses.dataclass(frozen=True)
class Cell:
    """A column of the table.

    Attributes:
        name: its name.
        output: the output that it shows.
        position: which of a row's values; None where a row has one, or all of them as JSON.
    """

    name: str
    output: str
    position: int | None = None


@dataclasses.dataclass(frozen=True)
class Layout:
    """How predictions become columns.

    An output with one value a row is one column. One with k values a row is k columns, named after the classes where an
    output `classes` names the same k in every row (which then has no columns of its own), else by position.

    Attributes:
        cells: the columns of outputs.
        classes: the class names that columns are named after, or nothing.
        version: name of the column with the model version.
        request_id: name of the column with the request id.
        error: name of the column that says what is wrong with a row.
    """

    cells: tuple[Cell, ...]
    classes: tuple[str, ...]
    version: str
    request_id: str
    error: str

    @property
    def names(self) -> list[str]:
        """The names of all columns, in order."""
        return [*(cell.name for cell in self.cells), self.version, self.request_id, self.error]

    def columns(self, predictions: Predictions, rows: int) -> dict[str, list[Any]]:
        """Returns the columns of outputs, version and request id.

        Args:
            predictions: of some of the rows.
            rows: how many rows there are; those without a prediction get None.

        Raises:
            ValueError: classes differ from those that columns are named after.
        """
        if self.classes and len(predictions):
            classes = predictions.outputs[CLASSES]
            if classes.shape[1:] != (len(self.classes),) or not (classes == np.array(self.classes, object)).all():
                raise ValueError(f"{CLASSES!r} other than {', '.join(self.classes)}, which the first rows had")
        found: dict[str, list[Any]] = {name: [None] * rows for name in self.names[:-1]}
        for cell in self.cells:
            values = _values(predictions.outputs[cell.output], cell)
            for row, value in zip(predictions.rows.tolist(), values, strict=True):
                found[cell.name][row] = value
        for row, version, request_id in zip(
            predictions.rows.tolist(), predictions.versions, predictions.request_ids, strict=True
        ):
            found[self.version][row] = version
            found[self.request_id][row] = request_id
        return found


def decide(signature: SignatureSpec, predictions: Predictions | None, taken: Collection[str]) -> Layout:
    """Decides on columns.

    Args:
        signature: the signature that was called.
        predictions: of the first rows, at least one; or None when no row has any.
        taken: names that the columns of the rows themselves have.
    """
    shapes: Mapping[str, tuple[int, ...]]
    if predictions is None:
        shapes = {name: tuple(size or 1 for size in spec.row_shape) for name, spec in signature.outputs.items()}
    else:
        shapes = {name: array.shape[1:] for name, array in predictions.outputs.items()}
    classes = () if predictions is None else _same_classes(predictions)
    used = set(taken)

    def free(name: str) -> str:
        while name in used:
            name = f"prediction.{name}"
        used.add(name)
        return name

    cells = []
    for output, shape in shapes.items():
        if classes and output == CLASSES:
            continue
        if len(shape) != 1 or shape == (1,):
            cells.append(Cell(free(output), output))
            continue
        labels = classes if len(classes) == shape[0] else [str(i) for i in range(shape[0])]
        cells += [Cell(free(f"{output}[{label}]"), output, i) for i, label in enumerate(labels)]
    return Layout(tuple(cells), classes, free("model_version"), free("request_id"), free("error"))


def _same_classes(predictions: Predictions) -> tuple[str, ...]:
    """Returns the class names that are the same in every row, or nothing."""
    classes = predictions.outputs.get(CLASSES)
    if classes is None or classes.dtype != object or classes.ndim != 2 or classes.shape[1] < 2:
        return ()
    first = classes[0]
    if not (classes == first).all() or len(set(first)) != len(first):
        return ()
    return tuple(str(label) for label in first)


def _values(array: np.ndarray, cell: Cell) -> list[Any]:
    if cell.position is not None:
        array = array[:, cell.position]
    elif array[0:1].size > 1:
        return [json.dumps(part.tolist(), default=repr, ensure_ascii=False) for part in array]
    # Elements of the array, not Python's own numbers: a float32 is shorter in text than the same float64.
    return list(array.reshape(len(array)))
