"""Passes over the columns that rows name: which occur, how large their values are, how many share a field."""

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


@kernel
def divide_by_counts(rows, field_of_column, powers, values):
    """Divide `values` by n ** powers[field]; n: how many values of the row in that field are not 0."""
    counts = np.zeros(len(powers), np.int64)
    for row in range(len(rows.indptr) - 1):
        first, end = rows.indptr[row], rows.indptr[row + 1]
        for p in range(first, end):
            field = field_of_column[rows.indices[p]]
            if field >= 0 and rows.values[p] != 0.0:
                counts[field] += 1
        for p in range(first, end):
            field = field_of_column[rows.indices[p]]
            if field >= 0 and powers[field] > 0.0 and counts[field] > 1:
                n = np.float64(counts[field])
                values[p] = np.float32(np.float64(rows.values[p]) / (n if powers[field] == 1.0 else np.sqrt(n)))
        for p in range(first, end):
            field = field_of_column[rows.indices[p]]
            if field >= 0:
                counts[field] = 0
