"""Recommendations: the items that scoring whole rows would put first, for every model."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse
from recommend_tools import expected_order, fitted, pairs_of, users_and_items, whole_rows

from fastfm_deep import (
    DeepFMClassifier,
    DeepFMRegressor,
    FMClassifier,
    FMRegressor,
    InputError,
    SparseFeat,
    TableEncoder,
    VarLenSparseFeat,
    load_model,
)

MODELS = [FMClassifier, FMRegressor, DeepFMClassifier, DeepFMRegressor]
USERS, ITEMS = users_and_items()


@pytest.fixture(scope="module", params=MODELS)
def model(request):
    return fitted(request.param, USERS, ITEMS)


def test_ids_and_scores_are_those_of_whole_rows(model):
    ids, scores = model.recommend(USERS, ITEMS, n=7)
    assert ids.shape == scores.shape == (len(USERS["user"]), 7)
    assert ids.dtype == np.int64
    for user in range(len(ids)):
        order, expected = expected_order(model, USERS, ITEMS, user)
        assert ids[user].tolist() == order[:7].tolist()
        np.testing.assert_allclose(scores[user], expected[:7], rtol=1e-6)


@pytest.mark.parametrize(
    "options",
    [
        {"n_factors": 0},
        {"n_factors": 3},
        {"n_factors": 16},
        {"linear_columns": ["user", "item", "price"], "deep_columns": ["user", "item", "tags", "likes"]},
        {"n_jobs": 2},
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", [FMClassifier, DeepFMClassifier])
def test_every_shape_of_model(kind, options):
    if options.get("n_factors") == 0 and kind is DeepFMClassifier:
        options = options | {"dnn_hidden_units": ()}
    model = fitted(kind, USERS, ITEMS, **options)
    ids, _ = model.recommend(USERS, ITEMS, n=10)
    for user in range(len(ids)):
        assert ids[user].tolist() == expected_order(model, USERS, ITEMS, user)[0][:10].tolist()


@pytest.mark.parametrize("activation", ["relu", "sigmoid", "tanh", "leaky_relu", "gelu"])
@pytest.mark.parametrize("batch_norm", [False, True])
def test_every_network(activation, batch_norm):
    options = {
        "dnn_activation": activation,
        "dnn_batch_norm": batch_norm,
        "dnn_hidden_units": (8, 4),
        "dnn_dropout": 0.1,
    }
    model = fitted(DeepFMClassifier, USERS, ITEMS, **options)
    ids, scores = model.recommend(USERS, ITEMS, n=60)
    for user in (0, 3):
        order, expected = expected_order(model, USERS, ITEMS, user)
        np.testing.assert_allclose(scores[user], expected, rtol=1e-5)
        np.testing.assert_allclose(expected[np.argsort(order)][ids[user]], expected, rtol=1e-5)


def test_more_than_there_are(model):
    ids, scores = model.recommend(USERS, ITEMS, n=1000)
    assert ids.shape == (12, 60)
    assert (np.sort(ids, axis=1) == np.arange(60)).all()
    assert np.isfinite(scores).all()


def test_ties_go_to_the_first(model):
    items = {name: np.repeat(np.asarray(values, dtype=None)[:2], 40) for name, values in ITEMS.items()}
    ids, _ = model.recommend(USERS, items, n=45)
    for user in range(12):
        assert (np.diff(ids[user][:40]) == 1).all()


def test_many_items_in_blocks():
    users, items = users_and_items(2, 5000)
    model = fitted(DeepFMClassifier, users, items, n_jobs=2)
    ids, _ = model.recommend(users, items, n=50)
    for user in range(2):
        assert ids[user].tolist() == expected_order(model, users, items, user)[0][:50].tolist()


def test_values_too_large_for_float32():
    model = fitted(FMClassifier, USERS, ITEMS)
    items = {**ITEMS, "price": np.full(60, 1e300)}  # log1p keeps it in range
    users = {**USERS, "age": np.full(12, 1e38)}
    ids, scores = model.recommend(users, items, n=5)
    for user in range(12):
        assert ids[user].tolist() == expected_order(model, users, items, user)[0][:5].tolist()
    assert np.isfinite(scores).all()


class TestExclude:
    def test_lists(self, model):
        exclude = [[int(place) for place in model.recommend(USERS, ITEMS, n=3).ids[user]] for user in range(12)]
        exclude[5] = []
        ids, _ = model.recommend(USERS, ITEMS, n=4, exclude=exclude)
        for user in range(12):
            order = expected_order(model, USERS, ITEMS, user)[0]
            assert ids[user].tolist() == [place for place in order if place not in exclude[user]][:4]

    def test_matrix(self, model):
        dense = np.random.default_rng(5).random((12, 60)) < 0.7
        by_lists = model.recommend(USERS, ITEMS, n=5, exclude=[np.flatnonzero(row) for row in dense])
        for matrix in (dense, scipy.sparse.csr_array(dense), scipy.sparse.coo_matrix(dense.astype(float))):
            found = model.recommend(USERS, ITEMS, n=5, exclude=matrix)
            np.testing.assert_array_equal(found.ids, by_lists.ids)

    def test_table_of_pairs(self, model):
        table, user, item = pairs_of(USERS, ITEMS, 200)
        seen = np.zeros((12, 60), bool)
        seen[user, item] = True
        by_matrix = model.recommend(USERS, ITEMS, n=5, exclude=seen)
        keys = {"item": table["item"], "user": table["user"], "when": np.arange(200)}
        for pairs in (keys, pd.DataFrame(keys), pl.DataFrame({**keys, "user": list(keys["user"])})):
            found = model.recommend(USERS, ITEMS, n=5, exclude=pairs)
            np.testing.assert_array_equal(found.ids, by_matrix.ids)

    def test_pairs_of_strangers(self, model):
        pairs = {"user": ["nobody", "u1"], "item": [1000, 77]}
        found = model.recommend(USERS, ITEMS, n=5, exclude=pairs)
        np.testing.assert_array_equal(found.ids, model.recommend(USERS, ITEMS, n=5).ids)

    def test_nothing_is_left(self, model):
        exclude = np.ones((12, 60), bool)
        exclude[2, 7] = False
        ids, scores = model.recommend(USERS, ITEMS, n=3, exclude=exclude)
        assert ids[2].tolist() == [7, -1, -1]
        assert (ids[np.arange(12) != 2] == -1).all()
        assert np.isnan(scores[2, 1:]).all()
        assert np.isfinite(scores[2, 0])

    @pytest.mark.parametrize(
        ("exclude", "message"),
        [
            ([[0]] * 3, "for each of the 12 users"),
            ([[60]] * 12, "exclude[0] holds 60, but rows of items lie in 0 .. 59"),
            ([[0.5]] * 12, "exclude[0]=[0.5] must be a list of rows"),
            (np.ones((3, 60)), "exclude has shape=(3, 60), but must be of shape (n_users, n_items)=(12, 60)"),
            ({"user": ["u1"]}, "must share a column with users"),
            ("all", "exclude='all' must be a list of rows"),
        ],
    )
    def test_what_it_cannot_be(self, model, exclude, message):
        with pytest.raises(InputError) as caught:
            model.recommend(USERS, ITEMS, exclude=exclude)
        assert message in str(caught.value)


class TestTables:
    def test_as_a_table(self, model):
        found = model.recommend(USERS, ITEMS, n=3)
        table = found.to_table()
        assert list(table) == ["user", "rank", "item", "tags", "kind", "price", "score"]
        assert table["user"].tolist() == np.repeat(np.arange(12), 3).tolist()
        assert table["rank"].tolist() == [1, 2, 3] * 12
        assert table["item"].tolist() == (found.ids + 1000).ravel().tolist()
        assert table["score"].tolist() == found.scores.ravel().tolist()

    @pytest.mark.parametrize("kind", [pd.DataFrame, pl.DataFrame, pa.table])
    def test_of_the_kind_of_the_items(self, kind):
        model = fitted(FMClassifier, USERS, ITEMS)
        items = {name: list(values) for name, values in ITEMS.items()}
        table = model.recommend(USERS, kind(items), n=3).to_table()
        assert isinstance(table, type(kind({"a": [1]})))
        plain = model.recommend(USERS, ITEMS, n=3).to_table()
        assert list(table.column_names if kind is pa.table else table.columns) == list(plain)
        column = table["item"].to_pylist() if kind is pa.table else list(table["item"])
        assert column == plain["item"].tolist()

    def test_lists_of_dicts(self, model):
        rows = [{name: values[place] for name, values in ITEMS.items()} for place in range(60)]
        table = model.recommend(USERS, rows, n=3).to_table()
        assert table["item"].tolist() == model.recommend(USERS, ITEMS, n=3).to_table()["item"].tolist()

    @pytest.mark.parametrize(
        ("users", "items", "message"),
        [
            ({**USERS, "kind": ["new"] * 12}, ITEMS, "Column 'kind' is in users and in items"),
            (
                USERS,
                {k: v for k, v in ITEMS.items() if k != "kind"},
                "Column 'kind' is neither in users nor in items",
            ),
            ({k: v[:0] for k, v in USERS.items()}, ITEMS, "0 sample(s)"),
            (USERS, {k: v[:0] for k, v in ITEMS.items()}, "0 sample(s)"),
            (USERS, {**ITEMS, "price": ["dear"] * 60}, "Column 'price', row 0: 'dear' is no number"),
            (3, ITEMS, "users"),
            (USERS, 3, "items"),
        ],
    )
    def test_what_they_cannot_be(self, model, users, items, message):
        with pytest.raises(InputError) as caught:
            model.recommend(users, items)
        assert message in str(caught.value)

    def test_number_of_items(self, model):
        with pytest.raises(InputError, match="n=0 must be at least 1"):
            model.recommend(USERS, ITEMS, n=0)


class TestCatalogs:
    def test_prepared(self, model):
        catalog = model.prepare_items(ITEMS)
        assert len(catalog) == 60
        found, expected = model.recommend(USERS, catalog, n=5), model.recommend(USERS, ITEMS, n=5)
        np.testing.assert_array_equal(found.ids, expected.ids)
        assert found.to_table()["item"].tolist() == expected.to_table()["item"].tolist()

    def test_of_another_model(self, model):
        other = fitted(type(model), USERS, ITEMS)
        with pytest.raises(InputError, match="prepared for another model"):
            other.recommend(USERS, model.prepare_items(ITEMS))

    def test_stale_after_training(self):
        model = fitted(FMRegressor, USERS, ITEMS)
        catalog = model.prepare_items(ITEMS)
        table, user, _ = pairs_of(USERS, ITEMS)
        model.recommend(USERS, ITEMS)
        model.partial_fit({**table, "item": table["item"] + 5}, user.astype(float))
        ids, _ = model.recommend(USERS, ITEMS, n=5)
        for place in range(12):
            assert ids[place].tolist() == expected_order(model, USERS, ITEMS, place)[0][:5].tolist()
        with pytest.raises(InputError, match="or before this one learned more"):
            model.recommend(USERS, catalog)

    @pytest.mark.parametrize("make", [dict, pd.DataFrame])
    def test_items_that_change_in_place(self, model, make):
        items = make({name: np.array(values, dtype=None) for name, values in ITEMS.items()})
        model.recommend(USERS, items)
        for name, value in (("price", 1e6), ("item", 1003), ("kind", "old")):
            if make is dict:
                items[name][17] = value
            else:
                items.loc[17, name] = value
            ids, _ = model.recommend(USERS, items, n=60)
            now = {
                name: np.array(items[name], dtype=object if name in ("kind", "tags") else None) for name in ITEMS
            }
            assert ids[0].tolist() == expected_order(model, USERS, now, 0)[0].tolist()

    def test_prepared_once_for_the_same_values(self, model, monkeypatch):
        model.recommend(USERS, ITEMS)
        monkeypatch.setattr(type(model._items), "prepared", lambda *arguments: pytest.fail("prepared again"))
        again = {name: np.array(values, dtype=None) for name, values in ITEMS.items()}
        np.testing.assert_array_equal(model.recommend(USERS, again).ids, model.recommend(USERS, ITEMS).ids)

    def test_not_pickled(self, model):
        expected = model.recommend(USERS, ITEMS, n=5)
        model.score_row_dict({name: values[0] for name, values in whole_rows(USERS, ITEMS, 0).items()})
        again = pickle.loads(pickle.dumps(model))
        assert "_items" not in vars(again)
        assert "_row_scorer" not in vars(again)
        np.testing.assert_array_equal(again.recommend(USERS, ITEMS, n=5).ids, expected.ids)


def test_saved_models_recommend_the_same(model, tmp_path):
    model.save(tmp_path / "m.safetensors")
    found, expected = load_model(tmp_path / "m.safetensors").recommend(USERS, ITEMS), model.recommend(USERS, ITEMS)
    np.testing.assert_array_equal(found.ids, expected.ids)
    np.testing.assert_array_equal(found.scores, expected.scores)


def test_many_threads_at_once(model):
    expected = model.recommend(USERS, ITEMS, n=5).ids
    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(lambda _: model.recommend(USERS, ITEMS, n=5).ids, range(40)):
            np.testing.assert_array_equal(found, expected)


def test_needs_an_encoder():
    model = FMClassifier(n_epochs=1).fit(np.eye(4), [0, 1, 0, 1])
    with pytest.raises(InputError, match="recommend needs a model that was fitted to a table"):
        model.recommend(USERS, ITEMS)
    with pytest.raises(InputError, match="score_row_dict needs a model that was fitted to a table"):
        model.score_row_dict({})


@pytest.mark.parametrize("kind", [FMClassifier, DeepFMClassifier])
def test_a_catalog_ends_with_any_training(kind):
    """Even one that knows all categories, and changes the tables in place."""
    model = fitted(kind, USERS, ITEMS)
    catalog = model.prepare_items(ITEMS)
    table, user, _ = pairs_of(USERS, ITEMS)
    model.partial_fit(table, user % 2)
    with pytest.raises(InputError, match="or before this one learned more"):
        model.recommend(USERS, catalog)
    model.recommend(USERS, model.prepare_items(ITEMS))


def test_columns_of_the_items_keep_their_names():
    model = fitted(FMClassifier, USERS, ITEMS)
    items = {**ITEMS, "score": np.arange(60), "rank": ["x"] * 60}
    table = model.recommend(USERS, items, n=2).to_table()
    assert list(table)[:2] == ["user", "recommended_rank"]
    assert table["score"].tolist() == (table["item"] - 1000).tolist()
    assert np.isfinite(table["recommended_score"]).all()


def test_many_items_that_tie():
    model = fitted(FMClassifier, USERS, ITEMS)
    items = {name: np.repeat(np.asarray(values, dtype=None)[5:6], 9000) for name, values in ITEMS.items()}
    ids, _ = model.recommend(USERS, items, n=4)
    assert ids.tolist() == [[0, 1, 2, 3]] * 12


def test_exclude_must_not_be_nan():
    model = fitted(FMClassifier, USERS, ITEMS)
    with pytest.raises(InputError, match="exclude holds NaN"):
        model.recommend(USERS, ITEMS, exclude=np.full((12, 60), np.nan))


def test_weights_that_are_missing():
    columns = [SparseFeat("user"), VarLenSparseFeat("tags", weights="w")]
    table = {"user": ["a", "b"], "tags": ["x", "y"], "w": [1.0, 2.0]}
    model = FMClassifier(n_epochs=1, encoder=TableEncoder(columns)).fit(table, [0, 1])
    with pytest.raises(InputError, match="Column 'w' is neither in users nor in items"):
        model.recommend({"user": ["a"]}, {"tags": ["x"]})
