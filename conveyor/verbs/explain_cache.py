"""`conveyor explain-cache`."""

from __future__ import annotations

import os

import click
from rich.table import Table
from rich.text import Text

from conveyor.options import json_option, states
from conveyor.output import console, print_json


@click.command(
    name="explain-cache", short_help="Say of each component of a run whether it was cached, and if not, why."
)
@click.argument("run", default="latest")
@json_option
def command(run: str, as_json: bool) -> None:
    """Say of each component of RUN whether it was cached, and if not, what has changed.

    What has changed is told against the nearest earlier execution of the component: the one with the fewest
    differences. RUN is a run id or its beginning, `latest` (the default), or a line for its latest.
    """
    from pipeline.cache_report import cache_report
    from pipeline.record import find

    record, state = find(states(None), run)
    report = cache_report(state, record, os.environ)
    if as_json:
        print_json(report.to_dict())
        return
    screen = console()
    screen.print(f"run {report.run} of line {report.line}: {report.summary}", markup=False)
    table = Table(box=None, pad_edge=False)
    for header in ("component", "state", "why"):
        table.add_column(header, overflow="fold")
    for each in report.components:
        lines = [each.reason, *(f"  {difference.text}" for difference in each.differences)]
        if each.differences:
            lines.append(f"  against run {each.against}")
        table.add_row(each.node, each.state, Text("\n".join(lines)))
    screen.print()
    screen.print(table)
