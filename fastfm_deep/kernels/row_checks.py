"""Checks of CSR arrays that nothing has vouched for yet: damaged pointers, ids out of range, repeated ids.

A *fault* is what the first broken rule is called: no kernel of another file may walk arrays that have one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastfm_deep.kernels._jit import kernel, row_function
from fastfm_deep.kernels.row_faults import NO_FAULT, POINTER_FAULT, RANGE_FAULT

if TYPE_CHECKING:
    from numpy.typing import NDArray

# 8 kB of hash slots lie in the first-level cache, and 39 ids among 1,024 slots hardly ever meet: 39 ms per
# 500,000 such rows against 64 ms with 128 slots and 109 ms for comparing all pairs of a row.
FEWEST_SLOT_BITS = 10

# 2**32 divided by the golden ratio: Fibonacci hashing spreads ids with a common stride.
_GOLDEN = 2654435769
_LOW_31_BITS = 2**31 - 1
_LOW_32_BITS = 2**32 - 1


@row_function
def is_increasing(ids: NDArray[np.integer]) -> bool:
    """Whether the ids of a row rise strictly: it repeats none then and has its extremes at its ends."""
    falls = 0  # counted without a branch, so that the loop becomes vector code
    for at in range(1, len(ids)):
        falls += ids[at] <= ids[at - 1]
    return falls == 0


@row_function
def first_out_of_range(ids: NDArray[np.integer], n_columns: int) -> int:
    """Place of the first id outside 0 .. n_columns - 1, or -1."""
    outside = 0
    for at in range(len(ids)):
        outside += (ids[at] < 0) | (ids[at] >= n_columns)
    if outside == 0:
        return -1
    for at in range(len(ids)):
        if ids[at] < 0 or ids[at] >= n_columns:
            return at
    return -1


@row_function
def slot_bits(length: int) -> int:
    """log2 of the number of hash slots for a row of this length: at least half of them stay free."""
    bits = FEWEST_SLOT_BITS
    while (1 << bits) < 2 * length:
        bits += 1
    return bits


@row_function
def repeats_column(ids: NDArray[np.integer], start: int, slots: NDArray[np.int64], bits: int) -> bool:
    """Whether an id occurs twice in an unsorted row, whose first id has position `start` in the matrix.

    `slots` is an open-addressing hash table of positions in the matrix. Positions below `start` are left from
    earlier rows and count as free, so the table is never cleared.
    """
    last = (1 << bits) - 1
    for at in range(len(ids)):
        column = np.int64(ids[at])
        folded = (column ^ (column >> 31)) & _LOW_31_BITS
        slot = ((folded * _GOLDEN) & _LOW_32_BITS) >> (32 - bits)
        while slots[slot] >= start:
            if ids[slots[slot] - start] == ids[at]:
                return True
            slot = (slot + 1) & last
        slots[slot] = start + at
    return False


@kernel
def check_rows(
    indptr: NDArray[np.int64], indices: NDArray[np.integer], n_columns: int
) -> tuple[int, int, int, bool]:
    """Walk the rows and return (fault, row, position, repeated).

    `indptr[0]` must be 0. At a pointer fault `position` is the bad pointer's place in `indptr`, at a range
    fault the bad id's place in `indices`. `repeated` tells whether some row holds a column twice; rows need
    no order. An unsorted row costs a hash table of two to four times its own length, never of `n_columns`.
    """
    repeated = False
    bits = FEWEST_SLOT_BITS
    slots = np.full(1 << bits, -1, np.int64)
    stop = 0
    for row in range(len(indptr) - 1):
        start = stop
        stop = indptr[row + 1]
        if stop < start or stop > len(indices):
            return POINTER_FAULT, row, row + 1, repeated
        if stop == start:
            continue
        ids = indices[start:stop]
        increasing = is_increasing(ids)
        if increasing and ids[0] >= 0 and ids[-1] < n_columns:
            continue
        at = first_out_of_range(ids, n_columns)
        if at >= 0:
            return RANGE_FAULT, row, start + at, repeated
        if not repeated:
            if slot_bits(stop - start) > bits:
                bits = slot_bits(stop - start)
                slots = np.full(1 << bits, -1, np.int64)
            repeated = repeats_column(ids, start, slots, bits)
    return NO_FAULT, -1, -1, repeated


@kernel
def first_nonfinite(float32_bits: NDArray[np.uint32]) -> int:
    """Position of the first NaN or infinity among float32 values given by their bits, or -1.

    Without the sign bit, just these are not below the bits of infinity. The bits make vector code, whatever
    the floating-point flags let the compiler assume.
    """
    block = 16384
    without_sign = np.uint32(0x7FFFFFFF)
    infinity = np.uint32(0x7F800000)
    for start in range(0, len(float32_bits), block):
        part = float32_bits[start : start + block]  # a slice from 0: a loop from `start` is 6x slower
        largest = np.uint32(0)
        for at in range(len(part)):
            largest = max(largest, part[at] & without_sign)
        if largest >= infinity:
            for at in range(len(part)):
                if part[at] & without_sign >= infinity:
                    return start + at
    return -1


@kernel
def pack_rows(
    block: NDArray[np.float32],
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    values: NDArray[np.float32],
) -> None:
    """Write the entries of a dense block (n_rows, n_columns) that are not zero to where `indptr` says.

    The caller owns all arrays; `indptr` (n_rows + 1,) is the block's part of the whole matrix's pointers.
    """
    zero = np.float32(0.0)
    for row in range(block.shape[0]):
        to = indptr[row]
        for column in range(block.shape[1]):
            if block[row, column] != zero:
                indices[to] = column
                values[to] = block[row, column]
                to += 1
