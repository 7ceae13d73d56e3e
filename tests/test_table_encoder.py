"""The table encoder against its slow twin, over tables of every kind; and as a transformer of scikit-learn."""

from __future__ import annotations

import pickle
import threading
import tracemalloc

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse
from encoder_tools import (
    CLICKS,
    EXAMPLES,
    assert_same_rows,
    click_columns,
    click_encoder,
    columns_and_rows,
    entries_of,
    learned,
    object_columns,
    same_bits,
    tables_of,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_encoder import ReferenceEncoder, RefusalError
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from fastfm_deep import DenseFeat, InputError, SparseFeat, TableEncoder, VarLenSparseFeat
from fastfm_deep.data.values import Texts


def reference_result(reference, columns):
    """What the twin gives, or what it refuses: the first row of each column that has one."""
    refusals = [found for twin in reference.twins if (found := first_refusal(twin, columns))]
    return None if refusals else reference.rows(columns), refusals


def first_refusal(twin, columns):
    try:
        for row in range(len(columns["s"])):
            twin.entries(columns, row)
    except RefusalError as error:
        return error.args
    return None


def check(got_call, expected, refusals):
    if not refusals:
        assert_same_rows(entries_of(got_call()), expected)
        return
    with pytest.raises(InputError) as caught:
        got_call()
    text = str(caught.value)
    assert any(f"Column {column!r} holds" in text and f"in row {row}" in text for column, row in refusals)


@given(columns_and_rows())
@settings(max_examples=5 * EXAMPLES, deadline=None)
def test_rows_are_those_of_the_twin(case):
    columns, first, more = case
    reference, encoder = ReferenceEncoder(columns).learn(first), TableEncoder(columns)
    expected, refusals = reference_result(reference, first)
    check(lambda: encoder.fit_transform(object_columns(first)), expected, refusals)
    if refusals:  # the same rule in fit
        assert not encoder.__sklearn_is_fitted__()
        check(lambda: encoder.fit(object_columns(first)), None, refusals)
        return
    assert same_bits(encoder.transform(object_columns(first)), TableEncoder(columns).fit_transform(first))
    assert encoder.fields_.field_of_column.tolist() == reference.field_of_feature
    assert encoder.fields_.n_fields == 3
    assert len(encoder.get_feature_names_out()) == encoder.transform(first).shape[1] == reference.n_features
    expected, refusals = reference_result(reference, more)
    check(lambda: encoder.transform(object_columns(more)), expected, refusals)


@given(columns_and_rows(strict=False))
@settings(max_examples=3 * EXAMPLES, deadline=None)
def test_growing_is_that_of_the_twin(case):
    columns, first, more = case
    reference, encoder = ReferenceEncoder(columns).learn(first), TableEncoder(columns).fit(object_columns(first))
    reference.learn(more)
    encoder.partial_fit(object_columns(more))
    for rows in (first, more):
        assert_same_rows(entries_of(encoder.transform(object_columns(rows))), reference.rows(rows))
    assert encoder.fields_.field_of_column.tolist() == reference.field_of_feature


def test_tables_of_every_kind_give_the_same_bits(tmp_path):
    tables = tables_of(CLICKS)
    reference = ReferenceEncoder(click_columns()).learn(CLICKS)
    expected = click_encoder().fit_transform(CLICKS)
    assert_same_rows(entries_of(expected), reference.rows(CLICKS))
    tables["polars to parquet"] = tmp_path / "t.parquet"
    tables["polars"].write_parquet(tables["polars to parquet"])
    frame = tables["pandas"]
    tables["categorical"] = frame.assign(
        city=frame["city"].astype("category"), user=frame["user"].astype("category")
    )
    tables["polars enum"] = tables["polars"].with_columns(
        pl.col("city").cast(pl.Enum(["?", "gz", "sh", "żółw", "bj"]))
    )
    tables["arrow dictionary"] = pa.table({**CLICKS, "city": pa.array(CLICKS["city"]).dictionary_encode()})
    tables["arrow chunks"] = pa.concat_tables([tables["pyarrow"].slice(0, 3), tables["pyarrow"].slice(3)])
    tables["other order"] = frame[frame.columns[::-1]].assign(extra=1)
    tables["views"] = pd.concat([frame, frame])[: len(frame)]
    for what, table in tables.items():
        encoder = click_encoder()
        assert same_bits(encoder.fit_transform(table), expected), what
        for other, X in tables.items():
            assert same_bits(encoder.transform(X), expected), (what, other)


def test_a_csv_file_gives_the_same_bits(tmp_path):
    columns = {"city": ["bj", "sh", "bj", "żółw"], "age": [20.0, None, 31.5, 4.0], "user": [7, 2**60 + 1, 7, 3]}
    columns["tags"] = ["a|b", "b", "c|a|a", "d"]
    pd.DataFrame(columns).to_csv(tmp_path / "t.csv", index=False)
    encoder = click_encoder()
    expected = encoder.fit_transform(columns)
    assert same_bits(encoder.transform(str(tmp_path / "t.csv")), expected)
    assert same_bits(click_encoder().fit_transform(tmp_path / "t.csv"), expected)


def test_one_field_after_the_other():
    encoder = click_encoder().fit(CLICKS)
    names = encoder.get_feature_names_out().tolist()
    assert names == [
        *("missing", "city=<unknown>", "city=bj", "city=sh", "city=<missing>", "city=żółw", "city=gz"),
        *("age", "age=<missing>"),
        *("user=<unknown>", f"user={2**60 + 1}", "user=7", "user=3", "user=11"),
        *("tags=<unknown>", "tags=a", "tags=b", "tags=<missing>", "tags=c", "tags=d"),
    ]
    assert encoder.fields_.field_of_column.tolist() == [-1, *[0] * 6, 1, 1, *[2] * 5, *[3] * 6]
    assert encoder.fields_.pooling == ("sum", "sum", "sum", "mean")
    assert TableEncoder([SparseFeat("city")]).fit(CLICKS).fields_.pooling == ()


# ---------------------------------------------------------------------------------------------------- many threads


@pytest.mark.parametrize("n_jobs", [1, 2, -1])
def test_threads_change_nothing(n_jobs):
    rows = {name: values * 50 for name, values in CLICKS.items()}
    expected = click_encoder(handle_unknown="bucket").fit_transform(rows)
    encoder = TableEncoder(click_columns(), n_jobs=n_jobs)
    assert same_bits(encoder.fit_transform(rows), expected)
    assert same_bits(encoder.transform(rows), expected)


def test_one_encoder_serves_many_threads():
    encoder, expected, wrong = click_encoder().fit(CLICKS), click_encoder().fit_transform(CLICKS), []
    rows = [{name: values[row] for name, values in CLICKS.items()} for row in range(8)]

    def work(number):
        for _ in range(20):
            ids, values = encoder.transform_row(rows[number])
            row = expected[[number]]
            if not same_bits(encoder.transform(CLICKS), expected) or ids.tolist() != row.indices.tolist():
                wrong.append(number)
            if values.tobytes() != row.data.tobytes() or encoder.to_index_value(
                {k: v[:3] for k, v in ONE_TAG.items()}
            )[0].shape != (3, 4):
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


ONE_TAG = CLICKS | {"tags": ["a", "b", None, "c", "a", "b", "z", "a"]}


def test_text_is_not_copied():
    """20 MB of text: what a transform takes beside it are codes and ids."""
    texts = pa.array(["x" * 1000 + str(row % 50) for row in range(20_000)])
    table = pa.table({"t": texts})
    encoder = TableEncoder([SparseFeat("t")], n_jobs=1).fit(table)
    tracemalloc.start()
    encoder.transform(table)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3e6
    assert encoder.encoding_.learned[0].categories.vocabulary.n == 50
    from fastfm_deep.data.table import as_table

    assert isinstance(as_table(table).column("t"), Texts)


# ------------------------------------------------------------------------------------- the manners of scikit-learn


def test_before_fit_there_is_nothing():
    encoder = click_encoder()
    calls = [
        lambda: encoder.transform(CLICKS),
        lambda: encoder.inverse_transform(np.zeros((1, 1))),
        lambda: encoder.transform_row({}),
        lambda: encoder.to_index_value(CLICKS),
        lambda: encoder.from_index_value(np.zeros((1, 1), int), np.zeros((1, 1))),
        lambda: encoder.get_feature_names_out(),
        lambda: encoder.fields_,
        lambda: encoder.feature_dictionary_,
        lambda: encoder.encoding_,
    ]
    for call in calls:
        with pytest.raises(NotFittedError, match="This TableEncoder instance is not fitted yet"):
            call()
    assert vars(encoder).keys() == {"columns", "n_jobs"}


def test_set_output_leaves_rows_sparse():
    encoder = click_encoder().set_output(transform="default")
    assert isinstance(encoder.fit_transform(CLICKS), scipy.sparse.csr_array)
    encoder.set_output(transform="pandas")
    with pytest.raises(ValueError, match="Try to set the transformer output to a dense array"):
        encoder.transform(CLICKS)


def test_part_of_a_pipeline_and_of_a_column_transformer():
    frame = tables_of(CLICKS)["pandas"]
    expected = click_encoder().fit_transform(frame)
    lower = FunctionTransformer(lambda table: table.assign(city=table["city"].str.lower()))
    assert same_bits(make_pipeline(lower, click_encoder()).fit_transform(frame), expected)
    parts = ColumnTransformer(
        [("rows", click_encoder(), list(CLICKS)), ("age", "drop", ["age"])], sparse_threshold=1.0
    )
    assert (parts.fit_transform(frame) != scipy.sparse.csr_matrix(expected)).nnz == 0
    names = parts.get_feature_names_out()
    assert len(names) == expected.shape[1]
    assert names[2] == "rows__city=bj"


def test_pickled():
    encoder = click_encoder().fit(CLICKS)
    encoder.transform_row({name: values[0] for name, values in CLICKS.items()})
    other = pickle.loads(pickle.dumps(encoder))
    assert learned(other) == learned(encoder)
    assert same_bits(other.transform(CLICKS), encoder.transform(CLICKS))


def test_refused_fits_leave_what_there_is():
    encoder = click_encoder().fit(CLICKS)
    before = learned(encoder)
    for call in (encoder.fit, encoder.fit_transform, encoder.partial_fit):
        with pytest.raises(InputError):
            call({"city": ["x"], "age": ["many"], "user": [1], "tags": [None]})
        assert learned(encoder) == before
        assert encoder.n_features_in_ == 4


# --------------------------------------------------------------------------------------------------- dense columns


@pytest.mark.parametrize(
    ("scaling", "numbers", "expected"),
    [
        ("standard", [1, 2, 3], [-1.2247449, 0, 1.2247449]),
        ("standard", [7.0, 7.0], [0, 0]),
        ("standard", [0.1] * 3, [0, 0, 0]),
        ("standard", [1e160] * 2, [0, 0]),
        ("standard", [1e17, 1e17 + 4096], [-1, 1]),
        ("minmax", [-1, 0, 3], [0, 0.25, 1]),
        ("minmax", [5], [0]),
        ("minmax", [-8e307, 8e307, 0], [0, 1, 0.5]),
        ("log1p", [0.0, -0.0, np.e - 1, 1 - np.e, 1e308], [0, 0, 1, -1, 709.19617]),
        ("none", [1.5, -3e38, 1e-300], [1.5, -3e38, 0]),
    ],
)
def test_scalings(scaling, numbers, expected):
    encoder = TableEncoder([DenseFeat("d", scaling=scaling)])
    got = encoder.fit_transform({"d": np.array(numbers)})
    np.testing.assert_allclose(got.data, expected, rtol=1e-6, atol=1e-7)
    for number, x in zip(numbers, got.data, strict=True):
        assert encoder.transform_row({"d": number})[1].tobytes() == x.tobytes()


@given(
    st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=9),
    st.sampled_from(["log1p", "minmax"]),
    st.sampled_from([None, 3]),
)
@settings(max_examples=2 * EXAMPLES, deadline=None)
def test_numbers_of_any_size_are_scaled(numbers, scaling, buckets):
    encoder = TableEncoder([DenseFeat("d", scaling=scaling, buckets=buckets, missing="mean")])
    got = encoder.fit_transform({"d": [*numbers, None]})
    assert np.isfinite(got.data).all()
    assert np.abs(got.data).max() < 1000


def test_buckets_of_few_distinct_values():
    encoder = TableEncoder([DenseFeat("d", buckets=10)]).fit({"d": [1, 1, 1, 2, 5]})
    assert encoder.get_feature_names_out().tolist() == [
        "missing",
        "d=(-inf, 1.0]",
        "d=(1.0, 2.0]",
        "d=(2.0, inf]",
        "d=<missing>",
    ]
    assert encoder.transform({"d": [0, 1, 1.5, 2, 9, None]}).indices.tolist() == [1, 1, 2, 2, 3, 4]
    constant = TableEncoder([DenseFeat("d", buckets=3)]).fit({"d": [7, 7]})
    assert constant.transform({"d": [6, 7, 8]}).indices.tolist() == [1, 1, 1]


def test_names_of_close_edges_differ():
    encoder = TableEncoder([DenseFeat("d", buckets=4)]).fit({"d": [1000001, 1000002, 1000003, 1000004]})
    assert len(set(encoder.get_feature_names_out())) == encoder.encoding_.n_features
    assert len(encoder.feature_dictionary_["d"]) == 4


def test_a_dense_column_without_numbers():
    for column in (DenseFeat("d"), DenseFeat("d", buckets=3), DenseFeat("d", missing="mean")):
        encoder = TableEncoder([column]).fit({"d": [None, None]})
        row = encoder.transform({"d": [2.0]})
        assert row.indices.tolist() == [1]
        assert row.data.tolist() == [1.0 if column.buckets else 2.0]
        encoder.partial_fit({"d": [1.0, 3.0]})
        assert encoder.transform({"d": [3.0]}).data.tolist() == [1.0]


def test_bags_of_one_value_by_itself():
    """A column without lists or separators is one of bags of one."""
    encoder = TableEncoder([VarLenSparseFeat("v")]).fit({"v": [1, 2, 2]})
    assert encoder.transform({"v": [[2, 1], [2]]}).indices.tolist() == [3, 2, 3]
    assert encoder.transform({"v": ["2|1", "2"]}).indices.tolist() == [3, 2, 3]
