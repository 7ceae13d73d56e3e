"""Columns as floats: what is a number, and what is said of that which is none."""

from __future__ import annotations

import datetime
import decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from fastfm_deep.data.float_values import to_floats
from fastfm_deep.data.table import as_table
from fastfm_deep.validation import InputError


def read(column):
    return as_table({"a": column}).column("a")


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ([1, None, 3], [1, np.nan, 3]),
        ([True, False], [1, 0]),
        ([0.5, None], [0.5, np.nan]),
        (["3.5", " 7 ", None, "-1e3", "nan"], [3.5, 7, np.nan, -1000, np.nan]),
        ([1, "2", 2.5, None, True, decimal.Decimal("0.5"), np.float32(0.5)], [1, 2, 2.5, np.nan, 1, 0.5, 0.5]),
        (pa.array(["1", "2", None]).dictionary_encode(), [1, 2, np.nan]),
        (pd.Series(pd.Categorical([1, None, 1])), [1, np.nan, 1]),
        (pd.Series(pd.Categorical(["1", "1"], categories=["1", "never used"])), [1, 1]),
        (pa.array(["x", "1", "2"]).slice(1), [1, 2]),
        (pa.array([1, None], pa.uint8()), [1, np.nan]),
        (np.array([1, 2**64 - 1], np.uint64), [1, 2.0**64]),
        ([None, None], [np.nan, np.nan]),
    ],
    ids=str,
)
def test_numbers(column, expected):
    got = to_floats(read(column), "a")
    assert got.dtype == np.float64
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize(
    ("column", "said"),
    [
        (
            ["1", "ann", "x"],
            "Column 'a', row 1: 'ann' is no number, as a DenseFeat needs; correct it, or declare",
        ),
        (["1", "1_000"], "Column 'a', row 1: '1_000' is no number"),
        (["1", ""], "Column 'a', row 1: '' is no number"),
        ([1, "é" * 90], f"Column 'a', row 1: '{'é' * 56}... is no number"),
        ([1.0, datetime.date(2024, 1, 1)], "Column 'a', row 1: datetime.date(2024, 1, 1) is no number"),
        ([1.0, np.datetime64("2024-01-01")], "Column 'a', row 1: "),
        (pa.array(["1", "ann"]).dictionary_encode(), "Column 'a', row 1: 'ann' is no number"),
        ([1.0, np.inf], "Column 'a', row 1: inf is infinite, but a DenseFeat needs finite numbers; replace"),
        (["1", "-inf"], "Column 'a', row 1: '-inf' is infinite"),
        (["1", "1e999"], "Column 'a', row 1: '1e999' is infinite"),
        (["1", 10**400], "Column 'a', row 1: 1000"),
        (
            np.array([0, 1], "M8[D]"),
            "The column 'a' holds dates or datetimes, but a DenseFeat needs a number in",
        ),
        ([[1], [2]], "The column 'a' holds lists, but"),
    ],
    ids=str,
)
def test_what_is_none(column, said):
    with pytest.raises(InputError) as caught:
        to_floats(read(column), "a")
    assert str(caught.value).startswith(said)
    assert "declare the column as a SparseFeat" in str(caught.value) or "infinite" in str(caught.value)


def test_missing_floats_of_arrow():
    column = pa.array([0.5, None, np.nan])
    np.testing.assert_array_equal(to_floats(read(column), "a"), [0.5, np.nan, np.nan])
