"""Answers of a network whose parameters are fixed: packed once, so that no pass needs BLAS.

Products of so few rows are over before BLAS has begun, and its threads would have to be limited, which takes a
lock. Here the weights of a layer stand in rows of whole vectors, four rows of inputs share what is loaded of them,
and batch normalisation is part of them. What other kernels call is compiled once for all of them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastfm_deep.kernels import activations as act
from fastfm_deep.kernels import lanes as ln
from fastfm_deep.kernels._jit import has_feature, kernel, row_function
from fastfm_deep.kernels.pointers import FLOAT_BYTES

UNIT_LANES: tuple[int, ...] = ln.LANES[16 if has_feature("avx512f") else 8]
"""Units of a layer whose products are computed as one vector."""

PACKED_UNITS = 2 * len(UNIT_LANES)
"""Rows of packed weights are a multiple of this long."""

_ROWS = 4
_ZERO = np.float32(0.0)


class Packed(NamedTuple):
    """A network for `forward`.

    weights : float32, flat. Of each hidden layer its weights (n_inputs, padded units) and shifts (padded units,);
        at last the weights of the final unit (padded units,) and its bias.
    widths : int64 (n_layers + 1,), of the input and the hidden layers, without padding.
    activation : int, one of `kernels.activations.ACTIVATION_IDS`
    """

    weights: np.ndarray
    widths: np.ndarray
    activation: int


class PackedPointers(NamedTuple):
    """The same by address; their owner keeps the arrays alive."""

    weights: int
    widths: int
    n_layers: int
    activation: int


@row_function
def point_at_packed(packed):
    """Pointers for a packed network."""
    return PackedPointers(
        ln.address_of(ln.pointer(packed.weights), 0),
        ln.pointer(packed.widths),
        np.intp(len(packed.widths) - 1),
        np.intp(packed.activation),
    )


@row_function
def padded_units(n_units):
    """Units with those that only fill up a row of packed weights."""
    return -(-n_units // PACKED_UNITS) * PACKED_UNITS


@row_function
def most_units(network):
    """Padded units of the widest layer."""
    found = np.intp(0)
    for layer in range(network.n_layers):
        found = max(found, padded_units(np.intp(ln.at(network.widths, layer + 1))))
    return found


@kernel
def forward(network, inputs, input_bytes, n_rows, room, answers):
    """Add the answers to rows of inputs to float64 `answers`, a pointer.

    `inputs` is the address of the first row, each `input_bytes` long; `room` one of 2 `_ROWS` `most_units` floats.
    """
    row = np.intp(0)
    while row + _ROWS <= n_rows:
        _forward_rows(network, inputs + row * input_bytes, input_bytes, _ROWS, room, answers, row)
        row += _ROWS
    while row < n_rows:
        _forward_rows(network, inputs + row * input_bytes, input_bytes, 1, room, answers, row)
        row += 1


@row_function
def _forward_rows(network, inputs, input_bytes, n_rows, room, answers, first):
    n_inputs = np.intp(ln.at(network.widths, 0))
    shifts = network.weights + n_inputs * padded_units(np.intp(ln.at(network.widths, 1))) * FLOAT_BYTES
    _multiply(
        network, 0, inputs, input_bytes, n_rows, network.weights, shifts, room, most_units(network) * FLOAT_BYTES
    )
    _finish_rows(network, n_rows, room, answers, first)


@row_function
def _multiply(network, layer, rows, row_bytes, n_rows, weights, shifts, out, out_bytes):
    """The sums of a layer, for 1 or `_ROWS` rows."""
    n_inputs = np.intp(ln.at(network.widths, layer))
    n_padded = padded_units(np.intp(ln.at(network.widths, layer + 1)))
    if n_rows == _ROWS:
        _multiply_four(rows, row_bytes, n_inputs, weights, n_padded, shifts, out, out_bytes)
    else:
        _multiply_one(rows, n_inputs, weights, n_padded, shifts, out)


@row_function
def _finish_rows(network, n_rows, room, answers, first):
    """Add the answers to rows whose sums of the first layer are in the `room`."""
    out_bytes = most_units(network) * FLOAT_BYTES
    here, there = room, room + _ROWS * out_bytes
    weights = network.weights
    n_padded = np.intp(0)
    for layer in range(network.n_layers):
        n_padded = padded_units(np.intp(ln.at(network.widths, layer + 1)))
        shifts = weights + np.intp(ln.at(network.widths, layer)) * n_padded * FLOAT_BYTES
        if layer > 0:
            _multiply(network, layer, here, out_bytes, n_rows, weights, shifts, there, out_bytes)
            here, there = there, here
        for row in range(n_rows):
            _activate(network.activation, here + row * out_bytes, n_padded)
        weights = shifts + n_padded * FLOAT_BYTES
    bias = ln.at(ln.float_pointer(weights + n_padded * FLOAT_BYTES), 0)
    for row in range(n_rows):
        total = ln.zeros(UNIT_LANES)
        for away in range(0, n_padded * FLOAT_BYTES, len(UNIT_LANES) * FLOAT_BYTES):
            final = ln.load(UNIT_LANES, weights + away)
            total = ln.add(total, ln.multiply(ln.load(UNIT_LANES, here + row * out_bytes + away), final))
        answer = np.float64(ln.sum_lanes(total) + bias)
        ln.put(answers, first + row, ln.at(answers, first + row) + answer)


@kernel
def multiply_first(network, inputs, input_bytes, n_rows, no_shifts, out):
    """The products of the first layer, without its shifts, to rows at `out` that are padded units long.

    `no_shifts` is the address of as many zeros.
    """
    out_bytes = padded_units(np.intp(ln.at(network.widths, 1))) * FLOAT_BYTES
    row = np.intp(0)
    while row < n_rows:
        n = _ROWS if row + _ROWS <= n_rows else 1
        rows, to = inputs + row * input_bytes, out + row * out_bytes
        _multiply(network, 0, rows, input_bytes, n, network.weights, no_shifts, to, out_bytes)
        row += n


@kernel
def forward_from_first(network, products, shared, n_rows, room, answers):
    """`forward` of rows whose products of the first layer are added to `shared`, which holds the shifts."""
    product_bytes = padded_units(np.intp(ln.at(network.widths, 1))) * FLOAT_BYTES
    out_bytes = most_units(network) * FLOAT_BYTES
    row = np.intp(0)
    while row < n_rows:
        n = _ROWS if row + _ROWS <= n_rows else 1
        for i in range(n):
            for away in range(0, product_bytes, len(UNIT_LANES) * FLOAT_BYTES):
                own = ln.load(UNIT_LANES, products + (row + i) * product_bytes + away)
                ln.store(room + i * out_bytes + away, ln.add(own, ln.load(UNIT_LANES, shared + away)))
        _finish_rows(network, n, room, answers, row)
        row += n


@row_function
def _multiply_four(rows, row_bytes, n_inputs, weights, n_padded, shifts, out, out_bytes):
    """`_multiply_one` for four rows, which share what is loaded of the weights; with the same sums, to the bit."""
    vector_bytes, step = len(UNIT_LANES) * FLOAT_BYTES, n_padded * FLOAT_BYTES
    x0 = ln.float_pointer(rows)
    x1 = ln.float_pointer(rows + row_bytes)
    x2 = ln.float_pointer(rows + 2 * row_bytes)
    x3 = ln.float_pointer(rows + 3 * row_bytes)
    for away in range(0, n_padded * FLOAT_BYTES, 2 * vector_bytes):
        a0 = a1 = a2 = a3 = ln.load(UNIT_LANES, shifts + away)
        b0 = b1 = b2 = b3 = ln.load(UNIT_LANES, shifts + away + vector_bytes)
        c0 = c1 = c2 = c3 = d0 = d1 = d2 = d3 = ln.zeros(UNIT_LANES)
        at = weights + away
        for i in range(0, n_inputs - 1, 2):
            u, w = ln.load(UNIT_LANES, at), ln.load(UNIT_LANES, at + vector_bytes)
            x = ln.splat(UNIT_LANES, ln.at(x0, i))
            a0, b0 = ln.add(a0, ln.multiply(x, u)), ln.add(b0, ln.multiply(x, w))
            x = ln.splat(UNIT_LANES, ln.at(x1, i))
            a1, b1 = ln.add(a1, ln.multiply(x, u)), ln.add(b1, ln.multiply(x, w))
            x = ln.splat(UNIT_LANES, ln.at(x2, i))
            a2, b2 = ln.add(a2, ln.multiply(x, u)), ln.add(b2, ln.multiply(x, w))
            x = ln.splat(UNIT_LANES, ln.at(x3, i))
            a3, b3 = ln.add(a3, ln.multiply(x, u)), ln.add(b3, ln.multiply(x, w))
            u, w = ln.load(UNIT_LANES, at + step), ln.load(UNIT_LANES, at + step + vector_bytes)
            x = ln.splat(UNIT_LANES, ln.at(x0, i + 1))
            c0, d0 = ln.add(c0, ln.multiply(x, u)), ln.add(d0, ln.multiply(x, w))
            x = ln.splat(UNIT_LANES, ln.at(x1, i + 1))
            c1, d1 = ln.add(c1, ln.multiply(x, u)), ln.add(d1, ln.multiply(x, w))
            x = ln.splat(UNIT_LANES, ln.at(x2, i + 1))
            c2, d2 = ln.add(c2, ln.multiply(x, u)), ln.add(d2, ln.multiply(x, w))
            x = ln.splat(UNIT_LANES, ln.at(x3, i + 1))
            c3, d3 = ln.add(c3, ln.multiply(x, u)), ln.add(d3, ln.multiply(x, w))
            at += 2 * step
        if n_inputs % 2:
            u, w = ln.load(UNIT_LANES, at), ln.load(UNIT_LANES, at + vector_bytes)
            x = ln.splat(UNIT_LANES, ln.at(x0, n_inputs - 1))
            a0, b0 = ln.add(a0, ln.multiply(x, u)), ln.add(b0, ln.multiply(x, w))
            x = ln.splat(UNIT_LANES, ln.at(x1, n_inputs - 1))
            a1, b1 = ln.add(a1, ln.multiply(x, u)), ln.add(b1, ln.multiply(x, w))
            x = ln.splat(UNIT_LANES, ln.at(x2, n_inputs - 1))
            a2, b2 = ln.add(a2, ln.multiply(x, u)), ln.add(b2, ln.multiply(x, w))
            x = ln.splat(UNIT_LANES, ln.at(x3, n_inputs - 1))
            a3, b3 = ln.add(a3, ln.multiply(x, u)), ln.add(b3, ln.multiply(x, w))
        to = out + away
        ln.store(to, ln.add(a0, c0))
        ln.store(to + vector_bytes, ln.add(b0, d0))
        ln.store(to + out_bytes, ln.add(a1, c1))
        ln.store(to + out_bytes + vector_bytes, ln.add(b1, d1))
        ln.store(to + 2 * out_bytes, ln.add(a2, c2))
        ln.store(to + 2 * out_bytes + vector_bytes, ln.add(b2, d2))
        ln.store(to + 3 * out_bytes, ln.add(a3, c3))
        ln.store(to + 3 * out_bytes + vector_bytes, ln.add(b3, d3))


@row_function
def _multiply_one(row, n_inputs, weights, n_padded, shifts, out):
    """Sums for one row: of even and odd inputs by themselves, as each addition waits for the one before."""
    vector_bytes, step = len(UNIT_LANES) * FLOAT_BYTES, n_padded * FLOAT_BYTES
    x = ln.float_pointer(row)
    for away in range(0, n_padded * FLOAT_BYTES, 2 * vector_bytes):
        a, b = (ln.load(UNIT_LANES, shifts + away), ln.load(UNIT_LANES, shifts + away + vector_bytes))
        c = d = ln.zeros(UNIT_LANES)
        at = weights + away
        for i in range(0, n_inputs - 1, 2):
            even, odd = (ln.splat(UNIT_LANES, ln.at(x, i)), ln.splat(UNIT_LANES, ln.at(x, i + 1)))
            a = ln.add(a, ln.multiply(even, ln.load(UNIT_LANES, at)))
            b = ln.add(b, ln.multiply(even, ln.load(UNIT_LANES, at + vector_bytes)))
            c = ln.add(c, ln.multiply(odd, ln.load(UNIT_LANES, at + step)))
            d = ln.add(d, ln.multiply(odd, ln.load(UNIT_LANES, at + step + vector_bytes)))
            at += 2 * step
        if n_inputs % 2:
            last = ln.splat(UNIT_LANES, ln.at(x, n_inputs - 1))
            a = ln.add(a, ln.multiply(last, ln.load(UNIT_LANES, at)))
            b = ln.add(b, ln.multiply(last, ln.load(UNIT_LANES, at + vector_bytes)))
        ln.store(out + away, ln.add(a, c))
        ln.store(out + away + vector_bytes, ln.add(b, d))


@row_function
def _activate(activation, out, n_padded):
    """The activation of each unit, in place."""
    units = ln.float_pointer(out)
    if activation == act.RELU:
        for away in range(0, n_padded * FLOAT_BYTES, len(UNIT_LANES) * FLOAT_BYTES):
            z = ln.load(UNIT_LANES, out + away)
            # In this order NaN stays NaN, and the row is computed again.
            ln.store(out + away, ln.maximum(ln.zeros(UNIT_LANES), z))
    elif activation == act.SIGMOID:
        for unit in range(n_padded):
            z = ln.at(units, unit)
            ln.put(units, unit, act.sigmoid(z)[0] if z == z else z)
    elif activation == act.TANH:
        for unit in range(n_padded):
            z = ln.at(units, unit)
            ln.put(units, unit, act.tanh(z)[0] if z == z else z)
    elif activation == act.LEAKY_RELU:
        for unit in range(n_padded):
            ln.put(units, unit, act.leaky_relu(ln.at(units, unit))[0])
    else:
        for unit in range(n_padded):
            ln.put(units, unit, act.gelu(ln.at(units, unit))[0])
