"""One update of the tables by a micro-batch: columns numbered, parameters copied, gradients added up, one update.

The columns that a micro-batch names get a *slot* each, 0, 1, ... in order of first appearance. Parameters and
gradients of its slots lie together: they stay in the cache between the two passes, the gradient of a column is
complete before it is changed once, and threads write what they share once a micro-batch instead of once a row.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastfm_deep.kernels import lanes as ln
from fastfm_deep.kernels._jit import BOUNDS_CHECKED, JIT_ENABLED, kernel, row_function
from fastfm_deep.kernels.fields import (
    Fields,
    RowSums,
    copy_factors,
    gather_row,
    prefetch_row,
    scatter_row,
)
from fastfm_deep.kernels.fm import clip, prefetch_ids
from fastfm_deep.kernels.losses import loss_and_gradient
from fastfm_deep.kernels.pointers import FLOAT_BYTES, point_at_rows, point_at_states, point_at_tables
from fastfm_deep.kernels.updates import (
    ADAGRAD_ROWWISE,
    FTRL,
    SGD,
    Step,
    row_rate,
    row_rate_lanes,
    update_factor,
    update_lanes,
    update_weight,
    update_weight_lanes,
)

MOST_VALUES = 1 << 20
"""Non-zeros after which a micro-batch ends, so that its room is bounded; one row may have more."""

_ZERO = np.float32(0.0)
_ONE = np.float32(1.0)
_EMPTY = -1
_WORD = np.uint64(0xFFFFFFFF)
# Slots between the prefetch of a column's parameters and their use.
_AHEAD = 12
_LINE = 64


class SlotTable(NamedTuple):
    """Numbers for each slot, laid out as `model.params.Parameters` for the kernels that take either.

    factors : float32 (n, padded_factors); linear : float32 (n, 1) of parameters, (n,) of gradients.
    """

    factors: np.ndarray
    linear: np.ndarray
    intercept: np.ndarray
    inverse_scale: np.ndarray
    padded_factors: int


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


class BatchOut(NamedTuple):
    """What the two passes leave for each other, and for the network in between.

    sums : float32 (n_rows, padded_factors); raw, gradient : float32 (n_rows,).
    inputs, input_grads : float32 (n_rows, n_vectors, n_factors), what the network is fed with, and its gradient;
    the latter is (0, n_vectors, n_factors) where nothing is trained.
    vectors, grads : float32 (n_vectors, padded_factors), scratch of one row.
    """

    sums: np.ndarray
    raw: np.ndarray
    gradient: np.ndarray
    inputs: np.ndarray
    input_grads: np.ndarray
    vectors: np.ndarray
    grads: np.ndarray


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
def count_rows(rows, order, span, most_rows):
    """How many rows from order[span[0]] on make a micro-batch, and their non-zeros."""
    n_rows, n_values = 0, 0
    start, stop = span
    for t in range(start, min(stop, start + most_rows)):
        n = rows.indptr[order[t] + 1] - rows.indptr[order[t]]
        if n_rows > 0 and n_values + n > MOST_VALUES:
            break
        n_rows += 1
        n_values += n
    return n_rows, n_values


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
                if slot == _EMPTY:
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


@kernel
def gather_rows(rows, params, fields, out, lanes, blocks):
    """Linear and pair terms of all rows into `out.raw`, without the intercept; field vectors into `out.inputs`."""
    padded = out.inputs.shape[2] != params.padded_factors
    last = len(rows.indptr) - 2
    for row in range(last + 1):
        prefetch_row(rows, min(row + 2, last), params)
        vectors = out.vectors if padded else out.inputs[row]
        out.raw[row] = gather_row(rows, row, params, fields, RowSums(out.sums[row], vectors), lanes, blocks)
        if padded:
            copy_factors(vectors, out.inputs[row])


@kernel
def loss_gradients(targets, order, span, step, intercept, deep, out, tally):
    """∂loss/∂raw of the rows order[span[0]:span[1]] into `out.gradient`, where raw = intercept + out.raw + deep.

    Adds Σ weight·loss to tally[0] and Σ weight to tally[1].
    """
    for i in range(span[1] - span[0]):
        row = order[span[0] + i]
        raw = intercept[0] + out.raw[i] + deep[i]
        loss, gradient = loss_and_gradient(step.loss, raw, np.float32(targets.y[row]))
        gradient = clip(gradient, step.max_gradient)
        weight = _ONE
        if len(targets.weight) > 0:
            weight = np.float32(targets.weight[row])
        out.gradient[i] = gradient * weight
        tally[0] += loss * weight
        tally[1] += weight


@kernel
def scatter_rows(rows, fields, slots, found, grads, lanes, blocks):
    """Add up the gradients of all slots; `grads`, shaped as `found.inputs`, is the gradient of these.

    `found` is what `gather_rows` left, with the gradients of raw scores.
    """
    padded = grads.shape[2] != slots.params.padded_factors
    for row in range(len(rows.indptr) - 1):
        vectors, row_grads = found.inputs[row], grads[row]
        if padded:
            copy_factors(grads[row], found.grads)
            row_grads = found.grads
            if len(fields.maxed) > 0:
                copy_factors(found.inputs[row], found.vectors)
            vectors = found.vectors
        sums = RowSums(found.sums[row], vectors)
        scatter_row(
            rows, row, slots.params, fields, sums, row_grads, found.gradient[row], slots.gradients, lanes, blocks
        )


@row_function
def _share(step, count):
    """What the summed gradient of a column is multiplied by: SGD's steps do not shrink by themselves."""
    return _ONE / count if len(step.rule) == SGD else _ONE


@row_function
def _step_for(step, count):
    """The step of a column that `count` rows of the micro-batch name: its L2 counts for each of them.

    So the penalty of a column is what it is where each row makes an update of its own. FTRL's acts on sums of all
    gradients there were, not on steps.
    """
    times = _ONE if len(step.rule) == SGD else count
    times_linear = _ONE if len(step.rule) == FTRL else times
    return Step(
        step.loss,
        step.rule,
        step.learning_rate,
        step.l2_linear * times_linear,
        step.l2_factors * times,
        step.l1_linear,
        step.max_gradient,
        step.n_factors,
    )


def update_columns_lanes(slots, n_slots, params, base, lanes, blocks):
    """One update of every column that has a slot, by its gradient; the hash table is empty afterwards."""
    tables = point_at_states(params, base, lanes, blocks)
    columns = ln.pointer(slots.columns)
    to_gradients = ln.address_of(ln.pointer(slots.gradients.factors), 0)
    block_bytes = len(lanes) * FLOAT_BYTES
    for slot in range(n_slots):
        col_ahead = ln.at(columns, min(slot + _AHEAD, n_slots - 1))
        ln.prefetch(ln.address_of(tables.linear, col_ahead * tables.linear_width))
        for away in range(0, tables.row_bytes, _LINE):
            ln.prefetch(tables.factors + col_ahead * tables.row_bytes + away)
        col = ln.at(columns, slot)
        slots.table[np.uintp(slots.place[np.uintp(slot)])] = _EMPTY
        share = _share(base, slots.counts[np.uintp(slot)])
        step = _step_for(base, slots.counts[np.uintp(slot)])
        at_weight, factors = col * tables.linear_width, tables.factors + col * tables.row_bytes
        gradient = slots.gradients.linear[np.uintp(slot)] * share
        update_weight_lanes(step, tables.linear, at_weight, gradient, step.l2_linear, step.l1_linear)
        here = to_gradients + slot * tables.state_bytes
        mean_square = _ZERO
        if len(step.rule) == ADAGRAD_ROWWISE:
            for block in range(tables.n_blocks):
                away = block * block_bytes
                d = ln.multiply(ln.splat(lanes, share), ln.load(lanes, here + away))
                l2 = ln.splat(lanes, step.l2_factors)
                d = ln.add(d, ln.multiply(l2, ln.load(lanes, factors + away)))
                mean_square += ln.sum_lanes(ln.multiply(d, d))
            mean_square /= step.n_factors
        rate = row_rate_lanes(step, tables.linear, at_weight, mean_square)
        for block in range(tables.n_blocks):
            address = factors + block * block_bytes
            d = ln.multiply(ln.splat(lanes, share), ln.load(lanes, here + block * block_bytes))
            d = ln.add(d, ln.multiply(ln.splat(lanes, step.l2_factors), ln.load(lanes, address)))
            update_lanes(len(step.rule), step.learning_rate, lanes, address, tables.state_bytes, d, rate)


def update_columns_plain(slots, n_slots, params, base, lanes, blocks):
    """`update_columns_lanes`, readable."""
    factors, linear = params.factors.ravel(), params.linear.ravel()
    states = np.uintp(params.padded_factors)
    for slot in range(n_slots):
        col = slots.columns[slot]
        slots.table[slots.place[slot]] = _EMPTY
        share, step = _share(base, slots.counts[slot]), _step_for(base, slots.counts[slot])
        at = np.uintp(col * params.linear.shape[1])
        update_weight(step, linear, at, slots.gradients.linear[slot] * share, step.l2_linear, step.l1_linear)
        mean_square = _ZERO
        for f in range(params.padded_factors):
            d = slots.gradients.factors[slot, f] * share + step.l2_factors * params.factors[col, f]
            mean_square += d * d / step.n_factors
        rate = row_rate(step, linear, at, mean_square)
        for f in range(params.padded_factors):
            at_factor = np.uintp(col * params.factors.shape[1] + f)
            update_factor(step, factors, at_factor, states, slots.gradients.factors[slot, f] * share, rate)


@kernel
def update_intercept(intercept, gradients, step):
    """One update of the intercept by the row gradients of a micro-batch."""
    total = _ZERO
    for gradient in gradients:
        total += gradient
    total *= _share(step, np.float32(len(gradients)))
    update_weight(step, intercept, np.uintp(0), total, _ZERO, _ZERO)


# Lanes go by address: they cannot run uncompiled, and no bounds are checked.
_with_lanes = JIT_ENABLED and not BOUNDS_CHECKED
copy_columns = kernel(copy_columns_lanes if _with_lanes else copy_columns_plain)
update_columns = kernel(update_columns_lanes if _with_lanes else update_columns_plain)

__all__ = [
    "MOST_VALUES",
    "BatchOut",
    "BatchRows",
    "Fields",
    "SlotTable",
    "Slots",
    "copy_columns",
    "count_rows",
    "gather_rows",
    "loss_gradients",
    "scatter_rows",
    "take_rows",
    "update_columns",
    "update_intercept",
]
