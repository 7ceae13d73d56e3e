"""The network as its users see it, readable and compiled: layout, start, batch normalisation, dropout."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from network_tools import FORMS, Net, inputs

from fastfm_deep.nn.activations import ACTIVATIONS
from fastfm_deep.nn.mlp import MLP, MLPShape, parts_of, start_parameters, start_running

N_ROWS = 12
NORMED = MLPShape(6, (5, 4), "tanh", 0.0, True)
DROPPED = MLPShape(6, (40, 30), "relu", 0.3, False)
SHAPES = [
    MLPShape(6, units, activation, dropout, batch_norm)
    for activation, units, dropout, batch_norm in itertools.product(
        ACTIVATIONS, [(5,), (5, 4, 3)], [0.0, 0.25], [False, True]
    )
]
each_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)
each_form = pytest.mark.parametrize("form", FORMS)


# Layout


@pytest.mark.parametrize("batch_norm", [False, True])
def test_weights_come_first_then_vectors_layer_by_layer(batch_norm):
    shape = MLPShape(3, (4, 2), batch_norm=batch_norm)
    n_weights, n_vectors = 3 * 4 + 4 * 2 + 2 * 1, (2 if batch_norm else 1) * (4 + 2) + 1
    assert (shape.n_decayed, shape.n_parameters) == (n_weights, n_weights + n_vectors)
    assert shape.n_running == (2 * (4 + 2) if batch_norm else 0)

    flat = np.arange(shape.n_parameters, dtype=np.float32)
    weights, vectors, bias = parts_of(shape, flat)
    assert [part.shape for part in weights] == [(3, 4), (4, 2), (2, 1)]
    n_each = 2 if batch_norm else 1
    assert [[len(part) for part in layer] for layer in vectors] == [[4] * n_each, [2] * n_each]
    got = [*weights, *itertools.chain.from_iterable(vectors), bias]
    np.testing.assert_array_equal(np.concatenate([part.ravel() for part in got]), flat)
    assert weights[0][0, 1] == 1.0, "C order: inputs are the rows"
    assert all(np.shares_memory(part, flat) for part in got)


def test_weights_are_applied_as_x_times_w():
    shape = MLPShape(2, (3,), "relu")
    parameters = np.zeros(shape.n_parameters)
    weights, vectors, bias = parts_of(shape, parameters)
    weights[0][:] = [[1, 2, -3], [4, 5, 6]]
    vectors[0][0][:] = [0.5, 0.25, 0]
    weights[1][:] = [[1], [10], [100]]
    bias[:] = 0.125
    x = np.array([[1.0, 1.0], [1.0, 0.0]])
    out, backprop = MLP(shape, parameters, np.empty(0)).workspace(2).forward(x, training=True)
    np.testing.assert_allclose(out, [5.5 + 72.5 + 300 + 0.125, 1.5 + 22.5 + 0.125])
    np.testing.assert_allclose(backprop(np.array([1.0, 2.0])), [[-279, 654], [42, 108]])


# Start


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_start_of_the_parameters(activation, batch_norm):
    shape = MLPShape(300, (200, 100), activation, batch_norm=batch_norm)
    flat = start_parameters(shape, np.random.default_rng(7))
    weights, vectors, bias = parts_of(shape, flat)
    for layer, matrix in enumerate(weights):
        n_inputs, n_units = matrix.shape
        sigma = matrix.std() / np.sqrt(2.0 * matrix.size)  # of the deviation, about
        assert abs(matrix.mean()) < 5.0 * matrix.std() / np.sqrt(matrix.size)
        if layer < 2 and activation in ("relu", "leaky_relu", "gelu"):
            expected = np.sqrt(2.0 / n_inputs)
            assert np.abs(matrix).max() > 3.0 * expected, "He: normal, not bounded"
        else:
            bound = np.sqrt(6.0 / (n_inputs + n_units))
            expected = bound / np.sqrt(3.0)
            assert 0.95 * bound < np.abs(matrix).max() <= bound * (1 + 1e-6)
        assert matrix.std() == pytest.approx(expected, abs=5.0 * sigma)
    if batch_norm:
        assert all(np.all(gamma == 1.0) and not beta.any() for gamma, beta in vectors)
    else:
        assert not any(biases.any() for (biases,) in vectors)
    assert not bias.any()
    assert flat.dtype == np.float32


def test_same_seed_starts_with_the_same_bits():
    first, again, other = (start_parameters(NORMED, np.random.default_rng(seed)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert np.all(first[: NORMED.n_decayed] != other[: NORMED.n_decayed])


def test_running_statistics_start_as_mean_0_and_variance_1():
    np.testing.assert_array_equal(start_running(NORMED), [0] * 5 + [1] * 5 + [0] * 4 + [1] * 4)
    assert start_running(NORMED._replace(batch_norm=False)).shape == (0,)


# Both forms


@each_shape
def test_the_compiled_form_is_the_readable_one(shape):
    nets = [Net(form, shape, N_ROWS, seed=5) for form in FORMS]
    generator = np.random.default_rng(2)
    for net in nets:
        net.parameters[shape.n_decayed :] += np.float32(0.1)
    for n_rows, training in [(N_ROWS, True), (N_ROWS, False), (1, True), (7, True)]:
        x, gradient = inputs(n_rows, shape.n_inputs, seed=n_rows), generator.standard_normal(n_rows, np.float32)
        (expected, plain_back), (got, back) = (net.forward(x, training) for net in nets)
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(back(gradient), plain_back(gradient), rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(nets[1].gradients, nets[0].gradients, rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(nets[1].running, nets[0].running, rtol=1e-5, atol=1e-6)


@each_shape
def test_float32_is_float64_within_its_digits(shape):
    double = Net("readable", shape, N_ROWS, seed=5)
    single = MLP(shape, double.parameters.copy(), double.running.copy()).workspace(N_ROWS, 5)
    parameters, running = double.parameters.astype(np.float64), double.running.astype(np.float64)
    exact = MLP(shape, parameters, running).workspace(N_ROWS, 5)
    x, gradient = inputs(N_ROWS, 6), inputs(1, N_ROWS, seed=1)[0]
    expected, exact_back = exact.forward(x.astype(np.float64), training=True)
    got, back = single.forward(x, training=True)
    assert (expected.dtype, got.dtype, single.gradients.dtype) == (np.float64, np.float32, np.float32)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(back(gradient), exact_back(gradient.astype(np.float64)), rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(single.gradients, exact.gradients, rtol=1e-3, atol=1e-5)


@each_form
@pytest.mark.parametrize("batch_norm", [False, True])
def test_a_shorter_batch_leaves_nothing_of_a_longer_one(form, batch_norm):
    shape = MLPShape(6, (5, 4), "gelu", 0.0, batch_norm)
    used, fresh = Net(form, shape, N_ROWS), Net(form, shape, N_ROWS)
    used.forward(inputs(N_ROWS, 6) * np.float32(1e3), training=False)[1](np.full(N_ROWS, 1e3, np.float32))
    x, gradient = inputs(5, 6, seed=3), inputs(1, 5, seed=4)[0]
    (got, back), (expected, fresh_back) = (net.forward(x, training=True) for net in (used, fresh))
    assert got.shape == (5,)
    np.testing.assert_array_equal(got, expected)
    got_grads = back(gradient)
    assert got_grads.shape == (5, 6)
    np.testing.assert_array_equal(got_grads, fresh_back(gradient))
    np.testing.assert_array_equal(used.gradients, fresh.gradients)


@each_form
def test_gradients_are_sums_over_rows(form):
    shape = MLPShape(6, (5, 4), "tanh")
    net = Net(form, shape, N_ROWS)
    x, gradient = inputs(N_ROWS, 6), inputs(1, N_ROWS, seed=1)[0]
    grads = net.forward(x, training=True)[1](gradient).copy()
    of_all, of_rows = net.gradients.copy(), np.zeros(shape.n_parameters)
    for row in range(N_ROWS):
        got = net.forward(x[row : row + 1], training=True)[1](gradient[row : row + 1])
        np.testing.assert_allclose(got[0], grads[row], rtol=1e-4, atol=1e-6)
        of_rows += net.gradients
    np.testing.assert_allclose(of_all, of_rows, rtol=1e-4, atol=1e-5)


# Scoring


@each_form
@each_shape
def test_scoring_changes_nothing_and_takes_rows_one_by_one(form, shape):
    net = Net(form, shape, N_ROWS)
    if shape.batch_norm:
        net.running += np.random.default_rng(4).random(shape.n_running, np.float32)
    before = net.parameters.copy(), net.running.copy()
    x = inputs(N_ROWS, 6)
    in_block = net.score(x)
    np.testing.assert_array_equal(net.score(x), in_block)
    one_by_one = np.concatenate([net.score(x[row : row + 1]) for row in range(N_ROWS)])
    np.testing.assert_allclose(one_by_one, in_block, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(net.parameters, before[0])
    np.testing.assert_array_equal(net.running, before[1])


# Batch normalisation


def first_layer(net, x):
    """What the first normalisation sees, in float64."""
    return x.astype(np.float64) @ parts_of(net.shape, net.parameters).weights[0].astype(np.float64)


@each_form
def test_running_statistics_move_a_tenth_of_the_way(form):
    net = Net(form, NORMED, N_ROWS)
    expected = net.running[:10].astype(np.float64).reshape(2, 5)
    for batch in range(4):
        x = inputs(N_ROWS - batch, 6, seed=batch) * np.float32(2.0) + np.float32(1.0)
        z = first_layer(net, x)
        expected = 0.9 * expected + 0.1 * np.array([z.mean(axis=0), z.var(axis=0, ddof=1)])
        net.forward(x, training=True)
        np.testing.assert_allclose(net.running[:10], expected.ravel(), rtol=1e-5, atol=1e-6)


@each_form
def test_training_normalises_by_the_biased_variance_of_the_batch(form):
    shape = MLPShape(6, (5,), "tanh", 0.0, True)
    net = Net(form, shape, 3)
    weights, ((gamma, beta),), _ = parts_of(shape, net.parameters)
    gamma[:], beta[:] = [1.0, 2.0, -0.5, 0.25, 3.0], [0.0, 0.5, -1.0, 0.25, 0.125]
    x = inputs(3, 6)
    z = first_layer(net, x)
    normal = (z - z.mean(axis=0)) / np.sqrt(z.var(axis=0) + 1e-5)
    expected = np.tanh(gamma * normal + beta) @ weights[1][:, 0]
    np.testing.assert_allclose(net.forward(x, training=True)[0], expected, rtol=1e-4, atol=1e-5)


@each_form
def test_one_row_is_normalised_by_the_running_statistics_and_leaves_them(form):
    net = Net(form, NORMED, N_ROWS)
    net.forward(inputs(N_ROWS, 6, seed=8) + np.float32(2.0), training=True)
    before, x, gradient = net.running.copy(), inputs(1, 6), np.ones(1, np.float32)
    expected, back = net.forward(x, training=False)
    expected, expected_grads = expected.copy(), back(gradient).copy()
    expected_gradients = net.gradients.copy()
    got, back = net.forward(x, training=True)
    np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(back(gradient), expected_grads)
    np.testing.assert_array_equal(net.gradients, expected_gradients)
    assert expected_grads.any(), "constants let the gradient through"
    np.testing.assert_array_equal(net.running, before)


@each_form
def test_equal_rows_are_normalised_without_a_division_by_zero(form):
    net = Net(form, NORMED, N_ROWS)
    out, back = net.forward(np.repeat(inputs(1, 6), N_ROWS, axis=0), training=True)
    assert np.all(np.isfinite(out))
    assert np.all(np.isfinite(back(np.ones(N_ROWS, np.float32))))
    assert np.all(np.isfinite(net.gradients))


# Dropout


def linear_net(form, rate, n_units=200, n_rows=50):
    """Its first hidden layer, all ones, goes straight to the answer: (answer · n_units) counts what is kept."""
    shape = MLPShape(1, (n_units,), "relu", rate, False)
    net = Net(form, shape, n_rows)
    weights, ((bias,),), _ = parts_of(shape, net.parameters)
    weights[0][:], bias[:], weights[1][:] = 0.0, 1.0, 1.0 / n_units
    return net, np.ones((n_rows, 1), np.float32)


@each_form
@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_the_rate_of_dropout_and_the_mean_it_keeps(form, rate):
    net, x = linear_net(form, rate)
    net.forward(x, training=True)[1](np.ones(len(x), np.float32))
    # The gradient of the last weights is the sum of the outputs of a unit over the rows.
    kept = parts_of(net.shape, net.gradients).weights[1][:, 0] * (1.0 - rate)
    np.testing.assert_allclose(kept, np.rint(kept), atol=1e-3, err_msg="an output is 0 or 1 / (1 - rate)")
    share, n = kept.sum() / (50 * 200), 50 * 200
    assert share == pytest.approx(1.0 - rate, abs=4.5 * np.sqrt(rate * (1.0 - rate) / n))
    deviation = np.sqrt(rate * (1.0 - rate) * 50)
    assert kept.std() == pytest.approx(deviation, rel=0.25), "units are dropped apart from each other"
    np.testing.assert_allclose(net.score(x), 1.0, rtol=1e-5, err_msg="scoring drops nothing and grows nothing")


def masks(net, x, n_batches=3):
    """Answers of batch after batch: each tells how many units its row kept."""
    return np.array([net.forward(x, training=True)[0].copy() for _ in range(n_batches)])


@each_form
def test_masks_differ_from_batch_to_batch_and_repeat_with_the_seed(form):
    net, x = linear_net(form, 0.5)
    net.reseed(11)
    first = masks(net, x)
    net.reseed(11)
    np.testing.assert_array_equal(masks(net, x), first)
    net.reseed(12)
    other = masks(net, x)
    for one, two in itertools.combinations([*first, *other], 2):
        assert np.mean(one == two) < 0.3
        assert abs(np.corrcoef(one, two)[0, 1]) < 0.6


@each_form
def test_scoring_draws_no_random_numbers(form):
    net, x = linear_net(form, 0.5)
    net.reseed(1)
    expected = masks(net, x, 2)
    net.reseed(1)
    first = masks(net, x, 1)
    net.score(x)
    np.testing.assert_array_equal(np.concatenate([first, masks(net, x, 1)]), expected)


@each_form
def test_the_gradient_goes_through_kept_units_only(form):
    # One row, an input for each unit: what comes back to an input shows whether its unit was kept.
    n = 64
    shape = MLPShape(n, (n,), "leaky_relu", 0.5, False)
    net = Net(form, shape, 1)
    weights, _, _ = parts_of(shape, net.parameters)
    weights[0][:] = np.eye(n)
    weights[1][:] = 1.0
    _, back = net.forward(np.ones((1, n), np.float32), training=True)
    grads = back(np.ones(1, np.float32))[0]
    outs = parts_of(shape, net.gradients).weights[1][:, 0]
    assert set(outs.tolist()) == {0.0, 2.0}
    np.testing.assert_array_equal(grads, outs)
    np.testing.assert_array_equal(parts_of(shape, net.gradients).vectors[0][0], outs)


@each_form
def test_the_layers_of_a_network_have_masks_of_their_own(form):
    n, n_rows = 50, 40
    shape = MLPShape(n, (n, n), "relu", 0.5, False)
    net = Net(form, shape, n_rows)
    weights, _, _ = parts_of(shape, net.parameters)
    weights[0][:], weights[1][:] = np.eye(n), np.eye(n)
    weights[2][:] = 1.0
    net.forward(np.ones((n_rows, n), np.float32), training=True)[1](np.ones(n_rows, np.float32))
    share = parts_of(shape, net.gradients).weights[2].mean() / n_rows
    assert share == pytest.approx(1.0, abs=0.15), "4 times a quarter; the same mask twice would give 2"
