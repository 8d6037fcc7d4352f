"""What `conveyor predict` does: rows from the command line or a file to a served model, and what it says to a table."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from conveyor.bad_rows import say, tell_bad_rows
from conveyor.output import console, print_json
from conveyor.prediction_view import Kept, outputs_of, plain, records_table
from schema.errors import UsageError
from schema.line import Line
from serving.client.caller import Again
from serving.client.client import ClientOptions, connect
from serving.client.core import Core, Plan
from serving.client.layout import decide
from serving.client.outputs import writing
from serving.client.table_predictions import Report, predict_table
from serving.client.tables import CsvInput, InputTable, ParquetInput, check_columns
from serving.client.target import Address

SHOWN = 20
"""So many rows are shown to people, at most."""


@dataclasses.dataclass(frozen=True)
class Question:
    """What is asked.

    Attributes:
        line: the line.
        model: the model's name on the server.
        address: the server's address.
        rows: rows of the command line.
        csv: or a CSV file of rows.
        parquet: or a Parquet file of rows.
        output: the file to write, or None for stdout.
        signature: the signature to call, or None for the usual one.
        key: the column with the caller's own keys, or None.
        as_json: whether stdout gets one JSON document.
        client: how to ask. Not part of repr: it holds the token.
    """

    line: Line
    model: str
    address: str
    rows: Sequence[dict[str, Any]]
    csv: Path | None
    parquet: Path | None
    output: Path | None
    signature: str | None
    key: str | None
    as_json: bool
    client: ClientOptions = dataclasses.field(repr=False)


def parse_rows(texts: Sequence[str]) -> list[dict[str, Any]]:
    """Reads the rows of the command line.

    Raises:
        UsageError: one is no JSON, or something else than a row or rows.
    """
    rows: list[dict[str, Any]] = []
    for text in texts:
        try:
            value = json.loads(text)
        except ValueError as error:
            raise UsageError(
                f"--row must be JSON. Got {text[:80]!r} instead: {error}",
                hint="""e.g. --row '{"fare": 12.5, "payment_type": "Cash"}'""",
            ) from None
        for row in value if isinstance(value, list) else [value]:
            if not isinstance(row, dict):
                raise UsageError(f"--row must be a JSON object, or a list of them. Got {text[:80]!r} instead")
            rows.append(row)
    return rows


async def ask(question: Question) -> int:
    """Asks, prints, and returns the exit code: 0, or 4 when more rows are bad than the line allows."""
    screen = Console(stderr=True, highlight=False)
    _warn_of_open_token(question, screen)

    def again(event: Again) -> None:
        say(
            screen,
            f"{event.code.name}: {event.message}; attempt {event.attempt} failed, the next one in "
            f"{event.seconds:.1f} s",
        )

    core = connect(question.model, question.address, {**question.client, "on_retry": again}, concurrent=True)
    try:
        plan = await core.plan(question.signature)
        if question.csv is None and question.parquet is None:
            return await _ask_rows(question, core, plan)
        return await _ask_table(question, core, plan, screen)
    finally:
        await core.caller.close()


def _warn_of_open_token(question: Question, screen: Console) -> None:
    where = Address.parse(question.address, question.client.get("api", "gRPC"))
    if question.client.get("token") and question.client.get("tls") is None and not where.loopback:
        say(screen, f"warning: the token goes to {where} without TLS; anyone on the way can read it")


async def _ask_rows(question: Question, core: Core, plan: Plan) -> int:
    rows, keys = list(question.rows), None
    if question.key is not None:
        key = question.key
        for position, row in enumerate(rows):
            if key not in row:
                raise UsageError(f"every row must have the key column {key!r}. Got none in row {position} instead")
        keys = [str(row[key]) for row in rows]
        if key not in plan.encoder.columns:
            rows = [{name: value for name, value in row.items() if name != key} for row in rows]
    predictions = await core.predict(rows, question.signature, (), keys, None)
    layout = decide(plan.signature, predictions if len(predictions) else None, ())
    columns = layout.columns(predictions, len(rows))
    records = [
        {"input": row, "prediction": outputs_of(layout, columns, position), "error": None}
        | {name: columns[getattr(layout, name)][position] for name in ("version", "request_id")}
        for position, row in enumerate(question.rows)
    ]
    if question.as_json:
        print_json(_document(question, plan, Report(len(rows), len(rows)), [], []) | {"predictions": plain(records)})
    else:
        console().print(records_table("row", range(len(rows)), records))
    return 0


async def _ask_table(question: Question, core: Core, plan: Plan, screen: Console) -> int:
    table: InputTable
    if question.csv is not None:
        table = CsvInput(question.csv, question.line.examples.missing_values)
    else:
        assert question.parquet is not None
        table = ParquetInput(question.parquet)
    unused, lacking = check_columns(table, plan.encoder, core.rules, question.key)
    if unused:
        say(screen, f"not asked for by the model: {', '.join(unused)}")
    if lacking:
        say(screen, f"missing in every row: {', '.join(lacking)}")
    with _progress(screen) as progress:
        task = progress.add_task(Path(table.path).name, total=table.total, bad="")

        def show(report: Report) -> None:
            progress.update(task, completed=report.rows, bad=f", {len(report.bad):,} bad" if report.bad else "")

        if question.output is not None:
            with writing(question.output, table) as writer:
                report = await predict_table(core, plan, table, writer, key=question.key, progress=show)
        else:
            shown = Kept(table, None if question.as_json else SHOWN)
            report = await predict_table(core, plan, table, shown, key=question.key, progress=show)
    if question.as_json:
        document = _document(question, plan, report, unused, lacking)
        if question.output is None:
            document["predictions"] = plain(shown.records)
        print_json(document)
    elif question.output is None:
        console().print(records_table("line", [record["line"] for record in shown.records], shown.records))
        if report.rows > SHOWN:
            console().print(f"and {report.rows - SHOWN:,} more; --output FILE writes all of them")
    return _conclude(question, report, screen)


def _conclude(question: Question, report: Report, screen: Console) -> int:
    where = f", written to {question.output}" if question.output is not None else ""
    say(screen, f"{report.predicted:,} of {report.rows:,} rows predicted{where}")
    allowed, in_output = question.line.examples.max_bad_rows, question.output is not None
    return tell_bad_rows(screen, len(report.bad), report.rows, allowed, report.bad, in_output=in_output)


def _document(question: Question, plan: Plan, report: Report, unused: list[str], lacking: list[str]) -> dict[str, Any]:
    return {
        "line": question.line.name,
        "model": question.model,
        "api": question.client.get("api"),
        "signature": plan.signature.name,
        "rows": report.rows,
        "predicted": report.predicted,
        "bad_rows": [dataclasses.asdict(bad) for bad in report.bad],
        "unused_columns": unused,
        "missing_columns": lacking,
        "output": None if question.output is None else str(question.output),
    }


def _progress(screen: Console) -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.completed:,} rows{task.fields[bad]}"),
        TimeElapsedColumn(),
        console=screen,
        transient=True,
        disable=not screen.is_terminal,
    )
