"""Numbers too small for full speed: vanishing activations, gradients and weights do not slow the network down.

Processors take some hundred times as long for float32 numbers under 1.2e-38. Each test compares a network where
such numbers are near with a healthy one of the same shape: the best of interleaved runs of each, so that whatever
else the machine does disturbs both.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest
import scipy.sparse as sp
from network_tools import FORMS, Net, inputs
from table_tools import INTERPRETED

from fastfm_deep import DeepFMClassifier
from fastfm_deep.model.blas import one_blas_thread
from fastfm_deep.nn.activations import ACTIVATIONS
from fastfm_deep.nn.mlp import MLPShape, parts_of
from fastfm_deep.nn.optimizers import OPTIMIZERS, DenseOptimizer

pytestmark = pytest.mark.skipif(INTERPRETED, reason="interpreted loops are slow whatever the numbers")

SMALLEST = np.finfo(np.float32).tiny
SLOW = 2.0
each_form = pytest.mark.parametrize("form", FORMS)
each_optimizer = pytest.mark.parametrize("optimizer", OPTIMIZERS)


def slowdown(healthy: Callable[[], float], vanishing: Callable[[], float]) -> float:
    """How many times the seconds of the first the second takes; more runs where it looks slow."""
    healthy()
    vanishing()
    times: tuple[list[float], list[float]] = ([], [])
    for run in range(40):
        times[0].append(healthy())
        times[1].append(vanishing())
        ratio = min(times[1]) / min(times[0])
        if run >= 4 and ratio < SLOW:
            break
    return ratio


def timed(work: Callable[[], object]) -> Callable[[], float]:
    def run() -> float:
        start = time.perf_counter()
        work()
        return time.perf_counter() - start

    return run


def has_subnormals(array: np.ndarray) -> bool:
    return bool(np.any((array != 0.0) & (np.abs(array) < SMALLEST)))


@pytest.fixture(autouse=True)
def one_thread():
    with one_blas_thread():
        yield


# The network


def passes(net: Net, size: float = 1.0) -> Callable[[], object]:
    x, gradient = inputs(128, 40), inputs(1, 128, seed=1)[0] * np.float32(size)
    return lambda: net.forward(x, training=True)[1](gradient)


def biased(form: str, activation: str, bias: float, batch_norm: bool) -> Net:
    """A network whose hidden units are shifted; with batch normalisation, whose deviations are small as well."""
    net = Net(form, MLPShape(40, (48, 48, 48), activation, 0.0, batch_norm), 128)
    for vectors in parts_of(net.shape, net.parameters).vectors:
        vectors[-1][:] = bias
        if batch_norm:
            vectors[0][:] = 1e-3
    return net


@each_form
@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("bias", [-200.0, -12.0, 12.0, 200.0])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_units_that_are_dead_or_saturated(form, activation, bias, batch_norm):
    healthy, vanishing = (biased(form, activation, shift, batch_norm) for shift in (0.0, bias))
    passes(vanishing)()
    assert not has_subnormals(vanishing.gradients)
    assert slowdown(timed(passes(healthy)), timed(passes(vanishing))) < SLOW


@each_form
@pytest.mark.parametrize("activation", ["sigmoid", "tanh"])
def test_small_gradients_through_saturated_units(form, activation):
    net = biased(form, activation, 12.0, False)
    assert slowdown(timed(passes(net)), timed(passes(net, 1e-10))) < SLOW


# The optimizers


@each_optimizer
@pytest.mark.parametrize("size", [1e-15, 1e-20, 1e-22, 1e-30, 0.0])
def test_updates_by_vanishing_gradients(optimizer, size):
    n = 10_000

    def updates(size):
        gradients = inputs(1, n)[0] * np.float32(size)
        states, parameters = DenseOptimizer(optimizer, n), inputs(1, n, seed=1)[0]
        states.update(parameters, inputs(1, n)[0], learning_rate=1e-3)  # as it was before it died
        for _ in range(200):
            states.update(parameters, gradients, learning_rate=1e-3)

        def work():
            for _ in range(10):
                states.update(parameters, gradients, learning_rate=1e-3)

        return work, states

    (healthy, _), (vanishing, states) = updates(1.0), updates(size)
    assert slowdown(timed(healthy), timed(vanishing)) < SLOW
    assert not any(has_subnormals(state) for name, state in states.states.items() if name != "t")


@pytest.mark.parametrize(
    ("optimizer", "start"), [("sgd", {"velocity": 1.0}), ("adam", {"m": 1e-10, "u": 1e-28})], ids=str
)
def test_moments_of_dead_units_that_decay_for_thousands_of_steps(optimizer, start):
    n, none = 2_000, np.zeros(2_000, np.float32)

    def updates(starts):
        states, parameters = DenseOptimizer(optimizer, n), inputs(1, n)[0]
        for name, value in starts.items():
            states.states[name][:] = value

        def decay():
            for _ in range(6_000):
                states.update(parameters, none, learning_rate=1e-3)

        return decay

    # From nothing they stay at nothing.
    assert slowdown(timed(updates({})), timed(updates(start))) < SLOW


# Training and scores of a whole model


def rows(n_rows=2_000):
    generator = np.random.default_rng(0)
    columns = generator.integers(0, 50, (n_rows, 8)) + 50 * np.arange(8)
    indptr = np.arange(0, 8 * n_rows + 1, 8)
    return sp.csr_array((np.ones(8 * n_rows, np.float32), columns.ravel(), indptr), (n_rows, 400))


class Model:
    """A model of one class, set back to the same numbers before each pass."""

    def __init__(self, change=lambda model: None, units=(32, 16), activation="relu", with_fields=True, **settings):
        fields = [50] * 8 if with_fields else None
        self.X, self.y = rows(), np.ones(2_000, int)
        self.model = DeepFMClassifier(
            8,
            fields=fields,
            dnn_hidden_units=units,
            dnn_activation=activation,
            random_state=0,
            n_jobs=1,
            n_epochs=1,
            **settings,
        )
        self.model.partial_fit(self.X[:300], self.y[:300], classes=[0, 1])
        self.change = change

    def train(self) -> float:
        self.change(self.model._model)
        start = time.perf_counter()
        self.model.partial_fit(self.X, self.y)
        return time.perf_counter() - start

    def score(self) -> float:
        self.change(self.model._model)
        start = time.perf_counter()
        self.model.decision_function(self.X)
        return time.perf_counter() - start


def sure_by(raw):
    """Raw scores so far on the right side that gradients of the loss are about exp(-raw)."""

    def change(model):
        model.params.intercept[0] = raw

    return change


def weights_of(size):
    def change(model):
        n = model.deep.shape.n_decayed
        model.deep.parameters[:n] = np.random.default_rng(0).standard_normal(n) * size

    return change


def factors_of(size):
    def change(model):
        model.params.factors[:, :8] = np.random.default_rng(0).standard_normal((400, 8)) * size

    return change


# Gradients of 1e-35 and less, and products of small numbers from layer to layer.


@pytest.mark.parametrize("activation", ["relu", "sigmoid"])
@pytest.mark.parametrize("raw", [30.0, 60.0, 80.0, 92.0, 98.0, 500.0])
def test_rows_that_the_model_is_sure_of(raw, activation):
    healthy, vanishing = (Model(sure_by(value), activation=activation) for value in (0.0, raw))
    assert slowdown(healthy.train, vanishing.train) < SLOW
    assert not has_subnormals(vanishing.model._model.deep.parameters)


@pytest.mark.parametrize("size", [1e-10, 1e-15, 1e-20, 1e-29, 1e-38])
def test_weights_near_nothing(size):
    healthy, vanishing = Model(weights_of(0.1)), Model(weights_of(size))
    assert slowdown(healthy.train, vanishing.train) < SLOW
    assert slowdown(healthy.score, vanishing.score) < SLOW


@pytest.mark.parametrize("with_fields", [False, True])
@pytest.mark.parametrize("size", [1e-12, 1e-20, 1e-38])
def test_factors_near_nothing(size, with_fields):
    healthy, vanishing = (Model(factors_of(each), with_fields=with_fields) for each in (0.1, size))
    assert slowdown(healthy.train, vanishing.train) < SLOW
    assert slowdown(healthy.score, vanishing.score) < SLOW
