"""`conveyor gc`."""

from __future__ import annotations

import click

from conveyor.options import json_option, line_argument, open_line


@click.command(name="gc", short_help="Remove artifacts that nothing needs any more.")
@line_argument
@click.option("--dry-run", is_flag=True, help="Say what would be removed and why the rest is kept; change nothing.")
@json_option
def command(line: str, environment: str | None, dry_run: bool, as_json: bool) -> None:
    """Remove artifacts of LINE that nothing needs any more.

    Kept is what the lineage of a version reaches that is live, on trial, could be put back or was served within the
    retention, and what runs within the retention made. `retention` in the line config says how long that is.
    """
    from conveyor.garbage import collect

    loaded, state = open_line(line, environment, resolve_secrets=("metadata",))
    collect(loaded, state, dry_run=dry_run, as_json=as_json)
