"""Threads that share a scorer: the same answers as alone, also while the model is replaced."""

from __future__ import annotations

import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from encoder_tools import many_clicks
from scorer_tools import (
    DEEP,
    EACH_BACKEND,
    FM,
    SMALL,
    UNPOOLED,
    path_of,
    random_matrix,
    records_of,
    row_of,
    scorer_of,
    sizes,
    table_models,
)

from fastfm_deep import DeepFMClassifier, Scorer

N_THREADS = 16
SECONDS = sizes(2.0, 0.5)


def in_threads(n_threads, work):
    """Results of `work(thread)`, all begun at the same moment; what one raises is raised."""
    start = threading.Barrier(n_threads)

    def begin(thread):
        start.wait(30)
        return work(thread)

    with ThreadPoolExecutor(n_threads) as pool:
        return [future.result() for future in [pool.submit(begin, thread) for thread in range(n_threads)]]


@EACH_BACKEND
@pytest.mark.parametrize("spec", [FM, DEEP, UNPOOLED, SMALL], ids=str)
def test_rows_and_blocks_of_many_threads(spec, backend):
    scorer = scorer_of(spec, backend)
    blocks = [random_matrix(sizes(256, 16), seed) for seed in range(4)]
    blocks[1] = blocks[1].astype(np.float64)
    expected = [scorer.score(X, n_jobs=1) for X in blocks]
    rows = [row_of(blocks[0], row) for row in range(sizes(60, 8))]
    alone = [scorer.score_row(*row) for row in rows]
    prepared = scorer.prepare(blocks[0])
    ranked = scorer.rank({0: 1.0}, prepared, 5, raw=True)

    def work(thread):
        for time_ in range(sizes(4, 1)):
            which = (thread + time_) % 4
            assert [scorer.score_row(*row) for row in rows] == alone
            np.testing.assert_array_equal(scorer.score(blocks[which], n_jobs=1 + thread % 2), expected[which])
            out = np.empty(len(expected[which]))
            scorer.score_into(blocks[which], out)
            np.testing.assert_array_equal(out, expected[which])
            found = scorer.rank({0: 1.0}, prepared, 5, raw=True)
            np.testing.assert_array_equal(found.ids, ranked.ids)
            np.testing.assert_array_equal(found.scores, ranked.scores)
        return True

    assert in_threads(N_THREADS, work) == [True] * N_THREADS


@EACH_BACKEND
def test_tables_and_dicts_of_many_threads(backend):
    scorer = table_models(DeepFMClassifier)[1][backend]
    table, _ = many_clicks(sizes(100, 10), random_state=3)
    expected, rows = scorer.score(table), records_of(table)
    alone = [scorer.score_dict(row) for row in rows]

    def work(thread):
        for _ in range(sizes(3, 1)):
            np.testing.assert_array_equal(scorer.score(table), expected)
            assert [scorer.score_dict(row) for row in rows] == alone
        return True

    assert in_threads(N_THREADS, work) == [True] * N_THREADS


def test_threads_that_are_the_first_to_bring_a_type_along():
    """Code for int64 is compiled when it is first needed: nobody takes that for int32 meanwhile."""
    X = random_matrix(20)
    wide = X.copy()
    wide.indices, wide.indptr = X.indices.astype(np.int64), X.indptr.astype(np.int64)
    scorer = Scorer.load(path_of(FM)).warm_up()
    expected = scorer.score(X)

    def work(thread):
        time.sleep(0.02 * thread)
        return scorer.score(wide)

    for found in in_threads(4, work):
        np.testing.assert_array_equal(found, expected)


@EACH_BACKEND
@pytest.mark.parametrize("spec", [FM, UNPOOLED], ids=str)
def test_every_score_is_of_one_model_while_models_take_turns(spec, backend, tmp_path):
    X, row = random_matrix(sizes(64, 8)), ([1, 4, 8], [1.0, -0.5, 2.0])
    both = [scorer_of(spec, backend, seed) for seed in (0, 1)]
    expected = [(scorer.score_row(*row), scorer.score(X)) for scorer in both]
    assert not np.isclose(expected[0][1], expected[1][1]).any()
    assert expected[0][0] != expected[1][0]
    paths = [tmp_path / "a", tmp_path / "b"]
    for seed, path in enumerate(paths):
        shutil.copy(path_of(spec, seed), path)
    scorer = Scorer.load(paths[0], backend=backend).warm_up()
    is_over = threading.Event()

    def ask(thread):
        seen = set()
        while not is_over.is_set():
            found = scorer.score_row(*row)
            seen.add([one for one, _ in expected].index(found))
            found = scorer.score(X)
            same = [np.array_equal(found, block) for _, block in expected]
            assert same.count(True) == 1
            seen.add(same.index(True))
        return seen

    with ThreadPoolExecutor(8) as pool:
        asking = [pool.submit(ask, thread) for thread in range(8)]
        try:
            until, n_reloads = time.monotonic() + SECONDS, 0
            while n_reloads < sizes(100, 4) and time.monotonic() < until + 20:
                scorer.reload(paths[(n_reloads + 1) % 2])
                n_reloads += 1
                time.sleep(sizes(0.005, 0.2))  # for the others to ask meanwhile
        finally:
            is_over.set()
        seen = [future.result() for future in asking]
    assert n_reloads == sizes(100, 4)
    assert set.union(*seen) == {0, 1}
