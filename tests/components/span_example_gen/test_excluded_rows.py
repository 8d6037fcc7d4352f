"""Rows that are left out of an ingest on request."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from components.span_example_gen.store import SpanStore
from data.records import read_records
from schema.errors import ConfigError, SpanError
from tests.components.span_example_gen.test_ingest import QUARTERS, SPLITS, TABLE, Runs, run  # noqa: F401


def exclude(runs: Runs, text: str) -> Path:
    path = runs.root / "out.csv"
    path.write_text(text)
    return path


def records(runs: Runs, key: str) -> dict[str, set[bytes]]:
    entry = SpanStore(runs.state).entry(key)
    return {name: {r for f in (entry / f"Split-{name}").iterdir() for r in read_records(f)} for name in SPLITS}


def test_rows_are_left_out_and_all_others_stay_where_they_are(run: Runs) -> None:  # noqa: F811
    (before,) = run(TABLE)
    (after,) = run(exclude_rows=exclude(run, "x\n3\n17.0\n1000\n"))
    assert sorted(row["x"] for row in run.rows(after)) == sorted({*range(90)} - {3, 17})
    assert (after["excluded_rows"], before["excluded_rows"], run.unmatched) == (2, 0, 1)
    was, now = records(run, before["ingest_key"]), records(run, after["ingest_key"])
    assert all(now[split] <= was[split] for split in SPLITS)
    assert sum(len(was[split] - now[split]) for split in SPLITS) == 2


def test_only_spans_with_such_rows_are_made_anew(run: Runs) -> None:  # noqa: F811
    first = run(TABLE, **QUARTERS)
    quarter_of = {row["x"]: side["label"] for side in first for row in run.rows(side)}
    second = run(exclude_rows=exclude(run, "x\n0\n"), **QUARTERS)
    assert run.jobs == ["stage", "match_span", "match_span", "match_span", "encode_span"]
    changed = [new["label"] for old, new in zip(first, second, strict=True) if old != new]
    assert changed == [quarter_of[0]]
    assert run(exclude_rows=exclude(run, "x\n0\n0\n"), **QUARTERS) == second
    assert run.jobs == [] and run.unmatched == 0
    # Another condition that is met nowhere: looked for, and nothing is made anew.
    assert run(exclude_rows=exclude(run, "x\n0\n999\n"), **QUARTERS) == second
    assert run.jobs == ["stage", "match_span", "match_span", "match_span"] and run.unmatched == 1
    assert run(**QUARTERS) == first


def test_nothing_of_them_is_kept(run: Runs) -> None:  # noqa: F811
    table = "id,n,y\n" + "".join(f"p{number},{number},1\n" for number in range(40)) + "Ada,bad,1\nGrace,,0\n"
    (side,) = run(table, types={"n": "INT"}, exclude_rows=exclude(run, "id\nAda\nGrace\n"))
    assert (side["bad_rows"], side["excluded_rows"], side["quarantine"]) == (0, 2, None)
    kept = [path for path in run.state.rglob("*") if path.is_file()]
    texts = [b"".join(read_records(path)) if path.suffix == ".gz" else path.read_bytes() for path in kept]
    assert kept and not any(name in text for text in texts for name in (b"Ada", b"Grace"))
    assert "empty_columns" in json.loads((SpanStore(run.state).entry(side["ingest_key"]) / "span.json").read_text())


def test_a_whole_span_and_a_whole_window(run: Runs) -> None:  # noqa: F811
    table = "t,x,y\n2013-01-02,1,1\n2013-04-02,2,0\n2013-04-03,2,0\n"
    sides = run(table, exclude_rows=exclude(run, "x\n2\n"), **QUARTERS)
    assert [sum(side["rows"].values()) for side in sides] == [1, 0]
    with pytest.raises(SpanError, match="at least one row with a label"):
        run(exclude_rows=exclude(run, "x\n1\n2\n"), **QUARTERS)


def test_an_unknown_column(run: Runs) -> None:  # noqa: F811
    with pytest.raises(ConfigError, match="'xx' instead") as error:
        run(TABLE, exclude_rows=exclude(run, "xx\n1\n"))
    assert error.value.exit_code == 2
