from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.rows import canonical_rows
from data.splits import assign_splits, split_names

SPLITS = {"train": 7, "validation": 1, "eval": 2}
CELL = st.one_of(st.none(), st.text(max_size=6), st.integers(-(10**6), 10**6).map(str), st.floats(width=32).map(repr))
ROWS = st.lists(st.tuples(CELL, CELL, CELL), min_size=1, max_size=40)


def columns(rows: list[tuple], names: str = "abc") -> dict[str, pa.Array]:
    return {name: pa.array([row[index] for row in rows], pa.string()) for index, name in enumerate(names)}


@given(ROWS, ROWS, st.randoms(use_true_random=False))
def test_a_row_keeps_its_split_whatever_others_there_are(rows: list[tuple], others: list[tuple], random) -> None:  # noqa: ANN001
    alone = dict(zip(rows, assign_splits(columns(rows), SPLITS, ()).tolist(), strict=True))
    everything = rows + others + rows
    random.shuffle(everything)
    found = assign_splits(columns(everything), SPLITS, ()).tolist()
    for row, split in zip(everything, found, strict=True):
        assert alone.get(row, split) == split


@given(ROWS, st.permutations("abc"))
def test_the_order_of_columns_and_empty_columns_do_not_matter(rows: list[tuple], order: list[str]) -> None:
    plain = columns(rows)
    other = {name: plain[name] for name in order} | {
        "empty": pa.nulls(len(rows), pa.string()),
        "nil": pa.nulls(len(rows)),
    }
    assert (assign_splits(plain, SPLITS, ()) == assign_splits(other, SPLITS, ())).all()


@given(ROWS)
def test_equal_keys_share_a_split(rows: list[tuple]) -> None:
    split = assign_splits(columns(rows), SPLITS, ("b",)).tolist()
    by_key: dict = {}
    for row, where in zip(rows, split, strict=True):
        key = (columns([row])["b"].to_pylist()[0],)
        assert by_key.setdefault(key, where) == where


@given(st.lists(st.one_of(st.none(), st.integers(-(2**31), 2**31)), min_size=1))
def test_types_and_formats_do_not_matter(values: list[int | None]) -> None:
    texts = [None if value is None else str(value) for value in values]
    forms = [
        pa.array(values, pa.int64()),
        pa.array(values, pa.float64()),
        pa.array(texts, pa.string()),
        pa.array([None if text is None else text.encode() for text in texts], pa.binary()),
        pa.array([None if text is None else text + ".0" for text in texts], pa.string()),
        pa.array(["x" if text is None else text for text in texts], pa.string()),
    ]
    wanted = canonical_rows({"a": forms[0]}).to_pylist()
    for form in forms[1:5]:
        assert canonical_rows({"a": form}).to_pylist() == wanted
    # A text elsewhere in the column, which changes the column's type, changes no other row.
    for row, other, value in zip(wanted, canonical_rows({"a": forms[5]}).to_pylist(), values, strict=True):
        assert value is None or row == other


def test_floats_count_as_float32() -> None:
    text, narrow, wide = (
        canonical_rows({"a": pa.array(values, kind)}).to_pylist()
        for values, kind in ((["0.1"], pa.string()), ([0.1], pa.float32()), ([0.1], pa.float64()))
    )
    assert text == narrow == wide
    exact = [
        canonical_rows({"a": pa.array(v)}, exact=True).to_pylist() for v in ([0.1], [np.nextafter(0.1, 1)], [1], [1.0])
    ]
    assert len({row for rows in exact for row in rows}) == 4


@given(st.lists(st.tuples(st.text(max_size=4), st.text(max_size=4)), unique=True, min_size=2))
def test_bytes_cannot_move_from_one_value_to_the_next(pairs: list[tuple[str, str]]) -> None:
    rows = canonical_rows(columns(pairs, "ab"), exact=True).to_pylist()
    assert len(set(rows)) == len(pairs)


def test_shares_and_fixed_values() -> None:
    many = {"a": pa.array([str(n) for n in range(20_000)])}
    counts = np.bincount(assign_splits(many, SPLITS, ()))
    assert np.allclose(counts / 20_000, [0.7, 0.1, 0.2], atol=0.01)
    # These may never change: every line's rows would change their splits.
    assert assign_splits({"a": many["a"].slice(0, 24)}, SPLITS, ()).tolist() == FIXED


FIXED = [0, 0, 0, 0, 0, 0, 1, 0, 0, 2, 2, 0, 1, 2, 2, 0, 0, 2, 0, 2, 2, 2, 0, 0]


def test_hash_seeds_do_not_matter() -> None:
    code = (
        "import pyarrow as pa\nfrom data.splits import assign_splits\n"
        "print(assign_splits({c: pa.array(list('xyzw12')) for c in ('b', 'a')}, "
        "{'eval': 2, 'validation': 1, 'train': 7}, ()).tolist())"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1 and outputs.pop().strip()


def test_split_names() -> None:
    assert split_names({"test": 1, "eval": 1, "train": 1, "validation": 1}) == ["train", "validation", "eval", "test"]


@pytest.mark.parametrize("keys", [(), ("a",), ("zz",)])
def test_no_rows(keys: tuple[str, ...]) -> None:
    assert assign_splits({"a": pa.array([], pa.string())}, SPLITS, keys).tolist() == []


def test_a_sample_is_the_same_rows_each_time_and_has_each_split() -> None:
    rows = pa.array([str(number) for number in range(20_000)])
    whole = assign_splits({"a": rows}, SPLITS, ())
    tenth, half = (assign_splits({"a": rows}, SPLITS, (), share) for share in (0.1, 0.5))
    assert (half[half >= 0] == whole[half >= 0]).all(), "a row of the sample has the split that it has anyway"
    assert (half[tenth >= 0] >= 0).all(), "a larger sample has the smaller one in it"
    for split in np.unique(whole):
        assert abs((half == split).sum() / (whole == split).sum() - 0.5) < 0.03
        assert abs((tenth == split).sum() / (whole == split).sum() - 0.1) < 0.03
    assert (assign_splits({"a": rows}, SPLITS, (), 1.0) == whole).all()
    alone = assign_splits({"a": rows.slice(7, 1)}, SPLITS, (), 0.5)
    assert alone[0] == half[7]


@pytest.mark.parametrize(
    "values", [["x", "y", None, "7", "w"], ["1", "2.5", "", " 3", "x"], [None, "1", "2", "3", "4"]]
)
def test_a_slice_of_a_column_is_split_as_its_rows_are(values: list[str | None]) -> None:
    column = pa.array([value for value in values for _ in range(8)])
    other = pa.array(range(40))
    whole = assign_splits({"a": column, "b": other}, SPLITS, ())
    for start in range(40):
        one = assign_splits({"a": column.slice(start, 1), "b": other.slice(start, 1)}, SPLITS, ())
        assert one.tolist() == [whole[start]]
