"""Metrics: those of scikit-learn, and what is said where there is nothing to measure."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn import metrics as reference

from fastfm_deep.training.metrics import METRICS


def made(n_rows: int, kind: str, seed: int):
    """Targets of -1 and +1, raw scores, and weights some of which are zero."""
    rng = np.random.default_rng(seed)
    y = np.where(rng.random(n_rows) < 0.3, 1.0, -1.0)
    y[:2] = 1.0, -1.0
    raw = rng.integers(-2, 3, n_rows).astype(float) if kind == "ties" else rng.normal(y, 2.0)
    weight = rng.random(n_rows) * (rng.random(n_rows) < 0.8)
    weight[:2] = 1.0
    return y, raw, weight


@pytest.mark.parametrize("kind", ["ties", "no ties"])
@pytest.mark.parametrize("n_rows", [2, 3, 10, 1000])
@pytest.mark.parametrize("weighted", [False, True])
def test_of_two_classes(n_rows, kind, weighted):
    for seed in range(10):
        y, raw, weight = made(n_rows, kind, seed)
        given = weight if weighted else None
        p = 1.0 / (1.0 + np.exp(-raw))
        expected = {
            "logloss": reference.log_loss(y, p, sample_weight=given),
            "auc": reference.roc_auc_score(y, raw, sample_weight=given),
            "accuracy": reference.accuracy_score(y > 0, raw > 0, sample_weight=given),
        }
        got = {name: METRICS[name].compute(y, raw, given) for name in expected}
        assert got == pytest.approx(expected, rel=1e-12, abs=1e-15)


def test_auc_at_its_ends():
    y = np.repeat([-1.0, 1.0], 5)
    raw = np.arange(10.0)
    auc = METRICS["auc"].compute
    assert (auc(y, raw, None), auc(y, -raw, None), auc(y, 0 * raw, None)) == (1.0, 0.0, 0.5)
    assert auc(y[::-1], raw, np.repeat([1.0, 2.0], 5)) == 0.0
    assert auc(y, np.array([-800.0] * 9 + [800.0]), None) == 0.6


@pytest.mark.parametrize(
    ("y", "weight"),
    [([], None), ([1.0], None), ([-1.0, -1.0], None), ([1.0, -1.0], [1.0, 0.0]), ([1.0, -1.0], [0.0, 0.0])],
)
def test_auc_of_one_class_is_no_number(y, weight):
    weight = None if weight is None else np.array(weight)
    assert math.isnan(METRICS["auc"].compute(np.array(y), np.zeros(len(y)), weight))
