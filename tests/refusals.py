"""How it is tested that an estimator refuses what it is given: it says so, does no work, and stays as it was."""

from __future__ import annotations

import re
from unittest import mock

import numpy as np
import pytest
from fit_tools import answers, new_model, small_data

from fastfm_deep import InputError
from fastfm_deep.training.loop import Training


def refuse(model, pattern, error, method, X, y, options):
    with (
        mock.patch.object(Training, "run", side_effect=AssertionError("training began")),
        pytest.raises(error, match=pattern),
    ):
        getattr(model, method)(X, y, **options)


def assert_refused(model, message, X, y, error=InputError, method="fit", **options):
    """Without an earlier fit, and with one, which stays; `message` is a part of the text, or a pattern."""
    pattern = re.escape(message) if isinstance(message, str) else message
    parameters = model.get_params()
    unfitted = type(model)(**parameters)
    refuse(unfitted, pattern, error, method, X, y, options)
    assert vars(unfitted) == parameters  # not one attribute more

    good_X, good_y = small_data(type(model), 60)
    fitted = new_model(type(model)).fit(good_X, good_y)
    expected, attributes = answers(fitted, good_X), dict(vars(fitted))
    fitted.set_params(**parameters)
    refuse(fitted, pattern, error, method, X, y, options)
    for name in attributes.keys() - parameters.keys():
        assert vars(fitted)[name] is attributes[name], name
    np.testing.assert_array_equal(answers(fitted.set_params(n_jobs=None), good_X), expected)
