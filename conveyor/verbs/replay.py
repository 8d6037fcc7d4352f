"""`conveyor replay`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table
from rich.text import Text

from conveyor.moments import Moment
from conveyor.options import json_option, line_argument, open_line
from conveyor.output import console, print_json

if TYPE_CHECKING:
    from serving.client.senders import Sender

FILE = click.Path(dir_okay=False, path_type=Path)
_SHOWN = 20


@click.command(name="replay", short_help="Ask captured requests again and compare the answers.")
@line_argument
@click.option("--since", type=Moment(), help="From this time on: 90s, 30m, 1h, 2d ago, or ISO 8601 (UTC).")
@click.option("--until", type=Moment(), help="Before this time.")
@click.option("--request-id", "request_ids", multiple=True, metavar="ID", help="The request with this id. Repeatable.")
@click.option("--version", type=click.IntRange(min=0), metavar="V", help="Ask this version. Default: as then.")
@click.option("--limit", type=click.IntRange(min=0), default=1000, show_default=True, help="The newest N; 0 for all.")
@click.option("--server", metavar="HOST:PORT", help="Ask this server by gRPC. Default: the models in this process.")
@click.option("--token-file", type=FILE, help="With --server: file of the bearer token.")
@click.option("--tls", is_flag=True, help="With --server: TLS, with the system's certificate authorities.")
@click.option("--ca", type=FILE, help="With --server: TLS, with this certificate authority (PEM).")
@click.option(
    "--deadline",
    type=click.FloatRange(min=0, min_open=True),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="For each request.",
)
@json_option
def command(
    line: str,
    environment: str | None,
    since: float | None,
    until: float | None,
    request_ids: tuple[str, ...],
    version: int | None,
    limit: int,
    server: str | None,
    token_file: Path | None,
    tls: bool,
    ca: Path | None,
    deadline: float,
    as_json: bool,
) -> int:
    """Ask captured requests of LINE again, of the version that answered them, and compare the answers byte by byte.

    Exit code 1 says that an answer is another, that a model's folder is not what was released, or that
    serving.require_signed is set and no trusted key has signed it: it is not loaded then. Requests whose columns
    capture left out or hashed cannot be asked again; they are counted and named.
    """
    from conveyor.trusted_keys import trust_of_line
    from pipeline.replayed import Wanted, is_as_it_was, replay_line
    from schema.errors import UsageError
    from serving.client import read_token

    if request_ids and (since is not None or until is not None):
        raise UsageError("--request-id must not be given with --since or --until. Got both instead")
    if server is None and (token_file or tls or ca):
        raise UsageError("--token-file, --tls and --ca must go with --server. Got one of them alone instead")
    # The secrets are the server's; who reads its captures needs none.
    loaded, state = open_line(line, environment, resolve_secrets=False)
    wanted = Wanted(
        since=since,
        until=until,
        request_ids=request_ids,
        limit=limit or None,
        version=version,
        server=server,
        sender=None if server is None else _sender(server, tls, ca),
        trust=trust_of_line(loaded) if server is None else None,
        token=read_token(token_file) if token_file else None,
        deadline=deadline,
    )
    document = replay_line(loaded.line, state, wanted)
    if as_json:
        print_json(document)
    else:
        _print(document)
    return 0 if is_as_it_was(document) else 1


def _sender(server: str, tls: bool, ca: Path | None) -> Sender:
    from serving.client import Tls
    from serving.client.grpc_senders import BlockingGrpc
    from serving.client.target import Address

    return BlockingGrpc(Address.parse(server, "gRPC"), Tls(ca) if tls or ca else None)


def _print(document: dict[str, Any]) -> None:
    from conveyor.trace_view import safe

    screen = console()
    requests = document["requests"]
    style = "bold red" if requests["different"] else "bold green"
    where = f"by {document['server']}" if document["server"] else "in this process"
    screen.print(
        Text(
            f"{requests['asked']:,} requests ({requests['rows']:,} rows) asked again {where}: "
            f"{requests['equal']:,} equal, {requests['different']:,} different, {requests['skipped']:,} not asked",
            style=style if requests["asked"] else "bold yellow",
        )
    )
    for version in document["versions"]:
        text = f"version {version['version']}, model digest {version['model_digest'] or 'not in the ledger'}"
        if version["changed"]:
            text += f"; {version['folder']} has changed since: it is now {version['found']}"
        if version["refused"]:
            text += f"; {version['folder']} is not what a trusted key has signed"
        screen.print(Text(text, style="red" if version["changed"] or version["refused"] else ""))
    if document["outputs"]:
        table = Table(box=None, pad_edge=False)
        for header in ("output", "requests", "rows", "largest difference", ""):
            table.add_column(header, justify="left" if header in ("output", "") else "right")
        for name, one in sorted(document["outputs"].items()):
            largest = "-" if one["max_abs"] is None else f"{one['max_abs']:.3g}"
            note = "rounding" if one["only_rounding"] else ", ".join(one["kinds"])
            table.add_row(safe(name), f"{one['requests']:,}", f"{one['rows']:,}", largest, note)
        screen.print(table)
    for one in document["different"][:_SHOWN]:
        screen.print(Text(f"{safe(one['request_id'])}: {safe('; '.join(one['why']))}"))
    if len(document["different"]) > _SHOWN:
        screen.print(Text(f"… and {len(document['different']) - _SHOWN:,} more (--json has all of them)", style="dim"))
    for one in document["skipped"]:
        shown = ", ".join(safe(name) for name in one["request_ids"][:_SHOWN])
        more = ", …" if one["count"] > _SHOWN else ""
        screen.print(Text(f"{one['count']:,} not asked: {safe(one['reason'])}: {shown}{more}", style="yellow"))
    for damage in document["damaged"]:
        text = f"{damage['file']} is damaged at byte {damage['offset']}: {damage['reason']}"
        screen.print(Text(text, style="red"))
