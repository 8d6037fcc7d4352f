"""TensorFlow's element types: their numbers, their numpy types, and the fields of a TensorProto that carry them."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, Literal

import numpy as np

from serving.model_server.wire import varint

Layout = Literal["fixed", "varint", "bits", "string"]


@dataclasses.dataclass(frozen=True)
class TensorType:
    """One element type.

    Attributes:
        number: its number in `tensorflow.DataType`.
        name: TensorFlow's name, e.g. `float32`.
        dtype: its numpy type; `object` for strings, whose elements are bytes.
        field: the typed field of a TensorProto that carries it, e.g. `float_val`.
        field_number: that field's number.
        layout: what the field holds. `fixed`: the elements' own bytes; `varint`: integers; `bits`: the elements' bits
            as integers; `string`: byte strings.
        key: the field's key on the wire, length-delimited.
    """

    number: int
    name: str
    dtype: np.dtype
    field: str
    field_number: int
    layout: Layout
    key: bytes


_FIELDS: dict[str, tuple[int, Layout]] = {
    "float_val": (5, "fixed"),
    "double_val": (6, "fixed"),
    "int_val": (7, "varint"),
    "string_val": (8, "string"),
    "scomplex_val": (9, "fixed"),
    "int64_val": (10, "varint"),
    "bool_val": (11, "fixed"),
    "dcomplex_val": (12, "fixed"),
    "half_val": (13, "bits"),
    "uint32_val": (16, "varint"),
    "uint64_val": (17, "varint"),
}

# Those that numpy lacks are None here and come from ml_dtypes, which every TensorFlow brings.
_TYPES: tuple[tuple[int, str, Any, str], ...] = (
    (1, "float32", np.float32, "float_val"),
    (2, "float64", np.float64, "double_val"),
    (3, "int32", np.int32, "int_val"),
    (4, "uint8", np.uint8, "int_val"),
    (5, "int16", np.int16, "int_val"),
    (6, "int8", np.int8, "int_val"),
    (7, "string", object, "string_val"),
    (8, "complex64", np.complex64, "scomplex_val"),
    (9, "int64", np.int64, "int64_val"),
    (10, "bool", np.bool_, "bool_val"),
    # Structures of one field are how TensorFlow tells quantized integers from plain ones in numpy.
    (11, "qint8", [("qint8", np.int8)], "int_val"),
    (12, "quint8", [("quint8", np.uint8)], "int_val"),
    (13, "qint32", [("qint32", np.int32)], "int_val"),
    (14, "bfloat16", None, "half_val"),
    (15, "qint16", [("qint16", np.int16)], "int_val"),
    (16, "quint16", [("quint16", np.uint16)], "int_val"),
    (17, "uint16", np.uint16, "int_val"),
    (18, "complex128", np.complex128, "dcomplex_val"),
    (19, "float16", np.float16, "half_val"),
    (22, "uint32", np.uint32, "uint32_val"),
    (23, "uint64", np.uint64, "uint64_val"),
)


def by_number(number: int) -> TensorType | None:
    """Returns the type with a number of `tensorflow.DataType`, or None if no tensor of it can be sent here."""
    return _by_number().get(number)


def by_dtype(dtype: np.dtype) -> TensorType | None:
    """Returns the type of a numpy array, or None if TensorFlow has none for it. All texts are `string`."""
    found = _by_dtype().get(dtype)
    if found is None and dtype.kind in "SU":
        return _by_dtype()[np.dtype(object)]
    return found


def by_name(name: str) -> TensorType | None:
    """Returns the type with TensorFlow's name, or None if no tensor of it can be sent here."""
    return _by_name().get(name)


@functools.cache
def _by_number() -> dict[int, TensorType]:
    import ml_dtypes

    types = {}
    for number, name, given, field in _TYPES:
        dtype = np.dtype(given if given is not None else getattr(ml_dtypes, name))
        field_number, layout = _FIELDS[field]
        key = varint(field_number << 3 | 2)
        types[number] = TensorType(number, name, dtype, field, field_number, layout, key)
    return types


@functools.cache
def _by_dtype() -> dict[np.dtype, TensorType]:
    return {t.dtype: t for t in _by_number().values()}


@functools.cache
def _by_name() -> dict[str, TensorType]:
    return {t.name: t for t in _by_number().values()}


def proto_name(dtype: np.dtype) -> str:
    """Returns a numpy type by its name in `tensorflow.DataType`, e.g. `DT_FLOAT`, as error messages have it."""
    found = by_dtype(dtype)
    if found is None:
        return "DT_INVALID"
    return "DT_" + {"float32": "FLOAT", "float64": "DOUBLE", "float16": "HALF"}.get(found.name, found.name.upper())


def shape_text(shape: tuple[int, ...]) -> str:
    """Returns a shape as TensorFlow's messages write it, e.g. `[2,3]`."""
    return f"[{','.join(map(str, shape))}]"
