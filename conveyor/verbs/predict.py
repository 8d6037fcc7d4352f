"""`conveyor predict`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from conveyor.options import json_option, line_argument

if TYPE_CHECKING:
    from conveyor.predictions import Question

FILE = click.Path(dir_okay=False, path_type=Path)


@click.command(name="predict", short_help="Predict rows with the served model of a line.")
@line_argument
@click.option("--row", "rows", metavar="JSON", multiple=True, help="A row, or a list of rows. May be repeated.")
@click.option("--csv", type=FILE, help="A CSV file of rows, read as `conveyor run` reads them.")
@click.option("--parquet", type=FILE, help="A Parquet file of rows.")
@click.option(
    "--output", type=FILE, help="A .csv or .parquet file of the rows with their predictions. Default: stdout."
)
@click.option("--grpc/--rest", "grpc", default=True, help="The API to use. Default: gRPC.")
@click.option("--address", default="127.0.0.1", metavar="HOST[:PORT]", help="Default: 127.0.0.1, port 8500 or 8501.")
@click.option("--model", metavar="NAME", help="The model's name on the server. Default: the line's name.")
@click.option("--version", type=click.IntRange(min=0), help="The model version. Default: the server chooses.")
@click.option("--label", help="The version label, e.g. canary.")
@click.option("--signature", help="Default: serving_raw, or else serving_default.")
@click.option("--no-schema", is_flag=True, help="Do not hold rows against the line's curated schema.")
@click.option(
    "--key", metavar="COLUMN", help="The column with your own key of a row, for labels and canaries: a request a key."
)
@click.option("--token-file", type=FILE, help="File of the bearer token.")
@click.option("--tls", is_flag=True, help="TLS, with the system's certificate authorities.")
@click.option("--ca", type=FILE, help="TLS, with this certificate authority (PEM).")
@click.option("--client-certificate", type=FILE, help="Your own certificate (PEM), for mutual TLS.")
@click.option("--client-key", type=FILE, help="Its private key (PEM).")
@click.option("--server-name", help="The name in the server's certificate, where it is not that of the address.")
@click.option("--batch-size", type=click.IntRange(min=1), default=1000, show_default=True, help="Rows a request.")
@click.option("--deadline", type=float, default=30.0, show_default=True, metavar="SECONDS", help="For each request.")
@click.option("--attempts", type=click.IntRange(min=1), default=5, show_default=True, help="Of each request.")
@json_option
def command(line: str, environment: str | None, as_json: bool, **options: Any) -> int:
    """Predict rows with the served model of LINE: one, or a file of them.

    Values that are empty, null or left out are missing. Rows that do not fit the model are told, and stay in the output
    with what is wrong with them; exit code 4 says that there are more of them than examples.max_bad_rows allows.
    """
    from conveyor.predictions import ask

    return asyncio.run(ask(_question(line, environment, as_json, options)))


def _question(line: str, environment: str | None, as_json: bool, options: dict[str, Any]) -> Question:
    """Checks the options against each other, and opens the line.

    Raises:
        UsageError: they cannot be together.
        ConfigError: there is no such line.
    """
    from conveyor.predictions import Question, parse_rows
    from schema.errors import UsageError
    from schema.loading import find_line, load_line
    from serving.client import Retry, Tls, read_token

    given = [name for name in ("rows", "csv", "parquet") if options[name]]
    if len(given) != 1:
        shown = ", ".join("--row" if name == "rows" else f"--{name}" for name in given) or "none"
        raise UsageError(f"exactly one of --row, --csv and --parquet must be given. Got {shown} instead")
    if options["output"] and given == ["rows"]:
        raise UsageError("--output must go with --csv or --parquet. Got it with --row instead", hint="use --json")
    tls = None
    if any(options[name] for name in ("tls", "ca", "client_certificate", "client_key", "server_name")):
        tls = Tls(options["ca"], options["client_certificate"], options["client_key"], options["server_name"])
    # A client needs none of the line's secrets.
    loaded = load_line(find_line(line, Path.cwd()), environment=environment, resolve_secrets=False)
    schema = (loaded.base_dir / loaded.line.schema_.file).resolve()
    return Question(
        line=loaded.line,
        model=options["model"] or loaded.line.name,
        address=options["address"],
        rows=parse_rows(options["rows"]),
        csv=options["csv"],
        parquet=options["parquet"],
        output=options["output"],
        signature=options["signature"],
        key=options["key"],
        as_json=as_json,
        client={
            "api": "gRPC" if options["grpc"] else "REST",
            "version": options["version"],
            "label": options["label"],
            "schema": schema if schema.is_file() and not options["no_schema"] else None,
            "tls": tls,
            "token": read_token(options["token_file"]) if options["token_file"] else None,
            "batch_rows": options["batch_size"],
            "deadline_seconds": options["deadline"],
            "retry": Retry(attempts=options["attempts"]),
        },
    )
