"""One row as a dict: the same features and scores as a table of that row."""

from __future__ import annotations

import collections
import copy
import datetime as dt
import decimal
import pickle
import threading
from types import MappingProxyType

import numpy as np
import pandas as pd
import polars as pl
import pytest
from encoder_tools import (
    CLICKED,
    CLICKS,
    EXAMPLES,
    MAYBE_VALUES,
    NUMBERS,
    click_encoder,
    columns_and_rows,
    object_columns,
    refused,
    some_of,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from fastfm_deep import (
    DeepFMClassifier,
    DeepFMRegressor,
    DenseFeat,
    FMClassifier,
    FMRegressor,
    InputError,
    SparseFeat,
    TableEncoder,
    VarLenSparseFeat,
)
from fastfm_deep.data.table import as_table

MODELS = [FMClassifier, FMRegressor, DeepFMClassifier, DeepFMRegressor]
SETTINGS = {"n_factors": 4, "n_epochs": 2, "n_jobs": 1, "random_state": 0, "init_std": 0.1}


def rows_of(columns):
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def refusal(column, table):
    """What is said of a column by itself, None if nothing."""
    try:
        column.encode(table)
    except InputError as error:
        return str(error)
    return None


def assert_same_row(encoder, row):
    """The bits of indices and values, or the same refusal."""
    table = object_columns({name: [value] for name, value in row.items()})
    try:
        expected = encoder.transform(table)
    except InputError:
        with pytest.raises(InputError) as caught:
            encoder.transform_row(row)
        assert str(caught.value) in [refusal(column, as_table(table)) for column in encoder.encoding_.learned]
        return
    indices, values = encoder.transform_row(row)
    assert (indices.dtype, values.dtype) == (np.int32, np.float32)
    assert indices.tolist() == expected.indices.tolist()
    assert values.tobytes() == expected.data.tobytes()


@given(columns_and_rows(), columns_and_rows())
@settings(max_examples=4 * EXAMPLES, deadline=None)
def test_a_row_has_the_bits_of_its_table(case, other):
    columns, first, more = case
    encoder = TableEncoder(columns)
    try:
        encoder.fit(object_columns(first))
    except InputError:
        return
    for row in rows_of(first) + rows_of(more) + rows_of(other[1]):
        if isinstance(row["v"], str | list) or row["v"] is None:
            assert_same_row(encoder, row)


@given(st.data())
@settings(max_examples=2 * EXAMPLES, deadline=None)
def test_numbers_and_weights_have_the_bits_of_the_table(data):
    columns = [
        DenseFeat("a", scaling=data.draw(st.sampled_from(["standard", "log1p", "minmax", "none"]))),
        DenseFeat("b", buckets=3, missing="mean"),
        VarLenSparseFeat(
            "v", pooling=data.draw(st.sampled_from(["sum", "max", "mean"])), weights="w", max_length=4
        ),
    ]
    n_rows = data.draw(st.integers(1, 6))
    floats = st.one_of(NUMBERS, st.floats(-1e30, 1e30))
    bags = data.draw(
        some_of(st.lists(st.tuples(st.sampled_from("abc"), st.floats(-1e3, 1e3)), max_size=6), n_rows)
    )
    table = {
        "a": data.draw(some_of(floats, n_rows)),
        "b": data.draw(some_of(floats, n_rows)),
        "v": [[item for item, _ in bag] for bag in bags],
        "w": [[weight for _, weight in bag] for bag in bags],
    }
    encoder = TableEncoder(columns).fit(table)
    for row in rows_of(table):
        assert_same_row(encoder, row)


@pytest.mark.parametrize("hash_buckets", [None, 50])
@given(st.lists(MAYBE_VALUES, min_size=1, max_size=5), MAYBE_VALUES)
@settings(max_examples=EXAMPLES, deadline=None)
def test_categories_of_any_type(hash_buckets, values, asked):
    encoder = TableEncoder(
        [SparseFeat("c", hash_buckets=hash_buckets), VarLenSparseFeat("v", hash_buckets=hash_buckets)]
    )
    encoder.fit(object_columns({"c": values, "v": [values] * len(values)}))
    for value in [*values, asked]:
        assert_same_row(encoder, {"c": value, "v": [value, None, value]})


VALUES = [
    *(
        1,
        1.0,
        True,
        np.int8(1),
        np.uint64(1),
        np.float32(0.1),
        np.bool_(True),
        "1",
        "1.0",
        "True",
        b"1",
        2**70,
        -(2**70),
    ),
    *(
        decimal.Decimal(1),
        decimal.Decimal("0.5"),
        dt.date(2020, 1, 1),
        dt.datetime(2020, 1, 1),
        pd.Timestamp("2020-01-01"),
    ),
    *(
        pd.Timestamp("2020-01-01", tz="Asia/Tokyo"),
        np.datetime64("2020-01-01"),
        np.datetime64(1, "ns"),
        np.str_("1"),
    ),
    *(None, float("nan"), pd.NA, pd.NaT, np.datetime64("NaT"), "", "x" * 1_000_000, "\ud800", float("inf"), -0.0),
]


@pytest.mark.parametrize(
    "first", [[1, 2], ["1", "True"], [0.5, None], [True, False], VALUES, [None]], ids=lambda v: ascii(v)[:20]
)
def test_scalars_of_python_numpy_and_pandas(first):
    encoder = TableEncoder([SparseFeat("c"), SparseFeat("h", hash_buckets=9)])
    encoder.fit(object_columns({"c": first, "h": first}))
    for value in VALUES:
        assert_same_row(encoder, {"c": value, "h": value})


def test_lists_of_every_sort():
    times = [np.datetime64("2020-01-01T00:00:00", "ns"), np.datetime64(1, "ns")]
    encoder = TableEncoder([VarLenSparseFeat("v")]).fit({"v": [["a", "b"], [1, 2], times, [None]]})
    expected = encoder.transform_row({"v": ["a", "b"]})[0].tolist()
    for cell in (
        ("a", "b"),
        np.array(["a", "b"]),
        np.array(["a", "b"], object),
        "a|b",
        "|a||b|",
        pl.Series(["a", "b"]).to_list(),
    ):
        assert encoder.transform_row({"v": cell})[0].tolist() == expected
    assert (
        encoder.transform_row({"v": np.array([2, 1])})[0].tolist()
        == encoder.transform_row({"v": [2, 1]})[0].tolist()
    )
    assert (
        encoder.transform_row({"v": np.array(times)})[0].tolist()
        == encoder.transform_row({"v": times})[0].tolist()
    )
    assert encoder.transform_row({"v": []})[0].tolist() == encoder.transform_row({"v": ""})[0].tolist() == []
    for cell in (None, float("nan"), pd.NA):
        assert encoder.transform_row({"v": cell})[0].tolist() == encoder.transform_row({"v": [None]})[0].tolist()


def test_rows_from_frames():
    frame = pd.DataFrame(CLICKS)
    encoder = click_encoder().fit(frame)
    expected = encoder.transform(frame)
    for rows in (frame.to_dict("records"), pl.DataFrame(CLICKS).rows(named=True), rows_of(CLICKS)):
        got = [encoder.transform_row(row) for row in rows]
        assert np.concatenate([ids for ids, _ in got]).tolist() == expected.indices.tolist()
        assert np.concatenate([values for _, values in got]).tobytes() == expected.data.tobytes()


def test_any_mapping_and_more_than_the_columns():
    encoder = click_encoder().fit(CLICKS)
    row = rows_of(CLICKS)[0]
    expected = encoder.transform_row(row)[0].tolist()
    for other in (
        MappingProxyType(row),
        collections.OrderedDict(reversed(row.items())),
        collections.ChainMap(row),
        row | {"more": object()},
    ):
        assert encoder.transform_row(other)[0].tolist() == expected
    assert list(row) == list(CLICKS)


@pytest.mark.parametrize("share", [1.0, 0.1])
@pytest.mark.parametrize("kind", MODELS)
def test_scores_of_rows(kind, share):
    options = {"negative_downsampling": share} if issubclass(kind, FMClassifier) else {"clip": share < 1}
    model = kind(encoder=click_encoder(), **SETTINGS, **options).fit(CLICKS, CLICKED)
    table = CLICKS | {"city": [*CLICKS["city"][:-1], "unknown"], "tags": [["a", "b", "c"], *CLICKS["tags"][1:]]}
    expected = model.predict_proba(table)[:, 1] if issubclass(kind, FMClassifier) else model.predict(table)
    for other in (model, pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        got = [other.score_row_dict(row) for row in rows_of(table)]
        assert all(type(score) is float for score in got)
        np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_extreme_scores():
    model = FMClassifier(encoder=TableEncoder([DenseFeat("d", scaling="none")]), **SETTINGS).fit(
        {"d": [0, 1, 2, 3]}, [0, 1, 0, 1]
    )
    for number in (1e30, -1e30, 3e38, 1e10):
        got, expected = model.score_row_dict({"d": number}), model.predict_proba({"d": [number]})[0, 1]
        assert got == pytest.approx(expected, abs=1e-300)
        assert 0.0 <= got <= 1.0


def test_many_threads_score_rows():
    model, wrong = DeepFMClassifier(encoder=click_encoder(), **SETTINGS).fit(CLICKS, CLICKED), []
    rows = rows_of(CLICKS)
    expected = [model.score_row_dict(row) for row in rows]
    del model._row_scorer

    def work(number):
        wrong.extend(number for _ in range(100) if model.score_row_dict(rows[number]) != expected[number])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


ROW = {"city": "bj", "age": 3, "user": 7, "tags": ["a"]}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"city": "bj"}, "The row has no column 'age', but 'city'."),
        ([1], "row=[1] must be a dict of column names and values, of one row."),
        (pd.Series({"city": "bj"}), "must be a dict of column names and values"),
        (ROW | {"city": ["a"]}, "Column 'city' holds ['a'] in row 0, a list, but categories are text"),
        (ROW | {"city": 1j}, "Column 'city' holds 1j in row 0, a complex, but categories are text"),
        (ROW | {"tags": {"a"}}, "Column 'tags' holds {'a'} in row 0, a set"),
        (ROW | {"tags": [["a"]]}, "Column 'tags' holds ['a'] in row 0, a list"),
        (ROW | {"tags": 1j}, "Column 'tags' holds 1j in row 0, a complex"),
        (ROW | {"age": "many"}, "Column 'age', row 0: 'many' is no number"),
        (ROW | {"age": [1]}, "Column 'age', row 0: [1] is no number"),
        (ROW | {"age": float("inf")}, "Column 'age', row 0: inf is infinite"),
        (ROW | {"age": 10**400}, "Column 'age', row 0:"),
        (ROW | {"age": dt.date(2020, 1, 1)}, "Column 'age', row 0: datetime.date(2020, 1, 1) is no number"),
        (
            ROW | {"age": 1e45},
            "Column 'age' holds 1e+45 in row 0, which is beyond the range of float32 after scaling",
        ),
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_rows_that_cannot_be_scored(row, message):
    model = FMClassifier(encoder=click_encoder(), **SETTINGS).fit(CLICKS, CLICKED)
    for call in (model.encoder_.transform_row, model.score_row_dict):
        refused(lambda call=call: call(row), message)


def test_a_hashed_column_refuses_what_is_no_category():
    encoder = TableEncoder([SparseFeat("h", hash_buckets=5)]).fit({"h": ["a"]})
    refused(
        lambda: encoder.transform_row({"h": 1j}), "Column 'h' holds 1j in row 0, a complex, but categories are"
    )


def test_a_model_without_an_encoder():
    model = FMRegressor(**SETTINGS).fit([[1.0], [2.0]], [1.0, 2.0])
    refused(
        lambda: model.score_row_dict({}), "score_row_dict needs a model that was fitted to a table, with encoder="
    )


def test_numbers_as_text():
    encoder = click_encoder().fit(CLICKS)
    got = encoder.transform_row({"city": "bj", "age": "20", "user": "7", "tags": "a|b"})
    expected = encoder.transform_row({"city": "bj", "age": 20.0, "user": 7, "tags": ["a", "b"]})
    assert [part.tolist() for part in got] == [part.tolist() for part in expected]
