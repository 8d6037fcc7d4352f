"""Rows as people have them: a mapping a row, or columns; turned into columns whose names are known."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from data.columns import nearest
from schema.errors import UsageError
from serving.client.errors import Problem

Row: TypeAlias = Mapping[str, Any]
Rows: TypeAlias = Row | Sequence[Row] | Mapping[str, "Sequence[Any] | np.ndarray"] | Any
"""One row, rows, or columns of one length: a mapping, a pandas DataFrame or a pyarrow Table."""

_PLAIN = (str, bytes, bytearray, int, float, bool, type(None), np.generic)


@dataclasses.dataclass(frozen=True)
class RawColumns:
    """Columns as they were given.

    Attributes:
        rows: how many rows there are.
        columns: name to values, a value a row; None where a row has none. Only names that are known.
        unused: names that are known but that the model does not take, sorted.
        problems: names that nobody knows, by row.
    """

    rows: int
    columns: Mapping[str, Sequence[Any] | np.ndarray]
    unused: tuple[str, ...]
    problems: tuple[Problem, ...]


def gather(rows: Rows, wanted: Collection[str] | None, known: Collection[str] = ()) -> RawColumns:
    """Turns rows into columns.

    Args:
        rows: one row, rows, or columns.
        wanted: the columns that the model takes, or None for all that there are.
        known: columns that it does not take, but that rows may have.

    Raises:
        UsageError: it is none of these, or columns differ in length.
    """
    columns = _columns_of(rows)
    if columns is None:
        return _gather_rows(_rows_of(rows), wanted, known)
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"{name}: {length}" for name, length in list(lengths.items())[:10])
        raise UsageError(f"columns must have one value a row, so all the same length. Got {shown} instead")
    count = next(iter(lengths.values()), 0)
    wanted = columns if wanted is None else wanted
    strange = [name for name in columns if name not in wanted and name not in known]
    return RawColumns(
        rows=count,
        columns={name: values for name, values in columns.items() if name in wanted},
        unused=tuple(sorted(name for name in columns if name in known and name not in wanted)),
        problems=tuple(unknown_column(row, name, wanted) for name in strange for row in range(count)),
    )


def unknown_column(row: int, name: str, wanted: Collection[str]) -> Problem:
    """Returns the problem of a column that the model does not have."""
    return Problem(row, name, f"columns must be those of the model. Got {name!r} instead. {nearest(name, wanted)}")


def _columns_of(rows: Any) -> dict[str, Any] | None:
    """Returns the columns when they are what was given, else None."""
    if hasattr(rows, "column_names") and hasattr(rows, "to_pydict"):
        return dict(rows.to_pydict())
    if hasattr(rows, "columns") and hasattr(rows, "iloc"):
        return {str(name): rows[name].to_numpy() for name in rows.columns}
    if not isinstance(rows, Mapping):
        return None
    if any(isinstance(value, _PLAIN) for value in rows.values()):
        return None
    for name, values in rows.items():
        if not hasattr(values, "__len__"):
            raise UsageError(f"column {name!r} must be a list or an array. Got {type(values).__name__} instead")
    return {str(name): values.to_numpy() if hasattr(values, "to_numpy") else values for name, values in rows.items()}


def _rows_of(rows: Any) -> Sequence[Row]:
    if isinstance(rows, Mapping):
        return [rows]
    if isinstance(rows, (str, bytes)) or not isinstance(rows, Sequence):
        if isinstance(rows, (str, bytes)) or not hasattr(rows, "__iter__"):
            raise UsageError(f"rows must be mappings of columns to values. Got {type(rows).__name__} instead")
        rows = list(rows)
    for position, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise UsageError(
                f"row {position} must be a mapping of columns to values. Got {type(row).__name__} instead",
                hint='e.g. [{"fare": 12.5, "payment_type": "Cash"}]',
            )
    return rows


def _gather_rows(rows: Sequence[Row], wanted: Collection[str] | None, known: Collection[str]) -> RawColumns:
    problems: list[Problem] = []
    columns: dict[str, list[Any]] = {}
    unused: set[str] = set()
    for position, row in enumerate(rows):
        for name, value in row.items():
            if wanted is None or name in wanted:
                values = columns.get(name)
                if values is None:
                    values = columns[name] = [None] * len(rows)
                values[position] = value
            elif name in known:
                unused.add(name)
            else:
                problems.append(unknown_column(position, name, wanted))
    return RawColumns(len(rows), columns, tuple(sorted(unused)), tuple(problems))
