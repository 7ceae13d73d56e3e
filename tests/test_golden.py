"""Model files of earlier versions load, and score as they did (made by `make_golden.py`)."""

from __future__ import annotations

import json

import numpy as np
import pytest
from make_golden import FOLDER, answers_of

from fastfm_deep import load_model

FORMATS = [1, 2]


@pytest.mark.parametrize("number", FORMATS)
def test_they_score_as_they_did(number):
    scores = json.loads((FOLDER / f"scores_{number}.json").read_text())
    assert len(scores) == 4
    for name, expected in scores.items():
        model = load_model(FOLDER / f"{name}_{number}.safetensors")
        np.testing.assert_allclose(answers_of(model), expected, rtol=1e-4, atol=1e-5, err_msg=name)


def test_training_goes_on_from_them():
    model = load_model(FOLDER / "deepfm_classifier_1.safetensors")
    rng = np.random.default_rng(0)
    X = (rng.random((100, 16)) < 0.3).astype(np.float32)
    before = model.factors_.copy()
    model.partial_fit(X, rng.integers(0, 2, 100))
    assert np.isfinite(model.factors_).all()
    assert not np.array_equal(before, model.factors_)
