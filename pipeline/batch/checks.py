"""Checks of a batch's input before any part is made: its columns, their types, and how many rows there are."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa

from components.bulk_inferrer.model_rows import raw_columns
from components.bulk_inferrer.part_rows import Source, SourceFile, read_blocks
from components.bulk_inferrer.part_table import key_type
from data.columns import require_columns
from data.span_cut import combined
from data.tables import Table
from schema.errors import DataRejected
from serving.client.arrow_values import read_column
from serving.client.encoding import Encoder
from serving.client.rules import ColumnRule
from serving.client.signatures import RAW, Metadata, TensorSpec
from serving.client.tables import FileRows, check_columns

FIRST_ROWS = 10
"""A column of which so many first values are none of its type has another type; fewer are bad rows."""


@dataclasses.dataclass(frozen=True)
class Columns:
    """How the columns of the input go with those of the model.

    Attributes:
        unused: columns that the model does not take.
        lacking: columns of the model that a file lacks.
    """

    unused: tuple[str, ...]
    lacking: tuple[str, ...]


def check_input(source: Source, metadata: Metadata, rules: Mapping[str, ColumnRule], keys: Sequence[str]) -> Columns:
    """Holds the columns of every file against those of the model.

    Raises:
        ConfigError: a column is misspelt or required, there is none that the model takes, or there is no such key.
        DataRejected: a column has another type than the model's.
    """
    encoder = Encoder(metadata, metadata.signature(RAW), rules)
    unused: set[str] = set()
    lacking: set[str] = set()
    for file in source.files:
        table = source.open(file)
        if not table.names and not file.bytes:
            continue
        require_columns(keys, table.names, "--key")
        more, less = check_columns(_Named(file.path, table.names), encoder, rules, keys[0] if keys else None)
        unused.update(set(more) - set(keys))
        lacking.update(less)
        _check_types(file, table, raw_columns(metadata))
    return Columns(tuple(sorted(unused)), tuple(sorted(lacking)))


def count_rows(source: Source, keys: Sequence[str]) -> tuple[int, dict[str, str]]:
    """Returns how many rows the input has, bad ones too, and the types of the key columns."""
    rows = 0
    kinds: dict[str, dict[str, pa.DataType]] = {name: {} for name in keys}
    for block in read_blocks(source, keys):
        rows += block.num_rows
        for name in keys:
            if name in block.column_names:
                kind = block.schema.field(name).type
                kinds[name][str(kind)] = kind
    return rows, {name: key_type(list(found.values())) for name, found in kinds.items()}


@dataclasses.dataclass
class _Named:
    """What the client's column check looks at of a table."""

    path: str
    names: tuple[str, ...]
    header: bytes = b""
    total: int | None = None

    def blocks(self) -> Iterator[FileRows]:
        return iter(())


def _check_types(file: SourceFile, table: Table, columns: Mapping[str, TensorSpec]) -> None:
    block = next(iter(table.blocks(set(columns))), None)
    if block is None:
        return
    for name, spec in columns.items():
        if name not in block.columns.column_names:
            continue
        column = read_column(combined(block.columns.column(name)), spec)
        given = np.flatnonzero(~column.missing)[:FIRST_ROWS].tolist()
        if len(given) == FIRST_ROWS and all(row in column.wrong for row in given):
            raise DataRejected(
                f"{file.path}:{block.lines[given[0]]}: {column.wrong[given[0]]}; none of the first {FIRST_ROWS} "
                f"values of the column is one",
                hint="give the column that type in the file, or leave it out where the model may lack it",
            )
