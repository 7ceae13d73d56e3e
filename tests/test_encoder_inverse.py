"""From rows back to the columns that they came from."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from encoder_tools import ABSENT, CLICKS, EXAMPLES, KINDS, UTC, VALUES, click_encoder, object_columns, tables_of
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_encoder import MISSING, is_missing, name_of

from fastfm_deep import DenseFeat, InputError, SparseFeat, TableEncoder, VarLenSparseFeat


def back(encoder, table):
    return encoder.inverse_transform(encoder.transform(table))


@pytest.mark.parametrize("kind", [*KINDS, "mixed"])
@given(data=st.data())
@settings(max_examples=EXAMPLES, deadline=None)
def test_categories_come_back(kind, data):
    strategy = st.one_of(KINDS.get(kind, VALUES), ABSENT)
    values = data.draw(st.lists(strategy, min_size=1, max_size=8))
    table = object_columns({"c": values})
    encoder = TableEncoder([SparseFeat("c")]).fit(table)
    got = back(encoder, table)["c"]
    assert [name_of(value) for value in got] == [name_of(value) for value in values]
    for value, found in zip(values, got, strict=True):
        if is_missing(value):
            assert found is None
        elif kind in ("text", "int", "bool", "date", "datetime", "instant", "bytes"):
            assert found == value


@given(st.lists(st.one_of(st.none(), st.lists(VALUES, max_size=5)), min_size=1, max_size=5))
@settings(max_examples=2 * EXAMPLES, deadline=None)
def test_bags_come_back(values):
    table = object_columns({"v": values})
    encoder = TableEncoder([VarLenSparseFeat("v")]).fit(table)
    got = back(encoder, table)["v"]
    for cell, found in zip(values, got, strict=True):
        if cell is None:
            assert found is None
        else:
            assert [name_of(item) for item in found] == list(dict.fromkeys(map(name_of, cell)))


@given(
    st.lists(st.one_of(st.none(), st.lists(st.text(min_size=1, max_size=4), max_size=4)), min_size=1, max_size=5),
    st.sampled_from(["|", "::"]),
)
@settings(max_examples=EXAMPLES, deadline=None)
def test_separated_text_comes_back(bags, separator):
    bags = [bag if bag is None else [item.replace(separator[0], "-") for item in bag] for bag in bags]
    bags.append(["a"])
    values = [None if bag is None else separator.join(dict.fromkeys(bag)) for bag in bags]
    encoder = TableEncoder([VarLenSparseFeat("v", separator=separator)]).fit({"v": values})
    assert list(back(encoder, {"v": values})["v"]) == values


@given(
    st.lists(st.one_of(st.none(), st.floats(-1e9, 1e9, width=32)), min_size=1, max_size=8),
    st.sampled_from(["standard", "log1p", "minmax", "none"]),
)
@settings(max_examples=2 * EXAMPLES, deadline=None)
def test_numbers_come_back_to_the_precision_of_float32(numbers, scaling):
    encoder = TableEncoder([DenseFeat("d", scaling=scaling)]).fit({"d": numbers})
    got = back(encoder, {"d": numbers})["d"]
    present = [x for x in numbers if x is not None]
    largest = max((abs(x) for x in present), default=0.0)
    for x, found in zip(numbers, got, strict=True):
        if x is None:
            assert np.isnan(found)
        elif scaling == "none":
            assert found == np.float32(x)
        elif scaling == "log1p":
            assert found == pytest.approx(x, rel=5e-6)
        else:
            assert found == pytest.approx(x, abs=4e-7 * largest)


def test_a_bucket_comes_back_as_its_middle():
    encoder = TableEncoder([DenseFeat("d", buckets=2)]).fit({"d": [0.0, 2.0, 4.0, 10.0]})
    assert back(encoder, {"d": [-5, 3, None, 2]})["d"].tolist()[:2] == [1.0, 6.0]
    assert np.isnan(back(encoder, {"d": [None]})["d"][0])


@pytest.mark.parametrize("hashed", [False, True])
def test_what_is_not_known(hashed):
    encoder = TableEncoder([SparseFeat("c", hash_buckets=3 if hashed else None), VarLenSparseFeat("v")])
    encoder.fit({"c": ["a", "b"], "v": [["a"], ["b"]]})
    found = back(encoder, {"c": ["x", "a"], "v": [["x", "a"], []]})
    assert found["v"].tolist() == [[None, "a"], []]
    if hashed:
        assert all(text.startswith("bucket ") for text in found["c"])
    else:
        assert found["c"].tolist() == [None, "a"]


def test_each_library_gets_its_own_tables():
    expected = {name: list(values) for name, values in CLICKS.items()}
    expected["tags"] = [tags if tags is None else list(dict.fromkeys(tags)) for tags in CLICKS["tags"]]
    for what, table in tables_of(CLICKS).items():
        found = back(click_encoder().fit(table), table)
        if "pandas" in what:
            assert isinstance(found, pd.DataFrame)
            got = {
                name: [None if not isinstance(x, list) and pd.isna(x) else x for x in found[name]]
                for name in found
            }
        elif what in ("polars", "pyarrow"):
            assert isinstance(found, pl.DataFrame if what == "polars" else pa.Table)
            got = found.to_dict(as_series=False) if what == "polars" else found.to_pydict()
        else:
            got = {name: list(values) for name, values in found.items()}
        for name in ("city", "user", "tags"):
            assert got[name] == expected[name], (what, name)
        ages = [None if x is None or x != x else x for x in got["age"]]
        assert ages == [None if x is None else pytest.approx(x, rel=1e-6) for x in expected["age"]]


DIFFICULT = {
    "large integers and none": [2**60 + 1, None],
    "beyond int64": [2**64, -1],
    "truth and none": [True, None],
    "half a surrogate pair": ["\ud800", "a"],
    "mixed": ["a", 1, dt.date(2020, 1, 1)],
    "integers and floats": [2**60 + 1, 0.5],
    "bytes": [b"a", b"\xff"],
    "instants": [dt.datetime(2020, 1, 1, tzinfo=UTC), dt.datetime(2021, 1, 1, tzinfo=UTC)],
    "before pandas' years": [dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31, 23, 59, 59, 999999)],
}


@pytest.mark.parametrize("what", DIFFICULT)
@pytest.mark.parametrize("kind", [pd.DataFrame, pl.DataFrame, pa.table, dict])
def test_values_that_libraries_would_change(what, kind):
    values = DIFFICULT[what]
    encoder = TableEncoder([SparseFeat("c")]).fit(object_columns({"c": values}))
    encoder._kind = {pd.DataFrame: "pandas", pl.DataFrame: "polars", pa.table: "pyarrow", dict: "builtins"}[kind]
    found = back(encoder, object_columns({"c": values}))["c"]
    got = found.to_pylist() if isinstance(found, pa.ChunkedArray) else list(found)
    assert [MISSING if value is None else name_of(value) for value in got] == [name_of(value) for value in values]


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC"])
def test_times_of_frames_come_back(unit, zone):
    numbers = [0, 1, 1_600_000_000_000, None, 1_600_000_000_123]
    series = pd.Series(pd.to_datetime(pd.Series(numbers), unit=unit)).astype(f"datetime64[{unit}]")
    frame = pd.DataFrame({"c": series if zone is None else series.dt.tz_localize(zone)})
    found = back(TableEncoder([SparseFeat("c")]).fit(frame), frame)["c"]
    got = pd.to_datetime(found, utc=zone is not None)
    assert (got.dropna() == frame["c"].dropna()).all()
    assert got.isna().tolist() == frame["c"].isna().tolist()
    other = pl.from_pandas(frame)
    found = back(TableEncoder([SparseFeat("c")]).fit(other), other)
    assert (
        found["c"].cast(pl.Datetime("ns")).to_list()
        == other["c"].dt.replace_time_zone(None).cast(pl.Datetime("ns")).to_list()
    )


def test_times_beyond_python_s_years():
    times = np.array(["20000-01-01", "-5000-01-01", "2020-01-01"], "datetime64[us]")
    for array in (times, times.astype("datetime64[D]")):
        found = back(TableEncoder([SparseFeat("c")]).fit({"c": array}), {"c": array})["c"]
        assert [np.datetime64(value) for value in found] == array.tolist() or [
            np.datetime64(v) == t for v, t in zip(found, array, strict=True)
        ] == [True] * 3
    instants = pa.table({"c": pa.array(times.astype(np.int64), pa.timestamp("us", "UTC"))})
    encoder = TableEncoder([SparseFeat("c")]).fit(instants)
    assert encoder.feature_dictionary_["c"][times[0]] == 2
    assert len(encoder.get_feature_names_out()) == 5


def test_a_table_may_be_empty():
    encoder = click_encoder().fit(CLICKS)
    empty = {name: [] for name in CLICKS}
    assert encoder.transform(empty).shape == (0, encoder.encoding_.n_features)
    assert {name: len(values) for name, values in back(encoder, empty).items()} == dict.fromkeys(CLICKS, 0)


def test_rows_of_others():
    encoder = click_encoder().fit(CLICKS)
    dense = encoder.transform(CLICKS).toarray()
    assert encoder.inverse_transform(dense)["city"].tolist() == CLICKS["city"]
    nothing = encoder.inverse_transform(np.zeros((1, dense.shape[1])))
    assert nothing["city"].tolist() == [None]
    assert nothing["tags"].tolist() == [[]]
    with pytest.raises(InputError, match="features"):
        encoder.inverse_transform(np.zeros((1, dense.shape[1] + 1)))
    with pytest.raises(InputError):
        encoder.inverse_transform("rows")
