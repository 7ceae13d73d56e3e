"""A factorization machine in float64, written from the formulas: slow, obvious, and what every kernel must match.

A *row* is a dict from column to value. Nothing here knows the lemma that makes the kernels fast, nor how their
tables are laid out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np

Row = dict[int, float]


def logistic_loss(raw: float, y: float) -> float:
    """log(1 + exp(-y raw)), y = -1 or +1."""
    return float(np.logaddexp(0.0, -y * raw))


def logistic_gradient(raw: float, y: float) -> float:
    """-y / (1 + exp(y raw)), with the sigmoid through tanh, which does not overflow."""
    return -y * 0.5 * (1.0 + math.tanh(-0.5 * y * raw))


def squared_loss(raw: float, y: float) -> float:
    return 0.5 * (raw - y) ** 2


def squared_gradient(raw: float, y: float) -> float:
    return raw - y


LOSSES = {"logistic": (logistic_loss, logistic_gradient), "squared": (squared_loss, squared_gradient)}


@dataclass(frozen=True)
class Settings:
    """The hyper-parameters of an update."""

    loss: str = "logistic"
    rule: str = "adagrad"
    learning_rate: float = 0.05
    l2_linear: float = 0.0
    l2_factors: float = 0.0
    l1_linear: float = 0.0
    max_gradient: float = math.inf


# A rule takes a number or a vector of numbers that share one rate, their gradient (L2 included), and `memory`,
# a dict that it alone reads and writes and that starts empty. It returns the new value.


def sgd(value, gradient, memory, settings):
    return value - settings.learning_rate * gradient


def adagrad(value, gradient, memory, settings):
    """One sum of squares per number, starting at 1."""
    memory["sum"] = memory.get("sum", 1.0) + gradient**2
    return value - settings.learning_rate * gradient / np.sqrt(memory["sum"])


def adagrad_rowwise(value, gradient, memory, settings):
    """One sum of mean squares for the whole vector, starting at 1."""
    memory["sum"] = memory.get("sum", 1.0) + np.mean(gradient**2)
    return value - settings.learning_rate * gradient / np.sqrt(memory["sum"])


def adam(value, gradient, memory, settings):
    """Kingma & Ba's efficient form (end of their section 2): the bias correction is part of the rate."""
    t = memory["count"] = memory.get("count", 0) + 1
    memory["m"] = 0.9 * memory.get("m", 0.0) + 0.1 * gradient
    memory["u"] = 0.999 * memory.get("u", 0.0) + 0.001 * gradient**2
    rate = settings.learning_rate * np.sqrt(1.0 - 0.999**t) / (1.0 - 0.9**t)
    return value - rate * memory["m"] / (np.sqrt(memory["u"]) + 1e-8)


def ftrl(value, gradient, memory, settings, l1, l2):
    """FTRL-Proximal, algorithm 1 of McMahan et al. (2013) with beta = 1; `gradient` has no L2 part here."""
    alpha, z, n = settings.learning_rate, memory.get("z", 0.0), memory.get("n", 0.0)
    sigma = (math.sqrt(n + gradient**2) - math.sqrt(n)) / alpha
    memory["z"] = z = z + gradient - sigma * value
    memory["n"] = n = n + gradient**2
    if abs(z) <= l1:
        return 0.0
    return -(z - math.copysign(l1, z)) / ((1.0 + math.sqrt(n)) / alpha + l2)


FACTOR_RULES = {
    "sgd": sgd,
    "adagrad": adagrad,
    "adagrad_rowwise": adagrad_rowwise,
    "adam": adam,
    "ftrl": adagrad,
}


@dataclass
class ReferenceFM:
    """The parameters and what the rule remembers of each."""

    intercept: float
    weights: np.ndarray  # (n_features,)
    factors: np.ndarray  # (n_features, n_factors)
    inverse_scale: np.ndarray | None = None  # (n_features,): what the values are multiplied with
    memories: dict = field(default_factory=dict)

    def scaled(self, row: Row) -> Row:
        if self.inverse_scale is None:
            return row
        return {i: x * self.inverse_scale[i] for i, x in row.items()}

    def raw_score(self, row: Row) -> float:
        """w0 + Σ w_i x_i + Σ over pairs of <v_i, v_j> x_i x_j."""
        x = self.scaled(row)
        raw = self.intercept + sum(self.weights[i] * x[i] for i in x)
        for i, j in combinations(x, 2):
            raw += np.dot(self.factors[i], self.factors[j]) * x[i] * x[j]
        return float(raw)

    def raw_gradients(self, row: Row) -> tuple[float, dict[int, float], dict[int, np.ndarray]]:
        """∂raw/∂w0, and by column ∂raw/∂w_i and ∂raw/∂v_i = x_i Σ_{j≠i} x_j v_j."""
        x = self.scaled(row)
        zero = np.zeros(self.factors.shape[1])
        by_factors = {i: x[i] * sum((x[j] * self.factors[j] for j in x if j != i), zero) for i in x}
        return 1.0, dict(x), by_factors

    def penalised_loss(self, row: Row, y: float, settings: Settings, weight: float = 1.0) -> float:
        """weight·loss + ½ l2 w² of every parameter that the row touches: what one SGD update descends."""
        loss = LOSSES[settings.loss][0](self.raw_score(row), y)
        linear = sum(self.weights[i] ** 2 for i in row)
        factors = sum(np.sum(self.factors[i] ** 2) for i in row)
        return weight * loss + 0.5 * settings.l2_linear * linear + 0.5 * settings.l2_factors * float(factors)

    def update(self, row: Row, y: float, settings: Settings, weight: float = 1.0) -> float:
        """One update of every parameter that the row touches; returns the weighted loss before it."""
        loss, loss_gradient = LOSSES[settings.loss]
        raw = self.raw_score(row)
        g = loss_gradient(raw, y)
        if abs(g) > settings.max_gradient:
            g = math.copysign(settings.max_gradient, g)
        g *= weight
        by_intercept, by_weights, by_factors = self.raw_gradients(row)
        self.intercept = self._weight("w0", self.intercept, g * by_intercept, 0.0, 0.0, settings)
        for i in row:
            gradient = g * by_weights[i]
            self.weights[i] = self._weight(
                ("w", i), self.weights[i], gradient, settings.l2_linear, settings.l1_linear, settings
            )
            if self.factors.shape[1]:
                self.update_factors(i, g * by_factors[i] + settings.l2_factors * self.factors[i], settings)
        return weight * loss(raw, y)

    def update_factors(self, i: int, gradient: np.ndarray, settings: Settings) -> None:
        """One update of v_i by its gradient, L2 included."""
        memory = self.memories.setdefault(("v", i), {})
        self.factors[i] = FACTOR_RULES[settings.rule](self.factors[i], gradient, memory, settings)

    def _weight(self, name, value, gradient, l2, l1, settings):
        memory = self.memories.setdefault(name, {})
        if settings.rule == "ftrl":
            return ftrl(value, gradient, memory, settings, l1, l2)
        return FACTOR_RULES[settings.rule](value, gradient + l2 * value, memory, settings)

    def copy(self) -> ReferenceFM:
        """The same parameters with nothing remembered."""
        return ReferenceFM(self.intercept, self.weights.copy(), self.factors.copy(), self.inverse_scale)
