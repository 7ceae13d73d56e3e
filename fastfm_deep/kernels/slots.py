"""The columns of a micro-batch: numbered, and their parameters copied.

Each column that a micro-batch names gets a *slot*, 0, 1, ... in order of first appearance. Parameters and
gradients of the slots lie together, so that they stay in the cache between the two passes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastfm_deep.kernels import lanes as ln
from fastfm_deep.kernels._jit import BOUNDS_CHECKED, JIT_ENABLED, kernel, row_function
from fastfm_deep.kernels.fm import prefetch_ids
from fastfm_deep.kernels.pointers import FLOAT_BYTES, point_at_rows, point_at_tables

_ZERO = np.float32(0.0)
_ONE = np.float32(1.0)
EMPTY = -1
"""What stands in the hash table where no slot does."""
_WORD = np.uint64(0xFFFFFFFF)


class SlotTable(NamedTuple):
    """Numbers for each slot, laid out as `model.params.Parameters` for the kernels that take either.

    factors : float32 (n, padded_factors); linear : float32 (n, 1) of parameters, (n,) of gradients.
    """

    factors: np.ndarray
    linear: np.ndarray
    intercept: np.ndarray
    inverse_scale: np.ndarray
    padded_factors: int
    lookup: None = None


class Slots(NamedTuple):
    """The columns of a micro-batch, found by a hash table with linear probing.

    table : int32 (a power of 2,), a slot or -1.
    columns : int64 (n,); place : int32 (n,), where in `table`; fields : int32 (n,).
    counts : float32 (n,), rows of the micro-batch that name it.
    params, gradients : SlotTable
    """

    table: np.ndarray
    columns: np.ndarray
    place: np.ndarray
    fields: np.ndarray
    counts: np.ndarray
    params: SlotTable
    gradients: SlotTable


class BatchRows(NamedTuple):
    """The rows of a micro-batch by slots, laid out as `data.rows.CsrRows`."""

    indptr: np.ndarray  # int64 (n_rows + 1,)
    indices: np.ndarray  # int32 (nnz,)
    values: np.ndarray  # float32 (nnz,); broadcast where all are 1


@row_function
def _prefetch_ids_lanes(rows, targets, order, t, last):
    prefetch_ids(
        point_at_rows(rows), ln.pointer(targets.y), ln.pointer(targets.weight), ln.pointer(order), t, last
    )


@row_function
def _prefetch_column_lanes(params, of_column, col):
    ln.prefetch(ln.address_of(ln.pointer(params.linear), col * np.intp(params.linear.shape[1])))
    stride = np.intp(params.factors.shape[1])
    ln.prefetch(ln.address_of(ln.pointer(params.factors), col * stride))
    if len(of_column) > 0:
        ln.prefetch(ln.address_of(ln.pointer(of_column), col))


@row_function
def _prefetch_ids_plain(rows, targets, order, t, last):
    pass


@row_function
def _prefetch_column_plain(params, of_column, col):
    pass


if JIT_ENABLED and not BOUNDS_CHECKED:
    _prefetch_batch_ids, _prefetch_column = _prefetch_ids_lanes, _prefetch_column_lanes
else:
    _prefetch_batch_ids, _prefetch_column = _prefetch_ids_plain, _prefetch_column_plain


@row_function
def _first_place(col, size):
    """Where in the table a column is looked for first.

    Fibonacci hashing (Knuth, TAOCP 3, 6.4): of the lower word of the product the upper bits are well mixed.
    """
    word = (np.uint64(col) ^ (np.uint64(col) >> np.uint64(32))) & _WORD
    return (((word * np.uint64(0x9E3779B1)) & _WORD) * size) >> np.uint64(32)


@kernel
def take_rows(rows, targets, order, span, params, of_column, slots, taken, values):
    """Number the columns of the rows order[span[0]:span[1]], and copy these; return how many slots there are.

    `of_column`, int32 (n_features,), is the field of each column; empty for none. `values` are those of `taken`,
    in the units that the model is trained in; empty where all are 1.
    """
    scaled = len(params.inverse_scale) > 0
    start, stop = span
    last = len(order) - 1
    size = np.uint64(len(slots.table))
    n_slots, at = np.intp(0), 0
    taken.indptr[0] = 0
    for t in range(start, stop):
        _prefetch_batch_ids(rows, targets, order, t, last)
        row = np.uintp(order[t])
        for p in range(np.uintp(rows.indptr[row]), np.uintp(rows.indptr[row + np.uintp(1)])):
            col = np.int64(rows.indices[p])
            # Not a function: passing `slots` on would count references, which takes longer than the search.
            place = _first_place(col, size)
            while True:
                slot = np.intp(slots.table[place])
                if slot == EMPTY:
                    slot = n_slots
                    n_slots += 1
                    slots.table[place] = slot
                    slots.columns[np.uintp(slot)] = col
                    slots.place[np.uintp(slot)] = place
                    slots.counts[np.uintp(slot)] = _ZERO
                    _prefetch_column(params, of_column, np.intp(col))
                    break
                if slots.columns[np.uintp(slot)] == col:
                    break
                place = (place + np.uint64(1)) & (size - np.uint64(1))
            slots.counts[np.uintp(slot)] += _ONE
            taken.indices[np.uintp(at)] = slot
            if len(values) > 0:
                values[np.uintp(at)] = rows.values[p] * (params.inverse_scale[np.uintp(col)] if scaled else _ONE)
            at += 1
        taken.indptr[t - start + 1] = at
    return n_slots


def copy_columns_lanes(slots, n_slots, params, of_column, lanes, blocks):
    """Copy the parameters of the columns that have a slot, and set their gradients to 0."""
    home, away = point_at_tables(params, lanes, blocks), point_at_tables(slots.params, lanes, blocks)
    columns, fields = ln.pointer(slots.columns), ln.pointer(slots.fields)
    of_col = ln.pointer(of_column)
    gradients, to_gradients = ln.pointer(slots.gradients.linear), ln.pointer(slots.gradients.factors)
    block_bytes = len(lanes) * FLOAT_BYTES
    for slot in range(n_slots):
        col = ln.at(columns, slot)
        ln.put(away.linear, slot, ln.at(home.linear, col * home.linear_width))
        ln.put(gradients, slot, _ZERO)
        if len(of_column) > 0:
            ln.put(fields, slot, ln.at(of_col, col))
        start, to = home.factors + col * home.row_bytes, away.factors + slot * away.row_bytes
        to_zero = ln.address_of(to_gradients, 0) + slot * home.state_bytes
        for block in range(home.n_blocks):
            ln.store(to + block * block_bytes, ln.load(lanes, start + block * block_bytes))
            ln.store(to_zero + block * block_bytes, ln.zeros(lanes))


def copy_columns_plain(slots, n_slots, params, of_column, lanes, blocks):
    """`copy_columns_lanes`, readable."""
    for slot in range(n_slots):
        col = slots.columns[slot]
        slots.params.linear[slot, 0] = params.linear[col, 0]
        slots.gradients.linear[slot] = _ZERO
        if len(of_column) > 0:
            slots.fields[slot] = of_column[col]
        for f in range(params.padded_factors):
            slots.params.factors[slot, f] = params.factors[col, f]
            slots.gradients.factors[slot, f] = _ZERO


# Lanes go by address: they cannot run uncompiled, and no bounds are checked.
copy_columns = kernel(copy_columns_lanes if JIT_ENABLED and not BOUNDS_CHECKED else copy_columns_plain)
