"""The kernels of a DeepFM against the slow reference: scores, and updates by micro-batches."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from deepfm_tools import POOLINGS, Kernels, assert_same_network, random_deepfm
from reference import LOSSES, Settings
from reference_deepfm import ACTIVATIONS, DENSE_RULES, DenseSettings
from table_tools import INTERPRETED, assert_same_model, random_rows, random_targets, row_dicts

from fastfm_deep.data.rows import CsrRows
from fastfm_deep.kernels.updates import RULES

TOLERANCE = 1e-4
# With and without padding behind the factors, and with several blocks of lanes.
N_FACTORS = (3, 8) if INTERPRETED else (1, 3, 8, 10, 16, 17, 32)
RATES = {"sgd": 0.02, "adam": 0.01}


def settings_of(loss, rule, **changes):
    chosen = {"l2_linear": 0.02, "l2_factors": 0.03, "l1_linear": 0.01, "max_gradient": 1.5} | changes
    return Settings(loss, rule, RATES.get(rule, 0.05), **chosen)


def check_fit(
    seed, loss="logistic", rule="sgd", dense="sgd", batch_size=7, weighted=False, eagerness=0.0, **model_like
):
    """Fit both for two passes over the rows, and compare all there is to compare."""
    rng = np.random.default_rng(seed)
    reference = random_deepfm(rng, **model_like)
    rows = random_rows(rng)
    targets = random_targets(rng, len(rows.indptr) - 1, loss, weighted=weighted)
    order = rng.permutation(np.arange(len(rows.indptr) - 1))
    chosen, network = settings_of(loss, rule), DenseSettings(dense, RATES.get(dense, 0.05), 0.01)
    kernels = Kernels(reference, rule, network)
    dicts = row_dicts(rows)
    expected_scores = reference.raw_scores(dicts)
    np.testing.assert_allclose(kernels.scores(rows), expected_scores, rtol=TOLERANCE, atol=0.1 * TOLERANCE)
    weight = targets.weight if weighted else np.ones(len(dicts))
    loss_sum = 0.0
    for start in range(0, len(order), batch_size):
        batch = order[start : start + batch_size]
        loss_sum += reference.update([dicts[i] for i in batch], targets.y[batch], weight[batch], chosen, network)
    tally = kernels.fit(rows, targets, order, chosen, batch_size, eagerness)
    np.testing.assert_allclose(tally, [loss_sum, weight.sum()], rtol=TOLERANCE)
    assert_same_model(kernels.params, reference.fm, TOLERANCE)
    assert_same_network(kernels, reference, TOLERANCE)
    np.testing.assert_allclose(kernels.scores(rows), reference.raw_scores(dicts), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_updates_match_the_reference(activation, batch_norm, pooling):
    for loss in LOSSES:
        check_fit(1, loss, activation=activation, batch_norm=batch_norm, pooling=POOLINGS[pooling])


@pytest.mark.parametrize("n_factors", N_FACTORS)
def test_any_number_of_factors(n_factors):
    for pooling in ("whole row", "mixed"):
        check_fit(2, n_factors=n_factors, pooling=POOLINGS[pooling], weighted=True, scaled=True)


@pytest.mark.parametrize("dense", DENSE_RULES)
@pytest.mark.parametrize("rule", RULES)
def test_every_pair_of_rules(rule, dense):
    check_fit(3, "squared", rule, dense, pooling=POOLINGS["mixed"], batch_norm=True)


@pytest.mark.parametrize("batch_size", [1, 2, 23, 24, 100])
def test_any_size_of_micro_batches(batch_size):
    check_fit(4, batch_size=batch_size, pooling=POOLINGS["mixed"], batch_norm=True, weighted=True)


@pytest.mark.parametrize("units", [(1,), (2, 2), (40, 17), (3, 3, 3)])
def test_any_network(units):
    check_fit(5, "squared", "adagrad", "adam", units=units, pooling=POOLINGS["sum"], batch_norm=len(units) > 1)


@pytest.mark.parametrize("units", [(1,), (63, 2), (64,), (65, 3), (130, 2)])
@pytest.mark.parametrize("n_factors", N_FACTORS)
def test_first_layer_by_columns(n_factors, units):
    for pooling, batch_size in itertools.product(("sum", "sqrtn"), (1, 24)):
        like = {"n_factors": n_factors, "units": units, "pooling": POOLINGS[pooling], "scaled": n_factors == 3}
        check_fit(7, batch_size=batch_size, eagerness=np.inf, weighted=True, **like)


def one_row(columns):
    """One row of ones."""
    n = len(columns)
    return CsrRows(np.array([0, n]), np.array(columns, np.int32), np.ones(n, np.float32))


def test_one_update_holds_both_parts():
    """A column alone in its row is moved by the network alone, one without a field by the pairs alone."""
    chosen = settings_of("squared", "sgd", l2_factors=0.0)
    for columns, moved in (([4], [4]), ([10, 11], [10, 11]), ([4, 10], [4, 10])):
        rng = np.random.default_rng(6)
        reference = random_deepfm(rng, pooling=POOLINGS["sum"])
        kernels = Kernels(reference, "sgd", DenseSettings())
        start = kernels.params.factors.copy()
        targets = random_targets(rng, 1, "squared")
        kernels.fit(one_row(columns), targets, [0], chosen, 1)
        changed = np.abs(kernels.params.factors - start)[:, :3].max(axis=1)
        assert (changed[moved] > 1e-4).all()
        found = reference.gradients(row_dicts(one_row(columns)), targets.y, np.ones(1), "squared", clip=1.5)
        for i in columns:
            step = chosen.learning_rate * found.factors[i]
            np.testing.assert_allclose(start[i, :3] - kernels.params.factors[i, :3], step, rtol=1e-3, atol=1e-6)
    # Both at once: by the pairs alone column 4 would go elsewhere.
    by_pairs = (reference.raw_scores([{4: 1.0, 10: 1.0}])[0] - targets.y[0]) * reference.fm.factors[10]
    assert np.abs(found.factors[4] - np.clip(by_pairs, -1.5, 1.5)).max() > 1e-2


def test_equal_products_pass_the_gradient_on_once():
    """Of two columns with the same product in a maxed field, the first takes all."""
    for order in itertools.permutations([0, 1]):
        rng = np.random.default_rng(8)
        reference = random_deepfm(rng, pooling=POOLINGS["max"])
        reference.fm.factors[1] = reference.fm.factors[0]
        rows = one_row(order)
        targets = random_targets(rng, 1, "squared")
        chosen = settings_of("squared", "sgd", l2_factors=0.0)
        kernels = Kernels(reference, "sgd", DenseSettings())
        kernels.fit(rows, targets, [0], chosen, 1)
        reference.update(row_dicts(rows), targets.y, np.ones(1), chosen, DenseSettings())
        assert_same_model(kernels.params, reference.fm, TOLERANCE)
