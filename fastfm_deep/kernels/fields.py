"""Field vectors: what a network is fed with, gathered from the factors, and the way back of its gradient.

With fields the vectors of a row are e_field = Σ x_i v_i over the columns of each field (DeepFM, arXiv 1703.04247,
section 2.1), or the largest x_i v_i factor by factor where the field is *maxed*. Without fields they are the
pooled vectors of the whole row, s = Σ x_i v_i and ½ (s² - q), the bi-interaction of arXiv 1708.05027, equation 3.

Each pass stands here twice: `*_plain`, the readable loop over arrays, and `*_lanes`, with vectors and addresses.
Vectors have the padded width of factors here; `copy_factors` takes the padding away, or puts it back.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastfm_deep.kernels import lanes as ln
from fastfm_deep.kernels._jit import BOUNDS_CHECKED, JIT_ENABLED, row_function
from fastfm_deep.kernels.pointers import (
    FLOAT_BYTES,
    factor_value,
    pairs_of,
    point_at_rows,
    point_at_tables,
    row_at,
    value_at,
)

_ZERO = np.float32(0.0)
_HALF = np.float32(0.5)
_INFINITY = np.float32(np.inf)
# Non-zeros of a row whose parameters are asked for: more would not stay in the cache until they are used.
_MOST_AHEAD = 256


class Fields(NamedTuple):
    """The field of each id, for kernels.

    of_id : int32 array; -1 for no field. Empty where there are none.
    maxed : uint8 array (n_fields,), 1 for fields of which the largest counts; empty where there are none.
    n_fields : int; 0 for the pooled vectors of a whole row, -1 for no vectors at all.
    """

    of_id: np.ndarray
    maxed: np.ndarray
    n_fields: int


class FieldPointers(NamedTuple):
    """The same by address; their owner keeps the arrays alive."""

    of_id: int
    maxed: int
    n_fields: int


class RowSums(NamedTuple):
    """What a row adds up to; arrays of the padded width of factors.

    sums : float32 (padded_factors,), s.
    vectors : float32 (n_vectors, padded_factors), what the network is fed with, or the gradients of that.
    """

    sums: np.ndarray
    vectors: np.ndarray


@row_function
def gather_row_lanes(rows, row, params, fields, out, lanes, blocks):
    """Linear and pair terms of `row`; leaves s and the field vectors in `out`."""
    pointers, tables = point_at_rows(rows), point_at_tables(params, lanes, blocks)
    to_sums, to_vectors = ln.address_of(ln.pointer(out.sums), 0), ln.address_of(ln.pointer(out.vectors), 0)
    of_feature = FieldPointers(ln.pointer(fields.of_id), ln.pointer(fields.maxed), np.intp(fields.n_fields))
    span = ln.at(pointers.indptr, row), ln.at(pointers.indptr, row + 1)
    return gather_values_lanes(
        pointers, span, tables, of_feature, len(fields.maxed) > 0, to_sums, to_vectors, lanes
    )


@row_function
def gather_values_lanes(rows, span, tables, fields, any_maxed, to_sums, to_vectors, lanes):
    """`gather_row_lanes` of the non-zeros from span[0] to span[1] - 1, to the addresses given."""
    n_fields, width = fields.n_fields, tables.state_bytes
    linear = pairs = 0.0
    for block in range(tables.n_blocks):
        away = block * len(lanes) * FLOAT_BYTES
        factors = tables.factors + block * len(lanes) * ln.stored_bytes(lanes)
        s = q = ln.wide_zeros(lanes)
        for field in range(n_fields):
            start = -_INFINITY if any_maxed and ln.at(fields.maxed, field) else _ZERO
            ln.store(to_vectors + field * width + away, ln.splat(lanes, start))
        for p in range(span[0], span[1]):
            id = np.intp(ln.at(rows.indices, p))
            x = value_at(rows, tables, p)
            at = row_at(tables.lookup, id)
            if block == 0:
                linear += np.float64(ln.at(tables.linear, at * tables.linear_width)) * np.float64(x)
            factor_x = ln.splat(lanes, factor_value(tables, at, x, lanes))
            vx = ln.multiply(ln.load_stored(lanes, factors + at * tables.row_bytes), factor_x)
            wide = ln.widen(vx)
            s = ln.add(s, wide)
            q = ln.add(q, ln.multiply(wide, wide))
            if n_fields > 0:
                field = np.intp(ln.at(fields.of_id, id))
                if field >= 0:
                    e = to_vectors + field * width + away
                    if not any_maxed or not ln.at(fields.maxed, field):
                        ln.store(e, ln.add(ln.load(lanes, e), vx))
                    elif x != _ZERO:
                        ln.store(e, ln.maximum(ln.load(lanes, e), vx))
        for field in range(n_fields if any_maxed else 0):
            if ln.at(fields.maxed, field):  # an empty field is a zero vector
                e = to_vectors + field * width + away
                nothing = ln.splat(lanes, -_INFINITY)
                ln.store(e, ln.where_equal(ln.load(lanes, e), nothing, ln.zeros(lanes), ln.load(lanes, e)))
        ln.store(to_sums + away, ln.narrow(s))
        twice = ln.subtract(ln.multiply(s, s), q)
        pairs += pairs_of(s, q)
        if n_fields == 0:
            ln.store(to_vectors + away, ln.narrow(s))
            ln.store(to_vectors + width + away, ln.multiply(ln.splat(lanes, _HALF), ln.narrow(twice)))
    return linear + 0.5 * pairs


@row_function
def scatter_row_lanes(rows, row, params, fields, found, grads, gradient, table, lanes, blocks):
    """Add the gradients of `row` to `table`, whose rows are those of `params`.

    `gradient` is ∂loss/∂raw of the row, `found` what `gather_row` left and `grads` the gradients of its vectors.
    With g = `gradient`: ∂w_i = g x_i, ∂v_i = x_i (g (s - v_i x_i) + ∂e_field(i)). Without fields ∂s takes the
    place of ∂e, and g grows by the gradient of the second vector. Maxed vectors in `found` are used up.
    """
    pointers, tables = point_at_rows(rows), point_at_tables(params, lanes, blocks)
    of_id, maxed = ln.pointer(fields.of_id), ln.pointer(fields.maxed)
    to_sums, to_vectors = ln.address_of(ln.pointer(found.sums), 0), ln.address_of(ln.pointer(found.vectors), 0)
    to_grads = ln.address_of(ln.pointer(grads), 0)
    to_factors, to_linear = ln.address_of(ln.pointer(table.factors), 0), ln.pointer(table.linear)
    n_fields, any_maxed = np.intp(fields.n_fields), len(fields.maxed) > 0
    width = tables.state_bytes
    for p in range(ln.at(pointers.indptr, row), ln.at(pointers.indptr, row + 1)):
        id = np.intp(ln.at(pointers.indices, p))
        x = value_at(pointers, tables, p)
        ln.put(to_linear, id, ln.at(to_linear, id) + gradient * x)
        field = np.intp(n_fields)
        if n_fields > 0:
            field = np.intp(ln.at(of_id, id))
        for block in range(tables.n_blocks):
            away = block * len(lanes) * FLOAT_BYTES
            vx = ln.multiply(ln.load(lanes, tables.factors + id * tables.row_bytes + away), ln.splat(lanes, x))
            others = ln.subtract(ln.load(lanes, to_sums + away), vx)
            g = ln.splat(lanes, gradient)
            if n_fields == 0:
                g = ln.add(g, ln.load(lanes, to_grads + width + away))
            d = ln.multiply(g, others)
            if field >= 0:
                from_network = ln.load(lanes, to_grads + field * width + away)
                if any_maxed and ln.at(maxed, field):
                    e = to_vectors + field * width + away
                    largest = ln.load(lanes, e)
                    from_network = ln.where_equal(largest, vx, from_network, ln.zeros(lanes))
                    # The first of equals takes it all; a vector of infinity equals none.
                    used = ln.where_equal(largest, vx, ln.splat(lanes, _INFINITY), largest)
                    if x != _ZERO:
                        ln.store(e, used)
                d = ln.add(d, from_network)
            at = to_factors + id * width + away
            ln.store(at, ln.add(ln.load(lanes, at), ln.multiply(ln.splat(lanes, x), d)))


@row_function
def gather_row_plain(rows, row, params, fields, out, lanes, blocks):
    """`gather_row_lanes`, readable."""
    linear = pairs = _ZERO
    scaled = len(params.inverse_scale) > 0
    first, end = rows.indptr[row], rows.indptr[row + 1]
    for p in range(first, end):
        id = rows.indices[p]
        linear += params.linear[id, 0] * rows.values[p] * (params.inverse_scale[id] if scaled else np.float32(1.0))
    for f in range(params.padded_factors):
        s = q = _ZERO
        for field in range(fields.n_fields):
            out.vectors[field, f] = -_INFINITY if len(fields.maxed) > 0 and fields.maxed[field] else _ZERO
        for p in range(first, end):
            id = rows.indices[p]
            x = rows.values[p] * (params.inverse_scale[id] if scaled else np.float32(1.0))
            vx = params.factors[id, f] * x
            s += vx
            q += vx * vx
            field = fields.of_id[id] if fields.n_fields > 0 else -1
            if field >= 0 and (len(fields.maxed) == 0 or not fields.maxed[field]):
                out.vectors[field, f] += vx
            elif field >= 0 and x != _ZERO:
                out.vectors[field, f] = max(out.vectors[field, f], vx)
        for field in range(len(fields.maxed)):
            if out.vectors[field, f] == -_INFINITY:
                out.vectors[field, f] = _ZERO
        out.sums[f] = s
        twice = s * s - q
        pairs += twice
        if fields.n_fields == 0:
            out.vectors[0, f] = s
            out.vectors[1, f] = _HALF * twice
    return linear + _HALF * pairs


@row_function
def scatter_row_plain(rows, row, params, fields, found, grads, gradient, table, lanes, blocks):
    """`scatter_row_lanes`, readable."""
    scaled = len(params.inverse_scale) > 0
    for p in range(rows.indptr[row], rows.indptr[row + 1]):
        id = rows.indices[p]
        x = rows.values[p] * (params.inverse_scale[id] if scaled else np.float32(1.0))
        table.linear[id] += gradient * x
        field = fields.of_id[id] if fields.n_fields > 0 else fields.n_fields
        for f in range(params.padded_factors):
            vx = params.factors[id, f] * x
            g = gradient + (grads[1, f] if fields.n_fields == 0 else _ZERO)
            d = g * (found.sums[f] - vx)
            if field >= 0 and (len(fields.maxed) == 0 or not fields.maxed[field]):
                d += grads[field, f]
            elif field >= 0 and x != _ZERO and found.vectors[field, f] == vx:
                d += grads[field, f]
                found.vectors[field, f] = _INFINITY
            table.factors[id, f] += x * d


@row_function
def copy_factors(vectors, out):
    """Copy the factors of `vectors` to `out`, one of which has padding behind them: (n_vectors, width) both."""
    for i in range(np.uintp(len(vectors))):
        for f in range(np.uintp(min(vectors.shape[1], out.shape[1]))):
            out[i, f] = vectors[i, f]


@row_function
def prefetch_row_lanes(rows, row, params):
    """Ask for the parameters of `row`."""
    indptr, indices = ln.pointer(rows.indptr), ln.pointer(rows.indices)
    linear, factors = ln.pointer(params.linear), ln.pointer(params.factors)
    lookup = ln.pointer_if_any(params.lookup)
    first, end = ln.at(indptr, row), ln.at(indptr, row + 1)
    for p in range(first, min(end, first + _MOST_AHEAD)):
        at = row_at(lookup, np.intp(ln.at(indices, p)))
        ln.prefetch(ln.address_of(linear, at * np.intp(params.linear.shape[1])))
        ln.prefetch(ln.address_of(factors, at * np.intp(params.factors.shape[1])))


@row_function
def prefetch_row_plain(rows, row, params):
    """Nothing: uncompiled code has better ways to be slow."""


# Lanes go by address: they cannot run uncompiled, and no bounds are checked.
if JIT_ENABLED and not BOUNDS_CHECKED:
    gather_row, scatter_row, prefetch_row = gather_row_lanes, scatter_row_lanes, prefetch_row_lanes
else:
    gather_row, scatter_row, prefetch_row = gather_row_plain, scatter_row_plain, prefetch_row_plain
