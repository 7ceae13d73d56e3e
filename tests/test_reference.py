"""The reference itself: its gradients against central differences, its rules against hand-worked numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from reference import LOSSES, ReferenceFM, Settings
from table_tools import random_model, random_rows, row_dicts

RATE = 0.1


def central_difference(function, array, at, step=1e-5):
    kept = array[at]
    array[at] = kept + step
    above = function()
    array[at] = kept - step
    below = function()
    array[at] = kept
    return (above - below) / (2 * step)


def cases(n_factors, scaled):
    rng = np.random.default_rng(n_factors)
    return random_model(rng, n_factors=n_factors, scaled=scaled), row_dicts(random_rows(rng, n_rows=8))


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("n_factors", [0, 1, 3])
@pytest.mark.parametrize("loss", LOSSES)
def test_gradients_are_central_differences(loss, n_factors, scaled):
    """One SGD update with rate 1 is the gradient: weight, L2 and every parameter."""
    model, rows = cases(n_factors, scaled)
    settings = Settings(loss, "sgd", 1.0, l2_linear=0.3, l2_factors=0.7)
    for row, y in zip(rows, [-1.0, 1.0] * 4, strict=True):
        stepped = model.copy()
        stepped.update(row, y, settings, weight=1.5)

        def objective(row=row, y=y):
            return model.penalised_loss(row, y, settings, weight=1.5)

        intercept = np.array([model.intercept])

        def moved_intercept(row=row, y=y, intercept=intercept):
            moved = model.copy()
            moved.intercept = float(intercept[0])
            return moved.penalised_loss(row, y, settings, weight=1.5)

        expected = central_difference(moved_intercept, intercept, 0)
        np.testing.assert_allclose(model.intercept - stepped.intercept, expected, rtol=1e-6, atol=1e-8)
        for name in ("weights", "factors"):
            before, after = getattr(model, name), getattr(stepped, name)
            for at in np.ndindex(before.shape):
                expected = central_difference(objective, before, at)
                got = before[at] - after[at]
                np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-8, err_msg=f"{name}{at}")


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("y", [-1.0, 1.0])
@pytest.mark.parametrize("raw", [-500.0, -30.0, -0.3, 0.0, 2.0, 30.0, 500.0])
def test_loss_gradients_are_central_differences(loss, y, raw):
    function, gradient = LOSSES[loss]
    expected = (function(raw + 1e-5, y) - function(raw - 1e-5, y)) / 2e-5
    np.testing.assert_allclose(gradient(raw, y), expected, rtol=1e-6, atol=1e-8)


def test_score_by_hand():
    model = ReferenceFM(0.5, np.array([1.0, 2.0, 3.0]), np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]))
    assert model.raw_score({}) == 0.5
    assert model.raw_score({1: 2.0}) == 0.5 + 4.0
    # <v0, v1> = 11, <v0, v2> = 17, <v1, v2> = 39
    assert model.raw_score({2: -1.0, 0: 2.0, 1: 1.0}) == 0.5 + 2 + 2 - 3 + 11 * 2 - 17 * 2 - 39
    model.inverse_scale = np.array([1.0, 0.5, 1.0])
    assert model.raw_score({1: 2.0}) == 0.5 + 2.0


def updated(rule, *gradients, **settings):
    """A lone weight after the given gradients: squared loss, so that raw - y is the gradient."""
    model = ReferenceFM(0.0, np.ones(1), np.zeros((1, 0)))
    for gradient in gradients:
        model.update({0: 1.0}, model.raw_score({0: 1.0}) - gradient, Settings("squared", rule, RATE, **settings))
    return model.weights[0]


def test_rules_by_hand():
    assert updated("sgd", 2.0, 1.0) == pytest.approx(1 - 0.2 - 0.1)
    for rule in ("adagrad", "adagrad_rowwise"):
        assert updated(rule, 2.0, 1.0) == pytest.approx(1 - 0.2 / math.sqrt(1 + 4) - 0.1 / math.sqrt(1 + 4 + 1))
    # Adam's first step has the size of the rate, whatever the gradient.
    assert updated("adam", 123.0) == pytest.approx(1 - RATE)
    second = RATE * math.sqrt(1 - 0.999**2) / (1 - 0.9**2) * (0.9 * 0.2 + 0.1) / math.sqrt(0.999 * 0.004 + 0.001)
    assert updated("adam", 2.0, 1.0) == pytest.approx(1 - RATE - second, rel=1e-6)
    # z = 2 - 2 / 0.1 * 1 = -18, n = 4
    assert updated("ftrl", 2.0) == pytest.approx(18 / ((1 + 2) / RATE))
    assert updated("ftrl", 2.0, l1_linear=3.0) == pytest.approx(15 / ((1 + 2) / RATE))
    assert updated("ftrl", 2.0, l1_linear=18.0) == 0.0


def test_l1_leaves_the_intercept_alone():
    model = ReferenceFM(1.0, np.zeros(0), np.zeros((0, 0)))
    model.update({}, model.intercept - 2.0, Settings("squared", "ftrl", RATE, l1_linear=18.0))
    assert model.intercept == pytest.approx(18 / ((1 + 2) / RATE))


def test_rowwise_sum_takes_the_mean_square_of_the_row():
    model = ReferenceFM(0.0, np.zeros(2), np.array([[0.0, 0.0], [3.0, 1.0]]))
    # g = raw - y = 1; the gradient of v_0 is v_1 = (3, 1), its mean square 5.
    model.update({0: 1.0, 1: 1.0}, -1.0, Settings("squared", "adagrad_rowwise", RATE))
    np.testing.assert_allclose(model.factors[0], -RATE * np.array([3.0, 1.0]) / math.sqrt(1 + 5))


def test_gradient_is_clipped_before_the_weight_multiplies_it():
    model = ReferenceFM(0.0, np.zeros(0), np.zeros((0, 0)))
    loss = model.update({}, 10.0, Settings("squared", "sgd", RATE, max_gradient=4.0), weight=0.5)
    assert loss == 0.5 * 50.0
    assert model.intercept == pytest.approx(RATE * 4.0 * 0.5)
