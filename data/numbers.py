"""Numbers in texts: which texts are numbers, and which values they stand for.

A number is written as in JSON, CSV exports and Python: digits with an optional sign, point and exponent, blanks around
it ignored. `nan` in any case is a missing value (so pandas writes one); `inf` and everything else is no number.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data.binary import kept_where

_NUMBER = r"^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$"
_PROBE = 64
_INTEGER = r"^[+-]?\d+$"
_NAN = r"^\s*[+-]?[nN][aA][nN]\s*$"


@dataclass(frozen=True)
class Numbers:
    """The numbers of a column.

    Attributes:
        values: float64 (n,), null where missing or no number; always finite.
        integers: int64 (n,), exact, when every number is an integer of 64 bits (texts like `3.0` too); else None.
        bad: bool (n,), true where there is a value that is no number; None when there is none.
        plain_integers: whether every number is written as an integer (`3`, not `3.0`) of 64 bits.
    """

    values: pa.DoubleArray
    integers: pa.Int64Array | None
    bad: np.ndarray | None
    plain_integers: bool


def parse_numbers(column: pa.Array) -> Numbers:
    """Parses a column of texts (string or binary), or takes one of int64 or float64, as numbers.

    Args:
        column: (n,), null where missing.
    """
    if pa.types.is_integer(column.type):
        integers = column.cast(pa.int64())
        return Numbers(pc.cast(integers, pa.float64(), safe=False), integers, None, True)
    if pa.types.is_floating(column.type):
        return _from_floats(column.cast(pa.float64()), None)
    if pa.types.is_null(column.type):
        empty = pa.nulls(len(column), pa.float64())
        return Numbers(empty, pa.nulls(len(column), pa.int64()), None, True)
    if pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
        column = _as_text(column)
    # A cast that fails builds an error a value, so a few values tell which casts to try.
    probe = column.slice(0, _PROBE)
    if not _casts(probe, pa.float64()):
        return _from_texts(column)
    try:
        values = column.cast(pa.float64())
    except pa.ArrowInvalid:
        return _from_texts(column)
    if _casts(probe, pa.int64()):
        try:
            # The cast to floats has refused 0x10, which this one takes for 16.
            return Numbers(values, column.cast(pa.int64()), None, True)
        except pa.ArrowInvalid:
            pass
    return _from_floats(values, column)


def _casts(column: pa.Array, kind: pa.DataType) -> bool:
    try:
        column.cast(kind)
    except pa.ArrowInvalid:
        return False
    return True


def _from_texts(column: pa.Array) -> Numbers:
    """Parses texts of which some are no plain numbers; each distinct one once, where values repeat."""
    encoded = column.dictionary_encode()
    if len(encoded.dictionary) * 4 > len(column):
        return _from_mixed(column)
    distinct = _from_mixed(encoded.dictionary)
    bad = distinct.bad
    if bad is not None:
        bad = np.append(bad, False)[np.asarray(pc.fill_null(encoded.indices, len(bad)))]
    integers = None if distinct.integers is None else distinct.integers.take(encoded.indices)
    return Numbers(distinct.values.take(encoded.indices), integers, bad, distinct.plain_integers)


def _as_text(column: pa.Array) -> pa.Array:
    try:
        return column.cast(pa.string())
    except pa.ArrowInvalid:
        return pa.array([None if v is None else v.decode("utf-8", "backslashreplace") for v in column.to_pylist()])


def _from_mixed(column: pa.Array) -> Numbers:
    """Parses texts of which some are no numbers, or are written with blanks or a plus sign."""
    number = pc.fill_null(pc.match_substring_regex(column, _NUMBER), False)
    nan = pc.fill_null(pc.match_substring_regex(column, _NAN), False)
    bad = np.asarray(pc.invert(pc.or_(number, nan))) & np.asarray(pc.is_valid(column))
    cleaned = pc.utf8_ltrim(pc.utf8_trim_whitespace(column), characters="+")
    kept = kept_where(number, cleaned)
    return _from_floats(kept.cast(pa.float64()), kept, bad)


def _from_floats(values: pa.Array, texts: pa.Array | None, bad: np.ndarray | None = None) -> Numbers:
    raw = np.asarray(pc.fill_null(values, 0.0))
    infinite = np.isinf(raw)
    bad = infinite if bad is None else bad | infinite
    usable = np.isfinite(raw) & np.asarray(pc.is_valid(values))
    values = pc.if_else(pa.array(usable), values, pa.scalar(None, pa.float64()))
    integers, plain = _exact_integers(np.where(usable, raw, 0.0), usable, texts)
    return Numbers(values, integers, bad if bad.any() else None, plain)


def _exact_integers(values: np.ndarray, usable: np.ndarray, texts: pa.Array | None) -> tuple[pa.Array | None, bool]:
    """Returns the numbers as int64 when all are integers of 64 bits, and whether all are written so."""
    integral = np.trunc(values) == values
    if not integral.all():
        return None, False
    if texts is None:
        if not (np.abs(values) < 2.0**63).all():
            return None, False
        return pa.array(values.astype(np.int64), mask=~usable), False
    written = np.asarray(pc.fill_null(pc.match_substring_regex(texts, _INTEGER), False)) & usable
    floats = usable & ~written
    rounded = np.where(floats, values, 0.0)
    if not (np.abs(rounded) < 2.0**63).all():
        return None, False
    try:
        exact = kept_where(pa.array(written), texts).cast(pa.int64())
    except pa.ArrowInvalid:
        return None, False
    merged = rounded.astype(np.int64) + np.asarray(pc.fill_null(exact, 0))
    return pa.array(merged, mask=~usable), not floats.any()
