"""What the estimator tests share: small made data that an FM can learn, and how fitted models are compared."""

from __future__ import annotations

import functools

import numpy as np
from reference import ReferenceFM

from fastfm_deep import FMClassifier
from fastfm_deep.datasets import make_ctr

OPTIMIZERS = ("adagrad", "adagrad_rowwise", "sgd", "adam", "ftrl")


@functools.cache
def _made(n_rows, random_state):
    X, y, _ = make_ctr(n_rows, n_fields=6, n_features=60, random_state=random_state)
    return X, y


def clicks(n_rows=400, random_state=0):
    """CSR rows (n_rows, 60) of 6 ones each, and labels 0 and 1."""
    X, y = _made(n_rows, random_state)
    return X.copy(), y.copy()


def ratings(n_rows=400, random_state=0):
    """The same rows with real targets around 100."""
    X, y = clicks(n_rows, random_state)
    rng = np.random.default_rng(random_state)
    return X, 100.0 + 20.0 * y + X @ rng.normal(0, 5, X.shape[1])


def small_data(estimator_class, n_rows=400, random_state=0):
    """Rows and targets that suit an estimator."""
    return (clicks if issubclass(estimator_class, FMClassifier) else ratings)(n_rows, random_state)


def new_model(estimator_class, **parameters):
    """An estimator that fits small data in no time."""
    return estimator_class(**{"n_factors": 4, "n_epochs": 3, "init_std": 0.1, "random_state": 0} | parameters)


def answers(model, X):
    """What a model says before the link function."""
    return model.decision_function(X) if isinstance(model, FMClassifier) else model.predict(X)


def parts(model):
    """The learned numbers."""
    return {"coef_": model.coef_, "factors_": model.factors_, "intercept_": model.intercept_}


def assert_same_bits(got, expected):
    for name, value in parts(expected).items():
        np.testing.assert_array_equal(parts(got)[name], value, err_msg=name)


def assert_differs(got, expected):
    assert any(not np.array_equal(value, parts(got)[name]) for name, value in parts(expected).items())


def reference_of(model):
    """The float64 twin with the numbers that a fitted model shows."""
    return ReferenceFM(model.intercept_, model.coef_.astype(np.float64), model.factors_.astype(np.float64))


def reference_scores(model, X):
    """Scores by the plain formula, row by row."""
    reference = reference_of(model)
    dense = np.asarray(X.toarray() if hasattr(X, "toarray") else X, np.float64)
    return np.array([reference.raw_score({int(i): row[i] for i in np.flatnonzero(row)}) for row in dense])
