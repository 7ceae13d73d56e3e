"""The training loop through the estimators: history, metrics, evaluation sets, early stopping."""

from __future__ import annotations

import time

import numpy as np
import pytest
import scipy.sparse as sp
from fit_tools import (
    OPTIMIZERS,
    answers,
    assert_same_bits,
    clicks,
    new_model,
    small_data,
)
from scipy.special import expit
from sklearn import metrics

from fastfm_deep import FMClassifier, FMRegressor
from fastfm_deep.training.early_stopping import BestEpoch

BOTH = pytest.mark.parametrize("estimator_class", [FMClassifier, FMRegressor])


# History and metrics


@BOTH
def test_history_has_one_item_an_epoch(estimator_class):
    X, y = small_data(estimator_class)
    started = time.perf_counter()
    model = new_model(estimator_class).fit(X, y, eval_set=[(X, y)])
    seconds = time.perf_counter() - started
    metric = "logloss" if estimator_class is FMClassifier else "rmse"
    names = ["epoch", "seconds", "rows", "rows_per_second", "train_loss", f"eval_0_{metric}"]
    assert [list(record) for record in model.history_] == [names] * 3
    assert [record["epoch"] for record in model.history_] == [1, 2, 3]
    assert {record["rows"] for record in model.history_} == {400}
    assert 0 < sum(record["seconds"] for record in model.history_) < seconds
    for record in model.history_:
        assert record["rows_per_second"] == pytest.approx(400 / record["seconds"])
        assert all(type(value) in (int, float) for value in record.values())


@BOTH
def test_train_loss_is_the_mean_before_each_update(estimator_class):
    """With a step so small that nothing changes, it is the loss of the weights there are."""
    X, y = small_data(estimator_class)
    weight = np.random.default_rng(0).uniform(0.5, 2.0, 400)
    model = new_model(estimator_class, learning_rate=1e-12, n_epochs=1).fit(X, y, sample_weight=weight)
    raw = answers(model, X)
    losses = np.logaddexp(0, -(2 * y - 1) * raw) if estimator_class is FMClassifier else 0.5 * (raw - y) ** 2
    assert model.history_[0]["train_loss"] == pytest.approx(np.average(losses, weights=weight), rel=1e-5)


CLASSIFICATION = {
    "logloss": lambda y, raw, w: metrics.log_loss(y, expit(raw), sample_weight=w),
    "auc": lambda y, raw, w: metrics.roc_auc_score(y, raw, sample_weight=w),
    "accuracy": lambda y, raw, w: metrics.accuracy_score(y, (raw > 0).astype(int), sample_weight=w),
}
REGRESSION = {
    "rmse": lambda y, raw, w: metrics.mean_squared_error(y, raw, sample_weight=w) ** 0.5,
    "mae": lambda y, raw, w: metrics.mean_absolute_error(y, raw, sample_weight=w),
    "mse": lambda y, raw, w: metrics.mean_squared_error(y, raw, sample_weight=w),
}


@pytest.mark.parametrize("weighted", [False, True])
@BOTH
def test_metrics_are_those_of_scikit_learn(estimator_class, weighted):
    X, y = small_data(estimator_class)
    X_valid, y_valid = small_data(estimator_class, 150, random_state=1)
    weight = np.random.default_rng(0).integers(0, 4, 150) if weighted else None
    expected = CLASSIFICATION if estimator_class is FMClassifier else REGRESSION
    model = new_model(estimator_class, eval_metric=list(expected))
    valid = (X_valid, y_valid, weight) if weighted else (X_valid, y_valid)
    model.fit(X, y, eval_set=[(X, y), valid])
    raw = answers(model, X_valid)
    for name, metric in expected.items():
        got = model.history_[-1][f"eval_1_{name}"]
        assert got == pytest.approx(metric(y_valid, raw, weight), rel=1e-12), name
        assert model.history_[-1][f"eval_0_{name}"] == pytest.approx(metric(y, answers(model, X), None), rel=1e-12)


def test_auc_of_one_class_is_not_a_number_and_never_the_best():
    X, y = clicks()
    model = new_model(FMClassifier, eval_metric="auc").fit(X, y, eval_set=(X[y == 1], y[y == 1]))
    assert all(np.isnan(record["eval_0_auc"]) for record in model.history_)
    assert model.best_score_ is None


def test_logloss_of_extreme_scores_is_exact():
    X, y = sp.csr_array(np.array([[1.0], [-1.0]])), np.array([1, 0])
    valid = (np.array([[500.0], [-500.0]]), [0, 1])
    model = new_model(FMClassifier, n_factors=0, learning_rate=1.0, n_epochs=20).fit(X, y, eval_set=valid)
    raw = model.decision_function(valid[0])
    assert raw[0] > 500
    assert model.history_[-1]["eval_0_logloss"] == pytest.approx((raw[0] - raw[1]) / 2)


# Evaluation sets


@BOTH
def test_forms_of_eval_set(estimator_class):
    X, y = small_data(estimator_class)
    weight = np.linspace(0, 2, 400)

    def evaluated(eval_set):
        history = new_model(estimator_class).fit(X, y, eval_set=eval_set).history_
        return [{key: value for key, value in record.items() if key.startswith("eval_")} for record in history]

    plain, weighted = evaluated([(X, y)]), evaluated([(X, y, weight)])
    assert plain != weighted
    for same in ((X, y), ((X, y),), [[X, y]], [(X.toarray().tolist(), list(y))], [(X, y, None)]):
        assert evaluated(same) == plain
    for same in ((X, y, weight), [(X, y, list(weight))], ((X, y, weight),)):
        assert evaluated(same) == weighted
    two = evaluated([(X, y), (X, y, weight)])
    name = next(iter(plain[0])).removeprefix("eval_0_")
    for record, first, second in zip(two, plain, weighted, strict=True):
        assert record == {f"eval_0_{name}": first[f"eval_0_{name}"], f"eval_1_{name}": second[f"eval_0_{name}"]}
    assert evaluated(None) == evaluated([]) == [{}, {}, {}]


@BOTH
def test_evaluation_does_not_change_training(estimator_class):
    X, y = small_data(estimator_class)
    assert_same_bits(new_model(estimator_class).fit(X, y, eval_set=(X, y)), new_model(estimator_class).fit(X, y))


def test_labels_of_eval_set_may_be_strings():
    X, y = clicks()
    names = np.array(["no", "yes"])
    model = new_model(FMClassifier).fit(X, names[y], eval_set=(X[:100], names[y[:100]]))
    expected = metrics.log_loss(y[:100], model.predict_proba(X[:100])[:, 1])
    assert model.history_[-1]["eval_0_logloss"] == pytest.approx(expected)


# Early stopping


@BOTH
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_early_stopping_restores_the_best_weights(estimator_class, optimizer):
    X, y = small_data(estimator_class, 120)
    valid = small_data(estimator_class, 100, random_state=1)
    rate = 0.05 if optimizer in ("sgd", "adam") else 0.5
    model = new_model(
        estimator_class, optimizer=optimizer, learning_rate=rate, n_epochs=200, early_stopping_rounds=3
    ).fit(X, y, eval_set=valid)
    metric = "logloss" if estimator_class is FMClassifier else "rmse"
    scores = [record[f"eval_0_{metric}"] for record in model.history_]
    assert len(scores) < 200
    assert model.best_epoch_ == int(np.argmin(scores)) + 1 == len(scores) - 3
    assert model.best_score_ == min(scores)
    again = new_model(estimator_class, optimizer=optimizer, learning_rate=rate, n_epochs=model.best_epoch_).fit(
        X, y
    )
    assert_same_bits(model, again)
    # The states went back too, so that training goes on from there.
    if optimizer == "adagrad":
        np.testing.assert_array_equal(model._model.params.linear, again._model.params.linear)


def test_the_last_set_and_metric_decide():
    X, y = clicks(120)
    valid = clicks(100, random_state=1)
    settings = {"learning_rate": 0.5, "n_epochs": 100, "early_stopping_rounds": 4}
    model = new_model(FMClassifier, eval_metric=["logloss", "auc"], **settings).fit(X, y, eval_set=[(X, y), valid])
    scores = [record["eval_1_auc"] for record in model.history_]
    assert model.best_score_ == max(scores)
    assert model.best_epoch_ == int(np.argmax(scores)) + 1 == len(scores) - 4
    other = new_model(FMClassifier, **settings).fit(X, y, eval_set=[valid, (X, y)])
    assert other.best_score_ == min(record["eval_1_logloss"] for record in other.history_)
    assert other.best_epoch_ == len(other.history_) - 4
    assert other.best_epoch_ > np.argmin([record["eval_0_logloss"] for record in other.history_]) + 5


def test_without_early_stopping_the_last_weights_stay():
    X, y = clicks(120)
    model = new_model(FMClassifier, learning_rate=0.5, n_epochs=30).fit(X, y, eval_set=clicks(100, random_state=1))
    assert_same_bits(model, new_model(FMClassifier, learning_rate=0.5, n_epochs=30).fit(X, y))
    assert model.best_epoch_ < 30
    assert model.best_score_ == model.history_[model.best_epoch_ - 1]["eval_0_logloss"]


def test_best_epoch():
    best = BestEpoch(greater_is_better=False, patience=2)
    got = [(best.improves(epoch, score), best.is_over(epoch)) for epoch, score in enumerate([3, 2, 2, 4], 1)]
    assert got == [(True, False), (True, False), (False, False), (False, True)]
    assert (best.epoch, best.score) == (2, 2)
    greater = BestEpoch(greater_is_better=True, patience=None)
    assert [greater.improves(epoch, score) for epoch, score in enumerate([1, np.nan, 2], 1)] == [True, False, True]
    assert not greater.is_over(1000)
