"""The sections of a report: which figures there are for a model and its rows, and what is said of each."""

from __future__ import annotations

from typing import Any

from scipy.special import expit

from fastfm_deep.plots import canvas, facts
from fastfm_deep.plots.answers import Binary, Numbers
from fastfm_deep.plots.calibration import CalibrationDisplay
from fastfm_deep.plots.display import Display
from fastfm_deep.plots.errors import KINDS, PredictionErrorDisplay
from fastfm_deep.plots.history import HistoryDisplay, name_of_metric
from fastfm_deep.plots.importance import ImportanceDisplay
from fastfm_deep.plots.interactions import InteractionDisplay
from fastfm_deep.plots.measures import class_metrics, number_metrics
from fastfm_deep.plots.page import Figure, Section, Sentence, Table
from fastfm_deep.plots.roc import ROCDisplay
from fastfm_deep.plots.scores import ScoresDisplay
from fastfm_deep.plots.svg import as_picture

_MEANINGS = {
    "logloss": "lower is better",
    "normalized_entropy": "logloss over that of a constant; below 1 the model tells something",
    "auc": "share of pairs of rows, one of each class, in the right order; 0.5 is guessing",
    "accuracy": "share of rows whose likelier class is theirs",
    "brier": "mean squared error of the probabilities; lower is better",
    "base_rate": "share of rows of the second class",
    "mean_prediction": "should be near the base rate",
    "rmse": "root of the mean squared error; lower is better",
    "mae": "mean absolute error; lower is better",
    "mse": "mean squared error; lower is better",
    "r2": "1 is perfect, 0 as good as the mean",
    "mean_target": "mean of the true numbers",
}
_LISTED_PAIRS = 10


def model_section(model: Any) -> Section:
    """What the model is."""
    return Section("Model", [Table("facts", (), facts.facts_of(model))])


def metrics_section(answers: Binary | Numbers) -> Section:
    """How good it is on these rows."""
    meanings, lacking = _MEANINGS, None
    if isinstance(answers, Binary):
        found, lacking = class_metrics(answers), answers.only_class
    else:
        found = number_metrics(answers)
        meanings = meanings | {"mean_prediction": "should be near the mean of the true numbers"}
    names = {name: name_of_metric(name) for name in found} | {"r2": "R²", "brier": "Brier score"}
    rows = [(names[name].replace("_", " "), f"{value:.5g}", meanings[name]) for name, value in found.items()]
    blocks: list[Any] = [Table("metrics", ("metric", "value", "how to read it"), rows)]
    if lacking is not None:
        blocks.append(
            Sentence("no-auc", f"All rows are of the class {facts.shortened(lacking)}: there is no AUC to tell.")
        )
    return Section("Metrics", blocks)


def history_section(model: Any) -> Section:
    """The learning curves, one figure a metric."""
    if not getattr(model, "history_", None):
        return Section("Learning curves", [Sentence("no-history", "The model keeps no history of its training.")])
    display = HistoryDisplay(
        model.history_, is_classifier=hasattr(model, "classes_"), best_epoch=getattr(model, "best_epoch_", None)
    )
    blocks: list[Any] = []
    for number, (metric, curves) in enumerate(display.panels.items()):
        display.metric = metric
        name = name_of_metric(metric)
        caption = f"The {name} after each epoch. "
        if "training rows" in curves:
            caption += "A curve of validation rows that rises while that of training rows falls shows overfitting."
        else:
            caption += "Where it turns, further epochs do harm."
        if not display.has_watched:
            caption = (
                f"The {name} of the training rows after each epoch; pass eval_set to fit to see that of others."
            )
        last = "; ".join(f"{rows} {_last(values)}" for rows, values in curves.items())
        alt = f"Learning curve of {name} over {len(display.epochs)} epochs, at the end: {last}."
        blocks.append(_figure(display, f"history-{number}", caption, alt))
    return Section("Learning curves", blocks)


def class_section(raw: Binary) -> Section:
    """ROC and calibration curves, and the distribution of probabilities."""
    p = raw._replace(scores=expit(raw.scores))
    n_rows = len(raw.scores)
    blocks: list[Any] = []
    if raw.only_class is None:
        roc = ROCDisplay.of_answers(raw)
        caption = "ROC curve: the nearer to the upper left corner, the better the order of the rows."
        blocks.append(
            _figure(roc, "roc", caption, f"ROC curve of {n_rows:,} rows; the area below is {roc.area:.4f}.")
        )
    else:
        only = facts.shortened(raw.only_class)
        blocks.append(
            Sentence("no-roc", f"The ROC curve is left out: it needs rows of both classes, and all are of {only}.")
        )
    calibration = CalibrationDisplay.of_answers(p)
    worst = float(abs(calibration.bins.predicted - calibration.bins.observed).max())
    blocks += [
        _figure(
            calibration,
            "calibration",
            "Calibration: on the dashed line probabilities hold, above it they are too low, below it too high; "
            "bars are 95 % intervals.",
            f"Calibration curve of {len(calibration.bins.predicted)} bins; the largest distance between predicted "
            f"and observed is {worst:.3f}.",
        ),
        _figure(
            ScoresDisplay.of_answers(raw, log_odds=True),
            "scores",
            "Distribution of the probabilities"
            + (", each class by itself: the less the two overlap, the better." if raw.only_class is None else "."),
            f"Histogram of the probabilities of {n_rows:,} rows, {int(raw.positive.sum()):,} of the second class.",
        ),
    ]
    return Section("Probabilities", blocks)


def number_section(numbers: Numbers) -> Section:
    """Truths and residuals over predictions, and their distribution."""
    n_rows = len(numbers.y)
    return Section(
        "Predictions",
        [
            _figure(
                PredictionErrorDisplay(numbers, KINDS[0]),
                "errors",
                "True over predicted numbers: the nearer to the dashed line, the better; means away from it show "
                "where the model is off.",
                f"Scatter of true over predicted numbers of {n_rows:,} rows, with means of bins.",
            ),
            _figure(
                PredictionErrorDisplay(numbers, KINDS[1]),
                "residuals",
                "Residuals: what is left to explain; their means should lie on the dashed line everywhere.",
                f"Scatter of residuals over predicted numbers of {n_rows:,} rows, with means of bins.",
            ),
            _figure(
                ScoresDisplay.of_numbers(numbers),
                "scores",
                "Distribution of true and predicted numbers: predictions spread less than truths, and around the "
                "same middle.",
                f"Histograms of {n_rows:,} true and predicted numbers.",
            ),
        ],
    )


def field_sections(explanation: Any, noun: str) -> list[Section]:
    """Importance and the map of interactions, of fields or, where these are not known, of a few features."""
    return [_importance(explanation, noun), _interactions(explanation, noun)]


def fieldless_sections() -> list[Section]:
    """What is said of a model of many features without fields."""
    why = (
        "is left out: the model does not know which features belong together. A model of a table, or one trained "
        "with fields, shows it."
    )
    return [
        Section("Importance by field", [Sentence("no-importance", f"The importance of fields {why}")]),
        Section("Interactions", [Sentence("no-interactions", f"The map of interactions {why}")]),
    ]


def _importance(explanation: Any, noun: str) -> Section:
    display = ImportanceDisplay.of_explanation(explanation)
    caption = (
        f"Mean absolute part of the raw score that each {noun} makes up, over {explanation.n_rows:,} rows; a pair "
        f"counts half to each of its {noun}s."
    )
    if display.left_out:
        caption += f" {display.left_out:,} weaker {noun}s are not shown."
    if display.deep > 0:
        caption += f" The network adds {display.deep:.3g}, which cannot be told apart by {noun}s."
    first = display.names[0]
    alt = f"Bars of the importance of {display.n_shown:,} {noun}s, the longest is {first}."
    sizes = zip(display.names, display.linear.tolist(), display.pairs.tolist(), strict=True)
    rows = [
        (facts.shortened(name), f"{linear:.4g}", f"{pairs:.4g}", f"{linear + pairs:.4g}")
        for name, linear, pairs in list(sizes)[: display.n_shown]
    ]
    table = Table("importance-table", (noun, "linear", "pairs", "together"), rows, "As a table", is_folded=True)
    return Section(f"Importance by {noun}", [_figure(display, "importance", caption, alt), table])


def _interactions(explanation: Any, noun: str) -> Section:
    lacking = None
    if len(explanation.names) < 2:
        lacking = f"there is one {noun} alone."
    elif not explanation.pairs.any():
        lacking = "pairs add nothing to the scores of this model."
    if lacking is not None:
        text = f"The map of interactions is left out: {lacking}"
        return Section("Interactions", [Sentence("no-interactions", text)])
    display = InteractionDisplay.of_explanation(explanation)
    pairs = display.strongest(_LISTED_PAIRS)
    caption = (
        f"Interactions: the brighter, the more the {noun} at the left and the one below together add to the raw "
        f"score, in mean absolute value; strongest {noun}s first."
    )
    if display.is_large:
        caption += " On a narrow screen the map moves sideways."
    if display.left_out:
        caption += f" {display.left_out:,} {noun}s with weaker interactions are not shown."
    first, second, strength = pairs[0]
    alt = (
        f"Map of the interactions of {len(display.names):,} {noun}s; the strongest, {strength:.3g}, is that of "
        f"{first} and {second}."
    )
    rows = [(facts.shortened(one), facts.shortened(other), f"{value:.4g}") for one, other, value in pairs]
    table = Table("pairs-table", (noun, f"and {noun}", "strength"), rows, "The strongest pairs")
    return Section("Interactions", [_figure(display, "interactions", caption, alt, display.is_large), table])


def _last(values: Any) -> str:
    return f"{values[-1]:.4g}" if values[-1] == values[-1] else "could not be told"


def _figure(display: Display, key: str, caption: str, alt: str, is_wide: bool = False) -> Figure:
    figure = canvas.new_figure(*display.size())
    ax = figure.add_subplot()
    display.draw(ax)
    canvas.dress(ax)
    return Figure(key, as_picture(figure, alt, key), caption, is_wide)
