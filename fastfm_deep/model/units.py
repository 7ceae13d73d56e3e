"""Answers: what raw scores are told as, `shift + scale * raw`, then the link function or the bounds of a model."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# math.exp overflows behind it.
_FARTHEST = 709.0


class Units(NamedTuple):
    """What answers are told in."""

    shift: float = 0.0
    scale: float = 1.0
    low: float = -math.inf
    high: float = math.inf
    is_logistic: bool = False

    def answer(self, raw: float) -> float:
        """The answer to one raw score."""
        answer = self.shift + self.scale * raw
        if not self.is_logistic:
            return min(max(answer, self.low), self.high)
        return 1.0 / (1.0 + math.exp(-answer)) if answer > -_FARTHEST else 0.0

    def answers(self, raw: NDArray[np.float64]) -> NDArray[np.float64]:
        """The answers to raw scores; these are written over."""
        np.multiply(raw, self.scale, out=raw)
        np.add(raw, self.shift, out=raw)
        if not self.is_logistic:
            return np.clip(raw, self.low, self.high, out=raw)
        np.negative(raw, out=raw)
        with np.errstate(over="ignore"):
            np.exp(raw, out=raw)
        np.add(raw, 1.0, out=raw)
        return np.divide(1.0, raw, out=raw)


RAW = Units()
"""Answers that are raw scores."""
