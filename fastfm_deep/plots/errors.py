"""Errors of predicted numbers: truths and residuals over what was predicted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastfm_deep import validation
from fastfm_deep.plots import canvas
from fastfm_deep.plots.answers import Numbers, read_numbers
from fastfm_deep.plots.display import Display
from fastfm_deep.training.measures import starts_of_bins

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

KINDS = ("actual_vs_predicted", "residual_vs_predicted")

# Points that are drawn, a fixed random choice; means are of all rows.
_POINTS = 1_500
_BINS = 12


class PredictionErrorDisplay(Display):
    """Errors over predictions; made by `from_predictions`, `from_estimator` or `plot_errors`.

    Parameters
    ----------
    numbers : Numbers
        `y`, `predicted` and `weight`, arrays (n_rows,).
    kind : {"actual_vs_predicted", "residual_vs_predicted"}
        Whether y or y - predicted is drawn.
    """

    def __init__(self, numbers: Numbers, kind: str = KINDS[0]) -> None:
        validation.check_choice("kind", kind, KINDS)
        self.numbers = numbers
        self.kind = kind

    @classmethod
    def from_predictions(
        cls, y: Any, predicted: Any, *, kind: str = KINDS[0], sample_weight: Any = None, ax: Any = None
    ) -> PredictionErrorDisplay:
        """Draw errors of predictions; see `plot_errors`."""
        return cls(read_numbers(y, predicted, sample_weight), kind).plot(ax)

    @classmethod
    def from_estimator(
        cls, model: Any, X: Any, y: Any, *, kind: str = KINDS[0], sample_weight: Any = None, ax: Any = None
    ) -> PredictionErrorDisplay:
        """Draw errors of what a regressor predicts; see `plot_errors`."""
        if hasattr(model, "predict_proba") or not hasattr(model, "predict"):
            raise validation.plotted_model_error(model, "a regressor")
        return cls.from_predictions(y, model.predict(X), kind=kind, sample_weight=sample_weight, ax=ax)

    def draw(self, ax: Any) -> None:
        """Points, means of bins, and the line on which there is no error."""
        y, predicted, weight = self.numbers
        is_residual = self.kind == KINDS[1]
        shown = y - predicted if is_residual else y
        some = _some_rows(len(y))
        ax.scatter(
            predicted[some], shown[some], s=9, color=canvas.COLOURS[0], alpha=0.3, linewidths=0, label="rows"
        )
        low, high = float(predicted.min()), float(predicted.max())
        if is_residual:
            ax.axhline(0.0, color=canvas.MUTED, linestyle="--", linewidth=1.2, label="no error")
        elif high > low:
            ax.plot([low, high], [low, high], color=canvas.MUTED, linestyle="--", linewidth=1.2, label="no error")
        ax.plot(
            *_means(predicted, shown, weight),
            marker="o",
            markersize=4.5,
            linewidth=1.6,
            color=canvas.COLOURS[1],
            label="means",
        )
        ax.set_xlabel("predicted")
        ax.set_ylabel("true - predicted" if is_residual else "true")
        canvas.grid(ax)
        ax.legend()


def plot_errors(
    y: Any, predicted: Any, *, kind: str = KINDS[0], sample_weight: Any = None, ax: Any = None
) -> PredictionErrorDisplay:
    """Draw true numbers, or residuals, over predicted ones.

    Parameters
    ----------
    y, predicted : arrays (n_rows,)
    kind : {"actual_vs_predicted", "residual_vs_predicted"}
    sample_weight : array (n_rows,), optional
        For the means.
    ax : Axes of matplotlib, optional
        To draw on; None makes a figure.

    Returns
    -------
    PredictionErrorDisplay

    Raises
    ------
    InputError
        Something given cannot be used.
    """
    return PredictionErrorDisplay.from_predictions(y, predicted, kind=kind, sample_weight=sample_weight, ax=ax)


def _some_rows(n_rows: int) -> NDArray[np.int64]:
    if n_rows <= _POINTS:
        return np.arange(n_rows)
    return np.sort(np.random.default_rng(0).choice(n_rows, _POINTS, replace=False))


def _means(predicted: Array, shown: Array, weight: Array | None) -> tuple[Array, Array]:
    """Means of bins of about as much weight each, from the lowest prediction to the highest."""
    order = np.argsort(predicted, kind="stable")
    weights = np.ones(len(order)) if weight is None else weight[order]
    starts = starts_of_bins(predicted[order], weights, _BINS)
    total = np.add.reduceat(weights, starts)
    means = (np.add.reduceat(weights * values[order], starts) / total for values in (predicted, shown))
    across, up = means
    return across, up
