"""How predictions are shown: records for a JSON document, and tables for people."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table

from conveyor.output import number
from data.quarantine import BadRow
from serving.client.layout import Layout
from serving.client.outputs import plain_rows
from serving.client.signatures import SignatureSpec
from serving.client.tables import FileRows, InputTable


class Kept:
    """Keeps rows with their predictions, for stdout: a writer of no file.

    Args:
        table: where the rows come from.
        limit: how many rows are kept, or None for all.

    Attributes:
        records: the rows that are kept.
    """

    def __init__(self, table: InputTable, limit: int | None) -> None:
        self.records: list[dict[str, Any]] = []
        self._table = table
        self._limit = limit
        self._layout: Layout | None = None

    def start(self, layout: Layout, signature: SignatureSpec) -> None:
        """Takes note of the columns."""
        self._layout = layout

    def write(self, block: FileRows, columns: dict[str, list[Any]], errors: list[str | None]) -> None:
        """Keeps rows, as far as they are wanted."""
        assert self._layout is not None
        if self._limit is not None and len(self.records) >= self._limit:
            return
        rows = plain_rows(block, self._table.names)
        found = [
            {
                "line": int(block.lines[position]),
                "input": row,
                "prediction": None if errors[position] else outputs_of(self._layout, columns, position),
                "version": columns[self._layout.version][position],
                "request_id": columns[self._layout.request_id][position],
                "error": errors[position],
            }
            for position, row in enumerate(rows)
        ]
        found += [_bad_record(bad) for _, bad in block.bad]
        self.records += sorted(found, key=lambda record: int(str(record["line"])))
        if self._limit is not None:
            del self.records[self._limit :]


def _bad_record(bad: BadRow) -> dict[str, Any]:
    return {
        "line": bad.line,
        "input": bad.raw,
        "prediction": None,
        "version": None,
        "request_id": None,
        "error": bad.reason,
    }


def outputs_of(layout: Layout, columns: dict[str, list[Any]], row: int) -> dict[str, Any]:
    """Returns the outputs of one row by column name."""
    return {cell.name: columns[cell.name][row] for cell in layout.cells}


def plain(value: Any) -> Any:
    """Returns a value as JSON has it: numpy's numbers as Python's, and null for numbers that are none."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if hasattr(value, "item"):
        # By way of its text, which has a float32's own digits and no more.
        value = float(str(value)) if isinstance(value.item(), float) else value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def records_table(header: str, firsts: Sequence[int], records: Sequence[dict[str, Any]]) -> Table:
    """Returns records as a table for people.

    Args:
        header: what the first column is called.
        firsts: what stands in it, a number a record.
        records: the records.
    """
    outputs = list(dict.fromkeys(name for record in records for name in record["prediction"] or ()))
    table = Table(box=None, pad_edge=False)
    for name in (header, *outputs, "version", ""):
        table.add_column(escape(name), justify="right" if name else "left", overflow="fold")
    for first, record in zip(firsts, records, strict=True):
        prediction = record["prediction"] or {}
        cells = [_cell(prediction.get(name)) for name in outputs]
        table.add_row(str(first), *cells, _cell(record["version"]), escape(record["error"] or ""))
    return table


def _cell(value: Any) -> str:
    shown = plain(value)
    return number(shown) if isinstance(shown, float) or shown is None else escape(str(shown))
