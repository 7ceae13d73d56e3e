"""Real data: accuracy with default hyper-parameters, and that no scale of the values makes them diverge.

The data sets may not be redistributed; they are looked for in the folder that FASTFM_DEEP_DATA names.
"""

from __future__ import annotations

import functools
import lzma
import os
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, mean_squared_error, roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import OneHotEncoder
from table_tools import INTERPRETED

from fastfm_deep import FMClassifier, FMRegressor, read_text

DATA = Path(os.environ.get("FASTFM_DEEP_DATA", Path(__file__).parents[2] / "shared" / "data"))

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(INTERPRETED, reason="real data take hours without the compiler"),
]


def found(*parts: str) -> Path:
    path = DATA.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"{path} is absent: set FASTFM_DEEP_DATA to the folder of the data sets to run this test")
    return path


def read_files(*paths: Path, base: int, n_features: int):
    return [read_text(path, base=base, n_features=n_features)[:2] for path in paths]


@functools.cache
def frappe():
    """Train, validation and test part."""
    names = ("train.resampled", "validation", "test")
    return read_files(*(found("frappe", f"frappe.{name}.libfm.xz") for name in names), base=0, n_features=5382)


@functools.cache
def a9a():
    """Train and test part."""
    return read_files(found("a9a", "a9a.xz"), found("a9a", "a9a.t.xz"), base=1, n_features=123)


def one_hot(train, test):
    encoder = OneHotEncoder(handle_unknown="ignore").fit(train[:, :2])
    return [(encoder.transform(part[:, :2]), part[:, 2]) for part in (train, test)]


@functools.cache
def ml100k():
    """Ratings by user and item: the official split `ua`."""
    return one_hot(*(np.loadtxt(found("ml100k", f"ua.{part}.xz"), usecols=(0, 1, 2)) for part in ("base", "test")))


@functools.cache
def ml1m():
    """Likewise; a tenth of the rows is the test part."""
    with lzma.open(found("ml1m_first_half", "ratings.dat.xz"), "rt") as file:
        ratings = np.array([line.split("::")[:3] for line in file], dtype=float)
    return one_hot(*train_test_split(ratings, test_size=0.1, random_state=0))


SETS = {
    "frappe": (lambda: frappe()[::2], FMClassifier),
    "a9a": (a9a, FMClassifier),
    "ml100k": (ml100k, FMRegressor),
    "ml1m": (ml1m, FMRegressor),
}


def fault(model, X, y):
    """What is to be small: 1 - AUC, or the root mean squared error."""
    if isinstance(model, FMClassifier):
        return 1.0 - roc_auc_score(y, model.decision_function(X))
    return mean_squared_error(y, model.predict(X)) ** 0.5


def test_frappe_beats_the_published_machine():
    """0.9671 and 0.2065 in BARS, AUC 0.9709 in the ARM-Net paper."""
    train, valid, test = frappe()
    results = []
    for seed in range(3):
        model = FMClassifier(n_factors=16, n_epochs=60, early_stopping_rounds=4, random_state=seed)
        model.fit(*train, eval_set=[valid])
        p = model.predict_proba(test[0])[:, 1]
        results.append((roc_auc_score(test[1], p), log_loss(test[1], p)))
    auc, logloss = np.mean(results, axis=0)
    assert auc >= 0.971
    assert logloss <= 0.190


@pytest.mark.parametrize("n_factors", [0, 8])
def test_a9a_is_as_good_as_logistic_regression(n_factors):
    (X, y), test = a9a()
    linear = LogisticRegression(max_iter=1000).fit(X, y)
    at_least = roc_auc_score(test[1], linear.decision_function(test[0])) - 0.001
    model = FMClassifier(n_factors, random_state=0).fit(X, y)
    assert 1.0 - fault(model, *test) >= at_least


@pytest.mark.parametrize("name", SETS)
def test_factors_do_no_harm_with_defaults(name):
    load, estimator_class = SETS[name]
    train, test = load()
    machine = estimator_class(random_state=0).fit(*train)
    linear = estimator_class(n_factors=0, random_state=0).fit(*train)
    assert fault(machine, *test) <= fault(linear, *test) + 0.005


def with_large_column(X):
    return sp.hstack([X, np.random.default_rng(0).normal(1e6, 3e5, (X.shape[0], 1))]).tocsr()


@pytest.mark.parametrize("change", [lambda X: X * 1000, with_large_column], ids=["times 1000", "a column of 1e6"])
@pytest.mark.parametrize("name", SETS)
def test_large_values_do_not_diverge_with_defaults(name, change):
    load, estimator_class = SETS[name]
    (X, y), (X_test, y_test) = load()
    model = estimator_class(random_state=0).fit(change(X), y)
    assert len(model.history_) == model.n_epochs
    chance = 0.5 if estimator_class is FMClassifier else np.std(y_test)
    assert fault(model, change(X_test), y_test) < 0.95 * chance
