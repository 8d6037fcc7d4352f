"""`conveyor trace`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from conveyor.options import json_option, states
from conveyor.output import console, print_json

if TYPE_CHECKING:
    from pipeline.state import State
    from pipeline.trace.lineage import GraphFormat


@click.command(name="trace", short_help="Trace a request, a version, a span, a run or a row.")
@click.argument("what", required=False)
@click.option("--line", "line", metavar="LINE", help="The line. Default: all that have runs here.")
@click.option(
    "--row", "row", multiple=True, metavar="KEY=VALUE", help="Trace rows of the data by a column. May be repeated."
)
@click.option("--run", "run", metavar="RUN", help="With --row: look in this run alone.")
@click.option("--graph", type=click.Choice(["mermaid", "dot"]), help="Write the lineage as a graph.")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="With --graph: the file.")
@json_option
def command(
    what: str | None,
    line: str | None,
    row: tuple[str, ...],
    run: str | None,
    graph: GraphFormat | None,
    output: Path | None,
    as_json: bool,
) -> None:
    """Trace WHAT to the data, code and config that it comes from, and to what came of it.

    WHAT is the id of a captured request, a model version (3 or v3), a span (label or number) or a run (id or its
    beginning, or latest). `request:`, `version:`, `span:` and `run:` in front say which is meant.

    With --row KEY=VALUE instead, finds the spans, splits, runs and versions that a row of the data was in.
    """
    from schema.errors import UsageError

    if bool(row) == (what is not None):
        raise UsageError(f"exactly one of WHAT and --row must be given. Got {'both' if row else 'neither'} instead")
    if output is not None and graph is None:
        raise UsageError("--output must go with --graph. Got it alone instead", hint="conveyor trace WHAT --graph dot")
    if run is not None and not row:
        raise UsageError("--run must go with --row. Got it alone instead", hint="conveyor trace run:RUN traces a run")
    if row:
        if graph is not None:
            raise UsageError("--graph must go with WHAT. Got it with --row instead")
        _rows(_chosen(line), row, run, as_json)
        return
    assert what is not None
    _trace(_chosen(line), what, graph, output, as_json)


def _chosen(line: str | None) -> list[State]:
    """Returns the states of all lines, or of the one that is named as anywhere: by name, folder or file."""
    if line is not None and ("/" in line or line.endswith((".yaml", ".yml")) or Path(line).is_dir()):
        from conveyor.options import open_line

        return states(open_line(line, None, resolve_secrets=False)[1].line)
    return states(line)


def _trace(chosen: list[State], what: str, graph: GraphFormat | None, output: Path | None, as_json: bool) -> None:
    from pipeline.trace.documents import trace
    from pipeline.trace.lineage import graph_text, lineage_of
    from pipeline.trace.subject import find_subject

    document = trace(find_subject(what, chosen))
    text = graph_text(lineage_of(document), graph) if graph else None
    if text is not None and output is not None:
        from data.whole_file import replace_text

        replace_text(output, text)
    if as_json:
        print_json(document if text is None else {**document, "graph": text})
    elif text is None:
        from conveyor.trace_view import print_trace

        print_trace(console(), document)
    elif output is None:
        click.echo(text, nl=False)
    else:
        console().print(f"written to {output}", markup=False)


def _rows(chosen: list[State], row: tuple[str, ...], run: str | None, as_json: bool) -> None:
    from conveyor.trace_view import print_rows
    from pipeline.trace.row_match import conditions_of
    from pipeline.trace.row_search import find_rows
    from schema.errors import UsageError

    if len(chosen) != 1:
        known = ", ".join(state.line for state in chosen) or "none yet"
        raise UsageError(f"--line must name the line that --row is looked for in. Lines with runs: {known}")
    document = find_rows(chosen[0], conditions_of(row), run)
    if as_json:
        print_json(document)
    else:
        print_rows(console(), document)
