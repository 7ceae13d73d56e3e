"""One update of the tables by a micro-batch: rows gathered, gradients added up, one update of each column.

The gradient of a column is complete before it is changed once, and threads write what they share once a
micro-batch instead of once a row.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from fastfm_deep.kernels import lanes as ln
from fastfm_deep.kernels._jit import BOUNDS_CHECKED, JIT_ENABLED, kernel, row_function
from fastfm_deep.kernels.fields import (
    RowSums,
    copy_factors,
    gather_row,
    prefetch_row,
    scatter_row,
)
from fastfm_deep.kernels.fm import clip
from fastfm_deep.kernels.losses import loss_and_gradient
from fastfm_deep.kernels.parts import HAS_FACTORS, of_weight, part_at, part_at_lanes
from fastfm_deep.kernels.pointers import FLOAT_BYTES, point_at_states
from fastfm_deep.kernels.slots import EMPTY
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
# Slots between the prefetch of a column's parameters and their use.
_AHEAD = 12
_LINE = 64


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
def batch_step(step, n_rows):
    """The step of a micro-batch: its L2 counts √n_rows times for each column that is named, however often.

    Between once a row that names it, which lets rare columns fit what is noise, and once an update, which leaves
    the others without any; n_rows times, as a penalty of the mean loss has it, stifles them. SGD's steps are by
    means. FTRL's L2 of weights acts on sums of all gradients there were, not on steps.
    """
    times = _ONE if len(step.rule) == SGD else np.float32(math.sqrt(n_rows))
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


def update_columns_lanes(slots, n_slots, params, step, lanes, blocks):
    """One update of every column that has a slot, by its gradient; the hash table is empty afterwards."""
    tables = point_at_states(params, step, lanes, blocks)
    columns = ln.pointer(slots.columns)
    to_gradients = ln.address_of(ln.pointer(slots.gradients.factors), 0)
    block_bytes = len(lanes) * FLOAT_BYTES
    for slot in range(n_slots):
        col_ahead = ln.at(columns, min(slot + _AHEAD, n_slots - 1))
        ln.prefetch(ln.address_of(tables.linear, col_ahead * tables.linear_width))
        for away in range(0, tables.row_bytes, _LINE):
            ln.prefetch(tables.factors + col_ahead * tables.row_bytes + away)
        col = ln.at(columns, slot)
        slots.table[np.uintp(slots.place[np.uintp(slot)])] = EMPTY
        share = _share(step, slots.counts[np.uintp(slot)])
        at_weight, factors = col * tables.linear_width, tables.factors + col * tables.row_bytes
        part = part_at_lanes(tables.parts, col)
        gradient = of_weight(part, slots.gradients.linear[np.uintp(slot)] * share)
        update_weight_lanes(step, tables.linear, at_weight, gradient, step.l2_linear, step.l1_linear)
        if not part & HAS_FACTORS:
            continue
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


def update_columns_plain(slots, n_slots, params, step, lanes, blocks):
    """`update_columns_lanes`, readable."""
    factors, linear = params.factors.ravel(), params.linear.ravel()
    states = np.uintp(params.padded_factors)
    for slot in range(n_slots):
        col = slots.columns[slot]
        slots.table[slots.place[slot]] = EMPTY
        share = _share(step, slots.counts[slot])
        at = np.uintp(col * params.linear.shape[1])
        part = part_at(params.parts, col)
        gradient = of_weight(part, slots.gradients.linear[slot] * share)
        update_weight(step, linear, at, gradient, step.l2_linear, step.l1_linear)
        if not part & HAS_FACTORS:
            continue
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
update_columns = kernel(update_columns_lanes if JIT_ENABLED and not BOUNDS_CHECKED else update_columns_plain)
