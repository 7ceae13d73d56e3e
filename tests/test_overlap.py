"""The overlap of rows, against its definition pair by pair, and what it guards against."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.sparse

from fastfm_deep import DeepFMClassifier, DeepFMRegressor, FMClassifier, FMRegressor
from fastfm_deep.data.rows import CsrRows
from fastfm_deep.training import overlap
from fastfm_deep.training.overlap import row_overlap

NO_SCALE = np.empty(0, np.float32)


def as_rows(X) -> CsrRows:
    X = scipy.sparse.csr_array(X)
    return CsrRows(X.indptr.astype(np.int64), X.indices, X.data.astype(np.float32))


def by_pairs(X: np.ndarray) -> float:
    """Mean over ordered pairs of rows of the squared length of the first in the columns of the second."""
    return float(np.mean([(a[b != 0] ** 2).sum() for a, b in itertools.permutations(X, 2)]))


def test_it_is_the_mean_over_pairs():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 12)) * (rng.random((30, 12)) < 0.4)
    assert row_overlap(as_rows(X), np.arange(30), NO_SCALE) == pytest.approx(by_pairs(X), rel=1e-6)
    some = np.array([3, 7, 11, 20])
    assert row_overlap(as_rows(X), some, NO_SCALE) == pytest.approx(by_pairs(X[some]), rel=1e-6)
    scale = rng.random(12).astype(np.float32)
    assert row_overlap(as_rows(X), np.arange(30), scale) == pytest.approx(by_pairs(X * scale), rel=1e-6)


def test_ends():
    assert row_overlap(as_rows([[3.0, 4.0]]), np.arange(1), NO_SCALE) == 25.0
    assert row_overlap(as_rows(np.zeros((5, 4))), np.arange(5), NO_SCALE) == 0.0
    assert row_overlap(as_rows(np.eye(50)), np.arange(50), NO_SCALE) == 0.0


def test_a_sample_tells_it(monkeypatch):
    rng = np.random.default_rng(1)
    X = scipy.sparse.random_array((4000, 50), density=0.2, format="csr", rng=rng)
    whole = row_overlap(as_rows(X), np.arange(4000), NO_SCALE)
    monkeypatch.setattr(overlap, "_SAMPLE_VALUES", 3000)
    assert row_overlap(as_rows(X), np.arange(4000), NO_SCALE) == pytest.approx(whole, rel=0.1)


@pytest.mark.parametrize("estimator_class", [FMRegressor, FMClassifier, DeepFMRegressor, DeepFMClassifier])
@pytest.mark.parametrize("n_columns", [30, 100, 400])
def test_few_dense_rows_do_not_diverge(estimator_class, n_columns):
    """With nothing set."""
    for seed in range(6):
        rng = np.random.default_rng(seed)
        n_rows = int(rng.integers(8, 60))
        X = rng.normal(size=(n_rows, n_columns)) if seed % 2 else rng.random((n_rows, n_columns))
        y = rng.integers(0, 2, n_rows)
        y[:2] = 0, 1
        model = estimator_class(random_state=seed).fit(X, y)
        assert model.history_[-1]["train_loss"] < model.history_[0]["train_loss"]
