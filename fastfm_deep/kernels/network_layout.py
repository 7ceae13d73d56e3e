"""What Python and kernels both know of the network: constants of its layers, rules and states of its optimizers.

Nothing here is compiled, so that a process can read a network without Numba.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

EPSILON = 1e-5
"""Added to variances before their root is taken (arXiv 1502.03167, algorithm 1)."""

KEPT = 0.9
"""Share of the running statistics that outlives a micro-batch."""

SGD = 0
ADAGRAD = 1
ADAM = 2
OPTIMIZER_IDS = {"sgd": SGD, "adagrad": ADAGRAD, "adam": ADAM}

MOMENTUM = 0.9
"""Share of the velocity that outlives an update, of "sgd"."""


class DenseStates(NamedTuple):
    """What an optimizer remembers: arrays as long as the parameters, or of length 0 where it has no need of them.

    first : velocity, squares or m; second : u; t : int64 (1,), the updates there were.
    """

    first: np.ndarray
    second: np.ndarray
    t: np.ndarray


class DenseStep(NamedTuple):
    """How dense parameters are updated: scalars of their type.

    `l2` acts on the first `n_decayed` of them.
    """

    rule: int
    learning_rate: np.float32
    momentum: np.float32
    l2: np.float32
    n_decayed: int
