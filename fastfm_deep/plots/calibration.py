"""Calibration: probabilities that were predicted beside shares that were observed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastfm_deep import validation
from fastfm_deep.plots import canvas
from fastfm_deep.plots.answers import Binary, binary_of_model, read_binary
from fastfm_deep.plots.display import Display
from fastfm_deep.plots.labels import labels_of
from fastfm_deep.plots.measures import Bins, calibration_bins


class CalibrationDisplay(Display):
    """A calibration curve; made by `from_predictions`, `from_estimator` or `plot_calibration`.

    Parameters
    ----------
    bins : Bins
        `n_rows`, `predicted`, `observed`, and `low` and `high`, between which the true share lies in 95 of 100
        cases; arrays (n_bins,).
    classes : tuple of two str
        Names of the labels.
    """

    def __init__(self, bins: Bins, classes: tuple[str, str] = ("0", "1")) -> None:
        self.bins = bins
        self.classes = classes

    @classmethod
    def from_predictions(
        cls,
        y: Any,
        p: Any,
        *,
        sample_weight: Any = None,
        n_bins: int = 10,
        classes: Sequence[Any] | None = None,
        ax: Any = None,
    ) -> CalibrationDisplay:
        """Draw the curve of probabilities; see `plot_calibration`."""
        answers = read_binary(y, p, sample_weight, classes, probabilities=True)
        return cls.of_answers(answers, n_bins).plot(ax)

    @classmethod
    def from_estimator(
        cls, model: Any, X: Any, y: Any, *, sample_weight: Any = None, n_bins: int = 10, ax: Any = None
    ) -> CalibrationDisplay:
        """Draw the curve of what a classifier says of rows; see `plot_calibration`."""
        return cls.of_answers(binary_of_model(model, X, y, sample_weight), n_bins).plot(ax)

    @classmethod
    def of_answers(cls, answers: Binary, n_bins: int = 10) -> CalibrationDisplay:
        """The curve, not drawn yet."""
        validation.check_integer("n_bins", n_bins, minimum=1)
        return cls(calibration_bins(answers, n_bins), answers.classes)

    def size(self) -> tuple[float, float]:
        """A square, nearly."""
        return 4.2, 4.0

    def draw(self, ax: Any) -> None:
        """A point a bin, and the diagonal on which a calibrated model lies."""
        bins, second = self.bins, labels_of(self.classes)[1]
        reach = min(1.0, 1.06 * float(max(bins.predicted.max(), bins.high.max())))
        ax.plot([0, reach], [0, reach], color=canvas.MUTED, linestyle="--", linewidth=1.0, label="calibrated")
        ax.errorbar(
            bins.predicted,
            bins.observed,
            # Rounding must not make a bar of negative length.
            yerr=np.maximum([bins.observed - bins.low, bins.high - bins.observed], 0.0),
            marker="o",
            markersize=4.5,
            linewidth=1.6,
            elinewidth=1.2,
            capsize=2.5,
            color=canvas.COLOURS[0],
            label="bins of rows",
        )
        ax.set_xlabel(f"mean predicted probability of {second!r}", parse_math=False)
        ax.set_ylabel(f"observed share of {second!r}", parse_math=False)
        ax.set_xlim(-0.02 * reach, 1.02 * reach)
        ax.set_ylim(-0.02 * reach, 1.02 * reach)
        ax.set_aspect("equal")
        canvas.grid(ax)
        ax.legend(loc="upper left")


def plot_calibration(
    model_or_scores: Any,
    X: Any = None,
    y: Any = None,
    *,
    sample_weight: Any = None,
    n_bins: int = 10,
    classes: Sequence[Any] | None = None,
    ax: Any = None,
) -> CalibrationDisplay:
    """Draw how well probabilities are calibrated: of rows given 0.2, a fifth should be of the second class.

    Parameters
    ----------
    model_or_scores : fitted classifier, or array (n_rows,) or (n_rows, 2)
        A model, or probabilities; those are given with `y` alone: `plot_calibration(p, y=y)`.
    X : matrix (n_rows, n_features), or a table
        Rows for a model to score.
    y : array (n_rows,)
        Two labels of any kind.
    sample_weight : array (n_rows,), optional
    n_bins : int, default 10
        Bins of about as much weight each; rows of equal probabilities share one.
    classes : sequence of two labels, optional
        For probabilities: the second is the one that they are for; None: both labels of y, sorted.
    ax : Axes of matplotlib, optional
        To draw on; None makes a figure.

    Returns
    -------
    CalibrationDisplay

    Raises
    ------
    InputError
        Something given cannot be used.

    Examples
    --------
    >>> from fastfm_deep import plot_calibration
    >>> display = plot_calibration([0.1, 0.2, 0.8, 0.9], y=["no", "no", "no", "yes"], n_bins=2)  # doctest: +SKIP
    >>> display.bins.observed  # doctest: +SKIP
    array([0. , 0.5])
    """
    if hasattr(model_or_scores, "predict_proba"):
        return CalibrationDisplay.from_estimator(
            model_or_scores, X, y, sample_weight=sample_weight, n_bins=n_bins, ax=ax
        )
    if hasattr(model_or_scores, "predict"):
        raise validation.plotted_model_error(model_or_scores, "a classifier of two classes")
    return CalibrationDisplay.from_predictions(
        y, model_or_scores, sample_weight=sample_weight, n_bins=n_bins, classes=classes, ax=ax
    )
