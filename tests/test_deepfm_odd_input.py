"""Odd input of a DeepFM that works: finite answers from extreme values, scores, sizes and networks."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from deepfm_fit_tools import BOTH, assert_same_network, layout, new_deep, numbers
from fit_tools import OPTIMIZERS, answers, clicks, small_data
from scipy.special import expit

from fastfm_deep import DeepFMClassifier, DeepFMRegressor

INF = float("inf")


@BOTH
@pytest.mark.parametrize("batch_size", [51, 10**6, 2**63 - 1, 2**70])
def test_micro_batches_larger_than_the_data(estimator_class, batch_size):
    """They are as large as the data, in memory too."""
    X, y = small_data(estimator_class, 50)
    model = new_deep(estimator_class, batch_size=batch_size).fit(X, y)
    assert_same_network(model, new_deep(estimator_class, batch_size=50).fit(X, y))


@BOTH
@pytest.mark.parametrize("n_rows", [1, 17, 33])
def test_batch_norm_with_a_micro_batch_of_one_row(estimator_class, n_rows):
    """The last one is left with a single row, which has no variance."""
    X, y = small_data(estimator_class, 60)
    options = {"classes": [0, 1]} if estimator_class is DeepFMClassifier else {}
    model = new_deep(estimator_class, dnn_batch_norm=True, batch_size=16)
    for _ in range(3):
        model.partial_fit(X[:n_rows], y[:n_rows], **options)
    assert np.isfinite(answers(model, X)).all()
    mean_and_variance = numbers(model)[1][:12]
    assert n_rows == 1 or not np.array_equal(mean_and_variance, np.repeat([0.0, 1.0], 6))
    assert (mean_and_variance[6:] > 0).all()
    one_by_one = np.concatenate([answers(model, X[row : row + 1]) for row in range(20)])
    np.testing.assert_allclose(one_by_one, answers(model, X)[:20], rtol=1e-5, atol=1e-6)


@BOTH
@pytest.mark.parametrize("kind", ["sum", "max", "mixed"])
def test_a_field_never_seen_in_training(estimator_class, kind):
    """Its columns have no factors: it is a zero vector, whatever the values."""
    X, y = small_data(estimator_class)
    seen = X.toarray()
    seen[:, 20:40] = 0.0
    model = new_deep(estimator_class, fields=layout(kind)).fit(seen, y)
    got = answers(model, X.toarray() * np.where(np.isin(np.arange(60), range(20, 40)), 1e6, 1.0))
    assert np.isfinite(got).all()
    if kind == "sum":
        np.testing.assert_array_equal(got, answers(model, seen))
    model.partial_fit(X, y)  # and then it is seen
    assert np.any(model.factors_[20:40] != 0.0)


def test_raw_scores_of_500_and_more():
    """Probabilities within [0, 1], a finite loss, and training that goes on."""
    X, y = clicks()
    model = new_deep(DeepFMClassifier, n_epochs=20).fit(X, y)
    far = X * np.float32(1e3)
    raw, p = model.decision_function(far), model.predict_proba(far)
    assert np.abs(raw).max() > 500.0
    assert ((p >= 0.0) & (p <= 1.0)).all()
    np.testing.assert_array_equal(p[:, 1], expit(raw))
    np.testing.assert_allclose(p.sum(axis=1), 1.0, rtol=1e-15)
    assert {0.0, 1.0} & set(p[:, 1])
    agreeing = (raw > 0).astype(int)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.set_params(on_divergence="warn").partial_fit(far, agreeing)
    assert {str(warning.message)[:17] for warning in caught} <= {"Training diverged"}
    assert np.isfinite(model.history_[-1]["train_loss"])
    watched = new_deep(DeepFMClassifier, eval_metric=["auc", "accuracy", "logloss"]).fit(
        X, y, eval_set=(far, 1 - y)
    )
    assert 0.0 < watched.history_[-1]["eval_0_logloss"] < INF
    for bias in (-500.0, 500.0):  # exactly, by the network alone
        numbers(model)[0][:] = 0.0
        numbers(model)[0][-1] = bias
        model._model.params.intercept[0] = 0.0
        assert model.decision_function(np.zeros((1, 60))).tolist() == [bias]
        assert model.predict_proba(np.zeros((1, 60))).tolist() == [[expit(-bias), expit(bias)]]


@BOTH
@pytest.mark.parametrize("value", [1e30, -1e30, 1e-30, 1e-45, -0.0, 3e38])
def test_values_at_the_ends_of_float32(estimator_class, value):
    X, y = small_data(estimator_class, 60)
    model = new_deep(estimator_class, fields=layout("mixed"), on_divergence="warn").fit(X * np.float32(value), y)
    assert np.isfinite(answers(model, X * np.float32(value))).all()
    assert np.isfinite(answers(model, X)).all()


@BOTH
def test_the_smallest_data(estimator_class):
    targets = np.array([0, 1]) if estimator_class is DeepFMClassifier else np.array([1.5, -1.5])
    for X in (np.array([[1.0], [0.0]]), np.zeros((2, 1)), np.array([[1.0, 0.0], [0.0, 1.0]])):
        for fields in (None, [X.shape[1]], np.arange(X.shape[1])):
            model = new_deep(estimator_class, fields=fields).fit(X, targets)
            assert np.isfinite(answers(model, X)).all()
    one = new_deep(estimator_class, fields=[2])
    if estimator_class is DeepFMRegressor:
        assert one.fit([[1, 0]], [7.0]).predict([[1, 0]]) == pytest.approx(7.0, rel=0.5)
    else:
        one.partial_fit([[1, 0]], [1], classes=[0, 1])
        assert one.predict([[1, 0]]).tolist() == [1]


@BOTH
@pytest.mark.parametrize("units", [(1000,), (3,) * 10, (1,) * 10, (1,)])
def test_networks_of_odd_shapes(estimator_class, units):
    X, y = small_data(estimator_class, 60)
    for activation in ("relu", "sigmoid"):
        model = new_deep(estimator_class, dnn_hidden_units=units, dnn_activation=activation, dnn_dropout=0.9)
        assert np.isfinite(answers(model.fit(X, y), X)).all()


@BOTH
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_update_rule_of_the_tables_works_beside_a_network(estimator_class, optimizer):
    X, y = small_data(estimator_class)
    rate = {"adam": 0.01, "sgd": 0.05}.get(optimizer, 0.1)
    model = new_deep(estimator_class, optimizer=optimizer, learning_rate=rate, n_epochs=15, batch_size=32).fit(
        X, y
    )
    assert model.history_[-1]["train_loss"] < 0.97 * model.history_[0]["train_loss"]
