"""One part of a batch: rows in, files of predictions out. The same, whichever process and runner does it."""

from __future__ import annotations

import functools
import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from components.bulk_inferrer.inference import Model, load_model
from components.bulk_inferrer.model_rows import ModelRows, encode, raw_columns
from components.bulk_inferrer.part_rows import FILE, LINE
from components.bulk_inferrer.part_table import key_column, part_table, row_keys
from components.bulk_inferrer.prediction_logs import Logged, encode_logs
from data.fingerprint import file_sha256
from data.records import framed
from data.whole_file import replace_text, replacing
from schema.base import Handover, canonical_json
from serving.client.rules import ColumnRule, read_rules

PartFormat = Literal["parquet", "tfrecord"]
SUFFIXES: dict[PartFormat, str] = {"parquet": ".parquet", "tfrecord": ".tfrecord.gz"}
LOG_ROWS = 8192
"""So many records are held at a time."""
BAD_ROWS_KEPT = 5
"""So many bad rows of a part are named in its record, at most."""


class PartJob(Handover):
    """A part to make."""

    folder: str
    """The output folder."""
    records: str
    """The folder for the record of what was made."""
    part: int
    """The part's number, from 0."""
    parts: int
    """How many parts there are."""
    first_row: int
    """The number of its first row in the input, from 0."""
    files: tuple[str, ...]
    """Names of the input files."""
    keys: dict[str, str]
    """Key columns and their Arrow types; empty where file and line are the key."""
    formats: tuple[PartFormat, ...]
    """What is written."""
    line: str
    """The line's name."""
    model_path: str
    """The SavedModel's directory."""
    model_version: int
    """Its version."""
    model_digest: str
    """Its model digest."""
    signature_name: str
    """The signature that is called."""
    schema_file: str | None
    """The curated schema that rows are held against, or None."""
    schema_digest: str
    """SHA-256 of that file, so that a process reads it again when it has changed."""
    rows_file: str | None = None
    """The rows as an Arrow file, which is removed at the end; None where they are handed over directly."""


def part_name(part: int, parts: int, part_format: PartFormat) -> str:
    """Returns the name of a part's file."""
    return f"predictions-{part:05d}-of-{parts:05d}{SUFFIXES[part_format]}"


def record_path(records: str | Path, part: int) -> Path:
    """Returns where the record of a part is."""
    return Path(records) / f"part-{part:05d}.json"


def make_part(job: PartJob, table: pa.Table | None = None) -> None:
    """Makes the files of a part, then their record. What is there already is replaced, by the same bytes.

    Args:
        job: what is to be made.
        table: its rows, unless they are in `job.rows_file`.

    Raises:
        ReleaseError: the model cannot be loaded or fails.
    """
    if table is None:
        assert job.rows_file is not None, "a part must have rows"
        with pa.memory_map(job.rows_file) as source:
            table = pa.ipc.open_file(source).read_all()
    model = load_model(job.model_path, job.model_digest, job.line, job.model_version, job.signature_name)
    rows = encode(table, raw_columns(model.metadata), _rules(job.schema_file, job.schema_digest))
    outputs = model.predict(rows.examples.to_pylist())
    record: dict[str, Any] = {
        "part": job.part,
        "first_row": job.first_row,
        "rows": table.num_rows,
        "predicted": len(rows.good),
        "bad": _bad(job, table, rows),
        "files": [],
    }
    for part_format in job.formats:
        path = Path(job.folder) / part_name(job.part, job.parts, part_format)
        with replacing(path) as temporary:
            if part_format == "parquet":
                _write_parquet(temporary, job, model, table, rows, outputs)
            else:
                _write_logs(temporary, job, model, table, rows, outputs)
            entry = {"name": path.name, "sha256": file_sha256(temporary), "bytes": temporary.stat().st_size}
        record["files"].append(entry)
    replace_text(record_path(job.records, job.part), json.dumps(record, sort_keys=True))
    if job.rows_file is not None:
        Path(job.rows_file).unlink(missing_ok=True)


@functools.lru_cache(maxsize=2)
def _rules(file: str | None, digest: str) -> Mapping[str, ColumnRule]:
    return {} if file is None else read_rules(Path(file))


def _bad(job: PartJob, table: pa.Table, rows: ModelRows) -> list[dict[str, Any]]:
    files, lines = table.column(FILE), table.column(LINE)
    return [
        {"file": job.files[files[row].as_py()], "line": lines[row].as_py(), "reason": rows.errors[row]}
        for row in sorted(rows.errors)[:BAD_ROWS_KEPT]
    ]


def _write_parquet(
    path: Path, job: PartJob, model: Model, table: pa.Table, rows: ModelRows, outputs: Mapping[str, np.ndarray]
) -> None:
    import pyarrow.parquet as pq

    about = {
        "line": job.line,
        "model_version": job.model_version,
        "model_digest": job.model_digest,
        "signature_name": job.signature_name,
    }
    written = part_table(job.first_row, job.files, job.keys, job.model_version, model, table, rows, outputs)
    written = written.replace_schema_metadata({"conveyor": canonical_json(about)})
    # Nothing is left to the defaults that differ between pyarrow's releases.
    pq.write_table(written, path, version="2.6", compression="zstd", row_group_size=max(1, written.num_rows))


def _write_logs(
    path: Path, job: PartJob, model: Model, table: pa.Table, rows: ModelRows, outputs: Mapping[str, np.ndarray]
) -> None:
    logged = Logged(job.line, job.model_version, model.signature, model.input)
    columns = [key_column(table, name, kind) for name, kind in job.keys.items()]
    keys = row_keys(table, job.files, columns)
    # wbits 31 is a GZIP header without name and with time 0.
    deflate = zlib.compressobj(1, zlib.DEFLATED, 31)
    with open(path, "wb") as file:
        for start in range(0, table.num_rows, LOG_ROWS):
            stop = min(start + LOG_ROWS, table.num_rows)
            first, last = np.searchsorted(rows.good, [start, stop])
            errors = {row - start: text for row, text in rows.errors.items() if start <= row < stop}
            logs = encode_logs(
                logged,
                rows.examples.slice(first, last - first),
                {name: array[first:last] for name, array in outputs.items()},
                keys.slice(start, stop - start),
                errors,
            )
            file.write(deflate.compress(framed(logs)))
        file.write(deflate.flush())


def is_whole(folder: Path, record: Mapping[str, Any]) -> bool:
    """Tells whether the files of a part's record are there, with the bytes that it says."""
    for entry in record["files"]:
        path = folder / entry["name"]
        if not path.is_file() or path.stat().st_size != entry["bytes"] or file_sha256(path) != entry["sha256"]:
            return False
    return True
