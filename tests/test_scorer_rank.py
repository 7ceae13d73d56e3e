"""Rankings of a scorer: the order and the scores that whole rows have."""

from __future__ import annotations

import functools
import re

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from recommend_tools import COLUMNS, fitted, picked, users_and_items, whole_rows
from scorer_tools import (
    BACKENDS,
    COMPILED_SPECS,
    DEEP,
    EACH_BACKEND,
    FM,
    NARROW,
    OVERFLOWS,
    SMALL,
    UNPOOLED,
    WHOLE,
    WIDTH,
    Spec,
    assert_raw,
    random_matrix,
    scorer_of,
    sizes,
)

from fastfm_deep import DeepFMClassifier, FMClassifier, FMRegressor, InputError, Scorer, load_model
from fastfm_deep.scorer import Ranked

USERS, ITEMS = users_and_items()
N_ITEMS = 60
pytestmark = OVERFLOWS
EACH = pytest.mark.parametrize("spec", [FM, NARROW, DEEP, UNPOOLED, WHOLE, SMALL], ids=str)


@pytest.fixture(scope="module")
def table_file(tmp_path_factory):
    @functools.cache
    def path_of(kind):
        path = tmp_path_factory.mktemp("models") / "model"
        fitted(kind, USERS, ITEMS, n_factors=5).save(path)
        return path

    return path_of


def assert_ranked(found, scores, n, ids=None):
    """The best of some scores, the best first and of equal ones the first; near ones may change places."""
    assert type(found) is Ranked
    assert (found.ids.dtype, found.scores.dtype) == (np.int64, np.float64)
    n = min(n, len(scores))
    assert found.ids.shape == found.scores.shape == (n,)
    assert len(set(found.ids.tolist())) == n
    assert_raw(found.scores, scores[found.ids])
    assert (np.diff(found.scores) <= 0).all()
    assert_raw(found.scores, np.sort(scores)[::-1][:n])
    same = np.flatnonzero(np.diff(found.scores) == 0)
    assert (found.ids[same] < found.ids[same + 1]).all()


@EACH_BACKEND
@pytest.mark.parametrize("kind", [FMClassifier, FMRegressor, DeepFMClassifier])
def test_items_of_a_table(kind, backend, table_file):
    path = table_file(kind)
    scorer, model = Scorer.load(path, backend=backend), load_model(path)
    prepared = scorer.prepare(ITEMS)
    assert len(prepared) == N_ITEMS
    for user in range(4):
        one = {name: values[user] for name, values in USERS.items()}
        whole = whole_rows(USERS, ITEMS, user)
        raw = scorer.score(whole, raw=True)
        assert_raw(raw, model.decision_function(whole) if hasattr(model, "classes_") else model.predict(whole))
        for n in (1, 10, 60, 1000):
            for candidates in (ITEMS, prepared):
                assert_ranked(scorer.rank(one, candidates, n, raw=True), raw, n)
                assert_ranked(scorer.rank(picked(USERS, [user]), candidates, n), scorer.score(whole), n)
        records = [{name: ITEMS[name][row] for name in ITEMS} for row in range(N_ITEMS)]
        ids, scores = scorer.rank(one, records, 3, n_jobs=2)
        assert ids.tolist() == scorer.rank(one, prepared, 3).ids.tolist()
        assert_raw(scores, scorer.score(whole)[ids])
    # The other way round: users for an item.
    item = {name: values[7] for name, values in ITEMS.items()}
    whole = {name: [value] * 12 for name, value in item.items()} | USERS
    assert_ranked(scorer.rank(item, USERS, 5), scorer.score(whole), 5)


@EACH_BACKEND
@EACH
@pytest.mark.parametrize("is_apart", [True, False])
def test_entries_of_a_matrix(spec, is_apart, backend):
    """Apart, context and candidates share no column, but fields; otherwise what both have is added up."""
    scorer = scorer_of(spec, backend)
    dense, context = random_matrix(sizes(300, 20), seed=7).toarray(), random_matrix(2, seed=8).toarray()[1:]
    if is_apart:
        dense[:, ::2], context[:, 1::2] = 0.0, 0.0
    whole = dense + context
    raw, answers = scorer.score(whole, raw=True), scorer.score(whole)
    entries = {int(at): float(context[0, at]) for at in np.flatnonzero(context)}
    candidates = sp.csr_array(dense)
    prepared = scorer.prepare(candidates)
    for n in (1, 10, 1000):
        for of_context in (entries, sp.csr_array(context), context):
            assert_ranked(scorer.rank(of_context, candidates, n, raw=True), raw, n)
            assert_ranked(scorer.rank(of_context, prepared, n), answers, n)
    assert_ranked(scorer.rank({}, prepared, 5), scorer.score(candidates), 5)
    records = [{int(at): float(row[at]) for at in np.flatnonzero(row)} for row in dense]
    assert_ranked(scorer.rank(entries, records, 5), answers, 5)


@given(
    spec=st.sampled_from([spec for spec in COMPILED_SPECS if spec.n_factors != 64]),
    seed=st.integers(0, 10_000),
    of_context=st.lists(st.booleans(), min_size=WIDTH, max_size=WIDTH),
    n=st.integers(1, 25),
)
@settings(max_examples=sizes(120, 10), deadline=None)
def test_parts_of_any_columns(spec, seed, of_context, n):
    dense, context = random_matrix(20, seed).toarray(), random_matrix(2, seed + 1).toarray()[1:]
    dense[:, np.array(of_context)], context[:, ~np.array(of_context)] = 0.0, 0.0
    for backend in BACKENDS:
        scorer = scorer_of(spec, backend)
        found = scorer.rank(sp.csr_array(context), sp.csr_array(dense), n, raw=True)
        assert_ranked(found, scorer.score(dense + context, raw=True), n)


@EACH_BACKEND
@EACH
def test_ties_go_to_the_first(spec, backend):
    scorer = scorer_of(spec, backend)
    rows = random_matrix(8, seed=9).toarray()[4:]
    rows[:, :6] = 0.0
    candidates = sp.csr_array(np.tile(rows, (sizes(50, 5), 1)))
    ids, found = scorer.rank({1: 0.5}, candidates, sizes(50, 5), raw=True)
    again = scorer.score(rows + np.eye(1, WIDTH, 1) * 0.5, raw=True)
    best = int(np.argmax(again))
    expected = np.arange(best, candidates.shape[0], 4)
    if spec.is_deep:  # a network answers to four rows at once and to the last by themselves: nearly the same
        ids = np.sort(ids)
    assert ids.tolist() == expected.tolist()
    assert_raw(found, np.full(len(found), again.max()))


@EACH_BACKEND
def test_pooled_fields_on_both_sides(backend):
    """A mean is of all that the whole row has, and a maximum of both sides': neither is known of one alone."""
    for pooling in ("mixed", "max"):
        spec = Spec(DeepFMClassifier, 8, pooling) if pooling == "max" else DEEP
        scorer = scorer_of(spec, backend)
        dense, context = np.zeros((30, WIDTH)), np.zeros((1, WIDTH))
        rng = np.random.default_rng(0)
        dense[:, [1, 4, 7]], context[:, [0, 3, 6]] = rng.normal(size=(30, 3)), rng.normal(size=3)
        raw = scorer.score(dense + context, raw=True)
        found = scorer.rank(sp.csr_array(context), sp.csr_array(dense), 30, raw=True)
        assert_ranked(found, raw, 30)
        if pooling == "mixed":
            assert np.abs(raw - scorer.score(dense, raw=True)).max() > 0.01


@EACH_BACKEND
@pytest.mark.parametrize("spec", [FM, UNPOOLED, WHOLE], ids=str)
def test_values_too_large_for_float32_are_exact(spec, backend):
    scorer = scorer_of(spec, backend)
    dense = np.zeros((4, WIDTH))
    dense[:, 1] = [1e26, 5e25, -3e25, 2e25]  # their squares are beyond it
    context = np.zeros((1, WIDTH))
    context[0, 8] = 1e25
    raw = scorer.score(dense + context, raw=True)
    ids, scores = scorer.rank(context, dense, 4, raw=True)
    np.testing.assert_allclose(scores, np.sort(raw)[::-1], rtol=1e-5)
    np.testing.assert_allclose(raw[ids], scores, rtol=1e-5)


@EACH_BACKEND
def test_rankings_that_cannot_be(backend, table_file):
    scorer = Scorer.load(table_file(FMClassifier), backend=backend)
    one = {name: values[0] for name, values in USERS.items()}
    encoded = sp.csr_array((1, scorer.n_features), dtype=np.float32)
    for context, candidates, n, message in (
        (one, ITEMS, 0, "n=0 must be at least 1"),
        (one, ITEMS, 2.5, "n=2.5"),
        (one, ITEMS | {"user": [1] * N_ITEMS}, 3, "'user'"),
        ({"user": "u0", "age": 3.0}, ITEMS, 3, "'likes'"),
        (USERS, ITEMS, 3, "context has 12 rows, but must be one"),
        (one, encoded, 3, "context is a table and candidates are a matrix, but must be both of one kind"),
        (encoded, ITEMS, 3, "context is a matrix and candidates are a table, but must be both of one kind"),
        (None, ITEMS, 3, "context is a NoneType, but must be a table"),
        (one, None, 3, "candidates is a NoneType, but must be a table"),
    ):
        with pytest.raises(InputError, match=re.escape(message)):
            scorer.rank(context, candidates, n)
    matrix = scorer_of(FM, backend)
    rows = random_matrix(3)
    for context, candidates, message in (
        ({99: 1.0}, rows, "indices[0]=99 must lie in 0 .. 11"),
        (rows, rows, "context has 3 rows, but must be one"),
        (rows[:0], rows, "context has 0 rows, but must be one"),
        ({1: 1.0}, np.ones((2, 5)), "5"),
        ({1: 3e38}, [{1: 3e38}], "column 1) is beyond the range of float32"),
    ):
        with pytest.raises(InputError, match=re.escape(message)):
            matrix.rank(context, candidates)
    with pytest.raises(
        InputError, match=re.escape("candidates were prepared for another model, or before reload()")
    ):
        matrix.rank({1: 1.0}, scorer.prepare(ITEMS))


@EACH_BACKEND
def test_of_no_candidates_none_is_the_best(backend, table_file):
    scorer = Scorer.load(table_file(FMClassifier), backend=backend)
    one = {name: values[0] for name, values in USERS.items()}
    for candidates in ([], {name: [] for name in ITEMS}, scorer.prepare([])):
        ids, scores = scorer.rank(one, candidates, 3)
        assert ids.shape == scores.shape == (0,)
    ids, scores = scorer_of(FM, backend).rank({1: 1.0}, random_matrix(3)[:0])
    assert ids.shape == scores.shape == (0,)


def test_the_columns_are_all_used():
    """What the tests of tables lean on: users and items have all columns between them."""
    assert {column.name for column in COLUMNS} == {*USERS, *ITEMS}
