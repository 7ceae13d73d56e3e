"""Feature columns that are proposed for a table."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import polars as pl
import pytest
from encoder_tools import refused, tables_of

from fastfm_deep import DenseFeat, SparseFeat, TableEncoder, VarLenSparseFeat

RNG = np.random.default_rng(0)
N_ROWS = 200
FRAME = {
    "city": RNG.choice(["bj", "sh"], N_ROWS).tolist(),
    "new": RNG.choice([True, False], N_ROWS).tolist(),
    "day": [dt.date(2020, 1, 1 + day) for day in RNG.integers(0, 9, N_ROWS).tolist()],
    "stars": RNG.integers(1, 6, N_ROWS).tolist(),
    "user_id": RNG.integers(0, 100, N_ROWS).tolist(),
    "clicks": np.floor(RNG.lognormal(3, 2, N_ROWS)).astype(int).tolist(),
    "age": RNG.normal(40, 12, N_ROWS).tolist(),
    "price": [None, *RNG.lognormal(3, 3, N_ROWS - 1).tolist()],
    "genres": RNG.choice(["a|b", "b", "c|a|b", "a"], N_ROWS).tolist(),
    "tags": [["a", "b"], ["c"]] * (N_ROWS // 2),
    "row": list(range(N_ROWS)),
    "hash": [f"{number:032x}" for number in range(N_ROWS)],
    "nothing": [None] * N_ROWS,
}
EXPECTED = [
    *(SparseFeat(name) for name in ("city", "new", "day", "stars", "user_id")),
    DenseFeat("clicks", scaling="log1p"),
    DenseFeat("age"),
    DenseFeat("price", scaling="log1p"),
    VarLenSparseFeat("genres"),
    VarLenSparseFeat("tags"),
]


def test_columns_of_every_sort():
    for what, table in tables_of(FRAME).items():
        assert TableEncoder.from_frame(table).columns == EXPECTED, what
    encoder = TableEncoder.from_frame(FRAME)
    assert not encoder.__sklearn_is_fitted__()
    assert encoder.fit_transform(FRAME).shape[0] == N_ROWS


@pytest.mark.parametrize("exclude", ["city", ["city", "age"], ("age",), []])
def test_columns_to_leave_out(exclude):
    names = [column.name for column in TableEncoder.from_frame(FRAME, exclude).columns]
    left_out = [exclude] if isinstance(exclude, str) else exclude
    assert names == [column.name for column in EXPECTED if column.name not in left_out]


def test_categories_of_libraries():
    frame = pd.DataFrame(FRAME)[["city", "stars"]].astype("category")
    assert TableEncoder.from_frame(frame).columns == [SparseFeat("city"), SparseFeat("stars")]
    frame = pl.DataFrame(FRAME)[["genres"]].cast(pl.Categorical)
    assert TableEncoder.from_frame(frame).columns == [VarLenSparseFeat("genres")]


def test_names_that_occur_twice_are_left_out():
    frame = pd.DataFrame([[1, 2, 3]] * 3, columns=["a", "b", "a"])
    assert TableEncoder.from_frame(frame).columns == [SparseFeat("b")]


def test_nothing_to_propose():
    refused(
        lambda: TableEncoder.from_frame({"n": [None], "m": [float("nan")]}),
        "The table has no column to propose as a feature ('n': it holds no values; 'm': it holds no values); dec",
    )
    refused(lambda: TableEncoder.from_frame({"n": [1]}, exclude="n"), "(it has no columns)")
    refused(lambda: TableEncoder.from_frame({"n": [1]}, exclude="m"), "There is no column 'm'.")
    refused(lambda: TableEncoder.from_frame([1]), "table is a list, but must be a table")
    refused(lambda: TableEncoder.from_frame({}), "(it has no columns)")


def test_a_table_of_few_rows():
    few = {name: values[:3] for name, values in FRAME.items() if name != "nothing"}
    assert {column.name for column in TableEncoder.from_frame(few).columns} == set(few)


def test_columns_that_no_feature_column_takes_are_left_out():
    table = {"day": np.array([1, 2], "m8[s]"), "set": [{1}, {2}], "city": ["bj", "sh"]}
    assert TableEncoder.from_frame(table).columns == [SparseFeat("city")]
    refused(
        lambda: TableEncoder.from_frame(table, exclude="city"),
        "'day': it holds values of a type that no feature column takes",
    )
