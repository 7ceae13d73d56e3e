"""Every hyper-parameter: what is refused, in which words, and that none is left out."""

from __future__ import annotations

import numpy as np
import pytest
from fit_tools import assert_same_bits, new_model, small_data
from refusals import assert_refused

from fastfm_deep import FMClassifier, FMRegressor, InputError

BOTH = pytest.mark.parametrize("estimator_class", [FMClassifier, FMRegressor])
NAN, INF = float("nan"), float("inf")


AT_LEAST_0 = [(-1.0, "{}=-1.0 must be at least 0."), (NAN, "{}=nan must be a finite number at least 0.")]
AT_LEAST_0 += [
    (INF, "{}=inf must be a finite number"),
    ("1", "{}='1' must be a number"),
    (None, "{}=None must be"),
]
AT_LEAST_0 += [(True, "{}=True must be a number at least 0."), (1e31, "{}=1e+31 must be at most 1e+30.")]
ABOVE_0 = [(0.0, "{}=0.0 must be greater than 0."), (-1, "{}=-1 must be greater than 0."), *AT_LEAST_0[3:5]]
ABOVE_0 += [(NAN, "{}=nan must be a finite number greater than 0."), (INF, "{}=inf must be a finite number")]


def whole(minimum):
    rule = f"must be an integer of at least {minimum}."
    numbers = [(minimum - 1, f"{{}}={minimum - 1} must be at least {minimum}.")]
    return numbers + [(value, f"{{}}={value!r} {rule}") for value in (1.5, NAN, "2", True, [1])]


def one_of(known):
    return [(value, f"{{}}={value!r} is unknown; use one of {known}") for value in ("Best", 1, NAN)]


RULES = {
    "n_factors": [*whole(0), (None, "{}=None must be an integer")],
    "n_epochs": [*whole(1), (None, "{}=None must be an integer")],
    "early_stopping_rounds": whole(1),
    "verbose": [case for case in whole(0) if case[0] is not True],
    "random_state": whole(0),
    "n_jobs": [(0, "{}=0 must be None, a number of threads, or -1 for all cores."), *whole(-(2**31))[1:]],
    "learning_rate": ABOVE_0,
    "l2_reg_linear": AT_LEAST_0,
    "l2_reg_factors": AT_LEAST_0,
    "l1_reg_linear": AT_LEAST_0,
    "init_std": AT_LEAST_0,
    "optimizer": one_of("'sgd', 'adagrad', 'adagrad_rowwise', 'adam', 'ftrl'."),
    "on_divergence": one_of("'raise', 'warn'."),
    "warm_start": [(value, f"{{}}={value!r} must be True or False.") for value in (1, "True", None, NAN)],
    "encoder": [(value, f"{{}}={value!r} must be a TableEncoder") for value in (1, "auto", [1])],
    "linear_columns": [(["user"], "{} names columns of a table, so it needs encoder=")],
    "deep_columns": [(["user"], "{} names columns of a table, so it needs encoder=")],
    "clip": [(value, f"{{}}={value!r} must be True or False.") for value in (1, "False", None)],
}


def test_no_hyper_parameter_is_left_out():
    elsewhere = {"class_weight", "eval_metric", "negative_downsampling"}
    names = FMClassifier().get_params().keys() | FMRegressor().get_params().keys()
    assert names - elsewhere == RULES.keys()


@BOTH
@pytest.mark.parametrize("name", RULES)
def test_hyper_parameters(estimator_class, name):
    if name not in estimator_class().get_params():
        assert name == "clip"
        return
    X, y = small_data(estimator_class, 50)
    for value, message in RULES[name]:
        model = new_model(estimator_class, **{"optimizer": "ftrl", name: value})
        assert_refused(model, message.format(name), X, y)
        method = {"classes": [0, 1]} if estimator_class is FMClassifier else {}
        if name != "early_stopping_rounds":
            assert_refused(model, message.format(name), X, y, method="partial_fit", **method)


@BOTH
def test_numbers_of_numpy_are_numbers(estimator_class):
    X, y = small_data(estimator_class, 60)
    plain = new_model(estimator_class, learning_rate=0.25, l2_reg_linear=0, verbose=False).fit(X, y)
    other = new_model(
        estimator_class,
        n_factors=np.int64(4),
        n_epochs=np.uint8(3),
        learning_rate=np.float32(0.25),
        l2_reg_linear=np.float64(0),
        warm_start=np.bool_(False),
        random_state=np.int32(0),
        init_std=np.float64(0.1),
    ).fit(X, y)
    assert_same_bits(other, plain)


@BOTH
def test_hyper_parameters_that_do_not_go_together(estimator_class):
    X, y = small_data(estimator_class, 50)
    message = "l1_reg_linear=0.5 works with optimizer='ftrl' alone, not with optimizer='adagrad'"
    assert_refused(new_model(estimator_class, l1_reg_linear=0.5), message, X, y)
    message = "early_stopping_rounds=2 needs rows to watch: pass eval_set=[(X_valid, y_valid)] to fit"
    assert_refused(new_model(estimator_class, early_stopping_rounds=2), message, X, y)
    model = new_model(estimator_class, warm_start=True).fit(*small_data(estimator_class, 60))
    model.set_params(n_factors=5)
    for go_on in (model.fit, model.partial_fit):
        with pytest.raises(InputError, match="n_factors=5 differs from the 4 of the model that training goes"):
            go_on(X, y)
    assert model.factors_.shape == (60, 4)


@BOTH
def test_unknown_hyper_parameters(estimator_class):
    with pytest.raises(TypeError, match="unexpected keyword argument 'rank'"):
        estimator_class(rank=4)
    with pytest.raises(ValueError, match="Invalid parameter 'rank' for estimator"):
        estimator_class().set_params(rank=4)
