"""Bad input of a DeepFM: a clear error of ours before any work, and an earlier fit that stays as it was."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from deepfm_fit_tools import BOTH, SIZES, layout, new_deep
from fit_tools import answers, small_data
from refusals import assert_refused

from fastfm_deep import (
    DeepFMClassifier,
    FieldLayout,
    FMClassifier,
    InputError,
    TableTooLargeError,
)

NAN, INF = float("nan"), float("inf")
NO_SEQUENCE = "must be a sequence of the widths of the hidden layers, as (64, 32); () for a plain"


def one_of(known):
    return [(value, f"{{}}={value!r} is unknown; use one of {known}") for value in ("Best", 1, None, NAN)]


AT_LEAST_0 = [
    (-0.1, "{}=-0.1 must be at least 0."),
    (NAN, "{}=nan must be a finite number at least 0."),
    (INF, "{}=inf must be a finite number"),
    ("0.1", "{}='0.1' must be a number at least 0."),
    (None, "{}=None must be a number"),
    (True, "{}=True must be a number"),
]
RULES = {
    "dnn_hidden_units": [
        ((0,), "{}[0]=0 must be at least 1."),
        ((8, -4), "{}[1]=-4 must be at least 1."),
        ((8.0,), "{}[0]=8.0 must be an integer of at least 1."),
        (("8",), "{}[0]='8' must be an integer of at least 1."),
        ((8, None), "{}[1]=None must be an integer"),
        ((8, True), "{}[1]=True must be an integer"),
        (np.array([8.0, 4.0]), "{}[0]=np.float64(8.0) must be an integer"),
        (8, "{}=8 " + NO_SEQUENCE),
        (None, "{}=None " + NO_SEQUENCE),
        ("64", "{}='64' " + NO_SEQUENCE),
        (b"64", "{}=b'64' " + NO_SEQUENCE),
        ({8, 4}, "{}={{8, 4}} " + NO_SEQUENCE),
        (np.array(8), "{}=array(8) " + NO_SEQUENCE),
        (np.ones((2, 2), int), "{}=array([[1, 1],"),
    ],
    "dnn_activation": one_of("'relu', 'sigmoid', 'tanh', 'leaky_relu', 'gelu'."),
    "dnn_optimizer": one_of("'sgd', 'adagrad', 'adam'."),
    "dnn_dropout": [
        *AT_LEAST_0,
        (1, "{}=1 must be below 1: it is the share of the outputs that are dropped."),
        (1.0 - 1e-12, "{}=0.999999999999 must be below 1"),  # 1 as float32
        (1.5, "{}=1.5 must be below 1"),
    ],
    "dnn_batch_norm": [(value, f"{{}}={value!r} must be True or False.") for value in (1, "True", None)],
    "dnn_learning_rate": [
        (0.0, "{}=0.0 must be greater than 0."),
        (-1, "{}=-1 must be greater than 0."),
        (NAN, "{}=nan must be a finite number greater than 0."),
        ("fast", "{}='fast' must be a number greater than 0."),
        (1e31, "{}=1e+31 must be at most 1e+30."),
    ],
    "l2_reg_dnn": AT_LEAST_0,
    "batch_size": [
        (0, "{}=0 must be at least 1."),
        (-1, "{}=-1 must be at least 1."),
        (1.5, "{}=1.5 must be an integer of at least 1."),
        ("all", "{}='all' must be an integer"),
    ],
}


def test_no_hyper_parameter_is_left_out():
    names = DeepFMClassifier().get_params().keys() - FMClassifier().get_params().keys()
    assert names == {*RULES, "fields"}


@BOTH
@pytest.mark.parametrize("name", RULES)
def test_hyper_parameters(estimator_class, name):
    X, y = small_data(estimator_class, 50)
    options = {"classes": [0, 1]} if estimator_class is DeepFMClassifier else {}
    for value, message in RULES[name]:
        model = new_deep(estimator_class, **{name: value})
        assert_refused(model, message.format(name), X, y)
        assert_refused(model, message.format(name), X, y, method="partial_fit", **options)


@BOTH
def test_hyper_parameters_that_do_not_go_together(estimator_class):
    X, y = small_data(estimator_class, 50)
    message = (
        "n_factors=0 leaves the network (dnn_hidden_units=(6, 3)) without inputs; use n_factors of at least 1"
    )
    assert_refused(new_deep(estimator_class, n_factors=0), message, X, y)
    message = "batch_size=1 leaves dnn_batch_norm=True without statistics; use larger micro-batches, or"
    assert_refused(new_deep(estimator_class, batch_size=1, dnn_batch_norm=True), message, X, y)
    new_deep(estimator_class, batch_size=1, dnn_batch_norm=True, dnn_hidden_units=()).fit(X, y)


# Fields


FIELDS = {
    "sizes too short": ([10, 10], "fields cover 20 columns, but X has 60; give each column one field."),
    "sizes too long": ([30, 31], "fields cover 61 columns, but X has 60"),
    "huge sizes": ([30, 10**30], f"fields cover {10**30 + 30} columns"),
    "sizes too many for memory": ([10**11] * 3, "fields cover 300000000000 columns, but X has 60"),
    "no sizes": ([], "fields cover 0 columns, but X has 60"),
    "size of zero": ([60, 0], "fields[1]=0 must be at least 1."),
    "negative size": ([61, -1], "fields[1]=-1 must be at least 1."),
    "size with a fraction": ([30.0, 30.0], "fields[0]=30.0 must be an integer of at least 1."),
    "names": (["user", "item"], "fields[0]='user' must be an integer of at least 1."),
    "overlap": ([range(30), range(20, 60)], "fields[0]=range(0, 30) must be an integer of at least 1."),
    "short array": (np.zeros(59, int), "fields cover 59 columns, but X has 60"),
    "long array": (np.zeros(61, int), "fields cover 61 columns, but X has 60"),
    "array of two axes": (
        np.zeros((60, 2), int),
        "fields of shape (60, 2) and dtype int64 must be a flat array of",
    ),
    "array of fractions": (
        np.zeros(60),
        "fields of shape (60,) and dtype float64 must be a flat array of integers",
    ),
    "negative fields": (np.full(60, -2), "fields[0]=-2 must lie in -1 .. 2147483646 (-1: no field)"),
    "no column has one": (
        np.full(60, -1),
        "fields put no column into any field (all are -1), which leaves the network",
    ),
    "a number beyond int32": (
        np.r_[np.zeros(59, int), 2**31],
        "fields[59]=2147483648 must lie in -1 .. 2147483646",
    ),
    "short layout": (FieldLayout.from_sizes([10, 10]), "fields cover 20 columns, but X has 60"),
    "layout that lies": (FieldLayout(np.arange(60, dtype=np.int32), 7), "fields.n_fields=7 must be at least 60."),
    "layout of negatives": (
        FieldLayout(np.full(60, -9, np.int32), 1),
        "fields[0]=-9 must lie in -1 .. 2147483646",
    ),
    "layout of fractions": (FieldLayout(np.zeros(60), 1), "fields of shape (60,) and dtype float64"),
    "layout with too few poolings": (
        FieldLayout(np.repeat([0, 1], 30).astype(np.int32), 2, ("max",)),
        "pooling names 1 ways, but there are 2 fields",
    ),
    "unknown pooling": (
        FieldLayout(np.zeros(60, np.int32), 1, ("avg",)),
        "pooling[0]='avg' is unknown; use one of",
    ),
    "text": (
        "fields.txt",
        "fields='fields.txt' must be a FieldLayout, an int array (n_features,) with the field of",
    ),
    "a dict": ({"user": 30}, "fields={'user': 30} must be a FieldLayout, an int array (n_features,)"),
    "a number": (6, "fields=6 must be a FieldLayout, an int array (n_features,)"),
    "a series": (pd.Series(SIZES), "must be a FieldLayout, an int array (n_features,)"),
}


@BOTH
@pytest.mark.parametrize("case", FIELDS)
def test_fields(estimator_class, case):
    fields, message = FIELDS[case]
    X, y = small_data(estimator_class, 50)
    assert_refused(new_deep(estimator_class, fields=fields), message, X, y)


@BOTH
@pytest.mark.parametrize("largest", [10**7, 2**31 - 2])
def test_fields_too_many_for_memory(estimator_class, largest):
    """Nothing is as long as a number in them before it is found to be too large."""
    X, y = small_data(estimator_class, 50)
    fields = np.r_[np.zeros(59, np.int32), np.int32(largest)]
    model = new_deep(estimator_class, fields=fields, dnn_hidden_units=(2000,))
    message = f"A network of {4 * (largest + 1)} inputs (fields · n_factors) and dnn_hidden_units=(2000,) needs "
    assert_refused(model, message, X, y, error=TableTooLargeError)
    model = new_deep(estimator_class, fields=fields, dnn_hidden_units=(), n_epochs=1).fit(X, y)
    assert np.isfinite(answers(model, X)).all()


@BOTH
def test_layers_too_wide_for_memory(estimator_class):
    X, y = small_data(estimator_class, 50)
    for units in ((10**12,), (10**6, 10**6)):
        message = f"A network of 24 inputs (fields · n_factors) and dnn_hidden_units={units} needs "
        model = new_deep(estimator_class, dnn_hidden_units=units)
        assert_refused(model, message, X, y, error=TableTooLargeError)


CHANGED = {
    "layers": {"dnn_hidden_units": (6, 4)},
    "more layers": {"dnn_hidden_units": (6, 3, 3)},
    "no layers": {"dnn_hidden_units": ()},
    "activation": {"dnn_activation": "tanh"},
    "batch norm": {"dnn_batch_norm": True},
    "other fields": {"fields": np.repeat(np.arange(6), 10)[::-1].copy()},
    "other poolings": {"fields": layout("mean")},
    "fewer fields": {"fields": [30, 30]},
    "no fields": {"fields": None},
}


@BOTH
@pytest.mark.parametrize("what", CHANGED)
def test_training_goes_on_with_the_same_network_alone(estimator_class, what):
    """Parameters of another shape would lead kernels beyond the end of arrays."""
    X, y = small_data(estimator_class, 60)
    model = new_deep(estimator_class, warm_start=True).fit(X, y)
    expected = answers(model, X)
    model.set_params(**CHANGED[what])
    units = CHANGED[what].get("dnn_hidden_units", (6, 3))
    message = (
        f"dnn_hidden_units={units}, dnn_activation, dnn_batch_norm or fields differ from those of the model that "
        "training goes on with (dnn_hidden_units=(6, 3)); set them back, or fit anew with warm_start=False."
    )
    for go_on in (model.fit, model.partial_fit):
        with pytest.raises(InputError) as caught:
            go_on(X, y)
        assert str(caught.value) == message
    np.testing.assert_array_equal(answers(model, X), expected)
    model.set_params(warm_start=False).fit(X, y)


@BOTH
def test_the_number_of_factors_cannot_change_either(estimator_class):
    X, y = small_data(estimator_class, 60)
    model = new_deep(estimator_class).fit(X, y).set_params(n_factors=5)
    with pytest.raises(
        InputError, match=r"^n_factors=5 differs from the 4 of the model that training goes on with"
    ):
        model.partial_fit(X, y)


# X, y and weights: as of plain machines


@BOTH
def test_rows_targets_and_weights(estimator_class):
    X, y = small_data(estimator_class, 50)
    model = new_deep(estimator_class, fields=None)
    for value, message in (
        (NAN, "X contains NaN"),
        (INF, "X contains infinity"),
        (1e39, "beyond the range of float32"),
    ):
        bad = X.toarray().astype(np.float64)
        bad[2, 1] = value
        assert_refused(model, message, bad, y)
    assert_refused(model, "Found array with 0 sample(s)", X[:0], y[:0])
    assert_refused(model, "Found array with 0 feature(s)", X[:, :0], y)
    assert_refused(model, "y has 49 entries, but X has inconsistent numbers of samples: 50 rows", X, y[:49])
    assert_refused(model, "y[7]=nan (row 7): y contains NaN", X, np.where(np.arange(50) == 7, NAN, y))
    for value in (NAN, INF, -1.0, 1e31):
        weight = np.where(np.arange(50) == 4, value, 1.0)
        assert_refused(
            model, f"sample_weight[4]={value:g} must be a finite number from 0", X, y, sample_weight=weight
        )
    assert_refused(model, "sample_weight is zero for every row", X, y, sample_weight=np.zeros(50))
    message = (
        "sample_weight is at most 1e-300, but at least one weight must reach 1e-30 to have an effect; multiply"
    )
    assert_refused(model, message, X, y, sample_weight=np.full(50, 1e-300))
    if estimator_class is DeepFMClassifier:
        assert_refused(model, "y holds one class, 1, but a classifier needs two", X, np.ones(50, int))
        assert_refused(model, "y holds 3 labels", X, np.arange(50) % 3)


@BOTH
def test_rows_of_another_width(estimator_class):
    X, y = small_data(estimator_class, 60)
    model = new_deep(estimator_class, fields=layout("mixed")).fit(X, y)
    before = answers(model, X)
    for width in (59, 61):
        other = sp.csr_array((60, width))
        message = f"X has {width} features, but {estimator_class.__name__} is expecting 60 features as input"
        for call in (
            lambda other=other: model.predict(other),
            lambda other=other: model.partial_fit(other, y),
            lambda other=other: model.fit(X, y, eval_set=(other, y)),
        ):
            with pytest.raises(ValueError, match=message):
                call()
    np.testing.assert_array_equal(answers(model, X), before)
