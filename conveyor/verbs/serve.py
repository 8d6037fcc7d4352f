"""`conveyor serve`."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from conveyor.options import json_option, line_argument, open_line
from conveyor.output import console, print_json
from conveyor.trusted_keys import signed_options, trust_of_line

if TYPE_CHECKING:
    from serving.gateway.server import Gateway
    from serving.line_server.served_line import ServedLine
    from serving.line_server.server import LineServer


@click.command(name="serve", short_help="Serve the live model of a line by gRPC and REST.")
@line_argument
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on; 0.0.0.0 for all.")
@click.option("--port", type=click.IntRange(0, 65535), default=8500, show_default=True, help="gRPC's port; 0: any.")
@click.option("--rest-port", type=click.IntRange(0, 65535), default=8501, show_default=True, help="REST's; 0: any.")
@click.option(
    "--backend",
    type=click.Choice(["auto", "embedded", "tensorflow_model_server", "docker"]),
    default="auto",
    show_default=True,
    help="Which server answers; auto takes tensorflow_model_server when it is on the PATH.",
)
@click.option("--verify/--no-verify", default=None, help="Load only models whose digest is the ledger's.")
@signed_options
@json_option
def command(
    line: str,
    environment: str | None,
    host: str,
    port: int,
    rest_port: int,
    backend: str,
    verify: bool | None,
    require_signed: bool,
    trusted_keys: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Serve what the release ledger of LINE says is live, and follow it: pushes, canaries, rollbacks.

    The API is TensorFlow Serving's. Requests and answers are kept as the line's serving.capture says. /healthz answers
    while the process lives, /readyz once a model is available. SIGTERM finishes the requests under way, then exits 0.
    """
    from serving.line_server.binary import choose_backend

    served = served_line(line, environment, require_signed, trusted_keys)
    chosen = choose_backend(backend)
    verify = served.config.verify if verify is None else verify
    if chosen == "embedded":
        # TensorFlow's remarks on itself say nothing about the line.
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        logging.getLogger("tensorflow").setLevel(logging.ERROR)
        from serving.line_server.server import LineServer

        server = LineServer(served, host=host, port=port, rest_port=rest_port, verify=verify)
        server.run(lambda running: announce(running, served, host, as_json))
        return
    _serve_with_binary(served, chosen, host, port, rest_port, verify, as_json)


def served_line(
    line: str, environment: str | None, require_signed: bool = False, trusted_keys: Sequence[Path] = ()
) -> ServedLine:
    """Returns a line as it is to be served.

    Args:
        line: what the user calls the line.
        environment: the overlay to lay over it.
        require_signed: whether only signed releases may be served, whatever the config says.
        trusted_keys: public keys to trust besides those of the config.

    Raises:
        UsageError: keys are named, and signatures not asked for.
        ConfigError: there is no such line, or its config is not valid.
    """
    from serving.line_server.redacted_columns import check_redacted_columns
    from serving.line_server.served_line import ServedLine

    loaded, state = open_line(line, environment, resolve_secrets=("serving",))
    config = loaded.line.serving
    check_redacted_columns(config.capture, loaded.base_dir / loaded.line.schema_.file, loaded.path)
    key = loaded.secrets.get("serving.capture.hash_key")
    if key is not None:
        config = config.model_copy(update={"capture": config.capture.model_copy(update={"hash_key": key})})
    return ServedLine(
        name=loaded.line.name,
        base_path=state.base_path(loaded.line.pusher.push_destination).absolute(),
        ledger=state.ledger.absolute(),
        capture=state.capture.absolute(),
        config=config,
        config_folder=Path(loaded.files[0]).absolute().parent,
        trust=trust_of_line(loaded, require_signed, trusted_keys),
    )


def announce(
    server: LineServer | Gateway, served: ServedLine, host: str, as_json: bool, waiting: str | None = None
) -> None:
    """Prints where a line is served, which version, and lines to try it with.

    Args:
        server: what serves it, or stands in front of what does.
        served: the line.
        host: the address that it listens on.
        as_json: whether to print one JSON document instead.
        waiting: what to say where there is no version yet; by default how there will be one.
    """
    from serving.line_server.sample import curl_line, grpcurl_line, sample_request, write_protoset
    from serving.model_server.grpc_port import host_and_port

    split = server.models.split
    shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    grpc, rest = host_and_port(shown, server.port), host_and_port(shown, server.rest_port)
    tls, token = served.config.tls is not None, served.config.tokens_file is not None
    request = None if split.stable is None else sample_request(served.base_path / str(split.stable), served.name)
    lines = {}
    if request is not None:
        lines["curl"] = curl_line(request, rest, tls=tls, token=token)
        protoset = served.ledger.parent / "prediction_service.protoset"
        # A gateway may only read there.
        with contextlib.suppress(OSError):
            write_protoset(protoset)
            lines["grpcurl"] = grpcurl_line(request, grpc, protoset, tls=tls, token=token)
    if as_json:
        versions = {"version": split.stable, "canary": split.canary, "shadow": split.shadow}
        print_json({"model": served.name, "grpc": grpc, "rest": rest, **versions, **lines})
        return
    out = console()
    out.print(f"{served.name}: gRPC {grpc}, REST http{'s' if tls else ''}://{rest}", highlight=False)
    if split.stable is None:
        out.print(waiting or f"no version yet; conveyor run {served.name} pushes the first, and it is served at once")
        return
    trial = f", version {split.canary} as canary for {split.share:.4g} of the requests" if split.canary else ""
    out.print(f"version {split.stable} is live{trial}", highlight=False)
    for text in lines.values():
        # Not the console's print: a line that is wrapped cannot be pasted.
        click.echo(text)


def _serve_with_binary(
    served: ServedLine, backend: str, host: str, port: int, rest_port: int, verify: bool, as_json: bool
) -> None:
    from schema.errors import ConveyorError
    from serving.line_server.binary import BinaryServer

    server = BinaryServer(served, backend, host=host, port=port, rest_port=rest_port, verify=verify)  # type: ignore[arg-type]
    code = server.run(lambda running: announce(running, served, host, as_json))
    if code is not None:
        raise ConveyorError(
            f"{backend} ended with exit code {code}; its last words are above", hint="correct that and serve again"
        )
