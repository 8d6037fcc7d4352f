"""Reads tables once: rows go, sorted by span, into Arrow files of the staging folder, and columns are profiled.

A table that is cut by time may hold its spans in any order, and the types of its columns are known only after the
last row. So rows are kept as they were read (texts stay texts) until both are known.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa

from data.column_types import ColumnProfile, profile_column
from data.quarantine import BadRow
from data.span_cut import CutBlock, combined, cut_blocks
from data.tables import Format, Table, open_table
from data.window import InputFile
from schema.base import Handover
from schema.errors import SpanError
from schema.ingest import SpanBy

FILE_COLUMN = "\0file"
LINE_COLUMN = "\0line"
RUN_BYTES = 128 << 20
BATCH_ROWS = 65_536


class StageJob(Handover):
    """Some files to read at once."""

    folder: str
    """Where the rows go."""
    files: tuple[InputFile, ...]
    """What is read, in order."""
    format: Format
    """Format of the files."""
    missing_values: tuple[str, ...]
    """Field texts that mean missing."""
    span_by: SpanBy | None
    """How the table is cut; None when all rows are of one span."""
    spans: tuple[int, ...]
    """The spans that are wanted."""

    @property
    def reads(self) -> list[str]:
        """The files that the job reads."""
        return [file.path for file in self.files]

    @property
    def writes(self) -> list[str]:
        """The folder that the job fills."""
        return [self.folder]


@dataclass
class StagedSpan:
    """What was staged of a span.

    Attributes:
        parts: Arrow file name and batch number of each batch, in row order.
        profiles: what the columns look like.
        bad_rows: how many rows could not be read.
    """

    parts: list[tuple[str, int]] = field(default_factory=list)
    profiles: dict[str, ColumnProfile] = field(default_factory=dict)
    bad_rows: int = 0


def stage(job: StageJob) -> dict[int, StagedSpan]:
    """Reads the files of a job and stages the spans wanted; `staged_spans` finds the result again.

    Raises:
        SpanError: a file is not the one that was fingerprinted.
    """
    folder = Path(job.folder)
    folder.mkdir(parents=True, exist_ok=True)
    writer = _RunWriter(folder, job.spans)
    for number, file in enumerate(job.files):
        table = open_table(file.path, job.format, job.missing_values)
        for block in _blocks(table, job):
            writer.add(block, number)
        if table.sha256() != file.sha256:
            raise SpanError(
                f"{file.path} must not change while a run reads it. Got other content than a moment ago instead",
                hint="run again when the file is complete; write new files under another name, then rename",
            )
        writer.seen(table.names)
    staged = writer.close()
    index = {
        span: {
            "parts": item.parts,
            "bad_rows": item.bad_rows,
            "profiles": {name: profile.model_dump() for name, profile in item.profiles.items()},
        }
        for span, item in staged.items()
    }
    (folder / "index.json").write_text(json.dumps(index))
    return staged


def staged_spans(folder: Path) -> dict[int, StagedSpan]:
    """Returns what `stage` left in a folder, maybe in another process."""
    index = json.loads((folder / "index.json").read_text())
    return {
        int(span): StagedSpan(
            parts=[(name, batch) for name, batch in item["parts"]],
            profiles={name: ColumnProfile(**profile) for name, profile in item["profiles"].items()},
            bad_rows=item["bad_rows"],
        )
        for span, item in index.items()
    }


def staged_batches(folder: Path, parts: Sequence[tuple[str, int]]) -> Iterator[pa.Table]:
    """Yields the rows of a span as tables, in file order, each with FILE_COLUMN and LINE_COLUMN."""
    readers: dict[str, pa.ipc.RecordBatchFileReader] = {}
    for name, number in parts:
        if name not in readers:
            readers = {name: pa.ipc.open_file(pa.memory_map(str(folder / name)))}
        yield pa.Table.from_batches([readers[name].get_batch(number)])


def staged_bad_rows(folder: Path, span: int) -> Iterator[BadRow]:
    """Yields the bad rows of a span in file order."""
    path = _bad_path(folder, span)
    if path.is_file():
        with open(path, encoding="utf-8", newline="\n") as file:
            for line in file:
                yield BadRow(**json.loads(line))


def _bad_path(folder: Path, span: int) -> Path:
    return folder / f"bad-{span}.jsonl"


def _blocks(table: Table, job: StageJob) -> Iterator[CutBlock]:
    if job.span_by is not None:
        yield from cut_blocks(table.path, table.blocks(), job.span_by)
        return
    (span,) = job.spans
    for block in table.blocks():
        spans = np.full(len(block.lines), span, dtype=np.int64)
        bad = tuple((span, row, b"") for _, row in block.bad)
        yield CutBlock(block.columns, block.lines, spans, pa.nulls(len(spans), pa.binary()), bad)


class _RunWriter:
    """Collects rows and writes them as runs: Arrow files in which the rows of a span are together."""

    def __init__(self, folder: Path, spans: Sequence[int]) -> None:
        self._folder = folder
        self._wanted = np.array(sorted(spans), dtype=np.int64)
        self._staged = {span: StagedSpan() for span in sorted(spans)}
        self._tables: list[pa.Table] = []
        self._spans: list[np.ndarray] = []
        self._bytes = 0
        self._runs = 0
        self._names: dict[str, None] = {}

    def add(self, block: CutBlock, file: int) -> None:
        """Adds the rows of a block that are of wanted spans."""
        for span, row, _ in block.bad:
            if span in self._staged:
                self._staged[span].bad_rows += 1
                with open(_bad_path(self._folder, span), "a", encoding="utf-8", newline="\n") as out:
                    out.write(json.dumps(asdict(row)) + "\n")
        table, spans, lines = block.columns, block.spans, block.lines
        self.seen(table.column_names)
        keep = np.isin(spans, self._wanted)
        if not keep.all():
            table, spans, lines = table.filter(pa.array(keep)), spans[keep], lines[keep]
        if not len(spans):
            return
        table = table.append_column(FILE_COLUMN, pa.array(np.full(len(spans), file, np.int32)))
        table = table.append_column(LINE_COLUMN, pa.array(lines))
        self._tables.append(table)
        self._spans.append(spans)
        self._bytes += table.nbytes
        if self._bytes >= RUN_BYTES:
            self._flush()

    def seen(self, names: Sequence[str]) -> None:
        """Notes that the table has these columns, even if no row comes."""
        self._names.update(dict.fromkeys(names))

    def close(self) -> dict[int, StagedSpan]:
        """Writes what is left and returns what was staged."""
        self._flush()
        for item in self._staged.values():
            for name in self._names:
                item.profiles.setdefault(name, ColumnProfile())
        return self._staged

    def _flush(self) -> None:
        if not self._tables:
            return
        table, spans = unified(self._tables), np.concatenate(self._spans)
        self._tables, self._spans, self._bytes = [], [], 0
        order = np.argsort(spans, kind="stable")
        spans = spans[order]
        if (np.diff(order) != 1).any():
            table = table.take(pa.array(order))
        name = f"run-{self._runs:05d}.arrow"
        self._runs += 1
        batch = 0
        values, starts = np.unique(spans, return_index=True)
        bounds = np.append(starts, len(spans))
        with pa.OSFile(str(self._folder / name), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            for index, span in enumerate(values.tolist()):
                item = self._staged[span]
                for start in range(bounds[index], bounds[index + 1], BATCH_ROWS):
                    part = table.slice(start, min(BATCH_ROWS, bounds[index + 1] - start)).combine_chunks()
                    for record_batch in part.to_batches():
                        writer.write_batch(record_batch)
                        item.parts.append((name, batch))
                        batch += 1
                    _profile(item, part)


def _profile(item: StagedSpan, part: pa.Table) -> None:
    for name in part.column_names:
        if name not in (FILE_COLUMN, LINE_COLUMN):
            profile = profile_column(combined(part.column(name)))
            item.profiles[name] = item.profiles.get(name, ColumnProfile()) + profile


def unified(tables: Sequence[pa.Table]) -> pa.Table:
    """Concatenates tables whose columns may differ: an absent column is missing, types widen until they agree."""
    if all(table.schema.equals(tables[0].schema) for table in tables):
        return pa.concat_tables(tables)
    kinds: dict[str, pa.DataType] = {}
    for table in tables:
        for field_ in table.schema:
            kinds[field_.name] = _wider(kinds.get(field_.name, pa.null()), field_.type)
    fitted = []
    for table in tables:
        columns = {}
        for name, kind in kinds.items():
            column = table.column(name) if name in table.column_names else pa.nulls(table.num_rows)
            columns[name] = _as(column, kind)
        fitted.append(pa.table(columns))
    return pa.concat_tables(fitted)


def _wider(left: pa.DataType, right: pa.DataType) -> pa.DataType:
    if left.equals(right) or pa.types.is_null(right):
        return left
    if pa.types.is_null(left):
        return right
    numeric = [pa.types.is_integer(kind) or pa.types.is_floating(kind) for kind in (left, right)]
    return pa.float64() if all(numeric) else pa.binary()


def _as(column: pa.Array, kind: pa.DataType) -> pa.Array:
    if column.type.equals(kind):
        return column
    if pa.types.is_binary(kind) and not pa.types.is_null(column.type):
        return column.cast(pa.string()).cast(kind)
    return column.cast(kind, safe=False) if not pa.types.is_null(column.type) else pa.nulls(len(column), kind)
