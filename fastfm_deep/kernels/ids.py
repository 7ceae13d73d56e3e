"""Ids become columns: by a hash, or by a table of the ids that have occurred.

The table is one of open addresses with linear probing, at most half full; -1 marks a free slot.
"""

from __future__ import annotations

import numpy as np

from fastfm_deep.kernels._jit import JIT_ENABLED, exact_function, exact_kernel

FREE = -1

_FIRST, _SECOND = 0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53


def _mixed_by_register(number):
    """MurmurHash3's finaliser of 64 bits (Appleby), which maps different numbers to different ones."""
    bits = np.uint64(number)
    bits = (bits ^ (bits >> np.uint64(33))) * np.uint64(_FIRST)
    bits = (bits ^ (bits >> np.uint64(33))) * np.uint64(_SECOND)
    return bits ^ (bits >> np.uint64(33))


def _mixed_by_python(number):
    bits = int(number)
    bits = (bits ^ bits >> 33) * _FIRST % 2**64
    bits = (bits ^ bits >> 33) * _SECOND % 2**64
    return np.uint64(bits ^ bits >> 33)


_mixed = exact_function(_mixed_by_register) if JIT_ENABLED else _mixed_by_python


@exact_kernel
def hash_columns(ids, n_features):
    """Put `mixed(id) % n_features` in the place of each id of an int64 array."""
    size = np.uint64(n_features)
    mask = size - np.uint64(1)
    if size & mask == np.uint64(0):
        for place in range(len(ids)):
            ids[place] = np.int64(_mixed(ids[place]) & mask)
    else:
        for place in range(len(ids)):
            ids[place] = np.int64(_mixed(ids[place]) % size)


@exact_function
def _slot_of(number, keys):
    """Slot of an id, or the free one that it would take."""
    mask = np.uint64(len(keys) - 1)
    slot = _mixed(number) & mask
    while keys[slot] != number and keys[slot] != FREE:
        slot = (slot + np.uint64(1)) & mask
    return slot


@exact_kernel
def find_columns(ids, keys, columns):
    """Put its column in the place of each id; -1 where the table does not know it."""
    for place in range(len(ids)):
        slot = _slot_of(ids[place], keys)
        ids[place] = columns[slot] if keys[slot] != FREE else np.int64(-1)


@exact_kernel
def add_ids(ids, start, keys, columns, n_columns):
    """Put its column in the place of each id from `start` on; a new one gets the next column.

    Returns the place where it stopped, `len(ids)` unless the table is half full, and the number of columns.
    """
    for place in range(start, len(ids)):
        slot = _slot_of(ids[place], keys)
        if keys[slot] == FREE:
            if 2 * n_columns >= len(keys):
                return place, n_columns
            keys[slot] = ids[place]
            columns[slot] = n_columns
            n_columns += 1
        ids[place] = columns[slot]
    return len(ids), n_columns


@exact_kernel
def fill_table(ids, keys, columns):
    """Put ids, each once, into an empty table; their columns count from 0."""
    for place in range(len(ids)):
        slot = _slot_of(ids[place], keys)
        keys[slot] = ids[place]
        columns[slot] = place


@exact_kernel
def drop_beyond(columns, values, fields, ends, limit):
    """Close up pairs whose column is negative, or `limit` and more; row ends move along. Returns what is left."""
    kept = 0
    place = 0
    for row in range(len(ends)):
        end = ends[row]
        while place < end:
            column = columns[place]
            if 0 <= column < limit:
                columns[kept] = column
                values[kept] = values[place]
                if fields is not None:
                    fields[kept] = fields[place]
                kept += 1
            place += 1
        ends[row] = kept
    return kept


# The table of fields holds, for each column, 0 while none is known, the field + 1, or less than 0 where the
# column has come with several fields: minus the first one, minus 1.


@exact_kernel
def find_new_fields(columns, fields, known, new_columns, new_fields):
    """List the pairs that tell something which the table of fields does not; returns how many."""
    n_new = 0
    n_known = np.uint64(len(known))
    for place in range(len(columns)):
        column = np.uint64(columns[place])
        field = np.int64(known[column]) if column < n_known else 0
        # Written in any case, and kept by counting: no branch to guess.
        new_columns[n_new] = columns[place]
        new_fields[n_new] = fields[place]
        n_new += (field != fields[place] + 1) & (field >= 0)
    return n_new


@exact_kernel
def note_fields(columns, fields, known):
    """Write fields into their table; of several, a column keeps the first."""
    for place in range(len(columns)):
        column, field = columns[place], np.int64(fields[place]) + 1
        before = np.int64(known[column])
        if before == 0:
            known[column] = field
        elif before > 0 and before != field:
            known[column] = -before
