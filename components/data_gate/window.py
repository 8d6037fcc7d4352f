"""Writes the window of spans that may be trained on, and the rows that may not."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from components.data_gate.rows import read_rows
from components.span_statistics_gen.records import read_batches, split_files
from data.records import SplitWriter
from data.whole_file import link, replacing
from schema.base import sha256_json


@dataclasses.dataclass(frozen=True)
class SpanRecords:
    """A span's records in the window.

    Attributes:
        span: span number.
        label: the span's name for people.
        uri: the span's own Examples artifact.
        ingest_key: identity of the span's records.
        splits: names of the splits.
        keep_out: split to the row numbers (sorted, from 0) that are kept out, with the reasons of each.
    """

    span: int
    label: str
    uri: str
    ingest_key: str
    splits: tuple[str, ...]
    keep_out: Mapping[str, Mapping[int, Sequence[str]]] = dataclasses.field(default_factory=dict)

    def quarantine_name(self) -> str:
        """Returns the name of the file of the rows kept out: another one for other rows."""
        rows = {split: sorted(rows) for split, rows in self.keep_out.items()}
        return f"gate-{self.label.replace('/', '-')}-{sha256_json([self.ingest_key, rows])[:12]}.jsonl"


def write_span(records: SpanRecords, uri: str | Path) -> None:
    """Puts a span's records into the window at `uri`, as `Split-<split>/span-<number>-<shard file>`.

    The files of a split of which no row is kept out are linked; those of another are written anew, in the same order,
    without those rows.
    """
    prefix = f"span-{records.span:05d}-"
    for split in records.splits:
        folder = Path(uri) / f"Split-{split}"
        files = split_files(records.uri, split)
        if records.keep_out.get(split):
            _write_without(files, SplitWriter(folder, prefix=prefix), records.keep_out[split])
        else:
            for file in files:
                link(file, folder / f"{prefix}{file.name}")


def write_quarantine(records: SpanRecords, state_dir: str | Path) -> Path | None:
    """Writes the rows kept out of a span as JSON lines: span, split, row, reasons and the row's values.

    Returns:
        The file, `<state>/quarantine/gate-<label>-<digest>.jsonl`; None when no row is kept out.
    """
    if not any(records.keep_out.values()):
        return None
    import tensorflow as tf

    path = Path(state_dir) / "quarantine" / records.quarantine_name()
    with replacing(path) as temporary, open(temporary, "w", encoding="utf-8", newline="\n") as out:
        for split, rows in sorted(records.keep_out.items()):
            for number, record in read_rows(split_files(records.uri, split), sorted(rows)):
                entry = {
                    "span": records.label,
                    "split": split,
                    "row": number,
                    "reasons": list(rows[number]),
                    "values": _values(tf.train.Example.FromString(record)),
                }
                out.write(json.dumps(entry, sort_keys=True, ensure_ascii=False) + "\n")
    return path


def _write_without(files: Sequence[Path], writer: SplitWriter, rows: Mapping[int, Any]) -> None:
    import pyarrow as pa

    position = 0
    for batch in read_batches(files, 10_000):
        kept = [record for number, record in enumerate(batch, position) if number not in rows]
        writer.write(pa.array(kept, pa.binary()))
        position += len(batch)
    writer.close()


def _values(example: Any) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, feature in sorted(example.features.feature.items()):
        kind = feature.WhichOneof("kind")
        items = list(getattr(feature, kind).value) if kind else []
        texts = [item.decode("utf-8", "backslashreplace") if isinstance(item, bytes) else item for item in items]
        values[name] = texts[0] if len(texts) == 1 else texts
    # NaN and infinities are no JSON.
    return {
        name: str(value) if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in values.items()
    }
