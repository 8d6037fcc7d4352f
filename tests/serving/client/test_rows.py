"""Rows and columns of all kinds, turned into columns with known names."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from schema.errors import UsageError
from serving.client.rows import gather

WANTED = ("a", "b")


def plain(columns: Any) -> dict[str, list[Any]]:
    return {name: list(values) for name, values in columns.items()}


@pytest.mark.parametrize(
    "rows",
    [
        [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}],
        ({"a": 1, "b": "x"}, {"a": 2, "b": "y"}),
        iter([{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]),
        {"a": [1, 2], "b": ("x", "y")},
        {"a": np.array([1, 2]), "b": pd.Series(["x", "y"])},
        pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}),
        pa.table({"a": [1, 2], "b": ["x", "y"]}),
    ],
    ids=["list", "tuple", "iterator", "lists", "arrays", "pandas", "arrow"],
)
def test_kinds_of_rows(rows: Any) -> None:
    found = gather(rows, WANTED)
    assert found.rows == 2
    assert plain(found.columns) == {"a": [1, 2], "b": ["x", "y"]}
    assert not found.problems


def test_what_a_row_has_not_is_none() -> None:
    assert plain(gather([{"a": 1}, {"b": 2}, {}], WANTED).columns) == {"a": [1, None, None], "b": [None, 2, None]}


def test_one_row() -> None:
    assert plain(gather({"a": 1, "b": None}, WANTED).columns) == {"a": [1], "b": [None]}
    assert plain(gather({"a": "text"}, WANTED).columns) == {"a": ["text"]}
    assert plain(gather({"a": 1, "b": [1, 2]}, WANTED).columns) == {"a": [1], "b": [[1, 2]]}


def test_nothing() -> None:
    assert gather([], WANTED).rows == 0
    assert gather({}, WANTED).rows == 0


def test_names_that_nobody_knows() -> None:
    found = gather([{"a": 1, "tip": 2}, {"A": 1, "zzz": 2}], WANTED, {"tip"})
    assert found.unused == ("tip",)
    assert [(problem.row, problem.column, problem.reason) for problem in found.problems] == [
        (1, "A", "columns must be those of the model. Got 'A' instead. Did you mean 'a'?"),
        (1, "zzz", "columns must be those of the model. Got 'zzz' instead. There are: a, b."),
    ]
    found = gather({"a": [1, 2], "tip": [3, 4], "c": [5, 6]}, WANTED, {"tip"})
    assert found.unused == ("tip",)
    assert [problem.row for problem in found.problems] == [0, 1]


def test_all_names() -> None:
    assert set(gather([{"x": 1}, {"y": 2}], None).columns) == {"x", "y"}
    assert set(gather({"x": [1]}, None).columns) == {"x"}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({"a": [1, 2], "b": [1]}, "columns must have one value a row, so all the same length. Got a: 2, b: 1 instead"),
        ({"a": [1], "b": object()}, "column 'b' must be a list or an array. Got object instead"),
        ([{"a": 1}, 5], "row 1 must be a mapping of columns to values. Got int instead"),
        ("text", "rows must be mappings of columns to values. Got str instead"),
        (5, "rows must be mappings of columns to values. Got int instead"),
    ],
)
def test_what_is_no_rows(rows: Any, message: str) -> None:
    with pytest.raises(UsageError) as raised:
        gather(rows, WANTED)
    assert message in str(raised.value)
