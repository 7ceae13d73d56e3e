"""The order in which rows are fitted: a shuffle faster than NumPy's, which would take 4 % of an epoch."""

from __future__ import annotations

import numpy as np

from fastfm_deep.kernels._jit import kernel


def shuffle(order, seed):
    """Shuffle `order` in place (Fisher-Yates), by a uint64; the result is the same everywhere."""
    with np.errstate(over="ignore"):  # uncompiled, NumPy warns of uint64 that wrap around
        shuffle_rows(order, seed)


@kernel
def shuffle_rows(order, seed):
    """`shuffle`, with the random numbers of SplitMix64 (Steele et al., OOPSLA 2014)."""
    state = np.uint64(seed)
    for last in range(len(order) - 1, 0, -1):
        state += np.uint64(0x9E3779B97F4A7C15)
        mixed = state
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed ^= mixed >> np.uint64(31)
        n = np.uint64(last) + np.uint64(1)
        is_short = n < np.uint64(0x100000000)
        chosen = ((mixed >> np.uint64(32)) * n) >> np.uint64(32) if is_short else mixed % n
        order[last], order[chosen] = order[chosen], order[last]
