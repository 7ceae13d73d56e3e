"""FMClassifier: shapes, labels, class weights, chunks, and what a fit promises to both estimators' users."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from fit_tools import (
    OPTIMIZERS,
    answers,
    assert_differs,
    assert_same_bits,
    clicks,
    reference_scores,
    small_data,
)
from scipy.special import expit
from sklearn.metrics import log_loss, roc_auc_score
from table_tools import INTERPRETED

from fastfm_deep import FMClassifier, FMRegressor, InputError

BOTH = pytest.mark.parametrize("estimator_class", [FMClassifier, FMRegressor])


@pytest.fixture(scope="module")
def data():
    return clicks()


@pytest.fixture(scope="module")
def model(data):
    return FMClassifier(n_factors=4, n_epochs=3, init_std=0.1, random_state=0).fit(*data)


def fitted(estimator_class, X, y, **parameters):
    settings = {"n_factors": 4, "n_epochs": 3, "init_std": 0.1, "random_state": 0} | parameters
    return estimator_class(**settings).fit(X, y)


# What it gives


def test_shapes_and_dtypes(model, data):
    X, _ = data
    assert model.coef_.shape == (60,)
    assert model.coef_.dtype == np.float32
    assert model.factors_.shape == (60, 4)
    assert model.factors_.dtype == np.float32
    assert type(model.intercept_) is float
    assert model.n_features_in_ == 60
    assert model.classes_.tolist() == [0, 1]
    raw, p = model.decision_function(X), model.predict_proba(X)
    assert (raw.shape, raw.dtype) == ((400,), np.float64)
    assert (p.shape, p.dtype) == ((400, 2), np.float64)


def test_answers_agree_with_each_other(model, data):
    X, y = data
    raw, p = model.decision_function(X), model.predict_proba(X)
    np.testing.assert_allclose(p[:, 1], expit(raw), rtol=1e-15)
    np.testing.assert_allclose(p.sum(axis=1), 1.0, rtol=1e-15)
    predicted = model.predict(X)
    np.testing.assert_array_equal(predicted, (raw > 0).astype(int))
    assert len(np.unique(predicted)) == 2
    assert model.score(X, y) == np.mean(predicted == y)


def test_probabilities_of_extreme_scores_are_numbers():
    X = np.array([[1.0], [-1.0]])
    model = FMClassifier(n_factors=0, n_epochs=50, learning_rate=1.0, random_state=0).fit(X, [1, 0])
    p = model.predict_proba(np.array([[1e6], [-1e6]]))
    assert p.tolist() == [[0.0, 1.0], [1.0, 0.0]]


@pytest.mark.parametrize("container", [sp.csr_array, sp.csc_matrix, np.asarray, list, pd.DataFrame])
def test_scores_are_the_plain_formula_of_what_it_shows(model, data, container):
    X = data[0][:40]
    dense = X.toarray()
    given = (
        container(X)
        if sp.issparse(container((1, 1)))
        else container(dense)
        if container is not list
        else (dense.tolist())
    )
    np.testing.assert_allclose(model.decision_function(given), reference_scores(model, X), rtol=1e-5, atol=1e-6)


@BOTH
def test_shown_parameters_are_in_the_units_of_the_columns(estimator_class):
    """Columns with large values are trained in units of their own, which must not show."""
    rng = np.random.default_rng(0)
    X = rng.normal(0, 1, (60, 3)) * [1.0, 1e4, 30.0]
    y = (X[:, 1] * X[:, 2] > 0).astype(int)
    model = fitted(estimator_class, X, y, n_epochs=20, learning_rate=0.3)
    np.testing.assert_allclose(answers(model, X), reference_scores(model, X), rtol=2e-4, atol=1e-4)


def test_an_empty_row_scores_the_intercept(model):
    assert model.decision_function(sp.csr_array((1, 60))).tolist() == [model.intercept_]


@BOTH
def test_a_column_that_never_occurred_adds_nothing(estimator_class, data):
    X, y = data
    wide = sp.hstack([X, sp.csr_array((400, 2))]).tocsr()
    model = fitted(estimator_class, wide, y)
    np.testing.assert_array_equal(model.factors_[60:], 0.0)
    np.testing.assert_array_equal(model.coef_[60:], 0.0)
    probe = sp.csr_array(([3.0, 5.0], ([0, 0], [60, 61])), shape=(1, 62))
    assert answers(model, probe)[0] == pytest.approx(model.intercept_, abs=1e-12)


# Labels


@pytest.mark.parametrize(
    "names", [("no", "yes"), (False, True), (-1, 1), (3.0, 7.0), (np.int8(2), np.int8(9))], ids=str
)
def test_any_two_labels_learn_the_same(model, data, names):
    X, y = data
    labels = np.array(names)[y]
    got = FMClassifier(n_factors=4, n_epochs=3, init_std=0.1, random_state=0).fit(X, labels)
    assert got.classes_.tolist() == sorted(names)
    assert got.classes_.dtype == got.predict(X).dtype == labels.dtype
    assert_same_bits(got, model)
    np.testing.assert_array_equal(got.predict(X), np.array(names)[model.predict(X)])


def test_labels_of_objects_and_of_series(model, data):
    X, y = data
    labels = np.array(["no", "yes"], dtype=object)[y]
    for given in (labels, labels.tolist(), pd.Series(labels, index=range(7, 407)), pd.Categorical(labels)):
        got = FMClassifier(n_factors=4, n_epochs=3, init_std=0.1, random_state=0).fit(X, given)
        assert_same_bits(got, model)
        assert set(got.predict(X)) == {"no", "yes"}


# Weights


def test_class_weight_is_a_weight_of_rows(data):
    X, y = data
    by_class = fitted(FMClassifier, X, y, class_weight={0: 0.5, 1: 3.0})
    by_row = FMClassifier(4, n_epochs=3, init_std=0.1, random_state=0)
    by_row.fit(X, y, sample_weight=np.where(y == 1, 3.0, 0.5))
    assert_same_bits(by_class, by_row)
    assert_differs(by_class, fitted(FMClassifier, X, y))


def test_class_weight_leaves_out_labels_it_does_not_name(data):
    X, y = data
    assert_same_bits(
        fitted(FMClassifier, X, y, class_weight={1: 3.0}),
        fitted(FMClassifier, X, y, class_weight={0: 1.0, 1: 3.0}),
    )


def test_balanced_classes_weigh_the_same(data):
    X, y = data
    n_positive = y.sum()
    counts = {0: 400 / (2 * (400 - n_positive)), 1: 400 / (2 * n_positive)}
    model = fitted(FMClassifier, X, y, class_weight="balanced")
    assert_same_bits(model, fitted(FMClassifier, X, y, class_weight=counts))
    mean = model.predict_proba(X)[:, 1].mean()
    assert abs(mean - 0.5) < abs(fitted(FMClassifier, X, y).predict_proba(X)[:, 1].mean() - 0.5)
    assert mean == pytest.approx(0.5, abs=0.05)


def test_rows_of_weight_zero_do_not_count_for_balance(data):
    X, y = data
    weight = np.where(np.arange(400) < 100, 0.0, 1.0)
    y = np.where(np.arange(400) < 100, 1, y)
    model = FMClassifier(4, n_epochs=3, init_std=0.1, random_state=0, class_weight="balanced")
    expected = model.fit(X[100:], y[100:]).decision_function(X)
    np.testing.assert_array_equal(model.fit(X, y, sample_weight=weight).decision_function(X), expected)


@BOTH
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_row_of_weight_zero_has_no_effect(estimator_class, optimizer):
    """Whatever it holds: columns of its own, large values, a wild target."""
    X, y = small_data(estimator_class)
    model = estimator_class(4, n_epochs=3, init_std=0.1, random_state=0, optimizer=optimizer)
    X = sp.hstack([X, sp.csr_array((400, 3))]).tolil()
    X[::7, 60] = 1e4
    X[::7, 3] = -5e8
    X[1, 3] = 1.5  # rows of nothing but ones have compiled code of their own, which may round otherwise
    X = X.tocsr()
    y = y.copy()
    y[::7] = 1 if estimator_class is FMClassifier else 1e250
    weight = np.random.default_rng(1).uniform(0.5, 2.0, 400)
    weight[::7] = 0.0
    counted = weight > 0
    model.fit(X[counted], y[counted], sample_weight=weight[counted])
    expected = {name: np.copy(getattr(model, name)) for name in ("coef_", "factors_", "intercept_")}
    train_loss = [record["train_loss"] for record in model.history_]
    model.fit(X, y, sample_weight=weight)
    for name, value in expected.items():
        np.testing.assert_array_equal(getattr(model, name), value, err_msg=name)
    assert [record["train_loss"] for record in model.history_] == train_loss
    assert {record["rows"] for record in model.history_} == {counted.sum()}


def test_a_label_that_no_counted_row_has_is_no_class(data):
    X, y = data
    y, weight = y.copy(), np.ones(400)
    y[:5], weight[:5] = 2, 0.0
    model = FMClassifier(2, n_epochs=1, random_state=0).fit(X, y, sample_weight=weight)
    assert model.classes_.tolist() == [0, 1]


@BOTH
def test_one_number_as_weight_is_that_of_all_rows(estimator_class):
    X, y = small_data(estimator_class)
    one, all_rows = (estimator_class(2, n_epochs=2, random_state=0) for _ in range(2))
    assert_same_bits(one.fit(X, y, sample_weight=2.0), all_rows.fit(X, y, sample_weight=np.full(400, 2.0)))


# Chunks


def test_chunks_may_hold_one_class(data):
    X, y = data
    model = FMClassifier(4, init_std=0.1, random_state=0, learning_rate=0.2)
    for _ in range(5):
        for label in (0, 1):
            assert model.partial_fit(X[y == label], y[y == label], classes=[0, 1]) is model
    assert model.classes_.tolist() == [0, 1]
    assert len(model.history_) == 10
    assert [record["epoch"] for record in model.history_] == list(range(1, 11))
    # The last chunk was all of one class: its order of the rows is what must be right.
    assert roc_auc_score(y, model.decision_function(X)) > 0.75


def test_chunks_go_on_where_a_fit_ended(data):
    """With the weights and the states of the optimizer; only the order of the rows is another."""
    whole, chunks = (fitted(FMClassifier, *data, n_epochs=n_epochs, learning_rate=0.3) for n_epochs in (40, 20))
    chunks.partial_fit(*data)
    # Weights whose AdaGrad sums start anew would lose 0.26 in this epoch, not 0.15.
    assert chunks.history_[20]["train_loss"] == pytest.approx(whole.history_[20]["train_loss"], rel=0.05)
    assert len(chunks.history_) == 21


def test_string_labels_in_chunks(data):
    X, y = data
    labels = np.array(["no", "yes"])[y]
    model = FMClassifier(2, random_state=0).partial_fit(X[y == 1], labels[y == 1], classes=["yes", "no"])
    assert model.classes_.tolist() == ["no", "yes"]
    assert set(model.partial_fit(X, labels).predict(X)) <= {"no", "yes"}
    assert model.predict_proba(X[:1]).shape == (1, 2)


def test_a_column_first_seen_in_a_later_chunk_is_learned():
    early = sp.csr_array(([1.0, 1.0], ([0, 1], [0, 1])), shape=(2, 3))
    late = sp.csr_array(([1.0, 1.0], ([0, 1], [2, 0])), shape=(2, 3))
    model = FMClassifier(2, learning_rate=0.5, init_std=0.1, random_state=0)
    model.partial_fit(early, [0, 1], classes=[0, 1])
    assert model.coef_[2] == 0.0
    for _ in range(30):
        model.partial_fit(late, [1, 0])
    assert model.coef_[2] > 0.5
    assert np.any(model.factors_[2] != 0.0)


# Learning


@pytest.fixture(scope="module")
def planted():
    """Pairs decide more than half, so that linear models stay behind."""
    X, y = clicks(6000, random_state=3)
    return X[:5000], y[:5000], X[5000:], y[5000:]


RATES = {"adagrad": 0.1, "adagrad_rowwise": 0.1, "sgd": 0.03, "adam": 0.003, "ftrl": 0.1}
slow_without_jit = pytest.mark.skipif(INTERPRETED, reason="300,000 updates take minutes without the compiler")


@slow_without_jit
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_learns(planted, optimizer):
    X, y, X_test, y_test = planted
    constant = log_loss(y_test, np.full(len(y_test), y.mean()))
    losses = {}
    for n_factors in (0, 4):
        model = FMClassifier(
            n_factors,
            n_epochs=10,
            init_std=0.1,
            random_state=0,
            optimizer=optimizer,
            learning_rate=RATES[optimizer],
        ).fit(X, y)
        losses[n_factors] = log_loss(y_test, model.predict_proba(X_test)[:, 1])
    assert losses[4] < losses[0] - 0.01 < constant - 0.03


@slow_without_jit
def test_eight_threads_learn_as_well_as_one(planted):
    X, y, X_test, y_test = planted
    losses = {}
    for n_jobs in (1, 8):
        model = FMClassifier(8, n_epochs=10, learning_rate=0.1, init_std=0.1, random_state=0, n_jobs=n_jobs)
        losses[n_jobs] = log_loss(y_test, model.fit(X, y).predict_proba(X_test)[:, 1])
        assert len(model.history_) == 10
    assert losses[8] == pytest.approx(losses[1], abs=0.01)


# FTRL


@slow_without_jit
def test_ftrl_makes_weights_zero(planted):
    X, y = planted[:2]
    dense, sparse = (
        FMClassifier(0, optimizer="ftrl", l1_reg_linear=l1, l2_reg_linear=0.0, random_state=0).fit(X, y)
        for l1 in (0.0, 100.0)
    )
    assert np.mean(dense.coef_ == 0.0) < 0.1
    assert 0.3 < np.mean(sparse.coef_ == 0.0) < 0.9


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_intercept_is_not_shrunk(data, optimizer):
    """Rows without columns leave the log-odds alone to learn, whatever the penalties."""
    y = np.array([1] * 36 + [0] * 4)
    l1 = {"l1_reg_linear": 50.0} if optimizer == "ftrl" else {}
    model = FMClassifier(
        2, optimizer=optimizer, learning_rate=0.01, l2_reg_linear=5.0, l2_reg_factors=5.0, random_state=0, **l1
    )
    model.fit(sp.csr_array((40, 2)), y)
    assert model.intercept_ == pytest.approx(np.log(9), abs=0.2)


def test_partial_fit_cannot_balance(data):
    X, y = data
    with pytest.raises(InputError, match="class_weight='balanced' needs all rows at once") as caught:
        FMClassifier(class_weight="balanced").partial_fit(X, y, classes=[0, 1])
    assert "give a dict of label: weight" in str(caught.value)
