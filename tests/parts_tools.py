"""What the tests of parts share: models of columns that lack a weight or factors."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from fit_tools import new_model, small_data
from reference import ReferenceFM, Settings
from table_tools import (
    INTERPRETED,
    LANES_RUN,
    random_model,
    random_rows,
    random_targets,
    read_only,
    step_of,
    tables_of,
    targets_of,
)

from fastfm_deep import DeepFMClassifier, DeepFMRegressor, FMClassifier, FMRegressor
from fastfm_deep.data.fields import FieldLayout
from fastfm_deep.data.rows import CsrRows
from fastfm_deep.datasets import make_ctr
from fastfm_deep.kernels import fm
from fastfm_deep.kernels._jit import kernel
from fastfm_deep.kernels.parts import HAS_BOTH, HAS_FACTORS, HAS_WEIGHT
from fastfm_deep.kernels.updates import RULES
from fastfm_deep.model.deep import DeepPart
from fastfm_deep.model.params import FMModel, allocate, with_parts
from fastfm_deep.nn.mlp import MLPShape, start_running
from fastfm_deep.nn.optimizers import DenseOptimizer
from fastfm_deep.training.deepfm_step import DeepFMStep, DenseStep
from fastfm_deep.training.fm_step import FMStep
from fastfm_deep.training.loop import Schedule, Training

PLAIN_FIT_ROWS = kernel(fm.fit_rows_plain)


NEEDS_LANES = pytest.mark.skipif(not LANES_RUN, reason="the plain loops stand in for the lanes here")


# Kernels with parts are compiled for each rule: FTRL is the one that differs most from AdaGrad.
ALL_RULES = pytest.mark.parametrize(
    "rule", [rule if rule in ("adagrad", "ftrl") else pytest.param(rule, marks=pytest.mark.slow) for rule in RULES]
)


WIDTHS = pytest.mark.parametrize("n_factors", [3, pytest.param(16, marks=pytest.mark.slow)])


RATES = {"sgd": 0.02, "adam": 0.01}


def mixed_parts(n_features):
    """Every kind of column, in turn; the last two have a weight alone."""
    parts = np.array([HAS_BOTH, HAS_WEIGHT, HAS_FACTORS, HAS_BOTH, 0, HAS_FACTORS], np.uint8)
    parts = np.resize(parts, n_features)
    parts[-2:] = HAS_WEIGHT
    return parts


class ReferenceWithParts(ReferenceFM):
    """The slow twin, which passes over what is absent."""

    parts: np.ndarray

    def _weight(self, name, value, *arguments):
        if name != "w0" and not self.parts[name[1]] & HAS_WEIGHT:
            return value
        return super()._weight(name, value, *arguments)

    def update_factors(self, i, gradient, settings):
        if self.parts[i] & HAS_FACTORS:
            super().update_factors(i, gradient, settings)


def with_reference_parts(model, parts):
    """A reference whose columns have these parts."""
    divided = ReferenceWithParts(model.intercept, model.weights, model.factors, model.inverse_scale)
    divided.parts = parts
    divided.weights[parts & HAS_WEIGHT == 0] = 0.0
    divided.factors[parts & HAS_FACTORS == 0] = 0.0
    return divided


def settings_of(rule, loss="logistic", **changes):
    chosen = {"l2_linear": 0.02, "l2_factors": 0.03, "l1_linear": 0.01, "max_gradient": 8.0} | changes
    return Settings(loss, rule, RATES.get(rule, 0.05), **chosen)


def case(seed, n_factors, rule, loss="logistic", **rows_like):
    rng = np.random.default_rng(seed)
    rows = random_rows(rng, **rows_like)
    model = with_reference_parts(random_model(rng, n_factors=n_factors, scaled=seed % 2 == 1), mixed_parts(12))
    n_rows = len(rows.indptr) - 1
    targets = random_targets(rng, n_rows, loss, weighted=True)
    order = rng.permutation(np.repeat(np.arange(n_rows, dtype=np.int32), 2))
    return rows, model, targets, order, with_parts(tables_of(model, rule), model.parts)


def assert_absent_parts_are_zero(params, parts=None):
    parts = params.parts if parts is None else parts
    assert not params.linear[parts & HAS_WEIGHT == 0, 0].any()
    if params.padded_factors:
        assert not params.factors[parts & HAS_FACTORS == 0, : params.padded_factors].any()


def assert_present_parts_are_not(params, n_factors):
    assert params.linear[params.parts & HAS_WEIGHT > 0, 0].all()
    if n_factors:
        assert params.factors[params.parts & HAS_FACTORS > 0, :n_factors].any(axis=1).all()


N_FEATURES = 60


LAYOUT = np.repeat(np.arange(6, dtype=np.int32), 10)


def ctr_rows(n_rows=None, seed=0):
    """Rows of 6 fields, as the gate of the estimators hands them on, and targets of ±1."""
    n_rows = n_rows or (200 if INTERPRETED else 8_000)
    X, y, _ = make_ctr(n_rows, n_fields=6, n_features=N_FEATURES, random_state=seed)
    values = np.full(len(X.indices), 0.5, np.float32)
    rows = CsrRows(X.indptr.astype(np.int64), X.indices.astype(np.int32), values)
    return read_only(rows), targets_of(2.0 * y - 1.0)


def model_of(rule, parts, n_factors=4, n_features=N_FEATURES, deep=False):
    """A model that has seen nothing."""
    params = with_parts(allocate(n_features, n_factors, rule), parts)
    model = FMModel(params, n_factors, rule, np.zeros(n_features, np.uint8))
    if deep:
        layout = None
        if deep == "fields":
            # What has no factors feeds no input.
            field_of_column = np.append(LAYOUT, np.zeros(n_features - N_FEATURES, np.int32))
            layout = FieldLayout(np.where(parts & HAS_FACTORS, field_of_column, -1).astype(np.int32), 6, ())
        shape = MLPShape(n_factors * (6 if layout else 2), (4,), "relu", 0.0, False)
        parameters = np.zeros(shape.n_parameters, np.float32)
        optimizer = DenseOptimizer("adam", shape.n_parameters)
        model.deep = DeepPart(layout, shape, parameters, start_running(shape), optimizer)
    return model


def train(model, rows, targets, n_threads=1, n_epochs=2, chosen=None, seed=0):
    """Train in place, as estimators do."""
    chosen = chosen or settings_of(model.rule, l1_linear=0.0)
    arguments = model, rows, targets, step_of(chosen, model.n_factors), 0.1, seed, n_threads
    dense = DenseStep(32, 0.01, 0.0)
    step = FMStep(*arguments) if model.deep is None else DeepFMStep(*arguments, dense=dense)
    Training(step, Schedule(n_epochs, chosen.learning_rate)).run()
    model.epochs += n_epochs
    return step


def assert_same_tables(got, expected, n=None):
    for name in ("factors", "linear"):
        np.testing.assert_array_equal(getattr(got, name)[:n], getattr(expected, name)[:n], err_msg=name)
    np.testing.assert_array_equal(got.intercept, expected.intercept)


EVERY = pytest.mark.parametrize("kind", [FMClassifier, FMRegressor, DeepFMClassifier, DeepFMRegressor])


def fitted(kind, **changes):
    X, y = small_data(kind, 150)
    deep = (
        {"fields": [10] * 6, "dnn_hidden_units": (4,)}
        if issubclass(kind, DeepFMClassifier | DeepFMRegressor)
        else {}
    )
    return new_model(kind, **deep, n_jobs=1, **changes).fit(X, y), X, y


def assert_same_params(got, expected):
    for name in ("factors", "linear", "intercept", "parts"):
        assert getattr(got._model.params, name).tobytes() == getattr(expected._model.params, name).tobytes(), name


NARROW = 40


def split_rows():
    """Rows of the first columns alone, then rows of all."""
    rows, targets = ctr_rows(400 if INTERPRETED else 2_000)
    X = sp.csr_array((rows.values, rows.indices, rows.indptr), (rows.n_rows, N_FEATURES))
    former = X[: rows.n_rows // 2].copy()
    former.data[former.indices >= NARROW] = 0.0
    former.eliminate_zeros()
    chunks = []
    for part, start in ((former, 0), (X[rows.n_rows // 2 :], rows.n_rows // 2)):
        arrays = part.indptr.astype(np.int64), part.indices.astype(np.int32), part.data.astype(np.float32)
        y = targets.y[start : start + part.shape[0]]
        chunks.append((read_only(CsrRows(*arrays)), targets_of(y)))
    return chunks
