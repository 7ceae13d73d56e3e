"""DeepFM estimators: scikit-learn's checks and tools, every container of rows, and the answers by the formulas."""

from __future__ import annotations

import copy
import pickle

import joblib
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from deepfm_fit_tools import (
    ACTIVATIONS,
    BOTH,
    SIZES,
    assert_same_network,
    layout,
    new_deep,
    numbers,
    plain_scores,
    valued_rows,
)
from fit_tools import OPTIMIZERS, answers, assert_same_bits, clicks, small_data
from scipy.special import expit
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, OneHotEncoder
from sklearn.utils.estimator_checks import check_estimator

from fastfm_deep import DeepFMClassifier, DeepFMRegressor, FieldLayout, FMClassifier, FMRegressor

PLAIN = {DeepFMClassifier: FMClassifier, DeepFMRegressor: FMRegressor}


# scikit-learn


@BOTH
def test_scikit_learn_checks(estimator_class):
    """All pass but two: a row of weight 2 is one update, a row given twice is two."""
    results = check_estimator(estimator_class(), on_fail=None, on_skip=None)
    assert len(results) > 40
    failed = {result["check_name"]: str(result["exception"]) for result in results if result["status"] == "failed"}
    assert failed.keys() == {
        "check_sample_weight_equivalence_on_dense_data",
        "check_sample_weight_equivalence_on_sparse_data",
    }
    for reason in failed.values():
        assert "not equivalent to fitting with removed or repeated data points" in reason


def test_pipeline_of_columns():
    """Table in, answers out; fields are the encoder's columns."""
    rng = np.random.default_rng(0)
    users, items = rng.integers(0, 8, (2, 1500))
    signs = rng.choice([-1, 1], 16)
    frame = pd.DataFrame({"user": [f"u{user}" for user in users], "item": items, "age": rng.normal(40, 9, 1500)})
    y = np.where(signs[users] * signs[items + 8] > 0, "yes", "no")
    encoder = make_column_transformer((OneHotEncoder(), ["user", "item"]), remainder=MaxAbsScaler())
    model = make_pipeline(
        encoder, new_deep(DeepFMClassifier, fields=[8, 8, 1], n_epochs=30, learning_rate=0.3, init_std=0.3)
    )
    model.fit(frame[:1000], y[:1000])
    assert model.score(frame[1000:], y[1000:]) > 0.9


@BOTH
def test_grid_search_over_networks_and_fields(estimator_class):
    X, y = small_data(estimator_class, 200)
    grid = {
        "dnn_hidden_units": [(), (4,), (4, 3)],
        "fields": [None, SIZES, layout("mixed")],
        "learning_rate": [1e-9, 0.3],
    }
    model = new_deep(estimator_class, dnn_learning_rate=1e-9)
    search = GridSearchCV(model, grid, cv=2, error_score="raise").fit(X, y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.best_params_["learning_rate"] == 0.3
    expected = clone(model).set_params(**search.best_params_).fit(X, y)
    assert_same_network(search.best_estimator_, expected)


@BOTH
def test_cross_validation_on_two_processes(estimator_class, tmp_path):
    """joblib hands large arrays to its processes as read-only memory maps."""
    X, y = small_data(estimator_class)
    model = new_deep(estimator_class, fields=layout("mixed"))
    expected = cross_val_score(model, X, y, cv=2)
    with joblib.parallel_config(n_jobs=2, max_nbytes=100, temp_folder=tmp_path, mmap_mode="r"):
        np.testing.assert_array_equal(cross_val_score(model, X, y, cv=2), expected)


@BOTH
def test_clone_is_unfitted_and_fits_the_same(estimator_class):
    X, y = small_data(estimator_class, 60)
    model = new_deep(estimator_class, fields=layout("mixed"), dnn_dropout=0.3, dnn_batch_norm=True).fit(X, y)
    twin = clone(model)
    assert not twin.__sklearn_is_fitted__()
    assert not hasattr(twin, "fields_")
    given, got = model.get_params(), twin.get_params()
    assert repr(got) == repr(given)
    assert_same_network(twin.fit(X, y), model)


def test_shown_by_the_parameters_that_are_not_defaults():
    model = DeepFMRegressor(8, dnn_hidden_units=(32,), fields=[2, 3])
    assert repr(model) == "DeepFMRegressor(dnn_hidden_units=(32,), fields=[2, 3], n_factors=8)"


@BOTH
def test_what_is_given_is_kept_and_never_written_to(estimator_class):
    X, y = small_data(estimator_class, 60)
    weight, fields, units = np.ones(60), np.repeat(np.arange(6), 10), [6, 3]
    mean = FieldLayout.from_columns(fields, "mean")
    arrays = [X.data, X.indices, X.indptr, y, weight, fields, mean.field_of_column]
    before = [array.copy() for array in arrays]
    for array in arrays:
        array.setflags(write=False)
    for given in (fields, mean):
        model = new_deep(estimator_class, fields=given, dnn_hidden_units=units)
        model.fit(X, y, sample_weight=weight, eval_set=[(X, y, weight)]).predict(X)
        assert model.fields is given
        assert model.dnn_hidden_units is units
    for array, copied in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, copied)


def through_pickle(model, folder):
    return pickle.loads(pickle.dumps(model))


def through_memory_map(model, folder):
    joblib.dump(model, folder / "model.joblib")
    return joblib.load(folder / "model.joblib", mmap_mode="r")


def through_deepcopy(model, folder):
    return copy.deepcopy(model)


@BOTH
@pytest.mark.parametrize("dnn_optimizer", ["adam", "adagrad", "sgd"])
@pytest.mark.parametrize("make_copy", [through_pickle, through_memory_map, through_deepcopy])
def test_copies_answer_and_go_on_the_same(estimator_class, make_copy, dnn_optimizer, tmp_path):
    X, y = small_data(estimator_class, 120)
    model = new_deep(
        estimator_class, fields=layout("mixed"), dnn_optimizer=dnn_optimizer, dnn_batch_norm=True, batch_size=50
    )
    expected = answers(model.fit(X, y), X)
    twin = make_copy(model, tmp_path)
    np.testing.assert_array_equal(answers(twin, X), expected)
    twin.partial_fit(X, y)
    np.testing.assert_array_equal(answers(model, X), expected)  # the copy shares nothing with it
    assert_same_network(twin, model.partial_fit(X, y))
    assert np.any(answers(twin, X) != expected)


# Without a network


@BOTH
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_without_hidden_layers_it_is_the_plain_machine_bit_for_bit(estimator_class, optimizer):
    X, y = small_data(estimator_class, 200)
    X, weight = X * np.float32(0.5), np.random.default_rng(0).uniform(0, 2, 200)
    settings = {"n_factors": 4, "n_epochs": 2, "init_std": 0.1, "random_state": 3, "optimizer": optimizer}
    deep_settings = {"fields": SIZES, "dnn_batch_norm": True, "dnn_dropout": 0.5, "batch_size": 7}
    deep = estimator_class(dnn_hidden_units=(), **settings, **deep_settings)
    plain = PLAIN[estimator_class](**settings)
    for model in (deep, plain):
        model.fit(X, y, sample_weight=weight)
    assert_same_bits(deep, plain)
    assert [record["train_loss"] for record in deep.history_] == [
        record["train_loss"] for record in plain.history_
    ]
    for model in (deep, plain):
        model.partial_fit(X[:50], y[:50], sample_weight=weight[:50])
    assert_same_bits(deep, plain)
    np.testing.assert_array_equal(answers(deep, X), answers(plain, X))
    assert deep._model.deep is None


@BOTH
def test_without_layers_other_settings_agree_as_well(estimator_class):
    X, y = small_data(estimator_class, 200)
    metric = {"eval_metric": "auc"} if estimator_class is DeepFMClassifier else {"clip": True}
    for settings in (
        {"n_factors": 0},
        {"early_stopping_rounds": 1, "n_epochs": 30, "learning_rate": 0.5, **metric},
        {"l2_reg_linear": 0.1, "l2_reg_factors": 0.0, "init_std": 0.3},
    ):
        deep = estimator_class(**{"n_factors": 4, "random_state": 0, "dnn_hidden_units": []} | settings)
        plain = PLAIN[estimator_class](**{"n_factors": 4, "random_state": 0} | settings)
        for model in (deep, plain):
            model.fit(X[:150], y[:150], eval_set=(X[150:], y[150:]))
        assert_same_bits(deep, plain)
        assert deep.best_score_ == plain.best_score_
        np.testing.assert_array_equal(deep.predict(X), plain.predict(X))


# Rows in


CONTAINERS = {
    "csr": sp.csr_matrix,
    "csc": sp.csc_array,
    "coo": sp.coo_array,
    "dense": lambda X: X.toarray(),
    "columns first": lambda X: np.asfortranarray(X.toarray()),
    "list": lambda X: X.toarray().tolist(),
    "frame": lambda X: pd.DataFrame(X.toarray(), columns=[f"c{column}" for column in range(60)]),
    "float64": lambda X: X.astype(np.float64),
    "long indices": lambda X: sp.csr_array(
        (X.data, X.indices.astype(np.int64), X.indptr.astype(np.int64)), shape=X.shape
    ),
}


@pytest.mark.parametrize("container", CONTAINERS)
def test_containers_of_the_same_rows_train_and_score_the_same(container):
    X, y = valued_rows(), np.arange(80) % 2
    X.eliminate_zeros()
    expected = new_deep(DeepFMClassifier, fields=layout("mixed")).fit(X, y)
    given = CONTAINERS[container](X)
    model = new_deep(DeepFMClassifier, fields=layout("mixed")).fit(given, y)
    assert_same_network(model, expected)
    np.testing.assert_array_equal(answers(model, given), answers(expected, X))


@pytest.mark.parametrize("dtype", [np.bool_, np.int8, np.int64, np.float32, np.float64])
def test_ones_of_every_type_are_ones(dtype):
    X, y = clicks(60)
    expected = new_deep(DeepFMClassifier).fit(X, y)
    for given in (X.astype(dtype), X.toarray().astype(dtype)):
        assert_same_network(new_deep(DeepFMClassifier).fit(given, y), expected)
        np.testing.assert_array_equal(answers(expected, given), answers(expected, X))


def test_names_of_columns():
    X, y = clicks(60)
    frame = pd.DataFrame(X.toarray(), columns=[f"c{number}" for number in range(60)])
    model = new_deep(DeepFMClassifier).fit(frame, y)
    assert model.feature_names_in_.tolist() == list(frame.columns)
    with pytest.raises(ValueError, match="The feature names should match those that were passed during fit"):
        model.predict(frame[frame.columns[::-1]])


# Answers


@pytest.mark.parametrize("kind", ["sum", "mean", "sqrtn", "max", "mixed", None])
@pytest.mark.parametrize("batch_norm", [False, True])
def test_scores_are_the_formulas_of_what_it_shows(kind, batch_norm):
    X = valued_rows()
    y = np.random.default_rng(1).normal(size=80)
    for estimator_class, targets in ((DeepFMClassifier, (y > 0).astype(int)), (DeepFMRegressor, y)):
        model = new_deep(
            estimator_class,
            fields=None if kind is None else layout(kind),
            dnn_batch_norm=batch_norm,
            init_std=0.5,
            dnn_learning_rate=0.05,
        )
        model.fit(X, targets)
        if estimator_class is DeepFMRegressor:
            model._model.center, model._model.scale = 0.0, 1.0  # what reference and network take as unit
        np.testing.assert_allclose(answers(model, X), plain_scores(model, X), rtol=1e-4, atol=2e-5)
        silent = copy.deepcopy(model)
        for array in numbers(silent)[:1]:
            array[:] = 0.0
        assert np.abs(answers(silent, X) - answers(model, X)).max() > 0.01  # the network has its say


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_scores_by_its_formula(activation):
    X, y = valued_rows(), np.arange(80) % 2
    model = new_deep(DeepFMClassifier, dnn_activation=activation, init_std=0.5, dnn_learning_rate=0.05).fit(X, y)
    np.testing.assert_allclose(answers(model, X), plain_scores(model, X), rtol=1e-4, atol=2e-5)


def test_shapes_and_what_goes_with_what():
    X, y = clicks()
    model = new_deep(DeepFMClassifier).fit(X, np.array(["no", "yes"])[y])
    raw, p = model.decision_function(X), model.predict_proba(X)
    assert (raw.shape, raw.dtype, p.shape, p.dtype) == ((400,), np.float64, (400, 2), np.float64)
    np.testing.assert_allclose(p[:, 1], expit(raw), rtol=1e-15)
    np.testing.assert_allclose(p.sum(axis=1), 1.0, rtol=1e-15)
    np.testing.assert_array_equal(model.predict(X), np.where(raw > 0, "yes", "no"))
    assert model.score(X, np.array(["no", "yes"])[y]) > 0.6
    assert (model.coef_.shape, model.factors_.shape, type(model.intercept_)) == ((60,), (60, 4), float)
    assert model.fields_.n_fields == 6
    y = 100.0 + y
    regressor = new_deep(DeepFMRegressor).fit(X, y)
    assert regressor.predict(X).shape == (400,)
    assert regressor.score(X, y) == r2_score(y, regressor.predict(X))
    assert not hasattr(regressor, "predict_proba")


@pytest.mark.parametrize("batch_norm", [False, True])
def test_rows_are_scored_alike_in_any_company(batch_norm):
    """Alone, in another order, or in a matrix of several blocks and threads."""
    X, y = clicks(600)
    model = new_deep(DeepFMClassifier, dnn_batch_norm=batch_norm).fit(X, y)
    expected = answers(model, X)
    order = np.random.default_rng(0).permutation(600)
    np.testing.assert_allclose(answers(model, X[order]), expected[order], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(answers(model, X[3:4]), expected[3:4], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(answers(model.set_params(n_jobs=2), X), expected, rtol=1e-5, atol=1e-6)
