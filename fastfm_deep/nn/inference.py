"""A network's answers, and nothing else: the forward pass of `nn.mlp` without what training needs.

It allocates as it goes and keeps nothing, so that any number of threads may ask at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastfm_deep.kernels.network_layout import EPSILON
from fastfm_deep.nn.activations import ACTIVATIONS
from fastfm_deep.nn.mlp import parts_of, running_parts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastfm_deep.nn.shape import MLPShape

    Array = NDArray[Any]


class Inference:
    """A network on given vectors.

    Parameters
    ----------
    shape : MLPShape
    parameters : float array (shape.n_parameters,)
        Its dtype is that of all computations.
    running : float array (shape.n_running,)
    """

    def __init__(self, shape: MLPShape, parameters: Array, running: Array) -> None:
        parts = parts_of(shape, parameters)
        self._activate = ACTIVATIONS[shape.activation].forward
        self._weights, self._bias = parts.weights, parts.bias[0]
        self._shifts: list[tuple[Array, Array | None, Array]] = []
        """Of each hidden layer: what is taken off its sums, what they are multiplied by, what is added."""
        nothing = parameters.dtype.type(0.0)
        if shape.batch_norm:
            statistics = running_parts(shape, running)
            for (gamma, beta), (mean, variance) in zip(parts.vectors, statistics, strict=True):
                factor = gamma / np.sqrt(variance + parameters.dtype.type(EPSILON))
                self._shifts.append((mean, factor, beta))
        else:
            self._shifts = [(nothing, None, bias) for (bias,) in parts.vectors]

    @property
    def first_weights(self) -> Array:
        """Of the first layer, (n_inputs, n_units)."""
        return self._weights[0]

    def answers(self, x: Array) -> Array:
        """Answers (n_rows,) to rows (n_rows, n_inputs)."""
        return self.answers_to(x @ self._weights[0])

    def answers_to(self, sums: Array) -> Array:
        """Answers (n_rows,) to what the first layer sums up, (n_rows, n_units), without its bias; used up."""
        for (shift, factor, bias), weights in zip(self._shifts, self._weights[1:], strict=True):
            if factor is not None:
                sums -= shift
                sums *= factor
            sums += bias
            hidden = np.empty_like(sums)
            self._activate(sums, hidden)
            sums = hidden @ weights
        return sums[:, 0] + self._bias
