"""The shuffle: every order is as likely as any other, and a seed means the same everywhere."""

from __future__ import annotations

from collections import Counter
from itertools import permutations

import numpy as np
import pytest

from fastfm_deep.kernels.order import shuffle


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
@pytest.mark.parametrize("size", [0, 1, 2, 3, 1000])
def test_a_shuffle_keeps_every_row(size, dtype):
    order = np.arange(size, dtype=dtype)
    shuffle(order, np.uint64(5))
    assert sorted(order.tolist()) == list(range(size))
    assert size < 1000 or (order != np.arange(size)).sum() > 900


def test_a_seed_means_the_same_everywhere():
    order = np.arange(10, dtype=np.int32)
    shuffle(order, np.uint64(2**64 - 1))
    assert order.tolist() == [6, 7, 0, 3, 5, 4, 2, 1, 9, 8]


def test_orders_are_equally_likely():
    rng = np.random.default_rng(0)
    counts = Counter()
    for seed in rng.integers(0, 2**63, 4800):
        order = np.arange(4, dtype=np.int32)
        shuffle(order, np.uint64(seed))
        counts[tuple(order.tolist())] += 1
    assert set(counts) == set(permutations(range(4)))
    # Chi-squared with 23 degrees of freedom: beyond 60 once in 40,000.
    assert sum((count - 200) ** 2 / 200 for count in counts.values()) < 60
