"""Activations: what a hidden unit makes of its sum, and the derivative of that.

All arrays are (n_rows, n_units), and all of them are given: nothing is allocated here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

_LEAK = 0.01
# Beyond this a sigmoid is 0 or 1 to seven digits, and its products would soon be numbers so small that processors
# take a hundred times as long for them.
_SATURATED = 16.0
_GELU = math.sqrt(2.0 / math.pi)
_GELU_CUBE = 0.044715


class Activation(NamedTuple):
    """One activation.

    Attributes
    ----------
    forward : callable (z, out)
        Writes the activations of z to `out`, another array.
    backward : callable (gradient, z, out, scratch)
        Multiplies the gradient by the derivative at z, in place. `out` is what forward wrote; z, out and scratch
        may be overwritten.
    gain : {"he", "glorot"}
        How weights before it start.
    """

    forward: Callable[[Array, Array], None]
    backward: Callable[[Array, Array, Array, Array], None]
    gain: str


def _relu(z: Array, out: Array) -> None:
    np.maximum(z, 0, out=out)


def _relu_backward(gradient: Array, z: Array, out: Array, scratch: Array) -> None:
    np.greater(out, 0, out=z)
    np.multiply(gradient, z, out=gradient)


def _leaky_relu(z: Array, out: Array) -> None:
    np.multiply(z, _LEAK, out=out)
    np.maximum(z, out, out=out)


def _leaky_relu_backward(gradient: Array, z: Array, out: Array, scratch: Array) -> None:
    np.greater(z, 0, out=z)
    np.maximum(z, _LEAK, out=z)
    np.multiply(gradient, z, out=gradient)


def _sigmoid(z: Array, out: Array) -> None:
    np.clip(z, -_SATURATED, _SATURATED, out=out)
    np.negative(out, out=out)
    np.exp(out, out=out)
    np.add(out, 1, out=out)
    np.reciprocal(out, out=out)


def _sigmoid_backward(gradient: Array, z: Array, out: Array, scratch: Array) -> None:
    np.subtract(1, out, out=z)
    np.multiply(gradient, z, out=gradient)
    np.multiply(gradient, out, out=gradient)


def _tanh(z: Array, out: Array) -> None:
    np.tanh(z, out=out)


def _tanh_backward(gradient: Array, z: Array, out: Array, scratch: Array) -> None:
    np.multiply(out, out, out=z)
    np.subtract(1, z, out=z)
    np.multiply(gradient, z, out=gradient)


def _gelu_inner(z: Array, out: Array) -> None:
    """tanh(sqrt(2/π) (z + 0.044715 z³))."""
    np.clip(z, -_SATURATED, _SATURATED, out=out)
    np.multiply(out, out, out=out)
    np.multiply(out, _GELU * _GELU_CUBE, out=out)
    np.add(out, _GELU, out=out)
    np.multiply(out, z, out=out)
    np.tanh(out, out=out)


def _gelu(z: Array, out: Array) -> None:
    """½ z (1 + tanh(sqrt(2/π) (z + 0.044715 z³))) (Hendrycks & Gimpel, arXiv 1606.08415, section 2)."""
    _gelu_inner(z, out)
    np.add(out, 1, out=out)
    np.multiply(out, z, out=out)
    np.multiply(out, 0.5, out=out)


def _gelu_backward(gradient: Array, z: Array, out: Array, scratch: Array) -> None:
    # With t the tanh: ½ (1 + t) + ½ z (1 - t²) sqrt(2/π) (1 + 3·0.044715 z²).
    _gelu_inner(z, out)
    np.clip(z, -_SATURATED, _SATURATED, out=z)
    np.multiply(z, z, out=scratch)
    np.multiply(scratch, 3.0 * _GELU * _GELU_CUBE, out=scratch)
    np.add(scratch, _GELU, out=scratch)
    np.multiply(scratch, z, out=scratch)
    np.multiply(out, out, out=z)
    np.subtract(1, z, out=z)
    np.multiply(scratch, z, out=scratch)
    np.add(scratch, out, out=scratch)
    np.add(scratch, 1, out=scratch)
    np.multiply(scratch, 0.5, out=scratch)
    np.multiply(gradient, scratch, out=gradient)


ACTIVATIONS = {
    "relu": Activation(_relu, _relu_backward, "he"),
    "sigmoid": Activation(_sigmoid, _sigmoid_backward, "glorot"),
    "tanh": Activation(_tanh, _tanh_backward, "glorot"),
    "leaky_relu": Activation(_leaky_relu, _leaky_relu_backward, "he"),
    "gelu": Activation(_gelu, _gelu_backward, "he"),
}
