"""Rows to leave out: files of them, and which rows they are."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.exclusion_formats import exclusion_file, read_exclusions
from data.exclusions import Exclusions, check_columns
from schema.errors import ConfigError, SpanError

TYPES: dict[str, Any] = {"n": "INT", "f": "FLOAT", "s": "BYTES"}
TABLE = pa.table({"n": ["1", "2", None, "4"], "f": ["1", "2.5", "0", None], "s": ["1", "x", "1.0", None]})


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def found(path: Path, table: pa.Table = TABLE, types: dict[str, Any] | None = None) -> list[int]:
    finder = read_exclusions(path, ("",)).finder(TYPES if types is None else types)
    return [row for row, condition in enumerate(finder.find(table).tolist()) if condition >= 0]


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("f\n1.0\n", [0]),
        ("f\n1e0\n-0\n", [0, 2]),
        ("n\n2.0\n", [1]),
        ("n\n2.5\nx\n99999999999999999999\n", []),
        ("n\n2.5\n4\n", [3]),
        ("s\n1\n", [0]),
        ("s\n1.0\n", [2]),
        ("s\nX\n", []),
        ("n,s\n1,1\n2,1\n", [0]),
        ("n,s\n,1.0\n", [2]),
        ("f,n\n,4\n", [3]),
        ("f\nnan\n", []),
        ("n,f\n2.5,\n", []),
    ],
)
def test_values_compare_as_the_columns_type(tmp_path: Path, text: str, rows: list[int]) -> None:
    assert found(write(tmp_path, "out.csv", text)) == rows


def test_a_column_that_a_span_lacks_is_missing_in_it(tmp_path: Path) -> None:
    path = write(tmp_path, "out.csv", "n,g\n1,\n2,5\n")
    assert found(path) == [0]


def test_all_formats_say_the_same(tmp_path: Path) -> None:
    files = [
        write(tmp_path, "a.csv", "n,s\n2,x\n1,1\n2,x\n"),
        write(tmp_path, "b.jsonl", '{"s": "1", "n": 1}\n\n{"n": 2, "s": "x"}\n'),
        tmp_path / "c.parquet",
    ]
    pq.write_table(pa.table({"s": ["x", "1"], "n": [2, 1]}), files[2])
    read = [read_exclusions(path, ("",)) for path in files]
    assert read[0] == read[1] == read[2]
    assert read[0].columns == ("n", "s")
    assert {found(path)[0] for path in files} == {0}


def test_texts_that_are_one_number_are_met_together(tmp_path: Path) -> None:
    exclusions = read_exclusions(write(tmp_path, "out.csv", "n,f\n1,1\n1,1.0\n1,\nx,0\n,0\n"), ("",))
    met = exclusions.finder(TYPES).met(TABLE)
    assert {exclusions.conditions[number] for number in met} == {("1", "1"), ("1.0", "1"), ("0", None)}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("out.csv", "n\n", "at least one row"),
        ("out.csv", "", "at least one row"),
        ("out.csv", "n,s\n1,a\n,\n", "row 2: a row to exclude must have at least one value"),
        ("out.csv", "n,s\n1\n", "line 2"),
        ("out.csv", "n,n\n1,2\n", "must be unique"),
        ("out.txt", "n\n1\n", "must end in .csv"),
        ("out.jsonl", "[1]\n", "line 1: a row to exclude must be a JSON object"),
        ("out.jsonl", '{"n": 1}\n{"m": 1}\n', "line 2: every row to exclude must have the columns n. Got m"),
        ("out.jsonl", "[" * 100_000, "line 1: a row to exclude must be a JSON object"),
        ("out.jsonl", '{"n": "\\ud800"}\n', "line 1: a row to exclude must be a JSON object"),
        ("out.parquet", "no", "must be a Parquet file"),
        ("out.jsonl", '{"n": {"secret": 1}}\n', "must be a JSON object of column names and plain values"),
    ],
)
def test_wrong_files(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        exclusion_file(write(tmp_path, name, text), ("",))
    assert "secret" not in str(error.value)


def test_a_file_that_ends_too_early(tmp_path: Path) -> None:
    whole = gzip.compress(b"n\n" + b"".join(b"%d\n" % number for number in range(5000)))
    (tmp_path / "out.csv.gz").write_bytes(whole)
    assert len(read_exclusions(tmp_path / "out.csv.gz", ("",)).conditions) == 5000
    (tmp_path / "out.csv.gz").write_bytes(whole[:-200])
    with pytest.raises(ConfigError, match="out.csv.gz"):
        exclusion_file(tmp_path / "out.csv.gz", ("",))


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is none"):
        exclusion_file(tmp_path / "out.csv", ("",))


def test_an_unknown_column_is_named_with_the_nearest(tmp_path: Path) -> None:
    file = exclusion_file(write(tmp_path, "out.csv", "custmer_id\n1\n"), ("",))
    with pytest.raises(ConfigError, match="'custmer_id' instead. Did you mean 'customer_id'"):
        check_columns(file, ["customer_id", "age"])


def test_a_file_that_changes_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "out.csv", "n\n1\n")
    file = exclusion_file(path, ("",))
    write(tmp_path, "out.csv", "n\n01\n")
    with pytest.raises(SpanError, match="must not change while a run reads it"):
        file.read()
    write(tmp_path, "out.csv", "n\n1\n1\n")
    assert file.read().conditions == (("1",),)


def test_what_is_handed_on_says_nothing_of_the_rows(tmp_path: Path) -> None:
    file = exclusion_file(write(tmp_path, "out.csv", "s\nAda Lovelace\n"), ("",))
    assert "Ada" not in file.canonical() and json.loads(file.canonical())["columns"] == ["s"]


CELLS = st.none() | st.sampled_from(["1", "1.0", "2", "x", "-0", "0"])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=8), st.lists(st.tuples(CELLS, CELLS), max_size=8))
def test_as_a_loop_over_all_pairs_has_it(conditions: list[tuple[Any, Any]], rows: list[tuple[Any, Any]]) -> None:
    wanted = tuple(sorted({c for c in conditions if any(c)}, key=str))
    table = pa.table(
        {"s": pa.array([r[0] for r in rows], pa.string()), "f": pa.array([r[1] for r in rows], pa.string())}
    )
    got = Exclusions(("s", "f"), wanted).finder({"s": "BYTES", "f": "FLOAT"}).find(table)

    def number(text: str | None) -> tuple[float | None, bool]:
        try:
            return (None if text is None else float(text)), True
        except ValueError:
            return None, False

    for row, place in zip(rows, got.tolist(), strict=True):
        typed = [c for c in wanted if number(c[1])[1] and any(v is not None for v in (c[0], number(c[1])[0]))]
        equal = [c for c in typed if number(row[1])[1] and c[0] == row[0] and number(c[1])[0] == number(row[1])[0]]
        assert (place >= 0) == bool(equal)
