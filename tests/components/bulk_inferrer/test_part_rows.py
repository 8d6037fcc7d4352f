"""Parts are consecutive rows of the input, all of them, bad ones in their places."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.bulk_inferrer.part_rows import ERROR, FILE, LINE, Source, SourceFile, cut_parts, read_blocks
from data.fingerprint import file_sha256
from schema.errors import SpanError


def source(*paths: Path) -> Source:
    return Source(
        files=tuple(SourceFile(path=str(p), name=p.name, sha256=file_sha256(p), bytes=1) for p in paths),
        format="csv",
        missing_values=("",),
    )


@given(
    sizes=st.lists(st.integers(0, 9), max_size=6),
    rows_per_part=st.integers(1, 12),
    wanted=st.sets(st.integers(0, 60)),
)
def test_parts_are_consecutive_rows(sizes: list[int], rows_per_part: int, wanted: set[int]) -> None:
    numbers = iter(range(1000))
    blocks = [pa.table({"x": pa.array([next(numbers) for _ in range(size)], pa.int64())}) for size in sizes]
    found = {part: table["x"].to_pylist() for part, table in cut_parts(iter(blocks), rows_per_part, wanted)}
    rows = list(range(sum(sizes)))
    parts = {
        start // rows_per_part: rows[start : start + rows_per_part] for start in range(0, len(rows), rows_per_part)
    }
    assert found == {part: values for part, values in parts.items() if part in wanted}
    assert list(found) == sorted(found)


def test_bad_rows_stay_where_they_stood(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('x,y\n1,2\n1\n"3\n3",4\n5\n\n7,8\n')
    (tmp_path / "b.csv").write_text("y\n9\n")
    tables = list(read_blocks(source(tmp_path / "a.csv", tmp_path / "b.csv"), ("x",)))
    lines = [(row[FILE], row[LINE], row.get("x"), row[ERROR] is None) for table in tables for row in table.to_pylist()]
    assert lines == [
        (0, 2, "1", True),
        (0, 3, None, False),
        (0, 4, "3\n3", True),
        (0, 6, None, False),
        (0, 8, "7", True),
        (1, 2, None, True),
    ]


def test_a_file_that_has_changed(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x\n1\n")
    before = source(tmp_path / "a.csv")
    (tmp_path / "a.csv").write_text("x\n2\n")
    with pytest.raises(SpanError, match="must not change while a batch reads it"):
        list(read_blocks(before, ("x",)))
