"""Values of one column as the array that a model takes, and what is wrong with those that do not fit."""

from __future__ import annotations

import dataclasses
import decimal
import math
import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np

from serving.client.rules import ColumnRule
from serving.client.signatures import TensorSpec

FLOATS = ("float32", "float64", "float16", "bfloat16")
INTEGERS = ("int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8", "bool")
_LONGEST = 80


@dataclasses.dataclass
class Column:
    """The values of one column, one a row.

    Attributes:
        values: of the dtype that the model takes, (n, ...); what stands at missing and wrong values is not said.
        missing: bool (n,), where there is no value.
        wrong: position to sentence, of values that do not fit.
    """

    values: np.ndarray
    missing: np.ndarray
    wrong: dict[int, str]


def shown(value: Any) -> str:
    """Returns a value as a message shows it."""
    text = repr(value.item() if isinstance(value, np.generic) else value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def is_missing(value: Any) -> bool:
    """Tells whether a value stands for none: None, NaN, or pandas' own kinds of nothing."""
    if value is None:
        return True
    if isinstance(value, (float, np.floating)):
        return math.isnan(value)
    return type(value).__name__ in ("NAType", "NaTType")


def read_values(values: Sequence[Any] | np.ndarray, spec: TensorSpec) -> Column:
    """Reads Python values, or an array.

    Args:
        values: one a row. Numbers for a number (true and false count as 1 and 0), text or bytes for text; None, NaN and
            empty text for a missing one; nested lists or arrays where a row has several.
        spec: the model's input.
    """
    if any(size != 1 for size in spec.row_shape):
        return _nested(values, spec)
    if isinstance(values, np.ndarray) and values.ndim != 1 and values.size == len(values):
        values = values.reshape(len(values))
    if spec.dtype == "string":
        column = _texts(values, spec)
    elif isinstance(values, np.ndarray) and values.dtype.kind in "iufb":
        column = numbers_column(values, np.isnan(values) if values.dtype.kind == "f" else None, spec)
    else:
        column = _numbers(values, spec)
    if spec.row_shape:
        column.values = column.values.reshape((len(values), *(1 for _ in spec.row_shape)))
    return column


def numbers_column(values: np.ndarray, missing: np.ndarray | None, spec: TensorSpec) -> Column:
    """Makes a column of numbers that are numbers already.

    Args:
        values: integers, floats or booleans, (n,).
        missing: bool (n,), or None where nothing is missing.
        spec: the model's input.
    """
    missing = np.zeros(len(values), bool) if missing is None else missing
    if values.dtype.kind == "b":
        values = values.astype(np.int8)
    wrong: dict[int, str] = {}
    if spec.dtype in FLOATS:
        with np.errstate(over="ignore", invalid="ignore"):
            cast = values.astype(spec.numpy_dtype)
            bad = np.isinf(cast.astype(np.float64)) & ~missing
    else:
        least, most = _bounds(spec)
        with np.errstate(invalid="ignore"):
            bad = (values < least) | (values > most)
            if values.dtype.kind == "f":
                # 2**63 - 1 and 2**64 - 1 are no floats: as a float, the bound is one too many.
                bad |= (np.trunc(values) != values) | (values >= float(most + 1))
        bad &= ~missing
        cast = np.where(bad | missing, 0, values).astype(spec.numpy_dtype)
    for row in np.flatnonzero(bad):
        wrong[int(row)] = sentence(spec, expected_number(spec), values[row])
    return Column(cast, missing, wrong)


def finish(column: Column, spec: TensorSpec, rule: ColumnRule | None) -> Column:
    """Fills missing values with what stands for them, and holds the others against the schema's rules.

    Args:
        column: the values as they were read. Changed and returned.
        spec: the model's input.
        rule: the schema's rules for the column, or None.
    """
    if rule is not None and column.values.ndim == 1:
        wrong = np.zeros(len(column.values), bool)
        wrong[list(column.wrong)] = True
        column.wrong |= rule.broken_by(column.values, column.missing, wrong)
    if column.missing.any():
        if spec.missing is None:
            for row in np.flatnonzero(column.missing):
                column.wrong.setdefault(int(row), sentence(spec, "given: the model fills nothing in"))
        else:
            column.values = np.array(column.values)
            column.values[column.missing] = spec.missing
    return column


def expected_number(spec: TensorSpec) -> str:
    """Returns what a number for an input must be, in words."""
    if spec.dtype in FLOATS:
        return f"a finite number ({spec.dtype})"
    return "true or false" if spec.dtype == "bool" else f"an integer ({spec.dtype})"


def sentence(spec: TensorSpec, expected: str, *got: Any) -> str:
    """Returns what was expected of a value of a column, and what was got (nothing, where nothing is given)."""
    return f"column {spec.name!r} must be {expected}. Got {shown(got[0]) if got else 'nothing'} instead"


def _numbers(values: Sequence[Any] | np.ndarray, spec: TensorSpec) -> Column:
    """Reads numbers from Python values: at once where all are plain, else one by one."""
    kinds = set(map(type, values))
    try:
        if spec.dtype in FLOATS and kinds <= {float, int, bool, type(None)}:
            floats = np.array([math.nan if value is None else value for value in values], np.float64)
            return numbers_column(floats, np.isnan(floats), spec)
        if spec.dtype in INTEGERS and kinds <= {int, bool, type(None)}:
            missing = np.array([value is None for value in values], bool)
            return numbers_column(np.array([value or 0 for value in values], np.int64), missing, spec)
    except OverflowError:
        pass
    kept: list[Any] = []
    missing = np.zeros(len(values), bool)
    wrong: dict[int, str] = {}
    for row, value in enumerate(values):
        number: Any = 0
        if is_missing(value):
            missing[row] = True
        else:
            number = _number(value, spec)
            if number is None:
                wrong[row] = sentence(spec, expected_number(spec), value) + _quoted(value)
        kept.append(number or 0)
    # As objects: numpy makes floats of integers that no single dtype of its own holds.
    return Column(np.array(kept, object).astype(spec.numpy_dtype), missing, wrong)


def _number(value: Any, spec: TensorSpec) -> Any:
    """Returns a value as an int or float that the dtype holds, or None."""
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.reshape(-1)[0]
    if isinstance(value, np.generic):
        value = value.item()
    if not isinstance(value, (numbers.Real, decimal.Decimal)):
        return None
    if spec.dtype in FLOATS:
        try:
            number = float(value)
        except OverflowError:
            return None
        with np.errstate(over="ignore"):
            held = float(np.array(number).astype(spec.numpy_dtype))
        return None if math.isinf(held) else number
    real: Any = value
    if not math.isfinite(real) or real != int(real):
        return None
    whole = int(real)
    least, most = _bounds(spec)
    return whole if least <= whole <= most else None


def _texts(values: Sequence[Any] | np.ndarray, spec: TensorSpec) -> Column:
    """Reads texts; str becomes UTF-8."""
    texts = np.empty(len(values), object)
    missing = np.zeros(len(values), bool)
    wrong: dict[int, str] = {}
    for row, value in enumerate(values):
        if isinstance(value, str):
            try:
                texts[row] = value.encode()
            except UnicodeEncodeError:
                texts[row] = b""
                wrong[row] = sentence(spec, "text that UTF-8 can hold", value)
        elif isinstance(value, (bytes, bytearray)):
            texts[row] = bytes(value)
        else:
            texts[row] = b""
            if not is_missing(value):
                wrong[row] = sentence(spec, "text", value) + (
                    f'; write "{value}"' if isinstance(value, (int, float, np.number)) else ""
                )
        missing[row] = texts[row] == b"" and row not in wrong
    return Column(texts, missing, wrong)


def _nested(values: Sequence[Any] | np.ndarray, spec: TensorSpec) -> Column:
    """Reads rows of several values each."""
    shape = ", ".join("any" if size is None else str(size) for size in spec.row_shape)
    sizes: tuple[int, ...] | None = None
    wrong: dict[int, str] = {}
    rows: list[np.ndarray | None] = []
    for row, value in enumerate(values):
        one = None
        try:
            array = np.asarray(value, object if spec.dtype == "string" else None)
            flat = read_values(list(array.reshape(-1)), dataclasses.replace(spec, shape=(None,)))
            fits = array.ndim == len(spec.row_shape) and all(
                wanted in (None, size) for wanted, size in zip(spec.row_shape, array.shape, strict=True)
            )
            if fits and not flat.wrong and (spec.dtype == "string" or not flat.missing.any()):
                one = flat.values.reshape(array.shape)
        except ValueError:
            pass  # lists of different lengths within one row
        if one is not None and sizes is None:
            sizes = one.shape
        if one is None or one.shape != sizes:
            alike = "" if one is None else f" as in the first row, {sizes}"
            wrong[row] = sentence(spec, f"{spec.dtype} of shape ({shape}){alike}", value)
            one = None
        rows.append(one)
    blank = np.zeros(sizes or tuple(size or 0 for size in spec.row_shape), spec.numpy_dtype)
    stacked = np.array([blank if one is None else one for one in rows], spec.numpy_dtype)
    return Column(stacked.reshape((len(values), *blank.shape)), np.zeros(len(values), bool), wrong)


def _bounds(spec: TensorSpec) -> tuple[int, int]:
    if spec.dtype == "bool":
        return 0, 1
    info = np.iinfo(spec.numpy_dtype)
    return int(info.min), int(info.max)


def _quoted(value: Any) -> str:
    if isinstance(value, (str, bytes)):
        try:
            float(value)
        except ValueError:
            return ""
        return "; write the number without quotes"
    return ""
