"""The distribution of scores, class by class, or of predicted numbers beside true ones."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastfm_deep.plots import canvas
from fastfm_deep.plots.answers import Binary, Numbers, binary_of_model, read_binary, read_numbers
from fastfm_deep.plots.display import Display
from fastfm_deep.plots.labels import labels_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

_BINS = 40
# Quantiles of the rows that the bins reach over: one that lies far out would push all others into a corner.
_MIDDLE = (0.0005, 0.9995)
# Probabilities for ticks, the most wanted first.
_ROUND = ("0.5", "0.1", "0.9", "0.01", "0.99", "0.001", "0.999", "1e-4", "1e-5", "1e-6", "1e-8", "0.3", "0.7")


class ScoresDisplay(Display):
    """Histograms that are drawn over each other; made by `from_predictions`, `from_numbers` or `plot_scores`.

    Parameters
    ----------
    edges : float64 array (n_bins + 1,)
        Of the bins.
    shares : dict of str to float64 array (n_bins,)
        For each group of values the share in each bin, 1 together.
    unit : str
        What the values are.
    log_odds : bool
        Whether they are log-odds, whose ticks are probabilities.
    """

    def __init__(self, edges: Array, shares: Mapping[str, Array], unit: str, log_odds: bool = False) -> None:
        self.edges = edges
        self.shares = dict(shares)
        self.unit = unit
        self.log_odds = log_odds

    @classmethod
    def from_predictions(
        cls,
        y: Any,
        p: Any,
        *,
        sample_weight: Any = None,
        classes: Sequence[Any] | None = None,
        ax: Any = None,
    ) -> ScoresDisplay:
        """Draw the scores of each class; see `plot_scores`."""
        return cls.of_answers(read_binary(y, p, sample_weight, classes)).plot(ax)

    @classmethod
    def from_numbers(cls, y: Any, predicted: Any, *, sample_weight: Any = None, ax: Any = None) -> ScoresDisplay:
        """Draw predicted numbers and true ones."""
        return cls.of_numbers(read_numbers(y, predicted, sample_weight)).plot(ax)

    @classmethod
    def from_estimator(
        cls, model: Any, X: Any, y: Any, *, sample_weight: Any = None, ax: Any = None
    ) -> ScoresDisplay:
        """Draw what a model says of rows: log-odds of each class, or numbers."""
        if hasattr(model, "predict_proba"):
            return cls.of_answers(binary_of_model(model, X, y, sample_weight, raw=True), log_odds=True).plot(ax)
        return cls.from_numbers(y, model.predict(X), sample_weight=sample_weight, ax=ax)

    @classmethod
    def of_answers(cls, answers: Binary, log_odds: bool = False) -> ScoresDisplay:
        """Histograms by class, not drawn yet; a class without rows has none."""
        _, second = answers.classes
        groups = {}
        for name, mask in zip(answers.classes, (~answers.positive, answers.positive), strict=True):
            if mask.any():
                weight = None if answers.weight is None else answers.weight[mask]
                groups[f"rows of {name!r}"] = (answers.scores[mask], weight)
        is_probability = log_odds or (answers.scores.min() >= 0 and answers.scores.max() <= 1)
        unit = f"{'probability' if is_probability else 'score'} of {second!r}"
        return cls(*_histograms(groups), unit, log_odds)

    @classmethod
    def of_numbers(cls, numbers: Numbers) -> ScoresDisplay:
        """Histograms of truths and predictions, not drawn yet."""
        y, predicted, weight = numbers
        return cls(*_histograms({"true": (y, weight), "predicted": (predicted, weight)}), "value")

    def draw(self, ax: Any) -> None:
        """All histograms over each other."""
        names = labels_of(self.shares, 40)
        for name, share, colour in zip(names, self.shares.values(), canvas.COLOURS, strict=False):
            ax.stairs(100 * share, self.edges, fill=True, color=colour, alpha=0.3)
            ax.stairs(100 * share, self.edges, color=colour, linewidth=1.6, label=name)
        if self.log_odds:
            _set_probabilities(ax, self.edges)
        ax.set_xlabel(labels_of([self.unit], 40)[0], parse_math=False)
        ax.set_ylabel("share of the rows, %")
        ax.set_ylim(bottom=0)
        canvas.grid(ax, "y")
        for text in ax.legend().get_texts():
            text.set_parse_math(False)


def plot_scores(
    y: Any, p: Any, *, sample_weight: Any = None, classes: Sequence[Any] | None = None, ax: Any = None
) -> ScoresDisplay:
    """Draw how scores are distributed, class by class.

    Parameters
    ----------
    y : array (n_rows,)
        Two labels of any kind.
    p : array (n_rows,) or (n_rows, 2)
        Probabilities, or scores of any other kind, for the second class.
    sample_weight : array (n_rows,), optional
    classes : sequence of two labels, optional
        The second is the one that scores are for; None: both, sorted.
    ax : Axes of matplotlib, optional
        To draw on; None makes a figure.

    Returns
    -------
    ScoresDisplay

    Raises
    ------
    InputError
        Something given cannot be used.
    """
    return ScoresDisplay.from_predictions(y, p, sample_weight=sample_weight, classes=classes, ax=ax)


def _set_probabilities(ax: Any, edges: Array) -> None:
    """Ticks of log-odds that are round probabilities, not too near to each other."""
    low, high = float(edges[0]), float(edges[-1])
    shown: list[tuple[float, str]] = []
    for text in _ROUND:
        place = math.log(float(text) / (1.0 - float(text)))
        if low <= place <= high and all(abs(place - other) > 0.1 * (high - low) for other, _ in shown):
            shown.append((place, text))
    if len(shown) > 1:
        ax.set_xticks([place for place, _ in shown], [text for _, text in shown])
    else:  # all scores are nearly the same
        ax.xaxis.set_major_formatter(lambda raw, _: f"{1.0 / (1.0 + math.exp(-min(max(raw, -700.0), 700.0))):.3g}")


def _histograms(groups: Mapping[str, tuple[Array, Array | None]]) -> tuple[Array, dict[str, Array]]:
    """Common edges, and the shares of each group; the outermost bins hold what lies beyond them, too."""
    low, high = np.quantile(np.concatenate([values for values, _ in groups.values()]), _MIDDLE).tolist()
    margin = max(abs(low), abs(high), 1e-6)
    if high - low < 1e-9 * margin:  # one value, which stands in the middle
        low, high = low - 0.05 * margin, high + 0.05 * margin
    edges = np.linspace(low, high, _BINS + 1)
    shares = {}
    for name, (values, weight) in groups.items():
        counts = np.histogram(values.clip(low, high), edges, weights=weight)[0].astype(np.float64)
        shares[name] = counts / counts.sum()
    return edges, shares
