"""Rows of matrices: what a scorer answers to one and to many."""

from __future__ import annotations

import re
import tracemalloc

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from row_tools import FORMATS
from scorer_tools import (
    BACKENDS,
    COMPILED_SPECS,
    DEEP,
    EACH_BACKEND,
    FM,
    NARROW,
    OVERFLOWS,
    PLAIN_SPECS,
    SMALL,
    UNPOOLED,
    WHOLE,
    WIDTH,
    Spec,
    assert_answers,
    assert_raw,
    estimator_of,
    expected_answers,
    expected_raw,
    random_matrix,
    row_of,
    scorer_of,
    sizes,
)
from strategies import csr_rows

from fastfm_deep import FMRegressor, InputError, Scorer, load_model

ALL_SPECS = COMPILED_SPECS + PLAIN_SPECS
pytestmark = OVERFLOWS
EACH = pytest.mark.parametrize("spec", [FM, NARROW, DEEP, UNPOOLED, WHOLE, SMALL], ids=str)


def backends_of(spec):
    return BACKENDS if spec in COMPILED_SPECS else ("numpy",)


def with_int32(X):
    """The same matrix: code for ids of int64 is compiled for one kind of model alone, in `EACH_INDEX_TYPE`."""
    X.indices, X.indptr = X.indices.astype(np.int32), X.indptr.astype(np.int32)
    return X


@given(spec=st.sampled_from(ALL_SPECS), X=csr_rows(n_features=WIDTH, min_rows=1))
@settings(max_examples=sizes(250, 25), deadline=None)
def test_answers_are_those_of_the_saved_estimator(spec, X):
    if spec.n_factors not in (1, 4) or spec.is_deep:
        X = with_int32(X)
    model = estimator_of(spec)
    kept = X.copy()
    raw, answers = expected_raw(model, kept.copy()), expected_answers(model, kept.copy())
    for backend in backends_of(spec):
        scorer = scorer_of(spec, backend)
        assert_raw(scorer.score(X, raw=True), raw)
        assert_answers(scorer.score(X), answers, spec.is_classifier)
        for row in range(X.shape[0] if X.dtype != np.bool_ else 0):  # sums of these are not numbers
            ids, values = row_of(X, row)
            one = scorer.score_row(ids, values, raw=True)
            assert type(one) is float
            assert_raw([one], raw[row : row + 1])
            assert_answers(
                [scorer.score_row(ids.tolist(), values.tolist())], answers[row : row + 1], spec.is_classifier
            )
    for name in ("data", "indices", "indptr"):
        np.testing.assert_array_equal(getattr(X, name), getattr(kept, name))


@pytest.mark.parametrize("spec", ALL_SPECS, ids=str)
def test_each_model_answers_many_rows(spec):
    X, model = random_matrix(sizes(700, 30), seed=1), estimator_of(spec)
    raw, answers = expected_raw(model, X), expected_answers(model, X)
    assert len(np.unique(raw)) > sizes(600, 25)
    for backend in backends_of(spec):
        scorer = scorer_of(spec, backend)
        for n_jobs in (None, 1, 2, -1):
            assert_raw(scorer.score(X, raw=True, n_jobs=n_jobs), raw)
            assert_answers(scorer.score(X, n_jobs=n_jobs), answers, spec.is_classifier)


def test_clipping_and_downsampling_are_seen():
    """What the tests above lean on: some of the answers are clipped, and shares of negatives shift them."""
    clipped = Spec(FMRegressor, 16, options=(("clip", True),))
    X = random_matrix(200, seed=3)
    X.data *= 5
    scorer = scorer_of(clipped, "numpy")
    low, high = estimator_of(clipped).target_range_
    raw, answers = scorer.score(X, raw=True), scorer.score(X)
    assert raw.min() < low
    assert raw.max() > high
    assert answers.min() == low
    assert answers.max() == high
    shifted = next(spec for spec in COMPILED_SPECS if dict(spec.options).get("negative_downsampling") == 0.3)
    model = estimator_of(shifted)
    scorer = scorer_of(shifted, "numpy")
    model_raw = load_model(scorer.path).set_params(negative_downsampling=1.0).decision_function(X)
    assert_raw(scorer.score(X, raw=True), model_raw + np.log(0.3))
    assert_raw(scorer.score(X, raw=True), model.decision_function(X))


# -------------------------------------------------------------------------------------------- kinds of matrices


@EACH_BACKEND
@EACH
def test_matrices_of_every_kind(spec, backend):
    X, scorer = random_matrix(30, seed=2), scorer_of(spec, backend)
    expected = expected_answers(estimator_of(spec), X)
    dense = X.toarray()
    strided = np.zeros((30, 2 * WIDTH), np.float32)
    strided[:, ::2] = dense
    kinds = [X.asformat(name) for name in FORMATS] + [sp.csr_matrix(X), sp.coo_matrix(X), sp.csc_array(X)]
    kinds += [dense, dense.astype(np.float64), np.asfortranarray(dense), strided[:, ::2], dense[::-1][::-1]]
    kinds += [dense.tolist(), pd.DataFrame(dense), X.astype(np.float64), sp.csr_array(X[:, :])]
    for kind in kinds:
        assert_answers(scorer.score(kind), expected, spec.is_classifier)
        out = np.full(30, np.nan)
        scorer.score_into(kind, out)
        assert_answers(out, expected, spec.is_classifier)
    whole = sp.csr_array(np.round(X.toarray() * 2).astype(np.int64))
    expected = expected_answers(estimator_of(spec), whole)
    for dtype in (np.int8, np.int64, np.float64):
        assert_answers(scorer.score(whole.astype(dtype)), expected, spec.is_classifier)


@EACH_BACKEND
@pytest.mark.parametrize("spec", [FM, DEEP], ids=str)
def test_csr_whose_arrays_are_odd(spec, backend):
    """Not aligned, not contiguous, read-only, longer than need be, or shared with the pointers of another."""
    X, scorer = random_matrix(20, seed=4), scorer_of(spec, backend)
    expected = scorer.score(X)
    n = X.nnz

    def unaligned(array):
        room = np.zeros(array.nbytes + 1, np.uint8)
        found = room[1:].view(array.dtype)
        found[:] = array
        assert not found.flags.aligned
        return found

    def strided(array):
        found = np.zeros(2 * len(array), array.dtype)
        found[::2] = array
        return found[::2]

    def read_only(array):
        found = array.copy()
        found.flags.writeable = False
        return found

    def longer(array):
        return np.concatenate([array, np.array([99, 99], array.dtype)])

    for change in (unaligned, strided, read_only):
        for names in (("data",), ("indices",), ("data", "indices", "indptr")):
            odd = X.copy()
            for name in names:
                setattr(odd, name, change(getattr(X, name)))
            np.testing.assert_allclose(scorer.score(odd), expected, rtol=1e-6)
    odd = X.copy()
    odd.data, odd.indices = longer(X.data), longer(X.indices)
    np.testing.assert_allclose(scorer.score(odd), expected, rtol=1e-6)
    swapped = X.copy()
    swapped.data = X.data.astype(X.data.dtype.newbyteorder())
    np.testing.assert_allclose(scorer.score(swapped), expected, rtol=1e-6)
    assert n == X.nnz


@EACH_BACKEND
@pytest.mark.parametrize("spec", ALL_SPECS[:6], ids=str)
def test_no_rows_have_no_scores(spec, backend):
    scorer = scorer_of(spec, backend)
    for X in (sp.csr_array((0, WIDTH), dtype=np.float32), np.empty((0, WIDTH)), [], sp.coo_array((0, WIDTH))):
        found = scorer.score(X)
        assert (found.shape, found.dtype) == ((0,), np.float64)
        scorer.score_into(X, np.empty(0))


@EACH_BACKEND
def test_rows_that_are_empty_have_the_score_of_nothing(backend):
    for spec in (FM, DEEP, WHOLE):
        scorer = scorer_of(spec, backend)
        expected = expected_answers(estimator_of(spec), sp.csr_array((2, WIDTH), dtype=np.float32))
        assert_answers(scorer.score(sp.csr_array((2, WIDTH), dtype=np.float32)), expected, spec.is_classifier)
        for ids, values in (
            ([], None),
            ([], []),
            (np.empty(0, np.int32), None),
            (np.empty(0, np.int64), np.empty(0)),
        ):
            assert_answers([scorer.score_row(ids, values)], expected[:1], spec.is_classifier)
        assert_answers([scorer.score_dict({})], expected[:1], spec.is_classifier)


# -------------------------------------------------------------------------------------------------- single rows


@EACH_BACKEND
@EACH
def test_a_row_as_arrays_and_lists_of_all_types(spec, backend):
    scorer = scorer_of(spec, backend)
    ids, values = [7, 2, 0, 11], [0.5, -1.25, 3.0, 2.0]
    X = sp.csr_array((values, np.array(ids, np.int32), np.array([0, 4], np.int32)), shape=(1, WIDTH))
    (expected,) = expected_answers(estimator_of(spec), X)
    index_types = [np.int32, np.uint8, np.int16, np.uint64] + [np.int64] * (spec == NARROW)
    found = [scorer.score_row(ids, values), scorer.score_row(tuple(ids), tuple(values))]
    for dtype in index_types:
        for value_type in (np.float32, np.float64, np.float16):
            found += [scorer.score_row(np.array(ids, dtype), np.array(values, value_type))]
    strided = np.repeat(np.array(ids, np.int32), 2)[::2]
    found += [scorer.score_row(strided, values), scorer.score_row(ids, np.repeat(values, 3)[::3])]
    found.append(scorer.score_row(ids, np.array(values, ">f4")))
    found += [scorer.score_dict(dict(zip(ids, values, strict=True)))]
    found += scorer.score([dict(zip(ids, values, strict=True))]).tolist()
    assert_answers(found, np.full(len(found), expected), spec.is_classifier)
    order = [2, 0, 3, 1]
    again = scorer.score_row([ids[at] for at in order], [values[at] for at in order])
    assert_answers([again], [expected], spec.is_classifier)
    whole = [scorer.score_row(ids, given) for given in (None, [1, 1, 1, 1], np.ones(4, np.int8), [True] * 4)]
    X.data[:] = 1.0
    assert_answers(whole, np.repeat(expected_answers(estimator_of(spec), X), 4), spec.is_classifier)


@EACH_BACKEND
@EACH
def test_features_that_are_named_twice_are_added_up(spec, backend):
    scorer = scorer_of(spec, backend)
    ids, values = [3, 8, 3, 0, 8, 3], [1.0, 0.5, 2.0, -1.0, 0.25, -0.5]
    expected = scorer.score_row([0, 3, 8], [-1.0, 2.5, 0.75])
    for found in (
        scorer.score_row(ids, values),
        scorer.score_row(np.array(ids, np.int32), np.array(values, np.float32)),
        scorer.score_row(np.array(ids, np.int32), np.array(values)),
    ):
        assert found == pytest.approx(expected, rel=1e-6)
    twice = scorer.score_row(np.array([5, 5], np.int32))
    assert twice == pytest.approx(scorer.score_row([5], [2.0]), rel=1e-6)
    zero = scorer.score_row(np.array([3, 8, 0], np.int32), np.array([0.0, 1.0, 0.0], np.float32), raw=True)
    assert zero == pytest.approx(scorer.score_row([8], [1.0], raw=True), rel=1e-5)


@EACH_BACKEND
def test_long_rows(backend, tmp_path):
    """More features than are compared with each other, and than there are ones at hand."""
    n = 5000
    rng = np.random.default_rng(0)
    model = FMRegressor(4, n_epochs=1, random_state=0).fit(rng.random((20, n)), rng.random(20))
    model.save(tmp_path / "m")
    scorer = Scorer.load(tmp_path / "m", backend=backend)
    for length in (511, 512, 513, 4096, 4097, n):
        ids = rng.permutation(n)[:length].astype(np.int32)
        values = rng.random(length).astype(np.float32)
        row = sp.csr_array((values, ids, [0, length]), shape=(1, n))
        (expected,) = model.predict(row)
        assert scorer.score_row(ids, values) == pytest.approx(expected, rel=1e-5)
        assert scorer.score_row(np.sort(ids)) == pytest.approx(model.predict(row != 0)[0], rel=1e-5)
        assert scorer.score_row(ids) == pytest.approx(model.predict(row != 0)[0], rel=1e-5)
        ids[-1], values[-2:] = ids[-2], 0.5
        expected = scorer.score_row(ids[:-1], np.append(values[:-2], np.float32(1.0)))
        assert scorer.score_row(ids, values) == pytest.approx(expected, rel=1e-5)


@EACH_BACKEND
def test_dicts_by_number_and_name(backend, tmp_path):
    X = pd.DataFrame(random_matrix(30, seed=5).toarray(), columns=[f"c{at}" for at in range(WIDTH)])
    model = FMRegressor(5, n_epochs=2, init_std=0.3, random_state=0).fit(X, X.sum(axis=1) + 1.0)
    model.save(tmp_path / "m")
    scorer = Scorer.load(tmp_path / "m", backend=backend)
    assert_raw(scorer.score(X), model.predict(X))
    records = X.to_dict("records")
    assert_raw(scorer.score(records), model.predict(X))
    assert_raw([scorer.score_dict(row) for row in records], model.predict(X))
    assert scorer.score_dict({"c3": 2.0, np.int64(5): 1}) == pytest.approx(scorer.score_row([3, 5], [2.0, 1.0]))
    assert scorer.score_dict({3: 2.0, "c3": 1.0}) == pytest.approx(scorer.score_row([3], [3.0]))
    with pytest.raises(InputError, match=re.escape("row has the key 'c99', which is none of the 12 features")):
        scorer.score_dict({"c99": 1.0})
    with pytest.raises(InputError, match="Column 0 of X is 'c11', but the model was fitted to 'c0' there"):
        scorer.score(X[X.columns[::-1]])


# --------------------------------------------------------------------------------------------------- score_into


@EACH_BACKEND
@EACH
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_scores_are_written_into_an_array(spec, dtype, backend):
    X, scorer = random_matrix(50, seed=6), scorer_of(spec, backend)
    for values in (np.float32, np.float64):
        for raw in (False, True):
            out = np.full(50, np.nan, dtype)
            assert scorer.score_into(X.astype(values), out, raw=raw) is None
            np.testing.assert_allclose(out, scorer.score(X, raw=raw).astype(dtype), rtol=1e-7)
    strided = np.full(100, -7.0, dtype)
    scorer.score_into(X, strided[::2])
    np.testing.assert_allclose(strided[::2], scorer.score(X).astype(dtype), rtol=1e-7)
    assert (strided[1::2] == -7.0).all()
    room = np.zeros(50 * np.dtype(dtype).itemsize + 1, np.uint8)[1:].view(dtype)
    scorer.score_into(X, room)
    np.testing.assert_allclose(room, scorer.score(X).astype(dtype), rtol=1e-7)


@pytest.mark.parametrize("spec", [FM, UNPOOLED], ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nothing_as_long_as_the_matrix_is_allocated(spec, dtype):
    """For float64 one slice at a time is made smaller, not all of it."""
    n_rows = sizes(60_000, 0)
    if not n_rows:
        pytest.skip("nothing is compiled")
    scorer = scorer_of(spec, "numba")
    X = sp.csr_array(
        (
            np.ones(8 * n_rows, dtype),
            np.tile(np.arange(8, dtype=np.int32), n_rows),
            8 * np.arange(n_rows + 1, dtype=np.int32),
        ),
        shape=(n_rows, WIDTH),
    )
    out = np.empty(n_rows)
    scorer.score_into(X, out, n_jobs=1)
    tracemalloc.start()
    scorer.score_into(X, out, n_jobs=1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < (20_000 if dtype == np.float32 else X.data.nbytes + 400_000)
    np.testing.assert_array_equal(out, np.full(n_rows, out[0]))


# ------------------------------------------------------------------------------------ beyond float32 arithmetic


@EACH_BACKEND
@pytest.mark.parametrize("spec", [*ALL_SPECS[:7], *PLAIN_SPECS[:2]], ids=str)
def test_values_too_large_for_float32_are_exact(spec, backend):
    if backend not in backends_of(spec):
        pytest.skip("not compiled")
    scorer, model = scorer_of(spec, backend), estimator_of(spec)
    rows = [[3e38, -3e38, 1.0], [1e30, 1e30, 1e30], [1.0, 2.0, 3.0], [-3e38, 2e38, 0.0], [1e20, 1e19, -1e20]]
    values = np.array(rows, np.float32)
    X = sp.csr_array(
        (values.ravel(), np.tile([1, 4, 8], 5).astype(np.int32), 3 * np.arange(6, dtype=np.int32)),
        shape=(5, WIDTH),
    )
    raw, answers = expected_raw(model, X), expected_answers(model, X)
    assert np.isfinite(raw).all()
    for given_rows in (X, X.astype(np.float64), X.toarray()):
        np.testing.assert_allclose(scorer.score(given_rows, raw=True), raw, rtol=1e-5)
        np.testing.assert_allclose(scorer.score(given_rows), answers, rtol=1e-5, atol=1e-6)
    for row in range(5):
        for kind in (np.float32, np.float64):
            ids, numbers = row_of(X, row)
            assert scorer.score_row(ids, numbers.astype(kind), raw=True) == pytest.approx(raw[row], rel=1e-5)
            assert scorer.score_row(ids, numbers.astype(kind)) == pytest.approx(answers[row], rel=1e-5, abs=1e-6)
