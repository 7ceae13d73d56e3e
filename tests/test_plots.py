"""Plots: their numbers are those of scikit-learn or of loops, and odd input is drawn or refused."""

from __future__ import annotations

import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from plot_tools import explanation_of
from sklearn import metrics as reference

from fastfm_deep import FMClassifier, FMRegressor, InputError, plot_calibration, plot_history, plot_interactions
from fastfm_deep.datasets import make_ctr
from fastfm_deep.plots import canvas
from fastfm_deep.plots.answers import read_binary, read_numbers
from fastfm_deep.plots.calibration import CalibrationDisplay
from fastfm_deep.plots.errors import KINDS, PredictionErrorDisplay, plot_errors
from fastfm_deep.plots.history import HistoryDisplay
from fastfm_deep.plots.importance import ImportanceDisplay, plot_importance
from fastfm_deep.plots.interactions import InteractionDisplay
from fastfm_deep.plots.labels import labels_of
from fastfm_deep.plots.measures import calibration_bins, class_metrics, number_metrics
from fastfm_deep.plots.roc import ROCDisplay, plot_roc
from fastfm_deep.plots.scores import ScoresDisplay, plot_scores

OPTIONS = {"n_epochs": 3, "random_state": 0, "n_jobs": 1}


@pytest.fixture(scope="module")
def data():
    X, y, _ = make_ctr(1500, n_fields=4, n_features=80, random_state=0)
    return X, np.where(y > 0, "yes", "no")


@pytest.fixture(scope="module")
def model(data):
    X, y = data
    eval_sets = [(X[1000:1200], y[1000:1200]), (X[1200:], y[1200:])]
    return FMClassifier(4, eval_metric=["auc", "logloss"], **OPTIONS).fit(X[:1000], y[:1000], eval_set=eval_sets)


@pytest.fixture(scope="module")
def answers():
    rng = np.random.default_rng(1)
    p = np.round(rng.random(400), 2)  # many are equal
    y = np.where(rng.random(400) < p, "b", "a")
    return y, p, rng.integers(0, 3, 400).astype(float)


def drawn(display) -> None:
    """It can be put into a file, and belongs to no window."""
    display.figure_.savefig("/dev/null", format="svg")
    assert isinstance(display.figure_, Figure)
    assert display.ax_.figure is display.figure_
    assert display._repr_png_().startswith(b"\x89PNG")


def test_pyplot_is_left_alone(model, data):
    """Neither imported, nor its backend chosen, nor a setting changed."""
    code = (
        "import sys, matplotlib; from fastfm_deep import plot_calibration\n"
        # Asked in the usual way, the settings choose a backend.
        "def settings(): return {k: dict.__getitem__(matplotlib.rcParams, k) for k in list(matplotlib.rcParams)}\n"
        "before = settings()\n"
        "plot_calibration([.1, .9], y=[0, 1]).figure_.savefig('/dev/null', format='png')\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
        "assert settings() == before"
    )
    assert subprocess.run([sys.executable, "-W", "error", "-c", code], check=False).returncode == 0


def test_a_missing_matplotlib_is_told(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    text = r"Plots need matplotlib, which the extra brings: pip install 'fastfm_deep\[plot\]'\."
    with pytest.raises(InputError, match=text):
        plot_history(model)
    with pytest.raises(InputError, match=text):
        plot_roc([0, 1], [0.2, 0.7])


# Learning curves


def test_history_panels(model):
    display = plot_history(model)
    drawn(display)
    assert list(display.panels) == ["logloss", "auc"]
    assert list(display.panels["logloss"]) == ["training rows", "eval_set[0]", "eval_set[1]"]
    expected = [record["train_loss"] for record in model.history_]
    np.testing.assert_array_equal(display.panels["logloss"]["training rows"], expected)
    expected = [record["eval_1_auc"] for record in model.history_]
    np.testing.assert_array_equal(display.panels["auc"]["eval_set[1]"], expected)
    assert display.best_epoch == model.best_epoch_
    assert plot_history(model, metric="auc").ax_.get_ylabel() == "AUC"


def test_history_of_numbers(data):
    """The loss of training is in the unit of the metric beside it."""
    X, y = data
    numbers = 3.0 + 2.0 * (y == "yes")
    model = FMRegressor(4, eval_metric="mse", **OPTIONS).fit(X, numbers, eval_set=(X, numbers))
    curves = plot_history(model).panels["mse"]
    assert curves["training rows"].tolist() == [2 * record["train_loss"] for record in model.history_]
    assert list(curves) == ["training rows", "validation rows"]
    model = FMRegressor(4, **OPTIONS).fit(X, numbers)
    display = plot_history(model)
    assert display.panels["rmse"]["training rows"] == pytest.approx(
        [np.sqrt(2 * record["train_loss"]) for record in model.history_]
    )
    assert display.best_epoch is None


def test_history_of_one_epoch_and_without_figures():
    history = [{"epoch": 1, "train_loss": 0.5, "eval_0_auc": None, "eval_0_logloss": 0.6}]
    display = HistoryDisplay(history, is_classifier=True, best_epoch=1).plot()
    drawn(display)
    assert np.isnan(display.panels["auc"]["validation rows"]).all()
    drawn(HistoryDisplay(history, is_classifier=True, metric="auc").plot())


def test_history_that_went_on_with_other_rows_to_watch():
    history = [{"epoch": 1, "train_loss": 0.5}, {"epoch": 2, "train_loss": 0.4, "eval_0_logloss": 0.6}]
    panel = HistoryDisplay(history, is_classifier=True).panels["logloss"]
    np.testing.assert_array_equal(panel["validation rows"], [np.nan, 0.6])


def test_bad_history(model):
    with pytest.raises(InputError, match=r"metric='rmse' was not measured; there is logloss, auc\. More"):
        plot_history(model, metric="rmse")
    with pytest.raises(InputError, match="must be a fitted model of fastfm_deep"):
        plot_history(FMClassifier())
    with pytest.raises(InputError, match="holds no epoch"):
        HistoryDisplay([], is_classifier=True)


# ROC


@pytest.mark.parametrize("weighted", [False, True])
def test_roc_is_that_of_scikit_learn(answers, weighted):
    y, p, weight = answers
    weight = weight if weighted else None
    display = plot_roc(y, p, sample_weight=weight)
    drawn(display)
    fpr, tpr, _ = reference.roc_curve(y, p, pos_label="b", sample_weight=weight, drop_intermediate=False)
    np.testing.assert_allclose(np.interp(display.fpr, fpr, tpr), np.interp(display.fpr, display.fpr, display.tpr))
    assert display.area == pytest.approx(reference.roc_auc_score(y == "b", p, sample_weight=weight))
    assert (display.fpr[0], display.tpr[0], display.fpr[-1], display.tpr[-1]) == (0, 0, 1, 1)


def test_roc_of_many_rows_has_few_points():
    rng = np.random.default_rng(0)
    y, p = rng.integers(0, 2, 100_000), rng.random(100_000)
    display = ROCDisplay.from_predictions(y, p + 0.3 * y)
    assert len(display.fpr) <= 402
    assert np.trapezoid(display.tpr, display.fpr) == pytest.approx(display.area, abs=1e-3)


def test_roc_of_a_model(model, data):
    X, y = data
    display = ROCDisplay.from_estimator(model, X, y)
    expected = reference.roc_auc_score(y == "yes", model.decision_function(X))
    assert display.area == pytest.approx(expected)
    assert display.classes == ("no", "yes")


def test_roc_needs_both_classes():
    with pytest.raises(InputError, match="y holds no alone, but a ROC curve needs rows of both classes"):
        plot_roc(["no", "no"], [0.1, 0.2], classes=["no", "yes"])
    with pytest.raises(InputError, match="y holds one label alone, 'no'; name both"):
        plot_roc(["no", "no"], [0.1, 0.2])
    # Rows without weight do not count.
    with pytest.raises(InputError, match="y holds no alone"):
        plot_roc(["no", "yes"], [0.1, 0.2], classes=["no", "yes"], sample_weight=[1, 0])


# Calibration


def bins_by_hand(y, p, weight, n_bins):
    """Rows one by one, in the order of their scores; equal scores are never parted."""
    order = np.argsort(p, kind="stable")
    total, so_far, bins, number = weight.sum(), 0.0, [], 0
    for row in order:
        so_far += weight[row]
        while number < n_bins - 1 and so_far > total * (number + 1) / n_bins * (1 + 1e-12):
            number += 1
            bins.append(p[row])
    starts = sorted(set(bins))
    groups = np.searchsorted(starts, p, side="right")
    return [
        (
            int((groups == group).sum()),
            np.average(p[groups == group], weights=weight[groups == group]),
            np.average(y[groups == group], weights=weight[groups == group]),
        )
        for group in np.unique(groups)
    ]


@pytest.mark.parametrize("n_bins", [1, 2, 10, 400])
@pytest.mark.parametrize("weighted", [False, True])
def test_calibration_bins(answers, n_bins, weighted):
    y, p, weight = answers
    display = plot_calibration(p, y=y, sample_weight=weight if weighted else None, n_bins=n_bins)
    kept = weight > 0 if weighted else np.ones(len(y), bool)
    used = weight[kept] if weighted else np.ones(len(y))
    expected = bins_by_hand((y == "b")[kept], p[kept], used, n_bins)
    got = list(zip(display.bins.n_rows, display.bins.predicted, display.bins.observed, strict=True))
    assert np.array(got) == pytest.approx(np.array(expected))
    assert (display.bins.low <= display.bins.observed).all()
    assert (display.bins.observed <= display.bins.high).all()
    drawn(display)


def test_calibration_intervals_hold_the_truth():
    """In about 95 of 100 draws."""
    rng = np.random.default_rng(0)
    hits = []
    for _ in range(400):
        positive = rng.random(60) < 0.07
        found = calibration_bins(read_binary(positive, np.full(60, 0.07), classes=[False, True]), 10)
        hits.append(found.low[0] <= 0.07 <= found.high[0])
    assert 0.92 < np.mean(hits) <= 0.99


def test_calibration_of_a_model(model, data):
    X, y = data
    weight = np.ones(len(y))
    weight[::7] = 0
    display = plot_calibration(model, X, y, sample_weight=weight, n_bins=5)
    p = model.predict_proba(X)
    expected = CalibrationDisplay.from_predictions(y, p, sample_weight=weight, n_bins=5)
    for first, second in zip(display.bins, expected.bins, strict=True):
        np.testing.assert_array_equal(first, second)
    assert display.ax_.get_xlabel() == "mean predicted probability of 'yes'"


@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
def test_constant_predictions(p):
    y = [0, 1, 1]
    for display in (plot_calibration([p] * 3, y=y), plot_roc(y, [p] * 3), plot_scores(y, [p] * 3)):
        drawn(display)
    assert plot_roc(y, [p] * 3).area == 0.5


def test_bad_calibration(model, data):
    X, y = data
    with pytest.raises(InputError, match=r"p\[1\]=1.5 must be a probability, from 0 to 1"):
        plot_calibration([0.5, 1.5], y=[0, 1])
    with pytest.raises(InputError, match="n_bins=0 must be at least 1"):
        plot_calibration(model, X, y, n_bins=0)
    with pytest.raises(InputError, match="must be a classifier of two classes"):
        plot_calibration(FMRegressor(), X, y)
    with pytest.raises(InputError, match="the target y is None"):
        plot_calibration([0.5, 0.1])
    with pytest.raises(InputError, match=r"p has shape=\(2, 3\), but must be"):
        plot_calibration(np.zeros((2, 3)), y=[0, 1])
    with pytest.raises(InputError, match=r"p\[0\]=nan must be a finite number"):
        plot_calibration([np.nan, 0.1], y=[0, 1])
    with pytest.raises(InputError, match="y has 3 entries"):
        plot_calibration([0.2, 0.1], y=[0, 1, 1])
    with pytest.raises(InputError, match="cannot be read as numbers"):
        plot_calibration(["a", "b"], y=[0, 1])
    with pytest.raises(InputError, match="0 sample"):
        plot_calibration([], y=[])


# Distributions


@pytest.mark.parametrize(
    "labels",
    [(0, 1), (-1.0, 1.0), (False, True), ("no", "yes"), ("$a_1$", "_b"), ("用户", "line\nbreak"), ("", "x" * 99)],
)
def test_labels_of_any_kind(labels):
    rng = np.random.default_rng(0)
    y = np.array(labels, dtype=object if isinstance(labels[0], str) else None)[rng.integers(0, 2, 50)]
    p = rng.random(50)
    for display in (plot_scores(y, p), plot_roc(y, p), plot_calibration(p, y=y)):
        drawn(display)


def test_scores_are_shares_of_a_class(answers):
    y, p, weight = answers
    display = plot_scores(y, p, sample_weight=weight)
    for name, share in display.shares.items():
        mask = (y == name.split("'")[1]) & (weight > 0)
        counts, _ = np.histogram(p[mask], display.edges, weights=weight[mask])
        # What lies outside stands in the first bin and in the last.
        counts[0] += weight[mask & (p < display.edges[0])].sum()
        counts[-1] += weight[mask & (p > display.edges[-1])].sum()
        assert share == pytest.approx(counts / weight[mask].sum())
        assert share.sum() == pytest.approx(1)


def test_scores_of_a_model_have_probabilities_for_ticks(model, data):
    X, y = data
    display = ScoresDisplay.from_estimator(model, X, y)
    drawn(display)
    for text in display.ax_.get_xticklabels():
        assert 1 / (1 + np.exp(-text.get_position()[0])) == pytest.approx(float(text.get_text()))
    constant = FMClassifier(0, **OPTIONS).fit(X, y)
    constant._model.params.linear[:] = 0
    drawn(ScoresDisplay.from_estimator(constant, X, y))


def test_scores_of_extreme_size():
    y = [0, 1] * 50
    drawn(plot_scores(y, np.linspace(-1e300, 1e300, 100)))
    raw = read_binary(y, np.linspace(-800, 800, 100))
    drawn(ScoresDisplay.of_answers(raw, log_odds=True).plot())


# Numbers


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_rows", [1, 2, 5000])
def test_errors(kind, n_rows):
    rng = np.random.default_rng(0)
    y = rng.normal(size=n_rows)
    predicted = y + rng.normal(size=n_rows)
    weight = np.ones(n_rows)
    display = plot_errors(y, predicted, kind=kind, sample_weight=weight)
    drawn(display)
    drawn(plot_errors(y, np.zeros(n_rows), kind=kind))
    drawn(ScoresDisplay.from_numbers(y, predicted))


def test_errors_of_a_model(data):
    X, y = data
    numbers = (y == "yes") * 2.0
    model = FMRegressor(2, **OPTIONS).fit(X, numbers)
    display = PredictionErrorDisplay.from_estimator(model, X, numbers)
    np.testing.assert_array_equal(display.numbers.predicted, model.predict(X))
    drawn(ScoresDisplay.from_estimator(model, X, numbers))
    with pytest.raises(InputError, match="kind='both' is unknown"):
        plot_errors(numbers, numbers, kind="both")
    with pytest.raises(InputError, match="must be a regressor"):
        PredictionErrorDisplay.from_estimator(FMClassifier(), X, numbers)
    with pytest.raises(InputError, match="y contains NaN"):
        plot_errors([np.nan], [1.0])


# Metrics


@pytest.mark.parametrize("weighted", [False, True])
def test_metrics_are_those_of_scikit_learn(answers, weighted):
    y, _, weight = answers
    raw = np.random.default_rng(3).normal(size=len(y)) + (y == "b")
    weight = weight if weighted else None
    p = 1 / (1 + np.exp(-raw))
    rate = np.average(y == "b", weights=weight)
    constant = np.full(len(y), rate)
    options = {"sample_weight": weight}
    loss = reference.log_loss(y == "b", p, **options)
    expected = {
        "logloss": loss,
        "normalized_entropy": loss / reference.log_loss(y == "b", constant, **options),
        "auc": reference.roc_auc_score(y == "b", p, **options),
        "accuracy": reference.accuracy_score(y == "b", p > 0.5, **options),
        "brier": reference.brier_score_loss(y == "b", p, **options),
        "base_rate": rate,
        "mean_prediction": np.average(p, weights=weight),
    }
    assert class_metrics(read_binary(y, raw, weight)) == pytest.approx(expected)
    numbers = raw * 3
    expected = {
        "rmse": reference.root_mean_squared_error(numbers, p, **options),
        "mae": reference.mean_absolute_error(numbers, p, **options),
        "mse": reference.mean_squared_error(numbers, p, **options),
        "r2": reference.r2_score(numbers, p, **options),
        "mean_target": np.average(numbers, weights=weight),
        "mean_prediction": np.average(p, weights=weight),
    }
    assert number_metrics(read_numbers(numbers, p, weight)) == pytest.approx(expected)


def test_metrics_that_cannot_be_told_are_left_out():
    found = class_metrics(read_binary(["a"], [800.0], classes=["a", "b"]))
    assert set(found) == {"logloss", "accuracy", "brier", "base_rate", "mean_prediction"}
    assert found["logloss"] == 800
    assert "r2" not in number_metrics(read_numbers([1, 1], [1, 2]))


# Fields


def test_importance_adds_up():
    found = explanation_of(5, deep=0.3)
    found.pairs[2, 2] = 0.7
    display = plot_importance(found)
    drawn(display)
    assert display.linear.sum() + display.pairs.sum() == pytest.approx(found.linear.sum() + found.pairs.sum())
    place = display.names.index("column 2")
    others = found.pairs[2].sum() + found.pairs[:, 2].sum() - 2 * 0.7
    assert display.pairs[place] == pytest.approx(0.7 + others / 2)
    together = display.linear + display.pairs
    assert (np.diff(together) <= 0).all()
    assert display.ax_.get_xlabel().endswith("(the network, of all together: 0.3)")
    assert "network" not in plot_importance(explanation_of(5)).ax_.get_xlabel()
    few = ImportanceDisplay.from_explanation(found, max_fields=2)
    assert (few.left_out, len(few.ax_.get_yticklabels())) == (3, 2)


def test_interactions_are_symmetric_and_sorted():
    found = explanation_of(6)
    display = plot_interactions(found)
    drawn(display)
    places = [found.names.index(name) for name in display.names]
    full = found.pairs + found.pairs.T
    np.testing.assert_array_equal(display.strength, full[np.ix_(places, places)])
    assert (np.diff(display.strength.sum(axis=1)) <= 0).all()
    first, second, strength = display.strongest(1)[0]
    assert strength == found.pairs.max()
    assert {found.names.index(first), found.names.index(second)} == set(
        np.unravel_index(found.pairs.argmax(), found.pairs.shape)
    )


@pytest.mark.parametrize("n_fields", [2, 3, 12, 13, 39, 80])
@pytest.mark.parametrize("diagonal", [False, True])
def test_interactions_of_any_number_of_fields(n_fields, diagonal):
    found = explanation_of(n_fields)
    if diagonal:
        found.pairs[1, 1] = 2.0
    display = plot_interactions(found)
    drawn(display)
    n_shown = min(n_fields, 60)
    assert display.left_out == n_fields - n_shown
    assert len(display.ax_.get_yticklabels()) == n_shown - (not diagonal)
    # A line of text fits into each cell.
    figure = display.figure_
    figure.draw_without_rendering()
    cell = abs(display.ax_.transData.transform((0, 1))[1] - display.ax_.transData.transform((0, 0))[1])
    size = display.ax_.get_yticklabels()[0].get_fontsize() * figure.dpi / 72
    assert cell > size


def test_no_interactions_at_all():
    found = explanation_of(3)
    found.pairs[:] = 0
    display = plot_interactions(found)
    drawn(display)
    assert display.strongest(5) == []


def test_names_that_fonts_do_not_have():
    names = ["用户", "$price_eur$", "_hidden", "a\nb", "x" * 200, ""]
    assert labels_of(names) == ["??", "$price_eur$", "_hidden", "a?b", "x" * 21 + "…", ""]
    found = explanation_of(6, names=names)
    drawn(plot_importance(found))
    drawn(plot_interactions(found))


def test_bad_explanations(model, data):
    with pytest.raises(InputError, match="n_fields=1 must be at least 2"):
        plot_interactions(explanation_of(1))
    with pytest.raises(InputError, match=r"explanation=3 must be what explain\(X\)"):
        plot_interactions(3)
    with pytest.raises(InputError, match="explanation='x' must be what"):
        plot_importance("x")
    with pytest.raises(InputError, match="max_fields=1 must be at least 2"):
        plot_interactions(explanation_of(4), max_fields=1)
    with pytest.raises(InputError, match="max_fields=0 must be at least 1"):
        plot_importance(explanation_of(4), max_fields=0)
    with pytest.raises(InputError, match="X=None: the strength of interactions is measured on rows"):
        plot_interactions(model)
    with pytest.raises(InputError, match="must be a fitted model of fastfm_deep"):
        ImportanceDisplay.from_estimator(3, data[0])


def test_a_model_with_fields_is_explained(data):
    from fastfm_deep import DeepFMClassifier

    X, y = data
    model = DeepFMClassifier(3, fields=[20, 20, 20, 20], dnn_hidden_units=(4,), **OPTIONS).fit(X, y)
    display = plot_interactions(model, X)
    drawn(display)
    assert len(display.names) == 4
    same = InteractionDisplay.from_explanation(model.explain(X))
    np.testing.assert_array_equal(display.strength, same.strength)
    drawn(ImportanceDisplay.from_estimator(model, X))


# Axes


def test_axes_that_are_given(model, answers):
    y, p, _ = answers
    figure = Figure()
    axes = figure.subplots(2, 3).ravel()
    displays = [
        plot_history(model, ax=axes[0]),
        plot_roc(y, p, ax=axes[1]),
        plot_calibration(p, y=y, ax=axes[2]),
        plot_scores(y, p, ax=axes[3]),
        plot_importance(explanation_of(4), ax=axes[4]),
        plot_interactions(explanation_of(4), ax=axes[5]),
    ]
    for display, ax in zip(displays, axes, strict=True):
        assert display.ax_ is ax
        assert display.figure_ is figure
        # Their look is their owner's.
        assert ax.title.get_color() == mpl.rcParams["text.color"]
    figure.savefig("/dev/null", format="svg")
    for bad in (3, figure, axes):
        with pytest.raises(InputError, match="must be Axes of matplotlib"):
            plot_roc(y, p, ax=bad)


def test_a_display_can_be_drawn_again(answers):
    y, p, _ = answers
    display = plot_roc(y, p)
    first = display.figure_
    assert display.plot() is display
    assert display.figure_ is not first


def luminance(colour: str) -> float:
    """Of WCAG."""
    parts = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("colour", [*canvas.COLOURS, canvas.MUTED])
@pytest.mark.parametrize("page", ["#ffffff", "#14181d"])
def test_colours_contrast_with_light_and_dark(colour, page):
    low, high = sorted([luminance(colour), luminance(page)])
    assert (high + 0.05) / (low + 0.05) > 3 - (colour == canvas.MUTED) * 0.2
