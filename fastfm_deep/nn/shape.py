"""The shape of a network: what it is without its numbers, and how many of them it has."""

from __future__ import annotations

import itertools
from typing import NamedTuple


class MLPShape(NamedTuple):
    """What a network is, without its numbers.

    Attributes
    ----------
    n_inputs : int
    hidden_units : tuple of int, one for each hidden layer
    activation : str, a key of `ACTIVATIONS`
    dropout : float, share of the outputs of hidden layers dropped in training
    batch_norm : bool, before each activation
    """

    n_inputs: int
    hidden_units: tuple[int, ...]
    activation: str = "relu"
    dropout: float = 0.0
    batch_norm: bool = False

    @property
    def matrices(self) -> list[tuple[int, int]]:
        """Shapes of the weight matrices."""
        widths = (self.n_inputs, *self.hidden_units, 1)
        return list(itertools.pairwise(widths))

    @property
    def n_decayed(self) -> int:
        """Weights: the first so many parameters, on which L2 acts."""
        return sum(n_inputs * n_units for n_inputs, n_units in self.matrices)

    @property
    def n_parameters(self) -> int:
        """Length of the vector of parameters."""
        return self.n_decayed + (2 if self.batch_norm else 1) * sum(self.hidden_units) + 1

    @property
    def n_running(self) -> int:
        """Length of the vector of running statistics: mean and variance, layer by layer."""
        return 2 * sum(self.hidden_units) if self.batch_norm else 0
