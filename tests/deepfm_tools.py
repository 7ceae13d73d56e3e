"""What the tests of DeepFM kernels share: random references, and the kernels' model made from one."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import numpy as np
from reference_deepfm import DenseSettings, Layer, ReferenceDeepFM
from table_tools import random_model, step_of, tables_of

from fastfm_deep.data.fields import FieldLayout
from fastfm_deep.data.pooling import pooled_rows
from fastfm_deep.data.rows import CsrRows
from fastfm_deep.kernels import deepfm
from fastfm_deep.model.deep import DeepPart, DeepScores
from fastfm_deep.model.params import blocks_for, lanes_for
from fastfm_deep.nn.mlp import MLPShape
from fastfm_deep.nn.optimizers import DenseOptimizer
from fastfm_deep.training.deepfm_step import _Room

N_FEATURES = 12
# Field 3 has one column, a numeric one; columns 10 and 11 belong to no field.
FIELDS = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2, 3, -1, -1])
MIXED = ("sum", "max", "mean", "sqrtn")
POOLINGS = {
    "whole row": None,
    "sum": ("sum",) * 4,
    "mean": ("mean",) * 4,
    "sqrtn": ("sqrtn",) * 4,
    "max": ("max",) * 4,
    "mixed": MIXED,
}


def random_deepfm(
    rng, n_factors=3, activation="tanh", batch_norm=False, pooling=None, units=(4, 3), scaled=False
) -> ReferenceDeepFM:
    """Parameters that float32 holds exactly."""

    def draw(*size):
        return (0.5 * rng.standard_normal(size)).astype(np.float32).astype(np.float64)

    fm = random_model(rng, N_FEATURES, n_factors, scaled=scaled)
    fm.factors *= 2.0
    widths = [n_factors * (2 if pooling is None else len(pooling)), *units]
    layers = [Layer(draw(a, b), draw(b)) for a, b in itertools.pairwise(widths)]
    if batch_norm:
        for layer, n in zip(layers, units, strict=True):
            layer.gamma, layer.mean, layer.variance = 1.0 + draw(n), draw(n), 1.0 + draw(n) ** 2
            layer.variance = layer.variance.astype(np.float32).astype(np.float64)
    fields = None if pooling is None else FIELDS
    return ReferenceDeepFM(fm, layers, draw(units[-1]), draw(1), activation, fields, pooling or ())


class Kernels:
    """The model of a reference as kernels have it."""

    def __init__(self, reference: ReferenceDeepFM, rule: str, dense: DenseSettings) -> None:
        fm, layers = reference.fm, reference.layers
        self.n_factors = fm.factors.shape[1]
        self.n_features = len(fm.weights)
        self.params = tables_of(fm, rule)
        layout = None
        if reference.fields is not None:
            layout = FieldLayout.from_columns(reference.fields, reference.pooling)
        units = tuple(len(layer.shift) for layer in layers)
        batch_norm = layers[0].gamma is not None
        shape = MLPShape(len(layers[0].weights), units, reference.activation, 0.0, batch_norm)
        running = [part for layer in layers for part in (layer.mean, layer.variance) if part is not None]
        self.deep = DeepPart(
            layout,
            shape,
            _flat(reference.network()),
            _flat(running),
            DenseOptimizer(dense.name, shape.n_parameters),
        )
        self._dense = dense

    def rows(self, rows: CsrRows) -> CsrRows:
        """As the gate of the estimators hands them on."""
        return rows if self.deep.layout is None else pooled_rows(rows, self.deep.layout)

    def fit(self, rows, targets, order, chosen, batch_size, eagerness=0.0) -> np.ndarray:
        """Micro-batches in this order; the tally. `eagerness` is that for the first layer by columns."""
        rows, order = self.rows(rows), np.asarray(order, np.int32)
        step = SimpleNamespace(
            _deep=self.deep,
            _dense=SimpleNamespace(batch_size=batch_size, eagerness=eagerness),
            _rows=rows,
            _ones=False,
            _of_column=self.deep.fields().of_id,
            row_ids=order,
            model=SimpleNamespace(params=self.params, n_factors=self.n_factors, n_features=self.n_features),
        )
        room, at, tally = _Room(step, None), 0, np.zeros(2)
        padded = self.params.padded_factors
        dense_step = self.deep.optimizer.step(self._dense.learning_rate, self._dense.l2, self.deep.shape.n_decayed)
        while at < len(order):
            room.make_room_for(at, len(order))
            at = deepfm.fit_batches(
                rows,
                targets,
                order,
                (at, len(order)),
                batch_size,
                self.params,
                step_of(chosen, self.n_factors),
                self.deep.for_kernels(),
                dense_step,
                self.deep.optimizer.arrays(),
                room.arrays,
                lanes_for(padded),
                blocks_for(padded),
                tally,
            )
        return tally

    def scores(self, rows: CsrRows) -> np.ndarray:
        """Raw scores of all rows."""
        rows = self.rows(rows)
        out = np.full(len(rows.indptr) - 1, np.nan)
        DeepScores(self.deep, self.params, self.n_factors).compute(rows, out)
        return out


def _flat(arrays) -> np.ndarray:
    return np.concatenate([np.ravel(array) for array in [*arrays, []]]).astype(np.float32)


def assert_same_network(got: Kernels, expected: ReferenceDeepFM, tolerance: float) -> None:
    """Parameters and running statistics agree to `tolerance`, relative to a number's size or 0.1."""
    running = [part for layer in expected.layers for part in (layer.mean, layer.variance) if part is not None]
    pairs = [("network", got.deep.parameters, expected.network()), ("running", got.deep.running, running)]
    for name, flat, arrays in pairs:
        np.testing.assert_allclose(flat, _flat(arrays), rtol=tolerance, atol=0.1 * tolerance, err_msg=name)
