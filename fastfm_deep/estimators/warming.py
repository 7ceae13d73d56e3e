"""Compile ahead: what a container image does once, so that its processes need not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastfm_deep import validation
from fastfm_deep.data.feature_columns import DenseFeat, SparseFeat, VarLenSparseFeat
from fastfm_deep.data.fields import FieldLayout
from fastfm_deep.datasets import make_ctr
from fastfm_deep.estimators.deepfm import DeepFMClassifier
from fastfm_deep.estimators.fm_classifier import FMClassifier
from fastfm_deep.estimators.table_encoder import TableEncoder
from fastfm_deep.kernels.updates import RULES

MODELS = ("fm", "deepfm")


def warm_up(
    n_factors: Sequence[int] = (16,),
    optimizers: Sequence[str] = ("adagrad",),
    models: Sequence[str] = MODELS,
) -> None:
    """Compile the kernels for training and scoring, of rows and of tables, and leave them in the cache on disk.

    For each pair of numbers of factors and optimizers, factorization machines take some 15 seconds on one core and
    DeepFM some 30: leave one of them out where it is not used. Kernels are compiled for a width of vectors: 1 to 4
    factors share one, so do 5 to 8, 9 to 16, and above that all multiples of 16; further ones differ.

    Parameters
    ----------
    n_factors : sequence of int, default (16,)
        As the models that are to come have it.
    optimizers : sequence of str, default ("adagrad",)
        Likewise.
    models : sequence of {"fm", "deepfm"}, default both
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
    for model in models:
        validation.check_choice("model", model, MODELS)
    # Rows enough for two threads to keep copies of hot columns, which have code of their own.
    X, y, sizes = make_ctr(20_000, n_fields=3, n_features=30, random_state=0)
    # Means have code of their own.
    layout = FieldLayout.from_sizes(sizes, "mean")
    options: dict[str, Any] = {"n_epochs": 2, "learning_rate": 0.01, "random_state": 0}
    for number in n_factors:
        for optimizer in optimizers:
            options["optimizer"] = optimizer
            for rows in (X, X * np.float32(0.5)):
                if "fm" in models:
                    for n_jobs in (1, 2):
                        _use(FMClassifier(number, n_jobs=n_jobs, **options), rows, y)
                # Without factors there is no network.
                if "deepfm" in models and number:
                    _use(
                        DeepFMClassifier(number, n_jobs=1, fields=layout, dnn_hidden_units=(4,), **options),
                        rows,
                        y,
                    )
            if "fm" in models:
                _use_tables(FMClassifier(number, n_jobs=1, **options))
            if "deepfm" in models and number:
                _use_tables(DeepFMClassifier(number, n_jobs=1, dnn_hidden_units=(4,), **options))


def _use(model: FMClassifier, rows: Any, y: Any) -> None:
    model.fit(rows, y).predict_proba(rows[:10])


def _use_tables(model: FMClassifier) -> None:
    """Tables in, single rows and recommendations out: kernels of the encoder and of rankings."""
    columns: list[Any] = [SparseFeat("user"), SparseFeat("item"), DenseFeat("age"), VarLenSparseFeat("tags")]
    users = {"user": ["a", "b"] * 8, "age": [20.0, 30.0] * 8}
    items = {"item": list(range(16)), "tags": ["x|y", "x"] * 8}
    model.set_params(encoder=TableEncoder(columns))
    model.fit({**users, **items}, [0, 1, 1, 0] * 4).predict_proba({**users, **items})
    model.score_row_dict({"user": "a", "age": 20.0, "item": 1, "tags": "x"})
    model.recommend(users, items, n=2)
