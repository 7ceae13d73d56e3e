"""What the tests of the network share: its two forms, readable and compiled, behind one face."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fastfm_deep.kernels import network
from fastfm_deep.model.deep import DeepPart, network_room
from fastfm_deep.nn.mlp import MLP, MLPShape, start_parameters, start_running

FORMS = ("readable", "compiled")


class Net:
    """A network of random float32 parameters in one of `FORMS`, and a workspace for `n_rows` rows."""

    def __init__(self, form: str, shape: MLPShape, n_rows: int, *, seed: int = 0, start: int = 1) -> None:
        self.form, self.shape, self.n_rows = form, shape, n_rows
        self.parameters = start_parameters(shape, np.random.default_rng(start))
        self.running = start_running(shape)
        self.reseed(seed)

    def reseed(self, seed: int) -> None:
        """A fresh workspace on the same parameters."""
        if self.form == "readable":
            self._workspace = MLP(self.shape, self.parameters, self.running).workspace(self.n_rows, seed)
            self.gradients = self._workspace.gradients
            return
        self._net = DeepPart(None, self.shape, self.parameters, self.running, None).for_kernels()
        self._room = network_room(self.shape, self.n_rows, seed)
        self._grads = np.zeros((self.n_rows, self.shape.n_inputs), np.float32)
        self.gradients = self._room.gradients

    def forward(self, x: np.ndarray, training: bool) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]:
        """As `Workspace.forward`."""
        if self.form == "readable":
            return self._workspace.forward(x, training)
        network.forward(self._net, self._room, x, training)
        grads = self._grads[: len(x)]

        def backprop(gradient: np.ndarray) -> np.ndarray:
            network.backward(self._net, self._room, x, gradient, training, grads)
            return grads

        return self._room.answers[: len(x)], backprop

    def score(self, x: np.ndarray) -> np.ndarray:
        """A copy of the answers in scoring mode."""
        return self.forward(x, False)[0].copy()


def inputs(n_rows: int, n_inputs: int, seed: int = 0) -> np.ndarray:
    """Standard normal float32 (n_rows, n_inputs)."""
    return np.random.default_rng(seed).standard_normal((n_rows, n_inputs), np.float32)
