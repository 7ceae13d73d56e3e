"""The training loop through the estimators: evaluation, early stopping, the divergence guard, interrupts."""

from __future__ import annotations

import os
import signal
import threading
import time
import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from fit_tools import OPTIMIZERS, answers, assert_same_bits, clicks, parts, ratings, reference_of, small_data
from scipy.special import expit
from sklearn import metrics
from table_tools import INTERPRETED

from fastfm_deep import Callback, DivergenceError, FMClassifier, FMRegressor
from fastfm_deep.model.shards import run_shards
from fastfm_deep.training.early_stopping import BestEpoch
from fastfm_deep.training.loop import EvalSet, Schedule, Training

BOTH = pytest.mark.parametrize("estimator_class", [FMClassifier, FMRegressor])


def new(estimator_class, **parameters):
    settings = {"n_factors": 4, "n_epochs": 3, "init_std": 0.1, "random_state": 0} | parameters
    return estimator_class(**settings)


# History and metrics


@BOTH
def test_history_has_one_item_an_epoch(estimator_class):
    X, y = small_data(estimator_class)
    started = time.perf_counter()
    model = new(estimator_class).fit(X, y, eval_set=[(X, y)])
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
    model = new(estimator_class, learning_rate=1e-12, n_epochs=1).fit(X, y, sample_weight=weight)
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
    model = new(estimator_class, eval_metric=list(expected))
    valid = (X_valid, y_valid, weight) if weighted else (X_valid, y_valid)
    model.fit(X, y, eval_set=[(X, y), valid])
    raw = answers(model, X_valid)
    for name, metric in expected.items():
        got = model.history_[-1][f"eval_1_{name}"]
        assert got == pytest.approx(metric(y_valid, raw, weight), rel=1e-12), name
        assert model.history_[-1][f"eval_0_{name}"] == pytest.approx(metric(y, answers(model, X), None), rel=1e-12)


def test_auc_of_one_class_is_not_a_number_and_never_the_best():
    X, y = clicks()
    model = new(FMClassifier, eval_metric="auc").fit(X, y, eval_set=(X[y == 1], y[y == 1]))
    assert all(np.isnan(record["eval_0_auc"]) for record in model.history_)
    assert model.best_score_ is None


def test_logloss_of_extreme_scores_is_exact():
    X, y = sp.csr_array(np.array([[1.0], [-1.0]])), np.array([1, 0])
    valid = (np.array([[500.0], [-500.0]]), [0, 1])
    model = new(FMClassifier, n_factors=0, learning_rate=1.0, n_epochs=20).fit(X, y, eval_set=valid)
    raw = model.decision_function(valid[0])
    assert raw[0] > 500
    assert model.history_[-1]["eval_0_logloss"] == pytest.approx((raw[0] - raw[1]) / 2)


# Evaluation sets


@BOTH
def test_forms_of_eval_set(estimator_class):
    X, y = small_data(estimator_class)
    weight = np.linspace(0, 2, 400)

    def evaluated(eval_set):
        history = new(estimator_class).fit(X, y, eval_set=eval_set).history_
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
    assert_same_bits(new(estimator_class).fit(X, y, eval_set=(X, y)), new(estimator_class).fit(X, y))


def test_labels_of_eval_set_may_be_strings():
    X, y = clicks()
    names = np.array(["no", "yes"])
    model = new(FMClassifier).fit(X, names[y], eval_set=(X[:100], names[y[:100]]))
    expected = metrics.log_loss(y[:100], model.predict_proba(X[:100])[:, 1])
    assert model.history_[-1]["eval_0_logloss"] == pytest.approx(expected)


# Early stopping


@BOTH
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_early_stopping_restores_the_best_weights(estimator_class, optimizer):
    X, y = small_data(estimator_class, 120)
    valid = small_data(estimator_class, 100, random_state=1)
    rate = 0.05 if optimizer in ("sgd", "adam") else 0.5
    model = new(
        estimator_class, optimizer=optimizer, learning_rate=rate, n_epochs=200, early_stopping_rounds=3
    ).fit(X, y, eval_set=valid)
    metric = "logloss" if estimator_class is FMClassifier else "rmse"
    scores = [record[f"eval_0_{metric}"] for record in model.history_]
    assert len(scores) < 200
    assert model.best_epoch_ == int(np.argmin(scores)) + 1 == len(scores) - 3
    assert model.best_score_ == min(scores)
    again = new(estimator_class, optimizer=optimizer, learning_rate=rate, n_epochs=model.best_epoch_).fit(X, y)
    assert_same_bits(model, again)
    # The states went back too, so that training goes on from there.
    if optimizer == "adagrad":
        np.testing.assert_array_equal(model._model.params.linear, again._model.params.linear)


def test_the_last_set_and_metric_decide():
    X, y = clicks(120)
    valid = clicks(100, random_state=1)
    settings = {"learning_rate": 0.5, "n_epochs": 100, "early_stopping_rounds": 4}
    model = new(FMClassifier, eval_metric=["logloss", "auc"], **settings).fit(X, y, eval_set=[(X, y), valid])
    scores = [record["eval_1_auc"] for record in model.history_]
    assert model.best_score_ == max(scores)
    assert model.best_epoch_ == int(np.argmax(scores)) + 1 == len(scores) - 4
    other = new(FMClassifier, **settings).fit(X, y, eval_set=[valid, (X, y)])
    assert other.best_score_ == min(record["eval_1_logloss"] for record in other.history_)
    assert other.best_epoch_ == len(other.history_) - 4
    assert other.best_epoch_ > np.argmin([record["eval_0_logloss"] for record in other.history_]) + 5


def test_without_early_stopping_the_last_weights_stay():
    X, y = clicks(120)
    model = new(FMClassifier, learning_rate=0.5, n_epochs=30).fit(X, y, eval_set=clicks(100, random_state=1))
    assert_same_bits(model, new(FMClassifier, learning_rate=0.5, n_epochs=30).fit(X, y))
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


# Divergence


class FakeStep:
    """Losses by epoch, and a diary of what the loop asks for."""

    row_work, n_threads, loss_scale = 1.0, 1, 1.0

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
    rows = new(FMRegressor)._read_rows(np.ones((2, 1)), reset=True)
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
    model = new(estimator_class, optimizer=optimizer, learning_rate=1e6, on_divergence="warn")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(X, y)
    assert [str(warning.message)[:17] for warning in caught] in ([], ["Training diverged"])
    assert np.isfinite(answers(model, X)).all()
    assert all(np.isfinite(value).all() for value in parts(model).values())


@BOTH
def test_divergence_raises_and_leaves_the_earlier_fit(estimator_class):
    X, y = small_data(estimator_class)
    model = new(estimator_class).fit(X, y)
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
    model = new(estimator_class, optimizer="sgd", learning_rate=0.01, warm_start=True).fit(X, y)
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
    model = new(estimator_class, on_divergence="warn", **WILD)
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
        assert len(model.history_) == 10
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
    assert len(model.history_) == 10
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
        estimator_class(8, optimizer=optimizer, learning_rate=0.02, random_state=0, n_jobs=n_jobs).fit(X, y)
        for n_jobs in (1, 8)
    )
    assert len(eight.history_) == 10
    assert np.isfinite(answers(eight, X)).all()
    assert one.score(X, y) > 0.9
    assert eight.history_[-1]["train_loss"] < 0.25
    if optimizer != "adam":  # its steps do not shrink, so that where eight threads end is chance
        assert eight.score(X, y) > 0.8


# Callbacks


class Diary(Callback):
    def __init__(self, stop_after=None, fail_in=None):
        self.stop_after, self.fail_in = stop_after, fail_in
        self.entries = []
        self.threads = set()

    def note(self, name, *values):
        self.threads.add(threading.get_ident())
        self.entries.append((name, *values))
        if name == self.fail_in:
            raise LookupError("lost")

    def on_fit_begin(self, n_rows, n_epochs):
        self.note("on_fit_begin", n_rows, n_epochs)

    def on_rows(self, rows_done, train_loss):
        self.note("on_rows", rows_done, train_loss)

    def on_epoch_end(self, record):
        self.note("on_epoch_end", record)
        return record["epoch"] == self.stop_after

    def on_fit_end(self):
        self.note("on_fit_end")


def test_hooks_are_called_in_order():
    X, y = clicks()
    diary = Diary()
    model = new(FMClassifier).fit(X, y, sample_weight=np.arange(400) > 99, callbacks=[diary])
    seen = [entry for entry in diary.entries if entry[0] != "on_rows"]
    assert seen == [
        ("on_fit_begin", 300, 3),
        *[("on_epoch_end", record) for record in model.history_],
        ("on_fit_end",),
    ]


@pytest.mark.parametrize("n_jobs", [1, 3])
def test_on_rows_tells_of_the_epoch_under_way(monkeypatch, n_jobs):
    monkeypatch.setattr("fastfm_deep.training.loop._REPORT", 0.0)
    monkeypatch.setattr("fastfm_deep.training.loop.SLICE_WORK", 10_000)
    monkeypatch.setattr("fastfm_deep.model.shards._WAIT", 1e-5)
    X, y = clicks() if n_jobs == 1 else clicks(20_000)
    diary = Diary()
    model = new(FMClassifier, n_epochs=2, n_jobs=n_jobs).fit(X, y, callbacks=diary)
    done = [entry[1] for entry in diary.entries if entry[0] == "on_rows"]
    assert len(done) >= 2
    assert all(0 <= rows <= len(y) for rows in done)
    if n_jobs == 1:
        assert done == [*sorted(set(done)), *sorted(set(done))]  # twice up to the end
        assert done[-1] == 400
        last = [entry for entry in diary.entries if entry[0] == "on_rows"][-1]
        assert last[2] == pytest.approx(model.history_[-1]["train_loss"])
    assert diary.threads == {threading.get_ident()}


def test_true_ends_training_and_all_callbacks_hear_of_it():
    X, y = clicks()
    stopping, other = Diary(stop_after=2), Diary()
    model = new(FMClassifier, n_epochs=9).fit(X, y, callbacks=[stopping, other])
    assert len(model.history_) == 2
    for diary in (stopping, other):
        assert [entry[0] for entry in diary.entries if entry[0] != "on_rows"][-3:] == [
            "on_epoch_end",
            "on_epoch_end",
            "on_fit_end",
        ]
    assert_same_bits(model, new(FMClassifier, n_epochs=2).fit(X, y))


def test_a_function_is_on_epoch_end():
    X, y = clicks()
    for callbacks in (
        lambda record: record["epoch"] == 2,
        [lambda record: None, lambda record: record["epoch"] > 1],
    ):
        assert len(new(FMClassifier).fit(X, y, callbacks=callbacks).history_) == 2
    # Only True ends it, not a number that happens to be returned.
    assert len(new(FMClassifier).fit(X, y, callbacks=lambda record: 1).history_) == 3


def test_stopping_by_callback_restores_the_best_weights():
    X, y = clicks(120)
    valid = clicks(100, random_state=1)
    settings = {"learning_rate": 0.5, "early_stopping_rounds": 50}
    model = new(FMClassifier, n_epochs=40, **settings).fit(
        X, y, eval_set=valid, callbacks=lambda r: r["epoch"] == 20
    )
    assert len(model.history_) == 20
    assert model.best_epoch_ < 20
    assert_same_bits(model, new(FMClassifier, n_epochs=model.best_epoch_, learning_rate=0.5).fit(X, y))


@BOTH
def test_an_error_before_training_leaves_the_estimator_as_it_was(estimator_class):
    X, y = small_data(estimator_class)
    model = new(estimator_class)
    with pytest.raises(LookupError, match="lost"):
        model.fit(X, y, callbacks=Diary(fail_in="on_fit_begin"))
    assert not model.__sklearn_is_fitted__()
    model.fit(X, y)
    expected = answers(model, X)
    with pytest.raises(LookupError, match="lost"):
        model.fit(X[:, :30], y, callbacks=Diary(fail_in="on_fit_begin"))
    np.testing.assert_array_equal(answers(model, X), expected)
    assert len(model.history_) == 3


def test_an_error_in_training_leaves_the_weights_so_far():
    X, y = clicks()

    def fail(record):
        if record["epoch"] == 2:
            raise LookupError("lost")

    diary = Diary()
    model = new(FMClassifier)
    with pytest.raises(LookupError, match="lost"):
        model.fit(X, y, callbacks=[fail, diary])
    assert diary.entries[-1] == ("on_fit_end",)
    assert len(model.history_) == 2
    assert_same_bits(model, new(FMClassifier, n_epochs=2).fit(X, y))


def test_an_error_in_training_leaves_the_best_weights_with_early_stopping():
    X, y = clicks(120)
    valid = clicks(100, random_state=1)

    def fail(record):
        if record["epoch"] == 30:
            raise LookupError("lost")

    model = new(FMClassifier, n_epochs=40, learning_rate=0.5, early_stopping_rounds=39)
    with pytest.raises(LookupError, match="lost"):
        model.fit(X, y, eval_set=valid, callbacks=fail)
    assert model.best_epoch_ < 30
    assert_same_bits(model, new(FMClassifier, n_epochs=model.best_epoch_, learning_rate=0.5).fit(X, y))


# Interrupts


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_an_interrupt_leaves_the_weights_so_far(n_jobs):
    X, y = clicks(5000)
    model = new(FMClassifier, n_epochs=10**9, learning_rate=0.01, n_jobs=n_jobs)
    begun = []

    def interrupt_soon(record):
        if not begun:
            begun.append(time.monotonic())
            threading.Timer(0.1, os.kill, [os.getpid(), signal.SIGINT]).start()

    with pytest.raises(KeyboardInterrupt):
        model.fit(X, y, callbacks=interrupt_soon)
    assert time.monotonic() - begun[0] < 1.5
    assert len(model.history_) > 1
    assert model.best_epoch_ == len(model.history_)
    assert metrics.roc_auc_score(y, model.decision_function(X)) > 0.7
    n_epochs = len(model.history_)
    model.partial_fit(X, y)
    assert len(model.history_) == n_epochs + 1


def test_no_thread_works_on_after_an_interrupt():
    """What is restored next must not be written to any more."""
    at_work = set()

    def work(start, stop, thread):
        at_work.add(thread)
        time.sleep(0.4 if thread == 0 else 0.01)
        at_work.discard(thread)

    threading.Timer(0.15, os.kill, [os.getpid(), signal.SIGINT]).start()
    with pytest.raises(KeyboardInterrupt):
        run_shards(work, n_items=100, slice_items=1, n_threads=2)
    assert not at_work


def test_an_interrupt_in_the_midst_of_an_epoch_leaves_the_best_weights(monkeypatch):
    """`on_rows` runs where a signal would be noticed: between two slices."""
    monkeypatch.setattr("fastfm_deep.training.loop._REPORT", 0.0)
    monkeypatch.setattr("fastfm_deep.training.loop.SLICE_WORK", 10_000)
    X, y = clicks()

    class Interrupt(Diary):
        def on_rows(self, rows_done, train_loss):
            if sum(entry[0] == "on_epoch_end" for entry in self.entries) == 4:
                raise KeyboardInterrupt

    model = new(FMClassifier, n_epochs=9, early_stopping_rounds=8)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, y, eval_set=(X, y), callbacks=Interrupt())
    assert (len(model.history_), model.best_epoch_) == (4, 4)
    assert_same_bits(model, new(FMClassifier, n_epochs=4).fit(X, y))

    first = new(FMClassifier, n_epochs=9)
    start = Interrupt()
    start.entries = [("on_epoch_end",)] * 4  # in the first epoch, that is
    with pytest.raises(KeyboardInterrupt):
        first.fit(X, y, callbacks=start)
    assert first.history_ == []
    assert reference_of(first).raw_score({}) == first.intercept_
    assert np.any(first.coef_ != 0.0)
