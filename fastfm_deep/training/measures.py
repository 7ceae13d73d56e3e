"""All that is told of how good the answers of a model are, weighted over rows.

Metrics that rows of one class, or of one target, do not tell are not a number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastfm_deep.training.metrics import METRICS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]


def class_metrics(y: Array, raw: Array, weight: Array | None = None) -> dict[str, float]:
    """Metrics of raw scores; targets are -1 and +1.

    The normalized entropy is the logloss divided by that of the base rate: below 1 the model tells more than a
    constant does.
    """
    from scipy.special import expit

    positive, p = y > 0, expit(raw)
    rate = float(np.average(positive, weights=weight))
    logloss = METRICS["logloss"].compute(y, raw, weight)
    constant = -(rate * np.log(rate) + (1 - rate) * np.log1p(-rate)) if 0 < rate < 1 else float("nan")
    return {
        "logloss": logloss,
        "normalized_entropy": logloss / float(constant),
        "auc": METRICS["auc"].compute(y, raw, weight),
        "accuracy": METRICS["accuracy"].compute(y, raw, weight),
        "brier": float(np.average((p - positive) ** 2, weights=weight)),
        "base_rate": rate,
        "mean_prediction": float(np.average(p, weights=weight)),
    }


def number_metrics(y: Array, answers: Array, weight: Array | None = None) -> dict[str, float]:
    """Metrics of predicted numbers."""
    found = {name: METRICS[name].compute(y, answers, weight) for name in ("rmse", "mae", "mse")}
    variance = float(np.average((y - np.average(y, weights=weight)) ** 2, weights=weight))
    return found | {"r2": 1 - found["mse"] / variance if variance else float("nan")}


def starts_of_bins(in_order: Array, weight: Array, n_bins: int) -> NDArray[np.int64]:
    """Where bins of about as much weight each begin among sorted values.

    Equal values share a bin: between them the order of the rows would decide, and rows sorted by label would look
    badly calibrated.
    """
    so_far = np.cumsum(weight)
    wanted = so_far[-1] * np.arange(1, n_bins) / n_bins
    places = np.minimum(np.searchsorted(so_far, wanted, side="right"), len(in_order) - 1)
    starts: NDArray[np.int64] = np.unique(np.r_[0, np.searchsorted(in_order, in_order[places], side="left")])
    return starts
