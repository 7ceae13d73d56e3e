"""Feature columns: what a user declares, how it is checked, and how it is kept."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle

import numpy as np
import pytest
from encoder_tools import refused
from sklearn.base import clone

from fastfm_deep import DenseFeat, InputError, SparseFeat, TableEncoder, VarLenSparseFeat
from fastfm_deep.data.feature_columns import check_columns, from_plain, names_of, to_plain

COLUMNS = [
    SparseFeat("city"),
    SparseFeat("żółw", min_count=3, handle_unknown="ignore"),
    SparseFeat("user", hash_buckets=100, handle_unknown="error"),
    DenseFeat("age"),
    DenseFeat("price", scaling="log1p", buckets=5, missing="mean"),
    VarLenSparseFeat("tags"),
    VarLenSparseFeat("words", "max", " ", 5, "weights", 2, None, "ignore"),
]


@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: column.name)
def test_columns_are_values(column):
    assert from_plain(json.loads(json.dumps(to_plain(column)))) == column
    assert eval(repr(column)) == column
    for other in (copy.deepcopy(column), pickle.loads(pickle.dumps(column)), dataclasses.replace(column)):
        assert other == column
        assert hash(other) == hash(column)
    with pytest.raises(dataclasses.FrozenInstanceError):
        column.name = "other"


def test_the_names_are_those_that_the_documents_say():
    assert repr(SparseFeat("c")) == "SparseFeat(name='c', min_count=1, hash_buckets=None, handle_unknown='bucket')"
    assert repr(DenseFeat("d")) == "DenseFeat(name='d', scaling='standard', buckets=None, missing='indicator')"
    assert repr(VarLenSparseFeat("v")).startswith(
        "VarLenSparseFeat(name='v', pooling='mean', separator='|', max_length=None, weights=None, "
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SparseFeat(""), "name='' must be the name of a column, a string that is not empty."),
        (lambda: DenseFeat(3), "name=3 must be the name of a column"),
        (lambda: VarLenSparseFeat(None), "name=None must be the name of a column"),
        (lambda: SparseFeat("c", min_count=0), "min_count of column 'c'=0 must be at least 1"),
        (lambda: SparseFeat("c", min_count=1.5), "min_count of column 'c'=1.5 must be an integer"),
        (lambda: SparseFeat("c", min_count=True), "min_count of column 'c'=True must be an integer"),
        (lambda: SparseFeat("c", hash_buckets=0), "hash_buckets of column 'c'=0 must be at least 1"),
        (
            lambda: SparseFeat("c", hash_buckets=2**31),
            "hash_buckets of column 'c'=2147483648 must be at most 2147483646",
        ),
        (
            lambda: SparseFeat("c", min_count=2, hash_buckets=5),
            "min_count=2 of column 'c' needs a vocabulary, but hash_bu",
        ),
        (lambda: SparseFeat("c", handle_unknown="no"), "handle_unknown of column 'c'='no' is unknown"),
        (lambda: SparseFeat("c", handle_unknown=None), "handle_unknown of column 'c'=None is unknown"),
        (lambda: DenseFeat("d", scaling="log"), "scaling of column 'd'='log' is unknown"),
        (lambda: DenseFeat("d", scaling=["none"]), "scaling of column 'd'=['none'] is unknown"),
        (lambda: DenseFeat("d", missing="zero"), "missing of column 'd'='zero' is unknown"),
        (lambda: DenseFeat("d", buckets=1), "buckets of column 'd'=1 must be at least 2"),
        (lambda: DenseFeat("d", buckets="many"), "buckets of column 'd'='many' must be an integer"),
        (lambda: VarLenSparseFeat("v", pooling="min"), "pooling of column 'v'='min' is unknown"),
        (
            lambda: VarLenSparseFeat("v", separator=""),
            "separator='' of column 'v' must be a string that is not empty.",
        ),
        (lambda: VarLenSparseFeat("v", separator=b"|"), "separator=b'|' of column 'v' must be a string"),
        (lambda: VarLenSparseFeat("v", max_length=0), "max_length of column 'v'=0 must be at least 1"),
        (lambda: VarLenSparseFeat("v", weights=""), "name='' must be the name of a column"),
        (lambda: VarLenSparseFeat("v", hash_buckets=-1), "hash_buckets of column 'v'=-1 must be at least 1"),
    ],
)
def test_options_are_checked_at_once(make, message):
    text = refused(make, message)
    assert text.endswith(".")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ([], "columns=[] names no feature column; give some, e.g. [SparseFeat('user'), DenseFeat('age')]"),
        ("city", "columns='city' must be a list of feature columns"),
        (SparseFeat("c"), "columns=SparseFeat(name='c'"),
        (None, "columns=None must be a list of feature columns"),
        (3, "columns=3 must be a list of feature columns"),
        (iter([SparseFeat("c")]), "must be a list of feature columns"),
        ({"c": SparseFeat("c")}, "must be a list of feature columns"),
        (
            ["city"],
            "columns[0]='city' must be a SparseFeat, a DenseFeat or a VarLenSparseFeat; for a column of cate",
        ),
        (
            [SparseFeat("c"), SparseFeat],
            "columns[1]=<class 'fastfm_deep.data.feature_columns.SparseFeat'> must be",
        ),
        ([SparseFeat("c"), DenseFeat("c")], "columns name 'c' twice; declare each column once."),
    ],
)
def test_lists_of_columns_are_checked_by_fit(columns, message):
    encoder = TableEncoder(columns)
    refused(lambda: encoder.fit({"c": ["a"]}), message)
    assert vars(encoder) == {"columns": columns, "n_jobs": None}


def test_tuples_of_columns_are_fine():
    assert check_columns(tuple(COLUMNS)) == tuple(COLUMNS)
    assert names_of(COLUMNS)[:2] == ("city", "żółw")


def test_numbers_of_numpy_are_fine():
    column = VarLenSparseFeat("v", min_count=np.int64(2), max_length=np.int32(3))
    encoder = TableEncoder([column]).fit({"v": [["a", "a", "b"]]})
    assert encoder.get_feature_names_out().tolist() == ["missing", "v=<unknown>", "v=a"]


def test_an_encoder_is_cloned_with_its_columns():
    encoder = TableEncoder(list(COLUMNS), n_jobs=2)
    other = clone(encoder)
    assert other.get_params() == encoder.get_params() == {"columns": COLUMNS, "n_jobs": 2}
    assert other.set_params(columns=COLUMNS[:1]).columns == COLUMNS[:1]
    assert encoder.columns == COLUMNS
    assert "TableEncoder(columns=[SparseFeat(name='city'" in repr(TableEncoder(COLUMNS[:1]))
    with pytest.raises(ValueError, match="Invalid parameter 'depth'"):
        encoder.set_params(depth=1)


def test_from_plain_refuses_what_is_none():
    for stored in (
        {},
        {"type": "tree", "name": "c"},
        {"type": "sparse"},
        {"type": "sparse", "name": "c", "depth": 1},
    ):
        with pytest.raises((KeyError, TypeError)):
            from_plain(stored)
    with pytest.raises(InputError):
        from_plain({"type": "dense", "name": "d", "buckets": 0})
