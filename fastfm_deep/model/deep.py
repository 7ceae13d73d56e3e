"""The deep part of a model: a network on the field vectors, and its scores.

Its inputs are gathered from the factors that the pair terms use: there is one table for both (arXiv 1703.04247,
section 2.1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fastfm_deep.data.fields import FieldLayout
from fastfm_deep.kernels.fields import Fields
from fastfm_deep.kernels.micro_batch import BatchOut, gather_rows
from fastfm_deep.model.params import blocks_for, lanes_for
from fastfm_deep.nn.mlp import MLP, MLPShape, Workspace, start_running
from fastfm_deep.nn.optimizers import DenseOptimizer

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

    def network(self) -> MLP:
        """The network on these very parameters."""
        return MLP(self.shape, self.parameters, self.running)

    def fields(self, of_id: NDArray[np.int32] | None = None) -> Fields:
        """Fields for kernels, of columns or of the ids given."""
        if self.layout is None:
            return Fields(np.empty(0, np.int32), np.empty(0, np.uint8), 0)
        maxed = self.layout.fields_with("max").astype(np.uint8)
        if of_id is None:
            of_id = self.layout.field_of_column
        return Fields(of_id, maxed if maxed.any() else np.empty(0, np.uint8), self.layout.n_fields)


def batch_out(n_rows: int, n_vectors: int, n_factors: int, padded_factors: int) -> BatchOut:
    """Room for `n_rows` rows."""
    return BatchOut(
        np.zeros((n_rows, padded_factors), np.float32),
        np.zeros(n_rows, np.float32),
        np.zeros(n_rows, np.float32),
        np.zeros((n_rows, n_vectors, n_factors), np.float32),
        np.zeros((n_vectors, padded_factors), np.float32),
        np.zeros((n_vectors, padded_factors), np.float32),
    )


def first_rows(out: BatchOut, n_rows: int) -> BatchOut:
    """The same room for fewer rows."""
    if n_rows == len(out.raw):
        return out
    return out._replace(
        sums=out.sums[:n_rows], raw=out.raw[:n_rows], gradient=out.gradient[:n_rows], inputs=out.inputs[:n_rows]
    )


class DeepScores:
    """Computes scores of rows; may be asked by several threads at once."""

    def __init__(self, deep: DeepPart, params: Parameters, n_factors: int) -> None:
        self._params = params
        self._lanes, self._blocks = lanes_for(params.padded_factors), blocks_for(params.padded_factors)
        self._fields = deep.fields()
        self._network = deep.network()
        self._room_shape = deep.n_vectors, n_factors, params.padded_factors
        self._free: list[tuple[Workspace, BatchOut]] = []

    def compute(self, rows: CsrRows, start: int, stop: int, out: NDArray[np.float64]) -> None:
        """Write the raw scores of rows `start` to `stop` to out[start:stop]."""
        try:
            room = self._free.pop()
        except IndexError:  # one for each thread
            room = self._network.workspace(SCORE_ROWS), batch_out(SCORE_ROWS, *self._room_shape)
        for first in range(start, stop, SCORE_ROWS):
            self._compute_block(room, rows, slice(first, min(first + SCORE_ROWS, stop)), out)
        self._free.append(room)

    def _compute_block(
        self, room: tuple[Workspace, BatchOut], rows: CsrRows, block: slice, out: NDArray[np.float64]
    ) -> None:
        n_rows = block.stop - block.start
        network, found = room[0], first_rows(room[1], n_rows)
        part = rows._replace(indptr=rows.indptr[block.start : block.stop + 1])
        gather_rows(part, self._params, self._fields, found, self._lanes, self._blocks)
        deep, _ = network.forward(found.inputs.reshape(n_rows, -1), training=False)
        np.add(found.raw, deep, out=out[block])
        out[block] += self._params.intercept[0]


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
