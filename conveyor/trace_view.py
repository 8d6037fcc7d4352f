"""A trace as text for people."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from conveyor.output import number
from data.splits import split_names

_CONTENT_WIDTH = 600
_EPOCHS_SHOWN = 12
_NOT_KEPT = "not kept"
_ROWS_SHOWN = 20


def print_trace(screen: Console, document: Mapping[str, Any]) -> None:
    """Prints what `pipeline.trace.documents.trace` returned."""
    for request in document["requests"]:
        _request(screen, request)
    if "span" in document:
        _span(screen, document["span"])
    for version in document["versions"]:
        _version(screen, version)
    for run in document["runs"]:
        _run(screen, run)
    for damage in document["damaged"]:
        screen.print(
            Text(f"{damage['file']} is damaged at byte {damage['offset']}: {damage['reason']}", style="red")
        )  # fmt: skip


def safe(value: Any) -> str:
    """Returns a value as text that cannot steer a terminal: callers choose some of what is shown."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in str(value))


def _heading(screen: Console, text: str) -> None:
    screen.print(Text(f"\n{safe(text)}", style="bold"))


def _facts(screen: Console, pairs: Iterable[tuple[str, Any]]) -> None:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True, style="dim")
    table.add_column(overflow="fold")
    for name, value in pairs:
        table.add_row(f"  {name}", Text(_NOT_KEPT if value is None else safe(value)))
    screen.print(table)


def _request(screen: Console, request: Mapping[str, Any]) -> None:
    shadow = request.get("shadow")
    _heading(screen, f"{'shadow of request' if shadow else 'request'} {request['request_id']}")
    release = request["release"]
    pairs = [
        ("came", f"{request['time']}, {request['seconds'] * 1000:.1f} ms"),
        ("asked", f"{request['api']} {request['method']}, signature {request['signature'] or '-'}"),
        ("caller key", request["caller_key"] or "-"),
        ("inputs", _content(request["inputs"], request.get("request_body"))),
        ("answer", request["code"] + (f": {request['message']}" if request["message"] else "")),
        ("outputs", _content(request["outputs"], request.get("response_body"))),
        ("answered by", "no version" if request["version"] is None else f"version {request['version']}"),
        ("as", "no release of the ledger" if release is None else _standing_text(release)),
    ]
    if release is not None and release["note"]:
        pairs.append(("", release["note"]))
    if shadow:
        pairs.append(("shadow", ", ".join(f"{key} {value}" for key, value in shadow.items())))
    pairs.append(("captured in", request["file"]))
    _facts(screen, pairs)


def _content(value: Mapping[str, Any], body: str | None) -> str:
    text = json.dumps(value, ensure_ascii=False) if value or body is None else body
    return text if len(text) <= _CONTENT_WIDTH else text[: _CONTENT_WIDTH - 1] + "… (--json has all of it)"


def _standing_text(standing: Mapping[str, Any]) -> str:
    share = "" if standing["share"] is None else f" of {standing['share']:.4g} of the requests"
    event = standing["event"]
    reason = f" ({event['reason']})" if event.get("reason") else ""
    ended = standing["ended_by"]
    until = "now" if standing["until"] is None else f"{standing['until'][:23]}, ended by {_event_text(ended)}"
    return f"{standing['role']}{share}, by {_event_text(event)}{reason}, until {until}"


def _event_text(event: Mapping[str, Any]) -> str:
    return f"{event['event']} of version {event['version']} at {event['when'][:23]} by {event['who']}"


def _version(screen: Console, version: Mapping[str, Any]) -> None:
    _heading(screen, f"version {version['version']} ({version['status'] or 'not in the ledger'})")
    pairs = [("model digest", version["model_digest"]), ("run", version["run_id"])]
    pairs += [("was", _standing_text(standing)) for standing in version["standings"]]
    if "answered" in version:
        days = ", ".join(f"{day}: {count:,}" for day, count in version["answered"].items())
        pairs.append(("captured answers", days or "none"))
    _facts(screen, pairs)


def _run(screen: Console, run: Mapping[str, Any]) -> None:
    if "config_digest" not in run:
        _heading(screen, f"run {run['run_id']}: its record is {run['facts']}")
        return
    verdict = run["verdict"] or {}
    _heading(screen, f"run {run['run_id']} ({verdict.get('outcome', 'under way, or killed')})")
    dirty = f" and a diff of SHA-256 {run['git_diff_sha256']}" if run["git_dirty"] else ""
    schema = run["schema"]
    pairs = [
        ("line", run["line"]),
        ("started", f"{run['started']}, {run['seconds']:.1f} s"),
        *(("because", reason["text"]) for reason in verdict.get("reasons", ())),
        ("config digest", run["config_digest"]),
        ("inputs digest", run["inputs_digest"]),
        ("git commit", f"{run['git_commit'] or 'none'}{dirty}"),
        ("lock file", run["lock_sha256"]),
        ("Python", run["python"]),
        ("versions", ", ".join(f"{name} {value}" for name, value in sorted((run["libraries"] or {}).items()))),
        ("schema", f"{schema['used'] or _NOT_KEPT} ({schema['source'] or 'origin unknown'})"),
        ("curated schema", schema["curated"] or "none, or not kept"),
    ]
    if run["exclusions"]:
        pairs.append(("excluded rows", _exclusions_text(run["exclusions"])))
    _facts(screen, pairs)
    _spans(screen, run["spans"])
    _decisions(screen, run["gate"])
    _training(screen, run["tuner"], run["training"])
    if run["facts"] != "kept":
        source = "is read from its artifacts" if run["facts"] == "artifacts" else "is not kept: they are gone"
        screen.print(Text(f"  what this run's artifacts said {source}", style="dim"))


def _exclusions_text(exclusions: Mapping[str, Any]) -> str:
    counts = ""
    if exclusions.get("excluded_rows") is not None:
        counts = f"; {exclusions['excluded_rows']:,} rows, {exclusions['unmatched']:,} conditions matched none"
    return f"digest {exclusions['digest']}, by {', '.join(exclusions['columns'])}, from {exclusions['path']}{counts}"


def _table(*headers: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for header in headers:
        numeric = header in ("rows", "bad", "excluded", "quarantined", "epoch") or "loss" in header
        table.add_column(header, justify="right" if numeric else "left", overflow="fold")
    return table


def _spans(screen: Console, spans: Iterable[Mapping[str, Any]]) -> None:
    table = _table("  span", "fingerprint", "rows", "bad", "excluded", "quarantined", "gate")
    for span in spans:
        table.add_row(f"  {safe(span['label'])}", span["fingerprint"], *_counts(span), span["action"] or "-")
    screen.print(table)


def _counts(span: Mapping[str, Any]) -> tuple[str, ...]:
    splits = span["rows"]
    rows = _NOT_KEPT if splits is None else " ".join(f"{name} {splits[name]:,}" for name in split_names(splits))
    return rows, *(number(span[key]) for key in ("bad_rows", "excluded_rows", "quarantined_rows"))


def _decisions(screen: Console, gate: Mapping[str, Any] | None) -> None:
    if not gate or not gate["decisions"]:
        screen.print(Text(f"  gate: {gate['verdict'] if gate else _NOT_KEPT}"))
        return
    for decision in gate["decisions"]:
        rows = "" if decision["rows"] is None else f", {decision['rows']:,} of {decision['total']:,} rows"
        where = f"span {decision['label']}, {decision['split']}, {decision['feature'] or 'the whole data set'}"
        screen.print(Text(f"  gate: {decision['action']}: {decision['kind']} in {safe(where)}{rows}"))


def _training(screen: Console, tuner: Mapping[str, Any] | None, training: Mapping[str, Any] | None) -> None:
    if tuner is not None:
        values = ", ".join(f"{name} {value}" for name, value in sorted(tuner["hyperparameters"].items()))
        cut = "; the search was cut short by its time limit" if tuner["out_of_time"] else ""
        _facts(screen, [("tuner", f"{tuner['text']}{cut}"), ("chosen", values or "nothing to choose")])
    if training is None:
        return
    trained = training["rows"] or {}
    rows = ", ".join(f"{trained[name]:,} {name}" for name in split_names(trained))
    best = training["best_validation_loss"]
    shown = "-" if best is None else f"{best:.6g}"
    text = f"{rows} rows; best epoch {training['best_epoch']}, validation loss {shown}, ended by {training['stopped']}"
    _facts(screen, [("training", text)])
    history = training["history"] or []
    keys = sorted((key for key in (history[0] if history else ()) if key not in ("epoch", "seconds")), key=_by_loss)
    table = _table("  epoch", *(key.replace("_", " ") for key in keys))
    for figures in history[:_EPOCHS_SHOWN]:
        table.add_row(f"  {figures['epoch']:.0f}", *(f"{figures.get(key, float('nan')):.6g}" for key in keys))
    screen.print(table)
    if len(history) > _EPOCHS_SHOWN:
        screen.print(Text(f"  … {len(history)} epochs (--json has all of them)", style="dim"))


def _by_loss(key: str) -> tuple[bool, str]:
    return "loss" not in key, key


def _span(screen: Console, span: Mapping[str, Any]) -> None:
    _heading(screen, f"span {span['label']} (number {span['span']})")
    if len(span["fingerprints"]) > 1:
        screen.print(Text(f"  delivered with {len(span['fingerprints'])} different contents:", style="yellow"))
    for fingerprint in span["fingerprints"]:
        screen.print(Text(f"  fingerprint {fingerprint}"))
    table = _table("  run", "ended", "fingerprint", "rows", "bad", "excluded", "quarantined", "gate", "version")
    for one in span["appearances"]:
        versions = ", ".join(map(str, one["versions"])) or "-"
        gate = one["gate"] or {}
        decided = f"{gate.get('action', '-')}, {len(gate.get('decisions', ()))} anomalies" if gate else _NOT_KEPT
        ended = one["outcome"] or "-"
        table.add_row(f"  {one['run_id']}", ended, one["fingerprint"][:12], *_counts(one), decided, versions)
    screen.print(table)


def print_rows(screen: Console, document: Mapping[str, Any]) -> None:
    """Prints what `pipeline.trace.row_search.find_rows` returned."""
    wanted = ", ".join(f"{name}={value or ''}" for name, value in document["what"]["value"].items())
    rows = document["rows"]
    _heading(screen, f"{number(len(rows))} {'row' if len(rows) == 1 else 'rows'} with {wanted}")
    if rows:
        table = _table("  span", "fingerprint", "file", "line", "record", "read")
        for row in rows[:_ROWS_SHOWN]:
            identity = row["record"]
            table.add_row(
                f"  {safe(row['label'])}", row["fingerprint"][:12], safe(row["file"]), str(row["line"]), identity,
                "source file" if row["read"] == "source" else "Examples artifact",
            )  # fmt: skip
        screen.print(table)
        if len(rows) > _ROWS_SHOWN:
            screen.print(Text(f"  … and {len(rows) - _ROWS_SHOWN:,} more (--json has all of them)", style="dim"))
    for run in document["runs"]:
        versions = ", ".join(f"version {version}" for version in run["versions"]) or "no version"
        _heading(screen, f"run {run['run_id']} ({run['outcome'] or 'under way, or killed'}, {versions})")
        if not run["spans"]:
            screen.print(Text("  not in this run: no span of it has such a row"))
        for span in run["spans"]:
            screen.print(Text(f"  span {safe(span['label'])}: {_fate(span, run)}"))
    for changed in document["changed"]:
        files = ", ".join(safe(file) for file in changed["files"])
        screen.print(
            Text(
                f"span {safe(changed['label'])} ({changed['fingerprint'][:12]}): its files have changed since, are "
                f"gone, or cannot be read: {files}",
                style="yellow",
            )
        )


def _fate(span: Mapping[str, Any], run: Mapping[str, Any]) -> str:
    read = {
        "examples": "its Examples artifact was read",
        "source": "worked out from the source files, the run's artifacts are gone",
        "nothing": "neither source files nor artifacts are left",
    }[span["read"]]
    if span["state"] == "in":
        counts = ", ".join(f"{count:,} in {split}" for split, count in span["splits"].items())
        gate = f"; {span['kept_out_by_gate']:,} kept out by the gate" if span["kept_out_by_gate"] else ""
        lacking = f"; {span['left_out']:,} more of the source files are not there" if span["left_out"] else ""
        return f"{counts}{gate}{lacking} ({read})"
    if span["state"] == "not ingested":
        return "the run ended before it had taken in the data"
    if span["state"] == "excluded":
        return f"excluded from run {run['run_id']}, digest {run['exclusions']['digest']} ({read})"
    if span["state"] == "not in":
        why = f"{span['left_out']:,} bad, without a label or not in the sample; " if span["left_out"] else ""
        return f"not in run {run['run_id']} ({why}{read})"
    return f"unknown ({read})"
