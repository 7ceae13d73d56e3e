"""Layers: each computes its outputs into arrays of its own, and hands out the way back with them.

`forward(x, ...)` gives `(out, backprop)`; `backprop(gradient)` takes ∂loss/∂out, writes the gradients of the
parameters where it was told to, and returns ∂loss/∂x. Arrays given out are overwritten by the next pass. Losses
are sums over rows, so are gradients.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from fastfm_deep import kernels
from fastfm_deep.kernels.network_layout import EPSILON, KEPT
from fastfm_deep.nn.activations import ACTIVATIONS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]
    Backprop = Callable[[Array], Array]


class Dense:
    """x W + b.

    Parameters
    ----------
    weights : array (n_inputs, n_units)
    bias : array (n_units,), or None for none
    gradients : the same two again, for their gradients
    n_rows : int, at most
    """

    def __init__(self, weights: Array, bias: Array | None, gradients: tuple[Array, Array | None], n_rows: int):
        self._weights, self._bias = weights, bias
        self._weight_gradients, self._bias_gradients = gradients
        n_inputs, n_units = weights.shape
        self._out = np.zeros((n_rows, n_units), weights.dtype)
        self._back = np.zeros((n_rows, n_inputs), weights.dtype)

    def forward(self, x: Array) -> tuple[Array, Backprop]:
        """Outputs (n_rows, n_units)."""
        n_rows = len(x)
        out = self._out[:n_rows]
        np.matmul(x, self._weights, out=out)
        if self._bias is not None:
            np.add(out, self._bias, out=out)

        def backprop(gradient: Array) -> Array:
            np.matmul(x.T, gradient, out=self._weight_gradients)
            if self._bias_gradients is not None:
                np.add.reduce(gradient, axis=0, out=self._bias_gradients)
            return np.matmul(gradient, self._weights.T, out=self._back[:n_rows])

        return out, backprop


class Activate:
    """An activation, unit by unit."""

    def __init__(self, name: str, n_rows: int, n_units: int, dtype: Any):
        self._activation = ACTIVATIONS[name]
        self._out = np.zeros((n_rows, n_units), dtype)
        self._scratch = np.zeros((n_rows, n_units), dtype)

    def forward(self, z: Array) -> tuple[Array, Backprop]:
        """Outputs; z is used up by the way back."""
        n_rows = len(z)
        out = self._out[:n_rows]
        self._activation.forward(z, out)

        def backprop(gradient: Array) -> Array:
            self._activation.backward(gradient, z, out, self._scratch[:n_rows])
            return gradient

        return out, backprop


class BatchNorm:
    """gamma (z - mean) / sqrt(variance + EPSILON) + beta (Ioffe & Szegedy, arXiv 1502.03167, algorithm 1).

    Mean and variance are those of the micro-batch in training, of which the running ones are moving averages, and
    the running ones in scoring. A micro-batch of one row has no statistics, and takes the running ones as well.
    """

    def __init__(
        self,
        parameters: tuple[Array, Array],
        gradients: tuple[Array, Array],
        running: tuple[Array, Array],
        n_rows: int,
    ):
        self._gamma, self._beta = parameters
        self._gamma_gradients, self._beta_gradients = gradients
        self._mean, self._variance = running
        n_units, dtype = len(self._gamma), self._gamma.dtype
        self._normalised = np.zeros((n_rows, n_units), dtype)
        self._out = np.zeros((n_rows, n_units), dtype)
        self._shift, self._factor, self._share = (np.zeros(n_units, dtype) for _ in range(3))

    def forward(self, z: Array, training: bool) -> tuple[Array, Backprop]:
        """Outputs, of the shape of z."""
        n_rows = len(z)
        normalised, out = self._normalised[:n_rows], self._out[:n_rows]
        of_batch = training and n_rows > 1
        if of_batch:
            self._measure(z, normalised)
        else:
            np.subtract(z, self._mean, out=normalised)
            np.add(self._variance, EPSILON, out=self._factor)
        np.sqrt(self._factor, out=self._factor)
        np.reciprocal(self._factor, out=self._factor)
        np.multiply(normalised, self._factor, out=normalised)
        np.multiply(normalised, self._gamma, out=out)
        np.add(out, self._beta, out=out)

        def backprop(gradient: Array) -> Array:
            np.multiply(gradient, normalised, out=out)
            np.add.reduce(out, axis=0, out=self._gamma_gradients)
            np.add.reduce(gradient, axis=0, out=self._beta_gradients)
            if of_batch:
                # The gradient less what mean and variance take back: its mean, and its part along the outputs.
                np.divide(self._gamma_gradients, n_rows, out=self._share)
                np.multiply(normalised, self._share, out=normalised)
                np.divide(self._beta_gradients, n_rows, out=self._share)
                np.subtract(gradient, normalised, out=gradient)
                np.subtract(gradient, self._share, out=gradient)
            np.multiply(self._factor, self._gamma, out=self._factor)
            return np.multiply(gradient, self._factor, out=gradient)

        return out, backprop

    def _measure(self, z: Array, centred: Array) -> None:
        """Leave z less its mean in `centred`, variance + EPSILON in `_factor`; move the running statistics."""
        n_rows = len(z)
        np.add.reduce(z, axis=0, out=self._shift)
        np.divide(self._shift, n_rows, out=self._shift)
        np.subtract(z, self._shift, out=centred)
        out = self._out[:n_rows]
        np.multiply(centred, centred, out=out)
        np.add.reduce(out, axis=0, out=self._factor)
        # Threads move the same running statistics: each by its share, without a lock.
        np.multiply(self._mean, KEPT, out=self._mean)
        np.multiply(self._shift, 1.0 - KEPT, out=self._shift)
        np.add(self._mean, self._shift, out=self._mean)
        np.multiply(self._variance, KEPT, out=self._variance)
        np.multiply(self._factor, (1.0 - KEPT) / (n_rows - 1), out=self._shift)
        np.add(self._variance, self._shift, out=self._variance)
        np.divide(self._factor, n_rows, out=self._factor)
        np.add(self._factor, EPSILON, out=self._factor)


class Dropout:
    """Each output dropped with the probability `rate`, in training; the others grow by 1 / (1 - rate).

    Srivastava et al., JMLR 15 (2014).
    """

    def __init__(self, rate: float, n_rows: int, n_units: int, dtype: Any):
        self._rate = np.float32(rate)
        self._mask = np.zeros((n_rows, n_units), dtype)
        self._out = np.zeros((n_rows, n_units), dtype)

    def forward(self, x: Array, key: np.uint64) -> tuple[Array, Backprop]:
        """Outputs, of the shape of x; `key` decides which are dropped."""
        mask, out = self._mask[: len(x)], self._out[: len(x)]
        np.copyto(out, x)
        mask.fill(1)
        kernels.network.drop_out(self._rate, key, out.reshape(-1), mask.reshape(-1))
        return out, lambda gradient: np.multiply(gradient, mask, out=gradient)
