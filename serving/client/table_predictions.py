"""Predictions for the rows of a table file: block by block, so that a file may be larger than memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pyarrow as pa

from data.quarantine import BadRow, printable
from serving.client.arrow_values import read_column
from serving.client.batches import key_problem
from serving.client.core import Core, Plan
from serving.client.encoding import Encoded
from serving.client.errors import Problem
from serving.client.layout import Layout, decide
from serving.client.outputs import Writer
from serving.client.results import Predictions
from serving.client.rows import RawColumns
from serving.client.tables import FileRows, InputTable


@dataclasses.dataclass
class Report:
    """What became of a table.

    Attributes:
        rows: how many rows it has, bad ones too.
        predicted: how many have a prediction.
        bad: the others, in file order.
    """

    rows: int = 0
    predicted: int = 0
    bad: list[BadRow] = dataclasses.field(default_factory=list)


async def predict_table(
    core: Core,
    plan: Plan,
    table: InputTable,
    writer: Writer,
    *,
    key: str | None = None,
    progress: Callable[[Report], None] | None = None,
) -> Report:
    """Predicts the rows of a table that fit the model.

    Args:
        core: the client.
        plan: how rows go to the signature.
        table: the rows.
        writer: takes them with their predictions, in order.
        key: the column with the caller's own keys.
        progress: is told how far it is, after each block.

    Raises:
        CallFailed: the server did not answer, or with an error.
    """
    report = Report()
    layout: Layout | None = None
    held: list[tuple[FileRows, Encoded, Predictions]] = []

    def write(layout: Layout, block: FileRows, encoded: Encoded, predictions: Predictions) -> None:
        by_row: dict[int, list[Problem]] = {}
        for problem in encoded.problems:
            by_row.setdefault(problem.row, []).append(problem)
        errors = [
            "; ".join(problem.reason for problem in by_row[row]) if row in by_row else None
            for row in range(encoded.total)
        ]
        columns = core.caller.read(lambda _: layout.columns(predictions, encoded.total), b"")
        writer.write(block, columns, errors)
        report.rows += encoded.total + len(block.bad)
        report.predicted += len(predictions)
        wrong = [_bad_row(table, block, problems[0], errors[row]) for row, problems in by_row.items()]
        report.bad += sorted([bad for _, bad in block.bad] + wrong, key=lambda bad: bad.line)
        if progress is not None:
            progress(report)

    for block in table.blocks():
        encoded, keys = _encode(plan, block, key)
        predictions = await core.predict_encoded(plan, encoded, keys=keys)
        held.append((block, encoded, predictions))
        if layout is None and len(predictions):
            layout = decide(plan.signature, predictions, table.names)
            writer.start(layout, plan.signature)
        if layout is not None:
            for ready in held:
                write(layout, *ready)
            held = []
    if layout is None:
        layout = decide(plan.signature, None, table.names)
        writer.start(layout, plan.signature)
        for ready in held:
            write(layout, *ready)
    return report


def _encode(plan: Plan, block: FileRows, key: str | None) -> tuple[Encoded, list[str] | None]:
    """Encodes a block, and returns the caller's key of each row with it."""
    problems: list[Problem] = []
    keys = None
    if key is not None:
        keys = [_key(value) for value in block.read.column(key).to_pylist()]
        for row, value in enumerate(keys):
            if wrong := key_problem(value):
                problems.append(Problem(row, key, wrong))
    read = {
        name: read_column(_whole(block.read.column(name)), spec)
        for name, spec in plan.encoder.columns.items()
        if name in block.read.column_names
    }
    return plan.encoder.encode_columns(read, RawColumns(len(block.lines), {}, (), tuple(problems))), keys


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def _key(value: Any) -> str:
    if value is None:
        return ""
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)


def _bad_row(table: InputTable, block: FileRows, problem: Problem, reason: str | None) -> BadRow:
    raw = "" if isinstance(block.original, pa.Table) else printable(block.original[problem.row].as_py())
    return BadRow(table.path, int(block.lines[problem.row]), reason or problem.reason, problem.column, None, raw)
