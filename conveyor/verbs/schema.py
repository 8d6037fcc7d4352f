"""`conveyor schema`."""

from __future__ import annotations

import click

from conveyor.options import json_option, line_argument, open_line
from conveyor.output import print_json


@click.group(name="schema", short_help="Show and accept what changed in the data's schema.")
def command() -> None:
    """Maintain a line's curated schema: see what the data says otherwise, and take it over."""


@command.command(name="diff")
@line_argument
@json_option
def diff(line: str, environment: str | None, as_json: bool) -> None:
    """Show what the data of LINE's latest run says otherwise than its curated schema."""
    from pipeline.schema_review import review_schema

    found = review_schema(*open_line(line, environment, resolve_secrets=False))
    if as_json:
        print_json(found.to_dict())
    else:
        click.echo(found.text())


@command.command(name="update")
@line_argument
@click.argument("columns", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Take every change over.")
@json_option
def update(line: str, environment: str | None, columns: tuple[str, ...], everything: bool, as_json: bool) -> None:
    """Take the changes of COLUMNS (or --all) over into LINE's curated schema. The rest of the file stays as it is."""
    from pipeline.schema_review import review_schema, update_schema
    from schema.errors import UsageError

    found = review_schema(*open_line(line, environment, resolve_secrets=False))
    if not columns and not everything and not found.inferred:
        raise UsageError(
            "COLUMNS must name the columns whose changes are wanted, or --all must be given. Got neither instead",
            hint=f"conveyor schema diff {line}",
        )
    accepted, left = update_schema(found, None if everything or not columns else columns)
    if as_json:
        print_json({"file": str(found.file), "accepted": accepted, "left": left})
        return
    click.echo("\n".join([f"{found.file}:", *(f"  taken over: {text}" for text in accepted)]))
    for text in left:
        click.echo(f"  left: {text}")
    if not accepted:
        click.echo("  nothing to take over")
