"""The kernels against the slow reference, the lanes against the plain loops, and what each argument promises."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import LOSSES, Settings
from strategies import csr_rows
from table_tools import (
    INTERPRETED,
    LANES_RUN,
    N_FACTORS,
    assert_same_model,
    copy_of,
    few,
    fit,
    is_finite,
    random_model,
    random_rows,
    random_targets,
    row_dicts,
    score,
    step_of,
    tables_of,
    targets_of,
)

from fastfm_deep.data.rows import CsrRows, as_csr_rows
from fastfm_deep.kernels import fm
from fastfm_deep.kernels._jit import kernel
from fastfm_deep.kernels.updates import RULES

# Compiled once and kept on disk, as the lanes are.
PLAIN_SCORE_ROWS = kernel(fm.score_rows_plain)
PLAIN_FIT_ROWS = kernel(fm.fit_rows_plain)


def settings_of(loss, rule, **changes):
    """L2 is always on: without it Adam turns the rounding of a gradient that is 0 into an update."""
    rate = 0.01 if rule == "sgd" else 0.05
    chosen = {"l2_linear": 0.02, "l2_factors": 0.03, "l1_linear": 0.01, "max_gradient": 8.0} | changes
    return Settings(loss, rule, rate, **chosen)


def reference_fit(model, rows, targets, order, chosen) -> list[float]:
    """Updates the reference; returns its tally."""
    dicts = row_dicts(rows)
    weight = targets.weight if len(targets.weight) else np.ones(len(dicts))
    total = sum(model.update(dicts[row], targets.y[row], chosen, weight[row]) for row in order)
    return [total, sum(weight[row] for row in order)]


def case(seed, n_factors, loss="logistic", rule="adagrad", *, weighted=False, scaled=False, **rows_like):
    rng = np.random.default_rng(seed)
    rows = random_rows(rng, **rows_like)
    model = random_model(rng, n_factors=n_factors, scaled=scaled)
    targets = random_targets(rng, len(rows.indptr) - 1, loss, weighted=weighted)
    order = rng.permutation(np.repeat(np.arange(len(rows.indptr) - 1, dtype=np.int32), 2))
    return rows, model, targets, order, tables_of(model, rule)


@pytest.mark.parametrize("index_dtype", [np.int32, np.int64])
@pytest.mark.parametrize("n_factors", N_FACTORS)
def test_scores_are_the_sums_over_pairs(n_factors, index_dtype):
    for scaled in (False, True):
        rows, model, _, _, tables = case(n_factors, n_factors, scaled=scaled, index_dtype=index_dtype)
        expected = [model.raw_score(row) for row in row_dicts(rows)]
        np.testing.assert_allclose(score(rows, tables), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("n_factors", N_FACTORS)
def test_updates_match_the_reference(n_factors, rule, loss):
    rows, model, targets, order, tables = case(
        n_factors, n_factors, loss, rule, weighted=n_factors % 2 == 0, scaled=n_factors % 3 == 0
    )
    chosen = settings_of(loss, rule)
    expected = reference_fit(model, rows, targets, order, chosen)
    got = fit(rows, targets, order, tables, chosen, n_factors)
    assert_same_model(tables, model)
    np.testing.assert_allclose(got, expected, rtol=2e-5)


@settings(deadline=None, max_examples=few(150))
@given(
    X=csr_rows(min_rows=1, max_rows=8),
    n_factors=st.sampled_from(N_FACTORS),
    rule=st.sampled_from(list(RULES)),
    loss=st.sampled_from(list(LOSSES)),
    weighted=st.booleans(),
    scaled=st.booleans(),
    penalised=st.booleans(),
    clip=st.sampled_from([0.3, 8.0]),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_rows_fit_and_score_like_the_reference(
    X, n_factors, rule, loss, weighted, scaled, penalised, clip, seed
):
    rng = np.random.default_rng(seed)
    rows = as_csr_rows(X)
    model = random_model(rng, X.shape[1], n_factors, scaled=scaled)
    targets = random_targets(rng, X.shape[0], loss, weighted=weighted)
    order = rng.integers(0, X.shape[0], 3 * X.shape[0]).astype(np.int32)
    tables = tables_of(model, rule)
    chosen = settings_of(loss, rule, max_gradient=clip)
    if not penalised and rule != "adam":
        chosen = settings_of(loss, rule, max_gradient=clip, l2_linear=0.0, l2_factors=0.0, l1_linear=0.0)
    expected = reference_fit(model, rows, targets, order, chosen)
    got = fit(rows, targets, order, tables, chosen, n_factors)
    # Rounding grows where updates overshoot (large values, squared loss), and where Adam divides by gradients
    # near 0; hypothesis looks for just that. A wrong formula is off by more.
    tolerance = 1e-2
    assert_same_model(tables, model, tolerance)
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=0.1 * tolerance)
    expected = [model.raw_score(row) for row in row_dicts(rows)]
    np.testing.assert_allclose(score(rows, tables), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.skipif(not LANES_RUN, reason="the plain loops stand in for the lanes here")
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("n_factors", N_FACTORS)
def test_lanes_do_what_the_plain_loops_do(n_factors, rule):
    rows, _, targets, order, got = case(
        7, n_factors, "squared", rule, weighted=True, scaled=True, n_rows=80, most=9
    )
    expected = copy_of(got)
    chosen = settings_of("squared", rule)
    tallies = [
        fit(rows, targets, order, got, chosen, n_factors),
        fit(rows, targets, order, expected, chosen, n_factors, fit_rows=PLAIN_FIT_ROWS),
    ]
    np.testing.assert_allclose(*tallies, rtol=1e-5)
    for name in ("intercept", "linear", "factors"):  # the states as well
        np.testing.assert_allclose(getattr(got, name), getattr(expected, name), rtol=1e-4, atol=2e-5, err_msg=name)
    scores = score(rows, got), score(rows, got, PLAIN_SCORE_ROWS)
    np.testing.assert_allclose(*scores, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("n_factors", [1, 3, 5, 12, 17])
def test_padding_keeps_its_start(n_factors, rule):
    rows, _, targets, order, tables = case(3, n_factors, rule=rule)
    beyond_factors = slice(n_factors, tables.padded_factors)
    used = tables.padded_factors * (1 + RULES[rule].factor_states)
    states = tables.factors[:, tables.padded_factors :].copy()
    fit(rows, targets, order, tables, settings_of("logistic", rule), n_factors)
    assert not tables.factors[:, beyond_factors].any()
    changed = tables.factors[:, tables.padded_factors :] != states
    for state in range(RULES[rule].factor_states):
        start = state * tables.padded_factors
        assert not changed[:, start + n_factors : start + tables.padded_factors].any()
        assert changed[:, start : start + n_factors].any()
    assert not changed[:, used - tables.padded_factors :].any()


def test_tally_adds_weighted_losses_and_weights():
    rows, model, targets, _, tables = case(5, 4, weighted=True)
    order, chosen = np.arange(24, dtype=np.int32), settings_of("logistic", "adagrad")
    tally = fit(rows, targets, order, tables, chosen, 4, tally=np.array([100.0, 10.0]))
    total, weight = reference_fit(model, rows, targets, order, chosen)
    np.testing.assert_allclose(tally, [100.0 + total, 10.0 + weight], rtol=1e-6)


def test_rows_without_weights_count_one():
    rows, _, targets, order, tables = case(5, 4)
    explicit = copy_of(tables)
    chosen = settings_of("logistic", "adagrad")
    ones = targets_of(targets.y, np.ones_like(targets.y))
    expected = fit(rows, ones, order, explicit, chosen, 4)
    got = fit(rows, targets, order, tables, chosen, 4)
    assert got[1] == len(order)
    np.testing.assert_allclose(got, expected, rtol=1e-7)
    np.testing.assert_allclose(tables.factors, explicit.factors, rtol=1e-6)


@pytest.mark.parametrize("rule", ["sgd", "adagrad", "adagrad_rowwise", "ftrl"])
def test_row_of_weight_zero_teaches_nothing(rule):
    rows, _, targets, order, tables = case(6, 4, rule=rule)
    before = [np.copy(array) for array in tables[:3]]
    free = Settings("logistic", rule)  # L2 would act: rows of weight zero are left out of `order` before
    weightless = targets_of(targets.y, np.zeros_like(targets.y))
    assert fit(rows, weightless, order, tables, free, 4).tolist() == [0.0, 0.0]
    # FTRL keeps z, not the weight, and starts it at 0: w = -z / ... gives 0 for the made-up start here.
    for got, expected in zip(tables[:1] if rule == "ftrl" else tables[:3], before, strict=False):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("n_factors", [0, 3, 8, 16])
def test_folded_ones_give_what_explicit_ones_give(n_factors):
    rows, model, targets, order, tables = case(8, n_factors, rule="adam", scaled=False)
    ones = np.ones(len(rows.indices), np.float32)
    folded = np.broadcast_to(np.float32(1.0), len(ones))
    assert folded.strides == (0,)
    chosen = settings_of("logistic", "adam")
    other = tables_of(model, "adam")
    expected = fit(rows._replace(values=as_read_only(ones)), targets, order, other, chosen, n_factors)
    got = fit(rows._replace(values=folded), targets, order, tables, chosen, n_factors)
    np.testing.assert_allclose(got, expected, rtol=1e-6)
    np.testing.assert_allclose(tables.factors, other.factors, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(tables.linear, other.linear, rtol=1e-5, atol=1e-7)
    scores = (
        score(rows._replace(values=values), tables, kernel_)
        for values, kernel_ in ((folded, None), (as_read_only(ones), PLAIN_SCORE_ROWS))
    )
    np.testing.assert_allclose(*scores, rtol=1e-5, atol=1e-6)


def as_read_only(array):
    array.setflags(write=False)
    return array


@pytest.mark.parametrize("rule", RULES)
def test_span_takes_its_part_of_the_order(rule):
    """Two spans after one another do what one call does; an empty span does nothing."""
    rows, model, targets, order, tables = case(9, 5, rule=rule, n_rows=90)
    chosen = settings_of("logistic", rule)
    whole = tables_of(model, rule)
    for empty in ((0, 0), (70, 70), (len(order), len(order))):
        assert fit(rows, targets, order, tables, chosen, 5, span=empty).tolist() == [0.0, 0.0]
    for got, expected in zip(tables[:3], whole[:3], strict=True):
        np.testing.assert_array_equal(got, expected)
    fit(rows, targets, order, whole, chosen, 5)
    tally = fit(rows, targets, order, tables, chosen, 5, span=(0, 70))
    fit(rows, targets, order, tables, chosen, 5, span=(70, len(order)), tally=tally)
    assert tally[1] == len(order)
    for got, expected in zip(tables[:3], whole[:3], strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("order_dtype", [np.int32, np.int64])
@pytest.mark.parametrize("index_dtype", [np.int32, np.int64])
def test_index_dtypes_give_the_same_bits(index_dtype, order_dtype):
    results = []
    for dtypes in ((np.int32, np.int32), (index_dtype, order_dtype)):
        rows, _, targets, order, tables = case(10, 8, index_dtype=dtypes[0])
        fit(rows, targets, order.astype(dtypes[1]), tables, settings_of("logistic", "adagrad"), 8)
        results.append(tables)
    for got, expected in zip(results[1][:3], results[0][:3], strict=True):
        np.testing.assert_array_equal(got, expected)


def shifted(array):
    """The same numbers 4 bytes behind a multiple of 64."""
    buffer = np.empty(array.nbytes + 128, np.uint8)
    start = -buffer.ctypes.data % 64 + 4
    view = buffer[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    view[...] = array
    assert view.size == 0 or view.ctypes.data % 64 == 4
    return view


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("n_factors", [0, 4, 8, 16, 32])
def test_tables_may_lie_anywhere(n_factors, rule):
    rows, _, targets, order, tables = case(11, n_factors, rule=rule, scaled=True)
    moved = tables._replace(**{name: shifted(getattr(tables, name)) for name in tables._fields[:4]})
    chosen = settings_of("logistic", rule)
    fit(rows, targets, order, tables, chosen, n_factors)
    fit(rows, targets, order, moved, chosen, n_factors)
    for got, expected in zip(moved[:3], tables[:3], strict=True):
        np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(score(rows, moved), score(rows, tables))


def test_rows_may_be_a_slice():
    """Threads score slices of `indptr`, which do not start at 0, and the last rows have no rows behind them."""
    rows, _, _, _, tables = case(16, 8)
    whole = score(rows, tables)
    for start, stop in ((5, 20), (23, 24), (0, 1), (4, 4)):
        part = rows._replace(indptr=rows.indptr[start : stop + 1])
        np.testing.assert_array_equal(score(part, tables), whole[start:stop])


def test_rows_may_be_a_memory_map(tmp_path):
    rows, _, targets, order, tables = case(12, 8)
    mapped = []
    for name, array in zip(rows._fields, rows, strict=True):
        np.save(tmp_path / f"{name}.npy", array)
        mapped.append(np.asarray(np.load(tmp_path / f"{name}.npy", mmap_mode="r")))
    assert not any(array.flags.writeable for array in mapped)
    assert score(CsrRows(*mapped), tables).tolist() == score(rows, tables).tolist()
    tally = fit(CsrRows(*mapped), targets, order, tables, settings_of("logistic", "adagrad"), 8)
    assert tally[1] == len(order)


@pytest.mark.parametrize("n_factors", [0, 8])
def test_long_rows(n_factors):
    """Rows beyond the reach of the prefetches, between empty ones."""
    targets, order = case(13, n_factors, n_rows=6)[2:4]
    rng = np.random.default_rng(13)
    columns = np.concatenate([rng.permutation(400)[:300], rng.permutation(400)[:3], rng.permutation(400)])
    indptr = np.array([0, 0, 300, 303, 303, 703, 703])
    rows = CsrRows(indptr, columns.astype(np.int32), rng.choice([-0.05, 0.05], 703).astype(np.float32))
    rows = CsrRows(*map(as_read_only, rows))
    model = random_model(rng, 400, n_factors)
    tables = tables_of(model, "adagrad")
    chosen = settings_of("logistic", "adagrad")
    expected = reference_fit(model, rows, targets, order, chosen)
    got = fit(rows, targets, order, tables, chosen, n_factors)
    np.testing.assert_allclose(got, expected, rtol=1e-4)
    assert_same_model(tables, model, 1e-4)


@settings(deadline=None, max_examples=few(60))
@given(X=csr_rows(max_rows=6), n_factors=st.sampled_from([0, 4, 16]), seed=st.integers(0, 99))
def test_scores_do_not_depend_on_how_rows_are_written(X, n_factors, seed):
    """Row order, column order inside a row and explicit zeros change nothing."""
    rng = np.random.default_rng(seed)
    tables = tables_of(random_model(rng, X.shape[1], n_factors), "adagrad")
    expected = score(as_csr_rows(X), tables)
    rows_order = rng.permutation(X.shape[0])
    np.testing.assert_array_equal(score(as_csr_rows(X[rows_order]), tables), expected[rows_order])
    tidy = X.copy()
    tidy.sum_duplicates()
    np.testing.assert_allclose(score(as_csr_rows(tidy), tables), expected, rtol=1e-5, atol=1e-5)
    tidy.eliminate_zeros()
    np.testing.assert_allclose(score(as_csr_rows(tidy), tables), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("where", ["factors", "linear", "intercept", "target"])
@pytest.mark.parametrize("n_factors", [4, 16])
def test_nan_shows_in_the_tally(n_factors, where):
    """The divergence guard reads the tally: clipping and fast arithmetic must not hide what is not finite."""
    rows, _, targets, order, tables = case(14, n_factors, "squared")
    if where == "target":
        targets.y[:] = np.nan
    else:
        getattr(tables, where)[...] = np.nan
    tally = fit(rows, targets, order, tables, settings_of("squared", "adagrad", max_gradient=1.0), n_factors)
    assert np.isnan(tally[0])
    assert np.isnan(tables.intercept[0])
    assert np.isnan(score(rows, tables)).all()


@pytest.mark.skipif(INTERPRETED, reason="there is no parallel work in interpreted loops")
@pytest.mark.parametrize("rule", RULES)
def test_threads_may_fit_the_same_tables(rule):
    rows, _, targets, _, tables = case(15, 16, rule=rule, n_rows=400)
    chosen = settings_of("logistic", rule)
    first = fit(rows, targets, np.arange(400, dtype=np.int32), tables, chosen, 16)
    tallies = np.zeros((8, 2))
    barrier = threading.Barrier(8)

    def work(thread):
        order = np.random.default_rng(thread).permutation(400).astype(np.int32)
        barrier.wait(timeout=60)
        for _ in range(20):
            fit(rows, targets, order, tables, chosen, 16, tally=tallies[thread])

    threads = [threading.Thread(target=work, args=(thread,)) for thread in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    assert (tallies[:, 1] == 20 * 400).all()
    assert is_finite(tables)
    assert tallies[:, 0].sum() / tallies[:, 1].sum() < first[0] / first[1]


def test_kernels_have_one_step_for_every_rule():
    """A rule that is added to the table is covered by the tests above on the day it is added."""
    assert [rule.id for rule in RULES.values()] == list(range(len(RULES)))
    assert step_of(Settings("squared", "ftrl"), 4).rule == RULES["ftrl"].marker == (0,) * RULES["ftrl"].id
