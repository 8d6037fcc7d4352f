"""Values of a column as an array: what fits, what is missing, and what is said of the rest."""

from __future__ import annotations

import decimal
import math
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.client.arrow_values import read_column
from serving.client.rules import ColumnRule
from serving.client.signatures import TensorSpec
from serving.client.values import Column, finish, read_values

LEAST = np.iinfo(np.int64).min
FLOAT = TensorSpec("c", "float32", (None,), np.array([np.nan], np.float32))
INT = TensorSpec("c", "int64", (None,), np.array([LEAST]))
TEXT = TensorSpec("c", "string", (None,), np.array([b""], object))


def read(values: Any, spec: TensorSpec, rule: ColumnRule | None = None) -> Column:
    return finish(read_values(values, spec), spec, rule)


def spec_of(dtype: str) -> TensorSpec:
    return TensorSpec("c", dtype, (None,))


@given(st.lists(st.none() | st.floats(width=32, allow_infinity=False) | st.integers(-(2**100), 2**100) | st.booleans()))
def test_floats(values: list[Any]) -> None:
    column = read(values, FLOAT)
    assert not column.wrong
    expected = np.array([math.nan if value is None else float(value) for value in values], np.float32)
    np.testing.assert_array_equal(column.values, expected)
    assert column.values.dtype == np.float32


@given(st.lists(st.none() | st.integers(LEAST, -LEAST - 1) | st.booleans()))
def test_integers(values: list[Any]) -> None:
    column = read(values, INT)
    assert not column.wrong
    assert column.values.tolist() == [LEAST if value is None else int(value) for value in values]
    assert column.values.dtype == np.int64


@given(st.lists(st.none() | st.text() | st.binary()))
def test_texts(values: list[Any]) -> None:
    column = read(values, TEXT)
    wrong = [i for i, v in enumerate(values) if isinstance(v, str) and any("\ud800" <= c <= "\udfff" for c in v)]
    assert sorted(column.wrong) == wrong
    for position, value in enumerate(values):
        if position not in wrong:
            assert column.values[position] == (value.encode() if isinstance(value, str) else value or b"")


@given(st.lists(st.integers(LEAST, 2**64) | st.floats() | st.none() | st.text(max_size=2) | st.booleans(), min_size=1))
@pytest.mark.parametrize("dtype", ["int64", "int32", "int8", "uint8", "uint32", "uint64", "float32", "float64", "bool"])
def test_whatever_comes_is_right_missing_or_wrong(dtype: str, values: list[Any]) -> None:
    """The slow way, value by value, and the quick way for plain values say the same."""
    spec = spec_of(dtype)
    column = read_values(values, spec)
    for position, value in enumerate(values):
        alone = read_values([value], spec)
        assert (position in column.wrong) == bool(alone.wrong)
        assert column.wrong.get(position) == alone.wrong.get(0)
        assert column.missing[position] == alone.missing[0]
        if position not in column.wrong and not column.missing[position]:
            assert column.values[position] == alone.values[0]
            assert float(column.values[position]) == pytest.approx(float(value), rel=1e-6, abs=1e-30)


@pytest.mark.parametrize("dtype", ["int64", "int32", "int8", "uint8", "uint64", "float32", "float64", "bool"])
@pytest.mark.parametrize("given_as", ["int64", "int8", "uint64", "float64", "float32", "bool"])
def test_arrays_are_read_as_their_values_are(dtype: str, given_as: str) -> None:
    values: Any = [0, 1, -1, 127, 128, 300, 2**31, LEAST, -LEAST - 1, 0.5, math.nan, math.inf, 1e300]
    if given_as == "bool":
        array = np.array([True, False])
    elif "float" in given_as:
        with np.errstate(over="ignore"):
            array = np.array(values, given_as)
    else:
        info = np.iinfo(given_as)
        array = np.array([v for v in values if isinstance(v, int) and info.min <= v <= info.max], given_as)
    as_array, as_values = read_values(array, spec_of(dtype)), read_values(array.tolist(), spec_of(dtype))
    assert as_array.wrong.keys() == as_values.wrong.keys()
    np.testing.assert_array_equal(as_array.missing, as_values.missing)
    fine = [i for i in range(len(array)) if i not in as_array.wrong and not as_array.missing[i]]
    np.testing.assert_array_equal(as_array.values[fine], as_values.values[fine])


@pytest.mark.parametrize("nothing", [None, math.nan, np.float32("nan"), pd.NA, pd.NaT])
@pytest.mark.parametrize("spec", [FLOAT, INT, TEXT], ids=["float", "int", "text"])
def test_kinds_of_nothing(nothing: Any, spec: TensorSpec) -> None:
    column = read([nothing], spec)
    assert not column.wrong
    assert column.missing.tolist() == [True]
    np.testing.assert_array_equal(column.values, spec.default)


@pytest.mark.parametrize(
    ("value", "spec", "sentence"),
    [
        ("12", FLOAT, "a finite number (float32). Got '12' instead; write the number without quotes"),
        ("abc", FLOAT, "a finite number (float32). Got 'abc' instead"),
        (math.inf, FLOAT, "a finite number (float32). Got inf instead"),
        (1e39, FLOAT, "a finite number (float32). Got 1e+39 instead"),
        (10**400, FLOAT, f"a finite number (float32). Got 1{'0' * 78}… instead"),
        ([1], FLOAT, "a finite number (float32). Got [1] instead"),
        (3.5, INT, "an integer (int64). Got 3.5 instead"),
        (2**63, INT, "an integer (int64). Got 9223372036854775808 instead"),
        (float(2**63), INT, "an integer (int64). Got 9.223372036854776e+18 instead"),
        (-1, spec_of("uint8"), "an integer (uint8). Got -1 instead"),
        (2, spec_of("bool"), "true or false. Got 2 instead"),
        (5, TEXT, 'text. Got 5 instead; write "5"'),
        (["a"], TEXT, "text. Got ['a'] instead"),
        ("\ud800", TEXT, "text that UTF-8 can hold. Got '\\ud800' instead"),
        (None, spec_of("float32"), "given: the model fills nothing in. Got nothing instead"),
    ],
)
def test_what_is_said_of_wrong_values(value: Any, spec: TensorSpec, sentence: str) -> None:
    assert read([value], spec).wrong == {0: f"column 'c' must be {sentence}"}


def test_other_kinds_of_numbers() -> None:
    values = [decimal.Decimal("2"), np.int8(3), np.float64(4), np.bool_(True), np.array([5]), np.array(6)]
    assert read(values, INT).values.tolist() == [2, 3, 4, 1, 5, 6]
    assert read(values, FLOAT).values.tolist() == [2.0, 3.0, 4.0, 1.0, 5.0, 6.0]


def test_a_column_of_one_value_a_row_may_be_two_dimensional() -> None:
    spec = TensorSpec("c", "float32", (None, 1), np.array([0.5], np.float32))
    assert read([1.0, None], spec).values.tolist() == [[1.0], [0.5]]
    assert read(np.array([[1.0], [2.0]]), spec).values.tolist() == [[1.0], [2.0]]
    assert read(["a"], TensorSpec("c", "string", (None, 1))).values.tolist() == [[b"a"]]


RULE = ColumnRule("c", "INT", required=True, least=0, most=10)


def test_rules_of_numbers() -> None:
    wrong = read([0, 10, -1, 11, None, "x"], INT, RULE).wrong
    assert wrong == {
        2: "column 'c' must be at least 0 (curated schema). Got -1 instead",
        3: "column 'c' must be at most 10 (curated schema). Got 11 instead",
        4: "column 'c' must be given (curated schema). Got nothing instead",
        5: "column 'c' must be an integer (int64). Got 'x' instead",
    }


def test_rules_of_texts() -> None:
    rule = ColumnRule("c", "BYTES", values=("Cash", "Card"))
    wrong = read(["Cash", "card", "x", "", None, b"\xff"], TEXT, rule).wrong
    assert wrong == {
        1: "column 'c' must be one of Cash, Card (curated schema). Got 'card' instead. Did you mean 'Card'?",
        2: "column 'c' must be one of Cash, Card (curated schema). Got 'x' instead",
        5: "column 'c' must be one of Cash, Card (curated schema). Got '\\\\xff' instead",
    }


CSV_FLOATS = ["1", " 2.5 ", "+3", "1e3", "nan", None, "abc", "inf", "1e300", "-0.5", "3."]


def test_columns_of_a_csv_are_read_as_ingestion_reads_them() -> None:
    column = finish(read_column(pa.array(CSV_FLOATS, pa.string()), FLOAT), FLOAT, None)
    assert sorted(column.wrong) == [6, 7, 8]
    assert column.wrong[6] == "column 'c' must be a finite number (float32). Got 'abc' instead"
    good = [i for i in range(len(CSV_FLOATS)) if i not in column.wrong]
    np.testing.assert_array_equal(column.values[good], np.array([1, 2.5, 3, 1000, np.nan, np.nan, -0.5, 3], np.float32))
    texts = ["1", "3.0", "-0", None, "9007199254740993", "2.5", "x", str(2**63)]
    column = finish(read_column(pa.array(texts, pa.string()), INT), INT, None)
    assert sorted(column.wrong) == [5, 6, 7]
    assert column.wrong[5] == "column 'c' must be an integer (int64). Got '2.5' instead"
    assert column.values[:5].tolist() == [1, 3, 0, LEAST, 9007199254740993]


def test_columns_of_other_files() -> None:
    assert finish(read_column(pa.array([1, None], pa.int64()), TEXT), TEXT, None).values.tolist() == [b"1", b""]
    assert finish(read_column(pa.array([b"a", None], pa.binary()), TEXT), TEXT, None).values.tolist() == [b"a", b""]
    assert finish(read_column(pa.array([3.0, None, 0.5], pa.float64()), INT), INT, None).wrong.keys() == {2}
    assert finish(read_column(pa.nulls(2), INT), INT, None).values.tolist() == [LEAST, LEAST]
    assert read_column(pa.array(["true", "False", "1", "no", None]), spec_of("bool")).values.tolist()[:3] == [
        True,
        False,
        True,
    ]
    assert read_column(pa.array([300, 5], pa.int64()), spec_of("uint8")).wrong.keys() == {0}


@given(st.lists(st.none() | st.integers(LEAST, -LEAST - 1)))
def test_integers_of_a_csv_keep_all_digits(values: list[int | None]) -> None:
    """Also beside a number that is no integer, by which the column becomes one of floats."""
    texts = [None if value is None else str(value) for value in [*values, 0]]
    for more in ([], ["0.5"], ["x"]):
        column = read_column(pa.array([*texts, *more], pa.string()), INT)
        for position, value in enumerate(values):
            assert position not in column.wrong
            assert column.missing[position] == (value is None)
            assert value is None or column.values[position] == value
        assert len(column.wrong) == len(more)
