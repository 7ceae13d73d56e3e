"""Passes over the parameter tables: start the rows of new columns, keep a copy of the weights, put it back.

All go by a list of columns, so that what they cost follows from the columns that occur, not from the width.
"""

from __future__ import annotations

import numpy as np

from fastfm_deep.kernels._jit import kernel
from fastfm_deep.kernels.parts import HAS_FACTORS, part_at


@kernel
def start_columns(params, columns, factors, linear_start, factor_start):
    """Begin anew at `columns` with `factors` (n_columns, n_factors), weights of 0 and fresh states.

    Columns that have no factors begin with zeros instead.
    `linear_start`, float32 (linear width,), is a whole row of the linear table.
    """
    n_factors = factors.shape[1]
    stride = params.factors.shape[1] if n_factors > 0 else 0
    for j in range(len(columns)):
        col = np.uintp(columns[j])
        for f in range(params.linear.shape[1]):
            params.linear[col, f] = linear_start[f]
        n_started = n_factors if part_at(params.parts, col) & HAS_FACTORS else 0
        for f in range(n_started):
            params.factors[col, f] = factors[j, f]
        for f in range(n_started, params.padded_factors):
            params.factors[col, f] = 0.0
        for f in range(params.padded_factors, stride):
            params.factors[col, f] = factor_start


@kernel
def keep_columns(params, columns, kept_factors, kept_linear):
    """Copy factors (without states) and the linear table at `columns`; True if all weights are finite."""
    n_factors = kept_factors.shape[1]
    # x - x is 0 for finite numbers only; a sum of them is checked once a block, without branches.
    fault = np.float32(0.0)
    for j in range(len(columns)):
        col = np.uintp(columns[j])
        for f in range(kept_linear.shape[1]):
            kept_linear[j, f] = params.linear[col, f]
        w = params.linear[col, 0]
        fault += abs(w - w)
        for f in range(n_factors):
            v = params.factors[col, f]
            kept_factors[j, f] = v
            fault += abs(v - v)
    return fault == np.float32(0.0)


@kernel
def restore_columns(params, columns, kept_factors, kept_linear):
    """Put back what `keep_columns` copied; the states of factors stay as they are."""
    for j in range(len(columns)):
        col = np.uintp(columns[j])
        for f in range(kept_linear.shape[1]):
            params.linear[col, f] = kept_linear[j, f]
        for f in range(kept_factors.shape[1]):
            params.factors[col, f] = kept_factors[j, f]


@kernel
def all_finite(params, columns, n_factors):
    """Whether all weights at `columns` are finite numbers."""
    fault = np.float32(0.0)
    for j in range(len(columns)):
        col = np.uintp(columns[j])
        w = params.linear[col, 0]
        fault += abs(w - w)
        for f in range(n_factors):
            v = params.factors[col, f]
            fault += abs(v - v)
    return fault == np.float32(0.0)
