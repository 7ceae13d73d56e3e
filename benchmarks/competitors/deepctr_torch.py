"""DeepFM of deepctr-torch, which computes a gradient for every row of every table at each batch."""

from __future__ import annotations

import contextlib
import os
import time
from typing import Any

import numpy as np

from competitors.contract import Outcome, Rows, Task, missing

# The best after one epoch of another click log of 300,000 rows (seed 1).
LEARNING_RATE = 0.02


class DeepCTR:
    name = "deepctr-torch"
    batch_sizes = (1024, 2048, 4096, 8192)

    def why_not(self) -> str | None:
        # requests: it asks PyPI for a newer version of itself when it is imported, and does not say so to pip.
        return missing("torch", "deepctr_torch", "requests")

    def prepare(self, train: Rows, test: Rows) -> Any:
        return _columns(train), train.y.astype(np.float32), _columns(test), train.sizes

    def fit_and_score(self, rows: Any, task: Task) -> Outcome:
        import torch

        torch.set_num_threads(task.n_threads)
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
            return _fit_and_score(rows, task)


def _columns(rows: Rows) -> list[np.ndarray]:
    """Ids counted within each field."""
    first = np.cumsum([0, *rows.sizes[:-1]])
    return [np.ascontiguousarray(rows.ids[:, field] - first[field]) for field in range(len(rows.sizes))]


def _fit_and_score(rows: Any, task: Task) -> Outcome:
    import torch
    from deepctr_torch.callbacks import Callback
    from deepctr_torch.inputs import SparseFeat
    from deepctr_torch.models import DeepFM

    class Clock(Callback):
        seconds: list[float] = []  # noqa: RUF012 (the class lives for one fit)

        def on_epoch_begin(self, epoch, logs=None):
            self.started = time.perf_counter()

        def on_epoch_end(self, epoch, logs=None):
            self.seconds.append(time.perf_counter() - self.started)

    train, y, test, sizes = rows
    columns = [SparseFeat(f"field{n}", size, embedding_dim=task.n_factors) for n, size in enumerate(sizes)]
    # Without penalties, which would square all tables at each batch.
    model = DeepFM(
        columns,
        columns,
        dnn_hidden_units=task.hidden_units,
        l2_reg_linear=0,
        l2_reg_embedding=0,
        init_std=0.01,
        seed=task.seed,
    )
    rate = LEARNING_RATE if task.learning_rate is None else task.learning_rate
    model.compile(torch.optim.Adagrad(model.parameters(), lr=rate), "binary_crossentropy")
    batch_size = task.batch_size or max(DeepCTR.batch_sizes)
    clock = Clock()
    # Copies of the lists: it turns their members into matrices.
    model.fit(list(train), y, batch_size=batch_size, epochs=task.n_epochs, verbose=0, callbacks=[clock])
    probabilities = model.predict(list(test), batch_size=8192).reshape(-1)
    return Outcome(clock.seconds, len(y), probabilities, f"batch {batch_size}")
