"""The quarantine: rows that could not be taken in, each with its file, line number and reason."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from data.whole_file import replacing
from schema.errors import DataRejected

MAX_RAW = 10_000
"""So many characters of a bad row are kept, at most."""


@dataclass(frozen=True)
class BadRow:
    """A row that could not be taken in.

    Attributes:
        file: the input file.
        line: its first physical line, or its record number in a file without lines; counted from 1.
        reason: what is wrong with it.
        column: the column at fault, where there is one.
        value: that column's value.
        raw: the row as it stands in the file, as far as it is text.
    """

    file: str
    line: int
    reason: str
    column: str | None = None
    value: str | None = None
    raw: str = ""

    def __str__(self) -> str:
        return f"{Path(self.file).name}:{self.line}: {self.reason}"


def printable(raw: bytes) -> str:
    """Returns raw bytes as text that JSON can hold: bytes that are no UTF-8 become `\\xNN`."""
    text = raw.rstrip(b"\r\n").decode("utf-8", "backslashreplace")
    return text if len(text) <= MAX_RAW else text[:MAX_RAW] + "..."


def quarantine_name(label: str, fingerprint: str) -> str:
    """Returns the name of a span's quarantine file."""
    return f"span-{label}-{fingerprint[:12]}.jsonl"


def write_quarantine(path: Path, rows: Iterable[BadRow]) -> None:
    """Writes bad rows as JSON lines, atomically: a reader sees all of them or the file that was there before."""
    with replacing(path) as temporary, open(temporary, "w", encoding="utf-8", newline="\n") as file:
        for row in rows:
            file.write(json.dumps(asdict(row), ensure_ascii=False, sort_keys=True) + "\n")


def read_quarantine(path: Path, limit: int | None = None) -> list[BadRow]:
    """Reads (the first `limit`) bad rows of a quarantine file."""
    rows: list[BadRow] = []
    with open(path, encoding="utf-8", newline="\n") as file:
        for line in file:
            if limit is not None and len(rows) >= limit:
                break
            rows.append(BadRow(**json.loads(line)))
    return rows


def check_share(label: str, bad: int, total: int, max_bad_rows: float, examples: Sequence[BadRow], where: str) -> None:
    """Checks that no more than the allowed share of a span's rows is bad.

    Args:
        label: the span's label.
        bad: how many of its rows are bad.
        total: how many rows it has, good and bad.
        max_bad_rows: the share allowed (`examples.max_bad_rows`).
        examples: the first bad rows, for the message.
        where: the quarantine file, for the message.

    Raises:
        DataRejected: the share is higher.
    """
    if not bad or bad <= max_bad_rows * total:
        return
    shown = "".join(f"\n  {row}" for row in examples[:5])
    raise DataRejected(
        f"bad rows must be at most {max_bad_rows:.4g} of span {label} (examples.max_bad_rows). "
        f"Got {bad} of {total} rows ({bad / total:.2%}) instead, such as{shown}",
        hint=f"see {where} for all of them; mend the file, name what means missing in examples.missing_values, "
        "give the column another type in examples.columns, or raise examples.max_bad_rows",
    )
