"""Columns that lack a weight or factors: what is absent stays 0, and nothing else changes."""

from __future__ import annotations

import numpy as np
import pytest
from deepfm_tools import POOLINGS, Kernels, assert_same_network, random_deepfm
from parts_tools import (
    ALL_RULES,
    N_FEATURES,
    NEEDS_LANES,
    PLAIN_FIT_ROWS,
    WIDTHS,
    assert_absent_parts_are_zero,
    assert_present_parts_are_not,
    assert_same_tables,
    case,
    ctr_rows,
    mixed_parts,
    model_of,
    settings_of,
    train,
    with_reference_parts,
)
from reference import Settings
from reference_deepfm import DenseSettings
from table_tools import (
    LANES_RUN,
    assert_same_model,
    copy_of,
    fit,
    random_model,
    random_rows,
    random_targets,
    row_dicts,
    step_of,
    tables_of,
)

from fastfm_deep.kernels import micro_batch
from fastfm_deep.kernels._jit import kernel
from fastfm_deep.kernels.hot_columns import N_SLOTS, HotColumns
from fastfm_deep.kernels.parts import HAS_BOTH, HAS_FACTORS, HAS_WEIGHT
from fastfm_deep.model.params import allocate, blocks_for, for_training, lanes_for, with_parts
from fastfm_deep.model.score import raw_scores
from fastfm_deep.training.deepfm_step import new_slots
from fastfm_deep.validation import DivergenceError


@ALL_RULES
@WIDTHS
def test_updates_match_the_reference(n_factors, rule):
    for seed, loss in enumerate(("logistic", "squared")):
        rows, model, targets, order, tables = case(seed, n_factors, rule, loss)
        dicts, chosen = row_dicts(rows), settings_of(rule, loss)
        expected = sum(model.update(dicts[row], targets.y[row], chosen, targets.weight[row]) for row in order)
        got = fit(rows, targets, order, tables, chosen, n_factors)
        np.testing.assert_allclose(got, [expected, targets.weight[order].sum()], rtol=2e-5)
        assert_same_model(tables, model)
        assert_absent_parts_are_zero(tables)
        assert_present_parts_are_not(tables, n_factors)


@NEEDS_LANES
@ALL_RULES
@WIDTHS
def test_lanes_do_what_the_plain_loops_do(n_factors, rule):
    rows, _, targets, order, got = case(3, n_factors, rule, "squared", n_rows=80, most=9)
    expected, chosen = copy_of(got), settings_of(rule, "squared")
    tallies = [
        fit(rows, targets, order, got, chosen, n_factors),
        fit(rows, targets, order, expected, chosen, n_factors, fit_rows=PLAIN_FIT_ROWS),
    ]
    np.testing.assert_allclose(*tallies, rtol=1e-5)
    for name in ("intercept", "linear", "factors"):  # the states as well
        np.testing.assert_allclose(getattr(got, name), getattr(expected, name), rtol=1e-4, atol=2e-5, err_msg=name)


@pytest.mark.parametrize("rule", ["adagrad", "ftrl"])
def test_without_any_factors_in_the_model(rule):
    rows, model, targets, order, tables = case(4, 0, rule)
    dicts, chosen = row_dicts(rows), settings_of(rule)
    for row in order:
        model.update(dicts[row], targets.y[row], chosen, targets.weight[row])
    fit(rows, targets, order, tables, chosen, 0)
    assert_same_model(tables, model)
    assert_absent_parts_are_zero(tables)


@NEEDS_LANES
@pytest.mark.parametrize("rule", ["adagrad", "adagrad_rowwise"])
def test_copies_of_hot_columns_have_the_same_parts(rule):
    rows, _, targets, order, tables = case(5, 16, rule, n_rows=700)
    private, chosen = copy_of(tables), settings_of(rule)
    tags = np.full(N_SLOTS, -1, np.int32)
    tags[:12] = np.arange(12)
    hot = HotColumns(tags, tags[:12].copy(), np.sort(2 ** (np.arange(12) % 4)).astype(np.int32))
    expected = fit(rows, targets, order, tables, chosen, 16)
    np.testing.assert_allclose(fit(rows, targets, order, private, chosen, 16, hot=hot), expected, rtol=1e-5)
    np.testing.assert_allclose(private.linear, tables.linear, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(private.factors, tables.factors, rtol=1e-4, atol=1e-5)
    assert_absent_parts_are_zero(private)


@pytest.mark.parametrize("pooling", ["whole row", "sum", "mixed"])
@ALL_RULES
def test_updates_by_micro_batches_match_the_reference(rule, pooling):
    """With `pooling` "sum" the first layer goes by columns."""
    rng = np.random.default_rng(6)
    parts = mixed_parts(12)
    reference = random_deepfm(rng, pooling=POOLINGS[pooling])
    reference.fm = with_reference_parts(reference.fm, parts)
    rows = random_rows(rng)
    targets = random_targets(rng, len(rows.indptr) - 1, "squared")
    order = rng.permutation(np.arange(len(rows.indptr) - 1))
    chosen, network = settings_of(rule, "squared", max_gradient=1.5), DenseSettings("sgd", 0.05, 0.01)
    kernels = Kernels(reference, rule, network)
    kernels.params = with_parts(kernels.params, parts)
    dicts = row_dicts(rows)
    for start in range(0, len(order), 7):
        batch = order[start : start + 7]
        reference.update([dicts[i] for i in batch], targets.y[batch], np.ones(len(batch)), chosen, network)
    kernels.fit(rows, targets, order, chosen, 7, eagerness=np.inf if pooling == "sum" else 0.0)
    assert_same_model(kernels.params, reference.fm, 1e-4)
    assert_same_network(kernels, reference, 1e-4)
    assert_absent_parts_are_zero(kernels.params)
    assert_present_parts_are_not(kernels.params, 3)


@NEEDS_LANES
@ALL_RULES
def test_lanes_update_columns_as_the_plain_loop_does(rule):
    rng = np.random.default_rng(7)
    model = with_reference_parts(random_model(rng), mixed_parts(12))
    got = with_parts(tables_of(model, rule), model.parts)
    expected, padded = copy_of(got), got.padded_factors
    slots = new_slots(12, padded)
    slots.columns[:] = rng.permutation(12)
    slots.place[:] = np.arange(12)
    slots.counts[:] = rng.integers(1, 5, 12)
    slots.gradients.linear[:] = rng.normal(0, 1, 12)
    slots.gradients.factors[:] = rng.normal(0, 1, (12, padded))
    step = step_of(settings_of(rule), 4)
    update_plain = kernel(micro_batch.update_columns_plain)
    for tables, update in ((got, micro_batch.update_columns), (expected, update_plain)):
        for _ in range(3):
            update(slots, 12, tables, step, lanes_for(padded), blocks_for(padded))
    for name in ("linear", "factors"):
        np.testing.assert_allclose(getattr(got, name), getattr(expected, name), rtol=1e-5, atol=1e-6, err_msg=name)
    assert_absent_parts_are_zero(got)
    assert_absent_parts_are_zero(expected)


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("deep", [False, "whole row", "fields"])
@ALL_RULES
def test_what_is_absent_stays_zero(rule, deep, n_threads):
    rows, targets = ctr_rows()
    parts = mixed_parts(N_FEATURES)
    model = model_of(rule, parts, deep=deep)
    step = train(model, rows, targets, n_threads)
    assert model.params.parts is not None
    assert_absent_parts_are_zero(model.params, parts)
    occurs = model.occurs > 0
    assert model.params.linear[occurs & (parts & HAS_WEIGHT > 0), 0].all()
    assert model.params.factors[occurs & (parts & HAS_FACTORS > 0), :4].all()
    if LANES_RUN and not deep and n_threads == 2 and rule.startswith("adagrad"):
        hot = step._plan_exchanges(0)  # some columns of each kind are trained in copies
        assert set(parts[hot.columns]) == {0, HAS_WEIGHT, HAS_FACTORS, HAS_BOTH}


@ALL_RULES
def test_weights_alone_are_a_linear_model(rule):
    rows, targets = ctr_rows()
    models = [
        model_of(rule, np.full(N_FEATURES, HAS_WEIGHT, np.uint8)),
        model_of(rule, None, n_factors=0),
    ]
    for model in models:
        train(model, rows, targets)
    got, expected = (raw_scores(model, rows) for model in models)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


@ALL_RULES
def test_parts_of_every_column_are_as_none(rule):
    rows, targets = ctr_rows(200)
    models = [model_of(rule, parts) for parts in (None, np.full(N_FEATURES, HAS_BOTH, np.uint8))]
    for model in models:
        assert model.params.parts is None
        train(model, rows, targets)
    assert_same_tables(models[1].params, models[0].params)


@pytest.mark.parametrize("deep", [False, "fields"])
def test_after_a_divergence_what_is_absent_is_zero(deep):
    rows, targets = ctr_rows(200)
    targets = targets._replace(y=targets.y * 1e30)
    model = model_of("sgd", mixed_parts(N_FEATURES), deep=deep)
    wild = Settings("squared", "sgd", 1e10)
    with pytest.raises(DivergenceError), np.errstate(all="ignore"):
        train(model, rows, targets, chosen=wild)
    assert_absent_parts_are_zero(model.params)


def test_parts_must_fit():
    params = allocate(5, 3, "adagrad")
    parts = np.array([0, 1, 2, 3, 3], np.uint8)
    got = with_parts(params, parts).parts
    assert got is not parts
    assert got.flags.writeable
    assert got.tolist() == [0, 1, 2, 3, 3]
    assert with_parts(with_parts(params, parts), None).parts is None
    for wrong in (parts[:4], parts.astype(np.int64), np.append(parts, np.uint8(3)), parts[None]):
        with pytest.raises(ValueError, match=r"parts of shape .* for 5 columns"):
            with_parts(params, wrong)
    with pytest.raises(ValueError, match="parts=4 of a column, which has at most 3"):
        with_parts(params, parts + np.uint8(1))


def test_a_model_of_another_rule_has_the_same_parts():
    rows, targets = ctr_rows(200)
    parts = mixed_parts(N_FEATURES)
    model = model_of("adagrad", parts)
    train(model, rows, targets)
    other = for_training(model, "adam")
    assert other.params.parts.tolist() == parts.tolist()
    train(other, rows, targets)
    assert_absent_parts_are_zero(other.params)
