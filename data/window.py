"""The window: which spans a run works on, from which files, with which fingerprints."""

from __future__ import annotations

import difflib
import glob
import importlib.util
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from data.binary import content
from data.columns import require_columns
from data.fingerprint import RowsFingerprint, file_sha256, files_fingerprint
from data.mounts import mounted_folder
from data.patterns import SpanPattern, compile_pattern, match_files, pattern_label
from data.periods import period_label
from data.span_cut import cut_blocks
from data.tables import Format, open_table, table_format
from schema.base import Handover
from schema.errors import ConfigError, SpanError
from schema.ingest import ExamplesConfig, SpanBy

_PACKAGE = "package:"


class InputFile(Handover):
    """A file of a span."""

    path: str
    """Absolute path."""
    sha256: str
    """Hex SHA-256 of its content."""
    bytes: int
    """Its size."""


class SpanInput(Handover):
    """A span and what it is made of."""

    span: int
    """The span's number."""
    version: int = 0
    """The newest version of the span."""
    label: str
    """What people call it."""
    files: tuple[InputFile, ...]
    """The files it is read from, in order. With `examples.span_by`, the whole table's."""
    fingerprint: str
    """SHA-256 over the span's content: its files, or its rows of the table."""


class Window(Handover):
    """The spans of a run, oldest first."""

    format: Format
    """Format of the files."""
    spans: tuple[SpanInput, ...]
    """The spans."""

    def to_json(self) -> str:
        """Returns the canonical JSON of the window."""
        return self.canonical()

    @classmethod
    def from_json(cls, text: str) -> Window:
        """Returns the window that `to_json` wrote."""
        return cls.model_validate_json(text)


class OpenWindow(Handover):
    """A window that is found when it is needed: what `resolve_window` has to be told besides the `examples` section."""

    base_dir: str
    """The folder that relative paths of the line config start from."""
    selection: str
    """`all` or `latest`: the window ends at the newest span that is there by then."""

    def to_json(self) -> str:
        """Returns its canonical JSON."""
        return self.canonical()

    def resolve(self, config: ExamplesConfig) -> Window:
        """Returns the window as it is now.

        Args:
            config: the `examples` section.

        Raises:
            SpanError: see `resolve_window`.
            ConfigError: see `resolve_window`.
        """
        return resolve_window(config, Path(self.base_dir), self.selection)


def window_of(text: str, config: ExamplesConfig) -> Window:
    """Returns the window that a JSON text stands for, found now where it is an open one.

    Args:
        text: JSON of a Window or an OpenWindow.
        config: the `examples` section.

    Raises:
        SpanError: an open window has no span, or a gap.
        ConfigError: an open window's input cannot be found or understood.
    """
    if "spans" in json.loads(text):
        return Window.from_json(text)
    return OpenWindow.model_validate_json(text).resolve(config)


def resolve_window(config: ExamplesConfig, base_dir: Path, selection: str = "all") -> Window:
    """Finds the spans of a run and fingerprints them.

    The window ends at the newest span, or at the selected one, and goes back `config.window` spans (all when null).

    Args:
        config: the `examples` section.
        base_dir: the folder of the line.yaml, which relative paths start from.
        selection: `all` or `latest` for a window that ends at the newest span; or the number or the label of the
            span that it ends at.

    Raises:
        SpanError: no span, an unknown one, or one missing between the oldest and the newest.
        ConfigError: the input cannot be found or understood.
    """
    fmt = table_format(config)
    location = locate(config.input, base_dir)
    pattern = compile_pattern(location)
    if config.span_by is not None:
        if pattern.kind != "none":
            raise ConfigError(
                f"examples.input must have no span pattern when examples.span_by is set. Got {config.input!r} instead",
                hint="drop examples.span_by, or name one table",
            )
        files = tuple(_input_file(path) for path in _found(pattern, config.input))
        cut = _cut_spans(config, config.span_by, files, fmt)
        span_by = config.span_by
        numbers = _select(config, selection, sorted(cut), lambda n: period_label(n, span_by.period))
        return Window(
            format=fmt,
            spans=tuple(
                SpanInput(span=n, label=period_label(n, span_by.period), files=files, fingerprint=cut[n])
                for n in numbers
            ),
        )
    matched = {item.span: item for item in match_files(pattern, _found(pattern, config.input))}
    if not matched:
        raise _nothing(pattern, config.input)
    numbers = _select(config, selection, sorted(matched), lambda n: pattern_label(pattern, n))
    spans = []
    for number in numbers:
        item = matched[number]
        files = tuple(_input_file(path) for path in item.paths)
        spans.append(
            SpanInput(
                span=number,
                version=item.version,
                label=item.label,
                files=files,
                fingerprint=files_fingerprint(file.sha256 for file in files),
            )
        )
    return Window(format=fmt, spans=tuple(spans))


def locate(text: str, base_dir: Path, key: str = "examples.input") -> str:
    """Returns a path or pattern of the `examples` section as an absolute one.

    `package:NAME/PATH` is found without importing the package, which may be as slow to import as TFX.

    Raises:
        ConfigError: there is no such package, or it is in a bucket that is not mounted.
    """
    if not text.startswith(_PACKAGE):
        return str(base_dir.resolve() / mounted_folder(text, os.environ, key))
    name, _, rest = text[len(_PACKAGE) :].partition("/")
    try:
        spec = importlib.util.find_spec(name) if name.isidentifier() else None
    except (ImportError, ValueError):
        spec = None
    roots = list(spec.submodule_search_locations or ()) if spec is not None else []
    if not roots or not rest:
        raise ConfigError(
            f"{key} must be package:NAME/PATH with an installed top-level package. Got {text!r} instead",
            hint="install the package, or name a file",
        )
    return str(Path(roots[0]).resolve() / rest)


def _found(pattern: SpanPattern, given: str) -> list[str]:
    paths = sorted(path for path in glob.glob(pattern.glob, recursive=True) if Path(path).is_file())
    paths = [path for path in paths if pattern.regex.fullmatch(path)]
    if not paths:
        raise _nothing(pattern, given)
    return paths


def _nothing(pattern: SpanPattern, given: str) -> SpanError:
    folder = Path(pattern.glob)
    while any(char in str(folder) for char in "*?[") or not folder.is_dir():
        folder = folder.parent
    names = sorted(path.name for path in folder.iterdir())
    close = difflib.get_close_matches(Path(pattern.text).name, names, n=3, cutoff=0.5)
    there = ", ".join(close or names[:5]) or "nothing"
    return SpanError(
        f"examples.input must match at least one file. Got none for {given!r} instead; in {folder} there is {there}",
        hint="correct examples.input in the line.yaml (it is relative to that file), or put the data there",
    )


def _input_file(path: str) -> InputFile:
    try:
        return InputFile(path=path, sha256=file_sha256(path), bytes=Path(path).stat().st_size)
    except OSError as error:
        raise SpanError(f"{path} must be a file that can be read. Got {error.strerror} instead") from None


def _cut_spans(config: ExamplesConfig, span_by: SpanBy, files: Sequence[InputFile], fmt: Format) -> dict[int, str]:
    """Returns the fingerprint of each span of a table."""
    good: dict[int, RowsFingerprint] = {}
    bad: dict[int, RowsFingerprint] = {}
    for file in files:
        table = open_table(file.path, fmt, config.missing_values)
        if table.names:
            require_columns([span_by.column], table.names, "examples.span_by.column")
        only = {span_by.column} if fmt in ("csv", "tfrecord") else None
        for block in cut_blocks(file.path, table.blocks(only), span_by):
            order = np.argsort(block.spans, kind="stable")
            spans, starts = np.unique(block.spans[order], return_index=True)
            bounds = np.append(starts, len(order))
            for index, span in enumerate(spans.tolist()):
                rows = block.raw.take(pa.array(order[bounds[index] : bounds[index + 1]]))
                good.setdefault(span, RowsFingerprint(table.header)).update(content(rows))
            for span, _, raw in block.bad:
                bad.setdefault(span, RowsFingerprint(b"bad rows")).update(raw)
    if not good:
        raise SpanError(
            f"at least one row must have a time in column {span_by.column!r}. "
            f"Got none in {', '.join(Path(file.path).name for file in files)} instead",
            hint=f"check examples.span_by: unit is {span_by.unit}; or add rows",
        )
    for span, digest in bad.items():
        good[span].update(bytes.fromhex(digest.hexdigest()))
    return {span: digest.hexdigest() for span, digest in good.items()}


def _select(config: ExamplesConfig, selection: str, numbers: list[int], label: Callable[[int], str]) -> list[int]:
    """Returns the spans of the window, oldest first."""
    end = numbers[-1]
    if selection not in ("all", "latest"):
        chosen = {label(n).casefold(): n for n in numbers}.get(selection.casefold())
        if chosen is None and selection.removeprefix("-").isdecimal() and int(selection) in numbers:
            chosen = int(selection)
        if chosen is None:
            shown = ", ".join(label(n) for n in numbers[-8:])
            raise SpanError(
                f"the span must be one that is there. Got {selection!r} instead; "
                f"the newest of {len(numbers)} are {shown}",
                hint="name one of these spans by label or number, or `latest`, or add its data",
            )
        end = chosen
    upto = [n for n in numbers if n <= end]
    window = upto[-config.window :] if config.window else upto
    present = set(window)
    absent = [n for n in range(window[0], window[-1] + 1) if n not in present] if not config.allow_gaps else []
    if absent:
        shown = ", ".join(label(n) for n in absent[:8]) + (", ..." if len(absent) > 8 else "")
        raise SpanError(
            f"the window from span {label(window[0])} to {label(window[-1])} must have no gap. "
            f"Got {len(window)} spans instead; missing: {shown}",
            hint="add the missing data, shorten examples.window, or set examples.allow_gaps to true",
        )
    return window
