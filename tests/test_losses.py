"""The losses: against float64, against central differences, and where exp would overflow."""

from __future__ import annotations

import math

import numpy as np
import pytest
from reference import LOSSES
from table_tools import INTERPRETED

from fastfm_deep.kernels._jit import kernel
from fastfm_deep.kernels.losses import LOSS_IDS, loss_and_gradient

RAW = [-1e4, -500.0, -88.0, -17.0, -3.0, -0.25, 0.0, 1e-4, 0.5, 2.0, 16.0, 89.0, 500.0, 1e4]


@kernel
def losses_and_gradients(loss, raw_scores, targets, out):  # type: ignore[no-untyped-def]
    for row in range(len(raw_scores)):
        out[row, 0], out[row, 1] = loss_and_gradient(loss, raw_scores[row], targets[row])


def compute(loss, raw_scores, y):
    """Loss and gradient by raw score, float64 (n, 2), of float32 arguments."""
    raw_scores = np.asarray(raw_scores, np.float32)
    out = np.empty((len(raw_scores), 2))
    losses_and_gradients(LOSS_IDS[loss], raw_scores, np.full(len(raw_scores), y, np.float32), out)
    return out


def test_every_loss_has_a_reference():
    assert list(LOSS_IDS) == list(LOSSES)
    assert len(set(LOSS_IDS.values())) == len(LOSS_IDS)


@pytest.mark.parametrize("y", [-1.0, 1.0])
@pytest.mark.parametrize("loss", LOSS_IDS)
def test_values_are_those_of_float64(loss, y):
    raw_scores = np.float32(RAW).tolist()
    expected = [[function(raw, y) for function in LOSSES[loss]] for raw in raw_scores]
    got = compute(loss, raw_scores, y)
    assert np.isfinite(got).all()
    # Below float32's smallest normal number, 1e-38, the fast flags may give 0.
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-37)


@pytest.mark.parametrize("y", [-1.0, 1.0, 0.3])
@pytest.mark.parametrize("loss", LOSS_IDS)
def test_gradients_are_central_differences(loss, y):
    if loss == "logistic" and abs(y) != 1.0:
        y = math.copysign(1.0, y)
    raw_scores, step = np.linspace(-8, 8, 33), 2.0**-7
    above, below = compute(loss, raw_scores + step, y), compute(loss, raw_scores - step, y)
    expected = (above[:, 0] - below[:, 0]) / (2 * step)
    np.testing.assert_allclose(compute(loss, raw_scores, y)[:, 1], expected, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("raw", [500.0, 1e4, 1e30])
def test_logistic_loss_far_out(raw):
    """Surely right: nothing to learn. Surely wrong: the loss is the score, the gradient full."""
    assert compute("logistic", [raw], 1.0).tolist() == [[0.0, 0.0]]
    assert compute("logistic", [-raw], -1.0).tolist() == [[0.0, 0.0]]
    assert compute("logistic", [raw], -1.0).tolist() == [[float(np.float32(raw)), 1.0]]
    assert compute("logistic", [-raw], 1.0).tolist() == [[float(np.float32(raw)), -1.0]]


@pytest.mark.parametrize("loss", LOSS_IDS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_stays_so(loss, bad):
    """Of both signs of infinity, one must show in a logistic loss: the other is surely right."""
    with np.errstate(invalid="ignore", over="ignore"):
        seen = [compute(loss, [bad], y)[0, 0] for y in (-1.0, 1.0)]
    assert not np.isfinite(seen).all()


@pytest.mark.skipif(INTERPRETED, reason="types are those of the compiled code")
@pytest.mark.parametrize("loss", LOSS_IDS)
def test_no_literal_widens_to_float64(loss):
    loss_and_gradient(LOSS_IDS[loss], np.float32(0.5), np.float32(1.0))
    assert {str(signature.return_type) for signature in loss_and_gradient.nopython_signatures} == {
        "UniTuple(float32 x 2)"
    }
