"""The loss of one row and its derivative by the raw score, chosen by an integer id.

A *raw score* is what the model computes before the link function. Targets are -1 and +1 for the logistic loss,
any number for the squared one.
"""

from __future__ import annotations

import math

import numpy as np

from fastfm_deep.kernels._jit import row_function

LOGISTIC = 0
SQUARED = 1
LOSS_IDS = {"logistic": LOGISTIC, "squared": SQUARED}


@row_function
def loss_and_gradient(loss, raw_score, target):
    """Loss and ∂loss/∂raw_score of one row, float32, finite for raw scores of ±500 and beyond.

    logistic: log(1 + exp(-y s)) and -y / (1 + exp(y s)); squared: ½ (s - y)² and s - y.
    """
    if loss == LOGISTIC:
        against = -target * raw_score  # positive where the score is on the wrong side
        # exp only ever sees a negative number, so it cannot overflow.
        if against > np.float32(0.0):
            small = np.float32(math.exp(-against))
            return against + np.float32(math.log1p(small)), -target / (np.float32(1.0) + small)
        small = np.float32(math.exp(against))
        return np.float32(math.log1p(small)), -target * small / (np.float32(1.0) + small)
    residual = raw_score - target
    return np.float32(0.5) * residual * residual, residual
