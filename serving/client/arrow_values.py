"""Columns of table files as the arrays that a model takes, read by the rules of ingestion."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data.column_types import cast_column
from data.numbers import parse_numbers
from serving.client.signatures import TensorSpec
from serving.client.values import FLOATS, Column, expected_number, numbers_column, read_values, sentence

_TRUE_FALSE = {"true": "1", "false": "0"}


def read_column(column: pa.Array, spec: TensorSpec) -> Column:
    """Reads a column of a table file.

    Args:
        column: (n,), string, binary, int64, float64 or null, as `data.tables` gives it; null where missing.
        spec: the model's input.
    """
    rows = len(column)
    if any(size != 1 for size in spec.row_shape):
        return read_values(column.to_pylist(), spec)
    if spec.dtype == "string":
        texts, _ = cast_column(column, "BYTES")
        values = np.empty(rows, object)
        values[:] = pc.fill_null(texts, b"").to_pylist()
        read = Column(values, values == b"", {})
    else:
        read = _numbers(column, spec)
    read.values = read.values.reshape((rows, *(1 for _ in spec.row_shape)))
    return read


def _numbers(column: pa.Array, spec: TensorSpec) -> Column:
    if spec.dtype == "bool" and pa.types.is_string(column.type):
        texts = [text and _TRUE_FALSE.get(text.lower(), text) for text in column.to_pylist()]
        column = pa.array(texts, pa.string())
    numbers = parse_numbers(column)
    bad = np.zeros(len(column), bool) if numbers.bad is None else numbers.bad
    missing = np.asarray(numbers.values.is_null()) & ~bad
    if spec.dtype in FLOATS:
        read = numbers_column(np.asarray(pc.fill_null(numbers.values, 0.0)), missing | bad, spec)
    elif numbers.integers is not None:
        read = numbers_column(np.asarray(pc.fill_null(numbers.integers, 0)), missing | bad, spec)
    else:
        # Not all are integers. As floats, great ones would have lost digits, so one by one.
        skipped = (missing | bad).tolist()
        read = read_values([None if s else _number(v) for s, v in zip(skipped, column.to_pylist(), strict=True)], spec)
    for row in {*read.wrong, *np.flatnonzero(bad).tolist()}:
        read.wrong[row] = sentence(spec, expected_number(spec), _text(column[row].as_py()))
    read.missing = missing
    return read


def _number(value: Any) -> int | float:
    """Returns a number that `parse_numbers` takes for one."""
    if not isinstance(value, (str, bytes)):
        return value  # type: ignore[no-any-return]
    try:
        return int(value)
    except ValueError:
        return float(value)


def _text(value: object) -> object:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value
