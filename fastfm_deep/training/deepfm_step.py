"""The step of a DeepFM: factorization machine and network trained together, a micro-batch at a time.

A *micro-batch* is some rows of which one thread gathers the field vectors, lets the network answer, and scatters
the gradients of both parts in one update of each column (arXiv 1703.04247, section 2.1). Columns get the sum of
the gradients of their rows, or, with SGD, whose steps do not shrink by themselves, their mean; the network gets
the mean over the micro-batch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastfm_deep.kernels import micro_batch
from fastfm_deep.kernels.micro_batch import BatchOut, BatchRows, Slots, SlotTable
from fastfm_deep.model.deep import DeepPart, batch_out, first_rows
from fastfm_deep.nn.mlp import start_parameters
from fastfm_deep.training.fm_step import FMStep

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastfm_deep.nn.mlp import Workspace

_ONE = np.float32(1.0)


class DenseStep(NamedTuple):
    """How the network is trained."""

    batch_size: int
    learning_rate: float
    l2: float


class DeepFMStep(FMStep):
    """Fits one model with a network to one set of rows."""

    def __init__(self, *arguments: Any, dense: DenseStep, **named: Any) -> None:
        """As `FMStep`, and start the network if the model has seen nothing yet."""
        self._dense = dense
        self._rooms: list[_Room] = []
        self._n_rooms = 0
        self._kept_network: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None
        super().__init__(*arguments, **named)
        self.rows_per_update = dense.batch_size
        self.row_work += self._deep.work_per_row
        self._of_column = self._deep.fields().of_id
        self._ones = self._rows.values.strides[0] == 0
        if self._is_new:
            self._start_network()
        else:
            self._keep_network()

    @property
    def _deep(self) -> DeepPart:
        assert self.model.deep is not None
        return self.model.deep

    def _start_network(self) -> None:
        deep = self._deep
        generator = np.random.default_rng(self._entropy(2, self._first_epoch))
        deep.parameters[:] = start_parameters(deep.shape, generator)
        deep.reset_running()

    def _find_hot_columns(self) -> None:
        """None: a micro-batch writes each column once, so that threads seldom meet."""
        return None

    def fit_rows(self, start: int, stop: int, tally: NDArray[np.float64]) -> None:
        """Update once for each micro-batch of the drawn order from `start` to `stop`."""
        try:
            room = self._rooms.pop()
        except IndexError:  # one for each thread
            self._n_rooms += 1
            room = _Room(self, self._entropy(3, self._first_epoch, self._n_rooms))
        while start < stop:
            n_rows, n_values = micro_batch.count_rows(
                self._rows, self.row_ids, (start, stop), self._dense.batch_size
            )
            room.make_room(n_values)
            self._fit_batch(room, (start, start + n_rows), tally)
            start += n_rows
        self._rooms.append(room)

    def _fit_batch(self, room: _Room, span: tuple[int, int], tally: NDArray[np.float64]) -> None:
        params, slots = self.model.params, room.slots
        n_rows = span[1] - span[0]
        taken, out = room.taken_rows(n_rows), first_rows(room.out, n_rows)
        n_slots = micro_batch.take_rows(
            self._rows, self._targets, self.row_ids, span, params, self._of_column, slots, taken, room.values
        )
        micro_batch.gather_rows(taken, slots.params, room.fields, out, self._lanes, self._blocks)
        answers, backprop = room.network.forward(out.inputs.reshape(n_rows, -1), training=True)
        micro_batch.loss_gradients(
            self._targets, self.row_ids, span, self._step, params.intercept, answers, out, tally
        )
        grads = backprop(out.gradient).reshape(out.inputs.shape)
        self._update_network(room.network.gradients, n_rows)
        micro_batch.scatter_rows(taken, room.fields, slots, out, grads, self._lanes, self._blocks)
        micro_batch.update_columns(slots, n_slots, params, self._step, self._lanes, self._blocks)
        micro_batch.update_intercept(params.intercept, out.gradient, self._step)

    def _update_network(self, gradients: NDArray[np.float32], n_rows: int) -> None:
        deep = self._deep
        assert deep.optimizer is not None
        deep.optimizer.update(
            deep.parameters,
            gradients,
            learning_rate=self._dense.learning_rate,
            gradient_scale=1.0 / n_rows,
            l2=self._dense.l2,
            n_decayed=deep.shape.n_decayed,
        )

    def is_finite(self) -> bool:
        """Whether all parameters that this fit changes are finite numbers."""
        return self._network_is_finite() and super().is_finite()

    def _network_is_finite(self) -> bool:
        # A sum is finite only if all its terms are; float64 has room for the sum of those that are.
        parts = self._deep.parameters, self._deep.running
        return all(bool(np.isfinite(part.sum(dtype=np.float64))) for part in parts)

    def keep(self) -> bool:
        """Copy the weights as they are now, in place of an earlier copy; False if some were not finite."""
        self._keep_network()
        return super().keep() and self._network_is_finite()

    def _keep_network(self) -> None:
        self._kept_network = self._deep.parameters.copy(), self._deep.running.copy()

    def restore(self) -> None:
        """Put the kept weights back, or begin anew where nothing was kept."""
        super().restore()
        if self._kept_network is None:
            self._start_network()
            return
        self._deep.parameters[:], self._deep.running[:] = self._kept_network

    def forget_states(self) -> None:
        """Fresh states: after a divergence those there are may be infinite."""
        super().forget_states()
        self._deep.fresh_optimizer()


class _Room:
    """What one thread works in."""

    def __init__(self, step: DeepFMStep, seed: np.random.SeedSequence) -> None:
        model, deep = step.model, step._deep
        self._padded = model.params.padded_factors
        self._n_features = model.n_features
        self._ones = step._ones
        n_rows = step._dense.batch_size
        self.network: Workspace = deep.network().workspace(n_rows, seed=seed)
        self.out: BatchOut = batch_out(n_rows, deep.n_vectors, model.n_factors, self._padded)
        self._indptr = np.zeros(n_rows + 1, np.int64)
        self._n_values = -1
        self._deep = deep
        self.make_room(0)

    def make_room(self, n_values: int) -> None:
        """Let there be room for so many non-zeros; anew only for more than ever before."""
        if n_values <= self._n_values:
            return
        self._n_values = n_values + n_values // 4
        n_slots = max(1, min(self._n_values, self._n_features))
        n_keys = 1 << (2 * n_slots - 1).bit_length()
        self._indices = np.zeros(self._n_values, np.int32)
        self.values = np.zeros(0 if self._ones else self._n_values, np.float32)
        f32, i32 = np.float32, np.int32
        factors = (n_slots, self._padded)
        none = np.zeros(1, f32), np.empty(0, f32)
        self.slots = Slots(
            np.full(n_keys, -1, np.int64),
            np.zeros(n_keys, i32),
            np.zeros(n_slots, np.int64),
            np.zeros(n_slots, i32),
            np.zeros(n_slots, i32),
            np.zeros(n_slots, f32),
            SlotTable(np.zeros(factors, f32), np.zeros((n_slots, 1), f32), *none, self._padded),
            SlotTable(np.zeros(factors, f32), np.zeros(n_slots, f32), *none, self._padded),
        )
        self.fields = self._deep.fields(self.slots.fields)

    def taken_rows(self, n_rows: int) -> BatchRows:
        """Where the rows of a micro-batch go."""
        values = np.broadcast_to(_ONE, (self._n_values,)) if self._ones else self.values
        return BatchRows(self._indptr[: n_rows + 1], self._indices, values)
