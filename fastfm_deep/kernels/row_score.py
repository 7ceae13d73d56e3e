"""Answers to rows that nobody has looked at yet, one row or many by one call: checks, tables, network and link.

A model comes as a plan, see `kernels.plan`. Scratch is the call's own: any number of threads may score at once.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numba.core import types
from numba.np.numpy_support import from_dtype

from fastfm_deep.kernels import lanes as ln
from fastfm_deep.kernels._jit import BOUNDS_CHECKED, JIT_ENABLED, kernel, row_function, short_kernel
from fastfm_deep.kernels.fields import gather_values_lanes
from fastfm_deep.kernels.file_state import has_changed
from fastfm_deep.kernels.fm import AHEAD_PARAMETERS, score_row_lanes
from fastfm_deep.kernels.forward import forward, most_units
from fastfm_deep.kernels.plan import FILE, FILE_STATE, N_FEATURES, answer_of, point_at_plan
from fastfm_deep.kernels.pointers import FLOAT_BYTES, LOOKUP, RowPointers, row_at, value_at
from fastfm_deep.kernels.rounding import flush_denormals, restore_mode
from fastfm_deep.kernels.row_checks import (
    FEWEST_SLOT_BITS,
    first_out_of_range,
    is_increasing,
    repeats_column,
    slot_bits,
)

HAS_ROW_SCORE = JIT_ENABLED and not BOUNDS_CHECKED
"""Whether there are these kernels: they go by address, which needs compiled code and checks no bounds."""

ANSWERED, DOUBTFUL, TOO_LARGE = 0, 1, 2
"""What `score_rows` returns: all is well; a row is not sound; float32 was not enough for a row, answered by NaN.

Nothing is known about what lies behind a row that is not sound.
"""

_LINE = 64
_LARGEST = np.float32(np.finfo(np.float32).max)
_VALUES = types.Array(types.float32, 1, "C", readonly=True)
# Columns of a row that is not in order are compared with each other; of longer rows somebody else has to find out.
_MOST_COMPARED = 512
# Rows that are checked together before they are scored, and rows whose vectors stay in the cache for the network.
_BLOCK_ROWS = 512
_NETWORK_ROWS = 32


@row_function
def _is_sound(indices, n_features):
    """Whether all columns are within the model, and none comes twice."""
    n_falls = 0
    for p in range(len(indices)):
        col = np.intp(indices[np.uintp(p)])
        if col < 0 or col >= n_features:
            return False
        if p > 0 and col <= np.intp(indices[np.uintp(p - 1)]):
            n_falls += 1
    if n_falls == 0:
        return True
    if len(indices) > _MOST_COMPARED:
        return False
    for p in range(1, len(indices)):
        n_same = 0
        col = indices[np.uintp(p)]
        for other in range(np.uintp(p)):
            n_same += col == indices[other]
        if n_same > 0:
            return False
    return True


@row_function
def _prefetch_values(rows, span, tables):
    for p in range(span[0], span[1]):
        at = row_at(tables.lookup, np.intp(ln.at(rows.indices, p)))
        ln.prefetch(ln.address_of(tables.linear, at * tables.linear_width))
        for away in range(0, tables.row_bytes, _LINE):
            ln.prefetch(tables.factors + at * tables.row_bytes + away)


@row_function
def _gather(rows, span, plan, sums, vectors, lanes):
    """Linear and pair terms; field vectors to `vectors`, an address."""
    if plan.padded_factors > 0:
        return gather_values_lanes(rows, span, plan.tables, plan.fields, plan.any_maxed, sums, vectors, lanes)
    linear = 0.0
    for p in range(span[0], span[1]):
        at = row_at(plan.tables.lookup, np.intp(ln.at(rows.indices, p)))
        x = np.float64(value_at(rows, plan.tables, p))
        linear += np.float64(ln.at(plan.tables.linear, at * plan.tables.linear_width)) * x
    return linear


@row_function
def _score_row(plan_address, indices, values, lanes, lookup_marker, has_network):
    if len(values) != len(indices) or not _is_sound(indices, ln.at(ln.int64_pointer(plan_address), N_FEATURES)):
        return np.nan
    plan, numbers = point_at_plan(plan_address, lanes, lookup_marker), ln.int64_pointer(plan_address)
    rows = RowPointers(None, ln.pointer(indices), ln.pointer(values))
    span = (0, len(indices))
    _prefetch_values(rows, span, plan.tables)
    before = flush_denormals()
    n_floats = (1 + plan.n_vectors) * plan.padded_factors
    room_floats = 8 * most_units(plan.network) if has_network else 0
    scratch = np.empty(n_floats + room_floats, dtype=np.float32)
    sums = ln.address_of(ln.pointer(scratch), 0)
    vectors = sums + plan.padded_factors * FLOAT_BYTES
    raw = np.empty(1, dtype=np.float64)
    found = _gather(rows, span, plan, sums, vectors, lanes)
    raw[0] = ln.at(plan.intercept, 0) + found
    if has_network:
        forward(plan.network, vectors, 0, 1, sums + n_floats * FLOAT_BYTES, ln.pointer(raw))
    restore_mode(before)
    ln.keep(scratch)
    if ln.at(numbers, FILE) >= 0 and has_changed(ln.at(numbers, FILE), ln.at(numbers, FILE_STATE)):
        return np.nan
    return answer_of(plan, raw[0])


@kernel
def _check_block(indptr, indices, values, first_row, last_row, n_features, slots):
    """Whether rows are sound and their values 1: 0 where they are not sound, 2 where all values are 1, else 1."""
    begin = np.intp(indptr[np.uintp(first_row)])
    stop = begin
    if begin < 0 or begin > len(indices):
        return 0
    for row in range(first_row, last_row):
        start = stop
        stop = np.intp(indptr[np.uintp(row + 1)])
        if stop < start or stop > len(indices):
            return 0
        if stop == start:
            continue
        ids = indices[start:stop]
        if is_increasing(ids) and ids[0] >= 0 and ids[-1] < n_features:
            continue
        if first_out_of_range(ids, n_features) >= 0 or slot_bits(stop - start) > FEWEST_SLOT_BITS:
            return 0
        if repeats_column(ids, start, slots, FEWEST_SLOT_BITS):
            return 0
    n_other, n_bad = 0, 0
    part = values[begin:stop]
    for p in range(len(part)):
        x = part[np.uintp(p)]
        n_other += x != np.float32(1.0)
        n_bad += not abs(x) <= _LARGEST
    if n_bad > 0:
        return 0
    return 1 if n_other > 0 else 2


@row_function
def _score_block(indptr, indices, values, are_ones, first_row, last_row, plan, scratch, out, lanes):
    """Answer sound rows of a model without a network; returns how many answers are NaN."""
    if are_ones and not plan.tables.scaled:
        rows = RowPointers(indptr, indices, ln.ones_like(values))
        return _score_tables(rows, first_row, last_row, plan, out, lanes)
    rows_of_values = RowPointers(indptr, indices, values)
    return _score_tables(rows_of_values, first_row, last_row, plan, out, lanes)


@row_function
def _score_tables(rows, first_row, last_row, plan, out, lanes):
    n_nan = 0
    for row in range(first_row, last_row):
        ahead = min(row + AHEAD_PARAMETERS, last_row - 1)
        raw = ln.at(plan.intercept, 0) + score_row_lanes(rows, row, ahead, plan.tables, lanes)
        answer = answer_of(plan, raw)
        out[np.uintp(row)] = answer
        n_nan += answer != answer
    return n_nan


@row_function
def _score_network_block(indptr, indices, values, are_ones, first_row, last_row, plan, scratch, out, lanes):
    """The same of a model with one."""
    rows = RowPointers(indptr, indices, values)
    sums = ln.address_of(ln.pointer(scratch), 0)
    vector_bytes = plan.n_vectors * plan.padded_factors * FLOAT_BYTES
    vectors = sums + plan.padded_factors * FLOAT_BYTES
    room = vectors + _NETWORK_ROWS * vector_bytes
    raw = np.empty(_NETWORK_ROWS, dtype=np.float64)
    n_nan = 0
    for first in range(first_row, last_row, _NETWORK_ROWS):
        n = min(_NETWORK_ROWS, last_row - first)
        for i in range(n):
            row = first + i
            ahead = min(row + AHEAD_PARAMETERS, last_row - 1)
            _prefetch_values(rows, (ln.at(rows.indptr, ahead), ln.at(rows.indptr, ahead + 1)), plan.tables)
            span = (np.intp(ln.at(rows.indptr, row)), np.intp(ln.at(rows.indptr, row + 1)))
            raw[i] = ln.at(plan.intercept, 0) + _gather(rows, span, plan, sums, vectors + i * vector_bytes, lanes)
        forward(plan.network, vectors, vector_bytes, n, room, ln.pointer(raw))
        for i in range(n):
            answer = answer_of(plan, raw[i])
            out[np.uintp(first + i)] = answer
            n_nan += answer != answer
    return n_nan


@row_function
def _score_rows(plan_address, indptr, indices, values, out, lanes, lookup_marker, score_block):
    plan = point_at_plan(plan_address, lanes, lookup_marker)
    n_features = ln.at(ln.int64_pointer(plan_address), N_FEATURES)
    n_rows = len(indptr) - 1
    if len(values) != len(indices) or len(out) != n_rows:
        return DOUBTFUL
    n_floats = 1
    if plan.n_vectors > 0:
        n_floats = (1 + _NETWORK_ROWS * plan.n_vectors) * plan.padded_factors + 8 * most_units(plan.network)
    scratch = np.empty(n_floats, dtype=np.float32)
    slots = np.full(1 << FEWEST_SLOT_BITS, -1, np.int64)
    pointer, ids, numbers = ln.pointer(indptr), ln.pointer(indices), ln.pointer(values)
    before = flush_denormals()
    n_nan = 0
    found = ANSWERED
    for first in range(0, n_rows, _BLOCK_ROWS):
        last = min(first + _BLOCK_ROWS, n_rows)
        checked = _check_block(indptr, indices, values, first, last, n_features, slots)
        if checked == 0:
            found = DOUBTFUL
            break
        n_nan += score_block(pointer, ids, numbers, checked == 2, first, last, plan, scratch, out, lanes)
    restore_mode(before)
    ln.keep(scratch)
    return TOO_LARGE if found == ANSWERED and n_nan > 0 else found


class Kind(NamedTuple):
    """What kernels are compiled for: storage and width of lanes, see `STORED_LANES`, and what a model has."""

    storage: str
    width: int
    has_lookup: bool
    has_network: bool


@cache
def row_score(kind: Kind, index_types: tuple[np.dtype[Any], ...]) -> Any:
    """The kernel for models of a kind: `(address of a plan, indices, values)` to a float64 answer.

    NaN stands for whatever is wrong with the row: lengths that differ, a column beyond the model or named twice, a
    value that is no finite float32, a score that is none, a mapped file that has been changed.

    It takes contiguous arrays of these types and of float32, all others are a TypeError. Left to itself Numba
    compiles for whatever types a call brings along, and ids that are floats would be rounded.
    """
    lanes, lookup_marker, has_network = _markers(kind)

    def score_row(plan_address, indices, values):
        return _score_row(plan_address, indices, values, lanes, lookup_marker, has_network)

    dispatcher = _named(score_row, kind, short_kernel)
    for index_type in index_types:
        dispatcher.compile((types.int64, _array_of(index_type), _VALUES))
    dispatcher.disable_compile()
    return dispatcher


@cache
def rows_score(kind: Kind, index_types: tuple[np.dtype[Any], ...]) -> Any:
    """The same for many rows: `(address of a plan, indptr, indices, values, out)`.

    `indptr` has the type of the indices and may begin anywhere, `out` is float64 (n_rows,). Returns `ANSWERED`,
    `DOUBTFUL` or `TOO_LARGE`.
    """
    lanes, lookup_marker, has_network = _markers(kind)
    # The block's function by its name: as a variable of this function it would be part of what Numba finds its
    # files by, and it is another one in each process.
    if has_network:

        def score_rows(plan_address, indptr, indices, values, out):
            block = _score_network_block
            return _score_rows(plan_address, indptr, indices, values, out, lanes, lookup_marker, block)

    else:

        def score_rows(plan_address, indptr, indices, values, out):
            block = _score_block
            return _score_rows(plan_address, indptr, indices, values, out, lanes, lookup_marker, block)

    dispatcher = _named(score_rows, kind, kernel)
    for index_type in index_types:
        ids = _array_of(index_type)
        dispatcher.compile((types.int64, ids, ids, _VALUES, types.Array(types.float64, 1, "C")))
    dispatcher.disable_compile()
    return dispatcher


def _markers(kind: Kind) -> tuple[Any, Any, bool]:
    # Not in `kind` itself: markers of different storages are equal, and kernels are found by what is equal.
    return ln.STORED_LANES[kind.storage][kind.width], LOOKUP if kind.has_lookup else None, kind.has_network


def _named(function: Any, kind: Kind, compiled: Any) -> Any:
    """Compiled, under a name of its own for the files it is kept in."""
    what = kind.storage, kind.width, "lookup" if kind.has_lookup else "", "network" if kind.has_network else ""
    function.__qualname__ = "_".join([function.__name__, *map(str, filter(None, what))])
    return compiled(function)


def _array_of(dtype: np.dtype[Any]) -> Any:
    return types.Array(from_dtype(dtype), 1, "C", readonly=True)
