"""`conveyor run`."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from rich.console import Console

from conveyor.options import json_option, line_argument, open_line
from conveyor.output import console, print_json


@click.command(name="run", short_help="Run a line: from its data to a pushed model.")
@line_argument
@click.option("--span", default="all", metavar="N|latest|all", help="The newest span of the window. Default: all.")
@click.option("--until", metavar="COMPONENT", help="Stop after this component.")
@click.option(
    "--wait", default=0.0, metavar="SECONDS", help="Wait for another run of the line; default: refuse at once."
)
@click.option(
    "--as-compiled", is_flag=True, help="Carry out what `conveyor compile` writes: each step a process of its own."
)
@click.option(
    "--repeat-search",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Repeat, or take over, the search for hyperparameters that FILE describes.",
)
@click.option(
    "--exclude-rows",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Leave out the rows that FILE names (CSV, Parquet or JSON lines), in this run.",
)
@click.option("--resume", metavar="RUN", help="Go on with a killed or failed run: same spans, config, schema and code.")
@click.option(
    "--from",
    "from_component",
    metavar="COMPONENT",
    help="Do this component anew; take what comes before it from an earlier run as it is.",
)
@click.option(
    "--force", multiple=True, metavar="COMPONENT", help="Do this component anew although it is cached; repeatable."
)
@json_option
def command(
    line: str,
    environment: str | None,
    span: str,
    until: str | None,
    wait: float,
    as_compiled: bool,
    repeat_search: Path | None,
    exclude_rows: Path | None,
    resume: str | None,
    from_component: str | None,
    force: tuple[str, ...],
    as_json: bool,
) -> int:
    """Run LINE: from its data to a blessed, pushed model."""
    loaded, state = open_line(line, environment)
    from conveyor.progress import Progress
    from pipeline.run import NODES, RunOptions, run_line

    options = RunOptions(
        span=span,
        until=until,
        wait_seconds=wait,
        as_compiled=as_compiled,
        repeat_search=repeat_search,
        exclude_rows=exclude_rows,
        resume=resume,
        from_component=from_component,
        force=force,
    )
    screen = Console(file=_Stderr(), highlight=False) if as_json else console()  # type: ignore[arg-type]
    with Progress(screen, NODES) as progress:
        run = run_line(loaded, state, options, progress)
    assert run.verdict is not None
    if as_json:
        print_json(run.to_dict())
    else:
        from conveyor.verdicts import print_verdict

        print_verdict(console(), run, state)
    return int(run.verdict["exit_code"])


class _Stderr:
    """The present sys.stderr, whatever it is at the time of a write: a run swaps it while it logs to a file."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()

    def isatty(self) -> bool:
        return sys.stderr.isatty()
