"""The network of a DeepFM, compiled: answers to the rows of a micro-batch, and the way back of their gradients.

The compiled twin of `nn.mlp`, which is the readable form: same parameters, same layout, same random numbers. Bias,
activation and dropout are one pass here, which leaves the slope ∂out/∂z of every hidden unit for the way back.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from fastfm_deep.kernels import activations as act
from fastfm_deep.kernels._jit import kernel, row_function
from fastfm_deep.kernels.network_layout import EPSILON, KEPT

_ZERO = np.float32(0.0)
_ONE = np.float32(1.0)
_EPSILON = np.float32(EPSILON)
_KEPT = np.float32(KEPT)
_NEW = np.float32(1.0 - KEPT)
_WORD = np.uint64(0xFFFFFFFF)


class Network(NamedTuple):
    """A network as `nn.mlp.MLPShape` describes it.

    parameters, running : float32 flat arrays
    widths : int64 (n_layers + 2,), of the input, the hidden layers and the final unit
    activation : int, one of `kernels.activations.ACTIVATION_IDS`
    dropout : float32
    batch_norm : bool
    """

    parameters: np.ndarray
    running: np.ndarray
    widths: np.ndarray
    activation: int
    dropout: np.float32
    batch_norm: bool


class NetworkRoom(NamedTuple):
    """What one thread needs for passes of up to n rows; flat arrays, float32, of all layers one after the other.

    slopes, outs : (n * sum of hidden units,); normalised : likewise, or (0,) without batch normalisation.
    factors : (sum of hidden units,), 1 / sqrt(variance + EPSILON).
    back : (2, n * most units), gradients on their way back; column : (3, most units).
    gradients : (n_parameters,); answers : (n,).
    stream : uint64 (2,), a seed of 32 bits for dropout, and how many passes have drawn from it.
    """

    slopes: np.ndarray
    outs: np.ndarray
    normalised: np.ndarray
    factors: np.ndarray
    back: np.ndarray
    column: np.ndarray
    gradients: np.ndarray
    answers: np.ndarray
    stream: np.ndarray


@row_function
def mixed_bits(key, i):
    """32 random bits, the i-th of `key`: a hash of both ("lowbias32" by C. Wellons), in an uint64."""
    x = (np.uint64(i) + np.uint64(key)) & _WORD
    x = ((x ^ (x >> np.uint64(16))) * np.uint64(0x7FEB352D)) & _WORD
    x = ((x ^ (x >> np.uint64(15))) * np.uint64(0x846CA68B)) & _WORD
    return x ^ (x >> np.uint64(16))


@kernel
def next_key(stream):
    """A key for the random numbers of one pass."""
    stream[1] += np.uint64(1)
    return mixed_bits(mixed_bits(stream[0], stream[1]), stream[1] >> np.uint64(32))


@row_function
def _matrix(flat, start, n_rows, n_columns):
    return flat[start : start + n_rows * n_columns].reshape(n_rows, n_columns)


@row_function
def _activate_all(function, z, shift, out):
    for i in range(np.uintp(z.shape[0])):
        for j in range(np.uintp(z.shape[1])):
            out[i, j], z[i, j] = function(z[i, j] + shift[j])


@kernel
def activate(activation, z, shift, out):
    """The activation of z + shift (n_units,) to `out`, its slope to z; all others are (n_rows, n_units)."""
    if activation == act.RELU:
        _activate_all(act.relu, z, shift, out)
    elif activation == act.SIGMOID:
        _activate_all(act.sigmoid, z, shift, out)
    elif activation == act.TANH:
        _activate_all(act.tanh, z, shift, out)
    elif activation == act.LEAKY_RELU:
        _activate_all(act.leaky_relu, z, shift, out)
    else:
        _activate_all(act.gelu, z, shift, out)


@kernel
def drop_out(rate, key, out, slopes):
    """Drop each of `out` with the probability `rate`, and its slope; the others grow by 1 / (1 - rate)."""
    bound = np.uint64(rate * 2.0**32)
    grown = _ONE / (_ONE - rate)
    for i in range(np.uint64(len(out))):
        factor = grown if mixed_bits(key, i) >= bound else _ZERO
        out[i] *= factor
        slopes[i] *= factor


@kernel
def normalise(z, gamma, running, normalised, factor, column, of_batch):
    """Normalise z (n_rows, n_units), in place, and multiply by gamma; leave the normalised z and 1 / deviation.

    By the statistics of these rows, which then move the running ones; or by the running ones, (2, n_units).
    Threads move the same running statistics: each by its share, without a lock.
    """
    n_rows, n_units = np.uintp(z.shape[0]), np.uintp(z.shape[1])
    mean, variance = column[0, :n_units], column[1, :n_units]
    if of_batch:
        mean[:] = _ZERO
        variance[:] = _ZERO
        for i in range(n_rows):
            for j in range(n_units):
                mean[j] += z[i, j]
        for j in range(n_units):
            mean[j] /= np.float32(n_rows)
        for i in range(n_rows):
            for j in range(n_units):
                centred = z[i, j] - mean[j]
                variance[j] += centred * centred
        for j in range(n_units):
            running[0, j] = _KEPT * running[0, j] + _NEW * mean[j]
            running[1, j] = _KEPT * running[1, j] + _NEW * (variance[j] / np.float32(n_rows - np.uintp(1)))
            variance[j] /= np.float32(n_rows)
    else:
        mean[:] = running[0]
        variance[:] = running[1]
    for j in range(n_units):
        factor[j] = _ONE / np.float32(math.sqrt(variance[j] + _EPSILON))
    for i in range(n_rows):
        for j in range(n_units):
            normal = (z[i, j] - mean[j]) * factor[j]
            normalised[i, j] = normal
            z[i, j] = normal * gamma[j]


@kernel
def normalise_back(behind, gamma, normalised, factor, gradients, column, of_batch):
    """From ∂loss/∂(gamma·normalised + beta), in place, to ∂loss/∂z; `gradients` are those of gamma and beta."""
    n_rows, n_units = np.uintp(behind.shape[0]), np.uintp(behind.shape[1])
    of_gamma, of_beta = gradients[0], gradients[1]
    of_gamma[:] = _ZERO
    of_beta[:] = _ZERO
    for i in range(n_rows):
        for j in range(n_units):
            of_gamma[j] += behind[i, j] * normalised[i, j]
            of_beta[j] += behind[i, j]
    share_gamma, share_beta, scale = column[0], column[1], column[2]
    for j in range(n_units):
        # What mean and variance of the rows take back: the mean of the gradient, and its part along the outputs.
        share = _ONE / np.float32(n_rows) if of_batch else _ZERO
        share_gamma[j], share_beta[j] = of_gamma[j] * share, of_beta[j] * share
        scale[j] = gamma[j] * factor[j]
    for i in range(n_rows):
        for j in range(n_units):
            taken = normalised[i, j] * share_gamma[j] + share_beta[j]
            behind[i, j] = (behind[i, j] - taken) * scale[j]


@kernel
def forward(network, room, x, training):
    """Answers to rows x (n_rows, n_inputs), in room.answers; with `training`, drop outs and batch statistics."""
    np.dot(x, first_weights(network.parameters, network.widths), first_products(network, room, len(x)))
    forward_from_first(network, room, len(x), training)


@row_function
def first_weights(flat, widths):
    """The weights of the first layer (n_inputs, n_units), or their gradients."""
    return _matrix(flat, 0, widths[0], widths[1])


@row_function
def first_products(network, room, n_rows):
    """Where the products of the first layer are expected, (n_rows, n_units)."""
    return _matrix(room.slopes, 0, n_rows, network.widths[1])


@row_function
def first_behind(network, room, n_rows):
    """Where `backward_to_first` leaves the gradients of these products."""
    return _matrix(room.back[(len(network.widths) - 3) % 2], 0, n_rows, network.widths[1])


@kernel
def forward_from_first(network, room, n_rows, training):
    """`forward` where the products of the first layer lie there."""
    widths = network.widths
    n_layers = len(widths) - 2
    weight_at, vector_at, unit_at = 0, _n_weights(widths), 0
    key = next_key(room.stream) if training and network.dropout > _ZERO else np.uint64(0)
    n_vectors = 2 if network.batch_norm else 1
    for layer in range(n_layers):
        n_inputs, n_units = widths[layer], widths[layer + 1]
        vectors = _matrix(network.parameters, vector_at, n_vectors, n_units)
        z = _matrix(room.slopes, unit_at * n_rows, n_rows, n_units)
        out = _matrix(room.outs, unit_at * n_rows, n_rows, n_units)
        if layer > 0:
            hidden = _matrix(room.outs, (unit_at - n_inputs) * n_rows, n_rows, n_inputs)
            np.dot(hidden, _matrix(network.parameters, weight_at, n_inputs, n_units), z)
        if network.batch_norm:
            normalised = _matrix(room.normalised, unit_at * n_rows, n_rows, n_units)
            running = _matrix(network.running, 2 * unit_at, 2, n_units)
            factor = room.factors[unit_at : unit_at + n_units]
            normalise(z, vectors[0], running, normalised, factor, room.column, training and n_rows > 1)
        activate(network.activation, z, vectors[n_vectors - 1], out)
        if training and network.dropout > _ZERO:
            drop_out(network.dropout, mixed_bits(key, layer), out.reshape(out.size), z.reshape(z.size))
        weight_at += n_inputs * n_units
        vector_at += n_vectors * n_units
        unit_at += n_units
    n_units = widths[n_layers]
    final = network.parameters[weight_at : weight_at + n_units]
    np.dot(_matrix(room.outs, (unit_at - n_units) * n_rows, n_rows, n_units), final, room.answers[:n_rows])
    bias = network.parameters[len(network.parameters) - 1]
    for i in range(n_rows):
        room.answers[i] += bias


@kernel
def backward(network, room, x, gradient, training, grads):
    """From ∂loss/∂answer (n_rows,) to room.gradients and to ∂loss/∂x, in `grads`; after `forward`, once."""
    backward_to_first(network, room, gradient, training)
    behind = first_behind(network, room, len(x))
    np.dot(x.T, behind, first_weights(room.gradients, network.widths))
    np.dot(behind, first_weights(network.parameters, network.widths).T, grads)


@kernel
def backward_to_first(network, room, gradient, training):
    """`backward` without the gradients of the first weights and of x: as far as `first_behind`."""
    n_rows = len(gradient)
    widths = network.widths
    n_layers = len(widths) - 2
    n_vectors = 2 if network.batch_norm else 1
    weight_at, vector_at, unit_at = _n_weights(widths), len(network.parameters) - 1, 0
    for layer in range(n_layers):
        unit_at += widths[layer + 1]
    of_bias = _ZERO
    for i in range(n_rows):
        of_bias += gradient[i]
    room.gradients[vector_at] = of_bias

    n_units = widths[n_layers]
    weight_at -= n_units
    final = network.parameters[weight_at : weight_at + n_units]
    hidden = _matrix(room.outs, (unit_at - n_units) * n_rows, n_rows, n_units)
    np.dot(hidden.T, gradient, room.gradients[weight_at : weight_at + n_units])
    behind = _matrix(room.back[0], 0, n_rows, n_units)
    slopes = _matrix(room.slopes, (unit_at - n_units) * n_rows, n_rows, n_units)
    for i in range(np.uintp(n_rows)):
        for j in range(np.uintp(n_units)):
            behind[i, j] = gradient[i] * final[j] * slopes[i, j]

    for layer in range(n_layers - 1, -1, -1):
        n_inputs, n_units = widths[layer], widths[layer + 1]
        weight_at -= n_inputs * n_units
        vector_at -= n_vectors * n_units
        unit_at -= n_units
        of_vectors = _matrix(room.gradients, vector_at, n_vectors, n_units)
        if network.batch_norm:
            gamma = network.parameters[vector_at : vector_at + n_units]
            normalised = _matrix(room.normalised, unit_at * n_rows, n_rows, n_units)
            factor = room.factors[unit_at : unit_at + n_units]
            of_batch = training and n_rows > 1
            normalise_back(behind, gamma, normalised, factor, of_vectors, room.column, of_batch)
        else:
            _add_up(behind, of_vectors[0])
        if layer > 0:
            before = (unit_at - n_inputs) * n_rows
            of_weights = _matrix(room.gradients, weight_at, n_inputs, n_units)
            np.dot(_matrix(room.outs, before, n_rows, n_inputs).T, behind, of_weights)
            further = _matrix(room.back[(n_layers - layer) % 2], 0, n_rows, n_inputs)
            np.dot(behind, _matrix(network.parameters, weight_at, n_inputs, n_units).T, further)
            slopes = _matrix(room.slopes, before, n_rows, n_inputs)
            for i in range(np.uintp(n_rows)):
                for j in range(np.uintp(n_inputs)):
                    further[i, j] *= slopes[i, j]
            behind = further


@row_function
def _n_weights(widths):
    total = 0
    for layer in range(len(widths) - 1):
        total += widths[layer] * widths[layer + 1]
    return total


@row_function
def _add_up(matrix, out):
    out[:] = _ZERO
    for i in range(np.uintp(matrix.shape[0])):
        for j in range(np.uintp(matrix.shape[1])):
            out[j] += matrix[i, j]
