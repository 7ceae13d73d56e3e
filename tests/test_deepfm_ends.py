"""How the fit of a DeepFM ends early: by a callback, an interrupt, an error, or the divergence guard."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from deepfm_fit_tools import BOTH, assert_same_network, new_deep, numbers
from fit_tools import answers, clicks, parts, small_data
from sklearn.metrics import log_loss

from fastfm_deep import Callback, DeepFMClassifier, DivergenceError

# Callbacks and interrupts


def test_callbacks_and_the_progress_bar(capfd):
    X, y = clicks()
    seen = []
    model = new_deep(DeepFMClassifier, n_epochs=9, verbose=1)
    model.fit(X, y, eval_set=(X, y), callbacks=[seen.append, lambda record: record["epoch"] == 2])
    assert seen == model.history_
    assert len(seen) == 2
    lines = capfd.readouterr().err.splitlines()
    assert [line[:10] for line in lines] == ["epoch 1/9:", "epoch 2/9:"]
    assert f"eval_0_logloss={seen[1]['eval_0_logloss']:.5g}" in lines[1]
    assert_same_network(model, new_deep(DeepFMClassifier, n_epochs=2).fit(X, y))


class InterruptIn(Callback):
    """As a signal in the midst of an epoch."""

    def __init__(self, epoch):
        self.epoch, self.done = epoch, 0

    def on_rows(self, rows_done, train_loss):
        if self.done == self.epoch - 1:
            raise KeyboardInterrupt

    def on_epoch_end(self, record):
        self.done = record["epoch"]


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_an_interrupt_leaves_a_usable_model(monkeypatch, tmp_path, n_jobs):
    monkeypatch.setattr("fastfm_deep.training.loop._REPORT", 0.0)
    monkeypatch.setattr("fastfm_deep.training.loop.SLICE_WORK", 10_000)
    monkeypatch.setattr("fastfm_deep.model.shards._WAIT", 1e-5)
    X, y = clicks(4000)
    settings = {"n_jobs": n_jobs, "batch_size": 16, "dnn_batch_norm": True}
    model = new_deep(DeepFMClassifier, n_epochs=9, early_stopping_rounds=8, **settings)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, y, eval_set=(X, y), callbacks=InterruptIn(4))
    assert (len(model.history_), model.best_epoch_) == (3, 3)
    scored = log_loss(y, model.predict_proba(X)[:, 1])
    assert scored == pytest.approx(model.best_score_, rel=1e-6)  # the best weights, not those of the broken epoch
    if n_jobs == 1:
        assert_same_network(model, new_deep(DeepFMClassifier, n_epochs=3, **settings).fit(X, y))
    model.save(tmp_path / "m", include_optimizer=True)
    model.partial_fit(X, y)
    assert len(model.history_) == 4


def test_an_interrupt_in_the_first_epoch(monkeypatch):
    monkeypatch.setattr("fastfm_deep.training.loop._REPORT", 0.0)
    monkeypatch.setattr("fastfm_deep.training.loop.SLICE_WORK", 10_000)
    X, y = clicks()
    model = new_deep(DeepFMClassifier, batch_size=16)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, y, callbacks=InterruptIn(1))
    assert model.history_ == []
    assert np.isfinite(answers(model, X)).all()
    assert np.any(model.coef_ != 0.0)


def test_an_error_before_the_first_row_leaves_the_earlier_fit():
    X, y = clicks()

    class Fails(Callback):
        def on_fit_begin(self, n_rows, n_epochs):
            raise LookupError("lost")

    model = new_deep(DeepFMClassifier).fit(X, y)
    expected, fields = answers(model, X), model.fields_
    with pytest.raises(LookupError, match="lost"):
        model.set_params(fields=None, dnn_hidden_units=(2,)).fit(X[:, :30], y, callbacks=Fails())
    assert model.fields_ is fields
    np.testing.assert_array_equal(answers(model, X), expected)


# Divergence


WILD = {
    "the table": {"optimizer": "sgd", "learning_rate": 1e6, "dnn_learning_rate": 1e-3},
    "the network": {"dnn_optimizer": "sgd", "dnn_learning_rate": 1e6, "init_std": 1.0},
    "both": {"learning_rate": 1e30, "dnn_learning_rate": 1e30},
    "penalties": {"l2_reg_dnn": 1e30, "l2_reg_factors": 1e30},
}


@BOTH
@pytest.mark.parametrize("part", WILD)
@pytest.mark.parametrize("batch_norm", [False, True])
def test_rates_beyond_reason_never_give_nan(estimator_class, part, batch_norm):
    X, y = small_data(estimator_class)
    settings = WILD[part] | {"dnn_batch_norm": batch_norm, "batch_size": 32, "on_divergence": "warn"}
    model = new_deep(estimator_class, **settings)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(X, y)
    assert {str(warning.message)[:17] for warning in caught} <= {"Training diverged"}
    assert np.isfinite(answers(model, X)).all()
    for value in [*parts(model).values(), *numbers(model)]:
        assert np.isfinite(value).all()


@BOTH
@pytest.mark.parametrize("part", ["the table", "the network"])
def test_divergence_puts_the_last_good_weights_of_both_parts_back(estimator_class, part):
    X, y = small_data(estimator_class)
    model = new_deep(estimator_class, batch_size=16, dnn_batch_norm=True, init_std=1.0).fit(X, y)
    before = [array.copy() for array in [*parts(model).values(), *numbers(model)] if hasattr(array, "copy")]
    expected = answers(model, X)
    model.set_params(**WILD[part])
    name = "dnn_learning_rate" if part == "the network" else "learning_rate"
    model.set_params(**{name: 1e30})
    with pytest.raises(DivergenceError, match="the weights from before this fit were put back"):
        model.partial_fit(X, y)
    after = [array for array in [*parts(model).values(), *numbers(model)] if hasattr(array, "copy")]
    for got, kept in zip(after, before, strict=True):
        np.testing.assert_array_equal(got, kept)
    np.testing.assert_array_equal(answers(model, X), expected)
    assert len(model.history_) == 3
    model.set_params(optimizer="adagrad", learning_rate=0.05, dnn_learning_rate=0.001).partial_fit(X, y)
    assert len(model.history_) == 4
    assert np.isfinite(answers(model, X)).all()


@pytest.mark.xfail(
    strict=True, reason="columns put back keep NaN in the lanes beyond n_factors, which kernels add up"
)
def test_after_divergence_training_goes_on_with_any_number_of_factors():
    X, y = clicks()
    model = new_deep(DeepFMClassifier, n_factors=3).fit(X, y)
    with pytest.raises(DivergenceError):
        model.set_params(learning_rate=1e30, dnn_learning_rate=1e30).partial_fit(X, y)
    model.set_params(learning_rate=0.05, dnn_learning_rate=0.001).partial_fit(X, y)
    assert len(model.history_) == 4


def test_a_divergence_after_good_epochs_keeps_the_best_of_them():
    """The rate of the network is raised once it has learned something."""
    X, y = clicks()
    settings = {"n_epochs": 9, "init_std": 1.0, "early_stopping_rounds": 8, "on_divergence": "warn"}
    model = new_deep(DeepFMClassifier, **settings)
    steps = []
    make = model._make_step
    model._make_step = lambda *arguments, **named: steps.append(make(*arguments, **named)) or steps[-1]

    def blow_up(record):
        if record["epoch"] == 3:
            steps[0]._dense_step = steps[0]._dense_step._replace(learning_rate=np.float32(1e30))

    with pytest.warns(RuntimeWarning, match=r"Training diverged in epoch 4: .*; the weights of epoch \d were put"):
        model.fit(X, y, eval_set=(X, y), callbacks=blow_up)
    assert len(model.history_) == 3
    short = new_deep(DeepFMClassifier, n_epochs=model.best_epoch_, init_std=1.0).fit(X, y)
    assert_same_network(model, short)
