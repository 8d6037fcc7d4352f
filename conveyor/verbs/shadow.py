"""`conveyor shadow`."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from conveyor.options import json_option, the_state
from conveyor.output import console, print_json
from conveyor.trusted_keys import recorded_trust, signed_options
from schema.errors import UsageError


@click.command(name="shadow", short_help="Give a model version copies of the requests.")
@click.argument("line", required=False)
@click.option("--version", type=click.IntRange(min=0), help="The version to try.")
@click.option("--share", type=float, default=1.0, show_default=True, help="The share of requests that are copied.")
@click.option("--end", is_flag=True, help="End the shadow instead.")
@click.option("--reason", help="Why, for the release ledger.")
@signed_options
@json_option
def command(
    line: str | None,
    version: int | None,
    share: float,
    end: bool,
    reason: str | None,
    require_signed: bool,
    trusted_keys: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Let a version of LINE answer copies of requests. Its answers are kept and compared, and no client gets them."""
    from pipeline.record import base_path
    from serving.trials import end_shadow, shadow

    if end == (version is not None):
        raise UsageError("one of --version and --end must be given", hint="conveyor shadow LINE --version VERSION")
    state = the_state(line)
    if version is None:
        release = end_shadow(state.ledger, base_path(state), reason=reason)
        words = f"version {release.version} is the shadow no more"
    else:
        trust = recorded_trust(state, require_signed, trusted_keys)
        release = shadow(state.ledger, base_path(state), version, share, reason=reason, trust=trust)
        words = f"version {release.version} is the shadow, for {share:.4g} of the requests"
    if as_json:
        print_json(dataclasses.asdict(release))
    else:
        console().print(words)
