"""What the fit of a DeepFM promises: it repeats, goes on, weighs rows, and leaves the best of both parts."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from deepfm_fit_tools import BOTH, SIZES, assert_same_network, layout, new_deep, numbers, valued_rows
from fit_tools import answers, clicks, small_data
from sklearn.metrics import log_loss, roc_auc_score
from table_tools import INTERPRETED

from fastfm_deep import DeepFMClassifier, DeepFMRegressor
from fastfm_deep.datasets import make_ctr

NETWORKS = {
    "plain": {},
    "dropout": {"dnn_dropout": 0.4},
    "batch norm": {"dnn_batch_norm": True, "batch_size": 50},
    "no fields": {"fields": None, "dnn_activation": "gelu", "dnn_optimizer": "adagrad"},
    "poolings": {"fields": layout("mixed"), "dnn_optimizer": "sgd"},
}


def valid_rows(estimator_class):
    return small_data(estimator_class, 100, random_state=1)


# The same again


@BOTH
@pytest.mark.parametrize("network", NETWORKS)
def test_same_seed_same_bits(estimator_class, network):
    X, y = small_data(estimator_class)
    for n_jobs in (1, None):  # small data run on one thread
        settings = {"n_jobs": n_jobs, **NETWORKS[network]}
        first = new_deep(estimator_class, **settings).fit(X, y)
        again = new_deep(estimator_class, **settings).fit(X, y)
        assert_same_network(again, first)
        np.testing.assert_array_equal(answers(again, X), answers(first, X))
    other = new_deep(estimator_class, **NETWORKS[network] | {"random_state": 1}).fit(X, y)
    assert not np.array_equal(other.factors_, first.factors_)
    assert not np.array_equal(numbers(other)[0], numbers(first)[0])


@BOTH
def test_fits_do_not_know_of_each_other(estimator_class):
    """Other rows, columns, fields and another network came before."""
    X, y = small_data(estimator_class)
    other_X, other_y = small_data(estimator_class, 100, random_state=5)
    model = new_deep(estimator_class, fields=[20, 20], dnn_hidden_units=(4,), dnn_batch_norm=True)
    model.fit(other_X[:, :40], other_y)
    model.set_params(fields=SIZES, dnn_hidden_units=(6, 3), dnn_batch_norm=False).fit(X, y)
    assert_same_network(model, new_deep(estimator_class).fit(X, y))
    assert (model.n_features_in_, len(model.history_), model.fields_.n_fields) == (60, 3, 6)
    model.set_params(fields=None).fit(X, y)
    assert model.fields_ is None
    model.set_params(dnn_hidden_units=()).fit(X, y)
    assert model._model.deep is None


@pytest.mark.skipif(INTERPRETED, reason="100,000 rows take minutes without the compiler")
def test_two_threads_learn_as_well_as_one():
    X, y, fields = make_ctr(10_000, n_fields=6, n_features=300, order=3, random_state=0)
    losses = {}
    for n_jobs in (1, 2, 4):
        model = new_deep(DeepFMClassifier, fields=fields, n_epochs=4, batch_size=64, n_jobs=n_jobs)
        model.fit(X[:8000], y[:8000])
        losses[n_jobs] = log_loss(y[8000:], model.predict_proba(X[8000:])[:, 1])
    assert losses[1] < log_loss(y[8000:], np.full(2000, y.mean())) - 0.02
    assert losses[2] == pytest.approx(losses[1], abs=0.02)
    assert losses[4] == pytest.approx(losses[1], abs=0.02)


# Goes on


@BOTH
@pytest.mark.parametrize("network", NETWORKS)
def test_warm_start_goes_on(estimator_class, network):
    X, y = small_data(estimator_class)
    settings = {"warm_start": True, "dnn_learning_rate": 0.003, **NETWORKS[network]}
    whole, warm = (new_deep(estimator_class, n_epochs=n_epochs, **settings).fit(X, y) for n_epochs in (24, 20))
    fresh = new_deep(estimator_class, n_epochs=1, **settings).fit(X, y).history_[0]["train_loss"]
    warm.set_params(n_epochs=4).fit(X, y)
    for epoch in (20, 23):
        got, expected = warm.history_[epoch]["train_loss"], whole.history_[epoch]["train_loss"]
        assert got == pytest.approx(expected, rel=0.25)
        assert got < 0.9 * fresh
    assert [record["epoch"] for record in warm.history_] == list(range(1, 25))
    warm.set_params(warm_start=False).fit(X, y)
    assert_same_network(warm, new_deep(estimator_class, n_epochs=4, **settings).fit(X, y))


@BOTH
def test_chunks_are_fits_of_one_epoch_that_go_on(estimator_class):
    X, y = small_data(estimator_class)
    options = {"classes": [0, 1]} if estimator_class is DeepFMClassifier else {}
    by_chunks, by_fits = (new_deep(estimator_class, batch_size=30, dnn_dropout=0.2) for _ in range(2))
    by_fits.set_params(n_epochs=1, warm_start=True)
    for start in range(0, 400, 100):
        rows = slice(start, start + 100)
        assert by_chunks.partial_fit(X[rows], y[rows], **options) is by_chunks
        by_fits.fit(X[rows], y[rows])
        assert_same_network(by_chunks, by_fits)
        options = {}
    assert len(by_chunks.history_) == 4


def test_chunks_may_hold_one_class():
    X, y = clicks()
    model = new_deep(DeepFMClassifier, learning_rate=0.2, batch_size=64)
    for _ in range(8):
        for label in (0, 1):
            model.partial_fit(X[y == label], y[y == label], classes=[0, 1])
    assert roc_auc_score(y, model.decision_function(X)) > 0.75


@BOTH
@pytest.mark.parametrize("dnn_optimizer", ["sgd", "adagrad", "adam"])
def test_the_optimizer_of_the_network_may_change(estimator_class, dnn_optimizer):
    X, y = small_data(estimator_class)
    model = new_deep(estimator_class, n_epochs=5, dnn_learning_rate=0.003).fit(X, y)
    before, network = model.history_[-1]["train_loss"], numbers(model)[0].copy()
    model.set_params(dnn_optimizer=dnn_optimizer, dnn_dropout=0.1).partial_fit(X, y)
    assert model.history_[-1]["train_loss"] < 1.1 * before
    assert model._model.deep.optimizer.name == dnn_optimizer
    assert not np.array_equal(numbers(model)[0], network)


def test_micro_batches_of_small_data_are_small():
    """Without a `batch_size`: the bits are those of the size that the documentation names."""
    for n_rows, size in ((5, 5), (20, 8), (700, 10), (2500, 39), (40_000, 256)):
        X, y, fields = make_ctr(n_rows, 4, 30, random_state=0)
        like = {"fields": fields, "dnn_hidden_units": (3,), "n_epochs": 1}
        model, expected = (new_deep(DeepFMClassifier, **like, batch_size=given) for given in (None, size))
        assert_same_network(model.fit(X, y), expected.fit(X, y))


@BOTH
def test_the_rate_of_the_tables_that_is_not_given(estimator_class):
    """The bits are those of the rate that the documentation names."""
    X, y = small_data(estimator_class)
    for optimizer, units, rate in (
        ("adagrad", (3,), 0.1),
        ("adagrad_rowwise", (3,), 0.1),
        ("adam", (3,), 0.001),
        ("sgd", (3,), 0.07),
        ("ftrl", (3,), 0.07),
        ("adagrad", (), 0.07),
    ):
        like = {"optimizer": optimizer, "dnn_hidden_units": units, "dnn_learning_rate": 0.002, "n_epochs": 1}
        model, expected = (new_deep(estimator_class, **like, learning_rate=given) for given in (None, rate))
        model.fit(X, y), expected.fit(X, y)
        np.testing.assert_array_equal(model.factors_, expected.factors_)


def test_rates_that_are_not_given():
    """The tables' own where the optimizers are the same, else one that suits the network's."""
    X, y = clicks(60)
    for optimizer, dnn_optimizer, rate in (
        ("adagrad", "adam", 0.001),
        ("adagrad", "adagrad", 0.25),
        ("adagrad", "sgd", 0.01),
        ("adam", "adam", 0.25),
    ):
        settings = {"optimizer": optimizer, "dnn_optimizer": dnn_optimizer, "learning_rate": 0.25, "n_epochs": 1}
        by_default, by_hand = (
            new_deep(DeepFMClassifier, **settings, **{"dnn_learning_rate": given}).fit(X, y)
            for given in (None, rate)
        )
        assert_same_network(by_default, by_hand)


# Weights of rows


@BOTH
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("batch_size", [32, 10_000])
def test_a_row_of_weight_zero_has_no_effect(estimator_class, network, batch_size):
    """Whatever it holds; it takes no place in a micro-batch."""
    y = np.random.default_rng(2).normal(size=120)
    y = (y > 0).astype(int) if estimator_class is DeepFMClassifier else y
    X = valued_rows(120).tolil()
    X[::7, 3] = -5e8
    X, y = X.tocsr(), y.copy()
    y[::7] = 1 if estimator_class is DeepFMClassifier else 1e250
    weight = np.random.default_rng(1).uniform(0.5, 2.0, 120)
    weight[::7] = 0.0
    counted = weight > 0
    model = new_deep(estimator_class, **NETWORKS[network] | {"batch_size": batch_size})
    expected = new_deep(estimator_class, **model.get_params())
    expected.fit(X[counted], y[counted], sample_weight=weight[counted])
    model.fit(X, y, sample_weight=weight)
    assert_same_network(model, expected)
    assert {record["rows"] for record in model.history_} == {counted.sum()}


def test_class_weight_is_a_weight_of_rows():
    X, y = clicks()
    by_class = new_deep(DeepFMClassifier, class_weight={0: 0.5, 1: 3.0}).fit(X, y)
    by_row = new_deep(DeepFMClassifier).fit(X, y, sample_weight=np.where(y == 1, 3.0, 0.5))
    assert_same_network(by_class, by_row)
    balanced = new_deep(DeepFMClassifier, class_weight="balanced", batch_size=32).fit(X, y)
    assert balanced.predict_proba(X)[:, 1].mean() == pytest.approx(0.5, abs=0.07)
    assert y.mean() < 0.4


def test_weights_reach_the_network():
    """Where the table stands still, only the network can follow the heavy rows."""
    X, y = clicks()
    settings = {"learning_rate": 1e-12, "dnn_learning_rate": 0.05, "init_std": 1.0, "n_epochs": 20}
    heavy, even = (
        new_deep(DeepFMClassifier, **settings).fit(X, y, sample_weight=weight)
        for weight in (np.where(y == 1, 50.0, 0.1), None)
    )
    heavy_says, even_says = (model.decision_function(X).mean() - model.intercept_ for model in (heavy, even))
    assert heavy_says > even_says + 0.5


# Stops at the best


@BOTH
@pytest.mark.parametrize("network", NETWORKS)
def test_early_stopping_puts_the_best_of_both_parts_back(estimator_class, network):
    X, y = small_data(estimator_class, 120)
    settings = NETWORKS[network] | {"learning_rate": 0.2, "dnn_learning_rate": 0.02}
    model = new_deep(estimator_class, n_epochs=40, early_stopping_rounds=3, **settings)
    model.fit(X, y, eval_set=[(X, y), valid_rows(estimator_class)])
    assert len(model.history_) == model.best_epoch_ + 3
    short = new_deep(estimator_class, n_epochs=model.best_epoch_, **settings).fit(X, y)
    assert_same_network(model, short)
    name = "eval_1_logloss" if estimator_class is DeepFMClassifier else "eval_1_rmse"
    assert model.best_score_ == min(record[name] for record in model.history_)
    X_valid, y_valid = valid_rows(estimator_class)
    scored = (
        log_loss(y_valid, model.predict_proba(X_valid)[:, 1])
        if estimator_class is DeepFMClassifier
        else np.sqrt(np.mean((model.predict(X_valid) - y_valid) ** 2))
    )
    assert scored == pytest.approx(model.best_score_, rel=1e-6)


def test_training_goes_on_from_the_best():
    X, y = clicks(120)
    model = new_deep(DeepFMClassifier, n_epochs=40, learning_rate=0.5, early_stopping_rounds=3)
    model.fit(X, y, eval_set=valid_rows(DeepFMClassifier))
    n_epochs = len(model.history_)
    before = numbers(model)[0].copy()
    model.partial_fit(X, y)
    assert len(model.history_) == n_epochs + 1
    assert not np.array_equal(numbers(model)[0], before)


# Learning


@pytest.mark.skipif(INTERPRETED, reason="100,000 updates take minutes without the compiler")
def test_the_network_learns_what_pairs_cannot():
    X, y, fields = make_ctr(6000, n_fields=4, n_features=24, order=3, noise=0.3, random_state=1)
    losses = {}
    for units in ((), (32, 16)):
        model = new_deep(
            DeepFMClassifier, fields=fields, n_factors=4, dnn_hidden_units=units, n_epochs=15, batch_size=32
        ).fit(X[:5000], y[:5000])
        losses[units] = log_loss(y[5000:], model.predict_proba(X[5000:])[:, 1])
    assert losses[32, 16] < losses[()] - 0.01


@BOTH
def test_rows_without_a_single_value(estimator_class):
    """All empty: the mean is all there is to learn, whatever the network is."""
    y = np.arange(40) % 4 == 0
    for settings in NETWORKS.values():
        settings = settings | {"fields": [2, 1] if settings.get("fields", 1) is not None else None}
        model = new_deep(estimator_class, **settings).fit(sp.csr_array((40, 3)), y.astype(int))
        raw = answers(model, sp.csr_array((2, 3)))
        p = 1 / (1 + np.exp(-raw)) if estimator_class is DeepFMClassifier else raw
        np.testing.assert_allclose(p, 0.25, atol=0.15)
        np.testing.assert_array_equal(answers(model, np.eye(3)), raw[0])  # columns that never occurred add nothing
        model.partial_fit(sp.csr_array((40, 3)), y.astype(int))


def test_numbers_of_any_unit_are_learned():
    X, y = clicks()
    expected = new_deep(DeepFMRegressor).fit(X, y.astype(float))
    for scale in (1024.0, 2.0**-40):
        model = new_deep(DeepFMRegressor).fit(X, scale * y)
        np.testing.assert_array_equal(numbers(model)[0], numbers(expected)[0])
        np.testing.assert_allclose(answers(model, X), scale * answers(expected, X), rtol=1e-12)


def test_clipping():
    X, y = clicks()
    model = new_deep(DeepFMRegressor, clip=True, n_epochs=30).fit(X, y.astype(float))
    assert (model.predict(50 * X).min(), model.predict(50 * X).max()) == (0.0, 1.0)
    model.set_params(clip=False)
    assert np.abs(model.predict(50 * X)).max() > 1.0
