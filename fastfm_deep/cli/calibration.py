"""The calibration of probabilities, as `evaluate` shows it.

A *bin* of the calibration is a group of rows with similar probabilities, compared with how many of them are of the
second class.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastfm_deep.training.measures import starts_of_bins

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

N_BINS = 10


class Bin(NamedTuple):
    """Rows with similar probabilities."""

    n_rows: int
    predicted: float  # mean
    observed: float  # share of the second class


def calibration(y: Array, raw: Array) -> list[Bin]:
    """Up to ten bins of about as many rows each, from the lowest probability to the highest."""
    from scipy.special import expit

    order = np.argsort(raw, kind="stable")
    in_order = raw[order]
    starts = starts_of_bins(in_order, np.ones(len(raw)), N_BINS)
    sizes = np.diff(np.r_[starts, len(raw)])
    predicted = np.add.reduceat(expit(in_order), starts) / sizes
    observed = np.add.reduceat((y[order] > 0).astype(np.float64), starts) / sizes
    figures: Any = zip(sizes.tolist(), predicted.tolist(), observed.tolist(), strict=True)
    return [Bin(*row) for row in figures]
