"""A run's verdict in words."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from conveyor.slices import slices_table
from pipeline.record import RunRecord, run_folder
from pipeline.state import State

_STYLES = {"pushed": "bold green", "stopped": "bold cyan"}


def headline_text(run: RunRecord) -> str:
    """Returns the verdict of a run in one line."""
    if run.verdict is None:
        return "under way, or killed"
    verdict = run.verdict
    outcome = str(verdict["outcome"])
    if outcome == "pushed":
        if verdict["nothing_new"]:
            return f"nothing new to do: version {verdict['version']} is this model"
        return f"pushed: version {verdict['version']}, model digest {verdict['model_digest'][:12]}"
    return outcome


def print_verdict(console: Console, run: RunRecord, state: State) -> None:
    """Prints the slices, the verdict, its reasons, and where the log is."""
    assert run.verdict is not None
    if run.slices:
        console.print()
        console.print(slices_table(run.slices))
    console.print()
    style = _STYLES.get(run.verdict["outcome"], "bold red")
    console.print(Text(f"{headline_text(run)}  ({run.seconds:.1f} s)", style=style))
    for reason in run.verdict["reasons"]:
        console.print(Text(f"  {reason['text']}"))
    if run.exclusions and run.exclusions.get("unmatched"):
        unmatched, path = run.exclusions["unmatched"], run.exclusions["path"]
        console.print(Text(f"  warning: {unmatched:,} of the rows to exclude match no row ({path})", style="yellow"))
    if run.verdict["outcome"] == "failed":
        console.print(Text(f"  log: {run_folder(state, run.run_id) / 'log.txt'}", style="dim"))
