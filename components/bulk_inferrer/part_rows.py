"""Cuts tables into parts: tables of a fixed number of rows, in the order of the input, the bad ones in their places."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import numpy as np
import pyarrow as pa

from components.span_example_gen.staging import unified
from data.quarantine import BadRow
from data.span_cut import cut_blocks
from data.tables import Format, Table, open_table
from schema.base import Handover
from schema.errors import SpanError
from schema.ingest import SpanBy

FILE = "\0file"
"""Position of the row's file in the input."""
LINE = "\0line"
"""The row's first physical line in that file, or its record number; counted from 1."""
ERROR = "\0error"
"""Why the row could not be read; null where it could."""
OURS = (FILE, LINE, ERROR)


class SourceFile(Handover):
    """A file of the input."""

    path: str
    """Where it is."""
    name: str
    """What it is called in the output: the shortest path that tells it from the other files."""
    sha256: str
    """Hex SHA-256 of its content."""
    bytes: int
    """Its size."""


class Source(Handover):
    """Where the rows come from."""

    files: tuple[SourceFile, ...]
    """The files, in order."""
    format: Format
    """Their format."""
    missing_values: tuple[str, ...]
    """Field texts of a CSV that mean missing."""
    span_by: SpanBy | None = None
    """How spans are cut out of the files; None when all rows are wanted."""
    spans: tuple[int, ...] = ()
    """The spans that are wanted, where `span_by` is set."""

    def open(self, file: SourceFile) -> Table:
        """Opens a file."""
        return open_table(file.path, self.format, self.missing_values)


def read_blocks(source: Source, wanted: Collection[str]) -> Iterator[pa.Table]:
    """Yields the rows of the input in order, a table with the columns of OURS a block.

    Args:
        source: where the rows come from.
        wanted: the columns that are wanted; those that a file lacks are left out.

    Raises:
        SpanError: a file is not the one that was fingerprinted.
    """
    needed = {*wanted, *([source.span_by.column] if source.span_by else [])}
    for number, file in enumerate(source.files):
        table = source.open(file)
        # Asked for no column at all, a reader has no rows either.
        only = needed & set(table.names) or set(table.names[:1])
        for columns, lines, bad in _rows(source, table, only):
            yield _joined(columns.select([n for n in columns.column_names if n in wanted]), lines, bad, number)
        if table.sha256() != file.sha256:
            raise SpanError(
                f"{file.path} must not change while a batch reads it. Got other content than a moment ago instead",
                hint="run again when the file is complete; write new files under another name, then rename",
            )


def cut_parts(
    blocks: Iterator[pa.Table], rows_per_part: int, wanted: Collection[int]
) -> Iterator[tuple[int, pa.Table]]:
    """Yields the parts that are wanted, by number, a part's rows as one table.

    Args:
        blocks: all rows, as `read_blocks` yields them.
        rows_per_part: how many rows a part has; the last one may have fewer.
        wanted: numbers of parts. What is not wanted is read and dropped.
    """
    number, held, count = 0, [], 0
    for block in blocks:
        start = 0
        while start < block.num_rows:
            piece = block.slice(start, rows_per_part - count)
            start += piece.num_rows
            count += piece.num_rows
            if number in wanted:
                held.append(piece)
            if count == rows_per_part:
                if held:
                    yield number, unified(held)
                number, held, count = number + 1, [], 0
    if held:
        yield number, unified(held)


def _rows(
    source: Source, table: Table, only: Collection[str]
) -> Iterator[tuple[pa.Table, np.ndarray, Sequence[BadRow]]]:
    if source.span_by is None:
        for block in table.blocks(only):
            yield block.columns, block.lines, [row for _, row in block.bad]
        return
    for cut in cut_blocks(table.path, table.blocks(only), source.span_by):
        keep = np.isin(cut.spans, source.spans)
        bad = [row for span, row, _ in cut.bad if span in source.spans]
        yield cut.columns.filter(pa.array(keep)), cut.lines[keep], bad


def _joined(columns: pa.Table, lines: np.ndarray, bad: Sequence[BadRow], file: int) -> pa.Table:
    """Returns good and bad rows in the order of their lines; a bad row has no values."""
    count = len(lines) + len(bad)
    lines = np.concatenate([lines, np.array([row.line for row in bad], np.int64)])
    parts = {
        name: pa.chunked_array([*columns.column(name).chunks, pa.nulls(len(bad), columns.column(name).type)])
        for name in columns.column_names
    }
    parts[FILE] = pa.array(np.full(count, file, np.int32))
    parts[LINE] = pa.array(lines)
    parts[ERROR] = pa.array([None] * (count - len(bad)) + [row.reason for row in bad], pa.string())
    table = pa.table(parts)
    return table.take(pa.array(np.argsort(lines, kind="stable"))) if bad else table
