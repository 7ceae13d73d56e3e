"""The gradient of the reference DeepFM against finite differences; every kernel test rests on it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from deepfm_tools import FIELDS, N_FEATURES, POOLINGS, random_deepfm
from reference import LOSSES
from reference_deepfm import ACTIVATIONS, ReferenceDeepFM
from table_tools import INTERPRETED

from fastfm_deep.nn.mlp import MLP, MLPShape

MODES = ("no batch norm", "training", "scoring")
FAR = 1e-3  # from kinks and ties
STEP = 1e-6


def random_case(rng, activation, mode, pooling):
    """A model with small rows, two of which name several columns of a field."""
    model = random_deepfm(rng, 2, activation, mode != "no batch norm", POOLINGS[pooling], (3, 2))
    rows = []
    for n_values in (6, 4, 7, 1):
        columns = rng.permutation(N_FEATURES)[:n_values]
        rows.append({int(i): float(rng.choice([-1.5, -0.5, 0.75, 1.0])) for i in columns})
    return model, rows


def is_smooth(model: ReferenceDeepFM, rows, training) -> bool:
    """Whether no activation is near its kink, and no largest product near the second largest."""
    if model.activation in ("relu", "leaky_relu"):
        _, (kept, _) = model.forward(np.array([model.inputs(row).ravel() for row in rows]), training)
        if min(np.abs(z).min() for *_, z in kept) < FAR:
            return False
    for row, field in itertools.product(rows, range(len(model.pooling))):
        mine = [p for i, p in model.products(row).items() if FIELDS[i] == field]
        if (
            model.pooling[field] == "max"
            and len(mine) > 1
            and np.diff(np.sort(mine, axis=0)[-2:], axis=0).min() < FAR
        ):
            return False
    return True


def smooth_case(activation, mode, pooling):
    for seed in itertools.count():
        rng = np.random.default_rng(seed)
        model, rows = random_case(rng, activation, mode, pooling)
        if is_smooth(model, rows, mode != "scoring"):
            return rng, model, rows


def slope(function, array, at) -> float:
    """Central difference of a function of the array's entry."""
    before = array[at]
    array[at] = before + STEP
    above = function()
    array[at] = before - STEP
    below = function()
    array[at] = before
    return (above - below) / (2.0 * STEP)


def slopes(function, array) -> np.ndarray:
    return np.array([slope(function, array, at) for at in np.ndindex(array.shape)]).reshape(array.shape)


@pytest.mark.skipif(INTERPRETED, reason="nothing here is compiled")
@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("loss", LOSSES)
def test_gradients_are_finite_differences(loss, activation, mode, pooling):
    rng, model, rows = smooth_case(activation, mode, pooling)
    y = rng.choice([-1.0, 1.0], len(rows)) if loss == "logistic" else rng.normal(0.0, 2.0, len(rows))
    weight = rng.uniform(0.5, 2.0, len(rows))
    training = mode != "scoring"
    found = model.gradients(rows, y, weight, loss, training)

    def total():
        return model.loss(rows, y, weight, loss, training)

    start = model.fm.intercept

    def at_intercept(value):
        model.fm.intercept = value
        return total()

    by_intercept = (at_intercept(start + STEP) - at_intercept(start - STEP)) / (2.0 * STEP)
    model.fm.intercept = start
    weights, factors = np.zeros(N_FEATURES), np.zeros_like(model.fm.factors)
    for i in found.weights:
        weights[i], factors[i] = found.weights[i], found.factors[i]
    pairs = [
        (np.array([found.intercept]), np.array([by_intercept])),
        (weights, slopes(total, model.fm.weights)),
        (factors, slopes(total, model.fm.factors)),
        *((g, slopes(total, part)) for g, part in zip(found.network, model.network(), strict=True)),
    ]
    for got, expected in pairs:
        error = np.linalg.norm(got - expected)
        # The whole gradient sets the scale where a part of it vanishes, as that of a bias in front of a norm.
        assert error <= 1e-5 * max(np.linalg.norm(expected), 1e-3 * np.linalg.norm(factors)), got.shape


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_package_s_own_network_in_float64_is_the_reference(activation, batch_norm, training):
    rng = np.random.default_rng(1)
    model = random_deepfm(rng, 3, activation, batch_norm, POOLINGS["sum"])
    shape = MLPShape(12, (4, 3), activation, 0.0, batch_norm)
    flat = np.concatenate([part.ravel() for part in model.network()])
    running = [part for layer in model.layers for part in (layer.mean, layer.variance) if part is not None]
    network = MLP(shape, flat, np.concatenate([*running, []]))
    x, grads = rng.standard_normal((5, 12)), rng.standard_normal(5)
    workspace = network.workspace(5)
    out, backprop = workspace.forward(x, training)
    expected, kept = model.forward(x, training)
    np.testing.assert_allclose(out, expected, rtol=1e-10)
    by_inputs, by_network = model.backward(kept, grads)
    np.testing.assert_allclose(backprop(grads), by_inputs, rtol=1e-7, atol=1e-9)
    expected = np.concatenate([part.ravel() for part in by_network])
    np.testing.assert_allclose(workspace.gradients, expected, rtol=1e-7, atol=1e-9)
