"""Entries of rows, put together from the columns of a table.

A column gives each row one id and one value, or, as a bag, several of them; an id of -1 stands for nothing.
Each kernel goes over a block of rows, of which all columns are put down while it lies in the cache.
"""

from __future__ import annotations

import numpy as np

from fastfm_deep.kernels._jit import kernel


@kernel
def count_single(ids, counts):
    """Add 1 to `counts`, int64 (n_rows,), where a row has an id."""
    for row in range(len(ids)):
        counts[row] += ids[row] >= 0


@kernel
def count_bags(offsets, counts):
    """Add the sizes of the bags to `counts`."""
    for row in range(len(counts)):
        counts[row] += offsets[row + 1] - offsets[row]


@kernel
def put_single(ids, values, cursor, indices, data):
    """Put down one id and value a row at the places `cursor`, which move on; `values` may be of length 0: ones."""
    ones = len(values) == 0
    for row in range(len(ids)):
        if ids[row] >= 0:
            at = np.uintp(cursor[row])
            indices[at] = ids[row]
            data[at] = np.float32(1.0) if ones else values[row]
            cursor[row] += 1


@kernel
def put_bags(offsets, ids, values, cursor, indices, data):
    """Put down the ids and values of bags, likewise."""
    for row in range(len(cursor)):
        for p in range(offsets[row], offsets[row + 1]):
            at = np.uintp(cursor[row])
            indices[at] = ids[p]
            data[at] = values[p]
            cursor[row] += 1


@kernel
def close_bags(offsets, ids, values, largest, place, out_offsets):
    """Leave out ids of -1, and bring together what a bag names twice; ids and values are changed in place.

    The values of one id are added up, or the largest is kept where `largest` says so. `place`, int64 (n_ids,), may
    hold anything. Writes where each bag begins then; returns how many entries are left.
    """
    kept = 0
    out_offsets[0] = 0
    for row in range(len(offsets) - 1):
        first = kept
        for p in range(offsets[row], offsets[row + 1]):
            id = ids[p]
            if id < 0:
                continue
            before = place[id]
            if first <= before < kept and ids[before] == id:
                values[before] = max(values[before], values[p]) if largest else values[before] + values[p]
                continue
            place[id] = kept
            ids[kept] = id
            values[kept] = values[p]
            kept += 1
        out_offsets[row + 1] = kept
    return kept


@kernel
def first_entries(offsets, most, kept):
    """Mark in `kept`, bool, the first `most` entries of each bag."""
    for row in range(len(offsets) - 1):
        for p in range(offsets[row], offsets[row + 1]):
            kept[p] = p - offsets[row] < most
