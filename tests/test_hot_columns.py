"""Private copies of hot columns: which columns, how often they are exchanged, and that nothing else changes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from reference import Settings
from table_tools import LANES_RUN, copy_of, fit, random_model, random_targets, tables_of

from fastfm_deep.data.rows import as_csr_rows
from fastfm_deep.datasets import make_ctr
from fastfm_deep.kernels.hot_columns import N_SLOTS, HotColumns, find_hot_columns, plan_exchanges


def test_the_most_frequent_columns_are_hot_first():
    indices = np.repeat([7, 3, 9, 5], [10, 40, 2, 1])
    columns, shares = find_hot_columns(indices, n_rows=50, row_bytes=128)
    assert columns.tolist() == [3, 7, 9]  # once is no sign of anything
    np.testing.assert_allclose(shares, [0.8, 0.2, 0.04])


def test_of_columns_that_share_a_slot_the_hotter_one_gets_it():
    indices = np.repeat([5, 5 + N_SLOTS, 6], [10, 20, 5])
    assert find_hot_columns(indices, 40, 128)[0].tolist() == [5 + N_SLOTS, 6]


def test_long_rows_of_factors_leave_room_for_fewer_columns():
    indices = np.repeat(np.arange(2000), 2)
    assert len(find_hot_columns(indices, 100, 128)[0]) == 1024
    assert len(find_hot_columns(indices, 100, 4096)[0]) == 64


def plan(rows_seen, learning_rate=0.05, n_threads=2):
    columns, shares = np.int32([1, 2, 3]), np.array([0.9, 0.1, 0.01])
    return plan_exchanges(columns, shares, rows_seen, learning_rate, n_threads)


def test_columns_are_shared_until_they_move_slowly():
    assert plan(0) is None
    assert plan(100) is None
    assert plan(1500).columns.tolist() == [1, 2]
    assert plan(1_000_000).columns.tolist() == [1, 2, 3]
    assert plan(1500, learning_rate=0.5) is None
    assert plan(1500, n_threads=20) is None


def test_hotter_columns_are_exchanged_more_often():
    hot = plan(1_000_000)
    assert hot.periods.tolist() == [1, 8, 64]
    assert (hot.tags >= 0).sum() == 3
    assert hot.tags[2] == 2


@pytest.mark.skipif(not LANES_RUN, reason="the plain loops know no copies")
@pytest.mark.parametrize("n_factors", [0, 3, 16, 40])
@pytest.mark.parametrize("rule", ["adagrad", "adagrad_rowwise"])
def test_one_thread_with_copies_does_what_one_without_does(rule, n_factors):
    X, _, _ = make_ctr(700, n_fields=6, n_features=60, random_state=1)
    rng = np.random.default_rng(n_factors)
    rows, settings = as_csr_rows(X), Settings("logistic", rule, 0.1, l2_factors=1e-3, l2_linear=1e-3)
    targets = random_targets(rng, 700, "logistic")
    tables = tables_of(random_model(rng, 60, n_factors), rule)
    private = copy_of(tables)
    hot_columns = np.arange(0, 60, 2, dtype=np.int32)
    tags = np.full(N_SLOTS, -1, np.int32)
    tags[hot_columns] = hot_columns
    periods = np.sort(2 ** (np.arange(30) % 4)).astype(np.int32)
    order = rng.permutation(700).astype(np.int32)
    tally = fit(rows, targets, order, tables, settings, n_factors)
    got = fit(rows, targets, order, private, settings, n_factors, hot=HotColumns(tags, hot_columns, periods))
    np.testing.assert_allclose(got, tally, rtol=1e-5)
    np.testing.assert_allclose(private.linear, tables.linear, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(private.factors, tables.factors, rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(not LANES_RUN, reason="the plain loops know no copies")
def test_the_changes_of_all_threads_add_up():
    """With gradients clipped to one size, the sum of squares of a column counts its updates."""
    clip, n_rows = 0.25, 40_000
    X, _, _ = make_ctr(n_rows, n_fields=4, n_features=40, random_state=2)
    rows, settings = as_csr_rows(X), Settings("squared", "adagrad", 1e-3, max_gradient=clip)
    targets = random_targets(np.random.default_rng(0), n_rows, "squared")
    targets.y[:] = 100.0
    tables = tables_of(random_model(np.random.default_rng(0), 40, 8), "adagrad")
    columns = np.arange(40, dtype=np.int32)
    tags = np.full(N_SLOTS, -1, np.int32)
    tags[columns] = columns
    hot = HotColumns(tags, columns, np.full(40, 2, np.int32))
    order = np.arange(n_rows, dtype=np.int32)
    halves = [(0, n_rows // 2), (n_rows // 2, n_rows)]
    with ThreadPoolExecutor(2) as pool:
        work = [pool.submit(fit, rows, targets, order, tables, settings, 8, span=half, hot=hot) for half in halves]
        assert sum(done.result()[1] for done in work) == n_rows
    expected = 1 + X.sum(axis=0) * clip**2
    # Two exchanges at the same instant can lose one; never is anything counted twice.
    assert (tables.linear[:, 1] <= 1.001 * expected).all()
    assert tables.linear[:, 1].sum() > 0.95 * expected.sum()
