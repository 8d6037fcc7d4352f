"""Turns the staged rows of one span into the records of its splits, and puts them into the content store."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from components.span_example_gen.staging import FILE_COLUMN, LINE_COLUMN, staged_bad_rows, staged_batches
from components.span_example_gen.store import QUARANTINE, SIDECAR, SpanStore
from data.column_types import cast_column
from data.examples import encode_examples
from data.exclusions import ExclusionFile
from data.label import evaluate, expression_columns
from data.quarantine import MAX_RAW, BadRow, quarantine_name, write_quarantine
from data.records import SplitWriter
from data.span_cut import combined
from data.splits import assign_splits, split_names
from schema.base import Handover
from schema.ingest import ColumnType, Label

SHARD_ROWS = 250_000


class EncodeJob(Handover):
    """One span to make records of."""

    state_dir: str
    """The line's state folder."""
    folder: str
    """The staging folder with its rows."""
    parts: tuple[tuple[str, int], ...]
    """Where in that folder its rows are."""
    files: tuple[str, ...]
    """Paths of the input files, for bad rows."""
    span: int
    """The span's number."""
    version: int
    """Its version."""
    name: str
    """Its label."""
    fingerprint: str
    """Its fingerprint."""
    ingest_key: str
    """Key of the entry to make."""
    types: dict[str, ColumnType]
    """Types of the span's columns."""
    label: Label
    """What is predicted."""
    label_type: ColumnType
    """The label's type."""
    splits: dict[str, int]
    """Hash buckets a split."""
    split_by: tuple[str, ...]
    """Key columns of the split."""
    sample: float | None = None
    """Share of the rows to take; None for all."""
    exclusions: ExclusionFile | None = None
    """Rows to leave out; None when there are none in the span."""

    @property
    def reads(self) -> list[str]:
        """The staging folder, the rows to leave out, and the entry if it is there already."""
        more = [self.exclusions.path] if self.exclusions else []
        return [self.folder, str(SpanStore(self.state_dir).entry(self.ingest_key)), *more]

    @property
    def writes(self) -> list[str]:
        """The entry that the job makes."""
        return [str(SpanStore(self.state_dir).entry(self.ingest_key))]


def encode_span(job: EncodeJob) -> None:
    """Makes the store's entry of a span: records of each split, quarantine and sidecar.

    The entry is not made anew when it is there.
    """
    store = SpanStore(job.state_dir)
    if store.sidecar(job.ingest_key) is not None:
        return
    names = split_names(job.splits)
    with store.writing(job.ingest_key) as folder:
        writers = {name: SplitWriter(folder / f"Split-{name}", SHARD_ROWS) for name in names}
        bad: list[BadRow] = list(staged_bad_rows(Path(job.folder), job.span))
        unlabelled = excluded = unsampled = 0
        finder = job.exclusions.read().finder(job.types) if job.exclusions else None
        filled: set[str] = set()
        for table in staged_batches(Path(job.folder), job.parts):
            if finder is not None:
                # Before anything else, so that nothing of these rows gets into the quarantine either.
                left = finder.find(table) < 0
                excluded += int((~left).sum())
                table = table.filter(pa.array(left))
                if not table.num_rows:
                    continue
            raw = {name: combined(table.column(name)) for name in job.types if name in table.column_names}
            columns, failed = _typed(job, table, raw)
            bad.extend(failed.values())
            label = _label(job, columns)
            labelled = np.asarray(label.is_valid())
            keep = labelled.copy()
            keep[list(failed)] = False
            unlabelled += int((~labelled).sum()) - int((~labelled[list(failed)]).sum())
            if job.label.expression is not None:
                columns[job.label.name] = label
            filled.update(name for name, column in columns.items() if column.null_count < len(column))
            unsampled += _write(job, raw, columns, keep, writers)
        for writer in writers.values():
            writer.close()
        bad.sort(key=lambda row: (job.files.index(row.file), row.line))
        if bad:
            write_quarantine(folder / QUARANTINE, bad)
        (folder / SIDECAR).write_text(
            json.dumps(_sidecar(job, writers, bad, unlabelled, excluded, unsampled, filled), sort_keys=True)
        )


def _sidecar(
    job: EncodeJob,
    writers: dict[str, SplitWriter],
    bad: list[BadRow],
    unlabelled: int,
    excluded: int,
    unsampled: int,
    filled: set[str],
) -> dict[str, Any]:
    columns = dict(job.types)
    if job.label.expression is not None:
        columns[job.label.name] = job.label_type
    return {
        "span": job.span,
        "version": job.version,
        "label": job.name,
        "fingerprint": job.fingerprint,
        "ingest_key": job.ingest_key,
        "rows": {name: writer.rows for name, writer in writers.items()},
        "bad_rows": len(bad),
        "unlabelled_rows": unlabelled,
        "excluded_rows": excluded,
        "sample": job.sample,
        "unsampled_rows": unsampled,
        "columns": columns,
        "empty_columns": sorted(set(columns) - filled),
        "quarantine": f"quarantine/{quarantine_name(job.name, job.fingerprint)}" if bad else None,
    }


def _typed(job: EncodeJob, table: pa.Table, raw: dict[str, pa.Array]) -> tuple[dict[str, pa.Array], dict[int, BadRow]]:
    """Casts the columns; returns them, and the bad rows by their positions."""
    columns: dict[str, pa.Array] = {}
    failed: dict[int, BadRow] = {}
    for name, column in raw.items():
        columns[name], bad = cast_column(column, job.types[name])
        for position in [] if bad is None else np.flatnonzero(bad).tolist():
            if position not in failed:
                value = _text(column[position].as_py())
                what = "an integer" if job.types[name] == "INT" else "a number that float32 can hold"
                failed[position] = BadRow(
                    job.files[table.column(FILE_COLUMN)[position].as_py()],
                    table.column(LINE_COLUMN)[position].as_py(),
                    f"column {name!r} must be {what}. Got {value!r} instead",
                    name,
                    value,
                    _row_text(table, position),
                )
    return columns, failed


def _row_text(table: pa.Table, position: int) -> str:
    """Returns a staged row as CSV; the line that it came from may have had other quotes."""
    cells = (table.column(name)[position].as_py() for name in table.column_names if not name.startswith("\0"))
    out = io.StringIO()
    csv.writer(out, lineterminator="").writerow("" if cell is None else _text(cell) for cell in cells)
    return out.getvalue()[:MAX_RAW]


def _text(value: Any) -> str:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)


def _label(job: EncodeJob, columns: dict[str, pa.Array]) -> pa.Array:
    count = len(next(iter(columns.values())))
    if job.label.expression is not None:
        # A column of the expression that other spans have and this one lacks is missing in every row.
        lacking = set(expression_columns(job.label.expression)) - set(columns)
        return pa.nulls(count) if lacking else evaluate(job.label.expression, columns)
    return columns.get(job.label.name, pa.nulls(count))


def _write(
    job: EncodeJob,
    raw: dict[str, pa.Array],
    columns: dict[str, pa.Array],
    keep: np.ndarray,
    writers: dict[str, SplitWriter],
) -> int:
    """Writes the rows that are kept, and returns how many of them are outside of the sample."""
    splits = np.where(keep, assign_splits(raw, job.splits, job.split_by, job.sample), -1)
    records = encode_examples(columns)
    for index, writer in enumerate(writers.values()):
        chosen = splits == index
        if chosen.any():
            writer.write(records.filter(pa.array(chosen)))
    return int((keep & (splits < 0)).sum())
