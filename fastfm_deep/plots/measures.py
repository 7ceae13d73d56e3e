"""How good answers are, weighted: all metrics of a task, and the calibration of probabilities.

A *bin* of the calibration is a group of rows with similar probabilities, compared with how many of them are of the
second class.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.special import expit

from fastfm_deep.plots.answers import Binary, Numbers
from fastfm_deep.training.metrics import METRICS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

# Of an interval that holds the true share in 95 of 100 cases.
_DEVIATIONS = 1.959964


class Bins(NamedTuple):
    """Groups of rows, from the lowest probabilities to the highest; each array is (n_bins,)."""

    n_rows: NDArray[np.int64]
    predicted: Array  # mean probability
    observed: Array  # share of the second class
    low: Array  # where the true share lies, in 95 of 100 cases, by the number of rows
    high: Array


def class_metrics(raw: Binary) -> dict[str, float]:
    """Metrics of raw scores; without those that rows of one class do not tell.

    The normalized entropy is the logloss divided by that of the base rate: below 1 the model tells more than a
    constant does.
    """
    signs, p = raw.signs, expit(raw.scores)
    found = {name: METRICS[name].compute(signs, raw.scores, raw.weight) for name in ("logloss", "accuracy")}
    rate = float(np.average(raw.positive, weights=raw.weight))
    if raw.only_class is None:
        constant = -(rate * np.log(rate) + (1 - rate) * np.log1p(-rate))
        found["normalized_entropy"] = found["logloss"] / float(constant)
        found["auc"] = METRICS["auc"].compute(signs, raw.scores, raw.weight)
    found["brier"] = float(np.average((p - raw.positive) ** 2, weights=raw.weight))
    found["base_rate"] = rate
    found["mean_prediction"] = float(np.average(p, weights=raw.weight))
    order = ("logloss", "normalized_entropy", "auc", "accuracy", "brier", "base_rate", "mean_prediction")
    return {name: found[name] for name in order if name in found}


def number_metrics(numbers: Numbers) -> dict[str, float]:
    """Metrics of predicted numbers; without R2 where all targets are the same."""
    y, predicted, weight = numbers
    found = {name: METRICS[name].compute(y, predicted, weight) for name in ("rmse", "mae", "mse")}
    mean = float(np.average(y, weights=weight))
    variance = float(np.average((y - mean) ** 2, weights=weight))
    if variance:
        found["r2"] = 1 - found["mse"] / variance
    return found | {"mean_target": mean, "mean_prediction": float(np.average(predicted, weights=weight))}


def calibration_bins(answers: Binary, n_bins: int) -> Bins:
    """Up to `n_bins` bins of about as much weight each.

    Rows of equal scores share a bin: between them the order of the rows would decide, and rows sorted by label
    would look badly calibrated.
    """
    order = np.argsort(answers.scores, kind="stable")
    p, positive = answers.scores[order], answers.positive[order]
    weight = np.ones(len(p)) if answers.weight is None else answers.weight[order]
    starts = starts_of_bins(p, weight, n_bins)
    total = np.add.reduceat(weight, starts)
    predicted = np.add.reduceat(weight * p, starts) / total
    observed = np.clip(np.add.reduceat(weight * positive, starts) / total, 0.0, 1.0)
    # As many rows of equal weight tell as much as these do.
    equal_rows = total**2 / np.add.reduceat(weight**2, starts)
    low, high = _wilson(observed, equal_rows)
    return Bins(np.diff(np.r_[starts, len(p)]), predicted, observed, low, high)


def starts_of_bins(in_order: Array, weight: Array, n_bins: int) -> NDArray[np.int64]:
    """Where bins of about as much weight each begin among sorted values; equal values share one."""
    so_far = np.cumsum(weight)
    wanted = so_far[-1] * np.arange(1, n_bins) / n_bins
    places = np.minimum(np.searchsorted(so_far, wanted, side="right"), len(in_order) - 1)
    starts: NDArray[np.int64] = np.unique(np.r_[0, np.searchsorted(in_order, in_order[places], side="left")])
    return starts


def _wilson(share: Array, n: Array) -> tuple[Array, Array]:
    """Bounds of a share that was seen in n rows (Wilson, JASA 1927): sensible at 0, at 1 and for few rows."""
    z2 = _DEVIATIONS**2 / n
    middle = (share + z2 / 2) / (1 + z2)
    reach = np.sqrt(z2 * (share * (1 - share) + z2 / 4)) / (1 + z2)
    return np.minimum(middle - reach, share).clip(0.0), np.maximum(middle + reach, share).clip(None, 1.0)
