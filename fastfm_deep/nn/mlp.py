"""The network of a DeepFM: dense hidden layers and a final linear unit, on one flat vector of parameters.

Flat, because every optimizer then is one loop, threads share one array, and a copy is one copy. First come all
weight matrices, (n_inputs, n_units) in C order, the last one of the final unit; then, layer by layer, the bias, or
gamma and beta of batch normalisation, which needs no bias before it; last the bias of the final unit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastfm_deep import kernels
from fastfm_deep.nn.activations import ACTIVATIONS
from fastfm_deep.nn.layers import Activate, BatchNorm, Dense, Dropout
from fastfm_deep.nn.shape import MLPShape

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]


class Parts(NamedTuple):
    """Views on a vector of parameters, or of their gradients."""

    weights: list[Array]
    vectors: list[tuple[Array, ...]]  # of each hidden layer: (bias,) or (gamma, beta)
    bias: Array  # (1,), of the final unit


def parts_of(shape: MLPShape, flat: Array) -> Parts:
    """Views of what a flat vector (shape.n_parameters,) holds."""
    pieces = _pieces(flat)
    weights = [pieces(n_inputs * n_units).reshape(n_inputs, n_units) for n_inputs, n_units in shape.matrices]
    n_vectors = 2 if shape.batch_norm else 1
    vectors = [tuple(pieces(size) for _ in range(n_vectors)) for size in shape.hidden_units]
    return Parts(weights, vectors, pieces(1))


def _pieces(flat: Array) -> Callable[[int], Array]:
    at = 0

    def piece(size: int) -> Array:
        nonlocal at
        at += size
        return flat[at - size : at]

    return piece


def start_parameters(shape: MLPShape, generator: np.random.Generator) -> NDArray[np.float32]:
    """Random weights for a network that has not been trained; biases and beta are 0, gamma is 1.

    Weights before relu-like activations are normal with variance 2 / n_inputs (He et al., arXiv 1502.01852,
    equation 10), the others uniform with variance 2 / (n_inputs + n_units) (Glorot & Bengio, AISTATS 2010,
    equation 16).
    """
    flat = np.zeros(shape.n_parameters, np.float32)
    parts = parts_of(shape, flat)
    for layer, weights in enumerate(parts.weights):
        n_inputs, n_units = weights.shape
        is_hidden = layer < len(shape.hidden_units)
        if is_hidden and ACTIVATIONS[shape.activation].gain == "he":
            weights[:] = generator.standard_normal(weights.shape, np.float32) * math.sqrt(2.0 / n_inputs)
        else:
            bound = math.sqrt(6.0 / (n_inputs + n_units))
            weights[:] = (2.0 * generator.random(weights.shape, np.float32) - 1.0) * bound
    if shape.batch_norm:
        for gamma, _ in parts.vectors:
            gamma[:] = 1.0
    return flat


def start_running(shape: MLPShape) -> NDArray[np.float32]:
    """Running statistics of a network that has not seen a row: means of 0, variances of 1."""
    flat = np.zeros(shape.n_running, np.float32)
    for _, variance in running_parts(shape, flat):
        variance[:] = 1.0
    return flat


def running_parts(shape: MLPShape, flat: Array) -> Iterator[tuple[Array, Array]]:
    """Views of means and variances, layer by layer, of a flat vector (shape.n_running,)."""
    pieces = _pieces(flat)
    for size in shape.hidden_units if shape.batch_norm else ():
        yield pieces(size), pieces(size)


def start_stream(seed: Any) -> NDArray[np.uint64]:
    """Where the random numbers of one thread's dropout start, by whatever seeds NumPy's generators."""
    entropy = seed if isinstance(seed, np.random.SeedSequence) else np.random.SeedSequence(seed)
    return np.array([entropy.generate_state(1)[0], 0], np.uint64)


class MLP:
    """A network on given vectors, which any number of workspaces share without locks.

    Parameters
    ----------
    shape : MLPShape
    parameters : float array (shape.n_parameters,)
        Its dtype is that of all computations.
    running : float array (shape.n_running,)
    """

    def __init__(self, shape: MLPShape, parameters: Array, running: Array) -> None:
        self.shape = shape
        self.parameters = parameters
        self.running = running

    def workspace(self, n_rows: int, seed: Any = None) -> Workspace:
        """Arrays for passes of up to `n_rows` rows, for one thread; `seed` decides what is dropped out."""
        return Workspace(self, n_rows, seed)


class Workspace:
    """Where one thread runs a network; nothing is allocated by a pass.

    Attributes
    ----------
    gradients : array (shape.n_parameters,)
        What the last `backprop` left: the gradients of the sum of the losses of its rows.
    """

    def __init__(self, network: MLP, n_rows: int, seed: Any) -> None:
        shape, parameters = network.shape, network.parameters
        self._shape = shape
        self.gradients = np.zeros_like(parameters)
        values, grads = parts_of(shape, parameters), parts_of(shape, self.gradients)
        self._stream = start_stream(seed)
        running = list(running_parts(shape, network.running))
        self._layers = []
        for layer, n_units in enumerate(shape.hidden_units):
            norm = None
            bias, bias_gradients = None, None
            if shape.batch_norm:
                gamma, beta = values.vectors[layer]
                gamma_gradients, beta_gradients = grads.vectors[layer]
                norm = BatchNorm((gamma, beta), (gamma_gradients, beta_gradients), running[layer], n_rows)
            else:
                bias, bias_gradients = values.vectors[layer][0], grads.vectors[layer][0]
            self._layers.append(
                (
                    Dense(values.weights[layer], bias, (grads.weights[layer], bias_gradients), n_rows),
                    norm,
                    Activate(shape.activation, n_rows, n_units, parameters.dtype),
                    Dropout(shape.dropout, n_rows, n_units, parameters.dtype) if shape.dropout else None,
                )
            )
        self._final = values.weights[-1][:, 0], values.bias
        self._final_gradients = grads.weights[-1][:, 0], grads.bias
        self._out = np.zeros(n_rows, parameters.dtype)
        self._back = np.zeros((n_rows, shape.matrices[-1][0]), parameters.dtype)

    def forward(self, x: Array, training: bool) -> tuple[Array, Callable[[Array], Array]]:
        """Answers to rows.

        Parameters
        ----------
        x : array (n_rows, n_inputs), C-contiguous, of the dtype of the parameters
        training : bool
            Drop outputs, and normalise by the micro-batch.

        Returns
        -------
        out : array (n_rows,)
        backprop : callable
            Takes ∂loss/∂out (n_rows,), leaves `gradients` and returns ∂loss/∂x (n_rows, n_inputs); once, and
            before the next `forward`.
        """
        n_rows = len(x)
        way_back: list[Callable[[Array], Array]] = []
        drops = training and self._shape.dropout > 0.0
        key = kernels.network.next_key(self._stream) if drops else np.uint64(0)
        for layer, (dense, norm, activate, dropout) in enumerate(self._layers):
            x, back = dense.forward(x)
            way_back.append(back)
            if norm is not None:
                x, back = norm.forward(x, training)
                way_back.append(back)
            x, back = activate.forward(x)
            way_back.append(back)
            if dropout is not None and drops:
                x, back = dropout.forward(x, kernels.network.mixed_bits(key, layer))
                way_back.append(back)
        hidden, out = x, self._out[:n_rows]
        weights, bias = self._final
        np.matmul(hidden, weights, out=out)
        np.add(out, bias, out=out)

        def backprop(gradient: Array) -> Array:
            weight_gradients, bias_gradient = self._final_gradients
            np.matmul(gradient, hidden, out=weight_gradients)
            np.add.reduce(gradient, out=bias_gradient[0:1].reshape(()))
            behind = np.multiply(gradient[:, None], weights, out=self._back[:n_rows])
            for back in reversed(way_back):
                behind = back(behind)
            return behind

        return out, backprop
