"""Arrow's binary arrays as plain bytes: joining, cutting up and making them without a Python object a value."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_NO_SEPARATOR = pa.scalar(b"", pa.binary())


def fixed_binary(rows: np.ndarray, valid: np.ndarray | None = None) -> pa.Array:
    """Returns uint8 (n, width) as a binary array (n,), null where `valid`, bool (n,), is false."""
    count, width = rows.shape
    offsets = np.arange(count + 1, dtype=np.int32) * np.int32(width)
    data = pa.py_buffer(np.ascontiguousarray(rows))
    return pa.Array.from_buffers(pa.binary(), count, [validity(valid), pa.py_buffer(offsets), data])


def validity(valid: np.ndarray | None) -> pa.Buffer | None:
    """Returns bool (n,) as Arrow's validity bitmap."""
    return None if valid is None else pa.py_buffer(np.packbits(valid, bitorder="little"))


def kept_where(mask: pa.Array, values: pa.Array) -> pa.Array:
    """Returns values (n,), null where the mask, bool (n,), is false.

    `pc.if_else` with a scalar for null gives an invalid array for a slice of texts (Arrow 18).
    """
    return pc.if_else(mask, values, pa.nulls(len(values), values.type))


def join_cells(*cells: pa.Array) -> pa.Array:
    """Returns binary arrays (n,) joined row by row, binary (n,); a null counts as nothing."""
    # Arrow 10 drops rows in which all values are null; the empty text in front keeps them.
    count = len(cells[0])
    empty = pa.Array.from_buffers(pa.binary(), count, [None, pa.py_buffer(bytes(4 * (count + 1))), pa.py_buffer(b"")])
    return pc.binary_join_element_wise(empty, *cells, _NO_SEPARATOR, null_handling="skip")


def content(array: pa.Array) -> memoryview:
    """Returns the bytes of all values of a binary array without nulls, one after the other."""
    if not len(array):
        return memoryview(b"")
    offsets = _offsets(array)
    return memoryview(array.buffers()[2])[offsets[0] : offsets[-1]]


def byte_rows(array: pa.Array) -> list[bytes]:
    """Returns the values of a binary array without nulls; several times faster than `to_pylist`."""
    if not len(array):
        return []
    offsets = _offsets(array)
    data = bytes(content(array))
    bounds = (offsets - offsets[0]).tolist()
    return [data[start:end] for start, end in zip(bounds, bounds[1:], strict=False)]


def _offsets(array: pa.Array) -> np.ndarray:
    return np.frombuffer(array.buffers()[1], np.int32)[array.offset : array.offset + len(array) + 1]
