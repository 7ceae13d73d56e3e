"""What is said of columns that no form holds."""

from __future__ import annotations

import datetime

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from fastfm_deep.data.table import as_table
from fastfm_deep.validation import InputError, InputTypeError


def read(column):
    return as_table({"a": column}).column("a")


@pytest.mark.parametrize(
    ("column", "said"),
    [
        (np.array([1, 2], "m8[s]"), "is of the type timedelta64[s], but must be text, numbers"),
        (np.array([1j]), "is of the type complex128"),
        (np.array([1], "M8[ps]"), "is of the type datetime64[ps]"),
        (np.zeros((2, 2, 2)), "is an array of 3 dimensions; a column has one"),
        (pd.Series(pd.period_range("2024", periods=2, freq="M")), "is of the type period[M]"),
        (pd.Series(pd.to_timedelta([1, 2])), "is of the type timedelta64[ns]"),
        (pd.cut(pd.Series([1, 2]), 2), "is of the type interval[float64, right]"),
        (pa.array([{"x": 1}]), "is of the type struct<x: int64>"),
        (pa.array([1], pa.duration("s")), "is of the type duration[s]"),
        (pa.array([1], pa.time32("s")), "is of the type time32[s]"),
        (pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())), "is of the type map<string, int64>"),
        (pa.array([[[1]]]), "holds lists of lists"),
        (pl.Series([datetime.timedelta(1)]), "is of the type duration[us]"),
        ([[1], [[2]]], "holds lists of lists"),
        ([np.zeros((2, 2)), None], "holds lists of lists"),
    ],
    ids=str,
)
def test_columns(column, said):
    with pytest.raises(InputTypeError) as caught:
        read(column)
    assert str(caught.value).startswith(f"The column 'a' {said}")


@pytest.mark.parametrize(
    ("column", "said"),
    [
        (["x", {1, 2}], "{1, 2} is a set, whose order is not fixed; give a list, such as sorted(values)."),
        ([None, frozenset()], "frozenset() is a set, whose order is not fixed"),
        ([None, {"b": 1}], "the value {'b': 1} is a dict, but must be text"),
        ([[1], "b" * 90], f"'{'b' * 56}... is no list, but other rows hold lists; make it"),
        ([[1], np.array(2)], "array(2) is no list"),
        ([[1, 2], [3, {4}]], "{4} is a set"),
    ],
    ids=str,
)
def test_cells(column, said):
    with pytest.raises(InputTypeError) as caught:
        read(column)
    assert str(caught.value).startswith(f"Column 'a', row 1: {said}")


@pytest.mark.parametrize(
    ("column", "said"),
    [
        (
            pa.StringArray.from_buffers(2, pa.py_buffer(np.array([0, 1, 2], np.int32)), pa.py_buffer(b"\xffa")),
            "Invalid UTF8",
        ),
        (pa.DictionaryArray.from_arrays(pa.array([0, 9]), pa.array(["a"]), safe=False), "out of bounds: 9"),
    ],
    ids=("text", "codes"),
)
def test_damaged_arrays(column, said):
    for given in (column, pa.chunked_array([column, column])):
        with pytest.raises(InputError, match="The column 'a' is damaged: ") as caught:
            read(given)
        assert said in str(caught.value)
        assert str(caught.value).endswith("Text that is not in UTF-8 can be given as bytes.")
