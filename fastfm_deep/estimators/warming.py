"""Compile ahead: what a container image does once, so that its processes need not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fastfm_deep import validation
from fastfm_deep.datasets import make_ctr
from fastfm_deep.estimators.fm import FMClassifier
from fastfm_deep.kernels.updates import RULES


def warm_up(n_factors: Sequence[int] = (16,), optimizers: Sequence[str] = ("adagrad",)) -> None:
    """Compile the kernels for training and scoring, and leave them in the cache on disk.

    Takes some seconds for each pair of arguments. Kernels are compiled for a width of vectors: 1 to 4 factors
    share one, so do 5 to 8, 9 to 16, and above that all multiples of 16; further ones differ.

    Parameters
    ----------
    n_factors : sequence of int, default (16,)
        As the models that are to come have it.
    optimizers : sequence of str, default ("adagrad",)
        Likewise.

    Raises
    ------
    InputError
        An argument breaks its rule.
    """
    for number in n_factors:
        validation.check_integer("n_factors", number, minimum=0)
    for optimizer in optimizers:
        validation.check_choice("optimizer", optimizer, RULES)
    # Rows enough for two threads to keep copies of hot columns, which have code of their own.
    X, y, _ = make_ctr(20_000, n_fields=3, n_features=30, random_state=0)
    real = X * np.float32(0.5)
    for number in n_factors:
        for optimizer in optimizers:
            for rows in (X, real):
                for n_jobs in (1, 2):
                    model = FMClassifier(
                        number, optimizer=optimizer, n_epochs=2, learning_rate=0.01, n_jobs=n_jobs, random_state=0
                    )
                    model.fit(rows, y).predict_proba(rows[:10])
