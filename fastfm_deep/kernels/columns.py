"""Passes over the columns that rows name: which occur, and how large their values are."""

from __future__ import annotations

import numpy as np

from fastfm_deep.kernels._jit import kernel


@kernel
def all_ones(values):
    """Whether every value is 1.0."""
    for start in range(0, len(values), 1024):
        same = True
        for value in values[start : start + 1024]:
            same &= value == np.float32(1.0)
        if not same:
            return False
    return True


@kernel
def mark_columns(rows, order, occurs):
    """Set `occurs`, uint8 (n_features,), to 1 for every column of the rows in `order`."""
    for row in order:
        for p in range(np.uintp(rows.indptr[row]), np.uintp(rows.indptr[row + 1])):
            occurs[np.uintp(rows.indices[p])] = 1


@kernel
def add_squares(rows, order, squares, counts):
    """Add up per column what the rows in `order` hold: Σ x², float64, and how many x there are, int64."""
    for row in order:
        for p in range(np.uintp(rows.indptr[row]), np.uintp(rows.indptr[row + 1])):
            col = np.uintp(rows.indices[p])
            x = np.float64(rows.values[p])
            if x != 0.0:
                squares[col] += x * x
                counts[col] += 1
