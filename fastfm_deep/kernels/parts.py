"""Parts of a column: whether it has a weight, factors, or both.

A part that a column has not got is 0 from the start and for good, so that scores need not ask: only what starts
and updates columns does. Tables of columns that all have both hold None for parts, and kernels are compiled for
that alone: to ask for each non-zero would cost their updates 3 %.
"""

from __future__ import annotations

import numpy as np

from fastfm_deep.kernels import lanes as ln
from fastfm_deep.kernels._jit import row_function

HAS_WEIGHT = 1
HAS_FACTORS = 2
HAS_BOTH = HAS_WEIGHT | HAS_FACTORS

_ZERO = np.float32(0.0)


@row_function
def part_at(parts, col):
    """The parts of `col`, given those of all columns, uint8 (n_features,), or None."""
    if parts is None:
        return HAS_BOTH
    return np.intp(parts[np.uintp(col)])


@row_function
def part_at_lanes(parts, col):
    """`part_at` for a pointer, or None."""
    if parts is None:
        return HAS_BOTH
    return np.intp(ln.at(parts, col))


@row_function
def prefetch_part(parts, col):
    """Ask for what `part_at_lanes` will look at."""
    if parts is None:
        return
    ln.prefetch(ln.address_of(parts, col))


@row_function
def of_weight(part, gradient):
    """The gradient of a weight: 0 where there is none. Its update still counts those of Adam's factors."""
    return gradient if part & HAS_WEIGHT else _ZERO
