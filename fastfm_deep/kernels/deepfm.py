"""Whole passes of a DeepFM over rows, one kernel call each: training by micro-batches, and scores.

In one piece, because what lies between two calls from Python is paid for by every micro-batch, and by one thread
at a time.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastfm_deep.kernels import dense, first_layer, network
from fastfm_deep.kernels import lanes as ln
from fastfm_deep.kernels._jit import BOUNDS_CHECKED, JIT_ENABLED, kernel, row_function
from fastfm_deep.kernels.fields import Fields
from fastfm_deep.kernels.forward import forward, point_at_packed
from fastfm_deep.kernels.micro_batch import (
    BatchOut,
    batch_step,
    count_rows,
    gather_rows,
    loss_gradients,
    scatter_rows,
    update_columns,
    update_intercept,
)
from fastfm_deep.kernels.network import first_behind, first_products, first_weights
from fastfm_deep.kernels.pointers import FLOAT_BYTES
from fastfm_deep.kernels.rounding import flush_denormals, restore_mode
from fastfm_deep.kernels.slots import BatchRows, Slots, copy_columns, take_rows

_ONE = np.float32(1.0)


class BatchRoom(NamedTuple):
    """What one thread needs to train on micro-batches.

    rows : BatchRows, for as many rows and non-zeros as a micro-batch may have.
    units : float32, the array behind rows.values; (0,) where all of these are 1.
    of_column : int32 (n_features,), the field of each column; (0,) without fields.
    fields : Fields, by slots.
    first : FirstRoom, for the first layer by columns.
    """

    rows: BatchRows
    units: np.ndarray
    of_column: np.ndarray
    fields: Fields
    slots: Slots
    out: BatchOut
    network: network.NetworkRoom
    first: first_layer.FirstRoom


@row_function
def _first_rows(out, n_rows):
    return BatchOut(
        out.sums[:n_rows],
        out.raw[:n_rows],
        out.gradient[:n_rows],
        out.inputs[:n_rows],
        out.input_grads[:n_rows],
        out.vectors,
        out.grads,
    )


@kernel
def fit_batches(
    rows, targets, order, span, batch_size, params, step, net, dense_step, states, room, lanes, blocks, tally
):
    """Update once for each micro-batch of the rows order[span[0]:span[1]]; return where it ended.

    That is before span[1] where the room of this thread is too small for the next micro-batch.
    Adds Σ weight·loss to tally[0] and Σ weight to tally[1].
    """
    before = flush_denormals()
    at, stop = span
    while at < stop:
        n_rows, n_values = count_rows(rows, order, (at, stop), batch_size)
        if n_values > len(room.rows.indices):
            break
        part = (at, at + n_rows)
        taken = BatchRows(room.rows.indptr[: n_rows + 1], room.rows.indices, room.rows.values)
        out = _first_rows(room.out, n_rows)
        n_slots = take_rows(rows, targets, order, part, params, room.of_column, room.slots, taken, room.units)
        copy_columns(room.slots, n_slots, params, room.of_column, lanes, blocks)
        n_inputs, n_units = net.widths[0], net.widths[1]
        factors, n_factors = room.slots.params.factors, out.inputs.shape[2]
        weights, of_weights = (
            first_weights(net.parameters, net.widths),
            first_weights(room.network.gradients, net.widths),
        )
        z, behind = first_products(net, room.network, n_rows), first_behind(net, room.network, n_rows)
        fields = room.fields
        by_columns = first_layer.is_worth_it(room.first, n_slots, n_values, n_inputs, n_rows, n_factors, n_units)
        if by_columns:
            fields = Fields(fields.of_id, fields.maxed, -1)
        gather_rows(taken, room.slots.params, fields, out, lanes, blocks)
        inputs = out.inputs.reshape(n_rows, n_inputs)
        if by_columns:
            first_layer.sort_by_field(room.slots.fields, n_slots, room.first.starts, room.first.sorted)
            first_layer.forward(weights, taken, factors, n_factors, room.first, z)
        else:
            np.dot(inputs, weights, z)
        network.forward_from_first(net, room.network, n_rows, True)
        loss_gradients(targets, order, part, step, params.intercept, room.network.answers, out, tally)
        network.backward_to_first(net, room.network, out.gradient, True)
        if by_columns:
            gradients = room.slots.gradients.factors
            first_layer.backward(
                weights, taken, factors, n_factors, room.first, behind, of_weights, gradients, lanes, blocks
            )
        else:
            np.dot(inputs.T, behind, of_weights)
            np.dot(behind, weights.T, out.input_grads.reshape(inputs.shape))
        dense.update(net.parameters, states, room.network.gradients, _ONE / np.float32(n_rows), dense_step)
        scatter_rows(taken, fields, room.slots, out, out.input_grads, lanes, blocks)
        update_columns(room.slots, n_slots, params, batch_step(step, n_rows), lanes, blocks)
        update_intercept(params.intercept, out.gradient, step)
        at += n_rows
    restore_mode(before)
    return at


def score_batches_lanes(rows, params, fields, packed, room, found, lanes, blocks, scores):
    """Write the raw scores of all rows to `scores`, float64 (n_rows,).

    `packed` is the network, whose inputs are of the padded width; `room` is scratch for `forward`, float32.
    """
    before = flush_denormals()
    n_rows, batch_size = len(scores), len(found.raw)
    network = point_at_packed(packed)
    input_bytes = found.inputs.shape[1] * found.inputs.shape[2] * FLOAT_BYTES
    to_inputs, to_room = ln.address_of(ln.pointer(found.inputs), 0), ln.address_of(ln.pointer(room), 0)
    for first in range(0, n_rows, batch_size):
        size = min(batch_size, n_rows - first)
        part = BatchRows(rows.indptr[first : first + size + 1], rows.indices, rows.values)
        gather_rows(part, params, fields, _first_rows(found, size), lanes, blocks)
        answers = scores[first : first + size]
        for i in range(size):
            answers[i] = params.intercept[0] + found.raw[i]
        forward(network, to_inputs, input_bytes, size, to_room, ln.pointer(answers))
    restore_mode(before)


def score_batches_plain(rows, params, fields, net, room, found, lanes, blocks, scores):
    """`score_batches_lanes`, readable, by the network as it is trained, in a `NetworkRoom`."""
    before = flush_denormals()
    n_rows, batch_size = len(scores), len(found.raw)
    for first in range(0, n_rows, batch_size):
        size = min(batch_size, n_rows - first)
        out = _first_rows(found, size)
        part = BatchRows(rows.indptr[first : first + size + 1], rows.indices, rows.values)
        gather_rows(part, params, fields, out, lanes, blocks)
        network.forward(net, room, out.inputs.reshape(size, out.inputs.shape[1] * out.inputs.shape[2]), False)
        for i in range(size):
            scores[first + i] = params.intercept[0] + (out.raw[i] + room.answers[i])
    restore_mode(before)


# Lanes go by address: they cannot run uncompiled, and no bounds are checked.
score_batches = kernel(score_batches_lanes if JIT_ENABLED and not BOUNDS_CHECKED else score_batches_plain)
