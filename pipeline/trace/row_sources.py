"""What the source files of spans have, as long as they are what the spans' fingerprints were made of."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from data.fingerprint import file_sha256
from data.window import SpanInput, Window, resolve_window
from pipeline.record import RunRecord
from pipeline.trace.row_match import Conditions, FoundRow, found_rows, rows_of_files
from schema.errors import ConveyorError
from schema.ingest import ExamplesConfig

Content = tuple[int, str]
"""A span as it was delivered once: its number and fingerprint."""


@dataclasses.dataclass
class Sources:
    """What the source files of spans had.

    Attributes:
        rows: the rows found, by span as delivered; no entry where its files could not be read.
        changed: of those, files that are gone or are others than they were.
    """

    rows: dict[Content, list[FoundRow]] = dataclasses.field(default_factory=dict)
    changed: dict[Content, list[str]] = dataclasses.field(default_factory=dict)


def read_sources(runs: Sequence[RunRecord], conditions: Conditions, seen: set[str]) -> Sources:
    """Reads every span that the runs had once for each content, from the files that it had or that have it now."""
    sources = Sources()
    sha256s: dict[str, str | None] = {}
    now: dict[str, Window | None] = {}
    for run in runs:
        if not run.window.get("spans"):
            continue
        examples = examples_of(run)
        wanted: dict[tuple[str, ...], list[SpanInput]] = {}
        for span in Window.model_validate(run.window).spans:
            content = span.span, span.fingerprint
            if content in sources.rows or content in sources.changed:
                continue
            files = _files_now(span, sha256s) or _files_moved_on(span, run, examples, now)
            if files is None:
                sources.changed[content] = [file.path for file in span.files]
            else:
                wanted.setdefault(files, []).append(span)
        for files, spans in wanted.items():
            _read(files, spans, run, examples, conditions, seen, sources)
    return sources


def _read(
    files: tuple[str, ...],
    spans: Sequence[SpanInput],
    run: RunRecord,
    examples: ExamplesConfig,
    conditions: Conditions,
    seen: set[str],
    sources: Sources,
) -> None:
    groups = [list(spans)] if examples.span_by is not None else [[span] for span in spans]
    for group in groups:
        contents = {span.span: (span.span, span.fingerprint) for span in group}
        try:
            blocks = rows_of_files(
                files, run.window["format"], examples.missing_values, examples.span_by, group[0].span, seen
            )
            found = list(found_rows(blocks, conditions, frozenset()))
        except (ConveyorError, OSError):
            sources.changed.update(dict.fromkeys(contents.values(), list(files)))
            continue
        for number, content in contents.items():
            sources.rows[content] = [row for row in found if row.span == number]


def examples_of(run: RunRecord) -> ExamplesConfig:
    # Keys that were dropped since do not matter here.
    known = {key: value for key, value in run.config["examples"].items() if key in ExamplesConfig.model_fields}
    return ExamplesConfig(**known)


def _files_now(span: SpanInput, sha256s: dict[str, str | None]) -> tuple[str, ...] | None:
    """Returns the span's files if every one of them is what it was."""
    for file in span.files:
        if file.path not in sha256s:
            sha256s[file.path] = file_sha256(file.path) if Path(file.path).is_file() else None
        if sha256s[file.path] != file.sha256:
            return None
    return tuple(file.path for file in span.files)


def _files_moved_on(
    span: SpanInput, run: RunRecord, examples: ExamplesConfig, now: dict[str, Window | None]
) -> tuple[str, ...] | None:
    """Returns the files that have the span with this content now: a table that is cut by time has grown since."""
    if examples.span_by is None:
        return None
    key = f"{run.base_dir}\0{examples.canonical()}"
    if key not in now:
        whole = examples.model_copy(update={"window": None, "allow_gaps": True})
        try:
            now[key] = resolve_window(whole, Path(run.base_dir or "/"))
        except (ConveyorError, OSError):
            now[key] = None
    window = now[key]
    for other in window.spans if window is not None else ():
        if (other.span, other.fingerprint) == (span.span, span.fingerprint):
            return tuple(file.path for file in other.files)
    return None
