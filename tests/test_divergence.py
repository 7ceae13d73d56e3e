"""The divergence guard: never NaN in silence, and the last good weights stay."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from fit_tools import (
    OPTIMIZERS,
    answers,
    clicks,
    new_model,
    parts,
    ratings,
    small_data,
)
from table_tools import INTERPRETED

from fastfm_deep import DivergenceError, FMClassifier, FMRegressor
from fastfm_deep.datasets import make_ctr
from fastfm_deep.training.loop import EvalSet, Schedule, Training

BOTH = pytest.mark.parametrize("estimator_class", [FMClassifier, FMRegressor])


# Divergence


class FakeStep:
    """Losses by epoch, and a diary of what the loop asks for."""

    row_work, rows_per_update, n_threads, loss_scale = 1.0, 1, 1, 1.0

    def __init__(self, losses, copies_per_epoch=1.0, finite=True):
        self.losses, self.copies_per_epoch, self.finite = losses, copies_per_epoch, finite
        self.row_ids = np.arange(10)
        self.diary = []

    def null_loss(self):
        return 1.0

    def draw_order(self, epoch):
        self.epoch = epoch
        return self.row_ids

    def fit_rows(self, start, stop, tally):
        tally += [self.losses[self.epoch] * (stop - start), stop - start] + [0] * (len(tally) - 2)

    def score(self, rows):
        return np.zeros(rows.n_rows)

    def is_finite(self):
        return self.finite

    def keep(self):
        self.diary.append(f"keep {self.epoch + 1}")
        return True

    def restore(self):
        self.diary.append("restore")

    def forget_states(self):
        self.diary.append("forget")


@pytest.mark.parametrize("bad", [np.nan, np.inf, 20.01])
def test_guard_puts_the_last_copy_back(bad):
    step = FakeStep([1.0, 19.9, bad, 1.0])
    training = Training(step, Schedule(n_epochs=4, learning_rate=0.5))
    with pytest.raises(DivergenceError, match="diverged in epoch 3") as caught:
        training.run()
    assert step.diary == ["keep 1", "keep 2", "restore", "forget"]
    assert [record["train_loss"] for record in training.history] == [1.0, 19.9]
    text = str(caught.value)
    assert ("train_loss=20.01" if bad == 20.01 else "a loss that is no finite number") in text
    assert "with learning_rate=0.5 (a constant answer would lose 1)" in text
    assert "the weights of epoch 2 were put back. Try learning_rate=0.05, and scale columns" in text


def test_guard_copies_as_seldom_as_copies_are_dear():
    step = FakeStep([1.0] * 10, copies_per_epoch=0.3)
    Training(step, Schedule(n_epochs=10, learning_rate=0.5)).run()
    assert step.diary == ["keep 4", "keep 8"]


def test_guard_looks_at_the_parameters_too():
    step = FakeStep([1.0, 1.0], finite=False)
    with pytest.raises(DivergenceError, match=r"epoch 1: parameters that are no finite .* before this fit were"):
        Training(step, Schedule(n_epochs=2, learning_rate=0.5)).run()
    assert step.diary == ["restore", "forget"]


def test_one_copy_serves_early_stopping_and_guard():
    step = FakeStep([1.0, 1.0, 1.0, np.nan])
    rows = new_model(FMRegressor)._read_rows(np.ones((2, 1)), reset=True)
    schedule = Schedule(n_epochs=9, learning_rate=0.5, metrics=("mse",), early_stopping_rounds=5)
    training = Training(step, schedule, [EvalSet(rows, np.ones(2), None)])
    with pytest.raises(DivergenceError, match="the weights of epoch 1 were put back"):
        training.run()
    assert step.diary == ["keep 1", "restore", "forget"]  # later epochs were no better


WILD = {"optimizer": "sgd", "learning_rate": 50.0}


@BOTH
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_learning_rate_beyond_reason_never_gives_nan(estimator_class, optimizer):
    X, y = small_data(estimator_class)
    model = new_model(estimator_class, optimizer=optimizer, learning_rate=1e6, on_divergence="warn")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(X, y)
    assert [str(warning.message)[:17] for warning in caught] in ([], ["Training diverged"])
    assert np.isfinite(answers(model, X)).all()
    assert all(np.isfinite(value).all() for value in parts(model).values())


@BOTH
def test_divergence_raises_and_leaves_the_earlier_fit(estimator_class):
    X, y = small_data(estimator_class)
    model = new_model(estimator_class).fit(X, y)
    expected, history = answers(model, X), model.history_
    model.set_params(**WILD)
    with pytest.raises(
        DivergenceError, match=r"Training diverged in epoch 1: .* with learning_rate=50 "
    ) as caught:
        model.fit(X[:, :30], y)
    assert "Try learning_rate=5," in str(caught.value)
    assert isinstance(caught.value, ArithmeticError)
    np.testing.assert_array_equal(answers(model, X), expected)
    assert model.history_ is history
    assert model.n_features_in_ == 60


@BOTH
@pytest.mark.parametrize("go_on", ["warm_start", "partial_fit"])
def test_divergence_after_going_on_puts_the_weights_back(estimator_class, go_on):
    X, y = small_data(estimator_class)
    model = new_model(estimator_class, optimizer="sgd", learning_rate=0.01, warm_start=True).fit(X, y)
    expected = answers(model, X)
    model.set_params(**WILD)
    with pytest.raises(DivergenceError, match="the weights from before this fit were put back"):
        model.fit(X, y) if go_on == "warm_start" else model.partial_fit(X, y)
    np.testing.assert_array_equal(answers(model, X), expected)
    assert len(model.history_) == 3
    model.set_params(learning_rate=0.01).partial_fit(X, y)
    assert model.history_[3]["train_loss"] < model.history_[0]["train_loss"]


@BOTH
def test_divergence_may_be_a_warning(estimator_class):
    X, y = small_data(estimator_class)
    model = new_model(estimator_class, on_divergence="warn", **WILD)
    with pytest.warns(RuntimeWarning, match="Training diverged in epoch 1") as caught:
        model.fit(X, y)
    assert caught[0].filename == __file__
    assert np.isfinite(answers(model, X)).all()
    assert model.history_ == []


@BOTH
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_large_values_do_not_diverge_with_defaults(estimator_class, optimizer):
    X, y = small_data(estimator_class)
    one_large = sp.hstack([X, np.random.default_rng(0).normal(1e6, 1e5, (400, 1))]).tocsr()
    at_most = 1.1 * estimator_class(random_state=0, n_factors=0).fit(X, y).history_[0]["train_loss"]
    for rows in (X * 1000, one_large, one_large * -1e20):
        model = estimator_class(random_state=0, optimizer=optimizer).fit(rows, y)
        assert len(model.history_) == model.n_epochs
        # Adam's steps of 0.05 are too long for small data, but it keeps to the finite numbers.
        assert model.history_[-1]["train_loss"] < (20 if optimizer == "adam" else 1) * at_most
        assert np.isfinite(answers(model, rows)).all()


@pytest.mark.parametrize("y_scale", [1e-30, 1e12, 1e100])
def test_large_targets_do_not_diverge_with_defaults(y_scale):
    X, y = ratings()
    model = FMRegressor(random_state=0, n_epochs=30).fit(X, y * y_scale)
    assert model.score(X, y * y_scale) > 0.5


def test_a_cauchy_column_and_heavy_weights_do_not_diverge_with_defaults():
    X, y = clicks()
    rng = np.random.default_rng(0)
    X = sp.hstack([X, rng.standard_cauchy((400, 2)) * 1e3]).tocsr()
    model = FMClassifier(random_state=0).fit(X, y, sample_weight=rng.pareto(1.0, 400) * 10)
    assert len(model.history_) == model.n_epochs
    assert np.isfinite(model.decision_function(X)).all()


@pytest.mark.skipif(INTERPRETED, reason="takes minutes without the compiler")
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@BOTH
def test_eight_threads_do_not_diverge(estimator_class, optimizer):
    """All of them write the same few lines: two columns that every row has."""
    rng = np.random.default_rng(0)
    X = sp.csr_array(np.column_stack([np.ones((4000, 2)), rng.normal(0, 1, (4000, 6))]))
    y = X[:, [3]].toarray().ravel() + 0.1 * rng.normal(0, 1, 4000)
    y = (y > 0).astype(int) if estimator_class is FMClassifier else y
    one, eight = (
        estimator_class(
            8, optimizer=optimizer, learning_rate=0.02, n_epochs=10, random_state=0, n_jobs=n_jobs
        ).fit(X, y)
        for n_jobs in (1, 8)
    )
    assert len(eight.history_) == 10
    assert np.isfinite(answers(eight, X)).all()
    assert one.score(X, y) > 0.9
    assert eight.history_[-1]["train_loss"] < 0.25
    if optimizer != "adam":  # its steps do not shrink, so that where eight threads end is chance
        assert eight.score(X, y) > 0.8


@pytest.mark.parametrize("n_fields", [160, 600])
def test_long_rows_do_not_diverge(n_fields):
    """A step moves the score by as much as the row is long: uncorrected, these rows lose 22 in the first epoch."""
    X, y, _ = make_ctr(1500, n_fields=n_fields, n_features=20_000, random_state=0)
    model = FMClassifier(random_state=0).fit(X, y)
    assert model.history_[0]["train_loss"] < 0.8
    real = FMClassifier(random_state=0).fit(X * 0.999, y)
    assert real.history_[0]["train_loss"] == pytest.approx(model.history_[0]["train_loss"], rel=0.05)
