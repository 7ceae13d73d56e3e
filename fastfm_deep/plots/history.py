"""Learning curves: what was measured after each epoch.

A *panel* is a metric with the curves that can be compared in its unit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fastfm_deep import validation
from fastfm_deep.plots import canvas
from fastfm_deep.plots.display import Display

# train_loss is the mean of (y - answer)² / 2.
_OF_SQUARED_LOSS = {"rmse": lambda loss: math.sqrt(2.0 * loss), "mse": lambda loss: 2.0 * loss}

_ABBREVIATIONS = ("auc", "mae", "mse", "rmse")


class HistoryDisplay(Display):
    """Learning curves of a fit; made by `from_estimator`, or by `plot_history`.

    Parameters
    ----------
    history : list of dict
        `history_` of a model.
    is_classifier : bool
        Whether `train_loss` is the logloss; else it is half the mean squared error.
    best_epoch : int, optional
        Marked, where something was measured on other rows than those of training.

    Attributes
    ----------
    panels : dict of str to dict
        For each metric its curves, arrays (n_epochs,) by their names; NaN where it could not be told.
    ax_, figure_ :
        There once `plot` has drawn.

    Examples
    --------
    >>> from fastfm_deep import FMClassifier, plot_history
    >>> model = FMClassifier(2, n_epochs=3).fit([[1, 0], [0, 1]], ["no", "yes"])
    >>> plot_history(model).figure_.savefig("curves.png")  # doctest: +SKIP
    """

    def __init__(
        self,
        history: Sequence[Mapping[str, Any]],
        *,
        is_classifier: bool,
        best_epoch: int | None = None,
        metric: str | None = None,
    ) -> None:
        if not len(history):
            raise validation.no_history_error()
        self.epochs = np.array([record["epoch"] for record in history])
        self.panels = _panels(history, is_classifier)
        self.has_watched = any(_watched(history))
        self.best_epoch = best_epoch if self.has_watched else None
        if metric is not None and metric not in self.panels:
            raise validation.history_metric_error(metric, list(self.panels))
        self.metric = next(iter(self.panels)) if metric is None else metric

    @classmethod
    def from_estimator(cls, model: Any, *, metric: str | None = None, ax: Any = None) -> HistoryDisplay:
        """Draw the curves of a fitted model; see `plot_history`."""
        if not hasattr(model, "history_"):
            raise validation.plotted_model_error(model, "a fitted model of fastfm_deep, which has a history_")
        display = cls(
            model.history_,
            is_classifier=hasattr(model, "classes_"),
            best_epoch=getattr(model, "best_epoch_", None),
            metric=metric,
        )
        return display.plot(ax)

    def draw(self, ax: Any) -> None:
        """One panel."""
        self.draw_panel(ax, self.metric)

    def draw_panel(self, ax: Any, metric: str) -> None:
        """The curves of one metric."""
        for number, (name, values) in enumerate(self.panels[metric].items()):
            colour = canvas.COLOURS[number % len(canvas.COLOURS)]
            ax.plot(self.epochs, values, marker="o", markersize=3.5, linewidth=1.6, color=colour, label=name)
        if self.best_epoch is not None and len(self.epochs) > 1:
            ax.axvline(
                self.best_epoch, color=canvas.MUTED, linestyle="--", linewidth=1.0, label="best epoch", zorder=0
            )
        ax.set_xlabel("epoch")
        ax.set_ylabel(name_of_metric(metric))
        ax.xaxis.get_major_locator().set_params(integer=True)
        if len(self.epochs) == 1:
            ax.set_xlim(self.epochs[0] - 0.5, self.epochs[0] + 0.5)
        canvas.grid(ax)
        ax.legend()


def name_of_metric(metric: str) -> str:
    """As people write it: AUC, but logloss."""
    return metric.upper() if metric in _ABBREVIATIONS else metric


def plot_history(model: Any, ax: Any = None, *, metric: str | None = None) -> HistoryDisplay:
    """Draw what was measured after each epoch of training.

    Parameters
    ----------
    model : fitted estimator
        Its `history_` is drawn.
    ax : Axes of matplotlib, optional
        To draw on; None makes a figure.
    metric : str, optional
        Which of the panels: "logloss" (the loss of training, and of `eval_set`), "auc", "rmse", ... None: the
        first.

    Returns
    -------
    HistoryDisplay

    Raises
    ------
    InputError
        The model is not fitted, or the metric was not measured.
    """
    return HistoryDisplay.from_estimator(model, metric=metric, ax=ax)


def _panels(history: Sequence[Mapping[str, Any]], is_classifier: bool) -> dict[str, dict[str, Any]]:
    watched = _watched(history)
    several = any(not key.startswith("eval_0_") for key in watched)
    metrics = list(dict.fromkeys(key.split("_", 2)[2] for key in watched))
    loss = "logloss" if is_classifier else "mse" if "mse" in metrics and "rmse" not in metrics else "rmse"
    panels: dict[str, dict[str, Any]] = {name: {} for name in (loss, *metrics)}
    panels[loss]["training rows"] = _curve(history, "train_loss", _OF_SQUARED_LOSS.get(loss))
    for key in watched:
        _, number, name = key.split("_", 2)
        called = f"eval_set[{number}]" if several else "validation rows"
        panels[name][called] = _curve(history, key)
    return panels


def _watched(history: Sequence[Mapping[str, Any]]) -> list[str]:
    """Keys of what was measured on other rows, by any of the fits that went on from each other."""
    return list(dict.fromkeys(key for record in history for key in record if key.startswith("eval_")))


def _curve(history: Sequence[Mapping[str, Any]], key: str, convert: Any = None) -> Any:
    """Values of all epochs; a model file keeps those that are no numbers as None."""
    values = [record.get(key) for record in history]
    found = [math.nan if value is None else float(value) for value in values]
    return np.array([convert(value) for value in found] if convert is not None else found)
