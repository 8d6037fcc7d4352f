"""Files with rows and their predictions beside them; a file appears whole, when all rows are in it."""

from __future__ import annotations

import contextlib
import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from data.parquet_table import plain_column
from data.whole_file import replacing
from schema.errors import UsageError
from serving.client.layout import Layout
from serving.client.signatures import SignatureSpec
from serving.client.tables import FileRows, InputTable

SUFFIXES = (".csv", ".parquet")


class Writer(Protocol):
    """Takes blocks of rows, in order."""

    def start(self, layout: Layout, signature: SignatureSpec) -> None:
        """Is told of the columns, before the first block."""

    def write(self, block: FileRows, columns: dict[str, list[Any]], errors: list[str | None]) -> None:
        """Writes a block.

        Args:
            block: the rows.
            columns: the columns of the layout but for the error, a value a good row.
            errors: what is wrong with each good row, or None.
        """


@contextlib.contextmanager
def writing(path: Path, table: InputTable) -> Iterator[Writer]:
    """Gives a writer of a file that appears when the block ends well.

    Args:
        path: the file; its suffix tells the format.
        table: where the rows come from.

    Raises:
        UsageError: the suffix tells no format.
    """
    if path.suffix not in SUFFIXES:
        raise UsageError(f"the output must end in {' or '.join(SUFFIXES)}. Got {path} instead")
    with replacing(path) as temporary:
        if path.suffix == ".csv":
            with open(temporary, "wb") as file:
                yield CsvWriter(file, table)
        else:
            writer = ParquetWriter(temporary, table)
            try:
                yield writer
            finally:
                writer.close()


class CsvWriter:
    """Writes CSV. Rows of a CSV file stay as they are, byte by byte; predictions follow.

    A row that could not be read has no fields: what it was stands in the error column.
    """

    def __init__(self, file: Any, table: InputTable) -> None:
        self._file = file
        self._table = table
        self._end = "\r\n" if table.header.endswith(b"\r\n") else "\n"
        self._width = 0

    def start(self, layout: Layout, signature: SignatureSpec) -> None:
        """Writes the header."""
        self._width = len(layout.names)
        if self._table.header:
            self._file.write(_bare(self._table.header) + b"," + self._fields(layout.names))
        else:
            self._file.write(self._fields([*self._table.names, *layout.names]))

    def write(self, block: FileRows, columns: dict[str, list[Any]], errors: list[str | None]) -> None:
        """Writes a block, bad rows where they stood."""
        rows = _input_fields(block)
        values = list(columns.values())
        pending = list(block.bad)
        for row in range(len(block.lines) + 1):
            while pending and pending[0][0] == row:
                _, bad = pending.pop(0)
                blanks = [""] * (len(self._table.names) + self._width - 1)
                self._file.write(self._fields([*blanks, f"{bad}: {bad.raw}"]))
            if row == len(block.lines):
                break
            added = [*(column[row] for column in values), errors[row]]
            head = rows[row]
            if isinstance(head, bytes):
                self._file.write(_bare(head) + b"," + self._fields(added))
            else:
                self._file.write(self._fields([*head, *added]))

    def _fields(self, values: list[Any]) -> bytes:
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator=self._end).writerow(["" if v is None else _shown(v) for v in values])
        return text.getvalue().encode("utf-8", "backslashreplace")


class ParquetWriter:
    """Writes Parquet: the columns of the rows as they are, of a CSV as text, and predictions after them."""

    def __init__(self, path: Path, table: InputTable) -> None:
        self._path = path
        self._table = table
        self._writer: Any = None
        self._types: dict[str, pa.DataType] = {}
        self._error = ""

    def start(self, layout: Layout, signature: SignatureSpec) -> None:
        """Decides on the columns' types."""
        for cell in layout.cells:
            dtype = signature.outputs[cell.output].numpy_dtype
            plain = dtype.kind in "iufb"
            self._types[cell.name] = pa.from_numpy_dtype(dtype) if plain else pa.string()
        self._types |= {layout.version: pa.int64(), layout.request_id: pa.string(), layout.error: pa.string()}
        self._error = layout.error

    def write(self, block: FileRows, columns: dict[str, list[Any]], errors: list[str | None]) -> None:
        """Writes a block, bad rows where they stood."""
        original = block.original if isinstance(block.original, pa.Table) else block.read
        added = {
            name: pa.array([_typed(value, self._types[name]) for value in values], self._types[name])
            for name, values in {**columns, self._error: errors}.items()
        }
        table = original
        for name, column in added.items():
            table = table.append_column(name, column)
        parts, start = [], 0
        for at, bad in block.bad:
            blank = {field.name: pa.nulls(1, field.type) for field in table.schema}
            blank[self._error] = pa.array([f"{bad}: {bad.raw}"])
            parts += [table.slice(start, at - start), pa.table(blank, schema=table.schema)]
            start = at
        self._put(pa.concat_tables([*parts, table.slice(start)]))

    def close(self) -> None:
        """Ends the file; one without rows has the columns only."""
        if self._writer is None and self._types:
            fields = [(name, pa.string()) for name in self._table.names if name not in self._types]
            self._put(pa.schema([*fields, *self._types.items()]).empty_table())
        if self._writer is not None:
            self._writer.close()

    def _put(self, table: pa.Table) -> None:
        import pyarrow.parquet as pq

        if self._writer is None:
            self._writer = pq.ParquetWriter(str(self._path), table.schema)
        self._writer.write_table(table.cast(self._writer.schema))


def plain_rows(block: FileRows, names: tuple[str, ...]) -> list[dict[str, Any]]:
    """Returns rows as plain values: texts, numbers, None."""
    columns = [[_shown(value) for value in block.read.column(name).to_pylist()] for name in names]
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def _input_fields(block: FileRows) -> list[Any]:
    """Returns each row's own bytes, or its fields."""
    if not isinstance(block.original, pa.Table):
        return list(block.original.to_pylist())
    columns = [
        [_shown(value) for value in plain_column(column.combine_chunks(), name).to_pylist()]
        for name, column in zip(block.original.column_names, block.original.columns, strict=True)
    ]
    return [["" if value is None else value for value in row] for row in zip(*columns, strict=True)]


def _bare(line: bytes) -> bytes:
    return line.removesuffix(b"\n").removesuffix(b"\r")


def _shown(value: Any) -> Any:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value


def _typed(value: Any, kind: pa.DataType) -> Any:
    if value is None:
        return None
    if pa.types.is_string(kind):
        return str(_shown(value))
    return value.item() if isinstance(value, np.generic) else value
