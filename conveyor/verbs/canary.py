"""`conveyor canary`."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from conveyor.options import json_option, the_state
from conveyor.output import console, print_json
from conveyor.trusted_keys import recorded_trust, signed_options


@click.command(name="canary", short_help="Give a model version a share of the requests.")
@click.argument("line", required=False)
@click.option("--version", type=click.IntRange(min=0), required=True, help="The version to try.")
@click.option("--share", type=float, required=True, help="Its share of requests, above 0 and at most 1.")
@click.option("--reason", help="Why, for the release ledger.")
@signed_options
@json_option
def command(
    line: str | None,
    version: int,
    share: float,
    reason: str | None,
    require_signed: bool,
    trusted_keys: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Let a version of LINE answer a share of the requests; the live version answers the rest.

    A running `conveyor serve` or `conveyor gateway` follows within two seconds. Requests with the same caller key stay
    with the same version. `conveyor promote` makes the canary live, `conveyor rollback` ends it.
    """
    from pipeline.record import base_path
    from serving.trials import canary

    state = the_state(line)
    trust = recorded_trust(state, require_signed, trusted_keys)
    release = canary(state.ledger, base_path(state), version, share, reason=reason, trust=trust)
    if as_json:
        print_json(dataclasses.asdict(release))
    else:
        console().print(f"version {release.version} is the canary, for {share:.4g} of the requests")
