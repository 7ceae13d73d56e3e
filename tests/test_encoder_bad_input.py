"""Tables that cannot be encoded: an error that names column, value and row, and nothing else happens."""

from __future__ import annotations

import datetime as dt
import decimal
import uuid

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from encoder_tools import CLICKED, CLICKS, click_columns, click_encoder, object_columns, refused

from fastfm_deep import (
    DeepFMClassifier,
    DenseFeat,
    FMClassifier,
    FMRegressor,
    InputError,
    SparseFeat,
    TableEncoder,
    TableTooLargeError,
    VarLenSparseFeat,
)
from fastfm_deep.data import encoders

NEW = {name: values[:2] for name, values in CLICKS.items()}


def both(columns, table, message, good=None):
    """Refused by fit; and, if there is a table that is good, by all that comes after."""
    encoder = TableEncoder(columns)
    refused(lambda: encoder.fit(table), message)
    refused(lambda: encoder.fit_transform(table), message)
    assert not encoder.__sklearn_is_fitted__()
    if good is not None:
        encoder.fit(good)
        for call in (encoder.transform, encoder.partial_fit, encoder.to_index_value):
            refused(lambda call=call: call(table), message)


# ---------------------------------------------------------------------------------------------------------- tables


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (np.zeros((2, 4)), "X is a numpy.ndarray, but must be a table: a DataFrame of pandas or polars"),
        ([[1, 2], [3, 4]], "X is a list, but must be a table"),
        (None, "X is a NoneType, but must be a table"),
        (3, "X is a int, but must be a table"),
        ("table.txt", "X='table.txt' names no table: files end in .csv"),
        (pd.Series([1]), "X is a pandas.Series, but must be a table"),
        (pl.DataFrame(NEW).lazy(), "call its collect() first"),
        ({}, "There is no column 'city': the table has no columns at all; give it this one."),
        ([], "There is no column 'city': the table has no columns at all"),
        (pd.DataFrame(), "There is no column 'city'"),
        ({"city": "bj"}, "The column 'city' is 'bj', no array or list; give one value a row"),
        (
            {"city": ["a"], "age": [1, 2]},
            "The columns 'city' and 'age' hold 1 value and 2 values; all columns of a ta",
        ),
        ([{"city": "a"}, 3], "X[1]=3 must be a dict, as the other rows of the list are"),
        (
            {name: values for name, values in NEW.items() if name != "age"},
            "There is no column 'age'. The table has 'city'",
        ),
        (NEW | {"city": np.zeros((2, 1, 1))}, "The column 'city' is an array of 3 dimensions"),
    ],
    ids=lambda value: ascii(value)[:30].partition(" at 0x")[0],
)
def test_what_is_no_table_of_these_columns(table, message):
    encoder = click_encoder().fit(CLICKS)
    for call in (encoder.fit, encoder.transform, encoder.partial_fit, encoder.to_index_value):
        refused(lambda call=call: call(table), message)
    for kind in (FMClassifier, DeepFMClassifier, FMRegressor):
        refused(lambda kind=kind: kind(encoder=click_encoder()).fit(table, [0, 1]), message)


def test_a_name_that_is_nearly_right():
    refused(
        lambda: click_encoder().fit({"City": [1], "age": [1]}), "There is no column 'city'. Did you mean 'City'?"
    )


def test_a_name_that_stands_for_two_columns():
    frame = pd.DataFrame([[1, "a", 2]], columns=["x", "c", "x"])
    refused(
        lambda: TableEncoder([DenseFeat("x")]).fit(frame),
        "The column 'x' occurs 2 times; rename all but one of them.",
    )
    assert TableEncoder([SparseFeat("c")]).fit(frame).transform(frame).shape == (1, 3)
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["x", "x"])
    refused(lambda: TableEncoder([SparseFeat("x")]).fit(table), "The column 'x' occurs 2 times")


def test_tables_without_rows():
    empty = {name: [] for name in CLICKS}
    for table in (empty, pd.DataFrame(empty), pl.DataFrame(empty)):
        refused(
            lambda table=table: click_encoder().fit(table),
            "Found array with 0 sample(s) (shape=(0, 4)) while a minimum of 1 is required.",
        )
        refused(
            lambda table=table: FMClassifier(encoder=click_encoder()).fit(table, []),
            "Found array with 0 sample(s) (shape=(0, 4)) while a minimum of 1 is required.",
        )
        assert click_encoder().fit(CLICKS).transform(table).shape[0] == 0
    model = FMClassifier(encoder=click_encoder(), n_epochs=1).fit(CLICKS, CLICKED)
    refused(lambda: model.predict_proba(empty), "Found array with 0 sample(s)")


def test_one_row():
    model = FMRegressor(encoder=click_encoder(), n_epochs=1).fit(NEW, [1.0, 2.0])
    assert model.predict({name: values[:1] for name, values in CLICKS.items()}).shape == (1,)
    encoder = click_encoder().fit({name: values[:1] for name, values in CLICKS.items()})
    assert encoder.transform(NEW).shape[0] == 2


def test_names_and_values_of_every_alphabet():
    name = "größe 数量 \U0001f600\0"
    encoder = TableEncoder([SparseFeat(name), DenseFeat(""" "quoted' \n""")])
    table = {name: ["ä", "数", "\U0001f600"], """ "quoted' \n""": [1, 2, 3]}
    for kind in (dict, pd.DataFrame, pl.DataFrame):
        assert encoder.fit(kind(table)).get_feature_names_out()[2] == f"{name}=ä"


# ------------------------------------------------------------------------------------------------------ categories


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            uuid.UUID(int=5),
            "Column 'c' holds UUID('00000000-0000-0000-0000-000000000005') in row 1, a UUID, but categories",
        ),
        (
            dt.timedelta(1),
            "Column 'c' holds datetime.timedelta(days=1) in row 1, a timedelta, but categories are text",
        ),
        (dt.time(1), "Column 'c' holds datetime.time(1, 0) in row 1, a time, but categories are text"),
        (1j, "Column 'c' holds 1j in row 1, a complex, but categories are text"),
        (10**5000, "Column 'c' holds <int> in row 1, a int, but categories are text"),
        ({1}, "Column 'c', row 1: {1} is a set"),
        ({"a": 1}, "Column 'c', row 1: the value {'a': 1} is a dict"),
        (["a"], "Column 'c', row 0: 'a' is no list, but other rows hold lists"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_that_are_no_categories(value, message):
    table = object_columns({"c": ["a", value]})
    both([SparseFeat("c")], table, message, good={"c": ["a"]})
    both([SparseFeat("c", hash_buckets=5)], table, message, good={"c": ["a"]})


def test_lists_in_a_column_of_single_values():
    message = "Column 'c' holds lists, but a SparseFeat has one value a row; declare it a VarLenSparseFeat."
    for values in ([["a"], ["b"]], np.zeros((2, 3)), pl.Series([["a"], []]), pa.array([[1], None])):
        both([SparseFeat("c")], {"c": values}, message, good={"c": ["a"]})


def test_types_that_hold_no_categories():
    spans = np.array([1, 2], "m8[s]")
    for values in (
        spans,
        pd.Series(spans),
        pd.Series(pd.period_range("2020", periods=2)),
        pa.array([{"a": 1}, None]),
    ):
        refused(
            lambda values=values: TableEncoder([SparseFeat("c")]).fit({"c": values}),
            "The column 'c' is of the type",
        )


def test_decimals_are_numbers():
    values = [decimal.Decimal("1.5"), decimal.Decimal(2), None]
    encoder = TableEncoder([SparseFeat("c"), DenseFeat("d", scaling="none")])
    for table in ({"c": values, "d": values}, pa.table({"c": values, "d": values})):
        encoder.fit(table)
        assert encoder.feature_dictionary_["c"] == {1.5: 2, 2.0: 3, None: 4}
        assert encoder.transform(table).data.tolist() == [1, 1.5, 1, 2, 1, 1]


def test_more_features_than_there_is_room_for(monkeypatch):
    columns = [SparseFeat("c", hash_buckets=2**31 - 2), SparseFeat("d", hash_buckets=2**31 - 2)]
    message = "The columns have 4294967293 features together, but there is room for"
    refused(lambda: TableEncoder(columns).fit({"c": [1], "d": [1]}), message, TableTooLargeError)
    encoder = click_encoder().fit(CLICKS)
    n = encoder.encoding_.n_features
    monkeypatch.setattr(encoders, "free_memory", lambda: 4 * n)
    refused(
        lambda: encoder.partial_fit(NEW | {"city": ["x", "y"]}),
        f"The columns have {n + 2} features together, but",
        TableTooLargeError,
    )
    assert encoder.encoding_.n_features == n
    assert encoder.transform(CLICKS).shape == (8, n)


# --------------------------------------------------------------------------------------------------------- numbers


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            [1.0, "many"],
            "Column 'd', row 1: 'many' is no number, as a DenseFeat needs; correct it, or declare the column",
        ),
        (["1", "1_000"], "Column 'd', row 1: '1_000' is no number"),
        (
            [1.0, float("inf")],
            "Column 'd', row 1: inf is infinite, but a DenseFeat needs finite numbers; replace it",
        ),
        ([1, 10**400], "is infinite, but a DenseFeat needs finite numbers"),
        ([dt.date(2020, 1, 1)] * 2, "Column 'd'"),
        (
            np.array(["2020-01-01"] * 2, "M8[D]"),
            "The column 'd' holds dates or datetimes, but a DenseFeat needs a number",
        ),
        ([[1], [2]], "The column 'd' holds lists, but a DenseFeat needs a number in each row"),
        ([1.0, 1j], "Column 'd', row 1: 1j is no number"),
    ],
    ids=lambda value: ascii(value)[:25],
)
@pytest.mark.parametrize("buckets", [None, 3])
def test_values_that_are_no_numbers(values, message, buckets):
    both([DenseFeat("d", buckets=buckets)], {"d": values}, message, good={"d": [1.0, 2.0]})


def test_numbers_beyond_float32():
    message = "Column 'd' holds 1e+39 in row 1, which is beyond the range of float32 after scaling; scale the "
    both([DenseFeat("d", scaling="none")], {"d": [1.0, 1e39]}, message, good={"d": [1.0]})
    for scaling in ("standard", "minmax"):
        encoder = TableEncoder([DenseFeat("d", scaling=scaling)]).fit({"d": [0.0, 1.0]})
        refused(
            lambda encoder=encoder: encoder.transform({"d": [1.0, 1e39]}),
            "Column 'd' holds 1e+39 in row 1, which is",
        )
    refused(
        lambda: TableEncoder([DenseFeat("d")]).fit({"d": [1e200, -1e200]}),
        "Column 'd' holds 1e+200 in row 0, which",
    )
    wide = TableEncoder([DenseFeat("d", scaling="minmax")])
    refused(
        lambda: wide.fit({"d": [0, 1.7e308, -1.7e308]}),
        "Column 'd' holds 1.7e+308 in row 1, which is beyond the range",
    )


# ------------------------------------------------------------------------------------------------------------ bags


@pytest.mark.parametrize(
    ("bags", "weights", "message"),
    [
        (
            [["a"], ["a", "b"]],
            [[1], [1]],
            "Column 'w' holds 1 weights in row 1, but column 'v' holds 2 values there; give ea",
        ),
        ([["a"], ["a"]], [[1], None], "Column 'w' holds 0 weights in row 1, but column 'v' holds 1 values"),
        ([["a"], []], [[1], [2]], "Column 'w' holds 1 weights in row 1, but column 'v' holds 0 values"),
        (["a", "a|b"], ["1", "1"], "Column 'w' holds 1 weights in row 1, but column 'v' holds 2 values"),
        (
            [["a"], ["a", "b"]],
            [[1], [1, None]],
            "Column 'w' holds the weight None in row 1, which is no finite number.",
        ),
        (
            [["a"], ["a", "b"]],
            [[1.0], [1, np.inf]],
            "Column 'w' holds the weight inf in row 1, which is no finite number.",
        ),
        (
            [["a"], ["a", "b"]],
            [[1.0], [1, np.nan]],
            "Column 'w' holds the weight nan in row 1, which is no finite number.",
        ),
        (
            [["a"], ["a"]],
            [[1.0], [1e39]],
            "Column 'w' holds the weight 1e+39 in row 1, which is no finite number.",
        ),
        (["a", "a|b"], ["1", "1|x"], "Column 'w' holds the weight 'x' in row 1, which is no finite number."),
        (
            [["b"], ["a", "a"]],
            [[1.0], [3e38, 3e38]],
            "Column 'w' holds the weight inf in row 1, which is no finite number.",
        ),
    ],
    ids=ascii,
)
def test_weights_that_do_not_fit(bags, weights, message):
    columns = [VarLenSparseFeat("v", pooling="sum", weights="w")]
    good = {"v": [["a"], ["b"]], "w": [[1.0], [1.0]]}
    both(columns, {"v": bags, "w": weights}, message, good)
    encoder = TableEncoder(columns).fit(good)
    refused(lambda: encoder.transform_row({"v": bags[1], "w": weights[1]}), message.replace("row 1", "row 0"))


def test_weights_that_are_missing_where_there_is_nothing():
    table = {"v": [None, ["a", "b"], [], ["a"]], "w": [[1, 2, 3], [1, 2], None, [0.5]]}
    encoder = TableEncoder([VarLenSparseFeat("v", weights="w")])
    assert encoder.fit_transform(table).data.tolist() == [1.0, 1.0, 2.0, 0.5]
    refused(lambda: encoder.fit({"v": table["v"]}), "There is no column 'w'.")
    refused(lambda: encoder.transform_row({"v": ["a"]}), "The row has no column 'w', but 'v'.")


def test_values_of_bags_that_are_none():
    refused(lambda: TableEncoder([VarLenSparseFeat("v")]).fit({"v": [["a"], [["b"]]]}), "'v' holds lists of lists")
    table = object_columns({"v": [["a", "b"], ["c", uuid.UUID(int=5)]]})
    both(
        [VarLenSparseFeat("v")],
        table,
        "Column 'v' holds UUID('00000000-0000-0000-0000-000000000005') in row 1",
        {"v": ["a"]},
    )
    both(
        [VarLenSparseFeat("v", hash_buckets=3)],
        table,
        "Column 'v' holds UUID('00000000-0000-0000-0000-000000000005') in row 1",
    )


# ------------------------------------------------------------------------------------------------------ estimators


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoder": "city"}, "encoder='city' must be a TableEncoder, or None for rows of numbers."),
        (
            {"encoder": TableEncoder},
            "encoder=<class 'fastfm_deep.estimators.table_encoder.TableEncoder'> must be a Tab",
        ),
        ({"encoder": TableEncoder([])}, "columns=[] names no feature column"),
        ({"encoder": TableEncoder(None)}, "columns=None must be a list of feature columns"),
        ({"encoder": TableEncoder(["city"])}, "columns[0]='city' must be a SparseFeat"),
        (
            {"encoder": None, "linear_columns": ["city"]},
            "linear_columns names columns of a table, so it needs encoder=",
        ),
        (
            {"encoder": None, "deep_columns": ["city"]},
            "deep_columns names columns of a table, so it needs encoder=",
        ),
        (
            {"linear_columns": "city"},
            "linear_columns='city' must be a list of names of columns, or of feature columns.",
        ),
        ({"deep_columns": 3}, "deep_columns=3 must be a list of names of columns"),
        (
            {"deep_columns": ["citi"]},
            "deep_columns names 'citi', but the encoder has 'city', 'age', 'user', 'tags'. Did you",
        ),
        ({"linear_columns": [3]}, "linear_columns names '3', but the encoder has"),
        (
            {"encoder": TableEncoder(click_columns(), n_jobs=0)},
            "n_jobs=0 must be an integer of at least 1, or -1 for all cores.",
        ),
        ({"encoder": TableEncoder(click_columns(), n_jobs="all")}, "n_jobs='all'"),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_options_of_estimators(options, message):
    for kind in (FMClassifier, DeepFMClassifier, FMRegressor):
        model = kind(**{"encoder": click_encoder(), **options})
        before = dict(vars(model))
        refused(lambda model=model: model.fit(CLICKS, CLICKED), message)
        assert vars(model) == before


def test_fields_are_the_encoder_s():
    model = DeepFMClassifier(encoder=click_encoder(), fields=[1, 2])
    refused(
        lambda: model.fit(CLICKS, CLICKED),
        "fields= and encoder= both say which columns belong together; leave fields",
    )


def test_a_table_for_a_model_without_an_encoder():
    model = FMClassifier(n_epochs=1)
    with pytest.raises((InputError, ValueError)):
        model.fit({"city": ["a", "b"]}, [0, 1])


@pytest.mark.parametrize("n_jobs", [0, "all", 1.5])
def test_threads(n_jobs):
    encoder = TableEncoder(click_columns(), n_jobs=n_jobs)
    refused(lambda: encoder.fit(CLICKS), f"n_jobs={n_jobs!r}")
    fitted = click_encoder().fit(CLICKS).set_params(n_jobs=n_jobs)
    for call in (fitted.transform, fitted.partial_fit, fitted.to_index_value):
        refused(lambda call=call: call(CLICKS), f"n_jobs={n_jobs!r}")
