"""Rows that are to be left out: a file of them, and which rows of a table they are.

A row of the file is a condition: rows of the table that equal it in all of the file's columns are left out. Values
compare as the type that the table's column has, so that `1` and `1.0` are one number and two texts.

What the file says may be personal data. It is read where it is needed; what is handed on is where it is, which columns
it has, and its digest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data.binary import kept_where
from data.column_types import cast_column
from data.columns import nearest
from data.numbers import parse_numbers
from data.rows import canonical_rows
from data.span_cut import combined
from schema.base import Handover, sha256_json
from schema.errors import ConfigError, SpanError
from schema.ingest import ColumnType

Condition = tuple["str | None", ...]


class ExclusionFile(Handover):
    """A file of conditions, as one part of the pipeline tells another of it."""

    path: str
    """Absolute path."""
    sha256: str
    """SHA-256 over columns and conditions, whatever their order and the file's format."""
    columns: tuple[str, ...]
    """The columns, sorted."""
    missing_values: tuple[str, ...]
    """Field texts of a CSV that mean missing."""

    def read(self) -> Exclusions:
        """Reads the conditions.

        Raises:
            SpanError: they are others than those that the SHA-256 is of.
        """
        from data.exclusion_formats import read_exclusions

        found = read_exclusions(Path(self.path), self.missing_values)
        if found.digest != self.sha256:
            raise SpanError(
                f"{self.path} must not change while a run reads it. Got other rows to exclude than at its start "
                f"(digest {found.digest[:12]} after {self.sha256[:12]}) instead",
                hint="run again when the file is complete; compile again where the pipeline was compiled",
            )
        return found


@dataclass(frozen=True)
class Exclusions:
    """Conditions, each once, in a canonical order.

    Attributes:
        columns: the columns, sorted.
        conditions: a text a column, None where the value is missing.
    """

    columns: tuple[str, ...]
    conditions: tuple[Condition, ...]

    @property
    def digest(self) -> str:
        """SHA-256 over all of them."""
        return self.digest_of(range(len(self.conditions)))

    def digest_of(self, numbers: Sequence[int]) -> str:
        """Returns the SHA-256 over some of them, by their positions."""
        return sha256_json({"columns": self.columns, "rows": [self.conditions[number] for number in numbers]})

    def finder(self, types: Mapping[str, ColumnType]) -> Finder:
        """Returns what finds rows of a table whose columns have these types."""
        return Finder(self, types)


class Finder:
    """Finds the rows of a table that conditions are about.

    Args:
        exclusions: the conditions.
        types: the types of the table's columns; one that it lacks is missing in every row.
    """

    def __init__(self, exclusions: Exclusions, types: Mapping[str, ColumnType]) -> None:
        self._types = {name: types[name] for name in exclusions.columns if name in types}
        count = len(exclusions.conditions)
        possible = np.ones(count, bool)
        typed: dict[str, pa.Array] = {}
        for place, name in enumerate(exclusions.columns):
            texts = pa.array([condition[place] for condition in exclusions.conditions], pa.string())
            if name not in self._types:
                possible &= np.asarray(texts.is_null())
                continue
            typed[name], impossible = _typed(texts, self._types[name])
            possible &= ~impossible
        keys = _keys(typed, count)
        self._same = np.asarray(keys.dictionary_encode().indices)
        # Without a value, as of `nan` alone, a condition would be about every row in which the column is missing.
        possible &= np.asarray(pc.binary_length(keys)) > 0
        self._possible = possible
        self._numbers = np.flatnonzero(possible)
        self._keys = keys.take(pa.array(self._numbers))

    def find(self, table: pa.Table) -> np.ndarray:
        """Tells which condition each row of a table meets, int64 (n,): its position, or -1 for none.

        Args:
            table: columns as they were read.
        """
        if not len(self._numbers) or not table.num_rows:
            return np.full(table.num_rows, -1, np.int64)
        columns = {}
        refused = np.zeros(table.num_rows, bool)
        for name, kind in self._types.items():
            if name in table.column_names:
                columns[name], bad = _typed(combined(table.column(name)), kind)
                refused |= bad
        found = pc.index_in(_keys(columns, table.num_rows), value_set=self._keys)
        places = np.asarray(pc.fill_null(found, -1)).astype(np.int64)
        # A value that is not of the column's type is not a missing one: such a row is a bad row.
        return np.where((places >= 0) & ~refused, self._numbers[places], -1)

    def met(self, table: pa.Table) -> set[int]:
        """Returns the positions of all conditions that rows of a table meet: two texts may be one number."""
        found = self.find(table)
        codes = self._same[np.unique(found[found >= 0])]
        return set(np.flatnonzero(np.isin(self._same, codes) & self._possible).tolist())


def _typed(column: pa.Array, kind: ColumnType) -> tuple[pa.Array, np.ndarray]:
    """Returns a column as a type has it, and bool (n,): true where a value cannot be of that type."""
    refused = np.zeros(len(column), bool)
    if kind == "INT":
        numbers = parse_numbers(column)
        if numbers.integers is None:
            values = np.asarray(pc.fill_null(numbers.values, 0.0))
            refused = (np.trunc(values) != values) | (np.abs(values) >= 2.0**63)
            column = kept_where(pa.array(~refused), column)
    typed, bad = cast_column(column, kind)
    if kind == "FLOAT":
        # Minus zero equals zero.
        typed = pc.add(typed, pa.scalar(0.0, pa.float32()))
    return typed, refused if bad is None else refused | bad


def _keys(columns: Mapping[str, pa.Array], count: int) -> pa.Array:
    if not columns:
        return pa.array([b""] * count, pa.binary())
    return canonical_rows(columns, exact=True)


def check_columns(exclusions: ExclusionFile, names: Sequence[str]) -> None:
    """Checks that the table has the columns by which rows are to be excluded.

    Raises:
        ConfigError: it lacks one; the message has the nearest spelling.
    """
    for name in exclusions.columns:
        if name not in names:
            raise ConfigError(
                f"{exclusions.path}: columns of the rows to exclude must be columns of the table. "
                f"Got {name!r} instead. {nearest(name, names)}",
                hint="correct the file's header, or remove that column",
            )
