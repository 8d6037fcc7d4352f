"""`conveyor compare`."""

from __future__ import annotations

from typing import Any

import click
from rich.table import Table

from conveyor.options import json_option, states
from conveyor.output import console, number, print_json
from conveyor.slices import headline


@click.command(name="compare", short_help="Compare two runs.")
@click.argument("first")
@click.argument("second", default="latest")
@json_option
def command(first: str, second: str, as_json: bool) -> None:
    """Compare runs FIRST and SECOND (default: latest): config, data, code and metrics, slice by slice."""
    from pipeline.comparison import compare_runs
    from pipeline.record import find, run_folder

    (one, first_state), (two, second_state) = find(states(None), first), find(states(None), second)
    folders = run_folder(first_state, one.run_id), run_folder(second_state, two.run_id)
    result = compare_runs(one, two, *folders)
    if as_json:
        print_json(result)
        return
    screen = console()
    screen.print(f"{one.run_id} against {two.run_id}")
    for part in ("config", "code"):
        screen.print(f"\n{part}: {'the same' if not result[part] else ''}")
        for key, (before, after) in result[part].items():
            screen.print(f"  {key}: {before!r} -> {after!r}", markup=False)
    data: dict[str, Any] = result["data"]
    screen.print(f"\ndata: {'the same' if not any(data.values()) else ''}")
    for kind, labels in data.items():
        if labels:
            screen.print(f"  {kind}: {', '.join(labels)}", markup=False)
    table = Table(box=None, pad_edge=False)
    for header in ("slice", "metric", "first", "second", "change"):
        table.add_column(header, justify="left" if header in ("slice", "metric") else "right")
    shown = headline([*one.slices, *two.slices])
    for row in result["metrics"]:
        if row["metric"] in shown:
            table.add_row(
                row["slice"], row["metric"], number(row["first"]), number(row["second"]), number(row["change"])
            )
    screen.print()
    screen.print(table)
