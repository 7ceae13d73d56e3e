"""Bad input of every kind: a clear error of ours before any work, and an earlier fit that stays as it was."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from fit_tools import answers, clicks, new_model, small_data
from refusals import assert_refused
from row_tools import raw_csr
from sklearn.exceptions import NotFittedError

from fastfm_deep import FMClassifier, FMRegressor, InputError, TableTooLargeError

BOTH = pytest.mark.parametrize("estimator_class", [FMClassifier, FMRegressor])
NAN, INF = float("nan"), float("inf")


def with_value(array, at, value):
    changed = np.array(array.toarray() if sp.issparse(array) else array, np.float64)
    changed[at] = value
    return changed


# X


BAD_X = {
    "nan": (lambda X: with_value(X, (2, 1), NAN), r"^X\[2, 1\]=nan \(row 2, column 1\): X contains NaN. Fill in"),
    "inf": (lambda X: with_value(X, (0, 3), INF), r"^X\[0, 3\]=inf \(row 0, column 3\): X contains infinity"),
    "sparse nan": (lambda X: sp.csr_array(with_value(X, (2, 1), NAN)), r"^X\[2, 1\]=nan .* X contains NaN"),
    "too large": (lambda X: with_value(X, (1, 1), -1e39), r"^X\[1, 1\]=-1e\+39 .* beyond the range of float32"),
    "no rows": (lambda X: X[:0], r"^Found array with 0 sample\(s\) \(shape=\(0, 60\)\) while a minimum of 1 is"),
    "no columns": (lambda X: X[:, :0], r"^Found array with 0 feature\(s\) \(shape=\(50, 0\)\)"),
    "one row": (lambda X: X.toarray()[0], r"^Expected 2D array, got 1D array instead"),
    "three dimensions": (lambda X: X.toarray()[None], r"^Found array with dim 3, while dim <= 2 is required"),
    "text": (
        lambda X: pd.DataFrame({"user": ["a"] * 50}),
        r"^Column 'user' of X .* Turn text, dates and categories",
    ),
    "complex": (lambda X: X.toarray() + 1j, r"^Complex data not supported"),
    "index out of range": (
        lambda X: raw_csr(np.arange(51), [0] * 49 + [60], np.ones(50), (50, 60)),
        r"^X.indices\[49\]=60 \(row 49\) must lie in 0 .. 59",
    ),
    "negative index": (
        lambda X: raw_csr(np.arange(51), [-1] + [0] * 49, np.ones(50), (50, 60)),
        r"^X.indices\[0\]=-1 \(row 0\) must lie in 0 .. 59",
    ),
}


@BOTH
@pytest.mark.parametrize("case", BAD_X)
def test_bad_rows(estimator_class, case):
    make, message = BAD_X[case]
    X, y = small_data(estimator_class, 50)
    bad = make(X)
    assert_refused(new_model(estimator_class), re.compile(message), bad, y[: bad.shape[0] or 50])
    model = new_model(estimator_class).fit(*small_data(estimator_class, 60))
    if case != "text":
        with pytest.raises(InputError, match=message):
            model.predict(bad)
        with pytest.raises(InputError, match=r"^eval_set\[1\]: " + message[1:]):
            new_model(estimator_class).fit(X, y, eval_set=[(X, y), (bad, y)])


@BOTH
@pytest.mark.parametrize("width", [59, 61])
def test_rows_of_another_width(estimator_class, width):
    """scikit-learn's own error."""
    X, y = small_data(estimator_class, 60)
    model = new_model(estimator_class, warm_start=True).fit(X, y)
    other = sp.csr_array((50, width))
    message = f"X has {width} features, but {estimator_class.__name__} is expecting 60 features as input"
    before = answers(model, X)
    for call in (
        lambda: model.predict(other),
        lambda: model.fit(other, y[:50]),
        lambda: model.partial_fit(other, y[:50]),
        lambda: model.fit(X[:50], y[:50], eval_set=(other, y[:50])),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    np.testing.assert_array_equal(answers(model, X), before)
    assert len(model.history_) == 3


@BOTH
def test_a_table_too_large_for_memory(estimator_class):
    X = sp.csr_array((np.ones(50), np.arange(50), np.arange(51)), shape=(50, 2**40))
    y = small_data(estimator_class, 50)[1]
    message = "n_features=1099511627776 with n_factors=4 needs parameter tables of "
    assert_refused(new_model(estimator_class), message, X, y, error=TableTooLargeError)
    with pytest.raises(MemoryError, match="hash the column ids into a smaller range"):
        new_model(estimator_class).fit(X, y)
    assert_refused(
        new_model(estimator_class, n_factors=10**12),
        "n_factors=1000000000000 needs",
        *small_data(estimator_class, 50),
        error=TableTooLargeError,
    )


# y


@BOTH
@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_targets_that_are_no_numbers(estimator_class, value):
    X, y = small_data(estimator_class, 50)
    kind = "NaN" if value != value else "infinity"
    message = f"y[7]={value} (row 7): y contains {kind}. Drop such rows first."
    assert_refused(new_model(estimator_class), message, X, with_value(y, 7, value))
    message = f"eval_set[0] y[7]={value} (row 7)"
    assert_refused(new_model(estimator_class), message, X, y, eval_set=(X, with_value(y, 7, value)))


@pytest.mark.parametrize("missing", [None, NAN, pd.NA])
def test_missing_labels_among_strings(missing):
    X, y = clicks(50)
    labels = np.array(["no", "yes"], dtype=object)[y]
    labels[3] = missing
    assert_refused(new_model(FMClassifier), "(row 3): y contains NaN", X, labels)


def test_one_class():
    X, _ = clicks(50)
    for label in (1, "yes"):
        message = f"y holds one class, {label!r}, but a classifier needs two; a chunk of one class is"
        assert_refused(new_model(FMClassifier), message, X, np.full(50, label))
    weight = np.arange(50) % 2
    assert_refused(new_model(FMClassifier), "y holds one class", X, np.arange(50) % 2, sample_weight=weight)


def test_more_than_two_classes():
    X, _ = clicks(50)
    message = "Only binary classification is supported. y holds 3 labels ("
    assert_refused(new_model(FMClassifier), message, X, np.arange(50) % 3)
    with pytest.raises(InputError, match="OneVsRestClassifier, or FMRegressor for ratings"):
        FMClassifier().fit(X, np.arange(50))
    assert_refused(
        new_model(FMClassifier), "y holds no labels: Unknown label type: continuous", X, np.arange(50) / 3
    )


def test_labels_that_cannot_be_sorted():
    X, y = clicks(50)
    labels = np.array([0, "yes"], dtype=object)[y]
    assert_refused(new_model(FMClassifier), "y mixes labels of kinds that cannot be sorted", X, labels)


@BOTH
@pytest.mark.parametrize("length", [0, 49, 51])
def test_lengths_that_differ(estimator_class, length):
    X, y = small_data(estimator_class, 50)
    message = f"{length} entries, but X has inconsistent numbers of samples: 50 rows; give one entry for each row."
    model = new_model(estimator_class)
    assert_refused(model, f"y has {message}", X, np.resize(y, length))
    assert_refused(model, f"sample_weight has {message}", X, y, sample_weight=np.ones(length))
    assert_refused(model, f"eval_set[0] y has {message}", X, y, eval_set=(X, np.resize(y, length)))
    message = f"eval_set[0] sample_weight has {message}"
    assert_refused(model, message, X, y, eval_set=(X, y, np.ones(length)))


@BOTH
def test_targets_of_other_kinds(estimator_class):
    X, y = small_data(estimator_class, 50)
    model = new_model(estimator_class)
    assert_refused(model, "This estimator requires y to be passed, but the target y is None", X, None)
    assert_refused(model, "y is a sparse matrix, but must be dense", X, sp.csr_array(y[:, None]))
    assert_refused(model, "y must be one column of targets", X, np.column_stack([y, y]))
    if estimator_class is FMRegressor:
        assert_refused(model, "y cannot be read as numbers", X, ["a"] * 50)
        assert_refused(
            model,
            "y holds values up to 1e+300, whose squares no float64 can hold",
            X,
            y * 0 + [1e300, -1e300] * 25,
        )


def test_labels_beyond_the_classes():
    X, y = clicks(60)
    model = new_model(FMClassifier).fit(X, y)
    before = answers(model, X)
    for bad in (
        lambda: model.partial_fit(X[:50], y[:50] + 1),
        lambda: model.set_params(warm_start=True).fit(X[:50], y[:50] + 1),
    ):
        with pytest.raises(InputError, match=r"^y\[\d+\]=2 is none of the classes \[0, 1\]; all labels must"):
            bad()
    with pytest.raises(
        InputError, match=r"^classes=\[1, 2\] differ from \[0, 1\], which the model knows; leave them"
    ):
        model.partial_fit(X[:50], y[:50], classes=[1, 2])
    np.testing.assert_array_equal(answers(model, X), before)
    with pytest.raises(InputError, match=r"^eval_set\[0\] y\[0\]='maybe' is none of the classes \[0, 1\]"):
        new_model(FMClassifier).fit(X[:50], y[:50], eval_set=(X, np.array(["maybe"] * 60)))


def test_first_chunk_needs_the_classes():
    X, y = clicks(50)
    with pytest.raises(
        InputError, match=r"^classes=None: the first call of partial_fit must name all labels, e\.g\."
    ):
        FMClassifier().partial_fit(X, y)
    for classes, found in (([1], "one class"), ([], "no class"), ([0, 1, 2], "3 labels (0, 1, 2)")):
        with pytest.raises(InputError, match=re.escape(f"classes holds {found}")):
            FMClassifier().partial_fit(X, y, classes=classes)
    with pytest.raises(InputError, match=r"is none of the classes \[5, 6\]"):
        FMClassifier().partial_fit(X, y, classes=[5, 6])


# Weights


@BOTH
@pytest.mark.parametrize("value", [-1.0, -1e-300, NAN, INF, 1e31])
def test_weights_that_are_none(estimator_class, value):
    X, y = small_data(estimator_class, 50)
    message = f"sample_weight[4]={value:g} must be a finite number from 0 (the row has no effect) to 1e30"
    weight = with_value(np.ones(50), 4, value)
    assert_refused(new_model(estimator_class), message, X, y, sample_weight=weight)
    assert_refused(new_model(estimator_class), f"eval_set[0] {message}", X, y, eval_set=(X, y, weight))


@BOTH
def test_weights_of_other_kinds(estimator_class):
    X, y = small_data(estimator_class, 50)
    model = new_model(estimator_class)
    message = "sample_weight is zero for every row; at least one must be greater than 0."
    assert_refused(model, message, X, y, sample_weight=np.zeros(50))
    assert_refused(model, "sample_weight cannot be read as numbers", X, y, sample_weight=["heavy"] * 50)
    assert_refused(model, "sample_weight has shape=(50, 1), but must be 1D", X, y, sample_weight=np.ones((50, 1)))


@pytest.mark.parametrize(
    ("class_weight", "message"),
    [
        ("even", "class_weight='even' is unknown; use one of 'balanced'. A dict of label: weight works too."),
        ({0: -1.0}, "class_weight[0]=-1.0 must be at least 0."),
        ({1: NAN}, "class_weight[1]=nan must be a finite number at least 0."),
        ({1: "2"}, "class_weight[1]='2' must be a number at least 0."),
        ({"yes": 2}, "class_weight names the label 'yes', but the classes are [0, 1]; use these."),
        ({0: 0, 1: 0}, "class_weight={0: 0, 1: 0} leaves no row with a weight over 0."),
        ([1, 2], "class_weight=[1, 2] must be None, 'balanced' or a dict of label: weight."),
    ],
)
def test_class_weights(class_weight, message):
    assert_refused(new_model(FMClassifier, class_weight=class_weight), message, *clicks(50))


# eval_set, eval_metric, callbacks


EVAL_SETS = {
    "a matrix": (
        lambda X, y: X,
        "eval_set is a csr_array, but must be (X, y) or (X, y, sample_weight), or a list",
    ),
    "X alone": (lambda X, y: (X,), "eval_set[0] is a csr_array, but must be"),
    "X and y in a list": (lambda X, y: [X, y], "eval_set[0] is a csr_array, but must be (X, y)"),
    "one of four": (lambda X, y: [(X, y, y, y)], "eval_set[0] is a tuple of 4, but must be"),
    "second of one": (lambda X, y: [(X, y), (X,)], "eval_set[1] is a tuple of 1, but must be"),
    "text": (lambda X, y: "valid.txt", "eval_set is a str, but must be"),
    "a dict": (lambda X, y: {"valid": (X, y)}, "eval_set is a dict, but must be"),
    "no y": (lambda X, y: (X, None), "the target eval_set[0] y is None"),
    "all-zero weights": (lambda X, y: (X, y, y * 0), "eval_set[0] sample_weight is zero for every row"),
    "empty X": (lambda X, y: (X[:0], y[:0]), "eval_set[0]: Found array with 0 sample(s)"),
}


@BOTH
@pytest.mark.parametrize("case", EVAL_SETS)
def test_eval_sets(estimator_class, case):
    X, y = small_data(estimator_class, 50)
    make, message = EVAL_SETS[case]
    assert_refused(new_model(estimator_class), message, X, y, eval_set=make(X, y))


@BOTH
def test_metrics(estimator_class):
    X, y = small_data(estimator_class, 50)
    task, known, other = (
        ("classification", "'logloss', 'auc', 'accuracy'", "rmse")
        if estimator_class is FMClassifier
        else ("regression", "'rmse', 'mae', 'mse'", "auc")
    )
    for unknown, named in ((other, other), ("f1", "f1"), ([other], other)):
        message = f"eval_metric={named!r} is unknown; use one of {known}. These go with {task}."
        assert_refused(new_model(estimator_class, eval_metric=unknown), message, X, y, eval_set=(X, y))
    for wrong in (3, [], {}, NAN):
        message = f"eval_metric={wrong!r} must be the name of a metric, or a list of names."
        assert_refused(new_model(estimator_class, eval_metric=wrong), message, X, y)


@BOTH
@pytest.mark.parametrize("callbacks", [3, "stop", [print, None], int])
def test_callbacks(estimator_class, callbacks):
    X, y = small_data(estimator_class, 50)
    shown = repr(callbacks[1] if isinstance(callbacks, list) else callbacks)
    message = f"callbacks={shown} must be an instance of fastfm_deep.Callback, or a function of one argument"
    assert_refused(new_model(estimator_class), message, X, y, callbacks=callbacks)


# Not fitted


@BOTH
def test_unfitted_estimators_say_so(estimator_class, tmp_path):
    X, y = small_data(estimator_class, 50)
    model = estimator_class()
    names = ["predict", "score", "save"]
    names += ["predict_proba", "decision_function"] if estimator_class is FMClassifier else []
    arguments = {"score": (X, y), "save": (tmp_path / "model.safetensors",)}
    for name in names:
        message = f"This {estimator_class.__name__} instance is not fitted yet"
        with pytest.raises(NotFittedError, match=message):
            getattr(model, name)(*arguments.get(name, (X,)))
    for name in ("coef_", "factors_", "intercept_"):
        with pytest.raises(NotFittedError):
            getattr(model, name)
        assert not hasattr(model, name)
    assert list(tmp_path.iterdir()) == []


@BOTH
def test_bad_threads_for_predictions(estimator_class):
    X, y = small_data(estimator_class, 60)
    model = new_model(estimator_class).fit(X, y).set_params(n_jobs=0)
    with pytest.raises(InputError, match=r"^n_jobs=0 must be None, a number of threads, or -1 for all cores\.$"):
        model.predict(X)
