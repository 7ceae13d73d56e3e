"""fastfm_deep's DeepFMClassifier."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse

from competitors.contract import Outcome, Rows, Task

# The best after one epoch of another click log of 300,000 rows (seed 1).
SETTINGS: dict[str, Any] = {"learning_rate": 0.03, "l2_reg_factors": 0.001}


class Ours:
    name = "ours"
    batch_sizes = ()  # a micro-batch has its default

    def why_not(self) -> str | None:
        return None

    def prepare(self, train: Rows, test: Rows) -> Any:
        return as_csr(train), train.y, as_csr(test), train.sizes

    def fit_and_score(self, rows: Any, task: Task) -> Outcome:
        X, y, X_test, sizes = rows
        model = model_for(task, sizes).fit(X, y)
        seconds = [record["seconds"] for record in model.history_]
        return Outcome(seconds, len(y), model.predict_proba(X_test)[:, 1])


def as_csr(rows: Rows) -> Any:
    n_rows, n_fields = rows.ids.shape
    indptr = np.arange(0, rows.ids.size + 1, n_fields, dtype=np.int32)
    values = np.ones(rows.ids.size, np.float32)
    return scipy.sparse.csr_array((values, rows.ids.reshape(-1), indptr), shape=(n_rows, rows.n_features))


def model_for(task: Task, sizes: list[int]) -> Any:
    from fastfm_deep import DeepFMClassifier

    settings = {**SETTINGS, **task.options}
    if task.batch_size is not None:
        settings["batch_size"] = task.batch_size
    if task.learning_rate is not None:
        settings["learning_rate"] = task.learning_rate
    return DeepFMClassifier(
        task.n_factors,
        fields=sizes,
        dnn_hidden_units=task.hidden_units,
        n_epochs=task.n_epochs,
        n_jobs=task.n_threads,
        random_state=task.seed,
        **settings,
    )
