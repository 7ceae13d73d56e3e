"""What the tests of DeepFM estimators share: models that fit in no time, their numbers, and the plain formula."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from fit_tools import assert_same_bits, new_model, reference_of

from fastfm_deep import DeepFMClassifier, DeepFMRegressor, FieldLayout
from fastfm_deep.nn.mlp import parts_of

BOTH = pytest.mark.parametrize("estimator_class", [DeepFMClassifier, DeepFMRegressor])
SIZES = [10] * 6
"""Fields of the rows of `fit_tools.small_data`."""

ACTIVATIONS = {
    "relu": lambda z: np.maximum(z, 0.0),
    "leaky_relu": lambda z: np.where(z > 0, z, 0.01 * z),
    "sigmoid": lambda z: 1.0 / (1.0 + np.exp(-z)),
    "tanh": np.tanh,
    "gelu": lambda z: 0.5 * z * (1.0 + np.tanh(np.sqrt(2.0 / np.pi) * (z + 0.044715 * z**3))),
}


def new_deep(estimator_class, **parameters):
    """A small DeepFM of 4 factors for the columns of `small_data`."""
    defaults = {"fields": SIZES, "dnn_hidden_units": (6, 3), "learning_rate": 0.1, "dnn_learning_rate": 0.01}
    return new_model(estimator_class, **defaults | parameters)


def numbers(model):
    """All that the network has learned."""
    deep = model._model.deep
    return [] if deep is None else [deep.parameters, deep.running]


def assert_same_network(got, expected):
    """Table and network, bit for bit."""
    assert_same_bits(got, expected)
    assert len(numbers(got)) == len(numbers(expected))
    for one, other in zip(numbers(got), numbers(expected), strict=True):
        np.testing.assert_array_equal(one, other)


def layout(kind):
    """Fields of 60 columns: of one pooling, or some of each with columns that belong to none."""
    if kind != "mixed":
        return FieldLayout.from_sizes(SIZES, kind)
    field_of_column = np.random.default_rng(0).integers(-1, 5, 60)
    return FieldLayout.from_columns(
        np.where(field_of_column == 3, 4, field_of_column), ["max", "mean", "sqrtn", "sum", "max"]
    )


def valued_rows(n_rows=80, seed=0):
    """CSR rows (n_rows, 60) of a dozen values each, explicit zeros and empty rows among them."""
    rng = np.random.default_rng(seed)
    dense = rng.normal(0, 1, (n_rows, 60)) * (rng.random((n_rows, 60)) < 0.2)
    dense[[0, 5]] = 0.0
    X = sp.csr_array(dense.astype(np.float32))
    X.data[::9] = 0.0
    return X


def plain_scores(model, X):
    """Scores in float64 by the formulas alone, row by row, from what a fitted model shows."""
    fields, reference = model.fields_, reference_of(model)
    scores = []
    for row in np.asarray(X.toarray(), np.float64):
        columns = np.flatnonzero(row)
        values = row[columns]
        if fields is not None:
            of_value = fields.field_of_column[columns]
            names = fields.pooling or ("sum",) * fields.n_fields
            for field in set(of_value[of_value >= 0]):
                power = {"mean": 1.0, "sqrtn": 0.5}.get(names[field], 0.0)
                values[of_value == field] /= np.sum(of_value == field) ** power
        products = values[:, None] * reference.factors[columns]
        if fields is None:
            total = products.sum(axis=0)
            vectors = [total, 0.5 * (total**2 - (products**2).sum(axis=0))]
        else:
            vectors = [np.zeros(model.n_factors) for _ in range(fields.n_fields)]
            for field in set(of_value[of_value >= 0]):
                mine = products[of_value == field]
                vectors[field] = mine.max(axis=0) if names[field] == "max" else mine.sum(axis=0)
        raw = reference.raw_score(dict(zip(columns.tolist(), values.tolist(), strict=True)))
        scores.append(raw + _network_score(model._model.deep, np.concatenate(vectors)))
    return np.array(scores)


def _network_score(deep, x):
    shape = deep.shape
    parts = parts_of(shape, deep.parameters.astype(np.float64))
    running = np.split(deep.running.astype(np.float64), np.cumsum(np.repeat(shape.hidden_units, 2))[:-1])
    for layer in range(len(shape.hidden_units)):
        x = x @ parts.weights[layer]
        if shape.batch_norm:
            gamma, beta = parts.vectors[layer]
            mean, variance = running[2 * layer : 2 * layer + 2]
            x = gamma * (x - mean) / np.sqrt(variance + 1e-5) + beta
        else:
            x = x + parts.vectors[layer][0]
        x = ACTIVATIONS[shape.activation](x)
    return float((x @ parts.weights[-1] + parts.bias)[0])
