"""Packed networks: the answers of the plain ones, whatever the activation, the widths and the number of rows."""

from __future__ import annotations

import numpy as np
import pytest
from reference_deepfm import ACTIVATIONS, Layer, ReferenceDeepFM

from fastfm_deep.kernels import forward as fw
from fastfm_deep.kernels import lanes as ln
from fastfm_deep.kernels._jit import kernel
from fastfm_deep.model.deep import DeepPart
from fastfm_deep.model.packed import PACKS, first_shifts, forward_room, pack_network
from fastfm_deep.nn.inference import Inference
from fastfm_deep.nn.mlp import MLPShape, parts_of, running_parts, start_parameters

pytestmark = pytest.mark.skipif(not PACKS, reason="networks are packed for compiled code alone")

# n_factors, padded factors, vectors, hidden units: of one vector, of no whole vectors, of several.
SHAPES = [
    (8, 8, 3, (16,)),
    (5, 8, 4, (9, 6)),
    (1, 4, 1, (1,)),
    (3, 4, 5, (33, 17, 40)),
    (16, 16, 2, (64, 5)),
    (12, 16, 3, (31, 1, 7)),
]


@kernel
def answers_by(packed, inputs, room, answers):
    ln_inputs, n_rows = ln.address_of(ln.pointer(inputs), 0), len(inputs)
    fw.forward(
        fw.point_at_packed(packed),
        ln_inputs,
        inputs.shape[1] * 4,
        n_rows,
        ln.address_of(ln.pointer(room), 0),
        ln.pointer(answers),
    )


@kernel
def answers_from_first(packed, inputs, shared, zeros, products, room, answers):
    network, n_rows = fw.point_at_packed(packed), len(inputs)
    at_products = ln.address_of(ln.pointer(products), 0)
    fw.multiply_first(
        network,
        ln.address_of(ln.pointer(inputs), 0),
        inputs.shape[1] * 4,
        n_rows,
        ln.address_of(ln.pointer(zeros), 0),
        at_products,
    )
    fw.forward_from_first(
        network,
        at_products,
        ln.address_of(ln.pointer(shared), 0),
        n_rows,
        ln.address_of(ln.pointer(room), 0),
        ln.pointer(answers),
    )


class Net:
    """A network of random numbers in both forms."""

    def __init__(self, n_factors, padded, n_vectors, units, activation, batch_norm):
        rng = np.random.default_rng(len(units) + n_factors)
        self.n_factors, self.padded, self.n_vectors = n_factors, padded, n_vectors
        self.shape = shape = MLPShape(n_vectors * n_factors, units, activation, 0.0, batch_norm)
        self.parameters = start_parameters(shape, rng)
        self.parameters += rng.normal(0, 0.3, shape.n_parameters).astype(np.float32)
        self.running = rng.uniform(0.3, 3.0, shape.n_running).astype(np.float32)
        deep = DeepPart(None, shape, self.parameters, self.running, None)
        self.packed = pack_network(deep, n_factors, padded)
        self.room = forward_room(shape)

    def inputs(self, n_rows):
        """As the network takes them, and with zeros behind the factors of each vector."""
        x = np.random.default_rng(n_rows).normal(0, 1, (n_rows, self.n_vectors, self.n_factors)).astype(np.float32)
        wide = np.zeros((n_rows, self.n_vectors, self.padded), np.float32)
        wide[:, :, : self.n_factors] = x
        return x.reshape(n_rows, -1), wide.reshape(n_rows, -1)

    def reference(self, x):
        """In float64, by the formulas."""
        parts = parts_of(self.shape, self.parameters.astype(np.float64))
        layers = [
            Layer(weights, vectors[-1]) for weights, vectors in zip(parts.weights, parts.vectors, strict=False)
        ]
        if self.shape.batch_norm:
            statistics = running_parts(self.shape, self.running.astype(np.float64))
            for layer, vectors, (mean, variance) in zip(layers, parts.vectors, statistics, strict=False):
                layer.gamma, layer.mean, layer.variance = vectors[0], mean, variance
        out = parts.weights[-1].reshape(-1)
        network = ReferenceDeepFM(None, layers, out, parts.bias, self.shape.activation)
        return network.forward(x.astype(np.float64), False)[0]


def assert_close(got, expected):
    np.testing.assert_allclose(got, expected, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("activation", list(ACTIVATIONS))
@pytest.mark.parametrize("sizes", SHAPES, ids=str)
def test_answers_are_those_of_the_formulas(sizes, activation, batch_norm):
    net = Net(*sizes, activation, batch_norm)
    for n_rows in range(1, 10):
        x, wide = net.inputs(n_rows)
        before = np.arange(n_rows, dtype=np.float64)
        got = before.copy()
        answers_by(net.packed, wide, net.room, got)
        assert_close(got - before, net.reference(x))  # they are added
        assert_close(got - before, Inference(net.shape, net.parameters, net.running).answers(x))


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("sizes", SHAPES, ids=str)
def test_rows_that_share_a_part_of_the_first_layer(sizes, batch_norm):
    """A context's products are added to those of each row: the answer is that to the sum of the inputs."""
    net = Net(*sizes, "relu", batch_norm)
    shifts = first_shifts(net.packed)
    zeros = np.zeros_like(shifts)
    context, wide_context = net.inputs(1)
    none = np.zeros(1)
    own = np.zeros((1, len(shifts)), np.float32)
    answers_from_first(net.packed, wide_context, shifts, zeros, own, net.room, none)
    assert_close(none, net.reference(context))
    for n_rows in range(1, 10):
        x, wide = net.inputs(n_rows)
        products, got = np.zeros((n_rows, len(shifts)), np.float32), np.zeros(n_rows)
        answers_from_first(net.packed, wide, own[0] + shifts, zeros, products, net.room, got)
        assert_close(got, net.reference(x + context))


def test_rows_are_answered_the_same_alone_and_in_fours():
    net = Net(5, 8, 4, (33, 17), "relu", False)
    _, wide = net.inputs(9)
    together, alone = np.zeros(9), np.zeros(9)
    answers_by(net.packed, wide, net.room, together)
    for row in range(9):
        answers_by(net.packed, wide[row : row + 1], net.room, alone[row : row + 1])
    np.testing.assert_allclose(alone, together, rtol=1e-5, atol=1e-5)


def test_weights_stand_in_whole_vectors_at_cache_lines():
    net = Net(3, 4, 5, (33, 17, 40), "relu", True)
    packed = net.packed
    assert packed.weights.ctypes.data % 64 == 0
    assert packed.weights.dtype == np.float32
    assert packed.widths.tolist() == [20, 33, 17, 40]
    padded = [-(-n // fw.PACKED_UNITS) * fw.PACKED_UNITS for n in (33, 17, 40)]
    first, second, third = padded
    assert len(packed.weights) == (20 + 1) * first + (33 + 1) * second + (17 + 1) * third + third + 1
    # Of the zeros behind factors and behind units.
    rows = packed.weights[: 20 * first].reshape(5, 4, first)
    assert not rows[:, 3].any()
    assert not rows[:, :, 33:].any()
    assert rows[:, :3, :33].all()
