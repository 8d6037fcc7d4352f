"""Canonical bytes of rows: equal rows have equal bytes, whatever file format or column type they came in.

A row is its non-missing values in the order of their column names, each as length and text of the name, a type tag
and the value. Lengths make it impossible to shift bytes from one value to the next.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data.binary import fixed_binary, join_cells, kept_where
from data.numbers import parse_numbers


def canonical_rows(columns: Mapping[str, pa.Array], *, exact: bool = False) -> pa.Array:
    """Returns the canonical bytes of rows, binary (n,).

    By default every text that is a number counts as that number (with the precision of float32 when it is no integer,
    as a tf.Example holds it), so that neither the type that a column is given nor the file format matters.

    Args:
        columns: the columns, (n,) each: string, binary, int64, float64 or null; null where missing. At least one.
        exact: keep every bit and the physical type instead, for fingerprints of formats without raw rows.
    """
    cells = []
    for name in sorted(columns):
        column = columns[name]
        if pa.types.is_null(column.type):
            continue
        prefix = len(name.encode()).to_bytes(4, "little") + name.encode()
        cells.append(_exact_cells(prefix, column) if exact else _cells(prefix, column))
    if not cells:
        count = len(next(iter(columns.values())))
        return pa.array([b""] * count, pa.binary())
    return join_cells(*cells)


def _cells(prefix: bytes, column: pa.Array) -> pa.Array:
    is_text = not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type))
    if is_text:
        encoded = column.dictionary_encode()
        if len(encoded.dictionary) * 4 < len(column):
            return _cells(prefix, encoded.dictionary).take(encoded.indices)
    numbers = parse_numbers(column)
    valid = np.asarray(pc.is_valid(numbers.values))
    values = np.asarray(pc.fill_null(numbers.values, 0.0))
    with np.errstate(over="ignore"):
        rounded = values.astype(np.float32).astype(np.float64)
    cells = _fixed(prefix + b"n", np.where(np.trunc(values) == values, values, rounded) + 0.0, valid)
    if numbers.bad is None:
        return cells
    texts = column if is_text else column.cast(pa.string())
    texts = kept_where(pa.array(numbers.bad), texts.cast(pa.binary()))
    return pc.coalesce(cells, _sized(prefix + b"b", texts))


def _exact_cells(prefix: bytes, column: pa.Array) -> pa.Array:
    valid = np.asarray(pc.is_valid(column))
    if pa.types.is_integer(column.type):
        return _fixed(prefix + b"i", np.asarray(pc.fill_null(column.cast(pa.int64()), 0)), valid)
    if pa.types.is_floating(column.type):
        return _fixed(prefix + b"d", np.asarray(pc.fill_null(column.cast(pa.float64()), 0.0)), valid)
    return _sized(prefix + b"b", column.cast(pa.binary()))


def _fixed(prefix: bytes, values: np.ndarray, valid: np.ndarray) -> pa.Array:
    """Returns prefix + 8 bytes, null where not valid."""
    head = np.broadcast_to(np.frombuffer(prefix, np.uint8), (len(values), len(prefix)))
    tail = values.astype(values.dtype.newbyteorder("<")).view(np.uint8).reshape(len(values), 8)
    return fixed_binary(np.concatenate([head, tail], axis=1), valid)


def _sized(prefix: bytes, values: pa.Array) -> pa.Array:
    """Returns prefix + length + bytes, null where the value is null."""
    valid = np.asarray(pc.is_valid(values))
    lengths = np.asarray(pc.fill_null(pc.binary_length(values), 0)).astype("<u4")
    head = np.broadcast_to(np.frombuffer(prefix, np.uint8), (len(values), len(prefix)))
    head = np.concatenate([head, lengths.view(np.uint8).reshape(-1, 4)], axis=1)
    return kept_where(pa.array(valid), join_cells(fixed_binary(head), values))
