"""What is no row and no matrix for a scorer: it says which value is wrong, by what rule, and warns of nothing."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from row_tools import raw_csr
from scorer_tools import (
    DEEP,
    EACH_BACKEND,
    FM,
    SMALL,
    UNPOOLED,
    WIDTH,
    random_matrix,
    scorer_of,
)

from fastfm_deep import FMRegressor, InputError, Scorer

I32 = np.int32
BAD_ROWS = [
    (([12],), "indices[0]=12 must lie in 0 .. 11, the 12 features of the model"),
    ((np.array([0, 99], I32),), "indices[1]=99 must lie in 0 .. 11"),
    ((np.array([0, -1], I32), np.ones(2, np.float32)), "indices[1]=-1 must lie in 0 .. 11"),
    ((np.array([0, 2**40]), np.ones(2)), "indices[1]=1099511627776 must lie in 0 .. 11"),
    ((np.array([2**64 - 1], np.uint64),), "indices[0]=18446744073709551615 must lie in 0 .. 11"),
    (([2**70],), "indices=[1180591620717411303424] must be the columns of one row"),
    (([1.0],), "indices=[1.0] must be the columns of one row"),
    ((np.array([1.0, 2.0]),), "an array of shape=(2,) and dtype=float64 must be the columns of one row"),
    ((np.array([1.0, 2.0], np.float32), np.ones(2, np.float32)), "dtype=float32 must be the columns of one row"),
    ((np.array([1.0]),), "an array of shape=(1,) and dtype=float64 must be the columns"),
    ((np.array([True, False]),), "dtype=bool must be the columns of one row"),
    (([True, False],), "must be the columns of one row"),
    ((np.array([1, 2], object),), "dtype=object must be the columns of one row"),
    ((["a"],), "must be the columns of one row"),
    (("12",), "indices='12' must be the columns of one row"),
    ((b"12",), "must be the columns of one row"),
    ((None,), "indices=None must be the columns of one row"),
    ((3,), "indices=3 must be the columns of one row"),
    ((np.int32(3),), "must be the columns of one row"),
    ((np.array(3, I32),), "an array of shape=() and dtype=int32 must be the columns"),
    ((np.array([[1, 2]], I32),), "an array of shape=(1, 2) and dtype=int32 must be the columns"),
    (([[1, 2], [3]],), "must be the columns of one row"),
    ((np.empty((0, 3), I32), []), "an array of shape=(0, 3) and dtype=int32"),
    (({1: 2.0},), "must be the columns of one row"),
    (([1, None],), "must be the columns of one row"),
    (([0, 1], [1.0]), "values holds 1 numbers for 2 indices, but must hold one for each"),
    ((np.array([0, 1], I32), np.ones(3, np.float32)), "values holds 3 numbers for 2 indices"),
    (([], [1.0]), "values holds 1 numbers for 0 indices"),
    ((np.array([0, 1], I32), np.array([1.0, np.nan], np.float32)), "values[1]=nan (column 1) must be a finite"),
    ((np.array([4, 1], I32), np.array([np.inf, 1.0])), "values[0]=inf (column 4) must be a finite number"),
    (([4, 1], [1.0, -float("inf")]), "values[1]=-inf (column 1) must be a finite number"),
    ((np.array([4], I32), np.array([np.inf], np.float16)), "values[0]=inf (column 4) must be a finite number"),
    (([4], [1e300]), "values[0]=1e+300 (column 4) must be a finite number within the range of float32"),
    ((np.array([4], I32), np.array([-1e300])), "values[0]=-1e+300 (column 4) must be a finite number"),
    (([4], [3.41e38]), "values[0]=3.41e+38 (column 4)"),
    (([4, 4], [3e38, 3e38]), "=6e+38 (column 4) must be a finite number"),
    ((np.array([4, 4], I32), np.array([3e38, 3e38], np.float32)), "(column 4) must be a finite number"),
    (([4], ["1"]), "values=['1'] must be the values of one row"),
    (([4], "1"), "values='1' must be the values of one row"),
    (([4], 1.0), "values=1.0 must be the values of one row"),
    (([4], [None]), "values=[None] must be the values of one row"),
    (([4], [1j]), "must be the values of one row"),
    ((np.array([4], I32), np.array([1 + 0j])), "dtype=complex128 must be the values of one row"),
    ((np.array([4], I32), np.array([1.0], object)), "dtype=object must be the values of one row"),
    ((np.array([4], I32), np.ones((1, 1), np.float32)), "an array of shape=(1, 1) and dtype=float32"),
    ((np.array([4], I32), np.array(1.0)), "an array of shape=() and dtype=float64 must be the values"),
    ((np.array([4], I32), np.array(["1"])), "must be the values of one row"),
    ((np.array([4], I32), np.array(["2020-01-01"], "M8[D]")), "must be the values of one row"),
]


@EACH_BACKEND
@pytest.mark.parametrize("spec", [FM, DEEP, UNPOOLED, SMALL], ids=str)
def test_what_is_no_row_is_refused(spec, backend):
    scorer = scorer_of(spec, backend)
    for given_row, message in BAD_ROWS:
        for raw in (False, True):
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                with pytest.raises(InputError, match=re.escape(message)):
                    scorer.score_row(*given_row, raw=raw)


@EACH_BACKEND
def test_long_rows_that_are_none(backend, tmp_path):
    n = 2000
    model = FMRegressor(4, n_epochs=1, random_state=0).fit(np.random.default_rng(0).random((9, n)), np.arange(9.0))
    model.save(tmp_path / "m")
    scorer = Scorer.load(tmp_path / "m", backend=backend)
    ids = np.arange(1000, dtype=np.int32)[::-1].copy()
    ids[700] = n
    with pytest.raises(InputError, match=re.escape("indices[700]=2000 must lie in 0 .. 1999")):
        scorer.score_row(ids)
    ids[700] = 3
    values = np.ones(1000, np.float32)
    values[600] = np.nan
    with pytest.raises(InputError, match=re.escape("values[600]=nan (column 399)")):
        scorer.score_row(ids, values)


@EACH_BACKEND
def test_dicts_that_are_no_rows(backend):
    scorer = scorer_of(FM, backend)
    for row, message in (
        ({12: 1.0}, "indices[0]=12 must lie in 0 .. 11"),
        ({-1: 1.0}, "indices[0]=-1 must lie in 0 .. 11"),
        (
            {"a": 1.0},
            "row has the key 'a', but the model was fitted to a matrix: keys must be numbers of features",
        ),
        ({True: 1.0}, "row has the key True"),
        ({1.0: 1.0}, "row has the key 1.0"),
        ({1: "x"}, "row[1]='x' must be a real number"),
        ({1: None}, "row[1]=None must be a real number"),
        ({1: float("nan")}, "values[0]=nan (column 1)"),
        ({2**70: 1.0}, "must be the columns of one row"),
    ):
        for call in (scorer.score_dict, lambda found: scorer.score([found]), scorer.score):
            with pytest.raises(InputError, match=re.escape(message)):
                call(row)
    for row in (None, [1], "a", 3):
        with pytest.raises(InputError):
            scorer.score_dict(row)
    with pytest.raises(InputError):
        scorer.score([{1: 1.0}, [2.0]])


# --------------------------------------------------------------------------------------- matrices that are none


def bad_matrices():
    ok = {"indptr": [0, 2, 3], "indices": [0, 5, 1], "values": [1.0, 2.0, 3.0]}
    changes = {
        "id too large": {"indices": [0, WIDTH, 1]},
        "id negative": {"indices": [0, 5, -1]},
        "not a number": {"values": [1.0, 2.0, np.nan]},
        "infinite": {"values": [1.0, -np.inf, 3.0]},
        "pointers fall": {"indptr": [0, 3, 1]},
        "pointers beyond": {"indptr": [0, 2, 900]},
        "pointers negative": {"indptr": [0, -2, 3]},
        "first pointer": {"indptr": [1, 2, 3]},
        "first pointer negative": {"indptr": [-1, 2, 3]},
        "too few pointers": {"indptr": [0, 3]},
    }
    return {name: ok | change for name, change in changes.items()}


@EACH_BACKEND
@pytest.mark.parametrize("name", list(bad_matrices()))
@pytest.mark.parametrize("spec", [FM, DEEP, UNPOOLED], ids=str)
def test_broken_csr_is_refused(spec, name, backend):
    scorer = scorer_of(spec, backend)
    for dtype in (np.float32, np.float64):
        X = raw_csr(**bad_matrices()[name], shape=(2, WIDTH), dtype=dtype)
        with pytest.raises(InputError) as caught:
            scorer.score(X)
        with pytest.raises(InputError, match=re.escape(str(caught.value))):
            scorer.score_into(X, np.empty(2))


@EACH_BACKEND
def test_other_matrices_that_are_none(backend):
    scorer = scorer_of(FM, backend)
    for X, message in (
        (sp.csr_array((3, WIDTH + 1), dtype=np.float32), "13"),
        (np.ones((3, WIDTH - 1)), "11"),
        (np.ones(WIDTH), ""),
        (np.array([["a"] * WIDTH]), ""),
        (sp.csr_array(np.full((1, WIDTH), 1e300)), "1e+300"),
        (np.full((1, WIDTH), np.nan), "nan"),
        (sp.csr_array(np.full((1, WIDTH), 1j)), ""),
        ("rows", ""),
        (None, ""),
        (7, ""),
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(InputError, match=re.escape(message) or None):
                scorer.score(X)
            with pytest.raises(InputError):
                scorer.score_into(X, np.empty(3))


@EACH_BACKEND
def test_jobs_are_checked(backend):
    scorer, X = scorer_of(FM, backend), random_matrix(3)
    for n_jobs in (0, 1.5, "all"):
        with pytest.raises(InputError, match="n_jobs"):
            scorer.score(X, n_jobs=n_jobs)
        with pytest.raises(InputError, match="n_jobs"):
            Scorer.load(scorer.path, backend=backend, n_jobs=n_jobs)


@EACH_BACKEND
def test_arrays_that_scores_cannot_be_written_to(backend):
    scorer, X = scorer_of(FM, backend), random_matrix(5)
    locked = np.empty(5)
    locked.flags.writeable = False
    for out, message in (
        (np.empty(4), "out has shape=(4,) and dtype=float64, but must be a NumPy array of shape=(5,)"),
        (np.empty((5, 1)), "out has shape=(5, 1) and dtype=float64"),
        (np.empty(5, np.int64), "dtype=int64"),
        (np.empty(5, np.float16), "dtype=float16"),
        (np.empty(5, ">f8"), "dtype=>f8"),
        (np.empty(5, object), "dtype=object"),
        (locked, "and cannot be written to"),
        ([0.0] * 5, "out=[0.0, 0.0, 0.0, 0.0, 0.0], but must be a NumPy array"),
        (None, "out=None"),
        (np.ma.masked_array(np.empty(5)), "must be a NumPy array"),
    ):
        for given_rows in (X, X.toarray(), X.astype(np.int8), X.tocoo()):
            with pytest.raises(
                InputError, match=re.escape(message) if given_rows is X else "must be a NumPy array"
            ):
                scorer.score_into(given_rows, out)
