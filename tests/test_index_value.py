"""The two views of DeepFM write-ups: the feature dictionary, and index and value matrices."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from encoder_tools import (
    CLICKS,
    EXAMPLES,
    columns_and_rows,
    entries_of,
    object_columns,
    refused,
    same_bits,
    tables_of,
)
from hypothesis import given, settings

from fastfm_deep import DeepFMClassifier, DenseFeat, InputError, SparseFeat, TableEncoder, VarLenSparseFeat

COLUMNS = [
    SparseFeat("city"),
    DenseFeat("age"),
    SparseFeat("user", handle_unknown="ignore"),
    VarLenSparseFeat("tag"),
]
TABLE = {name: CLICKS[name] for name in ("city", "age", "user")} | {
    "tag": ["a", "b", None, "a", "", "c", "a", "b"]
}


def encoder():
    return TableEncoder(COLUMNS).fit(TABLE)


def test_the_dictionary_of_the_write_ups():
    table = {"city": ["bj", "sh", "gz"], "age": [7.0, 8.0, 9.0]}
    found = TableEncoder([SparseFeat("city"), DenseFeat("age")]).fit(table).feature_dictionary_
    assert found == {"missing": 0, "city": {"bj": 2, "sh": 3, "gz": 4}, "age": 5}
    assert list(found) == ["missing", "city", "age"]


def test_every_sort_of_column_in_the_dictionary():
    columns = [SparseFeat("c"), SparseFeat("h", hash_buckets=2), DenseFeat("b", buckets=2), VarLenSparseFeat("v")]
    table = {"c": [True, 2, None, "2"], "h": [1, 2, 3, 4], "b": [1.0, 2.0, 3.0, None], "v": ["a|b", None, "", "c"]}
    found = TableEncoder(columns).fit(table).feature_dictionary_
    assert found["c"] == {True: 2, 2: 3, None: 4, "2": 5}
    assert found["h"] == {0: 6, 1: 7}
    assert found["b"] == {"(-inf, 2.0]": 8, "(2.0, inf]": 9}
    assert found["v"] == {"a": 12, "b": 13, None: 14, "c": 15}


def test_dictionary_and_matrices_agree():
    fitted = encoder()
    dictionary = fitted.feature_dictionary_
    index, value = fitted.to_index_value(TABLE)
    assert index.shape == value.shape == (8, 4)
    assert (index.dtype, value.dtype) == (np.int64, np.float32)
    assert index[:, 0].tolist() == [dictionary["city"][city] for city in TABLE["city"]]
    assert index[0].tolist() == [2, dictionary["age"], dictionary["user"][2**60 + 1], dictionary["tag"]["a"]]
    assert index[2, 1] == dictionary["age"] + 1
    assert value[2, 1] == 1.0
    assert index[4, 3] == 0
    assert value[4, 3] == 0.0
    ages = np.array([np.nan if age is None else age for age in TABLE["age"]])
    np.testing.assert_allclose(
        value[[0, 1, 3], 1], ((ages - np.nanmean(ages)) / np.nanstd(ages))[[0, 1, 3]], rtol=1e-6
    )
    assert value[:, [0, 2]].min() == value[:, [0, 2]].max() == 1.0


@given(columns_and_rows(strict=False))
@settings(max_examples=2 * EXAMPLES, deadline=None)
def test_matrices_hold_what_rows_hold(case):
    columns, first, more = case
    fitted = TableEncoder(columns).fit(object_columns(first))
    for table in (object_columns(first), object_columns(more)):
        rows = fitted.transform(table)
        in_bags = rows[:, fitted.fields_.field_of_column == 2]
        if np.diff(in_bags.indptr).max() > 1:
            with pytest.raises(InputError, match="Column 'v' holds"):
                fitted.to_index_value(table)
            continue
        index, value = fitted.to_index_value(table)
        assert [
            [(i, x) for i, x in zip(*row, strict=True) if i]
            for row in zip(index.tolist(), value.tolist(), strict=True)
        ] == entries_of(rows)
        assert same_bits(fitted.from_index_value(index, value), rows)


def test_every_table_and_every_matrix():
    fitted = encoder()
    expected = fitted.to_index_value(TABLE)
    for table in tables_of(TABLE).values():
        for got, matrix in zip(fitted.to_index_value(table), expected, strict=True):
            assert got.tobytes() == matrix.tobytes()
    rows = fitted.transform(TABLE)
    for form in (
        np.asarray,
        pd.DataFrame,
        lambda matrix: matrix.tolist(),
        np.asfortranarray,
        lambda m: m.astype(m.dtype.str[1] + "8"),
    ):
        got = fitted.from_index_value(form(expected[0]), form(expected[1]))
        assert isinstance(got, scipy.sparse.csr_array)
        assert same_bits(got, rows)


def test_a_field_without_any_feature():
    """The last column has no category at all; its field counts nevertheless."""
    fitted = TableEncoder([SparseFeat("a"), SparseFeat("b", handle_unknown="ignore")]).fit(
        {"a": ["x"], "b": [None]}
    )
    index, value = fitted.to_index_value({"a": ["x", "y"], "b": [None, 1]})
    assert index.tolist() == [[2, 0], [1, 0]]
    assert same_bits(fitted.from_index_value(index, value), fitted.transform({"a": ["x", "y"], "b": [None, 1]}))


def test_no_rows():
    fitted = encoder()
    index, value = fitted.to_index_value({name: [] for name in TABLE})
    assert index.shape == value.shape == (0, 4)
    assert fitted.from_index_value(index, value).shape == (0, fitted.encoding_.n_features)


def test_a_model_scores_rows_from_matrices():
    model = DeepFMClassifier(encoder=TableEncoder(COLUMNS), n_epochs=1, n_jobs=1, random_state=0).fit(
        TABLE, [0, 1] * 4
    )
    rows = model.encoder_.from_index_value(*model.encoder_.to_index_value(TABLE))
    assert model.predict_proba(rows).tobytes() == model.predict_proba(TABLE).tobytes()


def test_several_values_in_one_field():
    fitted = TableEncoder([VarLenSparseFeat("v")]).fit({"v": ["a", "b"]})
    refused(
        lambda: fitted.to_index_value({"v": ["a", "b|a"]}),
        "Column 'v' holds 2 values in row 1, but index and value matrices have room for one a field; declare it "
        "with max_length=1, or take the rows of transform().",
    )
    one = TableEncoder([VarLenSparseFeat("v", max_length=1)]).fit({"v": ["a", "b"]})
    assert one.to_index_value({"v": ["b|a", ""]})[0].tolist() == [[3], [0]]


def altered(at, number, dtype=None):
    def change(matrix):
        matrix = matrix.astype(dtype) if dtype else matrix.copy()
        matrix[at] = number
        return matrix

    return change


def same(matrix):
    return matrix


@pytest.mark.parametrize(
    ("of_index", "of_value", "message"),
    [
        (
            altered((2, 1), 2),
            same,
            "Xi[2, 1]=2 is no feature of field 1; take those of to_index_value(table), or 0 for",
        ),
        (altered((0, 0), -1), same, "Xi[0, 0]=-1 is no feature of field 0"),
        (altered((7, 3), 10**6), same, "Xi[7, 3]=1000000 is no feature of field 3"),
        (altered((7, 3), 2**63, np.uint64), same, "Xi[7, 3]=9223372036854775808 is no feature of field 3"),
        (
            lambda matrix: matrix.astype(float),
            same,
            "Xi of shape (8, 4) and dtype float64 and Xv of shape (8, 4) must both",
        ),
        (
            lambda matrix: matrix[:, :3],
            lambda matrix: matrix[:, :3],
            "must both be of shape (n_rows, 4), one column a fie",
        ),
        (lambda matrix: matrix[:3], same, "Xi of shape (3, 4)"),
        (lambda matrix: matrix[0], lambda matrix: matrix[0], "Xi of shape (4,)"),
        (same, altered((1, 0), np.nan), "row 1"),
        (same, altered((1, 0), 1e39, float), "row 1"),
        (same, lambda matrix: matrix.astype(str), "Xv"),
        (same, lambda matrix: matrix.astype(complex), "Xv"),
    ],
)
def test_matrices_that_do_not_fit(of_index, of_value, message):
    fitted = encoder()
    index, value = fitted.to_index_value(TABLE)
    refused(lambda: fitted.from_index_value(of_index(index), of_value(value)), message)
