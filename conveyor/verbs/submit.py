"""`conveyor submit`."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import click

from conveyor.options import json_option, line_argument, open_line

if TYPE_CHECKING:
    from schema.orchestration import Target


@click.command(name="submit", short_help="Hand a line to Vertex AI or Kubeflow Pipelines.")
@line_argument
@click.option("--target", required=True, type=click.Choice(["kubeflow", "vertex"]), help="Which service to hand it to.")
@click.option("--span", default="all", metavar="N|latest|all", help="The newest span of the window. Default: all.")
@click.option("--dry-run", is_flag=True, help="Print what would be sent as JSON, and send nothing.")
@json_option
def command(line: str, environment: str | None, target: Target, span: str, dry_run: bool, as_json: bool) -> int:
    """Hand LINE to the service that its `orchestration` section names: one run, or a schedule of runs.

    Everything that it needs is looked at first; nothing is submitted when something is wrong.
    """
    loaded, state = open_line(line, environment, resolve_secrets=() if dry_run else ("orchestration",))
    from conveyor.output import console, print_json
    from pipeline.compiled.submit import prepare, submit

    with warnings.catch_warnings():
        # Google's libraries warn about each Python that they will give up some day.
        warnings.simplefilter("ignore", FutureWarning)
        prepared = prepare(loaded, state, target, span=span)
        if dry_run:
            print_json(prepared.shown())
            return 0
        made = submit(prepared)
    if as_json:
        print_json(made)
        return 0
    screen = console()
    for note in made["notes"]:
        screen.print(f"note: {note}", soft_wrap=True, markup=False)
    what = "a schedule of runs" if loaded.line.orchestration.schedule else "a run"
    screen.print(f"{made['job']}: {what} of {loaded.line.name} on {target}, {made['id']}", soft_wrap=True, markup=False)
    screen.print(made["url"], soft_wrap=True, markup=False)
    return 0
