"""`conveyor runs`."""

from __future__ import annotations

import click
from rich.markup import escape
from rich.table import Table

from conveyor.options import json_option, states
from conveyor.output import console, print_json


@click.command(name="runs", short_help="List the runs of a line, or of all.")
@click.argument("line", required=False)
@json_option
def command(line: str | None, as_json: bool) -> None:
    """List the runs of LINE, or of all lines, the newest last."""
    from conveyor.verdicts import headline_text
    from pipeline.record import load_all

    runs = sorted((run for state in states(line) for run in load_all(state)), key=lambda run: run.run_id)
    if as_json:
        keys = ("run_id", "line", "started", "finished", "seconds", "verdict", "config_digest", "experiment")
        print_json([{key: value for key, value in run.to_dict().items() if key in keys} for run in runs])
        return
    if not runs:
        console().print("no runs yet; start one with: conveyor run LINE")
        return
    table = Table(box=None, pad_edge=False)
    for header in ("run", "line", "started", "seconds", "commit", "verdict"):
        table.add_column(header, justify="right" if header == "seconds" else "left")
    for run in runs:
        commit = run.provenance.get("git_commit") or "-"
        dirty = "+" if run.provenance.get("git_dirty") else ""
        table.add_row(
            run.run_id,
            run.line if run.experiment is None else escape(f"{run.line} ({run.experiment})"),
            run.started[:19],
            f"{run.seconds:.1f}",
            commit[:10] + dirty,
            headline_text(run),
        )
    console().print(table)
