"""`conveyor reproduce`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.markup import escape
from rich.table import Table

from conveyor.options import json_option, the_state
from conveyor.output import console, print_json

if TYPE_CHECKING:
    from pipeline.rebuild.report import Report


@click.command(name="reproduce", short_help="Rebuild a released model, and compare it identity by identity.")
@click.argument("line")
@click.argument("version", type=int, required=False)
@click.option("--run", metavar="RUN", help="The run to rebuild, in place of the one that made VERSION.")
@click.option(
    "--output", type=click.Path(path_type=Path), metavar="DIR", help="The new folder that the rebuild is made in."
)
@click.option(
    "--data",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="DIR",
    help="The folder that the data is in now, if it has moved.",
)
@click.option("--present-code", is_flag=True, help="Take the code that is installed, not that of the run's commit.")
@click.option("--present-environment", is_flag=True, help="Take the packages that are installed, not those locked.")
@json_option
def command(
    line: str,
    version: int | None,
    run: str | None,
    output: Path | None,
    data: Path | None,
    present_code: bool,
    present_environment: bool,
    as_json: bool,
) -> int:
    """Rebuild the run of LINE that made VERSION (default: the live one) in a new folder, and compare.

    Code comes from the recorded commit and difference, packages from the recorded lock file, data by its fingerprints,
    the config from the record. Exit code 0: all that the run made is equal; 1: it is not, or cannot be rebuilt.
    """
    from pipeline.rebuild.original import find_original
    from pipeline.rebuild.reproduce import reproduce
    from pipeline.rebuild.step import RebuildOptions

    original = find_original(the_state(line), version, run)
    name = f"v{original.version}" if run is None else original.record.run_id
    options = RebuildOptions(output or Path(f"reproduced-{line}-{name}"), data, present_code, present_environment)
    report = reproduce(original, options, lambda text: click.echo(f"reproduce: {text}", err=True))
    if as_json:
        print_json(report.to_dict())
    else:
        _print(report)
    return 0 if report.equal else 1


def _print(report: Report) -> None:
    screen = console()
    released = "" if report.version is None else f", version {report.version}"
    screen.print(f"run {report.run_id}{released}")
    for finding in report.data:
        where = f", {finding.file}" if finding.file else ""
        screen.print(f"  data, span {finding.span}{where}: {finding.text}", markup=False, soft_wrap=True)
    if report.rebuilt_run_id is None:
        screen.print("[bold red]not rebuilt[/]: its data is not what it was")
        return
    for name, text, differences in (
        ("code", report.code, report.code_differences),
        ("environment", report.environment, report.surroundings),
        ("search", report.search, report.notes),
    ):
        screen.print(f"  {name}: {text}", markup=False, soft_wrap=True)
        for difference in differences:
            screen.print(f"    {difference}", markup=False, soft_wrap=True)
    screen.print()
    screen.print(_table(report))
    screen.print()
    if report.equal:
        digest = report.model_digests[1]
        screen.print("[bold green]equal[/]" + (f": model digest {digest}" if digest else ""))
    else:
        screen.print(f"[bold red]not equal[/]; the first difference: {escape(report.first) or 'unknown'}")
    screen.print(f"rebuilt in {report.folder}", markup=False)


def _table(report: Report) -> Table:
    table = Table(box=None, pad_edge=False)
    for header in ("identity", "", "differs in"):
        table.add_column(header)
    for one in report.made:
        shown = ", ".join(one.differing[:3]) + (f" and {len(one.differing) - 3} more" if len(one.differing) > 3 else "")
        verdict = f"[green]equal[/], {one.parts} parts" if one.equal else "[red]differs[/]"
        table.add_row(escape(one.name), verdict, escape(shown))
    for name, (before, after) in (("model digest", report.model_digests), ("verdict", report.outcomes)):
        text = "[green]equal[/]" if before == after else "[red]differs[/]"
        table.add_row(name, text, "" if before == after else f"{before} -> {after}")
    text = "[red]differ[/]" if report.metrics else "[green]equal[/]"
    table.add_row("metrics by slice", text, escape("; ".join(report.metrics[:3])))
    return table
