"""In which spans, splits, runs and versions a row of the data was.

A span's source files are read where they still are what its fingerprint was made of, and the Examples artifacts of
every run where they are still there: what is in them is what the run's model was made with.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from data.columns import nearest
from data.exclusion_formats import read_exclusions
from data.span_cut import combined
from data.splits import assign_splits, split_names
from pipeline.record import RunRecord, find, load_all
from pipeline.state import State
from pipeline.trace.documents import versions_of
from pipeline.trace.row_artifacts import ExampleRows
from pipeline.trace.row_match import Conditions, FoundRow
from pipeline.trace.row_sources import Content, Sources, examples_of, read_sources
from schema.errors import ConveyorError, UsageError
from serving.ledger import Ledger


def find_rows(state: State, conditions: Conditions, run_name: str | None = None) -> dict[str, Any]:
    """Finds the rows that have some values, and where they were.

    Args:
        state: the line's state.
        conditions: the values.
        run_name: look in this run alone: an id, its beginning, or `latest`.

    Returns:
        `what`; `rows`: span, fingerprint, file, line, record and what was read; `runs`: for each run its versions and
        for each span with such a row what became of it (`in`, `excluded`, `not in`, `not ingested` or `unknown`) with
        the number by split; `changed`: spans whose source files are no longer what they were.

    Raises:
        UsageError: the line has no runs, no such run, or no span has such a column.
    """
    runs = load_all(state)
    if run_name is not None:
        runs = [find([state], state.line if run_name == "latest" else run_name)[0]]
    if not any(run.window.get("spans") for run in runs):
        raise UsageError(f"line {state.line!r} must have runs with spans. Got none in {state.runs} instead")
    seen: set[str] = set()
    sources = read_sources(runs, conditions, seen)
    artifacts = ExampleRows(conditions, seen)
    events, _ = Ledger(state.ledger).read()
    reports = [
        {
            "run_id": run.run_id,
            "started": run.started,
            "outcome": (run.verdict or {}).get("outcome"),
            "versions": sorted(versions_of(run, events)),
            "exclusions": run.exclusions,
            "spans": _spans_of(run, sources, artifacts),
        }
        for run in runs
    ]
    for name in conditions.values:
        if seen and name not in seen:
            raise UsageError(f"--row must name columns of the data. Got {name!r} instead. {nearest(name, seen)}")
    return {
        "what": {"kind": "row", "value": dict(conditions.values), "line": state.line},
        "rows": _rows(runs, sources, artifacts),
        "runs": reports,
        "changed": [
            {"span": span, "label": _label(runs, (span, fingerprint)), "fingerprint": fingerprint, "files": files}
            for (span, fingerprint), files in sorted(sources.changed.items())
        ],
    }


def _label(runs: Iterable[RunRecord], content: Content) -> str:
    return next(
        str(span["label"])
        for run in runs
        for span in run.window.get("spans", ())
        if (span["span"], span["fingerprint"]) == content
    )


def _rows(runs: Sequence[RunRecord], sources: Sources, artifacts: ExampleRows) -> list[dict[str, Any]]:
    """Returns every row that was found, of each content of a span once."""
    listed: list[dict[str, Any]] = []
    done: set[Content] = set()
    for run in runs:
        for span in run.window.get("spans", ()):
            content = span["span"], span["fingerprint"]
            if content in done:
                continue
            found: Iterable[FoundRow] = sources.rows.get(content, ())
            read = "source"
            if content not in sources.rows:
                splits = artifacts.of(run, span["span"])
                if splits is None:
                    continue
                found, read = (row for rows in splits.values() for row in rows), "examples"
            done.add(content)
            listed += [
                {
                    "span": span["span"],
                    "label": span["label"],
                    "fingerprint": span["fingerprint"],
                    "file": row.file,
                    "line": row.line,
                    "record": row.record,
                    "read": read,
                }
                for row in found
            ]
    return listed


def _spans_of(run: RunRecord, sources: Sources, artifacts: ExampleRows) -> list[dict[str, Any]]:
    """Returns what became of such rows in a run, for each of its spans that has or had one."""
    reports = []
    for span in run.window.get("spans", ()):
        source = sources.rows.get((span["span"], span["fingerprint"]))
        splits = artifacts.of(run, span["span"])
        if not run.outputs.get("SpanExampleGen", {}).get("examples"):
            report = _report("not ingested", {}, "nothing", 0) if source else None
        elif splits is not None:
            report = _from_artifacts(run, span, splits, source, artifacts)
        else:
            report = _from_source(run, source)
        if report is not None:
            reports.append({"span": span["span"], "label": span["label"], **report})
    return reports


def _from_artifacts(
    run: RunRecord,
    span: Mapping[str, Any],
    splits: Mapping[str, list[FoundRow]],
    source: Sequence[FoundRow] | None,
    artifacts: ExampleRows,
) -> dict[str, Any] | None:
    rows = {split: len(found) for split, found in splits.items() if found}
    left = len(source) - sum(rows.values()) if source is not None else 0
    if not rows and left <= 0:
        return None if source is not None or not run.exclusions else _report("not in", {}, "examples", 0)
    if rows:
        through = artifacts.kept_by_gate(run)
        held = [row for found in splits.values() for row in found if through is not None and row.record not in through]
        report = _report("in", rows, "examples", max(left, 0))
        report["kept_out_by_gate"] = len(held)
        return report
    excluded = run.exclusions is not None and any(
        artifact["properties"].get("excluded_rows")
        for artifact in run.outputs["SpanExampleGen"]["examples"]
        if artifact["properties"].get("span") == span["span"]
    )
    # Other rows of the span may have been left out, and this one be no more than outside of the sample.
    if excluded and source and _left_out(run, source) == 0:
        excluded = False
    return _report("excluded" if excluded else "not in", {}, "examples", left)


def _from_source(run: RunRecord, source: Sequence[FoundRow] | None) -> dict[str, Any] | None:
    """Works out what must have become of rows whose artifacts are gone."""
    if source is None:
        return _report("unknown", {}, "nothing", 0)
    if not source:
        return None
    if run.exclusions is not None:
        left_out = _left_out(run, source)
        if left_out is None:
            return _report("unknown", {}, "source", 0)
        if left_out == len(source):
            return _report("excluded", {}, "source", left_out)
    examples = examples_of(run)
    names = split_names(examples.splits)
    rows: dict[str, int] = {}
    for row in source:
        (place,) = assign_splits(_raw(row.columns), examples.splits, examples.split_by, examples.sample)
        if place >= 0:
            rows[names[place]] = rows.get(names[place], 0) + 1
    left_out = len(source) - sum(rows.values())
    return _report("in" if rows else "not in", rows, "source", left_out)


def _left_out(run: RunRecord, source: Sequence[FoundRow]) -> int | None:
    """Returns how many of the rows a run left out, or None where the file that said so is no longer what it was."""
    assert run.exclusions is not None
    try:
        exclusions = read_exclusions(Path(run.exclusions["path"]), examples_of(run).missing_values)
    except ConveyorError:
        return None
    if exclusions.digest != run.exclusions["digest"]:
        return None
    conditions = [
        Conditions(dict(zip(exclusions.columns, values, strict=True))) for values in exclusions.conditions
    ]  # fmt: skip
    return sum(any(len(one.of(row.columns)) for one in conditions) for row in source)


def _raw(row: pa.Table) -> dict[str, pa.Array]:
    return {name: combined(row.column(name)) for name in row.column_names}


def _report(state: str, splits: Mapping[str, int], read: str, left_out: int) -> dict[str, Any]:
    """Returns what became of rows: state, number by split, what was read, and how many of the source are not there."""
    return {"state": state, "splits": dict(splits), "read": read, "left_out": left_out, "kept_out_by_gate": 0}
