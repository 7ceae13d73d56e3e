"""Optimizers of the network: each owns its states and updates one flat vector in place."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from fastfm_deep.kernels import dense

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

OPTIMIZERS = ("sgd", "adagrad", "adam")

# What the sums of squares start with. From nothing the first steps would all have the size of the learning rate,
# which wipes out how the weights start; 1, as for the factors, would be far above the squares of these gradients,
# which are means over rows.
_FIRST_SQUARE = 1e-3
_DECAY = 0.9, 0.999
_EPSILON = 1e-8


class DenseOptimizer:
    """One of `OPTIMIZERS`.

    Parameters
    ----------
    name : str
    n_parameters : int
    momentum : float
        Of "sgd".
    dtype : dtype

    Attributes
    ----------
    states : dict of arrays
        What it remembers: velocity; squares; or m, u and t, the number of updates, (1,).
    """

    def __init__(self, name: str, n_parameters: int, momentum: float = 0.9, dtype: Any = np.float32) -> None:
        self.name = name
        self._momentum = momentum
        self._type = np.dtype(dtype).type
        names = {"sgd": ("velocity",), "adagrad": ("squares",), "adam": ("m", "u")}[name]
        start = _FIRST_SQUARE if name == "adagrad" else 0.0
        self.states: dict[str, Array] = {state: np.full(n_parameters, start, dtype) for state in names}
        if name == "adam":
            self.states["t"] = np.zeros(1, np.int64)

    def update(
        self,
        parameters: Array,
        gradients: Array,
        *,
        learning_rate: float,
        gradient_scale: float = 1.0,
        l2: float = 0.0,
        n_decayed: int = 0,
    ) -> None:
        """Change the parameters by `gradient_scale` times gradients, plus l2 times the first `n_decayed`."""
        states, number = self.states, self._type
        scale, decay = number(gradient_scale), number(l2)
        rate = number(learning_rate)
        if self.name == "sgd":
            momentum = number(self._momentum)
            dense.update_sgd(parameters, states["velocity"], gradients, scale, rate, momentum, decay, n_decayed)
        elif self.name == "adagrad":
            dense.update_adagrad(parameters, states["squares"], gradients, scale, rate, decay, n_decayed)
        else:
            states["t"] += 1
            t = int(states["t"][0])
            root = math.sqrt(1.0 - _DECAY[1] ** t)
            rate = number(learning_rate * root / (1.0 - _DECAY[0] ** t))
            decays = number(_DECAY[0]), number(_DECAY[1])
            epsilon = number(_EPSILON * root)
            m, u = states["m"], states["u"]
            dense.update_adam(parameters, m, u, gradients, scale, rate, decays, epsilon, decay, n_decayed)
