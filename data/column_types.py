"""Types of columns: what the values of a span say, what the config and the schema say, and what is then ingested."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data.columns import require_columns
from data.numbers import parse_numbers
from schema.base import Handover
from schema.ingest import ColumnType


class ColumnProfile(Handover):
    """What the values of a column look like; profiles of parts of a table add up."""

    values: int = 0
    """Values that are not missing."""
    no_numbers: int = 0
    """Values that are no numbers."""
    text: bool = False
    """The file format says that the column is text."""
    floats: bool = False
    """A number is not written as an integer of 64 bits."""
    fractional: bool = False
    """A number is no integer of 64 bits, however it is written."""

    def __add__(self, other: ColumnProfile) -> ColumnProfile:
        return ColumnProfile(
            values=self.values + other.values,
            no_numbers=self.no_numbers + other.no_numbers,
            text=self.text or other.text,
            floats=self.floats or other.floats,
            fractional=self.fractional or other.fractional,
        )


def profile_column(column: pa.Array) -> ColumnProfile:
    """Profiles a column as it was read: string, binary, int64, float64 or null (n,)."""
    numbers = parse_numbers(column)
    bad = 0 if numbers.bad is None else int(numbers.bad.sum())
    return ColumnProfile(
        values=int(pc.sum(pc.is_valid(numbers.values)).as_py() or 0) + bad,
        no_numbers=bad,
        text=pa.types.is_binary(column.type) and column.null_count < len(column),
        floats=not numbers.plain_integers,
        fractional=numbers.integers is None,
    )


def decide_types(
    spans: Iterable[Mapping[str, ColumnProfile]],
    configured: Mapping[str, ColumnType],
    curated: Mapping[str, str],
    max_bad_rows: float,
) -> dict[str, ColumnType]:
    """Returns the type of every column of the window.

    Args:
        spans: a profile a column, of each span.
        configured: `examples.columns`, which comes first.
        curated: the types of the curated schema, which come next.
        max_bad_rows: a column of which a greater share of values are no numbers holds text.

    Raises:
        ConfigError: `configured` names a column that no span has.
    """
    total: dict[str, ColumnProfile] = {}
    for span in spans:
        for name, profile in span.items():
            total[name] = total.get(name, ColumnProfile()) + profile
    require_columns(configured, total, "examples.columns")
    return {name: _decide(name, total[name], configured, curated, max_bad_rows) for name in sorted(total)}


def _decide(
    name: str,
    profile: ColumnProfile,
    configured: Mapping[str, ColumnType],
    curated: Mapping[str, str],
    max_bad_rows: float,
) -> ColumnType:
    if name in configured:
        return configured[name]
    for known in ("INT", "FLOAT", "BYTES"):
        if curated.get(name) == known:
            return known
    if profile.text or not profile.values or profile.no_numbers > max_bad_rows * profile.values:
        return "BYTES"
    return "FLOAT" if profile.floats else "INT"


def span_types(types: Mapping[str, ColumnType], profiles: Mapping[str, ColumnProfile]) -> dict[str, ColumnType]:
    """Returns the types in which the columns of one span are ingested.

    A column of integers that has other numbers in a span becomes FLOAT there as a whole: nothing is lost, and
    ExampleValidator sees a column of another type than the schema's.
    """
    return {
        name: "FLOAT" if types[name] == "INT" and profile.fractional else types[name]
        for name, profile in sorted(profiles.items())
    }


def cast_column(column: pa.Array, kind: ColumnType) -> tuple[pa.Array, np.ndarray | None]:
    """Casts a column as it was read to what a tf.Example holds.

    Args:
        column: string, binary, int64, float64 or null (n,); null where missing.
        kind: the type; INT only for a column whose profile is not `fractional`.

    Returns:
        int64, float32 or binary (n,), and bool (n,): true where the value cannot be held; None when all can.
    """
    if kind == "BYTES":
        if pa.types.is_string(column.type) or pa.types.is_binary(column.type):
            return column.cast(pa.binary()), None
        return column.cast(pa.string()).cast(pa.binary()), None
    numbers = parse_numbers(column)
    bad = numbers.bad
    if kind == "INT":
        assert numbers.integers is not None, "an INT column must not be fractional"
        return numbers.integers, bad
    with np.errstate(over="ignore"):
        floats = np.asarray(pc.fill_null(numbers.values, 0.0)).astype(np.float32)
    infinite = np.isinf(floats)
    if infinite.any():
        bad = infinite if bad is None else bad | infinite
    valid = np.asarray(pc.is_valid(numbers.values)) & ~infinite
    return pa.array(floats, pa.float32(), mask=~valid), bad
