"""Optimizers of the network: each owns its states and updates one flat vector in place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastfm_deep import kernels
from fastfm_deep.kernels.network_layout import MOMENTUM, OPTIMIZER_IDS, DenseStates, DenseStep

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

OPTIMIZERS = tuple(OPTIMIZER_IDS)

# What the sums of squares start with. From nothing the first steps would all have the size of the learning rate,
# which wipes out how the weights start; 1, as for the factors, would be far above the squares of these gradients,
# which are means over rows.
_FIRST_SQUARE = 1e-3
_STATES = {"sgd": ("velocity",), "adagrad": ("squares",), "adam": ("m", "u")}


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

    def __init__(self, name: str, n_parameters: int, momentum: float = MOMENTUM, dtype: Any = np.float32) -> None:
        self.name = name
        self._momentum = momentum
        self._type = np.dtype(dtype).type
        start = _FIRST_SQUARE if name == "adagrad" else 0.0
        self.states: dict[str, Array] = {state: np.full(n_parameters, start, dtype) for state in _STATES[name]}
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
        step = self.step(learning_rate, l2, n_decayed)
        kernels.dense.update(parameters, self.arrays(), gradients, self._type(gradient_scale), step)

    def step(self, learning_rate: float, l2: float = 0.0, n_decayed: int = 0) -> DenseStep:
        """How kernels are to update."""
        number = self._type
        rule = OPTIMIZER_IDS[self.name]
        return DenseStep(rule, number(learning_rate), number(self._momentum), number(l2), n_decayed)

    def arrays(self) -> DenseStates:
        """The states, for kernels; they change in place."""
        first, *second = (self.states[name] for name in _STATES[self.name])
        none = np.empty(0, self._type)
        return DenseStates(first, second[0] if second else none, self.states.get("t", np.zeros(1, np.int64)))
