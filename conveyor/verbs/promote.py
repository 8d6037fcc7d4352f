"""`conveyor promote`."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from conveyor.options import json_option, the_state
from conveyor.output import console, print_json
from conveyor.trusted_keys import recorded_trust, signed_options


@click.command(name="promote", short_help="Make the canary live for all requests.")
@click.argument("line", required=False)
@click.option("--reason", help="Why, for the release ledger.")
@signed_options
@json_option
def command(
    line: str | None,
    reason: str | None,
    require_signed: bool,
    trusted_keys: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Make the canary of LINE live for all requests, and record it. LINE may be left out when there is only one."""
    from pipeline.record import base_path
    from serving.trials import promote

    state = the_state(line)
    trust = recorded_trust(state, require_signed, trusted_keys)
    release = promote(state.ledger, base_path(state), reason=reason, trust=trust)
    if as_json:
        print_json(dataclasses.asdict(release))
    else:
        console().print(f"version {release.version} is live (model digest {(release.model_digest or '')[:12]})")
