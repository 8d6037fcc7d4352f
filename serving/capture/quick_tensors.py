"""The quick ways to serialized tensors: from arrays, and from the plain rows of few columns that nearly every body has.

For the latter it gives the bytes that `json_tensor` and `tensor_codec` give, or nothing: then they are asked. Without
arrays it is several times faster for a few rows, and it runs beside the server, which wants the interpreter too.
"""

from __future__ import annotations

import functools
import math
import struct
from collections.abc import Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any

from serving.model_server import wire
from serving.model_server.tensor_codec import tensor_bytes
from serving.model_server.tensor_types import by_name
from serving.model_server.wire import delimited

if TYPE_CHECKING:
    import numpy as np

MAX_VALUES = 1024
"""A tensor with more values is quicker as an array."""

# Most lengths come again and again.
varint = functools.lru_cache(maxsize=4096)(wire.varint)

_NUMBERS = ({float}, {float, int}, {int})
_STRUCTS = {"float32": "f", "float64": "d"}


def tensor_map(field: int, value: Any, tensors: Mapping[str, Any], by_row: bool) -> bytes | None:
    """Returns a map of tensors, serialized.

    Args:
        field: the map's number in its message.
        value: `instances` or `predictions` (by row); otherwise `inputs` or `outputs`.
        tensors: the signature's tensors, by key; of each, its `dtype` counts.
        by_row: which of the two it is.

    Returns:
        The field's bytes, in the order of `tensors`; or None when this is not the way for them.
    """
    columns = _columns(value, tensors, by_row)
    if columns is None:
        return None
    parts: list[bytes] = []
    for name, info in tensors.items():
        if name not in columns or (tensor := _tensor(columns[name], info.dtype)) is None:
            return None
        parts.append(map_entry(field, name, tensor))
    return b"".join(parts)


def array_map(field: int, arrays: Mapping[str, np.ndarray]) -> bytes:
    """Returns a map of tensors, serialized. Numbers are in `tensor_content`, which takes no time.

    Args:
        field: the map's number in its message.
        arrays: the tensors by key; texts as objects, bytes or str.
    """
    parts: list[bytes] = []
    for name, array in arrays.items():
        if array.dtype.hasobject:
            parts.append(map_entry(field, name, tensor_bytes(array)))
        else:
            parts += (_start_of_numbers(field, name, array.dtype, array.shape), array.tobytes())
    return b"".join(parts)


@functools.lru_cache(maxsize=4096)
def _start_of_numbers(field: int, name: str, dtype: np.dtype, shape: tuple[int, ...]) -> bytes:
    """Returns what comes before the bytes of an array in a map of tensors."""
    import numpy as np

    entry = map_entry(field, name, tensor_bytes(np.zeros(shape, dtype), as_content=True))
    return entry[: len(entry) - dtype.itemsize * math.prod(shape)]


def map_entry(field: int, name: str, tensor: bytes) -> bytes:
    """Returns an entry of a map of tensors, serialized.

    Args:
        field: the map's number in its message.
        name: the tensor's key.
        tensor: the serialized tensor.
    """
    key = _key(name)
    length = varint(len(tensor))
    size = varint(len(key) + 1 + len(length) + len(tensor))
    return b"".join((_start(field), size, key, b"\x12", length, tensor))


def _columns(value: Any, tensors: Mapping[str, Any], by_row: bool) -> Mapping[str, Any] | None:
    # In a tensor of that name, `{"b64": …}` may be a row or a value.
    if not value or "b64" in tensors:
        return None
    if by_row and type(value) is list and type(value[0]) is dict:
        names = tensors.keys()
        if all(type(row) is dict and row.keys() == names for row in value):
            return {name: [row[name] for row in value] for name in names}
        return None
    if type(value) is dict:
        return None if by_row else value
    return dict.fromkeys(tensors, value) if len(tensors) == 1 else None


def _tensor(cells: Any, dtype: str) -> bytes | None:
    if type(cells) is not list or not cells:
        return None
    shape: tuple[int, ...] = (len(cells),)
    types = set(map(type, cells))
    if types == {list}:
        sizes = set(map(len, cells))
        if len(sizes) > 1:
            return None
        shape = (len(cells), sizes.pop())
        cells = list(chain.from_iterable(cells))
        types = set(map(type, cells))
    count = len(cells)
    if not count or count > MAX_VALUES:
        return None
    try:
        if dtype in _STRUCTS:
            if types not in _NUMBERS:
                return None
            content = struct.pack(f"<{count}{_STRUCTS[dtype]}", *cells)
        elif dtype == "string":
            if types != {str}:
                return None
            return _head(dtype, shape)[0] + b"".join([delimited(8, cell.encode()) for cell in cells])
        elif dtype == "int64":
            if types != {int} or not -(2**63) <= min(cells) <= max(cells) < 2**63:
                return None
            content = b"".join([wire.varint(cell if cell >= 0 else cell + 2**64) for cell in cells])
        else:
            return None
    except (struct.error, OverflowError, UnicodeEncodeError):
        return None
    head, key = _head(dtype, shape)
    return b"".join((head, key, varint(len(content)), content))


@functools.lru_cache(maxsize=4096)
def _head(dtype: str, shape: tuple[int, ...]) -> tuple[bytes, bytes]:
    """Returns a TensorProto's dtype and shape, and the key of the field with its values."""
    kind = by_name(dtype)
    assert kind is not None, f"no tensor is made of {dtype}"
    dims = b"".join([delimited(2, b"\x08" + varint(size)) for size in shape])
    return b"\x08" + varint(kind.number) + delimited(2, dims), kind.key


@functools.lru_cache(maxsize=4096)
def _key(name: str) -> bytes:
    return delimited(1, name.encode())


@functools.lru_cache(maxsize=16)
def _start(field: int) -> bytes:
    return varint(field << 3 | 2)
