"""Passes over the columns that rows name: which occur, and how large their values are."""

from __future__ import annotations

import numpy as np

from fastfm_deep.kernels._jit import kernel


@kernel
def all_ones(float32_bits):
    """Whether every float32 value, given by its bits, is 1.0; the bits make vector code."""
    block = 16384
    one = np.uint32(0x3F800000)
    for start in range(0, len(float32_bits), block):
        part = float32_bits[start : start + block]
        different = np.uint32(0)
        for at in range(len(part)):
            different |= part[at] ^ one
        if different:
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
