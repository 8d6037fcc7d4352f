"""`conveyor batch`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from conveyor.options import json_option, line_argument
from conveyor.trusted_keys import signed_options

FORMATS = {"parquet": ("parquet",), "tfrecord": ("tfrecord",), "both": ("parquet", "tfrecord")}


@click.command(name="batch", short_help="Predict a whole table or span with the live model, into files.")
@line_argument
@click.option(
    "--input",
    "given",
    required=True,
    metavar="TABLE|SPAN",
    help="A CSV, Parquet, TFRecord or Avro file; or a span of the line by number or label, `latest`, or `all`.",
)
@click.option("--output", required=True, type=click.Path(path_type=Path), metavar="DIR", help="The output folder.")
@click.option("--format", "written", type=click.Choice(list(FORMATS)), default="both", show_default=True)
@click.option("--key", "keys", metavar="COLUMN", multiple=True, help="A column to hand on. May be repeated.")
@click.option("--model-version", type=click.IntRange(min=0), help="A released version. Default: the live one.")
@click.option("--signature-name", default="serving_default", show_default=True, help="One that takes tf.Examples.")
@click.option("--rows-per-part", type=click.IntRange(min=1), default=50_000, show_default=True)
@click.option("--no-schema", is_flag=True, help="Do not hold rows against the line's curated schema.")
@signed_options
@json_option
def command(
    line: str,
    environment: str | None,
    as_json: bool,
    given: str,
    output: Path,
    written: str,
    keys: tuple[str, ...],
    model_version: int | None,
    signature_name: str,
    rows_per_part: int,
    no_schema: bool,
    require_signed: bool,
    trusted_keys: tuple[Path, ...],
) -> int:
    """Predict a whole table, or a span of LINE, with its live model: one row out for one row in.

    Killed half-way, the same command goes on where it was. Exit code 4: more rows have no prediction than
    examples.max_bad_rows allows; they are in the output all the same, with what is wrong with them.
    """
    from conveyor.batches import do_batch
    from pipeline.batch.run import BatchOptions
    from schema.errors import UsageError

    if len(set(keys)) != len(keys):
        raise UsageError(f"--key must name each column once. Got {', '.join(keys)} instead")
    formats: Any = FORMATS[written]
    options = BatchOptions(
        input=given,
        output=output,
        formats=formats,
        keys=keys,
        model_version=model_version,
        signature_name=signature_name,
        rows_per_part=rows_per_part,
        with_schema=not no_schema,
    )
    return do_batch(line, environment, options, require_signed, trusted_keys, as_json=as_json)
