"""FMRegressor: units of the targets, clipping, chunks; what it shares with the classifier is tested there."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from fit_tools import OPTIMIZERS, assert_same_bits, ratings, reference_scores
from sklearn.metrics import r2_score
from table_tools import INTERPRETED

from fastfm_deep import FMRegressor


@pytest.fixture(scope="module")
def data():
    return ratings()


@pytest.fixture(scope="module")
def model(data):
    return FMRegressor(n_factors=4, n_epochs=3, init_std=0.1, random_state=0).fit(*data)


def fitted(X, y, **parameters):
    settings = {"n_factors": 4, "n_epochs": 3, "init_std": 0.1, "random_state": 0} | parameters
    return FMRegressor(**settings).fit(X, y)


def test_shapes_and_dtypes(model, data):
    X, y = data
    assert model.coef_.shape == (60,)
    assert model.factors_.shape == (60, 4)
    assert model.coef_.dtype == model.factors_.dtype == np.float32
    assert type(model.intercept_) is float
    predicted = model.predict(X)
    assert (predicted.shape, predicted.dtype) == ((400,), np.float64)
    assert model.score(X, y) == r2_score(y, predicted)
    assert not hasattr(model, "predict_proba")
    assert not hasattr(model, "classes_")


def test_predictions_are_the_plain_formula_of_what_it_shows(model, data):
    X = data[0][:40]
    np.testing.assert_allclose(model.predict(X), reference_scores(model, X), rtol=1e-6)


def test_without_factors_it_is_a_linear_model(data):
    X, y = data
    model = fitted(X, y, n_factors=0)
    assert model.factors_.shape == (60, 0)
    np.testing.assert_allclose(model.predict(X), model.intercept_ + X @ model.coef_.astype(float), rtol=1e-6)


@pytest.mark.parametrize(("scale", "shift"), [(1.0, 1e6), (1024.0, 0.0), (2.0**-40, 0.0)])
def test_the_unit_of_the_targets_does_not_matter(data, model, scale, shift):
    X, y = data
    got = fitted(X, y * scale + shift).predict(X)
    np.testing.assert_allclose((got - shift) / scale, model.predict(X), rtol=1e-5)


@pytest.mark.parametrize("value", [0.0, 7.0, -1e12, 1e-200])
def test_constant_targets_are_answered_exactly(value):
    X = sp.random_array((30, 5), density=0.5, rng=np.random.default_rng(0))
    model = fitted(X, np.full(30, value), init_std=0.0)
    np.testing.assert_allclose(model.predict(X), value, rtol=1e-6)


def test_integers_booleans_lists_and_series_as_targets(data):
    X, y = data
    whole = np.round(y)
    expected = fitted(X, whole)
    for given in (whole.astype(int), whole.astype(np.float32), whole.tolist(), pd.Series(whole, index=y)):
        assert_same_bits(fitted(X, given), expected)
    assert_same_bits(fitted(X, whole > 110), fitted(X, (whole > 110).astype(float)))


def test_clip_keeps_predictions_within_the_targets(data):
    X, y = data
    far = sp.csr_array(X * 30)
    free, clipped = fitted(X, y), fitted(X, y, clip=True)
    raw = free.predict(far)
    assert raw.min() < y.min()
    assert raw.max() > y.max()
    np.testing.assert_array_equal(clipped.predict(far), np.clip(raw, y.min(), y.max()))


def test_clip_leaves_out_rows_of_weight_zero_and_takes_in_later_chunks(data):
    X, y = data
    wild = y.copy()
    wild[0] = 1e6
    model = FMRegressor(4, clip=True, random_state=0)
    model.fit(X, wild, sample_weight=np.arange(400) > 0)
    far = sp.csr_array(X * 1000)
    assert model.predict(far).max() <= y[1:].max()
    model.partial_fit(X[:10], np.full(10, 150.0))
    assert y[1:].max() < 149
    assert model.predict(far).max() == 150.0
    assert model.target_range_ == (y[1:].min(), 150.0)


def test_chunks_keep_the_unit_of_the_first(data):
    X, y = data
    model = FMRegressor(4, init_std=0.1, learning_rate=0.3, random_state=0)
    for _ in range(20):
        for part in (slice(0, 200), slice(200, 400)):
            assert model.partial_fit(X[part], y[part]) is model
    assert len(model.history_) == 40
    assert model.score(X, y) > 0.8


def test_a_chunk_of_one_target_is_learned(data):
    X, y = data
    model = fitted(X, y, n_epochs=20)
    before = model.predict(X[:5]).mean()
    for _ in range(20):
        model.partial_fit(X[:5], np.full(5, y.max()))
    assert abs(model.predict(X[:5]).mean() - y.max()) < 0.5 * abs(before - y.max())


def test_a_chunk_far_from_the_first_is_no_divergence(data):
    X, y = data
    model = fitted(X, y, n_epochs=5)
    model.partial_fit(X[:10], np.full(10, y.mean() + 40 * y.std()))
    assert model.predict(X[:10]).mean() > y.max()


def test_weights_are_of_rows(data):
    X, y = data
    upper = y > np.median(y)
    model = FMRegressor(0, n_epochs=5, random_state=0)
    low, high = (
        model.fit(X, y, sample_weight=np.where(upper, weight, 1.0)).predict(X).mean() for weight in (0.05, 20.0)
    )
    assert low < y.mean() < high


RATES = {"adagrad": 0.1, "adagrad_rowwise": 0.1, "sgd": 0.02, "adam": 0.005, "ftrl": 0.1}


@pytest.mark.skipif(INTERPRETED, reason="takes minutes without the compiler")
@pytest.mark.parametrize("n_jobs", [1, 8])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_learns_products(optimizer, n_jobs):
    """A target that is nothing but a product of two factors: linear models explain none of it."""
    rng = np.random.default_rng(0)
    users, items = rng.integers(0, 12, (2, 6000))
    signs = rng.choice([-1.0, 1.0], 24)
    X = sp.csr_array(
        (np.ones(12000), (np.repeat(np.arange(6000), 2), np.column_stack([users, items + 12]).ravel()))
    )
    y = 50 + 10 * signs[users] * signs[items + 12] + rng.normal(0, 1, 6000)
    settings = {"optimizer": optimizer, "learning_rate": RATES[optimizer], "n_epochs": 15, "n_jobs": n_jobs}
    model, linear = (
        FMRegressor(n_factors, init_std=0.3, random_state=0, **settings).fit(X[:5000], y[:5000])
        for n_factors in (4, 0)
    )
    assert model.score(X[5000:], y[5000:]) > 0.9
    assert linear.score(X[5000:], y[5000:]) < 0.3


def test_the_metric_of_an_epoch_is_that_of_clipped_answers(data):
    X, y = data
    model = fitted(X, y, n_epochs=3, clip=True)
    model.set_params(n_epochs=2).fit(X, np.clip(y, -0.1, 0.1), eval_set=(X, y))
    assert np.abs(model.predict(X)).max() <= 0.1
    expected = np.sqrt(np.mean((model.predict(X) - y) ** 2))
    assert model.history_[-1]["eval_0_rmse"] == pytest.approx(expected, rel=1e-12)
