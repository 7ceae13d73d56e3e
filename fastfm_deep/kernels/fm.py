"""Factorization machine kernels: score rows, and fit rows (gradient and update in one pass), in O(k·nnz).

The formula (Rendle, ICDM 2010, lemma 3.1): raw = w0 + Σ w_i x_i + ½ Σ_f (s_f² - q_f) with s_f = Σ v_if x_i and
q_f = Σ v_if² x_i². Gradients, with g = ∂loss/∂raw: ∂w_i = g x_i, ∂v_if = g x_i (s_f - v_if x_i).

Each pass stands here twice: `*_plain`, the readable loop over arrays, and `*_lanes`, the same with vectors,
addresses and prefetches. Threads run the same kernel on shards of `order` and change the tables without locks
(Hogwild, arXiv 1106.5730). A kernel owns only its scratch and its `tally`.
"""

from __future__ import annotations

import numpy as np

from fastfm_deep.kernels import lanes as ln
from fastfm_deep.kernels._jit import BOUNDS_CHECKED, JIT_ENABLED, kernel, row_function
from fastfm_deep.kernels.hot_columns import EXCHANGE_EVERY, N_SLOTS, exchange, make_copies, offsets
from fastfm_deep.kernels.losses import loss_and_gradient
from fastfm_deep.kernels.parts import HAS_FACTORS, of_weight, part_at, part_at_lanes, prefetch_part
from fastfm_deep.kernels.pointers import (
    FLOAT_BYTES,
    factor_value,
    pairs_of,
    point_at_rows,
    point_at_states,
    point_at_tables,
    row_at,
    value_at,
)
from fastfm_deep.kernels.rounding import flush_denormals, restore_mode
from fastfm_deep.kernels.updates import (
    ADAGRAD_ROWWISE,
    row_rate,
    row_rate_lanes,
    update_factor,
    update_lanes,
    update_weight,
    update_weight_lanes,
)

# Rows between the prefetch of a row's parameters, ids, row pointers and their use. The ids of coming rows lie
# anywhere when the order is shuffled, so they are asked for before the parameters that they name.
AHEAD_PARAMETERS = 2
AHEAD_IDS = 6
AHEAD_POINTERS = 12
LINE = 64
# Rows whose places are kept: this one, and those up to AHEAD_PARAMETERS further.
N_PLACES = 4


@row_function
def score_row_lanes(rows, row, ahead, tables, lanes):
    """Linear and pair terms of `row`, a float64, NaN where `pairs_of` says so; asks for the parameters of `ahead`.

    s and q are added up in float64: what is left of their difference may be small beside both.
    """
    first, end = ln.at(rows.indptr, row), ln.at(rows.indptr, row + 1)
    first_ahead, end_ahead = ln.at(rows.indptr, ahead), ln.at(rows.indptr, ahead + 1)
    to_ahead = first_ahead - first
    linear = 0.0
    pairs = 0.0
    # The linear terms ride along with the first block: a loop of their own costs 6 %.
    for block in range(max(tables.n_blocks, 1)):
        factors = tables.factors + block * len(lanes) * ln.stored_bytes(lanes)
        s = ln.wide_zeros(lanes)
        q = ln.wide_zeros(lanes)
        for p in range(first, end):
            col = np.intp(ln.at(rows.indices, p))
            x = value_at(rows, tables, p)
            at = row_at(tables.lookup, col)
            if p + to_ahead < end_ahead:
                at_ahead = row_at(tables.lookup, np.intp(ln.at(rows.indices, p + to_ahead)))
                for away in range(0, len(lanes) * ln.stored_bytes(lanes), LINE):
                    ln.prefetch(factors + at_ahead * tables.row_bytes + away)
                if block == 0:
                    ln.prefetch(ln.address_of(tables.linear, at_ahead * tables.linear_width))
            if block == 0:
                linear += np.float64(ln.at(tables.linear, at * tables.linear_width)) * np.float64(x)
            if tables.n_blocks > 0:
                factor_x = ln.widen(ln.splat(lanes, factor_value(tables, at, x, lanes)))
                vx = ln.multiply(ln.widen(ln.load_stored(lanes, factors + at * tables.row_bytes)), factor_x)
                s = ln.add(s, vx)
                q = ln.add(q, ln.multiply(vx, vx))
        pairs += pairs_of(s, q)
    return linear + 0.5 * pairs


@row_function
def find_place(rows, p, tables, copies, places, at):
    """Note in `places` where the parameters of non-zero `p` lie, and ask for them."""
    col = np.intp(ln.at(rows.indices, p))
    at_factors, at_weight = offsets(copies, tables, col)
    ln.put(places, at, tables.factors + at_factors)
    ln.put(places, at + 1, at_weight)
    ln.prefetch(tables.factors + at_factors)
    ln.prefetch(ln.address_of(tables.linear, at_weight))
    prefetch_part(tables.parts, col)


@row_function
def score_places_lanes(rows, row, ahead, tables, copies, places, here, there, sums, lanes):
    """`score_row_lanes` of a row whose places are noted from `here` on; notes those of `ahead` from `there` on."""
    first, end = ln.at(rows.indptr, row), ln.at(rows.indptr, row + 1)
    first_ahead, end_ahead = ln.at(rows.indptr, ahead), ln.at(rows.indptr, ahead + 1)
    n, n_ahead = end - first, end_ahead - first_ahead
    block_bytes = len(lanes) * FLOAT_BYTES
    linear = np.float32(0.0)
    pairs = np.float32(0.0)
    for block in range(max(tables.n_blocks, 1)):
        away = block * block_bytes
        s = ln.zeros(lanes)
        q = ln.zeros(lanes)
        for i in range(n):
            x = value_at(rows, tables, first + i)
            if i < n_ahead:
                if block == 0:
                    find_place(rows, first_ahead + i, tables, copies, places, there + 2 * i)
                else:
                    ln.prefetch(ln.at(places, there + 2 * i) + away)
            if block == 0:
                linear += ln.at(tables.linear, ln.at(places, here + 2 * i + 1)) * x
            if tables.n_blocks > 0:
                vx = ln.multiply(ln.load(lanes, ln.at(places, here + 2 * i) + away), ln.splat(lanes, x))
                s = ln.add(s, vx)
                q = ln.add(q, ln.multiply(vx, vx))
        ln.store(sums + away, s)
        pairs += ln.sum_lanes(ln.subtract(ln.multiply(s, s), q))
    for i in range(n, n_ahead):
        find_place(rows, first_ahead + i, tables, copies, places, there + 2 * i)
    return linear + np.float32(0.5) * pairs


@row_function
def update_places_lanes(rows, row, ahead, tables, places, here, there, sums, step, gradient, lanes):
    """Change all parameters that `row` touches, given g = `gradient` and s at the address `sums`."""
    first, end = ln.at(rows.indptr, row), ln.at(rows.indptr, row + 1)
    n_ahead = ln.at(rows.indptr, ahead + 1) - ln.at(rows.indptr, ahead)
    block_bytes = len(lanes) * FLOAT_BYTES
    for i in range(end - first):
        x = value_at(rows, tables, first + i)
        gx = gradient * x
        l2_less_gxx = step.l2_factors - gx * x
        if i < n_ahead:
            factors_ahead = ln.at(places, there + 2 * i)
            for away in range(tables.state_bytes, tables.row_bytes, LINE):
                ln.prefetch(factors_ahead + away)
        factors, at_weight = ln.at(places, here + 2 * i), ln.at(places, here + 2 * i + 1)
        part = part_at_lanes(tables.parts, np.intp(ln.at(rows.indices, first + i)))
        update_weight_lanes(step, tables.linear, at_weight, of_weight(part, gx), step.l2_linear, step.l1_linear)
        if not part & HAS_FACTORS:
            continue
        mean_square = np.float32(0.0)
        if len(step.rule) == ADAGRAD_ROWWISE:
            for block in range(tables.n_blocks):
                s = ln.load(lanes, sums + block * block_bytes)
                v = ln.load(lanes, factors + block * block_bytes)
                d = ln.multiply(ln.splat(lanes, gx), s)
                d = ln.add(d, ln.multiply(ln.splat(lanes, l2_less_gxx), v))
                mean_square += ln.sum_lanes(ln.multiply(d, d))
            mean_square /= step.n_factors
        rate = row_rate_lanes(step, tables.linear, at_weight, mean_square)
        for block in range(tables.n_blocks):
            address = factors + block * block_bytes
            s = ln.load(lanes, sums + block * block_bytes)
            d = ln.multiply(ln.splat(lanes, gx), s)
            d = ln.add(d, ln.multiply(ln.splat(lanes, l2_less_gxx), ln.load(lanes, address)))
            update_lanes(len(step.rule), step.learning_rate, lanes, address, tables.state_bytes, d, rate)


@row_function
def prefetch_ids(rows, y, weight, order, t, last):
    """Ask for what row `order[t]` brings along, some rows before it is needed."""
    ln.prefetch(ln.address_of(rows.indptr, np.intp(ln.at(order, min(t + AHEAD_POINTERS, last)))))
    row = np.intp(ln.at(order, min(t + AHEAD_IDS, last)))
    ln.prefetch(ln.address_of(y, row))
    ln.prefetch(ln.address_of(weight, row))
    first, end = ln.at(rows.indptr, row), ln.at(rows.indptr, row + 1)
    # A long row is a stream, which the hardware follows by itself.
    end = min(end, first + 256)
    for address in range(ln.address_of(rows.indices, first), ln.address_of(rows.indices, end) + LINE - 1, LINE):
        ln.prefetch(address)
    if not ln.all_ones(rows.values):
        for address in range(ln.address_of(rows.values, first), ln.address_of(rows.values, end) + LINE - 1, LINE):
            ln.prefetch(address)


@row_function
def clip(gradient, bound):
    """`gradient` within ±bound; NaN stays NaN."""
    if gradient > bound:
        return bound
    if gradient < -bound:
        return -bound
    return gradient


def score_rows_lanes(rows, params, lanes, blocks, out):
    """Raw scores of all rows into `out`, float64 (n_rows,)."""
    row_pointers, tables = point_at_rows(rows), point_at_tables(params, lanes, blocks)
    last = len(rows.indptr) - 2
    for row in range(last + 1):
        ahead = min(row + AHEAD_PARAMETERS, last)
        out[row] = params.intercept[0] + score_row_lanes(row_pointers, row, ahead, tables, lanes)


def fit_rows_lanes(rows, targets, order, span, longest, params, step, hot, lanes, blocks, tally):
    """One update for each row of order[span[0]:span[1]]; adds Σ weight·loss to tally[0], Σ weight to tally[1].

    `longest` is the number of non-zeros of the longest row; `hot` may be None. Both are nothing to the plain twin.
    """
    before = flush_denormals()
    row_pointers, tables, order_pointer = (
        point_at_rows(rows),
        point_at_states(params, step, lanes, blocks),
        ln.pointer(order),
    )
    y, weights = ln.pointer(targets.y), ln.pointer(targets.weight)
    scratch = np.empty(params.padded_factors + len(lanes), dtype=np.float32)
    sums = ln.address_of(ln.pointer(scratch), 0)
    intercept = params.intercept.copy()
    intercept_pointer = ln.pointer(intercept)
    seen = intercept[0]
    copies = None
    factor_buffer = linear_buffer = np.empty(0, dtype=np.float32)
    if hot is not None:
        factor_buffer = np.empty(2 * N_SLOTS * params.factors.shape[1], dtype=np.float32)
        linear_buffer = np.empty(2 * N_SLOTS * params.linear.shape[1], dtype=np.float32)
        copies = make_copies(hot, tables, factor_buffer, linear_buffer)
    start, stop = span
    last = len(order) - 1
    total = 0.0
    total_weight = 0.0
    stride = 2 * longest
    place_buffer = np.empty(N_PLACES * stride, dtype=np.intp)
    places = ln.pointer(place_buffer)
    for t in range(start, min(start + AHEAD_PARAMETERS, stop)):
        row = np.intp(ln.at(order_pointer, t))
        first, end = ln.at(row_pointers.indptr, row), ln.at(row_pointers.indptr, row + 1)
        for p in range(first, end):
            find_place(row_pointers, p, tables, copies, places, (t % N_PLACES) * stride + 2 * (p - first))
    for t in range(start, stop):
        prefetch_ids(row_pointers, y, weights, order_pointer, t, last)
        row = np.intp(ln.at(order_pointer, t))
        ahead = np.intp(ln.at(order_pointer, min(t + AHEAD_PARAMETERS, last)))
        here, there = (t % N_PLACES) * stride, ((t + AHEAD_PARAMETERS) % N_PLACES) * stride
        raw = score_places_lanes(row_pointers, row, ahead, tables, copies, places, here, there, sums, lanes)
        raw += intercept[0]
        loss, gradient = loss_and_gradient(step.loss, raw, np.float32(targets.y[row]))
        gradient = clip(gradient, step.max_gradient)
        if len(targets.weight) > 0:
            weight = np.float32(targets.weight[row])
            gradient *= weight
            total += loss * weight
            total_weight += weight
        else:
            total += loss
            total_weight += 1.0
        update_weight_lanes(step, intercept_pointer, 0, gradient, np.float32(0.0), np.float32(0.0))
        update_places_lanes(row_pointers, row, ahead, tables, places, here, there, sums, step, gradient, lanes)
        if (t - start) % EXCHANGE_EVERY == EXCHANGE_EVERY - 1:
            params.intercept[0] += intercept[0] - seen
            intercept[0] = seen = params.intercept[0]
            if hot is not None:
                exchange(hot, copies, tables, (t - start) // EXCHANGE_EVERY + 1, lanes)
    if hot is not None:
        exchange(hot, copies, tables, 0, lanes)
    params.intercept[0] += intercept[0] - seen
    params.intercept[1:] = intercept[1:]
    tally[0] += total
    tally[1] += total_weight
    restore_mode(before)
    ln.keep(scratch)
    ln.keep(place_buffer)
    ln.keep(factor_buffer)
    ln.keep(linear_buffer)


@row_function
def score_row_plain(rows, row, factors, linear, inverse_scale, sums):
    """Linear and pair terms of `row`; leaves s in `sums`."""
    raw = np.float32(0.0)
    scaled = len(inverse_scale) > 0
    for p in range(rows.indptr[row], rows.indptr[row + 1]):
        col = rows.indices[p]
        raw += linear[col, 0] * rows.values[p] * (inverse_scale[col] if scaled else np.float32(1.0))
    for f in range(len(sums)):
        s = np.float32(0.0)
        q = np.float32(0.0)
        for p in range(rows.indptr[row], rows.indptr[row + 1]):
            col = rows.indices[p]
            x = rows.values[p] * (inverse_scale[col] if scaled else np.float32(1.0))
            vx = factors[col, f] * x
            s += vx
            q += vx * vx
        sums[f] = s
        raw += np.float32(0.5) * (s * s - q)
    return raw


@row_function
def update_row_plain(rows, row, params, factors, linear, sums, step, gradient):
    """Change all parameters that `row` touches, given g = `gradient` and s = `sums`."""
    scaled = len(params.inverse_scale) > 0
    states = np.uintp(params.padded_factors)
    for p in range(rows.indptr[row], rows.indptr[row + 1]):
        col = rows.indices[p]
        x = rows.values[p] * (params.inverse_scale[col] if scaled else np.float32(1.0))
        gx = gradient * x
        at = np.uintp(col * params.linear.shape[1])
        part = part_at(params.parts, col)
        update_weight(step, linear, at, of_weight(part, gx), step.l2_linear, step.l1_linear)
        if not part & HAS_FACTORS:
            continue
        mean_square = np.float32(0.0)
        for f in range(len(sums)):
            v = params.factors[col, f]
            d = gx * (sums[f] - v * x) + step.l2_factors * v
            mean_square += d * d / step.n_factors
        rate = row_rate(step, linear, at, mean_square)
        for f in range(len(sums)):
            at_factor = np.uintp(col * params.factors.shape[1] + f)
            d = gx * (sums[f] - params.factors[col, f] * x)
            update_factor(step, factors, at_factor, states, d, rate)


def score_rows_plain(rows, params, lanes, blocks, out):
    """`score_rows_lanes`, readable."""
    sums = np.zeros(params.padded_factors, dtype=np.float32)
    for row in range(len(rows.indptr) - 1):
        raw = score_row_plain(rows, row, params.factors, params.linear, params.inverse_scale, sums)
        out[row] = params.intercept[0] + raw


def fit_rows_plain(rows, targets, order, span, longest, params, step, hot, lanes, blocks, tally):
    """`fit_rows_lanes`, readable."""
    sums = np.zeros(params.padded_factors, dtype=np.float32)
    factors, linear = params.factors.ravel(), params.linear.ravel()
    intercept = params.intercept.copy()
    seen = intercept[0]
    start, stop = span
    for t in range(start, stop):
        row = order[t]
        raw = score_row_plain(rows, row, params.factors, params.linear, params.inverse_scale, sums)
        raw += intercept[0]
        loss, gradient = loss_and_gradient(step.loss, raw, np.float32(targets.y[row]))
        gradient = clip(gradient, step.max_gradient)
        weight = np.float32(targets.weight[row] if len(targets.weight) > 0 else 1.0)
        gradient *= weight
        tally[0] += loss * weight
        tally[1] += weight
        update_weight(step, intercept, np.uintp(0), gradient, np.float32(0.0), np.float32(0.0))
        update_row_plain(rows, row, params, factors, linear, sums, step, gradient)
        if (t - start) % EXCHANGE_EVERY == EXCHANGE_EVERY - 1:
            params.intercept[0] += intercept[0] - seen
            intercept[0] = seen = params.intercept[0]
    params.intercept[0] += intercept[0] - seen
    params.intercept[1:] = intercept[1:]


# Lanes go by address: they cannot run uncompiled, and no bounds are checked.
if JIT_ENABLED and not BOUNDS_CHECKED:
    score_rows = kernel(score_rows_lanes)
    fit_rows = kernel(fit_rows_lanes)
else:
    score_rows = kernel(score_rows_plain)
    fit_rows = kernel(fit_rows_plain)
