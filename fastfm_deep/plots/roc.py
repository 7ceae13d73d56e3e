"""The ROC curve: which share of each class lies above a score, as the score goes down."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastfm_deep import validation
from fastfm_deep.plots import canvas
from fastfm_deep.plots.answers import Binary, binary_of_model, read_binary
from fastfm_deep.plots.display import Display
from fastfm_deep.plots.labels import labels_of
from fastfm_deep.training.metrics import auc

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Points of a curve that is drawn; more cannot be told apart.
_POINTS = 400


class ROCDisplay(Display):
    """A ROC curve; made by `from_predictions`, `from_estimator` or `plot_roc`.

    Parameters
    ----------
    fpr, tpr : float64 arrays (n_points,)
        Shares of the first and of the second class that score higher, from (0, 0) to (1, 1).
    area : float
        Under the curve.
    classes : tuple of two str
        Names of the labels.
    """

    def __init__(
        self,
        fpr: NDArray[np.float64],
        tpr: NDArray[np.float64],
        area: float,
        classes: tuple[str, str] = ("0", "1"),
    ) -> None:
        self.fpr = fpr
        self.tpr = tpr
        self.area = area
        self.classes = classes

    @classmethod
    def from_predictions(
        cls,
        y: Any,
        p: Any,
        *,
        sample_weight: Any = None,
        classes: Sequence[Any] | None = None,
        ax: Any = None,
    ) -> ROCDisplay:
        """Draw the curve of scores; see `plot_roc`."""
        return cls.of_answers(read_binary(y, p, sample_weight, classes)).plot(ax)

    @classmethod
    def from_estimator(
        cls, model: Any, X: Any, y: Any, *, sample_weight: Any = None, ax: Any = None
    ) -> ROCDisplay:
        """Draw the curve of what a classifier says of rows; see `plot_roc`."""
        return cls.of_answers(binary_of_model(model, X, y, sample_weight, raw=True)).plot(ax)

    @classmethod
    def of_answers(cls, answers: Binary) -> ROCDisplay:
        """The curve, not drawn yet."""
        if answers.only_class is not None:
            raise validation.roc_class_error(answers.only_class)
        order = np.argsort(-answers.scores, kind="stable")
        scores = answers.scores[order]
        weight = np.ones(len(order)) if answers.weight is None else answers.weight[order]
        positive = answers.positive[order]
        # Equal scores are one step: between them the order of the rows would decide.
        last = np.flatnonzero(np.r_[scores[1:] != scores[:-1], True])
        tpr, fpr = (np.r_[0.0, np.cumsum(weight * part)[last]] for part in (positive, ~positive))
        tpr, fpr = tpr / tpr[-1], fpr / fpr[-1]
        kept = _spread(tpr + fpr)
        area = auc(answers.signs, answers.scores, answers.weight)
        return cls(fpr[kept], tpr[kept], area, answers.classes)

    def size(self) -> tuple[float, float]:
        """A square, nearly."""
        return 4.2, 4.0

    def draw(self, ax: Any) -> None:
        """The curve, and the diagonal that guesses make."""
        first, second = labels_of(self.classes)
        ax.plot([0, 1], [0, 1], color=canvas.MUTED, linestyle="--", linewidth=1.0, label="guessing")
        ax.plot(self.fpr, self.tpr, color=canvas.COLOURS[0], linewidth=2.0, label=f"AUC {self.area:.4f}")
        ax.set_xlabel(f"share of {first!r} above the score", parse_math=False)
        ax.set_ylabel(f"share of {second!r} above the score", parse_math=False)
        ax.set_xlim(-0.01, 1.01)
        ax.set_ylim(-0.01, 1.01)
        ax.set_aspect("equal")
        canvas.grid(ax)
        ax.legend(loc="lower right")


def plot_roc(
    y: Any, p: Any, *, sample_weight: Any = None, classes: Sequence[Any] | None = None, ax: Any = None
) -> ROCDisplay:
    """Draw the ROC curve of scores.

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
    ROCDisplay

    Raises
    ------
    InputError
        y holds one class alone, or something given cannot be used.
    """
    return ROCDisplay.from_predictions(y, p, sample_weight=sample_weight, classes=classes, ax=ax)


def _spread(along: NDArray[np.float64]) -> NDArray[np.int64]:
    """Places of points that lie apart along a curve, ends included."""
    if len(along) <= _POINTS:
        return np.arange(len(along))
    places = np.searchsorted(along, np.linspace(along[0], along[-1], _POINTS))
    return np.unique(np.r_[0, places, len(along) - 1])
