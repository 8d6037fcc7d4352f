"""What a model must answer, and how its texts are read."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from components.bulk_inferrer.inference import Model, run_graph, texts
from components.bulk_inferrer.part_table import output_column
from schema.errors import ReleaseError
from serving.client.layout import Cell
from serving.client.signatures import Metadata, SignatureSpec, TensorSpec


def model(probe: dict[str, np.ndarray]) -> Model:
    outputs = {"classes": TensorSpec("classes", "string", (None, 2)), "p": TensorSpec("p", "float32", (None, 2))}
    signature = SignatureSpec("serving_default", "", {}, outputs)
    return Model(Metadata("toy", 1, {}), signature, "examples", probe, None)


def test_texts() -> None:
    array = np.array([[b"a", b"\xff"], [b"\xc3\xa9", b"a"]], object)
    assert texts(array).tolist() == [["a", "\\xff"], ["é", "a"]]
    numbers = np.ones(3)
    assert texts(numbers) is numbers


def test_an_output_that_is_not_a_value_a_row() -> None:
    def graph(signature: str, inputs: dict[str, Any]) -> dict[str, np.ndarray]:
        return {"total": np.array([1.0])}

    assert run_graph(graph, "s", "examples", [b""])["total"].tolist() == [1.0]
    with pytest.raises(ReleaseError, match=r"'total' must have a value for each of 2 rows. Got \(1,\) instead"):
        run_graph(graph, "s", "examples", [b"", b""])


def test_classes_that_differ_from_row_to_row() -> None:
    names = np.array([[b"no", b"yes"]], object)
    one = model({"classes": names, "p": np.ones((1, 2), np.float32)})
    layout = one.layout(["error"])
    assert [cell.name for cell in layout.cells] == ["p[no]", "p[yes]"]
    assert layout.error == "prediction.error"
    one.check_classes(layout, {"classes": np.repeat(names, 3, axis=0)})
    with pytest.raises(ReleaseError, match="'classes' must be no, yes in every row"):
        one.check_classes(layout, {"classes": np.array([[b"no", b"yes"], [b"yes", b"no"]], object)})


def test_an_output_of_several_values_without_names_is_json() -> None:
    cell = Cell("classes", "classes")
    assert output_column(np.array([[b"a", b"b"]], object), cell).to_pylist() == ['["a", "b"]']
    assert output_column(np.zeros((0, 2), object), cell).type == pa.string()
    assert output_column(np.zeros((0, 1), np.float32), cell).type == pa.float32()
