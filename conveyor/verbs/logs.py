"""`conveyor logs`."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.markup import escape
from rich.table import Table

from conveyor.moments import Moment
from conveyor.options import json_option, line_argument, open_line
from conveyor.output import console, print_json

if TYPE_CHECKING:
    from pipeline.state import State
    from serving.capture.reader import Captured, CaptureLog, DamagedFile

_ANSWER_WIDTH = 60


@click.command(name="logs", short_help="Show the captured requests and answers of a line.")
@line_argument
@click.option("--since", type=Moment(), help="From this time on: 90s, 30m, 1h, 2d ago, or ISO 8601 (UTC).")
@click.option("--until", type=Moment(), help="Before this time.")
@click.option("--version", type=int, metavar="V", help="Those that this model version answered.")
@click.option("--request-id", metavar="ID", help="The request with this id.")
@click.option("--caller-key", metavar="KEY", help="Those with this key of the caller's.")
@click.option("--limit", type=click.IntRange(min=0), default=100, show_default=True, help="The newest N; 0 for all.")
@click.option("--follow", is_flag=True, help="Show what comes, from --since or from now on, until interrupted.")
@json_option
def command(
    line: str,
    environment: str | None,
    since: float | None,
    until: float | None,
    version: int | None,
    request_id: str | None,
    caller_key: str | None,
    limit: int,
    follow: bool,
    as_json: bool,
) -> None:
    """Show the captured requests of LINE and their answers, the newest last.

    With --json it is one JSON document with whole requests and answers; with --json --follow it is one a line. Damaged
    files are named on stderr (and in the document), and the rest is shown.
    """
    from serving.capture.document import document_of
    from serving.capture.reader import CaptureLog, Query

    state = _state(line, environment)
    log = CaptureLog(state.capture)
    if follow:
        query = Query(since if since is not None else time.time(), until, version, request_id, caller_key)
        _follow(log, query, as_json)
        return
    query = Query(since, until, version, request_id, caller_key)
    found = log.newest(query, limit or None)
    if as_json:
        print_json(
            {
                "line": state.line,
                "records": [document_of(captured) for captured in found],
                "damaged": [{"file": str(d.path), "offset": d.offset, "reason": d.reason} for d in log.damaged],
            }
        )
    elif found:
        console().print(_table(found))
    elif not state.capture.is_dir():
        console().print(f"nothing captured yet ({state.capture}); conveyor serve {state.line} answers and captures")
    else:
        console().print("no captured request fits")
    for damage in log.damaged:
        _complain(damage)


def _state(line: str, environment: str | None) -> State:
    """Returns the state of a line that was captured before, though its config may not be here; or of any line."""
    from pipeline.state import State

    state = State.locate(line, os.environ, Path.cwd()) if re.fullmatch(r"[a-z0-9-]+", line) else None
    return (
        state
        if state is not None and state.capture.is_dir()
        else open_line(line, environment, resolve_secrets=False)[1]
    )


def _follow(log: CaptureLog, query: Any, as_json: bool) -> None:
    from serving.capture.document import document_of

    told = 0
    try:
        for captured in log.follow(query):
            if as_json:
                print(json.dumps(document_of(captured), ensure_ascii=False, sort_keys=True), flush=True)
            else:
                print("  ".join(_cells(captured)), flush=True)
            for damage in log.damaged[told:]:
                _complain(damage)
            told = len(log.damaged)
    except KeyboardInterrupt:
        return


def _complain(damage: DamagedFile) -> None:
    print(f"conveyor: {damage.path} is damaged at byte {damage.offset}: {damage.reason}", file=sys.stderr)


def _table(found: list[Captured]) -> Table:
    table = Table(box=None, pad_edge=False)
    for header in ("time", "request id", "version", "api", "signature", "rows", "ms", "code", "caller key", "answer"):
        table.add_column(header, justify="right" if header in ("version", "rows", "ms") else "left", overflow="fold")
    for captured in found:
        table.add_row(*map(escape, _cells(captured)), style=None if captured.code == 0 else "red")
    return table


def _cells(captured: Captured) -> tuple[str, ...]:
    from serving.capture import contents
    from serving.capture.document import moment_text

    capture = captured.metadata.capture
    log = captured.log()
    answer = capture.message or json.dumps(contents.outputs(log), ensure_ascii=False)
    shadow = captured.shadow
    version = "-" if captured.version is None else str(captured.version)
    count = contents.rows(log)
    cells = (
        moment_text(captured.started)[:23],
        capture.request_id,
        version if shadow is None else f"{version} (shadow)",
        f"{capture.api} {captured.entrypoint}",
        captured.metadata.model_spec.signature_name or "-",
        "-" if count is None else str(count),
        f"{capture.seconds * 1000:.1f}",
        captured.code.name,
        capture.caller_key or "-",
        answer if len(answer) <= _ANSWER_WIDTH else answer[: _ANSWER_WIDTH - 1] + "…",
    )
    # Callers choose some of these texts: none of them may steer a terminal.
    return tuple("".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in cell) for cell in cells)
