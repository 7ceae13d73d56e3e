"""How good answers are, weighted: all metrics of a task, and the calibration of probabilities.

A *bin* of the calibration is a group of rows with similar probabilities, compared with how many of them are of the
second class.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fastfm_deep.plots.answers import Binary, Numbers
from fastfm_deep.training import measures

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
    """Metrics of raw scores; without those that rows of one class do not tell."""
    found = measures.class_metrics(raw.signs, raw.scores, raw.weight)
    return {name: value for name, value in found.items() if not np.isnan(value)}


def number_metrics(numbers: Numbers) -> dict[str, float]:
    """Metrics of predicted numbers; without R2 where all targets are the same."""
    y, predicted, weight = numbers
    found = measures.number_metrics(y, predicted, weight)
    means = {"mean_target": y, "mean_prediction": predicted}
    found |= {name: float(np.average(values, weights=weight)) for name, values in means.items()}
    return {name: value for name, value in found.items() if not np.isnan(value)}


def calibration_bins(answers: Binary, n_bins: int) -> Bins:
    """Up to `n_bins` bins of about as much weight each; rows of equal scores share one."""
    order = np.argsort(answers.scores, kind="stable")
    p, positive = answers.scores[order], answers.positive[order]
    weight = np.ones(len(p)) if answers.weight is None else answers.weight[order]
    starts = measures.starts_of_bins(p, weight, n_bins)
    total = np.add.reduceat(weight, starts)
    predicted = np.add.reduceat(weight * p, starts) / total
    observed = np.clip(np.add.reduceat(weight * positive, starts) / total, 0.0, 1.0)
    # As many rows of equal weight tell as much as these do.
    equal_rows = total**2 / np.add.reduceat(weight**2, starts)
    low, high = _wilson(observed, equal_rows)
    return Bins(np.diff(np.r_[starts, len(p)]), predicted, observed, low, high)


def _wilson(share: Array, n: Array) -> tuple[Array, Array]:
    """Bounds of a share that was seen in n rows (Wilson, JASA 1927): sensible at 0, at 1 and for few rows."""
    z2 = _DEVIATIONS**2 / n
    middle = (share + z2 / 2) / (1 + z2)
    reach = np.sqrt(z2 * (share * (1 - share) + z2 / 4)) / (1 + z2)
    return np.minimum(middle - reach, share).clip(0.0), np.maximum(middle + reach, share).clip(None, 1.0)
