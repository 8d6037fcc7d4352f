"""The ingest of a window, without TFX and Beam."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.span_example_gen import staging
from components.span_example_gen.ingest import IngestRequest, ingest
from components.span_example_gen.store import SpanStore
from data.exclusion_formats import exclusion_file
from data.quarantine import read_quarantine
from data.records import read_records
from data.window import resolve_window
from schema.errors import ConfigError, DataRejected, SpanError
from schema.ingest import ExamplesConfig, Label

SPLITS = ("train", "validation", "eval")


class Runs:
    """Ingests into one state folder and remembers which jobs ran."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.state = root / "state"
        self.jobs: list[str] = []
        self.unmatched = 0

    def __call__(
        self,
        text: str | bytes | None = None,
        *,
        label: dict[str, Any] | None = None,
        types: dict[str, str] | None = None,
        selection: str = "all",
        exclude_rows: Path | None = None,
        **examples: Any,
    ) -> list[dict[str, Any]]:
        if text is not None:
            (self.root / "t.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
        config = ExamplesConfig(**{"input": "t.csv", "max_bad_rows": 0.5, **examples})
        request = IngestRequest(
            window=resolve_window(config, self.root, selection),
            examples=config,
            label=Label(**(label or {"name": "y"})),
            column_types=types or {},
            code_digest="code",
            state_dir=str(self.state),
            exclusions=exclusion_file(exclude_rows, config.missing_values) if exclude_rows else None,
        )
        self.jobs = []
        result = ingest(request, self._run_all)
        self.unmatched = result.unmatched
        return result.sidecars

    def _run_all(self, function: Callable[[Any], Any], jobs: Sequence[Any], input_bytes: int) -> None:
        for job in jobs:
            self.jobs.append(function.__name__)
            function(job)

    def rows(self, sidecar: dict[str, Any], split: str | None = None) -> list[dict[str, Any]]:
        """Returns a span's records as dicts."""
        from tensorflow.core.example import example_pb2

        found = []
        for name in [split] if split else SPLITS:
            folder = self.state / "spans" / sidecar["ingest_key"] / f"Split-{name}"
            for path in sorted(folder.iterdir()):
                for record in read_records(path):
                    features = example_pb2.Example.FromString(record).features.feature
                    row = {}
                    for key, feature in features.items():
                        (row[key],) = getattr(feature, feature.WhichOneof("kind")).value
                    found.append(row)
        return found


@pytest.fixture
def run(tmp_path: Path) -> Runs:
    return Runs(tmp_path)


QUARTERS = {"span_by": {"column": "t", "period": "quarter", "unit": "iso8601"}}
TABLE = "t,x,y\n" + "".join(f"2013-{1 + n % 9:02d}-{1 + n % 28:02d},{n},{n % 2}\n" for n in range(90))


def test_types_missing_values_and_sidecar(run: Runs) -> None:
    (side,) = run("n,f,s,e,y\n1,1,a,,0\n,2.5,,,1\n3,,b,,0\n")
    rows = sorted(run.rows(side), key=lambda row: row.get("n", 2))
    assert rows == [
        {"n": 1, "f": 1.0, "s": b"a", "y": 0},
        {"f": 2.5, "y": 1},
        {"n": 3, "s": b"b", "y": 0},
    ]
    assert side["columns"] == {"n": "INT", "f": "FLOAT", "s": "BYTES", "e": "BYTES", "y": "INT"}
    assert side["empty_columns"] == ["e"]
    assert sum(side["rows"].values()) == 3 and set(side["rows"]) == set(SPLITS)
    assert (side["span"], side["version"], side["label"], side["bad_rows"], side["quarantine"]) == (0, 0, "0", 0, None)
    assert json.loads((run.state / "spans" / side["ingest_key"] / "span.json").read_text()) == side


def test_a_table_is_read_once_and_unchanged_spans_not_at_all(run: Runs) -> None:
    first = run(TABLE, **QUARTERS)
    assert [side["label"] for side in first] == ["2013Q1", "2013Q2", "2013Q3"]
    assert run.jobs == ["stage", "encode_span", "encode_span", "encode_span"]
    assert sum(sum(side["rows"].values()) for side in first) == 90
    assert run(TABLE, **QUARTERS) == first
    assert run.jobs == []
    more = run(TABLE + "2013-10-01,5,1\n", **QUARTERS)
    assert run.jobs == ["stage", "encode_span"]
    assert more[:3] == first and more[3]["label"] == "2013Q4"
    # Another label needs the rows again, and one pass is enough for that.
    run(TABLE, label={"name": "big", "expression": "x > 3"}, **QUARTERS)
    assert run.jobs == ["stage", "encode_span", "encode_span", "encode_span"]
    # What no record depends on makes nothing new.
    assert run(TABLE, label={"name": "y", "classes": ["0", "1"]}, max_bad_rows=0.4, window=3, **QUARTERS) == first
    assert run.jobs == []


def test_each_row_is_in_one_split_and_in_file_order(run: Runs) -> None:
    (side,) = run("x,y\n" + "".join(f"{n},1\n" for n in range(200)))
    per_split = [[row["x"] for row in run.rows(side, split)] for split in SPLITS]
    assert sorted(sum(per_split, [])) == list(range(200))
    assert all(part == sorted(part) and part for part in per_split)


def test_a_new_span_moves_no_row(run: Runs) -> None:
    first = run(TABLE, **QUARTERS)
    before = [[run.rows(side, split) for split in SPLITS] for side in first]
    # The new span makes x a column of floats, so that all spans are written anew, in other types.
    after = run(TABLE + "2013-10-01,0.5,1\n", **QUARTERS)
    assert after[0]["columns"]["x"] == "FLOAT" and after[0]["ingest_key"] != first[0]["ingest_key"]
    assert [[run.rows(side, split) for split in SPLITS] for side in after[:3]] == before


def test_split_by_keys(run: Runs) -> None:
    (side,) = run("k,x,y\n" + "".join(f"{n % 20},{n},1\n" for n in range(200)), split_by=["k"])
    keys = [{row["k"] for row in run.rows(side, split)} for split in SPLITS]
    assert sum(map(len, keys)) == 20
    with pytest.raises(ConfigError, match="examples.split_by .* Got 'kk'"):
        run(split_by=["kk"])


def test_bad_rows_are_quarantined_with_line_and_reason(run: Runs) -> None:
    good = "".join(f"{n},{n}.5,0\n" for n in range(150))
    (side,) = run(b"n,f,y\n" + good.encode() + b"1,x,0\n2\n3,1e999,0\n\xff,1,0\n", max_bad_rows=0.05)
    assert side["bad_rows"] == 4 and sum(side["rows"].values()) == 150
    path = run.state / side["quarantine"]
    assert path.name == f"span-0-{side['fingerprint'][:12]}.jsonl"
    found = [(row.line, row.column, row.value) for row in read_quarantine(path)]
    assert found == [(152, "f", "x"), (153, None, None), (154, "f", "1e999"), (155, "n", "\\xff")]
    assert all(row.file == str(run.root / "t.csv") and row.reason for row in read_quarantine(path))
    assert read_quarantine(path)[0].raw == "1,x,0"
    # The file is put back when somebody has removed it, though the span is in the store.
    path.unlink()
    run(max_bad_rows=0.05)
    assert run.jobs == [] and path.is_file()


def test_too_many_bad_rows_reject_the_data_every_time(run: Runs) -> None:
    text = "x,y\n" + "1,0\n" * 97 + "oops\n" * 3
    for _ in range(2):
        with pytest.raises(DataRejected, match=r"span 0 .*\n?.*3 of 100 rows \(3.00%\)") as caught:
            run(text, max_bad_rows=0.02)
        assert "t.csv:99" in str(caught.value)
    assert len(list((run.state / "quarantine").iterdir())) == 1
    assert run(text, max_bad_rows=0.03)[0]["bad_rows"] == 3


def test_the_share_of_bad_rows_is_that_of_the_whole_span_with_a_sample_too(run: Runs) -> None:
    text = "x,y\n" + "".join(f"{number},0\n" for number in range(97)) + "oops\n" * 3
    (side,) = run(text, max_bad_rows=0.03, sample=0.5)
    assert 0 < side["unsampled_rows"] == 97 - sum(side["rows"].values())
    with pytest.raises(DataRejected, match=r"3 of 100 rows \(3.00%\)"):
        run(text, max_bad_rows=0.02, sample=0.5)
    with pytest.raises(SpanError, match="0 rows have no label, 0 are excluded, 97 are outside of the sample"):
        run(text, max_bad_rows=0.5, sample=1e-9)


def test_an_integer_column_with_fractions_in_one_span(run: Runs) -> None:
    text = "t,x,y\n2013-01-01,1,0\n2013-01-02,2.0,1\n2013-04-01,1.5,0\n2013-04-02,2,1\n"
    first, second = run(text, types={"x": "INT"}, **QUARTERS)
    assert first["columns"]["x"] == "INT" and second["columns"]["x"] == "FLOAT"
    assert sorted(row["x"] for row in run.rows(first)) == [1, 2]
    assert sorted(row["x"] for row in run.rows(second)) == [1.5, 2.0]
    assert first["bad_rows"] == second["bad_rows"] == 0


def test_integer_in_one_span_and_float_in_the_next_without_a_schema(run: Runs) -> None:
    for name, value in (("1", "3"), ("2", "2.5")):
        (run.root / f"s-{name}.csv").write_text(f"x,y\n{value},0\n")
    sides = run(input="s-{SPAN}.csv")
    assert [side["columns"]["x"] for side in sides] == ["FLOAT", "FLOAT"]


def test_spans_with_other_columns_empty_files_and_headers_alone(run: Runs) -> None:
    files = {1: "x,y\n1,0\n", 2: "y,new,x\n1,a,2\n", 3: "", 4: "x,y\n", 5: "\ufeffx , y\r\n,1\r\n", 6: "y\n1\n"}
    for number, text in files.items():
        (run.root / f"s-{number}.csv").write_bytes(text.encode())
    sides = run(input="s-{SPAN}.csv")
    assert [sum(side["rows"].values()) for side in sides] == [1, 1, 0, 0, 1, 1]
    assert [sorted(side["columns"]) for side in sides] == [
        ["x", "y"],
        ["new", "x", "y"],
        [],
        ["x", "y"],
        ["x", "y"],
        ["y"],
    ]
    assert [side["empty_columns"] for side in sides] == [[], [], [], ["x", "y"], ["x"], []]
    assert [run.rows(side) for side in sides][4:] == [[{"y": 1}], [{"y": 1}]]
    for side in sides:
        folder = run.state / "spans" / side["ingest_key"]
        assert all(list((folder / f"Split-{split}").glob("data_tfrecord-*.gz")) for split in SPLITS)


def test_a_label_column_that_a_span_lacks(run: Runs) -> None:
    (run.root / "s-1.csv").write_text("x,y\n1,0\n,\n")
    (run.root / "s-2.csv").write_text("x\n1\n2\n")
    sides = run(input="s-{SPAN}.csv")
    assert [side["unlabelled_rows"] for side in sides] == [1, 2]
    assert [sum(side["rows"].values()) for side in sides] == [1, 0]


def test_derived_labels(run: Runs) -> None:
    (side,) = run("a,b\n3,10\n1,10\n,10\n", label={"name": "big", "expression": "a > 0.2 * b"})
    assert sorted((row["a"], row["big"]) for row in run.rows(side)) == [(1, 0), (3, 1)]
    assert side["unlabelled_rows"] == 1 and side["columns"]["big"] == "INT"


def test_an_expression_over_a_column_that_one_span_lacks(run: Runs) -> None:
    (run.root / "s-1.csv").write_text("a,b\n3,10\n")
    (run.root / "s-2.csv").write_text("a\n3\n")
    sides = run(input="s-{SPAN}.csv", label={"name": "big", "expression": "a > 0.2 * b"})
    assert [side["unlabelled_rows"] for side in sides] == [0, 1]


@pytest.mark.parametrize(
    ("text", "label", "message"),
    [
        ("x,y\n1,0\n", {"name": "yy"}, "label.name .* Got 'yy' instead. Did you mean 'y'"),
        ("x,y\n1,0\n", {"name": "z", "expression": "xx > 1"}, "label.expression .* Got 'xx'"),
        ("x,y\n1,\n", {"name": "y"}, "at least one row with a label"),
        ("x,y\n", {"name": "y"}, "at least one row with a label"),
        ("", {"name": "y"}, "at least one span must have columns"),
        ("x,x\n1,2\n", {"name": "x"}, "must be unique"),
    ],
)
def test_configs_and_data_that_do_not_fit(run: Runs, text: str, label: dict, message: str) -> None:
    with pytest.raises((ConfigError, SpanError), match=message):
        run(text, label=label)
    assert not [path for path in (run.state / "spans").glob(".*")]


def test_a_file_that_changes_during_the_run(run: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    (run.root / "t.csv").write_text("x,y\n1,0\n")
    window = resolve_window(ExamplesConfig(input="t.csv"), run.root)
    monkeypatch.setattr(sys.modules[__name__], "resolve_window", lambda *_: window)
    with pytest.raises(SpanError, match="must not change while a run reads it"):
        run("x,y\n1,1\n")


def test_formats_agree(run: Runs) -> None:
    """The same rows from CSV and Parquet are in the same splits, with the same bytes."""
    from tensorflow.core.example import example_pb2

    rows = [(n, n / 8, f"s{n % 7}", n % 2) for n in range(100)]
    (side,) = run("a,b,c,y\n" + "".join(f"{a},{b},{c},{y}\n" for a, b, c, y in rows))
    csv_rows = [run.rows(side, split) for split in SPLITS]
    a, b, c, y = zip(*rows, strict=True)
    pq.write_table(pa.table({"a": a, "b": b, "c": c, "y": y}), run.root / "t.parquet")
    (parquet,) = run(input="t.parquet")
    assert [run.rows(parquet, split) for split in SPLITS] == csv_rows
    # The records written for one line are an input for another.
    entry = run.state / "spans" / side["ingest_key"]
    for split in SPLITS:
        (file,) = (entry / f"Split-{split}").iterdir()
        (run.root / f"in-{split}.tfrecord.gz").write_bytes(file.read_bytes())
    (again,) = run(input="in-*.tfrecord.gz")
    ordered = [sorted(run.rows(again, split), key=lambda row: row["a"]) for split in SPLITS]
    assert ordered == csv_rows
    assert example_pb2.Example  # the rows above were parsed by TensorFlow's own proto


def test_cut_parquet_table(run: Runs) -> None:
    import datetime

    days = [datetime.datetime(2013, 1 + n % 9, 1) for n in range(30)]
    pq.write_table(pa.table({"t": days, "y": [n % 2 for n in range(30)]}), run.root / "t.parquet")
    sides = run(input="t.parquet", **QUARTERS)
    assert [side["label"] for side in sides] == ["2013Q1", "2013Q2", "2013Q3"]
    assert sum(sum(side["rows"].values()) for side in sides) == 30


def test_many_small_runs_and_shards_change_no_byte(run: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run(TABLE, **QUARTERS)
    monkeypatch.setattr(staging, "RUN_BYTES", 1)
    monkeypatch.setattr(staging, "BATCH_ROWS", 3)
    monkeypatch.setattr("data.csv_table.CsvTable.__init__.__defaults__", (("",), 64))
    other = Runs(run.root / "other")
    other.root.mkdir()
    assert other(TABLE, **QUARTERS) == whole
    for side in whole:
        for split in SPLITS:
            name = f"spans/{side['ingest_key']}/Split-{split}/data_tfrecord-00000-of-00001.gz"
            ours, theirs = (list(read_records(root.state / name)) for root in (run, other))
            assert ours == theirs


SCRIPT = """
import json, sys
from pathlib import Path
from components.span_example_gen.ingest import IngestRequest, ingest
from data.window import resolve_window
from schema.ingest import ExamplesConfig, Label
root = Path(sys.argv[1])
config = ExamplesConfig(input="t.csv", span_by={"column": "t", "period": "quarter", "unit": "iso8601"})
request = IngestRequest(window=resolve_window(config, root), examples=config, label=Label(name="y"), column_types={},
                        code_digest="code", state_dir=str(root / "state"))
def run_all(function, jobs, size):
    for job in jobs:
        print(function.__name__, flush=True)
        function(job)
ingest(request, run_all)
"""


def tree(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_two_runs_in_two_folders_are_byte_identical(tmp_path: Path) -> None:
    trees = []
    for name, seed in (("one", "1"), ("two", "27")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "t.csv").write_text(TABLE + "oops\n" * 0)
        subprocess.run(
            [sys.executable, "-c", SCRIPT, str(tmp_path / name)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
        )
        trees.append(tree(tmp_path / name / "state"))
        time.sleep(1.1)  # A time of day in a header counts seconds.
    assert trees[0] == trees[1]
    assert sum(name.endswith(".gz") for name in trees[0]) == 9


@pytest.mark.parametrize("after", [1, 2, 3])
def test_a_killed_ingest_is_finished_by_the_next_one(tmp_path: Path, after: int) -> None:
    text = "t,x,y\n" + "".join(f"2013-{1 + n % 9:02d}-01,{n},{n % 2}\n" for n in range(60_000))
    (tmp_path / "t.csv").write_text(text)
    child = subprocess.Popen([sys.executable, "-c", SCRIPT, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    for _ in range(after):
        child.stdout.readline()
    child.send_signal(signal.SIGKILL)
    child.wait()
    run = Runs(tmp_path)
    sides = run(**QUARTERS)
    assert sum(sum(side["rows"].values()) for side in sides) == 60_000
    assert sum(len(run.rows(side)) for side in sides) == 60_000
    assert not [path for path in (run.state / "spans").iterdir() if path.name.startswith(".")]


def test_the_second_writer_of_an_entry_gives_way(tmp_path: Path) -> None:
    store = SpanStore(tmp_path)
    with store.writing("key") as first:
        (first / "span.json").write_text('{"by": 1}')
        with store.writing("key") as second:
            (second / "span.json").write_text('{"by": 2}')
    assert store.sidecar("key") == {"by": 2}
    with pytest.raises(RuntimeError), store.writing("other") as broken:
        (broken / "span.json").write_text("{}")
        raise RuntimeError
    assert store.sidecar("other") is None
    assert [path.name for path in store.root.iterdir()] == ["key"]
