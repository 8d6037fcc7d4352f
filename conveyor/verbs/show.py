"""`conveyor show`."""

from __future__ import annotations

import click
from rich.table import Table

from conveyor.options import json_option, states
from conveyor.output import console, print_json


@click.command(name="show", short_help="Show one run: verdict, metrics by slice, artifacts, config.")
@click.argument("run", default="latest")
@json_option
def command(run: str, as_json: bool) -> None:
    """Show RUN: verdict, metrics by slice, artifacts with their identities, config.

    RUN is a run id or its beginning, `latest` (the default), or a line for its latest.
    """
    from conveyor.slices import slices_table
    from conveyor.verdicts import headline_text
    from pipeline.record import find, run_folder

    record, state = find(states(None), run)
    if as_json:
        print_json(record.to_dict())
        return
    screen = console()
    screen.print(f"run {record.run_id} of line {record.line}: {headline_text(record)}", markup=False)
    for reason in (record.verdict or {}).get("reasons", []):
        screen.print(f"  {reason['text']}", markup=False)
    if record.slices:
        screen.print()
        screen.print(slices_table(record.slices))
    nodes = Table(box=None, pad_edge=False)
    for header in ("component", "state", "seconds", "found"):
        nodes.add_column(header, justify="right" if header == "seconds" else "left")
    for node in record.nodes:
        nodes.add_row(node.node, node.state, f"{node.seconds:.1f}", node.finding)
    screen.print()
    screen.print(nodes)
    artifacts = Table(box=None, pad_edge=False)
    for header in ("artifact", "id", "path"):
        artifacts.add_column(header, overflow="fold")
    for node in record.nodes:
        for key, values in sorted(node.outputs.items()):
            for value in values:
                artifacts.add_row(f"{node.node}.{key}", str(value["id"]), value["uri"])
    screen.print()
    screen.print(artifacts)
    identities = Table(box=None, pad_edge=False, show_header=False)
    provenance = record.provenance
    spans = record.window.get("spans", [])
    for name, value in (
        ("config digest", record.config_digest),
        ("git commit", f"{provenance.get('git_commit')}{' (dirty)' if provenance.get('git_dirty') else ''}"),
        ("lock file", provenance.get("lock_sha256")),
        ("versions", ", ".join(f"{k} {v}" for k, v in sorted(provenance.get("libraries", {}).items()))),
        *((f"span {span['label']}", span["fingerprint"]) for span in spans),
        *(
            (name, value)
            for name, value in (("resumes", record.resumes), ("repeats", record.repeats))
            if value is not None
        ),
        *((f"{node} taken from", run_id) for node, run_id in record.taken_from.items()),
        ("record", str(run_folder(state, record.run_id))),
    ):
        identities.add_row(name, str(value))
    screen.print()
    screen.print(identities)
    import yaml

    screen.print("\nconfig")
    screen.print(yaml.safe_dump(record.config, sort_keys=True, allow_unicode=True), markup=False)
