"""Outputs as columns of a table."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from serving.client.calls import Tensors
from serving.client.layout import decide
from serving.client.results import Batch, Predictions, join
from serving.client.signatures import SignatureSpec, TensorSpec


def predictions(**outputs: Any) -> Predictions:
    rows = len(next(iter(outputs.values())))
    return Predictions("s", outputs, np.arange(rows), (1,) * rows, ("r",) * rows)


def names(found: Predictions) -> list[str]:
    return [cell.name for cell in decide(SignatureSpec("s", "", {}, {}), found, ()).cells]


def texts(rows: list[list[str]]) -> np.ndarray:
    return np.array(rows, object)


def test_columns_are_named_after_classes() -> None:
    found = predictions(
        classes=texts([["a", "b"]] * 2), p=np.ones((2, 2)), top=texts([["a"], ["b"]]), x=np.ones((2, 3))
    )
    assert names(found) == ["p[a]", "p[b]", "top", "x[0]", "x[1]", "x[2]"]


@pytest.mark.parametrize("classes", [[["a", "b"], ["b", "a"]], [["a", "a"]] * 2])
def test_classes_that_name_nothing(classes: list[list[str]]) -> None:
    found = predictions(classes=texts(classes), p=np.ones((2, 2)))
    assert names(found) == ["classes[0]", "classes[1]", "p[0]", "p[1]"]


def test_outputs_of_more_dimensions() -> None:
    found = predictions(m=np.arange(8.0).reshape(2, 2, 2))
    layout = decide(SignatureSpec("s", "", {}, {}), found, ())
    assert layout.columns(found, 2)["m"] == ["[[0.0, 1.0], [2.0, 3.0]]", "[[4.0, 5.0], [6.0, 7.0]]"]


def test_rows_without_a_prediction() -> None:
    found = Predictions("s", {"y": np.array([1.5, 2.5])}, np.array([1, 3]), (7, None), ("a", "b"))
    columns = decide(SignatureSpec("s", "", {}, {}), found, ()).columns(found, 4)
    assert columns["y"] == [None, 1.5, None, 2.5]
    assert columns["model_version"] == [None, 7, None, None]
    assert columns["request_id"] == [None, "a", None, "b"]


def test_classes_that_change_later() -> None:
    first = predictions(classes=texts([["a", "b"]]), p=np.ones((1, 2)))
    layout = decide(SignatureSpec("s", "", {}, {}), first, ())
    with pytest.raises(ValueError, match="'classes' other than a, b"):
        layout.columns(predictions(classes=texts([["b", "a"]]), p=np.ones((1, 2))), 1)


@pytest.mark.parametrize("array", [np.ones(()), np.ones(3)])
def test_outputs_that_do_not_fit_their_rows(array: np.ndarray) -> None:
    signature = SignatureSpec("s", "", {}, {"y": TensorSpec("y", "float32", (None,))})
    with pytest.raises(ValueError, match="'y' of shape"):
        join(signature, [Batch(np.arange(2), Tensors({"y": array}, 1), "r")])
