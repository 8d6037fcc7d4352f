"""From a row of the data to the spans, splits, runs and versions that it was in."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components.span_example_gen.ingest import IngestRequest, ingest
from components.span_example_gen.store import SpanStore
from data.exclusion_formats import exclusion_file
from data.window import resolve_window
from pipeline.excluded import count_excluded, recorded
from pipeline.record import RunRecord, save
from pipeline.trace.row_match import conditions_of
from pipeline.trace.row_search import find_rows
from schema.errors import UsageError
from schema.ingest import ExamplesConfig, Label
from tests.pipeline.trace.conftest import RELEASED, Home, run_id

CONFIG: dict[str, Any] = {"input": "t.csv", "span_by": {"column": "t", "period": "quarter", "unit": "iso8601"}}
TABLE = "t,who,x,y\n" + "".join(f"2013-{1 + n % 9:02d}-{1 + n % 28:02d},p{n},{n},{n % 2}\n" for n in range(90))


class Ingests:
    """Runs of a line that only ingest."""

    def __init__(self, home: Home, folder: Path) -> None:
        self.home = home
        self.folder = folder

    def __call__(self, number: int, table: str | None = None, exclude: str | None = None, **config: Any) -> RunRecord:
        if table is not None:
            (self.folder / "t.csv").write_text(table)
        examples = ExamplesConfig(**{**CONFIG, **config})
        file = None
        if exclude is not None:
            (self.folder / f"out-{number}.csv").write_text(exclude)
            file = exclusion_file(self.folder / f"out-{number}.csv", ("",))
        window = resolve_window(examples, self.folder)
        result = ingest(
            IngestRequest(
                window=window,
                examples=examples,
                label=Label(name="big", expression="x > 40"),
                column_types={},
                code_digest="code",
                state_dir=str(self.home.state.root),
                exclusions=file,
            ),
            lambda function, jobs, _: [function(job) for job in jobs] and None,
        )
        run = RunRecord(
            run_id=run_id(number),
            line="cabs",
            started="2026-01-01T00:00:00+00:00",
            base_dir=str(self.folder),
            config={"examples": examples.model_dump(mode="json"), "label": {"name": "big", "expression": "x > 40"}},
            window=json.loads(window.to_json()),
            verdict={"outcome": "pushed", "version": number},
            exclusions=recorded(file),
        )
        run.node("SpanExampleGen").outputs["examples"] = [
            {
                "uri": str(SpanStore(self.home.state.root).entry(sidecar["ingest_key"])),
                "properties": {
                    "span": sidecar["span"],
                    "ingest_key": sidecar["ingest_key"],
                    **(
                        {"excluded_rows": sidecar["excluded_rows"], "unmatched_exclusions": result.unmatched}
                        if file
                        else {}
                    ),
                },
            }
            for sidecar in result.sidecars
        ]
        count_excluded(run)
        save(self.home.state, run)
        return run


@pytest.fixture
def run(home: Home, tmp_path: Path) -> Ingests:
    folder = tmp_path / "line"
    folder.mkdir()
    return Ingests(home, folder)


@pytest.fixture
def search(home: Home) -> Callable[..., dict[str, Any]]:
    def find(*row: str, run: str | None = None) -> dict[str, Any]:
        return find_rows(home.state, conditions_of(row), run)

    return find


def fates(document: dict[str, Any]) -> dict[str, list[tuple[Any, ...]]]:
    return {
        one["run_id"]: [(s["label"], s["state"], sum(s["splits"].values()), s["read"]) for s in one["spans"]]
        for one in document["runs"]
    }


def test_a_row_and_a_run_without_it(run: Ingests, search: Any, home: Home) -> None:
    home.event("pushed", 1, RELEASED)
    run(1, TABLE)
    excluded = run(2, exclude="who,x\np17,17.0\nnobody,1\n")
    assert excluded.exclusions is not None
    assert (excluded.exclusions["excluded_rows"], excluded.exclusions["unmatched"]) == (1, 1)
    document = search("who=p17")
    (row,) = document["rows"]
    assert (row["label"], row["line"], row["read"], len(row["record"])) == ("2013Q3", 19, "source", 64)
    assert fates(document) == {
        run_id(1): [("2013Q3", "in", 1, "examples")],
        run_id(2): [("2013Q3", "excluded", 0, "examples")],
    }
    assert document["runs"][0]["versions"] == [1] and document["changed"] == []
    assert fates(search("x=17.0", "who=p17", run=run_id(2))) == {run_id(2): [("2013Q3", "excluded", 0, "examples")]}
    assert search("who=p17", "x=18")["rows"] == []


def test_the_record_is_the_same_from_source_and_from_examples(run: Ingests, search: Any) -> None:
    run(1, TABLE)
    (before,) = search("who=p17")["rows"]
    (run.folder / "t.csv").write_text("t,who,x,y\n2013-01-01,a,1,1\n")
    document = search("who=p17")
    (after,) = document["rows"]
    assert (before["read"], after["read"]) == ("source", "examples")
    assert before["record"] == after["record"]
    assert [(one["label"], one["files"]) for one in document["changed"]] == [
        (label, [str(run.folder / "t.csv")]) for label in ("2013Q1", "2013Q2", "2013Q3")
    ]


def test_artifacts_that_are_gone_are_worked_out(run: Ingests, search: Any, home: Home) -> None:
    run(1, TABLE)
    run(2, exclude="who\np17\n")
    run(3, exclude="who\np18\n")
    split = search("who=p17")["runs"][0]["spans"][0]["splits"]
    shutil.rmtree(home.state.root / "spans")
    document = search("who=p17")
    assert document["runs"][0]["spans"][0]["splits"] == split
    assert fates(document) == {
        run_id(1): [("2013Q3", "in", 1, "source")],
        run_id(2): [("2013Q3", "excluded", 0, "source")],
        run_id(3): [("2013Q3", "in", 1, "source")],
    }
    (run.folder / "out-2.csv").write_text("who\nx\n")
    assert fates(search("who=p17"))[run_id(2)] == [("2013Q3", "unknown", 0, "source")]
    (run.folder / "t.csv").unlink()
    assert {state for _, state, *_ in fates(search("who=p17"))[run_id(1)]} == {"unknown"}


def test_a_run_that_never_took_in_the_data(run: Ingests, search: Any, home: Home) -> None:
    record = run(1, TABLE)
    record.node("SpanExampleGen").outputs = {}
    save(home.state, record)
    assert fates(search("who=p17")) == {run_id(1): [("2013Q3", "not ingested", 0, "nothing")]}


def test_a_table_that_has_grown_still_has_the_span(run: Ingests, search: Any) -> None:
    run(1, TABLE)
    run(2, TABLE + "2013-11-01,late,5,1\n")
    document = search("who=p17")
    assert document["changed"] == [] and [row["read"] for row in document["rows"]] == ["source"]
    assert fates(search("who=late")) == {run_id(1): [], run_id(2): [("2013Q4", "in", 1, "examples")]}


def test_files_a_span(run: Ingests, search: Any) -> None:
    for number in (1, 2):
        (run.folder / f"s-{number}.csv").write_text(f"t,who,x,y\n1,p{number},{number},1\n1,q,,0\n")
    run(1, input="s-{SPAN}.csv", span_by=None)
    document = search("who=q", "x=")
    assert [(row["label"], row["line"]) for row in document["rows"]] == [("1", 3), ("2", 3)]
    assert {state for _, state, *_ in fates(document)[run_id(1)]} == {"not in"}
    assert fates(search("who=p2")) == {run_id(1): [("2", "in", 1, "examples")]}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("who",), "KEY=VALUE"),
        (("=1",), "KEY=VALUE"),
        (("who=1", "who=2"), "a column twice"),
        (("who=",), "a value in at least one column"),
        (("who=\udcff",), "UTF-8 text"),
        (("hwo=p1",), "'hwo' instead. Did you mean 'who'"),
    ],
)
def test_wrong_rows(run: Ingests, search: Any, row: tuple[str, ...], message: str) -> None:
    run(1, TABLE)
    with pytest.raises(UsageError, match=message):
        search(*row)


def test_no_runs(search: Any) -> None:
    with pytest.raises(UsageError, match="must have runs with spans"):
        search("who=1")


def test_long_ids_that_stand_side_by_side_are_two(run: Ingests, search: Any) -> None:
    """As floats they are one number, and so have one place among the splits."""
    run(1, "t,id,x\n2013-01-01,1700000000000000001,1\n2013-01-02,1700000000000000002,50\n")
    for number, line in ((1, 1), (2, 2), (3, None)):
        found = search(f"id=170000000000000000{number}")
        assert [row["line"] - 1 for row in found["rows"]] == ([] if line is None else [line])
        assert sum(map(len, fates(found).values())) == (0 if line is None else 1)


def test_outside_of_the_sample_is_not_excluded(run: Ingests, search: Any) -> None:
    run(1, TABLE)
    made = run(2, exclude="who\n" + "".join(f"p{number}\n" for number in range(18)), sample=0.5)
    assert all(one["properties"]["excluded_rows"] for one in made.node("SpanExampleGen").outputs["examples"])
    fate = {
        number: fates(search(f"who=p{number}", run=run_id(2)))[run_id(2)][0][1] for number in (3, 9, *range(18, 26))
    }
    assert {fate.pop(3), fate.pop(9)} == {"excluded"}
    assert set(fate.values()) == {"in", "not in"}
