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
    """Area under the ROC curve; NaN where all rows that count are of one class."""
    from sklearn.metrics import roc_auc_score  # takes 0.4 s to import

    counted = slice(None) if weight is None else weight > 0
    if len(np.unique(y[counted])) < 2:
        return float("nan")
    return float(roc_auc_score(y, raw, sample_weight=weight))


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
