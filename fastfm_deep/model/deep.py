"""The deep part of a model: a network on the field vectors, and its scores.

Its inputs are gathered from the factors that the pair terms use: there is one table for both (arXiv 1703.04247,
section 2.1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastfm_deep.data.fields import FieldLayout
from fastfm_deep.kernels.activations import ACTIVATION_IDS
from fastfm_deep.kernels.deepfm import score_batches
from fastfm_deep.kernels.fields import Fields
from fastfm_deep.kernels.micro_batch import BatchOut
from fastfm_deep.kernels.network import Network, NetworkRoom
from fastfm_deep.model.packed import PACKS, forward_room, pack_network
from fastfm_deep.model.params import scoring_blocks, scoring_lanes
from fastfm_deep.nn.mlp import MLP, start_running, start_stream
from fastfm_deep.nn.optimizers import DenseOptimizer
from fastfm_deep.nn.shape import MLPShape

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastfm_deep.data.rows import CsrRows
    from fastfm_deep.model.params import Parameters

SCORE_ROWS = 256
"""Rows whose field vectors are gathered at a time: they stay in the cache until the network takes them."""


@dataclass
class DeepPart:
    """The network of a model, and which columns feed which of its inputs.

    Attributes
    ----------
    layout : FieldLayout, or None for the pooled vectors of a whole row
    shape : MLPShape
    parameters : float32 array (shape.n_parameters,)
    running : float32 array (shape.n_running,), statistics of batch normalisation
    optimizer : DenseOptimizer, or None in a copy for scoring
    """

    layout: FieldLayout | None
    shape: MLPShape
    parameters: NDArray[np.float32]
    running: NDArray[np.float32]
    optimizer: DenseOptimizer | None

    @property
    def n_vectors(self) -> int:
        """Vectors of factors that the network takes."""
        return 2 if self.layout is None else self.layout.n_fields

    @property
    def work_per_row(self) -> float:
        """Rough multiplications of a row in the network, in units of those of the tables.

        Matrix products do some eight in the time of one there; training goes over each weight three times.
        """
        return 3.0 * self.shape.n_parameters / 8.0

    def reset_running(self) -> None:
        """Statistics of batch normalisation as they are before any row."""
        self.running[:] = start_running(self.shape)

    def fresh_optimizer(self) -> None:
        """States as they are before any update."""
        assert self.optimizer is not None
        self.optimizer = DenseOptimizer(self.optimizer.name, self.shape.n_parameters)

    def for_kernels(self) -> Network:
        """The network on these very parameters."""
        shape = self.shape
        widths = np.array([shape.n_inputs, *shape.hidden_units, 1], np.int64)
        activation = ACTIVATION_IDS[shape.activation]
        return Network(
            self.parameters, self.running, widths, activation, np.float32(shape.dropout), shape.batch_norm
        )

    def fields(self, of_id: NDArray[np.int32] | None = None) -> Fields:
        """Fields for kernels, of columns or of the ids given."""
        if self.layout is None:
            return Fields(np.empty(0, np.int32), np.empty(0, np.uint8), 0)
        maxed = self.layout.fields_with("max").astype(np.uint8)
        if of_id is None:
            of_id = self.layout.field_of_column
        return Fields(of_id, maxed if maxed.any() else np.empty(0, np.uint8), self.layout.n_fields)


def network_room(shape: MLPShape, n_rows: int, seed: Any = None) -> NetworkRoom:
    """Arrays for passes of up to `n_rows` rows; `seed` decides what is dropped out."""
    n_units, most_units = sum(shape.hidden_units), max(shape.hidden_units)
    f32 = np.float32
    return NetworkRoom(
        slopes=np.zeros(n_rows * n_units, f32),
        outs=np.zeros(n_rows * n_units, f32),
        normalised=np.zeros(n_rows * n_units if shape.batch_norm else 0, f32),
        factors=np.zeros(n_units, f32),
        back=np.zeros((2, n_rows * most_units), f32),
        column=np.zeros((3, most_units), f32),
        gradients=np.zeros(shape.n_parameters, f32),
        answers=np.zeros(n_rows, f32),
        stream=start_stream(seed),
    )


def batch_out(n_rows: int, n_vectors: int, n_factors: int, padded_factors: int, training: bool) -> BatchOut:
    """Arrays for `n_rows` rows."""
    return BatchOut(
        sums=np.zeros((n_rows, padded_factors), np.float32),
        raw=np.zeros(n_rows, np.float32),
        gradient=np.zeros(n_rows, np.float32),
        inputs=np.zeros((n_rows, n_vectors, n_factors), np.float32),
        input_grads=np.zeros((n_rows if training else 0, n_vectors, n_factors), np.float32),
        vectors=np.zeros((n_vectors, padded_factors), np.float32),
        grads=np.zeros((n_vectors, padded_factors), np.float32),
    )


class DeepScores:
    """Computes scores of rows; may be asked by several threads at once."""

    def __init__(self, deep: DeepPart, params: Parameters, n_factors: int) -> None:
        self._params = params
        self._lanes, self._blocks = scoring_lanes(params), scoring_blocks(params)
        self._fields = deep.fields()
        self._shape = deep.shape
        self._network = pack_network(deep, n_factors, params.padded_factors) if PACKS else deep.for_kernels()
        width = params.padded_factors if PACKS else n_factors
        self._out_shape = deep.n_vectors, width, params.padded_factors
        self._free: list[tuple[Any, BatchOut]] = []

    def compute(self, rows: CsrRows, out: NDArray[np.float64]) -> None:
        """Write the raw scores of the rows to `out`."""
        try:
            room, found = self._free.pop()
        except IndexError:  # one for each thread
            n_rows = min(SCORE_ROWS, len(out))
            room = forward_room(self._shape) if PACKS else network_room(self._shape, n_rows)
            found = batch_out(n_rows, *self._out_shape, training=False)
        score_batches(rows, self._params, self._fields, self._network, room, found, self._lanes, self._blocks, out)
        self._free.append((room, found))


def exact_deep_score(deep: DeepPart, columns: NDArray[np.integer], products: NDArray[np.float64]) -> float:
    """What the network says in float64 to one row, whose x_i v_i are `products` (nnz, n_factors)."""
    if deep.layout is None:
        sums = products.sum(axis=0)
        vectors = np.stack([sums, 0.5 * (sums**2 - (products**2).sum(axis=0))])
    else:
        vectors = np.zeros((deep.layout.n_fields, products.shape[1]))
        maxed = deep.layout.fields_with("max")
        field_of_value = deep.layout.field_of_column[columns]
        for field in np.unique(field_of_value[field_of_value >= 0]):
            of_field = products[field_of_value == field]
            vectors[field] = of_field.max(axis=0) if maxed[field] else of_field.sum(axis=0)
    network = MLP(deep.shape, deep.parameters.astype(np.float64), deep.running.astype(np.float64))
    out, _ = network.workspace(1).forward(vectors.reshape(1, -1), training=False)
    return float(out[0])
