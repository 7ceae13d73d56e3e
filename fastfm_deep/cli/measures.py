"""How good the answers of a model are: all metrics of its task, and the calibration of its probabilities.

A *bin* of the calibration is a group of rows with similar probabilities, compared with how many of them are of the
second class.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastfm_deep.training.metrics import METRICS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

N_BINS = 10


class Bin(NamedTuple):
    """Rows with similar probabilities."""

    n_rows: int
    predicted: float  # mean
    observed: float  # share of the second class


def probabilities(raw: Array) -> Array:
    """Of the second class, from raw scores."""
    from scipy.special import expit

    found: Array = expit(raw)
    return found


def class_metrics(y: Array, raw: Array) -> dict[str, float]:
    """Metrics of raw scores; targets are -1 and +1.

    The normalized entropy is the logloss divided by that of the base rate: below 1 the model tells more than a
    constant does. Not a number where all rows are of one class.
    """
    rate = float(np.mean(y > 0))
    logloss = METRICS["logloss"].compute(y, raw, None)
    constant = -(rate * np.log(rate) + (1 - rate) * np.log1p(-rate)) if 0 < rate < 1 else float("nan")
    return {
        "logloss": logloss,
        "normalized_entropy": logloss / float(constant),
        "auc": METRICS["auc"].compute(y, raw, None),
        "accuracy": METRICS["accuracy"].compute(y, raw, None),
        "brier": float(np.mean((probabilities(raw) - (y > 0)) ** 2)),
        "base_rate": rate,
        "mean_prediction": float(np.mean(probabilities(raw))),
    }


def number_metrics(y: Array, answers: Array) -> dict[str, float]:
    """Metrics of predicted numbers; R2 is not a number where all targets are the same."""
    found = {name: METRICS[name].compute(y, answers, None) for name in ("rmse", "mae", "mse")}
    variance = float(np.var(y))
    return found | {"r2": 1 - found["mse"] / variance if variance else float("nan")}


def calibration(y: Array, raw: Array) -> list[Bin]:
    """Up to ten bins of about as many rows each, from the lowest probability to the highest.

    Rows of equal scores share a bin: between them the order of the file would decide, and a file sorted by label
    would look badly calibrated.
    """
    order = np.argsort(raw, kind="stable")
    in_order = raw[order]
    places = len(raw) * np.arange(1, N_BINS) // N_BINS
    starts = np.unique(np.r_[0, np.searchsorted(in_order, in_order[places], side="left")])
    sizes = np.diff(np.r_[starts, len(raw)])
    predicted = np.add.reduceat(probabilities(in_order), starts) / sizes
    observed = np.add.reduceat((y[order] > 0).astype(np.float64), starts) / sizes
    figures: Any = zip(sizes.tolist(), predicted.tolist(), observed.tolist(), strict=True)
    return [Bin(*row) for row in figures]
