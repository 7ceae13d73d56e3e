"""The step of a DeepFM: factorization machine and network trained together, a micro-batch at a time.

A *micro-batch* is some rows of which one thread gathers the field vectors, lets the network answer, and scatters
the gradients of both parts in one update of each column (arXiv 1703.04247, section 2.1). Columns get the sum of
the gradients of their rows, or, with SGD, whose steps do not shrink by themselves, their mean; the network gets
the mean over the micro-batch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastfm_deep.kernels import deepfm
from fastfm_deep.kernels.deepfm import BatchRoom
from fastfm_deep.kernels.first_layer import UNITS, FirstRoom
from fastfm_deep.kernels.micro_batch import count_rows
from fastfm_deep.kernels.slots import BatchRows, Slots, SlotTable
from fastfm_deep.model.deep import DeepPart, batch_out, network_room
from fastfm_deep.nn.mlp import start_parameters
from fastfm_deep.training.fm_step import FMStep

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ONE = np.float32(1.0)


# More columns than this, and what the first layer computes of them would not stay in the cache.
_MOST_SLOTS = 1 << 17


class DenseStep(NamedTuple):
    """How the network is trained."""

    batch_size: int
    learning_rate: float
    l2: float
    eagerness: float = 1.0  # to compute the first layer by columns; 0 never does


class DeepFMStep(FMStep):
    """Fits one model with a network to one set of rows."""

    most_overlap = 5.0  # all rows of a micro-batch act at once

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
        self._network = self._deep.for_kernels()
        self._ones = self._rows.values.strides[0] == 0
        if self._is_new:
            self._start_network()
        else:
            self._keep_network()
        self._set_states()

    @property
    def _deep(self) -> DeepPart:
        assert self.model.deep is not None
        return self.model.deep

    def _start_network(self) -> None:
        deep = self._deep
        generator = np.random.default_rng(self._entropy(2, self._first_epoch))
        deep.parameters[:] = start_parameters(deep.shape, generator)
        deep.reset_running()

    def _set_states(self) -> None:
        """Take the optimizer as it is now for the kernels."""
        deep, dense = self._deep, self._dense
        assert deep.optimizer is not None
        self._dense_step = deep.optimizer.step(dense.learning_rate, dense.l2, deep.shape.n_decayed)
        self._states = deep.optimizer.arrays()

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
        step, dense = self._step, self._dense
        while start < stop:
            room.make_room_for(start, stop)
            start = deepfm.fit_batches(
                self._rows,
                self._targets,
                self.row_ids,
                (start, stop),
                dense.batch_size,
                self.model.params,
                step,
                self._network,
                self._dense_step,
                self._states,
                room.arrays,
                self._lanes,
                self._blocks,
                tally,
            )
        self._rooms.append(room)

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
        self._set_states()


class _Room:
    """What one thread works in: it grows where a micro-batch has more non-zeros than any before."""

    def __init__(self, step: DeepFMStep, seed: np.random.SeedSequence) -> None:
        self._step = step
        deep, n_rows = step._deep, step._dense.batch_size
        n_rows = max(1, min(n_rows, len(step.row_ids)))
        padded = step.model.params.padded_factors
        self._network = network_room(deep.shape, n_rows, seed)
        self._out = batch_out(n_rows, deep.n_vectors, step.model.n_factors, padded, training=True)
        self._indptr = np.zeros(n_rows + 1, np.int64)
        self._n_values = -1

    def make_room_for(self, start: int, stop: int) -> None:
        """Let there be room for the micro-batch at `start` of the drawn order."""
        step = self._step
        _, n_values = count_rows(step._rows, step.row_ids, (start, stop), step._dense.batch_size)
        if n_values <= self._n_values:
            return
        self._n_values = int(n_values + n_values // 8)
        indices = np.zeros(self._n_values, np.int32)
        if step._ones:
            units, values = np.empty(0, np.float32), np.broadcast_to(_ONE, (self._n_values,))
        else:
            units = values = np.zeros(self._n_values, np.float32)
        slots = new_slots(max(1, min(self._n_values, step.model.n_features)), step.model.params.padded_factors)
        self.arrays = BatchRoom(
            BatchRows(self._indptr, indices, values),
            units,
            step._of_column,
            step._deep.fields(slots.fields),
            slots,
            self._out,
            self._network,
            self._first_room(len(slots.columns)),
        )

    def _first_room(self, n_slots: int) -> FirstRoom:
        """Room to compute the first layer by columns, or none."""
        step, f32 = self._step, np.float32
        deep, n_factors = step._deep, step.model.n_factors
        is_possible = deep.layout is not None and not deep.layout.fields_with("max").any()
        n_slots = n_slots if is_possible and n_slots <= _MOST_SLOTS else 0
        return FirstRoom(
            products=np.zeros((n_slots, UNITS), f32),
            sorted=np.zeros(n_slots, np.int32),
            starts=np.zeros(deep.n_vectors + 2, np.int64),
            packed=np.zeros((max(1, n_factors), UNITS), f32),
            turned=np.zeros((UNITS, step.model.params.padded_factors), f32),
            eagerness=step._dense.eagerness,
        )


def new_slots(n_slots: int, padded_factors: int) -> Slots:
    """Room for `n_slots` columns; its hash table is at most three quarters full."""
    f32, i32 = np.float32, np.int32
    size = 1 << (n_slots + n_slots // 3).bit_length()
    factors = n_slots, padded_factors
    none = np.zeros(1, f32), np.empty(0, f32)
    return Slots(
        table=np.full(size, -1, i32),
        columns=np.zeros(n_slots, np.int64),
        place=np.zeros(n_slots, i32),
        fields=np.zeros(n_slots, i32),
        counts=np.zeros(n_slots, f32),
        params=SlotTable(np.zeros(factors, f32), np.zeros((n_slots, 1), f32), *none, padded_factors),
        gradients=SlotTable(np.zeros(factors, f32), np.zeros(n_slots, f32), *none, padded_factors),
    )
