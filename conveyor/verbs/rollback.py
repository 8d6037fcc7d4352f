"""`conveyor rollback`."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from conveyor.options import json_option, the_state
from conveyor.output import console, print_json
from conveyor.trusted_keys import recorded_trust, signed_options


@click.command(name="rollback", short_help="Put an earlier model version back.")
@click.argument("line", required=False)
@click.option("--to", "version", type=click.IntRange(min=0), help="The version; default: the one live before.")
@click.option("--reason", help="Why, for the release ledger.")
@signed_options
@json_option
def command(
    line: str | None,
    version: int | None,
    reason: str | None,
    require_signed: bool,
    trusted_keys: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Put an earlier model version of LINE back, and record it. LINE may be left out when there is only one.

    While there is a canary, it is what ends. A Vertex endpoint that serves the line follows first.
    """
    from components.pusher.vertex_endpoint import deploy
    from pipeline.record import base_path
    from serving.releases import rollback

    state = the_state(line)
    trust = recorded_trust(state, require_signed, trusted_keys)
    release = rollback(state.ledger, base_path(state), version, reason=reason, deploy=deploy, trust=trust)
    if as_json:
        print_json(dataclasses.asdict(release))
    else:
        console().print(f"version {release.version} is live again (model digest {(release.model_digest or '')[:12]})")
