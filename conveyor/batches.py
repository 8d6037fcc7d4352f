"""What `conveyor batch` does: a batch with its progress on stderr, and what became of it."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from conveyor.bad_rows import say, tell_bad_rows
from conveyor.output import print_json
from conveyor.trusted_keys import trust_of_line
from pipeline.batch.folder import MANIFEST
from pipeline.batch.run import BatchOptions, BatchReport, run_batch
from pipeline.state import State
from schema.line import Line
from schema.loading import find_line, load_line


def do_batch(
    line: str,
    environment: str | None,
    options: BatchOptions,
    require_signed: bool,
    trusted_keys: Sequence[Path],
    *,
    as_json: bool,
) -> int:
    """Does a batch, prints, and returns the exit code: 0, or 4 when more rows are bad than the line allows.

    Raises:
        ConveyorError: see `run_batch`.
    """
    cwd = Path.cwd()
    # Predicting needs none of the line's secrets.
    loaded = load_line(find_line(line, cwd), environment=environment, resolve_secrets=False)
    state = State.locate(loaded.line.name, os.environ, cwd)
    options = dataclasses.replace(options, trust=trust_of_line(loaded, require_signed, trusted_keys))
    screen = Console(stderr=True, highlight=False)
    with _Shown(screen) as shown:
        report = run_batch(loaded, state, options, cwd, shown)
    folder = cwd / options.output
    if as_json:
        print_json({**report.manifest, "made": report.made, "output": str(folder)})
    return _conclude(loaded.line, report, folder, screen)


class _Shown:
    """Shows which parts are whole: a bar on a terminal, a line a change elsewhere."""

    def __init__(self, screen: Console) -> None:
        self._screen = screen
        self._bar: Progress | None = None
        self._task: Any = None

    def __enter__(self) -> _Shown:
        if self._screen.is_terminal:
            self._bar = Progress(
                SpinnerColumn(),
                BarColumn(),
                TextColumn("{task.completed} of {task.total} parts, {task.fields[rows]:,} rows"),
                TimeElapsedColumn(),
                console=self._screen,
                transient=True,
            )
            self._bar.start()
            self._task = self._bar.add_task("", total=None, rows=0)
        return self

    def __exit__(self, *unused: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, made: Sequence[dict[str, Any]], parts: int) -> None:
        """Takes note of the parts that are whole."""
        rows = sum(part["rows"] for part in made)
        if self._bar is not None:
            self._bar.update(self._task, completed=len(made), total=parts, rows=rows)
        else:
            say(self._screen, f"{len(made)} of {parts} parts, {rows:,} rows")


def _conclude(line: Line, report: BatchReport, folder: Path, screen: Console) -> int:
    manifest = report.manifest
    if report.unused:
        say(screen, f"not asked for by the model: {', '.join(report.unused)}")
    if report.lacking:
        say(screen, f"missing in every row: {', '.join(report.lacking)}")
    rows, parts = manifest["rows_out"], len(manifest["parts"])
    if not report.made:
        say(screen, f"nothing to do: all {parts} parts are in {folder} since {manifest['finished']}")
    there = f" ({parts - report.made} were there)" if 0 < report.made < parts else ""
    say(
        screen,
        f"{manifest['rows_predicted']:,} of {rows:,} rows predicted by version {manifest['model_version']}, "
        f"{parts} parts{there} and {MANIFEST} in {folder}",
    )
    named = (f"{bad['file']}:{bad['line']}: {bad['reason']}" for part in manifest["parts"] for bad in part["bad"])
    return tell_bad_rows(screen, report.bad_rows, rows, line.examples.max_bad_rows, named, in_output=True)
