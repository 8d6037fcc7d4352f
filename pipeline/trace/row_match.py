"""Rows of a table that have certain values, whatever file or tf.Example they are in."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data.binary import byte_rows
from data.rows import canonical_rows
from data.span_cut import combined, cut_blocks
from data.tables import Format, open_table
from schema.errors import UsageError
from schema.ingest import SpanBy


@dataclass(frozen=True)
class Conditions:
    """Columns and the values that a row must have in them.

    A text that is a number is that number, as for splits: which type a column was given at the time does not matter.
    Integers are compared to their last digit.

    Attributes:
        values: column name to value, None for one that is missing.
    """

    values: Mapping[str, str | None]

    def of(self, table: pa.Table) -> np.ndarray:
        """Returns the positions of the rows of a table that have these values."""
        count = table.num_rows
        if not count or any(
            value is not None and name not in table.column_names for name, value in self.values.items()
        ):
            return np.zeros(0, np.int64)
        columns = {name: combined(table.column(name)) for name in self.values if name in table.column_names}
        wanted = canonical_rows({name: pa.array([value], pa.string()) for name, value in self.values.items()})
        keys = canonical_rows(columns) if columns else pa.array([b""] * count, pa.binary())
        places = np.flatnonzero(np.asarray(pc.equal(keys, wanted[0])))
        # Splits are by floats, in which long ids that stand side by side are one number.
        for name, value in self.values.items():
            if value is not None and len(places):
                cells = columns[name].take(pa.array(places)).to_pylist()
                places = places[[not _other_integers(cell, value) for cell in cells]]
        return places


def _other_integers(cell: object, value: str) -> bool:
    """Returns whether both are written as integers, and are not the same one."""
    text = cell.decode("utf-8", "replace") if isinstance(cell, bytes) else str(cell)
    written = [re.fullmatch(r"\s*([+-]?\d{1,40})\s*", one, re.ASCII) for one in (text, value)]
    return all(written) and len({int(one[1]) for one in written if one}) > 1


@dataclass(frozen=True)
class FoundRow:
    """A row that was found.

    Attributes:
        span: the number of its span.
        file: the file.
        line: its line there, or its record number; from 1.
        record: SHA-256 over its values, the same in every file format: what decides its split without `split_by`.
        columns: the row itself, a table of one row.
    """

    span: int
    file: str
    line: int
    record: str
    columns: pa.Table


def conditions_of(given: Sequence[str]) -> Conditions:
    """Returns what `--row KEY=VALUE` says, once for each column.

    Raises:
        UsageError: there is no `=`, a column twice, or no value at all.
    """
    values: dict[str, str | None] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name or name in values:
            what = "a column twice" if name in values else repr(text)
            raise UsageError(f"--row must be KEY=VALUE, once for each column. Got {what} instead")
        if re.search("[\ud800-\udfff]", text):
            raise UsageError("--row must be UTF-8 text. Got other bytes instead")
        values[name] = value or None
    if all(value is None for value in values.values()):
        raise UsageError(
            "--row must have a value in at least one column. Got none instead",
            hint="KEY= means that the value is missing, and goes with another --row",
        )
    return Conditions(values)


def rows_of_files(
    files: Sequence[str], fmt: Format, missing_values: Sequence[str], span_by: SpanBy | None, span: int, seen: set[str]
) -> Iterator[tuple[str, np.ndarray, np.ndarray, pa.Table]]:
    """Yields the rows of files, block by block: file, lines (n,), spans (n,), columns.

    Args:
        files: the files, in order.
        fmt: their format.
        missing_values: field texts that mean missing.
        span_by: how they are cut, or None.
        span: the span of all rows where they are not cut.
        seen: is given the column names.
    """
    for path in files:
        table = open_table(path, fmt, missing_values)
        seen.update(table.names)
        if span_by is not None:
            for cut in cut_blocks(path, table.blocks(), span_by):
                yield path, cut.lines, cut.spans, cut.columns
        else:
            for block in table.blocks():
                yield path, block.lines, np.full(len(block.lines), span), block.columns


def found_rows(
    blocks: Iterator[tuple[str, np.ndarray, np.ndarray, pa.Table]], conditions: Conditions, without: frozenset[str]
) -> Iterator[FoundRow]:
    """Yields the rows that have the values.

    Args:
        blocks: as `rows_of_files` yields them.
        conditions: the values.
        without: columns that are not the row's own, such as a label that was derived.
    """
    for path, lines, spans, columns in blocks:
        for position in conditions.of(columns):
            row = columns.slice(int(position), 1).drop([name for name in columns.column_names if name in without])
            yield FoundRow(int(spans[position]), path, int(lines[position]), record_of(row), row)


def record_of(row: pa.Table) -> str:
    """Returns the identity of a row, a table of one."""
    columns = {name: combined(row.column(name)) for name in row.column_names}
    (content,) = byte_rows(canonical_rows(columns))
    return hashlib.sha256(content).hexdigest()


def rows_of_split(
    uri: str, split: str, span: int, seen: set[str]
) -> Iterator[tuple[str, np.ndarray, np.ndarray, pa.Table]]:
    """Yields the rows of a split of an Examples artifact, as `rows_of_files` does."""
    files = sorted(str(path) for path in (Path(uri) / f"Split-{split}").glob("*") if path.is_file())
    return rows_of_files(files, "tfrecord", (), None, span, seen)
