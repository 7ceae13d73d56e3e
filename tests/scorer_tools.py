"""What the tests of the scorer share: small fitted models of many kinds, their files, and what to expect."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import scipy.sparse as sp
from encoder_tools import click_columns, many_clicks
from table_tools import INTERPRETED, LANES_RUN

from fastfm_deep import (
    DeepFMClassifier,
    DeepFMRegressor,
    FMClassifier,
    FMRegressor,
    Scorer,
    TableEncoder,
    load_model,
)
from fastfm_deep.data.fields import FieldLayout

BACKENDS = ("numba", "numpy")
EACH_BACKEND = pytest.mark.parametrize("backend", BACKENDS)
# Loops that are interpreted warn of what compiled ones do in silence.
OVERFLOWS = [
    pytest.mark.filterwarnings("ignore:(overflow|invalid value) encountered:RuntimeWarning")
] * INTERPRETED
WIDTH = 12
# Columns 10 and 11 belong to no field, columns 2 and 9 are by themselves.
FIELD_OF_COLUMN = [0, 0, 2, 1, 1, 1, 0, 3, 3, 4, -1, -1]
POOLING = {
    "sum": ("sum",) * 5,
    "max": ("max",) * 5,
    "mixed": ("mean", "max", "sum", "sqrtn", "mean"),
    "unpooled": ("sum", "max", "sum", "max", "sum"),
}
_FOLDER = tempfile.TemporaryDirectory(prefix="scorers")


class Spec(NamedTuple):
    """A model: of what class, of which fields, and what else it is made and saved with."""

    kind: type
    n_factors: int = 5
    pooling: str | None = None
    is_scaled: bool = False
    options: tuple = ()
    saving: tuple = ()

    def __str__(self):
        return " ".join(str(part) for part in (self.kind.__name__, *self[1:]) if part)

    @property
    def is_deep(self):
        return issubclass(self.kind, DeepFMClassifier | DeepFMRegressor)

    @property
    def is_classifier(self):
        return issubclass(self.kind, FMClassifier)


FM = Spec(FMClassifier, 5)
NARROW = Spec(FMRegressor, 4)
DEEP = Spec(DeepFMClassifier, 5, "mixed")
UNPOOLED = Spec(DeepFMClassifier, 8, "unpooled")
WHOLE = Spec(DeepFMRegressor, 8)
SMALL = Spec(DeepFMClassifier, 16, "unpooled", saving=(("dtype", "int8"), ("prune", 0.05)))
WIDE = Spec(FMClassifier, 64, saving=(("dtype", "bfloat16"),))

# A kind of model is compiled in seconds: those of the second list are scored by NumPy alone.
COMPILED_SPECS = [
    FM,
    NARROW,
    DEEP,
    UNPOOLED,
    WHOLE,
    SMALL,
    WIDE,
    Spec(FMClassifier, 0),
    Spec(FMRegressor, 0, is_scaled=True),
    Spec(FMClassifier, 1, options=(("negative_downsampling", 0.3),)),
    Spec(FMRegressor, 8, options=(("clip", True),)),
    Spec(FMRegressor, 8, is_scaled=True),
    Spec(DeepFMRegressor, 5, "sum", True, (("clip", True), ("dnn_batch_norm", True), ("dnn_activation", "gelu"))),
    Spec(DeepFMClassifier, 8, "max", options=(("negative_downsampling", 0.2), ("dnn_activation", "tanh"))),
    Spec(DeepFMClassifier, 5, "mixed", options=(("dnn_hidden_units", ()),)),
]
PLAIN_SPECS = [
    Spec(DeepFMClassifier, 1, "mixed", options=(("dnn_activation", "sigmoid"),)),
    Spec(DeepFMRegressor, 4, None, True, (("dnn_activation", "leaky_relu"),)),
    Spec(DeepFMRegressor, 16, "sum", saving=(("dtype", "bfloat16"),)),
    Spec(FMRegressor, 5, saving=(("dtype", "int8"), ("prune", 0.01))),
    Spec(DeepFMClassifier, 0, options=(("dnn_hidden_units", ()),)),
]


def layout_of(spec: Spec) -> FieldLayout | None:
    return None if spec.pooling is None else FieldLayout.from_columns(FIELD_OF_COLUMN, POOLING[spec.pooling])


def random_matrix(n_rows=60, seed=0, density=0.5, width=WIDTH):
    """CSR rows of normal numbers, some of them empty."""
    rng = np.random.default_rng(seed)
    dense = rng.normal(0, 1, (n_rows, width)) * (rng.random((n_rows, width)) < density)
    dense[: n_rows // 20] = 0.0
    return sp.csr_array(dense.astype(np.float32))


def new_fit(spec: Spec, seed=0):
    """An estimator that has been fitted to random rows; another `seed` gives other numbers."""
    n_rows = 40 if INTERPRETED else 150
    X, rng = random_matrix(n_rows, seed), np.random.default_rng(seed)
    signal = X @ rng.normal(0, 1, WIDTH)
    y = np.where(signal > 0, "yes", "no") if spec.is_classifier else 50.0 + 10.0 * signal
    if spec.is_scaled:
        X = sp.csr_array(X * np.logspace(-3, 6, WIDTH)[None, :].astype(np.float32))
    parameters = {"n_factors": spec.n_factors, "n_epochs": 2, "init_std": 0.3, "random_state": seed}
    if spec.is_deep:
        parameters |= {"fields": layout_of(spec), "dnn_hidden_units": (9, 6)}
    model = spec.kind(**parameters | dict(spec.options)).fit(X, y)
    assert bool(len(model._model.params.inverse_scale)) == spec.is_scaled
    return model


@functools.cache
def path_of(spec: Spec, seed=0) -> str:
    """The file of a model."""
    path = Path(_FOLDER.name) / f"{len(list(Path(_FOLDER.name).iterdir()))}.safetensors"
    new_fit(spec, seed).save(path, **dict(spec.saving))
    return str(path)


@functools.cache
def estimator_of(spec: Spec, seed=0):
    """The estimator that was saved."""
    return load_model(path_of(spec, seed))


@functools.cache
def scorer_of(spec: Spec, backend: str, seed=0) -> Scorer:
    return Scorer.load(path_of(spec, seed), backend=backend).warm_up()


def expected_raw(model, X) -> np.ndarray:
    """What an estimator says before link function and clipping."""
    if hasattr(model, "decision_function"):
        return model.decision_function(X)
    clip = model.clip
    try:
        return model.set_params(clip=False).predict(X)
    finally:
        model.set_params(clip=clip)


def expected_answers(model, X) -> np.ndarray:
    return model.predict_proba(X)[:, 1] if hasattr(model, "predict_proba") else model.predict(X)


def assert_raw(got, expected):
    got, expected = np.asarray(got), np.asarray(expected)
    assert got.dtype == np.float64
    assert got.shape == expected.shape
    np.testing.assert_array_less(np.abs(got - expected), 1e-5 * (1.0 + np.abs(expected)))


def assert_answers(got, expected, is_classifier):
    """Probabilities to 1e-6, predictions as raw scores."""
    if not is_classifier:
        assert_raw(got, expected)
        return
    assert np.asarray(got).dtype == np.float64
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-6)


def row_of(X, row):
    """Columns and values of one row of CSR."""
    part = slice(X.indptr[row], X.indptr[row + 1])
    return X.indices[part], X.data[part]


# Models of tables: the columns of `encoder_tools.CLICKS`.


@functools.cache
def table_path(kind=FMClassifier, n_factors=5, handle_unknown="bucket") -> str:
    columns, labels = many_clicks(40 if INTERPRETED else 200)
    if handle_unknown == "error":  # what is missing is unknown too
        columns["city"] = [city or "bj" for city in columns["city"]]
    encoder = TableEncoder(click_columns(handle_unknown=handle_unknown))
    model = kind(n_factors=n_factors, n_epochs=2, init_std=0.3, random_state=0, encoder=encoder)
    path = Path(_FOLDER.name) / f"{len(list(Path(_FOLDER.name).iterdir()))}.safetensors"
    model.fit(columns, labels).save(path)
    return str(path)


@functools.cache
def table_models(kind=FMClassifier, n_factors=5, handle_unknown="bucket"):
    """The estimator of a table and its scorers, by backend."""
    path = table_path(kind, n_factors, handle_unknown)
    return load_model(path), {backend: Scorer.load(path, backend=backend) for backend in BACKENDS}


def records_of(columns):
    """Rows as dicts."""
    names, n_rows = list(columns), len(next(iter(columns.values())))
    return [{name: columns[name][row] for name in names} for row in range(n_rows)]


def sizes(normal, small):
    """A number, smaller where nothing is compiled."""
    return normal if LANES_RUN else small
