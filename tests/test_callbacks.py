"""What is told while a fit goes on, and how it ends early: callbacks, the progress bar, interrupts."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
import time

import numpy as np
import pytest
from fit_tools import (
    answers,
    assert_same_bits,
    clicks,
    new_model,
    reference_of,
    small_data,
)
from sklearn import metrics

from fastfm_deep import Callback, FMClassifier, FMRegressor
from fastfm_deep.model.shards import run_shards
from fastfm_deep.training.callbacks import ProgressBar

BOTH = pytest.mark.parametrize("estimator_class", [FMClassifier, FMRegressor])


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
    model = new_model(FMClassifier).fit(X, y, sample_weight=np.arange(400) > 99, callbacks=[diary])
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
    model = new_model(FMClassifier, n_epochs=2, n_jobs=n_jobs).fit(X, y, callbacks=diary)
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
    model = new_model(FMClassifier, n_epochs=9).fit(X, y, callbacks=[stopping, other])
    assert len(model.history_) == 2
    for diary in (stopping, other):
        assert [entry[0] for entry in diary.entries if entry[0] != "on_rows"][-3:] == [
            "on_epoch_end",
            "on_epoch_end",
            "on_fit_end",
        ]
    assert_same_bits(model, new_model(FMClassifier, n_epochs=2).fit(X, y))


def test_a_function_is_on_epoch_end():
    X, y = clicks()
    for callbacks in (
        lambda record: record["epoch"] == 2,
        [lambda record: None, lambda record: record["epoch"] > 1],
    ):
        assert len(new_model(FMClassifier).fit(X, y, callbacks=callbacks).history_) == 2
    # Only True ends it, not a number that happens to be returned.
    assert len(new_model(FMClassifier).fit(X, y, callbacks=lambda record: 1).history_) == 3


def test_stopping_by_callback_restores_the_best_weights():
    X, y = clicks(120)
    valid = clicks(100, random_state=1)
    settings = {"learning_rate": 0.5, "early_stopping_rounds": 50}
    model = new_model(FMClassifier, n_epochs=40, **settings).fit(
        X, y, eval_set=valid, callbacks=lambda r: r["epoch"] == 20
    )
    assert len(model.history_) == 20
    assert model.best_epoch_ < 20
    assert_same_bits(model, new_model(FMClassifier, n_epochs=model.best_epoch_, learning_rate=0.5).fit(X, y))


@BOTH
def test_an_error_before_training_leaves_the_estimator_as_it_was(estimator_class):
    X, y = small_data(estimator_class)
    model = new_model(estimator_class)
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
    model = new_model(FMClassifier)
    with pytest.raises(LookupError, match="lost"):
        model.fit(X, y, callbacks=[fail, diary])
    assert diary.entries[-1] == ("on_fit_end",)
    assert len(model.history_) == 2
    assert_same_bits(model, new_model(FMClassifier, n_epochs=2).fit(X, y))


def test_an_error_in_training_leaves_the_best_weights_with_early_stopping():
    X, y = clicks(120)
    valid = clicks(100, random_state=1)

    def fail(record):
        if record["epoch"] == 30:
            raise LookupError("lost")

    model = new_model(FMClassifier, n_epochs=40, learning_rate=0.5, early_stopping_rounds=39)
    with pytest.raises(LookupError, match="lost"):
        model.fit(X, y, eval_set=valid, callbacks=fail)
    assert model.best_epoch_ < 30
    assert_same_bits(model, new_model(FMClassifier, n_epochs=model.best_epoch_, learning_rate=0.5).fit(X, y))


# Interrupts


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_an_interrupt_leaves_the_weights_so_far(n_jobs):
    X, y = clicks(5000)
    model = new_model(FMClassifier, n_epochs=10**9, learning_rate=0.01, n_jobs=n_jobs)
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

    model = new_model(FMClassifier, n_epochs=9, early_stopping_rounds=8)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, y, eval_set=(X, y), callbacks=Interrupt())
    assert (len(model.history_), model.best_epoch_) == (4, 4)
    assert_same_bits(model, new_model(FMClassifier, n_epochs=4).fit(X, y))

    first = new_model(FMClassifier, n_epochs=9)
    start = Interrupt()
    start.entries = [("on_epoch_end",)] * 4  # in the first epoch, that is
    with pytest.raises(KeyboardInterrupt):
        first.fit(X, y, callbacks=start)
    assert first.history_ == []
    assert reference_of(first).raw_score({}) == first.intercept_
    assert np.any(first.coef_ != 0.0)


# The progress bar


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_nothing_is_written_by_default(capfd):
    X, y = clicks()
    new_model(FMClassifier).fit(X, y, eval_set=(X, y)).partial_fit(X, y)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("verbose", [1, True])
def test_one_line_an_epoch_where_stderr_is_no_terminal(capfd, verbose):
    X, y = clicks()
    model = new_model(FMClassifier, verbose=verbose, eval_metric=["auc", "logloss"]).fit(X, y, eval_set=(X, y))
    out, err = capfd.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert len(lines) == 3
    for record, line in zip(model.history_, lines, strict=True):
        assert line == (
            f"epoch {record['epoch']}/3: {record['rows_per_second']:,.0f} rows/s, "
            f"train_loss={record['train_loss']:.5g}, eval_0_auc={record['eval_0_auc']:.5g}, "
            f"eval_0_logloss={record['eval_0_logloss']:.5g}"
        )


def test_of_a_regressor_the_mean_squared_error_is_shown(capfd):
    X, y = clicks()
    model = new_model(FMRegressor, verbose=1).fit(X, 100.0 * y)
    lines = capfd.readouterr().err.splitlines()
    for record, line in zip(model.history_, lines, strict=True):
        assert line.endswith(f", train_mse={2 * record['train_loss']:.5g}")
    # In the units of y, whose variance is 2,500 at most.
    assert 1.0 < 2 * model.history_[-1]["train_loss"] < 2500.0


def test_a_bar_an_epoch_on_a_terminal(capsys, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    X, y = clicks()
    model = new_model(FMClassifier, verbose=1, early_stopping_rounds=2).fit(X, y, eval_set=(X, y))
    assert capsys.readouterr().out == ""
    # What remains on the screen: each bar rewrites its line until it ends it.
    screen = [line.split("\r")[-1] for line in terminal.getvalue().split("\n")]
    assert len(screen) == 4
    assert screen[3].strip() == ""
    for record, line in zip(model.history_, screen[:3], strict=True):
        assert line.startswith(f"epoch {record['epoch']}/3: 100%")
        assert "400/400" in line
        assert "rows/s" in line
        assert f"train_loss={record['train_loss']:.5g}, eval_0_logloss={record['eval_0_logloss']:.5g}" in line


def test_a_stopped_fit_leaves_no_bar_that_has_not_begun(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    X, y = clicks()
    new_model(FMClassifier, verbose=1, n_epochs=9).fit(X, y, callbacks=lambda record: record["epoch"] == 2)
    screen = [line.split("\r")[-1].strip() for line in terminal.getvalue().split("\n")]
    assert [line[:12] for line in screen] == ["epoch 1/9: 1", "epoch 2/9: 1", ""]


@pytest.mark.parametrize(("loss", "shown"), [("logistic", "train_loss=0.5]"), ("squared", "train_mse=1]")])
def test_the_bar_moves_within_an_epoch(monkeypatch, loss, shown):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    bar = ProgressBar(loss)
    bar.on_fit_begin(1000, 1)
    bar._bar.mininterval = 0
    bar.on_rows(250, 0.5)
    bar._bar.refresh()
    assert "25%" in terminal.getvalue().split("\r")[-1]
    assert "250/1.00k" in terminal.getvalue().split("\r")[-1]
    assert shown in terminal.getvalue().split("\r")[-1]
    bar.on_fit_end()
    assert terminal.getvalue().endswith("\n")  # a bar that has begun stays
