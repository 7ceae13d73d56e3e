"""The estimators among scikit-learn's tools, and as things that are copied and stored."""

from __future__ import annotations

import copy
import pickle

import joblib
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from fit_tools import OPTIMIZERS, answers, assert_differs, assert_same_bits, clicks, new_model, small_data
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.ensemble import BaggingRegressor
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, OneHotEncoder

from fastfm_deep import FMClassifier, FMRegressor

BOTH = pytest.mark.parametrize("estimator_class", [FMClassifier, FMRegressor])


# scikit-learn's tools


@BOTH
def test_pipeline_of_columns(estimator_class):
    """Table in, answers out; the encoder makes the sparse matrix."""
    rng = np.random.default_rng(0)
    users, items = rng.integers(0, 8, (2, 1500))
    signs = rng.choice([-1, 1], 16)
    frame = pd.DataFrame(
        {"user": [f"u{number}" for number in users], "item": items, "age": rng.normal(40, 9, 1500)}
    )
    y = signs[users] * signs[items + 8]
    encoder = make_column_transformer((OneHotEncoder(), ["user", "item"]), remainder=MaxAbsScaler())
    model = make_pipeline(
        encoder, estimator_class(4, learning_rate=0.3, init_std=0.3, n_epochs=30, random_state=0)
    )
    model.fit(frame[:1000], y[:1000])
    assert model.score(frame[1000:], y[1000:]) > 0.9
    weighted = make_pipeline(encoder, new_model(estimator_class))
    name = weighted.steps[-1][0]
    weighted.fit(frame, y, **{f"{name}__sample_weight": np.arange(1500) % 2})
    assert weighted[-1].history_[0]["rows"] == 750


@BOTH
def test_cross_validation(estimator_class):
    X, y = small_data(estimator_class)
    model = new_model(estimator_class, learning_rate=0.3)
    scores = cross_val_score(model, X, y, cv=3)
    assert scores.shape == (3,)
    assert np.isfinite(scores).all()
    np.testing.assert_array_equal(cross_val_score(model, X, y, cv=3), scores)
    assert not model.__sklearn_is_fitted__()
    assert cross_val_predict(model, X, y, cv=3).shape == (400,)


@BOTH
def test_grid_search(estimator_class):
    X, y = small_data(estimator_class)
    grid = {"learning_rate": [1e-6, 0.3], "n_factors": [0, 2], "optimizer": ["adagrad", "ftrl"]}
    scoring = "neg_log_loss" if estimator_class is FMClassifier else None
    search = GridSearchCV(new_model(estimator_class), grid, cv=2, scoring=scoring, error_score="raise").fit(X, y)
    assert search.best_params_["learning_rate"] == 0.3
    assert_same_bits(search.best_estimator_, new_model(estimator_class, **search.best_params_).fit(X, y))


@BOTH
def test_grid_search_on_two_processes_with_memory_maps(estimator_class, tmp_path):
    """joblib hands large arrays to its processes as read-only memory maps."""
    X, y = small_data(estimator_class, 600)
    grid = {"learning_rate": [0.01, 0.3], "n_factors": [0, 2]}
    expected = GridSearchCV(new_model(estimator_class), grid, cv=2).fit(X, y).cv_results_["mean_test_score"]
    with joblib.parallel_config(n_jobs=2, max_nbytes=1000, temp_folder=tmp_path, mmap_mode="r"):
        search = GridSearchCV(new_model(estimator_class), grid, cv=2, error_score="raise").fit(X, y)
    np.testing.assert_array_equal(search.cv_results_["mean_test_score"], expected)


@BOTH
def test_memory_maps_are_read_in_place(estimator_class, tmp_path):
    X, y = small_data(estimator_class)
    expected = new_model(estimator_class).fit(X, y)
    for name, array in {"X": X, "y": y}.items():
        joblib.dump(array, tmp_path / name)
    mapped_X, mapped_y = (joblib.load(tmp_path / name, mmap_mode="r") for name in ("X", "y"))
    assert isinstance(mapped_X.data, np.memmap)
    got = new_model(estimator_class).fit(mapped_X, mapped_y, sample_weight=None)
    assert_same_bits(got, expected)
    np.testing.assert_array_equal(answers(got, mapped_X), answers(expected, X))


def test_meta_estimators():
    X, y = clicks()
    many = OneVsRestClassifier(new_model(FMClassifier)).fit(X, np.arange(400) % 3)
    assert many.predict(X).max() == 2
    calibrated = CalibratedClassifierCV(new_model(FMClassifier), cv=2).fit(X, y)
    assert calibrated.predict_proba(X).shape == (400, 2)
    bagged = BaggingRegressor(new_model(FMRegressor), n_estimators=2, random_state=0).fit(X, y)
    assert bagged.predict(X).shape == (400,)


# Parameters


@BOTH
def test_parameters_are_kept_as_they_were_given(estimator_class):
    given = {
        "n_factors": 3,
        "encoder": None,
        "linear_columns": None,
        "deep_columns": None,
        "optimizer": "adam",
        "learning_rate": 0.01,
        "n_epochs": 2,
        "l2_reg_linear": 0,
        "l2_reg_factors": 1e-3,
        "l1_reg_linear": 0.0,
        "init_std": 0.2,
        "early_stopping_rounds": None,
        "eval_metric": ["accuracy", "logloss"] if estimator_class is FMClassifier else ["mae"],
        "warm_start": True,
        "n_jobs": 1,
        "random_state": np.random.RandomState(0),
        "on_divergence": "warn",
        "verbose": 0,
    }
    of_classes = {"class_weight": {0: 2}, "negative_downsampling": 0.5}
    given |= of_classes if estimator_class is FMClassifier else {"clip": True}
    model = estimator_class(**given)
    assert model.get_params() == given
    model.fit(*small_data(estimator_class, 60))
    for name, value in model.get_params().items():
        assert value is given[name], name
    assert estimator_class().set_params(**given).get_params() == given


@BOTH
def test_clone_is_unfitted_and_fits_the_same(estimator_class):
    X, y = small_data(estimator_class)
    model = new_model(estimator_class, n_factors=3, init_std=0.3).fit(X, y)
    twin = clone(model)
    assert twin.get_params() == model.get_params()
    assert not twin.__sklearn_is_fitted__()
    assert_same_bits(twin.fit(X, y), model)


@BOTH
def test_shown_by_the_parameters_that_are_not_defaults(estimator_class):
    assert (
        repr(estimator_class(8, optimizer="adam")) == f"{estimator_class.__name__}(n_factors=8, optimizer='adam')"
    )


# Copies


def through_pickle(model, folder):
    return pickle.loads(pickle.dumps(model))


def through_joblib(model, folder):
    joblib.dump(model, folder / "model.joblib")
    return joblib.load(folder / "model.joblib")


def through_memory_map(model, folder):
    joblib.dump(model, folder / "model.joblib")
    return joblib.load(folder / "model.joblib", mmap_mode="r")


def through_deepcopy(model, folder):
    return copy.deepcopy(model)


COPIES = [through_pickle, through_joblib, through_memory_map, through_deepcopy]


@BOTH
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("make_copy", COPIES)
def test_copies_answer_and_go_on_the_same(estimator_class, optimizer, make_copy, tmp_path):
    X, y = small_data(estimator_class)
    X = sp.hstack([X, np.full((400, 1), 30.0)]).tocsr()  # a column with a unit of its own
    model = new_model(estimator_class, optimizer=optimizer, n_factors=5).fit(X, y)
    expected = answers(model, X)
    twin = make_copy(model, tmp_path)
    assert twin.history_ == model.history_
    np.testing.assert_array_equal(answers(twin, X), expected)
    twin.partial_fit(X, y)
    assert_differs(twin, model)
    np.testing.assert_array_equal(answers(model, X), expected)  # the copy shares nothing with it
    assert_same_bits(model.partial_fit(X, y), twin)


@BOTH
@pytest.mark.parametrize("make_copy", COPIES)
def test_copies_of_what_is_not_fitted(estimator_class, make_copy, tmp_path):
    model = estimator_class(7)
    twin = make_copy(model, tmp_path)
    assert twin.get_params() == model.get_params()
    assert not twin.__sklearn_is_fitted__()
