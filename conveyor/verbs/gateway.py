"""`conveyor gateway`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from conveyor.options import json_option, line_argument
from conveyor.trusted_keys import signed_options
from conveyor.verbs.serve import announce, served_line

if TYPE_CHECKING:
    from serving.client.target import Address


@click.command(name="gateway", short_help="Stand in front of TensorFlow Serving: capture, canary, tokens, TLS.")
@line_argument
@click.option("--upstream", metavar="HOST:PORT", required=True, help="Where TensorFlow Serving answers gRPC.")
@click.option("--rest-upstream", metavar="HOST:PORT", help="Where it answers REST; without it, only gRPC is passed on.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on; 0.0.0.0 for all.")
@click.option("--port", type=click.IntRange(0, 65535), default=8500, show_default=True, help="gRPC's port; 0: any.")
@click.option("--rest-port", type=click.IntRange(0, 65535), default=8501, show_default=True, help="REST's; 0: any.")
@click.option(
    "--model-config",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write TensorFlow Serving's model config file from the release ledger, and follow the ledger with it.",
)
@click.option(
    "--model-base-path",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="The model base path as TensorFlow Serving sees it, where that differs, as in its container.",
)
@click.option(
    "--verify/--no-verify", default=None, help="Give it only models whose digest is the ledger's (--model-config)."
)
@signed_options
@json_option
def command(
    line: str,
    environment: str | None,
    upstream: str,
    rest_upstream: str | None,
    host: str,
    port: int,
    rest_port: int,
    model_config: Path | None,
    model_base_path: Path | None,
    verify: bool | None,
    require_signed: bool,
    trusted_keys: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Pass requests for LINE on to TensorFlow Serving, unchanged, and do around them what `conveyor serve` does.

    That is: requests and answers are kept as the line's serving.capture says; canary and shadow follow the release
    ledger; tokens, TLS and limits are those of the line config. /healthz answers while the process lives, /readyz once
    TensorFlow Serving has the live version. SIGTERM finishes the requests under way, then exits 0.
    """
    from schema.errors import UsageError
    from serving.client.target import Address
    from serving.gateway.server import Gateway
    from serving.gateway.upstream import Upstream

    if model_base_path is not None and model_config is None:
        raise UsageError("--model-base-path must come with --model-config. Got it alone instead")
    grpc = upstream if upstream.startswith("unix:") else str(_other(Address.parse(upstream, "gRPC"), port))
    rest = None if rest_upstream is None else _other(Address.parse(rest_upstream, "REST"), rest_port)
    served = served_line(line, environment, require_signed, trusted_keys)
    gateway = Gateway(
        served,
        Upstream(grpc, rest),
        host=host,
        port=port,
        rest_port=rest_port,
        model_config=None if model_config is None else model_config.absolute(),
        model_base_path=model_base_path,
        verify=served.config.verify if verify is None else verify,
    )
    waiting = f"the model server at {grpc} has no version to lead requests to yet; /readyz tells when it has"
    gateway.run(lambda running: announce(running, served, host, as_json, waiting))


def _other(address: Address, port: int) -> Address:
    """Returns an address that is not the gateway's own: it would pass requests on to itself, for ever."""
    from schema.errors import UsageError

    if address.loopback and address.port == port:
        raise UsageError(
            f"an upstream must be TensorFlow Serving's address. Got {address} instead, which is the gateway's own",
            hint="give either another port",
        )
    return address
