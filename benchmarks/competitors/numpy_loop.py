"""A DeepFM in plain NumPy, row by row with SGD, as tutorials have it.

It trains on the first rows alone; rows per second are taken as if it went on like that, and its logloss is that of
a model that has seen few rows.
"""

from __future__ import annotations

import itertools
import time
from typing import Any

import numpy as np

from competitors.contract import Outcome, Rows, Task

MOST_ROWS = 3000
LEARNING_RATE = 0.01


class NumpyLoop:
    name = "numpy-loop"
    batch_sizes = ()

    def why_not(self) -> str | None:
        return None

    def prepare(self, train: Rows, test: Rows) -> Any:
        return train.part(0, MOST_ROWS), test

    def fit_and_score(self, rows: Any, task: Task) -> Outcome:
        train, test = rows
        rng = np.random.default_rng(task.seed)
        model = _Model(train.n_features, train.ids.shape[1], task, rng)
        seconds = []
        for _ in range(task.n_epochs):
            started = time.perf_counter()
            for row in rng.permutation(len(train.y)):
                model.update(train.ids[row], train.y[row])
            seconds.append(time.perf_counter() - started)
        probabilities = np.array([model.score(ids)[0] for ids in test.ids])
        note = f"first {len(train.y):,} rows alone, rate extrapolated, 1 thread"
        return Outcome(seconds, len(train.y), probabilities, note)


class _Model:
    def __init__(self, n_features: int, n_fields: int, task: Task, rng: np.random.Generator) -> None:
        self.rate = LEARNING_RATE if task.learning_rate is None else task.learning_rate
        self.intercept = 0.0
        self.weights = np.zeros(n_features, np.float32)
        self.factors = rng.normal(0.0, 0.01, (n_features, task.n_factors)).astype(np.float32)
        widths = (n_fields * task.n_factors, *task.hidden_units, 1)
        self.matrices = [
            rng.normal(0.0, np.sqrt(2.0 / n_inputs), (n_inputs, n_units)).astype(np.float32)
            for n_inputs, n_units in itertools.pairwise(widths)
        ]
        self.biases = [np.zeros(n_units, np.float32) for n_units in widths[1:]]

    def score(self, ids):
        """Probability of a row, and what its update needs."""
        vectors = self.factors[ids]
        total = vectors.sum(axis=0)
        pairs = 0.5 * (total @ total - np.sum(vectors * vectors))
        layers = [vectors.reshape(-1)]
        for matrix, bias in zip(self.matrices[:-1], self.biases[:-1], strict=True):
            layers.append(np.maximum(layers[-1] @ matrix + bias, 0.0))
        deep = (layers[-1] @ self.matrices[-1] + self.biases[-1])[0]
        raw = self.intercept + self.weights[ids].sum() + pairs + deep
        return 1.0 / (1.0 + np.exp(-raw)), vectors, total, layers

    def update(self, ids, y):
        probability, vectors, total, layers = self.score(ids)
        gradient = np.float32(probability - y)
        back = np.array([gradient])
        for layer in range(len(self.matrices) - 1, -1, -1):
            matrix, before = self.matrices[layer], layers[layer]
            behind = matrix @ back
            matrix -= self.rate * np.outer(before, back)
            self.biases[layer] -= self.rate * back
            back = behind * (before > 0) if layer else behind
        self.intercept -= self.rate * gradient
        self.weights[ids] -= self.rate * gradient
        self.factors[ids] -= self.rate * (gradient * (total - vectors) + back.reshape(vectors.shape))
