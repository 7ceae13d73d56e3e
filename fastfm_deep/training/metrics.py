"""Metrics: how good raw answers are, weighted over the rows of an evaluation set."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]


class Metric(NamedTuple):
    """A metric of `(targets, raw answers, weights or None)`; classification targets are -1 and +1."""

    compute: Callable[[Array, Array, Array | None], float]
    greater_is_better: bool
    tasks: tuple[str, ...]


def logloss(y: Array, raw: Array, weight: Array | None) -> float:
    """Mean of log(1 + exp(-y raw)): stable, whatever the raw scores are."""
    return float(np.average(np.logaddexp(0.0, -y * raw), weights=weight))


def auc(y: Array, raw: Array, weight: Array | None) -> float:
    """Area under the ROC curve; NaN where all rows that count are of one class.

    The share of pairs, one row of each class, whose second class has the higher score; equal scores count half.
    Computed here, since to import sklearn.metrics alone takes longer than most evaluations.
    """
    if not len(y):
        return float("nan")
    order = np.argsort(raw)
    in_order = raw[order]
    starts = np.flatnonzero(np.r_[True, in_order[1:] != in_order[:-1]])  # of groups of equal scores
    weights = np.ones(len(y)) if weight is None else np.asarray(weight, np.float64)[order]
    positive = np.add.reduceat(np.where(y[order] > 0, weights, 0.0), starts)
    negative = np.add.reduceat(np.where(y[order] > 0, 0.0, weights), starts)
    below = np.cumsum(negative)
    n_pairs = below[-1] * positive.sum()
    return float(positive @ (below - 0.5 * negative) / n_pairs) if n_pairs > 0 else float("nan")


def accuracy(y: Array, raw: Array, weight: Array | None) -> float:
    """Share of rows whose raw score has the sign of the target; 0 counts as negative."""
    return float(np.average((raw > 0) == (y > 0), weights=weight))


def mse(y: Array, raw: Array, weight: Array | None) -> float:
    """Mean squared error."""
    return float(np.average((raw - y) ** 2, weights=weight))


def rmse(y: Array, raw: Array, weight: Array | None) -> float:
    """Root of the mean squared error."""
    return float(np.sqrt(mse(y, raw, weight)))


def mae(y: Array, raw: Array, weight: Array | None) -> float:
    """Mean absolute error."""
    return float(np.average(np.abs(raw - y), weights=weight))


METRICS = {
    "logloss": Metric(logloss, False, ("classification",)),
    "auc": Metric(auc, True, ("classification",)),
    "accuracy": Metric(accuracy, True, ("classification",)),
    "rmse": Metric(rmse, False, ("regression",)),
    "mae": Metric(mae, False, ("regression",)),
    "mse": Metric(mse, False, ("regression",)),
}
