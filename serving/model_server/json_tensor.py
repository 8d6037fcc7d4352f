"""Tensors out of the JSON of a predict request, in row (`instances`) or columnar (`inputs`) format.

Regular data goes through NumPy at once. Whatever is not regular is walked value by value, in TensorFlow Serving's
order, which either finds its error or values that fit after all.
"""

from __future__ import annotations

import binascii
import re
from array import array as array_of
from collections.abc import Mapping
from itertools import chain
from typing import Any, Literal

import numpy as np

from serving.model_server.errors import Code, ServingError
from serving.model_server.json_document import format_error
from serving.model_server.json_text import debug_string, type_name
from serving.v1_loader import TensorInfo

Format = Literal["row", "columnar"]

MAX_RANK = 32  # NumPy 1's

_INTEGER_RANGES = {
    # What RapidJSON's IsInt, IsInt64, IsUint and IsUint64 take. The narrow types wrap around, as in TensorFlow Serving.
    **dict.fromkeys(("int8", "int16", "int32", "uint8"), (-(2**31), 2**31 - 1)),
    "int64": (-(2**63), 2**63 - 1),
    "uint32": (0, 2**32 - 1),
    "uint64": (0, 2**64 - 1),
}
_KINDS: dict[str, frozenset[type]] = {
    **dict.fromkeys(_INTEGER_RANGES, frozenset({int})),
    **dict.fromkeys(("float32", "float64"), frozenset({int, float})),
    "bool": frozenset({bool}),
    "string": frozenset({str}),
}
_TENSORFLOW_NAMES = {"float32": "float", "float64": "double", "float16": "half"}
_BASE64 = re.compile(rb"[A-Za-z0-9+/]*")


def tensors(document: dict[str, Any], inputs: Mapping[str, TensorInfo]) -> tuple[Format, dict[str, np.ndarray]]:
    """Returns the tensors of a predict request.

    Args:
        document: the request.
        inputs: the signature's inputs, by key.

    Returns:
        The format, in which the answer has to be; and input key to array (strings: object arrays of bytes).

    Raises:
        ServingError: INVALID_ARGUMENT, or UNIMPLEMENTED for a dtype that JSON cannot carry.
    """
    if "instances" in document:
        if "inputs" in document:
            raise format_error(
                document, "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist "
            )
        instances = document["instances"]
        if not isinstance(instances, list):
            raise format_error(document, "Expecting 'instances' to be an list/array")
        if not instances:
            raise format_error(document, "No values in 'instances' array")
        return "row", _from_rows(instances, inputs)
    if "inputs" in document:
        return "columnar", _from_columns(document["inputs"], inputs)
    raise _error("Missing 'inputs' or 'instances' key")


def dtype_name(dtype: str) -> str:
    """Returns TensorFlow's own name of a dtype, as its C++ messages have it: `float` for `float32`."""
    return _TENSORFLOW_NAMES.get(dtype, dtype)


def is_base64_object(value: Any) -> bool:
    """Returns whether a JSON value is `{"b64": "…"}` and no more."""
    if not isinstance(value, dict) or len(getattr(value, "pairs", value)) != 1:
        return False
    return isinstance(value.get("b64"), str)


def from_base64(value: dict[str, Any]) -> bytes:
    """Returns the bytes of `{"b64": "…"}`. White space is ignored; padding may be left out, but not half.

    Raises:
        ServingError: INVALID_ARGUMENT: it is no such object, or no base64.
    """
    if not is_base64_object(value):
        raise format_error(value, "not formatted correctly for base64 data")
    digits = value["b64"].encode("utf-8", "surrogateescape").translate(None, b" \t\n\v\f\r")
    plain = digits.rstrip(b"=.")
    missing = -len(plain) % 4
    if missing == 3 or len(digits) - len(plain) not in (0, missing) or not _BASE64.fullmatch(plain):
        raise _error("Unable to base64 decode")
    return binascii.a2b_base64(plain + b"=" * missing)


def _from_rows(instances: list[Any], inputs: Mapping[str, TensorInfo]) -> dict[str, np.ndarray]:
    if not isinstance(instances[0], dict) and len(inputs) > 1:
        raise _error(
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
            "tensorinfo_map"
        )
    named = _is_named(instances[0])
    if named and all(type(row) is dict and row.keys() == inputs.keys() for row in instances):
        columns = {name: [row[name] for row in instances] for name in inputs}
    else:
        columns = {} if named else {next(iter(inputs)): instances}
    arrays = {name: _regular(values, inputs[name].dtype) for name, values in columns.items()}
    whole = {name: array for name, array in arrays.items() if array is not None}
    return whole if whole and len(whole) == len(arrays) else _RowWalk(inputs).walk(instances, named)


def _from_columns(value: Any, inputs: Mapping[str, TensorInfo]) -> dict[str, np.ndarray]:
    if not _is_named(value):
        if len(inputs) > 1:
            raise _error(
                "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
                "tensorinfo_map"
            )
        name, info = next(iter(inputs.items()))
        return {name: _column(value, info.dtype)}
    found: dict[str, np.ndarray] = {}
    for name, info in inputs.items():
        if name not in value:
            raise _error(f"Missing named input: {name} in 'inputs' object.")
        found[name] = _column(value[name], info.dtype)
    return found


def _is_named(value: Any) -> bool:
    return isinstance(value, dict) and not is_base64_object(value)


def _column(value: Any, dtype: str) -> np.ndarray:
    array = _regular(value, dtype)
    if array is None:
        shape = _shape(value)
        cells: list[Any] = []
        _walk(value, 0, shape, dtype, cells)
        array = _array(cells, dtype, shape)
    return array


def _regular(value: Any, dtype: str) -> np.ndarray | None:
    """Returns a value as an array, or None if it is ragged or holds something else than such values."""
    shape: list[int] = []
    cells = value
    if type(value) is not list:
        cells = [value]
    else:
        shape.append(len(value))
        while cells and type(cells[0]) is list:
            if len(shape) == MAX_RANK or set(map(type, cells)) != {list}:
                return None
            sizes = set(map(len, cells))
            if len(sizes) > 1:
                return None
            shape.append(sizes.pop())
            cells = list(chain.from_iterable(cells))
    kinds = _KINDS.get(dtype)
    if kinds is None or not kinds.issuperset(map(type, cells)):
        return None
    if dtype in _INTEGER_RANGES and cells:
        low, high = _INTEGER_RANGES[dtype]
        if min(cells) < low or max(cells) > high:
            return None
    return _array(cells, dtype, shape)


def _array(cells: list[Any], dtype: str, shape: list[int]) -> np.ndarray:
    """Returns values that fit a dtype (strings: str or bytes) as an array."""
    if dtype == "string":
        array = np.empty(len(cells), object)
        array[:] = [cell if isinstance(cell, bytes) else cell.encode("utf-8", "surrogateescape") for cell in cells]
    elif dtype == "float32" and cells:
        # What is too large becomes infinity, as in TensorFlow Serving; NumPy would warn of it.
        array = np.frombuffer(array_of("f", cells), np.float32)
    elif dtype in ("int8", "int16", "uint8"):
        array = np.array(cells, np.int64).astype(dtype)
    else:
        array = np.array(cells, dtype)
    return array if len(shape) == 1 else array.reshape(shape)


class _RowWalk:
    """The walk through `instances` that tells exactly which element is wrong."""

    def __init__(self, inputs: Mapping[str, TensorInfo]) -> None:
        self._inputs = inputs
        self._cells: dict[str, list[Any]] = {}
        self._shapes: dict[str, list[int]] = {}
        self._sizes: dict[str, int] = {}

    def walk(self, instances: list[Any], named: bool) -> dict[str, np.ndarray]:
        for index, row in enumerate(instances):
            if named:
                if not _is_named(row):
                    raise _error(f"Expecting object but got list at item {index} of input list")
                for name, value in row.items():
                    self._add(value, name, f"Failed to process element: {index} key: {name} of 'instances' list.")
                if row.keys() != self._inputs.keys():
                    raise _error(
                        f"Failed to process element: {index} of 'instances' list. JSON object: {debug_string(row)} "
                        f"keys must be equal to: {','.join(sorted(self._inputs))}"
                    )
            elif _is_named(row):
                raise _error(f"Expecting value/list but got object at item {index} of input list")
            else:
                name = next(iter(self._inputs))
                self._add(row, name, f"Failed to process element: {index} of 'instances' list.")
        count = len(instances)
        return {
            name: _array(cells, self._inputs[name].dtype, [count, *self._shapes[name]])
            for name, cells in self._cells.items()
        }

    def _add(self, value: Any, name: str, where: str) -> None:
        try:
            self._add_item(value, name)
        except ServingError as e:
            raise _error(f"{where} Error: {e.code.name}: {e.message}") from e

    def _add_item(self, value: Any, name: str) -> None:
        if name not in self._inputs:
            raise _error(f"JSON object: does not have named input: {name}")
        shape = _shape(value, outer=1)
        cells: list[Any] = []
        _walk(value, 0, shape, self._inputs[name].dtype, cells)
        if name not in self._sizes:
            self._sizes[name], self._shapes[name], self._cells[name] = len(cells), shape, []
        elif self._sizes[name] != len(cells):
            raise _error(f"Expecting tensor size: {self._sizes[name]} but got: {len(cells)}")
        elif self._shapes[name] != shape:
            raise _error(f"Expecting shape {_shape_text(self._shapes[name])} but got: {_shape_text(shape)}")
        self._cells[name] += cells


def _shape(value: Any, outer: int = 0) -> list[int]:
    """Returns the shape that a value would have if it were as regular as its first elements."""
    shape: list[int] = []
    while isinstance(value, list):
        shape.append(len(value))
        if len(shape) + outer > MAX_RANK:
            raise _error(f"tensor parsing error: lists must not be nested deeper than {MAX_RANK} levels")
        if not value:
            break
        value = value[0]
    return shape


def _walk(value: Any, level: int, shape: list[int], dtype: str, cells: list[Any]) -> None:
    """Adds the values of a tensor to `cells`, or raises at the first that is out of place or of another type."""
    rank = len(shape)
    if not isinstance(value, list):
        if level != rank:
            raise format_error(
                value, f"found at incorrect level: {level + 1} in the JSON DOM. Expected at level: {rank}"
            )
        cells.append(_cell(value, dtype))
        return
    if level >= rank:
        raise _error(f"Encountered list at unexpected level: {level} expected < {rank}")
    if len(value) != shape[level]:
        raise _error(
            f"Encountered list at unexpected size: {len(value)} at level: {level} expected size: {shape[level]}"
        )
    for item in value:
        _walk(item, level + 1, shape, dtype, cells)


def _cell(value: Any, dtype: str) -> Any:
    if isinstance(value, dict):
        if dtype == "string":
            return from_base64(value)
        fits = False
    elif dtype in ("float32", "float64"):
        fits = type(value) in (int, float)
    elif dtype in _INTEGER_RANGES:
        low, high = _INTEGER_RANGES[dtype]
        fits = type(value) is int and low <= value <= high
    elif dtype in ("string", "bool"):
        fits = isinstance(value, str if dtype == "string" else bool)
    else:
        text = f"Conversion of JSON Value: {debug_string(value)} to type: {dtype_name(dtype)}"
        raise ServingError(Code.UNIMPLEMENTED, text)
    if not fits:
        raise format_error(value, f"Type: {type_name(value)} is not of expected type: {dtype_name(dtype)}")
    return value


def _shape_text(shape: list[int]) -> str:
    return f"[{','.join(map(str, shape))}]"


def _error(message: str) -> ServingError:
    return ServingError(Code.INVALID_ARGUMENT, message)
