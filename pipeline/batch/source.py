"""What a batch reads: a table file, or spans of the line's own input, fingerprinted."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from components.bulk_inferrer.part_rows import Source, SourceFile
from data.fingerprint import file_sha256
from data.tables import table_format
from data.window import InputFile, resolve_window
from schema.errors import ConfigError, SpanError
from schema.ingest import ExamplesConfig


@dataclasses.dataclass(frozen=True)
class BatchInput:
    """The input of a batch.

    Attributes:
        source: files and spans.
        spans: labels of the spans; empty for a table file.
    """

    source: Source
    spans: tuple[str, ...] = ()


def find_input(given: str, config: ExamplesConfig, base_dir: Path, cwd: Path) -> BatchInput:
    """Finds what a user means by `--input`.

    Args:
        given: a table file, or else a span of the line: its number, its label, `latest`, or `all` for the window.
        config: the line's `examples` section.
        base_dir: the folder of the line.yaml.
        cwd: where a relative path starts.

    Raises:
        ConfigError: it is none of these, or nothing tells the table's format.
        SpanError: the line's input cannot be found or read.
    """
    path = cwd / Path(given).expanduser()
    if path.is_file():
        return BatchInput(_table(path, config))
    if path.is_dir() or os.sep in given or Path(given).suffix:
        what = "a folder" if path.is_dir() else "no file"
        raise ConfigError(
            f"--input must be a table file, or a span of the line. Got {given!r} instead, where there is {what}",
            hint="name one file, or a span by number or label",
        )
    try:
        # One span alone has no gaps.
        alone = {} if given == "all" else {"window": 1, "allow_gaps": True}
        window = resolve_window(config.model_copy(update=alone), base_dir, given)
    except SpanError as error:
        raise SpanError(
            f"--input must be a table file that is there, or a span of the line. Got {given!r} instead: there is no "
            f"such file, and {error.args[0]}",
            hint=error.hint,
        ) from None
    files = {file.path: file for span in window.spans for file in span.files}
    return BatchInput(
        Source(
            files=_named(list(files.values())),
            format=window.format,
            missing_values=config.missing_values,
            span_by=config.span_by,
            spans=tuple(span.span for span in window.spans) if config.span_by else (),
        ),
        tuple(span.label for span in window.spans),
    )


def _table(path: Path, config: ExamplesConfig) -> Source:
    try:
        found = table_format(config.model_copy(update={"input": path.name, "format": None}))
    except ConfigError as error:
        if config.format is None:
            ends = error.args[0].removeprefix("examples.input must end in ").partition(". Got")[0]
            raise ConfigError(
                f"--input must end in {ends}. Got {path} instead",
                hint="give the file a name that tells its format, or set examples.format in the line.yaml",
            ) from None
        found = config.format
    try:
        file = InputFile(path=str(path.absolute()), sha256=file_sha256(path), bytes=path.stat().st_size)
    except OSError as error:
        raise SpanError(f"{path} must be a file that can be read. Got {error.strerror} instead") from None
    return Source(files=_named([file]), format=found, missing_values=config.missing_values)


def _named(files: list[InputFile]) -> tuple[SourceFile, ...]:
    root = os.path.commonpath([os.path.dirname(file.path) for file in files])
    return tuple(
        SourceFile(path=file.path, name=os.path.relpath(file.path, root), sha256=file.sha256, bytes=file.bytes)
        for file in files
    )
