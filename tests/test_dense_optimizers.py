"""Optimizers of the network, against the formulas of their papers in float64."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from table_tools import INTERPRETED

from fastfm_deep.nn.optimizers import OPTIMIZERS, DenseOptimizer

N = 37
N_STEPS = 30
SMALLEST = np.finfo(np.float32).tiny
each_optimizer = pytest.mark.parametrize("name", OPTIMIZERS)
each_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64])

TWIN = """
import sys
import numpy as np
from fastfm_deep.kernels._jit import JIT_ENABLED
from fastfm_deep.nn.optimizers import OPTIMIZERS, DenseOptimizer
assert not JIT_ENABLED
parameters, gradients = np.load(sys.argv[1])
after = []
for name in OPTIMIZERS:
    optimizer, p = DenseOptimizer(name, len(parameters)), parameters.copy()
    for _ in range(5):
        optimizer.update(p, gradients, learning_rate=0.05, gradient_scale=0.25, l2=0.1, n_decayed=10)
    after += [p, *(state for name, state in optimizer.states.items() if name != "t")]
np.save(sys.argv[2], after)
"""


def stepped(name, p, gradients, rate, momentum=0.9, scale=1.0, l2=0.0, n_decayed=0, start=0.0):
    """Parameters after each of the gradients, in float64 and with vectors for every term."""
    p = p.astype(np.float64)
    decay = np.zeros(len(p))
    decay[:n_decayed] = l2
    first, second, after = np.zeros(len(p)) + start, np.zeros(len(p)), []
    for t, gradient in enumerate(gradients, start=1):
        g = scale * gradient.astype(np.float64) + decay * p
        if name == "sgd":
            first = momentum * first + g
            p = p - rate * first
        elif name == "adagrad":
            first = first + g**2
            p = p - rate * g / np.sqrt(first)
        else:
            first, second = 0.9 * first + 0.1 * g, 0.999 * second + 0.001 * g**2
            m, u = first / (1.0 - 0.9**t), second / (1.0 - 0.999**t)
            p = p - rate * m / (np.sqrt(u) + 1e-8)
        after.append(p)
    return after


def problem(dtype=np.float32, n_steps=N_STEPS, seed=0):
    generator = np.random.default_rng(seed)
    gradients = generator.standard_normal((n_steps, N)) * 10.0 ** generator.uniform(-3, 1, N)
    gradients[:, 0], gradients[1:, 1] = 0.0, 0.0  # one that never moves, one that moved once
    return generator.standard_normal(N).astype(dtype), gradients.astype(dtype)


def start_of(optimizer):
    return {name: state.copy() for name, state in optimizer.states.items()}


@each_dtype
@each_optimizer
@pytest.mark.parametrize("settings", [{}, {"scale": 1 / 256}, {"l2": 0.3, "n_decayed": 20}], ids=str)
def test_updates_follow_the_formulas(name, dtype, settings):
    parameters, gradients = problem(dtype)
    optimizer = DenseOptimizer(name, N, dtype=dtype)
    start = next(iter(start_of(optimizer).values()))[0]
    expected = stepped(name, parameters, gradients, 0.05, start=start, **settings)
    tolerance = 3e-5 if dtype == np.float32 else 1e-11
    for at, gradient in enumerate(gradients):
        optimizer.update(
            parameters,
            gradient,
            learning_rate=0.05,
            gradient_scale=settings.get("scale", 1.0),
            l2=settings.get("l2", 0.0),
            n_decayed=settings.get("n_decayed", 0),
        )
        np.testing.assert_allclose(parameters, expected[at], rtol=tolerance, atol=tolerance)
    assert parameters.dtype == dtype


@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_momentum_of_sgd_can_be_chosen(momentum):
    parameters, gradients = problem()
    expected = stepped("sgd", parameters, gradients, 0.01, momentum=momentum)[-1]
    optimizer = DenseOptimizer("sgd", N, momentum=momentum)
    for gradient in gradients:
        optimizer.update(parameters, gradient, learning_rate=0.01)
    np.testing.assert_allclose(parameters, expected, rtol=3e-5, atol=3e-5)


@each_optimizer
def test_l2_acts_on_the_first_parameters_only(name):
    parameters, none = np.ones(N, np.float32), np.zeros(N, np.float32)
    DenseOptimizer(name, N).update(parameters, none, learning_rate=0.01, l2=0.5, n_decayed=9)
    assert np.all(parameters[:9] < 1.0)
    np.testing.assert_array_equal(parameters[9:], 1.0)


@each_optimizer
def test_l2_is_not_scaled_with_the_gradient(name):
    parameters, gradients = problem(n_steps=1)
    scaled, whole = parameters.copy(), parameters.copy()
    settings = {"learning_rate": 0.01, "l2": 0.5, "n_decayed": N}
    DenseOptimizer(name, N).update(scaled, gradients[0] * np.float32(128.0), gradient_scale=1 / 128, **settings)
    DenseOptimizer(name, N).update(whole, gradients[0], **settings)
    np.testing.assert_array_equal(scaled, whole)


@each_dtype
def test_states_and_their_start(dtype):
    states = {name: DenseOptimizer(name, N, dtype=dtype).states for name in OPTIMIZERS}
    assert {name: list(of_one) for name, of_one in states.items()} == {
        "sgd": ["velocity"],
        "adagrad": ["squares"],
        "adam": ["m", "u", "t"],
    }
    assert states["adam"]["t"].shape == (1,)
    for of_one in states.values():
        for name, state in of_one.items():
            if name != "t":
                assert (state.shape, state.dtype) == ((N,), dtype)
            assert np.all(state > 0.0 if name == "squares" else state == 0)


@each_optimizer
def test_copied_states_go_on_with_the_same_bits(name):
    parameters, gradients = problem()
    first, again = DenseOptimizer(name, N), DenseOptimizer(name, N)
    for gradient in gradients[:7]:
        first.update(parameters, gradient, learning_rate=0.05)
    copied = parameters.copy()
    for state, values in first.states.items():
        again.states[state][:] = values
    for gradient in gradients[7:]:
        first.update(parameters, gradient, learning_rate=0.05)
        again.update(copied, gradient, learning_rate=0.05)
    np.testing.assert_array_equal(copied, parameters)
    for state, values in first.states.items():
        np.testing.assert_array_equal(again.states[state], values)
        assert np.any(values != DenseOptimizer(name, N).states[state])


@each_optimizer
def test_gradients_are_left_as_they_are(name):
    parameters, gradients = problem(n_steps=1)
    before = gradients[0].copy()
    DenseOptimizer(name, N).update(parameters, gradients[0], learning_rate=0.1, l2=1.0, n_decayed=N)
    np.testing.assert_array_equal(gradients[0], before)


@each_optimizer
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_shows_in_its_parameter_alone(name, bad):
    parameters, gradients = problem(n_steps=2)
    gradients[0][5] = bad
    optimizer = DenseOptimizer(name, N)
    for gradient in gradients:
        with np.errstate(all="ignore"):
            optimizer.update(parameters, gradient, learning_rate=0.1)
    assert not np.isfinite(parameters[5]), "flushing must not hide it from the divergence guard"
    assert np.all(np.isfinite(np.delete(parameters, 5)))


@pytest.mark.skipif(INTERPRETED, reason="it is the twin that runs")
def test_the_uncompiled_twin_agrees(tmp_path):
    parameters, gradients = problem(n_steps=1)
    np.save(tmp_path / "in.npy", [parameters, gradients[0]])
    command = [sys.executable, "-c", TWIN, str(tmp_path / "in.npy"), str(tmp_path / "out.npy")]
    subprocess.run(command, check=True, env={**os.environ, "NUMBA_DISABLE_JIT": "1"}, timeout=120)
    expected = iter(np.load(tmp_path / "out.npy"))
    for name in OPTIMIZERS:
        optimizer, p = DenseOptimizer(name, N), parameters.copy()
        for _ in range(5):
            optimizer.update(p, gradients[0], learning_rate=0.05, gradient_scale=0.25, l2=0.1, n_decayed=10)
        for got in (p, *(state for state_name, state in optimizer.states.items() if state_name != "t")):
            np.testing.assert_allclose(got, next(expected), rtol=1e-5, atol=1e-7)
    assert next(expected, None) is None


# Numbers too small


def subnormals(array):
    return int(np.sum((array != 0.0) & (np.abs(array) < SMALLEST)))


@pytest.mark.parametrize(("name", "start"), [("sgd", {"velocity": 1.0}), ("adam", {"m": 1e-20, "u": 1e-28})])
def test_states_without_gradients_decay_to_nothing(name, start):
    optimizer, none = DenseOptimizer(name, N), np.zeros(N, np.float32)
    for state, value in start.items():
        optimizer.states[state][::2] = value
    parameters = np.ones(N, np.float32)
    for _ in range(8000):  # 0.999^8000 is 3e-4
        optimizer.update(parameters, none, learning_rate=1e-3)
        assert all(subnormals(optimizer.states[state]) == 0 for state in start)
    assert all(not optimizer.states[state].any() for state in start)


@each_optimizer
@pytest.mark.parametrize("size", [1e-20, 1e-30, 1e-37, 1e-40])
def test_vanishing_gradients_leave_no_subnormal_states(name, size):
    parameters, gradients = problem()
    optimizer = DenseOptimizer(name, N)
    for gradient in gradients:
        optimizer.update(parameters, gradient * np.float32(size), learning_rate=1e-3)
    assert subnormals(parameters) == 0
    assert sum(subnormals(state) for state_name, state in optimizer.states.items() if state_name != "t") == 0


@each_optimizer
def test_weights_that_l2_shrinks_to_nothing_do_not_become_subnormal(name):
    parameters, none = np.full(N, 1e-36, np.float32), np.zeros(N, np.float32)
    optimizer = DenseOptimizer(name, N, momentum=0.0)
    for _ in range(40):
        optimizer.update(parameters, none, learning_rate=0.5 if name == "sgd" else 0.02, l2=1.0, n_decayed=N)
        assert subnormals(parameters) == 0
