"""`conveyor releases`."""

from __future__ import annotations

import dataclasses

import click
from rich.table import Table

from conveyor.options import json_option, the_state
from conveyor.output import console, print_json


@click.command(name="releases", short_help="List the releases of a line.")
@click.argument("line", required=False)
@json_option
def command(line: str | None, as_json: bool) -> None:
    """List the releases of LINE, the newest first. LINE may be left out when there is only one."""
    from pipeline.record import base_path
    from serving.releases import table as release_table

    state = the_state(line)
    releases = release_table(state.ledger, base_path(state))
    if as_json:
        print_json([dataclasses.asdict(release) for release in releases])
        return
    if not releases:
        console().print(f"no releases yet; conveyor run {state.line} pushes the first")
        return
    table = Table(box=None, pad_edge=False)
    for header in ("version", "status", "pushed", "by", "model digest", "run", ""):
        table.add_column(header, justify="right" if header == "version" else "left")
    for release in releases:
        style = "bold green" if release.status == "live" else None
        table.add_row(
            str(release.version),
            release.status if release.share is None else f"{release.status} {release.share:.4g}",
            (release.pushed_when or "-")[:19],
            release.who or "-",
            (release.model_digest or "-")[:12],
            release.run_id or "-",
            release.problem,
            style=style,
        )
    console().print(table)
