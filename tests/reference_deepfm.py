"""A DeepFM in float64, written from the formulas (arXiv 1703.04247, 1502.03167): what kernels must match.

Rows are dicts from column to value, as in `reference`; the network sees the vectors of a micro-batch at once.
Gradients are those of the sum of weight·loss over the rows, by hand, one derivative after the other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from reference import LOSSES, ReferenceFM, Row, Settings

EPSILON = 1e-5  # of batch normalisation


def _gelu(z):
    return 0.5 * z * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * (z + 0.044715 * z**3)))


def _gelu_slope(z):
    inner = math.sqrt(2.0 / math.pi) * (z + 0.044715 * z**3)
    slope = math.sqrt(2.0 / math.pi) * (1.0 + 3 * 0.044715 * z**2)
    return 0.5 * (1.0 + np.tanh(inner)) + 0.5 * z * slope / np.cosh(inner) ** 2


def _sigmoid(z):
    return 1.0 / (1.0 + np.exp(-z))


# Each with its derivative.
ACTIVATIONS = {
    "relu": (lambda z: np.where(z > 0, z, 0.0), lambda z: np.where(z > 0, 1.0, 0.0)),
    "leaky_relu": (lambda z: np.where(z > 0, z, 0.01 * z), lambda z: np.where(z > 0, 1.0, 0.01)),
    "sigmoid": (_sigmoid, lambda z: _sigmoid(z) * (1.0 - _sigmoid(z))),
    "tanh": (np.tanh, lambda z: 1.0 - np.tanh(z) ** 2),
    "gelu": (_gelu, _gelu_slope),
}


@dataclass
class Layer:
    """One hidden layer; `mean` and `variance` are the running ones of batch normalisation, None without it."""

    weights: np.ndarray  # (n_inputs, n_units)
    shift: np.ndarray  # (n_units,): the bias, or beta
    gamma: np.ndarray | None = None
    mean: np.ndarray | None = None
    variance: np.ndarray | None = None


@dataclass
class Gradients:
    """Of the sum over the rows, named as the parameters; by column where rows name columns."""

    intercept: float
    weights: dict[int, float]
    factors: dict[int, np.ndarray]
    network: list[np.ndarray]  # in the order of ReferenceDeepFM.network()


@dataclass
class ReferenceDeepFM:
    """A factorization machine and a network on its factors; without `fields` the network sees the whole row."""

    fm: ReferenceFM
    layers: list[Layer]
    out_weights: np.ndarray  # (n_units,)
    out_bias: np.ndarray  # (1,)
    activation: str
    fields: np.ndarray | None = None  # of each column, -1 for none
    pooling: tuple[str, ...] = ()

    def network(self) -> list[np.ndarray]:
        """Its parameters: all weights first, then the vectors of each layer, then the bias."""
        vectors = [v for layer in self.layers for v in (layer.gamma, layer.shift) if v is not None]
        return [*(layer.weights for layer in self.layers), self.out_weights, *vectors, self.out_bias]

    def pooled(self, row: Row) -> Row:
        """The row with the values of mean and sqrtn fields divided."""
        if self.fields is None:
            return row
        n_values = {f: sum(1 for i in row if self.fields[i] == f and row[i]) for f in range(len(self.pooling))}
        powers = {"mean": 1.0, "sqrtn": 0.5}
        return {
            i: x / max(1, n_values[self.fields[i]]) ** powers.get(self.pooling[self.fields[i]], 0.0)
            if self.fields[i] >= 0
            else x
            for i, x in row.items()
        }

    def products(self, row: Row) -> dict[int, np.ndarray]:
        """x_i v_i by column."""
        return {i: x * self.fm.factors[i] for i, x in self.fm.scaled(self.pooled(row)).items()}

    def inputs(self, row: Row) -> np.ndarray:
        """What the network sees of a row, (n_vectors, n_factors)."""
        products = self.products(row)
        n_factors = self.fm.factors.shape[1]
        if self.fields is None:
            s = sum(products.values(), np.zeros(n_factors))
            q = sum((p**2 for p in products.values()), np.zeros(n_factors))
            return np.stack([s, 0.5 * (s**2 - q)])
        vectors = np.zeros((len(self.pooling), n_factors))
        for field, pooling in enumerate(self.pooling):
            mine = [products[i] for i in row if self.fields[i] == field and row[i]]
            if mine:
                vectors[field] = np.max(mine, axis=0) if pooling == "max" else np.sum(mine, axis=0)
        return vectors

    def input_gradients(self, row: Row, grads: np.ndarray) -> dict[int, np.ndarray]:
        """∂/∂(x_i v_i) by column, of what has gradient `grads` by `inputs(row)`."""
        products = self.products(row)
        if self.fields is None:
            s = sum(products.values(), np.zeros(grads.shape[1]))
            return {i: grads[0] + grads[1] * (s - p) for i, p in products.items()}
        found = {i: np.zeros(grads.shape[1]) for i in row}
        for field, pooling in enumerate(self.pooling):
            mine = [i for i in row if self.fields[i] == field]
            if pooling != "max":
                for i in mine:
                    found[i] = grads[field].copy()
                continue
            mine = [i for i in mine if row[i]]
            for f in range(grads.shape[1] if mine else 0):
                found[max(mine, key=lambda i, f=f: products[i][f])][f] = grads[field, f]
        return found

    def forward(self, x: np.ndarray, training: bool):
        """Answers (n_rows,) and what the way back needs of each layer."""
        kept = []
        for layer in self.layers:
            z = x @ layer.weights
            normed, spread, by_batch = None, None, training and len(x) > 1
            if layer.gamma is not None:
                mean = z.mean(axis=0) if by_batch else layer.mean
                variance = z.var(axis=0) if by_batch else layer.variance
                spread = np.sqrt(variance + EPSILON)
                normed = (z - mean) / spread
                z = layer.gamma * normed
            z = z + layer.shift
            kept.append((x, normed, spread, by_batch, z))
            x = ACTIVATIONS[self.activation][0](z)
        return x @ self.out_weights + self.out_bias[0], (kept, x)

    def backward(self, kept, grads: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
        """Gradients by the inputs, and by `network()`, from those of the answers."""
        layers, last = kept
        out = last.T @ grads
        weights, vectors = [], []
        g = np.outer(grads, self.out_weights)
        for layer, (x, normed, spread, by_batch, z) in zip(self.layers[::-1], layers[::-1], strict=True):
            g = g * ACTIVATIONS[self.activation][1](z)
            found = [g.sum(axis=0)]
            if layer.gamma is not None:
                found.insert(0, (g * normed).sum(axis=0))
                g = g * layer.gamma
                if by_batch:
                    g = g - g.mean(axis=0) - normed * (g * normed).mean(axis=0)
                g = g / spread
            weights.insert(0, x.T @ g)
            vectors[:0] = found
            g = g @ layer.weights.T
        return g, [*weights, out, *vectors, np.array([grads.sum()])]

    def raw_scores(self, rows: list[Row], training: bool = False) -> np.ndarray:
        """Raw scores (n_rows,)."""
        deep, _ = self.forward(np.array([self.inputs(row).ravel() for row in rows]), training)
        return np.array([self.fm.raw_score(self.pooled(row)) for row in rows]) + deep

    def loss(self, rows, y, weight, loss: str, training: bool = True) -> float:
        """Sum of weight·loss."""
        raw = self.raw_scores(rows, training)
        return float(sum(w * LOSSES[loss][0](r, t) for w, r, t in zip(weight, raw, y, strict=True)))

    def gradients(self, rows, y, weight, loss: str, training: bool = True, clip: float = math.inf) -> Gradients:
        """Of `loss`; that by each raw score is clipped."""
        vectors = [self.inputs(row) for row in rows]
        deep, kept = self.forward(np.array([v.ravel() for v in vectors]), training)
        raw = np.array([self.fm.raw_score(self.pooled(row)) for row in rows]) + deep
        slopes = np.array([LOSSES[loss][1](r, t) for r, t in zip(raw, y, strict=True)])
        by_raw = np.clip(slopes, -clip, clip) * weight
        by_inputs, network = self.backward(kept, by_raw)
        total = Gradients(float(by_raw.sum()), {}, {}, network)
        for row, g, by_input, v in zip(rows, by_raw, by_inputs, vectors, strict=True):
            x = self.fm.scaled(self.pooled(row))
            _, by_weights, by_factors = self.fm.raw_gradients(self.pooled(row))
            by_products = self.input_gradients(row, by_input.reshape(v.shape))
            for i in row:
                total.weights[i] = total.weights.get(i, 0.0) + g * by_weights[i]
                total.factors[i] = total.factors.get(i, 0.0) + g * by_factors[i] + x[i] * by_products[i]
        return total

    def update(self, rows, y, weight, chosen: Settings, dense: DenseSettings) -> float:
        """One update by a micro-batch; the weighted loss before it."""
        before = self.loss(rows, y, weight, chosen.loss)
        found = self.gradients(rows, y, weight, chosen.loss, clip=chosen.max_gradient)
        statistics = self._batch_statistics(rows)
        is_sgd = chosen.rule == "sgd"
        fm, n_rows = self.fm, len(rows)
        by_intercept = found.intercept / n_rows if is_sgd else found.intercept
        fm.intercept = fm._weight("w0", fm.intercept, by_intercept, 0.0, 0.0, chosen)
        for i in found.weights:
            n = sum(1 for row in rows if i in row)
            share, times = (1.0 / n, 1.0) if is_sgd else (1.0, math.sqrt(n_rows))
            l2 = chosen.l2_linear * (1 if chosen.rule == "ftrl" else times)
            fm.weights[i] = fm._weight(
                ("w", i), fm.weights[i], share * found.weights[i], l2, chosen.l1_linear, chosen
            )
            by_factors = share * found.factors[i] + times * chosen.l2_factors * fm.factors[i]
            fm.update_factors(i, by_factors, chosen)
        n_decayed = len(self.layers) + 1
        for number, (part, gradient) in enumerate(zip(self.network(), found.network, strict=True)):
            penalty = dense.l2 * part if number < n_decayed else 0.0
            part[...] = dense.rule(part, gradient / n_rows + penalty, self.memory(number), dense.learning_rate)
        for layer, (mean, variance) in zip(self.layers, statistics, strict=False):
            layer.mean, layer.variance = 0.9 * layer.mean + 0.1 * mean, 0.9 * layer.variance + 0.1 * variance
        return before

    def memory(self, name) -> dict:
        """What the rule of the network remembers of one of its parameters."""
        return self.fm.memories.setdefault(("network", name), {})

    def _batch_statistics(self, rows) -> list[tuple[np.ndarray, np.ndarray]]:
        """Mean and unbiased variance of what each layer normalises; none of a single row."""
        if self.layers[0].gamma is None or len(rows) == 1:
            return []
        _, (kept, _) = self.forward(np.array([self.inputs(row).ravel() for row in rows]), True)
        sums = [x @ layer.weights for layer, (x, *_) in zip(self.layers, kept, strict=True)]
        return [(z.mean(axis=0), z.var(axis=0, ddof=1)) for z in sums]

    def copy(self) -> ReferenceDeepFM:
        """The same parameters with nothing remembered."""
        layers = [
            Layer(*(None if part is None else part.copy() for part in vars(layer).values()))
            for layer in self.layers
        ]
        return replace(
            self,
            fm=self.fm.copy(),
            layers=layers,
            out_weights=self.out_weights.copy(),
            out_bias=self.out_bias.copy(),
        )


def sgd(value, gradient, memory, rate):
    """With a momentum of 0.9."""
    memory["velocity"] = 0.9 * memory.get("velocity", 0.0) + gradient
    return value - rate * memory["velocity"]


def adagrad(value, gradient, memory, rate):
    """Sums of squares start at 0.001."""
    memory["sum"] = memory.get("sum", 1e-3) + gradient**2
    return value - rate * gradient / np.sqrt(memory["sum"])


def adam(value, gradient, memory, rate):
    """Algorithm 1 of Kingma & Ba (2015)."""
    t = memory["t"] = memory.get("t", 0) + 1
    memory["m"] = 0.9 * memory.get("m", 0.0) + 0.1 * gradient
    memory["u"] = 0.999 * memory.get("u", 0.0) + 0.001 * gradient**2
    m, u = memory["m"] / (1 - 0.9**t), memory["u"] / (1 - 0.999**t)
    return value - rate * m / (np.sqrt(u) + 1e-8)


DENSE_RULES = {"sgd": sgd, "adagrad": adagrad, "adam": adam}


@dataclass(frozen=True)
class DenseSettings:
    """How the network is updated."""

    name: str = "sgd"
    learning_rate: float = 0.05
    l2: float = 0.0

    def rule(self, *arguments):
        return DENSE_RULES[self.name](*arguments)
