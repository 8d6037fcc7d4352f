"""Reads a file of rows to leave out: CSV, Parquet or JSON lines."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from data.exclusions import Condition, ExclusionFile, Exclusions
from data.span_cut import combined
from data.tables import Format, open_table
from schema.errors import ConfigError

_TABLES: tuple[tuple[str, Format], ...] = ((".csv", "csv"), (".csv.gz", "csv"), (".parquet", "parquet"))
_JSON_LINES = (".jsonl", ".ndjson")


def exclusion_file(path: Path, missing_values: Sequence[str]) -> ExclusionFile:
    """Reads a file of conditions and returns what is handed on of it.

    Args:
        path: the file.
        missing_values: field texts of a CSV that mean missing.

    Raises:
        ConfigError: it is not there, not of a format that is known, empty, or has a row without any value.
    """
    found = read_exclusions(path, missing_values)
    return ExclusionFile(
        path=str(path), sha256=found.digest, columns=found.columns, missing_values=tuple(missing_values)
    )


def read_exclusions(path: Path, missing_values: Sequence[str]) -> Exclusions:
    """Reads a file of conditions: CSV, Parquet or JSON lines, told by its name.

    Raises:
        ConfigError: as `exclusion_file`.
    """
    if not path.is_file():
        raise ConfigError(
            f"the file of rows to exclude must be there. Got {path} instead, where there is none",
            hint="correct --exclude-rows, or examples.exclude_rows, which is relative to the line.yaml",
        )
    try:
        return _exclusions(path, *_read(path, missing_values))
    except (OSError, EOFError, zlib.error) as error:
        raise ConfigError(
            f"{path} must be a file of rows to exclude that can be read to its end. Got an error instead: {error}",
            hint="write the file anew",
        ) from None


def _exclusions(path: Path, names: Sequence[str], rows: Iterator[Condition]) -> Exclusions:
    order = sorted(range(len(names)), key=lambda place: names[place])
    conditions: set[Condition] = set()
    for number, row in enumerate(rows, start=1):
        condition = tuple(row[place] for place in order)
        if all(value is None for value in condition):
            raise ConfigError(
                f"{path}, row {number}: a row to exclude must have at least one value. Got none instead",
                hint="remove that row: it would be about every row in which these columns are missing",
            )
        conditions.add(condition)
    if not conditions:
        raise ConfigError(
            f"{path} must name at least one row to exclude. Got none instead",
            hint="add rows, or leave out --exclude-rows or examples.exclude_rows",
        )
    ordered = sorted(conditions, key=lambda row: [(value is not None, value or "") for value in row])
    return Exclusions(tuple(names[place] for place in order), tuple(ordered))


def _read(path: Path, missing_values: Sequence[str]) -> tuple[list[str], Iterator[Condition]]:
    name = path.name.lower()
    fmt = next((fmt for suffix, fmt in _TABLES if name.endswith(suffix)), None)
    if fmt is not None:
        table = open_table(path, fmt, missing_values)
        return list(table.names), _table_rows(table, path)
    if name.endswith(_JSON_LINES):
        return _json_rows(path)
    suffixes = ", ".join([suffix for suffix, _ in _TABLES] + list(_JSON_LINES))
    raise ConfigError(
        f"a file of rows to exclude must end in {suffixes}. Got {path.name!r} instead",
        hint="write it as CSV with a header, Parquet, or a JSON object a line",
    )


def _table_rows(table: Any, path: Path) -> Iterator[Condition]:
    for block in table.blocks():
        for _, bad in block.bad:
            raise ConfigError(
                f"{path}, line {bad.line}: a row to exclude must be readable. Got an error instead: {bad.reason}",
                hint="mend that line: otherwise its rows stay in",
            )
        columns = [_texts(combined(block.columns.column(name)), name, path) for name in table.names]
        yield from zip(*columns, strict=True)


def _texts(column: pa.Array, name: str, path: Path) -> list[str | None]:
    try:
        texts: list[str | None] = column.cast(pa.string()).to_pylist()
    except pa.ArrowInvalid:
        raise ConfigError(
            f"{path}: column {name!r} of the rows to exclude must be UTF-8 text or numbers. Got other bytes instead",
            hint="write the file anew as UTF-8",
        ) from None
    return texts


def _json_rows(path: Path) -> tuple[list[str], Iterator[Condition]]:
    names: list[str] = []
    rows: list[Condition] = []
    with open(path, encoding="utf-8", errors="strict", newline="\n") as file:
        try:
            lines = file.read().split("\n")
        except UnicodeDecodeError as error:
            raise ConfigError(f"{path} must be UTF-8 text. Got an error instead: {error}") from None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict) or not value or not all(map(_is_plain, [*value, *value.values()])):
            raise ConfigError(
                f"{path}, line {number}: a row to exclude must be a JSON object of column names and plain values. "
                "Got something else instead",
                hint='write lines such as {"customer_id": 17}',
            )
        names = names or list(value)
        if set(value) != set(names):
            raise ConfigError(
                f"{path}, line {number}: every row to exclude must have the columns {', '.join(names)}. "
                f"Got {', '.join(value)} instead",
                hint="give every line the same keys, with null for a value that is missing",
            )
        rows.append(tuple(_json_text(value[name]) for name in names))
    return names, iter(rows)


def _is_plain(value: Any) -> bool:
    # JSON can escape halves of characters, which are no text.
    return not isinstance(value, (dict, list)) and not re.search("[\ud800-\udfff]", str(value))


def _json_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    # As a Parquet file's: true is 1.
    return str(int(value)) if isinstance(value, bool) else repr(value)
