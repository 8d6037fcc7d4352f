"""`conveyor releases`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.markup import escape
from rich.table import Table

from conveyor.options import json_option, the_state
from conveyor.output import console, print_json
from conveyor.trusted_keys import recorded_trust, trusted_key_option

if TYPE_CHECKING:
    from pipeline.state import State
    from serving.releases import Release
    from serving.signing.trust import Trust


@click.command(name="releases", short_help="List the releases of a line.")
@click.argument("line", required=False)
@click.option(
    "--verify",
    is_flag=True,
    help="Check that each release is, byte for byte, what a trusted key has signed.",
)
@trusted_key_option
@json_option
def command(line: str | None, verify: bool, trusted_keys: tuple[Path, ...], as_json: bool) -> int:
    """List the releases of LINE, the newest first. LINE may be left out when there is only one.

    With --verify their signatures are checked too, of all that have a folder. Exit code 1: one does not match, or one
    that is live, canary, shadow or unrecorded is unsigned.
    """
    from pipeline.record import base_path
    from schema.errors import UsageError
    from serving.releases import table as release_table

    if trusted_keys and not verify:
        raise UsageError("--trusted-key must come with --verify. Got it alone instead")
    state = the_state(line)
    trust = recorded_trust(state, given=trusted_keys, always=True) if verify else None
    releases = release_table(state.ledger, base_path(state))
    objections = {} if trust is None else _objections(releases, state, trust)
    if as_json:
        print_json([_document(release, objections) for release in releases])
    elif releases:
        console().print(_table(releases, objections))
        for objection in objections.values():
            if objection:
                click.echo(objection, err=True)
    else:
        console().print(f"no releases yet; conveyor run {state.line} pushes the first")
    return int(any(objections.get(release.version) and _counts(release) for release in releases))


def _objections(releases: list[Release], state: State, trust: Trust) -> dict[int, str]:
    """Returns, for each version with a folder, what does not match, or an empty text."""
    from schema.errors import ReleaseError
    from serving.ledger import Ledger

    found = {}
    said = Ledger(state.ledger).state()
    for release in releases:
        if release.path is not None:
            try:
                trust.check(Path(release.path), said, release.version)
                found[release.version] = ""
            except ReleaseError as error:
                found[release.version] = str(error)
    return found


def _counts(release: Release) -> bool:
    """Returns whether an objection is a reason to worry: a release from before there was a key is none."""
    return release.key_id is not None or release.status in ("live", "canary", "shadow", "unrecorded")


def _document(release: Release, objections: dict[int, str]) -> dict[str, object]:
    document = dataclasses.asdict(release)
    if release.version in objections:
        document["verified"] = not objections[release.version]
        document["objection"] = objections[release.version]
    return document


def _table(releases: list[Release], objections: dict[int, str]) -> Table:
    table = Table(box=None, pad_edge=False)
    for header in ("version", "status", "pushed", "by", "model digest", "signed by", "run", ""):
        table.add_column(header, justify="right" if header == "version" else "left")
    for release in releases:
        style = "bold green" if release.status == "live" else None
        table.add_row(
            str(release.version),
            release.status if release.share is None else f"{release.status} {release.share:.4g}",
            (release.pushed_when or "-")[:19],
            release.who or "-",
            (release.model_digest or "-")[:12],
            _signed_by(release, objections),
            release.run_id or "-",
            escape(release.problem),
            style=style,
        )
    return table


def _signed_by(release: Release, objections: dict[int, str]) -> str:
    if release.path is None:
        return "-"
    claimed = "unsigned" if release.key_id is None else release.key_id[:12] or "unreadable"
    objection = objections.get(release.version)
    if objection is None:
        return claimed
    return f"{claimed}, refused" if objection else f"{claimed}, verified"
