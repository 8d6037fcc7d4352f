"""TensorProtos to numpy arrays and back, without TensorFlow.

Reads what TensorFlow reads (`Tensor::FromProto`): `tensor_content`, or the typed field; of a typed field's values too
many are cut off, too few are filled up with the last one, and none at all means zeros.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from serving.model_server import tensor_types
from serving.model_server.errors import Code, ServingError
from serving.model_server.tensor_types import TensorType
from serving.model_server.wire import delimited, varint, varints

# What a message may make of nothing: a few bytes can ask for any number of zeros.
MAX_FILLED_BYTES = 64 << 20

# What comes before a text in `string_val`, by its length: batches have texts by the hundred.
_TEXT_STARTS = [varint(8 << 3 | 2) + varint(length) for length in range(128)]


def to_array(proto: Any, max_filled_bytes: int = MAX_FILLED_BYTES) -> np.ndarray:
    """Reads a tensor.

    Args:
        proto: a `tensorflow.TensorProto`.
        max_filled_bytes: the largest array, bytes, that is made of fewer values than its shape has elements.

    Returns:
        An array of the tensor's shape and type; strings are an object array of bytes. It may be read-only.

    Raises:
        ServingError: INVALID_ARGUMENT; TensorFlow could not read it either, or it is filled up beyond the limit.
    """
    kind = tensor_types.by_number(proto.dtype)
    if kind is None:
        raise _error(f"a dtype that can be sent, not number {proto.dtype}")
    shape_proto = proto.tensor_shape
    shape = tuple([d.size for d in shape_proto.dim])
    if shape_proto.unknown_rank or (shape and min(shape) < 0):
        raise _error("a shape with all sizes known")
    size = math.prod(shape)
    content = proto.tensor_content
    try:
        if not size:
            return np.empty(shape, kind.dtype)
        if not content:
            return _from_field(proto, kind, size, max_filled_bytes).reshape(shape)
        if kind.layout == "string":
            return _from_string_content(content, size).reshape(shape)
        if len(content) != size * kind.dtype.itemsize:
            raise _error(f"tensor_content of {size * kind.dtype.itemsize} bytes, not {len(content)}")
        if kind.name == "bool":
            # Only 0 and 1 are booleans to a kernel.
            return (np.frombuffer(content, np.uint8) != 0).reshape(shape)
        return np.frombuffer(content, kind.dtype).reshape(shape)
    except (ValueError, MemoryError, OverflowError) as e:
        raise _error(f"a shape that an array can have, not {shape[:8]}") from e


def fill_tensor(proto: Any, array: np.ndarray, as_content: bool = False) -> None:
    """Writes an array into a tensor, as TensorFlow Serving does: in the typed field, nothing compressed.

    Args:
        proto: an empty `tensorflow.TensorProto`.
        array: of any type that TensorFlow has; strings as bytes or str, str as UTF-8.
        as_content: write `tensor_content` instead of the typed field.

    Raises:
        ServingError: INTERNAL; TensorFlow has no such type.
    """
    proto.MergeFromString(tensor_bytes(array, as_content))


def tensor_bytes(array: np.ndarray, as_content: bool = False) -> bytes:
    """Returns a serialized `tensorflow.TensorProto`: what `fill_tensor` writes."""
    dtype = array.dtype
    head, kind = _head(dtype, array.shape)
    if kind.layout == "string":
        values = [v if type(v) is bytes else _as_bytes(v) for v in array.ravel().tolist()]
        if as_content:
            packed = b"".join([varint(len(v)) for v in values]) + b"".join(values)
            return head + delimited(4, packed) if values else head
        return head + b"".join([_TEXT_STARTS[len(v)] + v if len(v) < 128 else delimited(8, v) for v in values])
    if not array.size:
        return head
    if as_content:
        return head + delimited(4, array.tobytes())
    if kind.layout == "fixed":
        packed = array.tobytes()
    elif kind.layout == "bits":
        packed = varints(np.ascontiguousarray(array).view(np.uint16).ravel())
    else:
        packed = varints((array[dtype.names[0]] if dtype.names else array).ravel())
    return head + kind.key + varint(len(packed)) + packed


def _from_field(proto: Any, kind: TensorType, size: int, max_filled_bytes: int) -> np.ndarray:
    field = getattr(proto, kind.field)
    sent = len(field) // 2 if kind.dtype.kind == "c" else len(field)
    if sent < size and size * kind.dtype.itemsize > max_filled_bytes:
        raise _error(f"at most {max_filled_bytes} bytes filled up, not {size * kind.dtype.itemsize}")
    if kind.layout == "string":
        values = np.empty(sent, object)
        values[:] = list(field)
        zero: Any = b""
    else:
        values = _numbers(proto, field, kind, sent)
        zero = np.zeros((), kind.dtype)[()]
    if sent >= size:
        return values[:size]
    filled = np.empty(size, kind.dtype)
    filled[:sent] = values
    filled[sent:] = values[-1] if sent else zero
    return filled


def _numbers(proto: Any, field: Any, kind: TensorType, sent: int) -> np.ndarray:
    if kind.layout == "fixed":
        # Serialized alone, the field ends in its elements' own bytes: quicker than element by element in Python.
        alone = type(proto)()
        getattr(alone, kind.field).MergeFrom(field)
        raw = alone.SerializeToString()
        return np.frombuffer(raw[len(raw) - sent * kind.dtype.itemsize :], kind.dtype)
    if kind.layout == "bits":
        return np.fromiter(field, np.int32, sent).astype(np.uint16).view(kind.dtype)
    if kind.field == "int_val":
        whole = np.fromiter(field, np.int32, sent)
        return whole.astype(kind.dtype[0]).view(kind.dtype) if kind.dtype.names else whole.astype(kind.dtype)
    return np.fromiter(field, kind.dtype, sent)


def _from_string_content(content: bytes, size: int) -> np.ndarray:
    lengths = []
    position = 0
    for _ in range(size):
        length = shift = 0
        while True:
            if position >= len(content) or shift > 28:
                raise _error("tensor_content with the length of every string")
            byte = content[position]
            position += 1
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        lengths.append(length)
    if position + sum(lengths) != len(content):
        raise _error("tensor_content with lengths that fit the strings")
    values = np.empty(size, object)
    for i, length in enumerate(lengths):
        values[i] = content[position : position + length]
        position += length
    return values


@functools.lru_cache(maxsize=4096)
def _head(dtype: np.dtype, shape: tuple[int, ...]) -> tuple[bytes, TensorType]:
    kind = tensor_types.by_dtype(dtype)
    if kind is None:
        raise ServingError(Code.INTERNAL, f"an array of a type that TensorFlow has is expected, not of {dtype}")
    dims = b"".join([delimited(2, b"\x08" + varint(d) if d else b"") for d in shape])
    return b"\x08" + varint(kind.number) + delimited(2, dims), kind


def _as_bytes(value: Any) -> bytes:
    return value.encode() if isinstance(value, str) else bytes(value)


def _error(expected: str) -> ServingError:
    return ServingError(Code.INVALID_ARGUMENT, f"tensor parsing error: expected {expected}")
