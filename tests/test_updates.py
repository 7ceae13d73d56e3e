"""The update rules, one number and one vector of lanes at a time, against the float64 rules of the reference."""

from __future__ import annotations

import math

import numpy as np
import pytest
from reference import FACTOR_RULES, ReferenceFM, Settings, ftrl
from table_tools import INTERPRETED, step_of

from fastfm_deep.kernels import lanes as ln
from fastfm_deep.kernels import updates
from fastfm_deep.kernels._jit import kernel
from fastfm_deep.kernels.lanes import LANES
from fastfm_deep.kernels.updates import RULES

RATE = 0.05
GRADIENTS = np.float32([0.5, -0.25, 3.0, 1e-3, -2.0, 0.125, 0.0, -40.0, 7.0, 0.5] * 3)


@kernel
def update_weights(step, table, gradients, l2):  # type: ignore[no-untyped-def]
    for gradient in gradients:
        updates.update_weight(step, table, np.uintp(0), gradient, l2, step.l1_linear)


@kernel
def update_weights_lanes(step, table, gradients, l2):  # type: ignore[no-untyped-def]
    linear = ln.pointer(table)
    for gradient in gradients:
        updates.update_weight_lanes(step, linear, 0, gradient, l2, step.l1_linear)


@kernel
def update_rows(step, factors, linear, states, gradients):  # type: ignore[no-untyped-def]
    """Gradients (n, width) of one row of factors after another, as the plain loops of `fm` do it."""
    for t in range(len(gradients)):
        updates.update_weight(step, linear, np.uintp(0), np.float32(0.0), np.float32(0.0), np.float32(0.0))
        mean_square = np.float32(np.mean(gradients[t] ** 2))
        rate = updates.row_rate(step, linear, np.uintp(0), mean_square)
        for f in range(gradients.shape[1]):
            updates.update_factor(step, factors, np.uintp(f), np.uintp(states), gradients[t, f], rate)


@kernel
def update_rows_lanes(step, factors, linear, states, gradients, lanes):  # type: ignore[no-untyped-def]
    address, weights = ln.address_of(ln.pointer(factors), 0), ln.pointer(linear)
    for t in range(len(gradients)):
        updates.update_weight_lanes(step, weights, 0, np.float32(0.0), np.float32(0.0), np.float32(0.0))
        mean_square = np.float32(np.mean(gradients[t] ** 2))
        rate = updates.row_rate_lanes(step, weights, 0, mean_square)
        gradient = ln.load(lanes, ln.address_of(ln.pointer(gradients), t * gradients.shape[1]))
        updates.update_lanes(len(step.rule), step.learning_rate, lanes, address, states * 4, gradient, rate)


def row_of(rule, weight):
    table = np.zeros(RULES[rule].linear_width, np.float32)
    table[0], table[1:] = weight, RULES[rule].start
    return table


def weight_loops():
    return [update_weights] if INTERPRETED else [update_weights, update_weights_lanes]


@pytest.mark.parametrize("l1", [0.0, 0.5])
@pytest.mark.parametrize("l2", [0.0, 0.25])
@pytest.mark.parametrize("rule", RULES)
def test_weights_follow_the_reference(rule, l2, l1):
    settings = Settings("squared", rule, RATE, l1_linear=l1)
    expected, memory = 0.75, {}
    for gradient in GRADIENTS.tolist():
        if rule == "ftrl":
            expected = ftrl(expected, gradient, memory, settings, l1, l2)
        else:  # L1 is FTRL's alone
            expected = FACTOR_RULES[rule](expected, gradient + l2 * expected, memory, settings)
    for loop in weight_loops():
        table = row_of(rule, 0.75)
        loop(step_of(settings, 4), table, GRADIENTS, np.float32(l2))
        np.testing.assert_allclose(table[0], expected, rtol=2e-5, atol=1e-7)
        states = {"sgd": (), "adam": ("m", "u", "count"), "ftrl": ("z", "n")}.get(rule, ("sum",))
        got = table[1 : 1 + len(states)]
        np.testing.assert_allclose(got, [memory[state] for state in states], rtol=2e-5)


@pytest.mark.parametrize("width", LANES)
@pytest.mark.parametrize("rule", RULES)
def test_rows_of_factors_follow_the_reference(rule, width):
    rng = np.random.default_rng(width)
    gradients = rng.normal(size=(30, width)).astype(np.float32)
    start = rng.normal(size=width).astype(np.float32)
    settings = Settings("squared", rule, RATE)
    expected, memory = start.astype(np.float64), {}
    for gradient in gradients.astype(np.float64):
        expected = FACTOR_RULES[rule](expected, gradient, memory, settings)
    loops = [lambda *arguments: update_rows(*arguments)]
    if not INTERPRETED:
        loops.append(lambda *arguments: update_rows_lanes(*arguments, LANES[width]))
    for loop in loops:
        factors = np.full(width * (1 + RULES[rule].factor_states), RULES[rule].factor_start, np.float32)
        factors[:width] = start
        loop(step_of(settings, width), factors, row_of(rule, 0.0), width, gradients)
        np.testing.assert_allclose(factors[:width], expected, rtol=2e-5, atol=2e-6)


def test_plain_factor_update_adds_l2():
    table = np.float32([2.0])
    step = step_of(Settings("squared", "sgd", 0.5, l2_factors=0.25), 1)
    if INTERPRETED:
        updates.update_factor(step, table, 0, 1, np.float32(1.0), np.float32(0.5))
    else:
        updates.update_factor(step, table, np.uintp(0), np.uintp(1), np.float32(1.0), np.float32(0.5))
    assert table[0] == 2.0 - 0.5 * (1.0 + 0.25 * 2.0)


@pytest.mark.parametrize("count", [1, 2, 3, 10, 100, 5_000, 19_999, 20_001, 1_000_000])
def test_adam_rate_is_the_bias_correction(count):
    step = step_of(Settings("squared", "adam", RATE), 4)
    got = updates.adam_rate(step, np.float32(count))
    expected = RATE * math.sqrt(1 - 0.999**count) / (1 - 0.9**count)
    np.testing.assert_allclose(got, expected, rtol=2e-6)


def test_ftrl_without_penalties_is_adagrad_written_differently():
    """w changes by rate * g / (1 + sqrt(n)), where n holds this g as well."""
    weight, squares = 0.0, 0.0
    table = row_of("ftrl", 0.0)
    for gradient in GRADIENTS.astype(np.float64):
        squares += gradient**2
        weight -= RATE * gradient / (1 + math.sqrt(squares))
    update_weights(step_of(Settings("squared", "ftrl", RATE), 4), table, GRADIENTS, np.float32(0.0))
    np.testing.assert_allclose(table[0], weight, rtol=1e-5)


@pytest.mark.parametrize("lanes", [False, True])
def test_ftrl_l1_makes_exact_zeros(lanes):
    if lanes and INTERPRETED:
        pytest.skip("lanes cannot run under NUMBA_DISABLE_JIT=1")
    loop = update_weights_lanes if lanes else update_weights
    step = step_of(Settings("squared", "ftrl", RATE, l1_linear=1.0), 4)
    for gradients, is_zero in (([0.4, 0.5], True), ([0.4, 0.7], False), ([-0.4, -0.7], False)):
        table = row_of("ftrl", 0.0)
        loop(step, table, np.float32(gradients), np.float32(0.0))
        assert (table[0] == 0.0) == is_zero
        assert is_zero or np.sign(table[0]) == -np.sign(gradients[0])


@pytest.mark.parametrize("rule", RULES)
def test_rules_say_what_the_tables_hold(rule):
    found = RULES[rule]
    assert len(found.start) == found.linear_width - 1
    # A row of 1, 2 or 4 numbers never crosses a cache line.
    assert found.linear_width in (1, 2, 4)
    assert rule in FACTOR_RULES
    assert found.id == getattr(updates, rule.upper())


@pytest.mark.parametrize("rule", RULES)
def test_first_update_against_the_gradient(rule):
    """Whatever the rule: a weight of 0 goes down where the gradient is positive."""
    model = ReferenceFM(0.0, np.zeros(0), np.zeros((0, 0)))
    model.update({}, -1.0, Settings("squared", rule, RATE))
    for loop in weight_loops():
        table = row_of(rule, 0.0)
        loop(step_of(Settings("squared", rule, RATE), 4), table, np.float32([1.0]), np.float32(0.0))
        assert table[0] == pytest.approx(model.intercept, rel=1e-5)
        assert -RATE * 1.01 < table[0] < 0.0
