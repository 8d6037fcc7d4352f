"""Table files whose rows are to be predicted: read as ingestion reads them, with what is needed to write them again."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from data.columns import require_columns
from data.csv_table import CsvTable
from data.parquet_table import ParquetTable, plain_column
from data.quarantine import BadRow
from schema.errors import ConfigError
from serving.client.encoding import Encoder
from serving.client.rules import ColumnRule

ROWS_READ = 10_000
"""Rows that are held at a time, about."""


@dataclasses.dataclass(frozen=True)
class FileRows:
    """Consecutive rows of a file.

    Attributes:
        read: the good rows as ingestion reads them, a column each: string, binary, int64, float64 or null.
        lines: int64 (n,), the physical line (or row number) of each, counted from 1.
        bad: rows that are none, with their positions: a row at position p stood right before good row p.
        original: the good rows as they stand in the file: a table, or the bytes of each with its line end.
    """

    read: pa.Table
    lines: np.ndarray
    bad: Sequence[tuple[int, BadRow]]
    original: pa.Table | pa.Array


class InputTable(Protocol):
    """A table file, opened."""

    path: str
    names: tuple[str, ...]
    header: bytes
    """CSV: the header as it stands in the file, with its line end; else nothing."""
    total: int | None
    """How many rows there are, where the file says so."""

    def blocks(self) -> Iterator[FileRows]:
        """Yields all rows in file order."""


class CsvInput:
    """A CSV file.

    Args:
        path: the file.
        missing_values: field texts that mean missing.

    Raises:
        ConfigError: the header cannot be used.
        SpanError: the file cannot be read.
    """

    def __init__(self, path: Path, missing_values: Sequence[str] = ("",)) -> None:
        self._table = CsvTable(str(path), tuple(missing_values), block_bytes=1 << 19)
        self.path, self.names, self.header = str(path), self._table.names, self._table.header
        self.total: int | None = None

    def blocks(self) -> Iterator[FileRows]:
        """Yields all rows in file order."""
        for block in self._table.blocks():
            yield FileRows(block.columns, block.lines, block.bad, block.raw)


class ParquetInput:
    """A Parquet file.

    Args:
        path: the file.

    Raises:
        ConfigError: it is no Parquet file, or has nested columns.
        SpanError: the file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        import pyarrow.parquet as pq

        self.path, self.header = str(path), b""
        self.names = ParquetTable(str(path)).names
        self._file = pq.ParquetFile(str(path))
        self.total: int | None = self._file.metadata.num_rows

    def blocks(self) -> Iterator[FileRows]:
        """Yields all rows in file order."""
        row = 1
        for batch in self._file.iter_batches(ROWS_READ):
            plain = {name: plain_column(batch.column(i), name) for i, name in enumerate(self.names)}
            lines = np.arange(row, row + batch.num_rows, dtype=np.int64)
            yield FileRows(pa.table(plain), lines, (), pa.Table.from_batches([batch]).rename_columns(list(self.names)))
            row += batch.num_rows


def check_columns(
    table: InputTable, encoder: Encoder, rules: Mapping[str, ColumnRule], key: str | None
) -> tuple[list[str], list[str]]:
    """Holds the columns of a file against those of the model.

    A column more is no error: what predictions are made for often has the label, and identifiers, beside it. It is one
    where it looks like a column of the model that the file lacks.

    Args:
        table: the file.
        encoder: knows the model's columns.
        rules: the curated schema's rules.
        key: the column with the caller's own keys, or None.

    Returns:
        Columns of the file that the model does not take, and columns of the model that the file lacks.

    Raises:
        ConfigError: a column is misspelt or required, there is none that the model takes, or there is no such key.
    """
    if key is not None:
        require_columns([key], table.names, "--key")
    if encoder.open_columns:
        raise ConfigError(
            f"the types of the columns of {table.path} must be known. The model takes tf.Examples and has no "
            "serving_raw signature that tells them",
            hint="give a curated schema",
        )
    lacking = [name for name in encoder.columns if name not in table.names]
    unused = [name for name in table.names if name not in encoder.columns]
    for name in unused:
        meant = _meant(name, lacking)
        if meant and name not in rules and name != key:
            raise ConfigError(
                f"columns of {table.path} must be those of the model. Got {name!r} instead. Did you mean {meant!r}?",
                hint="rename the column",
            )
    required = [name for name in lacking if name in rules and rules[name].required]
    if required or len(lacking) == len(encoder.columns):
        missed = ", ".join(repr(name) for name in (required or lacking)[:10])
        raise ConfigError(
            f"{table.path} must have the column{'s' if len(required or lacking) > 1 else ''} {missed}. "
            f"Got {', '.join(table.names[:20]) or 'no columns'} instead"
        )
    return unused, lacking


def _meant(name: str, names: Collection[str]) -> str | None:
    folded = {other.casefold(): other for other in names}
    # Stricter than for a name that is wrong for certain: this one may be a column of its own.
    close: list[Any] = difflib.get_close_matches(name.casefold(), list(folded), n=1, cutoff=0.85)
    return folded[close[0]] if close else None
