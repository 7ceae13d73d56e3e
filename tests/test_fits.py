"""What a fit promises, to the users of both estimators: it repeats, goes on, and leaves alone what it is given."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from fit_tools import (
    OPTIMIZERS,
    assert_differs,
    assert_same_bits,
    small_data,
)

from fastfm_deep import FMClassifier, FMRegressor

BOTH = pytest.mark.parametrize("estimator_class", [FMClassifier, FMRegressor])


def fitted(estimator_class, X, y, **parameters):
    settings = {"n_factors": 4, "n_epochs": 3, "init_std": 0.1, "random_state": 0} | parameters
    return estimator_class(**settings).fit(X, y)


@BOTH
def test_fits_do_not_know_of_each_other(estimator_class):
    X, y = small_data(estimator_class)
    other_X, other_y = small_data(estimator_class, 100, random_state=5)
    model = fitted(estimator_class, other_X[:, :40], other_y)
    model.fit(X, y)
    assert_same_bits(model, fitted(estimator_class, X, y))
    assert model.n_features_in_ == 60
    assert len(model.history_) == 3


@BOTH
def test_warm_start_goes_on(estimator_class):
    X, y = small_data(estimator_class)
    settings = {"learning_rate": 0.3, "warm_start": True}
    whole, warm = (fitted(estimator_class, X, y, n_epochs=n_epochs, **settings) for n_epochs in (24, 20))
    warm.set_params(n_epochs=4).fit(X, y)
    for epoch in (20, 23):
        got, expected = warm.history_[epoch]["train_loss"], whole.history_[epoch]["train_loss"]
        assert got == pytest.approx(expected, rel=0.05)
    assert [record["epoch"] for record in warm.history_] == list(range(1, 25))
    assert warm.best_epoch_ == 24
    warm.set_params(warm_start=False).fit(X, y)
    assert_same_bits(warm, fitted(estimator_class, X, y, n_epochs=4, learning_rate=0.3))


@BOTH
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_warm_start_may_change_the_optimizer(estimator_class, optimizer):
    X, y = small_data(estimator_class)
    model = fitted(estimator_class, X, y, n_epochs=5, warm_start=True)
    before = model.history_[-1]["train_loss"]
    model.set_params(optimizer=optimizer, learning_rate=0.02).fit(X, y)
    assert model.history_[-1]["train_loss"] < before


@BOTH
def test_same_seed_same_bits(estimator_class):
    X, y = small_data(estimator_class)
    for n_jobs in (1, None):  # small data run on one thread
        first = fitted(estimator_class, X, y, n_jobs=n_jobs)
        assert_same_bits(fitted(estimator_class, X, y, n_jobs=n_jobs), first)
        assert_differs(fitted(estimator_class, X, y, n_jobs=n_jobs, random_state=1), first)


@BOTH
def test_seeds_of_every_kind_repeat(estimator_class):
    X, y = small_data(estimator_class)
    for make in (np.random.RandomState, np.random.default_rng, np.int64):
        pair = [fitted(estimator_class, X, y, random_state=make(3)) for _ in range(2)]
        assert_same_bits(*pair)
    assert_differs(
        fitted(estimator_class, X, y, random_state=None), fitted(estimator_class, X, y, random_state=None)
    )


@BOTH
@pytest.mark.parametrize("container", [sp.csr_array, sp.coo_array, np.asarray])
def test_what_is_given_is_never_written_to(estimator_class, container):
    X, y = small_data(estimator_class, 60)
    X = container(X) if container is not np.asarray else X.toarray()
    weight = np.ones(60)
    arrays = [X] if isinstance(X, np.ndarray) else [X.data] + ([X.indices, X.indptr] if X.format == "csr" else [])
    before = [array.copy() for array in arrays]
    for array in [*arrays, y, weight]:
        array.setflags(write=False)
    model = estimator_class(2, n_epochs=2, random_state=0)
    model.fit(X, y, sample_weight=weight, eval_set=[(X, y, weight)]).predict(X)
    for array, copy in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, copy)


@BOTH
def test_unsorted_and_repeated_columns_of_x_stay(estimator_class):
    X = sp.csr_array((2, 3))
    X.indptr, X.indices = np.array([0, 3, 4]), np.array([2, 0, 2])[[0, 1, 2, 1]]
    X.data = np.array([1.0, 2.0, 3.0, 1.0], np.float32)
    estimator_class(2, n_epochs=1, random_state=0).fit(X, [0, 1]).predict(X)
    assert X.indices.tolist() == [2, 0, 2, 0]
    assert X.data.tolist() == [1.0, 2.0, 3.0, 1.0]


@BOTH
def test_names_of_columns(estimator_class):
    X, y = small_data(estimator_class, 60)
    frame = pd.DataFrame(X.toarray(), columns=[f"c{number}" for number in range(60)])
    model = fitted(estimator_class, frame, y)
    assert model.feature_names_in_.tolist() == list(frame.columns)
    assert_same_bits(model, fitted(estimator_class, X, y))
    with pytest.raises(ValueError, match="The feature names should match those that were passed during fit"):
        model.predict(frame[frame.columns[::-1]])
    assert not hasattr(fitted(estimator_class, X, y), "feature_names_in_")
