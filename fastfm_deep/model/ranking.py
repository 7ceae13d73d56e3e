"""Ranking: the best items for a user, with everything that is the user's or the item's alone computed once.

A *side* is one part of the columns, the user's or the item's, of some rows: what its linear terms, pairs and field
vectors add up to. The scores of a side's rows with those of the other are a product of matrices away.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastfm_deep.data.rows import CsrRows
from fastfm_deep.kernels.fields import Fields
from fastfm_deep.kernels.micro_batch import BatchOut, gather_rows
from fastfm_deep.kernels.ranking import add_network, keep_largest, multiply_first_rows, score_pairs
from fastfm_deep.kernels.slots import BatchRows
from fastfm_deep.model.deep import SCORE_ROWS, batch_out, network_room
from fastfm_deep.model.packed import PACKS, first_shifts, forward_room, pack_network
from fastfm_deep.model.params import FMModel, for_scoring, scoring_blocks, scoring_lanes
from fastfm_deep.model.ranks import Ranking
from fastfm_deep.model.score import SLICE_WORK, raw_scores
from fastfm_deep.model.shards import run_shards

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Scores by parts and scores of whole rows differ by the rounding of float32: this many times the largest part.
_ROUNDING = 4e-6
# Items that are scored as whole rows at a time: where many tie, all of them are.
_TIED_ROWS = 4096


class Side(NamedTuple):
    """Rows of one part of the columns.

    Attributes
    ----------
    rows : CsrRows
        Pooled.
    raw : float32 array (n,)
        Linear and pair terms, without the intercept.
    sums : float32 array (n, padded_factors)
        Σ x v of each.
    first : float32 array (n, n_units)
        Products of the network's first layer, of packed networks with the padding; (n, 0) without a network.
    turned : float32 array (padded_factors, n)
        The sums, factor by factor.
    largest : float
        Of `raw`, without signs.
    """

    rows: CsrRows
    raw: NDArray[np.float32]
    sums: NDArray[np.float32]
    first: NDArray[np.float32]
    turned: NDArray[np.float32]
    largest: float


class Ranker:
    """Ranks the rows of one side for rows of the other; may be asked by several threads at once.

    Parameters
    ----------
    model : FMModel
        With a network, one of fields.
    field_of_feature : int32 array (n_features,)
        In whose order the entries of a row stand.
    """

    def __init__(self, model: FMModel, field_of_feature: NDArray[np.int32]) -> None:
        self._model = model
        self._field_of = field_of_feature
        self._params = for_scoring(model)
        padded = self._params.padded_factors
        self._lanes, self._blocks = (scoring_lanes(self._params), scoring_blocks(self._params))
        self._rooms: list[Any] = []
        deep = model.deep
        self._network: Any = None
        self._n_units, self._width = 0, model.n_factors
        # What a packed network adds to the sums of its first layer; others do so themselves.
        self._shifts = np.zeros(0, np.float32)
        if deep is not None and PACKS:
            self._network = pack_network(deep, model.n_factors, padded)
            self._shifts = first_shifts(self._network)
            self._n_units, self._width = len(self._shifts), padded
        elif deep is not None:
            self._network, self._n_units = (deep.for_kernels(), deep.shape.hidden_units[0])
            self._shifts = np.zeros(self._n_units, np.float32)
        # -1: no vectors at all.
        self._fields = Fields(np.empty(0, np.int32), np.empty(0, np.uint8), -1) if deep is None else deep.fields()
        self._n_vectors = 0 if deep is None else deep.n_vectors

    def side(self, rows: CsrRows, n_threads: int = 1) -> Side:
        """Add up the rows of one side."""
        n_rows, n_units = rows.n_rows, self._n_units
        padded = self._params.padded_factors
        f32 = np.float32
        raw, sums, first = (
            np.zeros(n_rows, f32),
            np.zeros((n_rows, padded), f32),
            np.zeros((n_rows, n_units), f32),
        )
        side = Side(rows, raw, sums, first, np.empty((0, n_rows), f32), 0.0)

        def add_up(start: int, stop: int, thread: int) -> None:
            n_most = min(SCORE_ROWS, stop - start)
            found = batch_out(n_most, self._n_vectors, self._width, padded, training=False)
            for first in range(start, stop, SCORE_ROWS):
                self._add_up(side, first, min(first + SCORE_ROWS, stop), found)

        run_shards(add_up, n_rows, 32 * SCORE_ROWS, n_threads)
        return side._replace(turned=np.ascontiguousarray(sums.T), largest=float(np.abs(raw).max(initial=0.0)))

    def _add_up(self, side: Side, start: int, stop: int, found: BatchOut) -> None:
        rows, n = side.rows, stop - start
        part = BatchRows(rows.indptr[start : stop + 1], rows.indices, rows.values)
        out = BatchOut(
            side.sums[start:stop],
            side.raw[start:stop],
            found.gradient[:n],
            found.inputs[:n],
            found.input_grads,
            found.vectors,
            found.grads,
        )
        gather_rows(part, self._params, self._fields, out, self._lanes, self._blocks)
        if self._network is not None:
            multiply_first_rows(out.inputs, self._network, side.first[start:stop])

    def best(
        self, users: Side, user: int, items: Side, n: int, excluded: NDArray[np.integer], n_threads: int
    ) -> Ranking:
        """The `n` best items for one user; ties go to the item that stands first.

        Scores and order are those of the whole rows: those that come near are scored once more, as such.
        """
        scores = self._scores(users, user, items, n_threads)
        bad = np.flatnonzero(~np.isfinite(scores))
        if len(bad):  # too large for float32
            scores[bad] = self._scores_of_rows(users, user, items, bad)
        scores[excluded] = -np.inf
        n = min(n, len(scores))
        best, places = np.empty(n), np.empty(n, np.int64)
        n_found = int(keep_largest(scores, best, places))
        if not n_found:
            return Ranking(np.empty(0, np.int64), np.empty(0))
        largest = abs(float(users.raw[user])) + items.largest + float(np.abs(best[:n_found]).max())
        # The smallest of a heap is its first.
        margin = _ROUNDING * (1.0 + largest)
        # Parts beyond float32, which may be NaN, say nothing about rounding: then all that may be ranked are near.
        is_near = scores >= best[0] - margin if margin < np.inf else scores > -np.inf
        candidates = np.flatnonzero(is_near)
        places, raw = np.empty(0, np.int64), np.empty(0)
        for first in range(0, len(candidates), _TIED_ROWS):
            part = candidates[first : first + _TIED_ROWS]
            places = np.concatenate([places, part])
            raw = np.concatenate([raw, self._scores_of_rows(users, user, items, part)])
            order = np.lexsort((places, -raw))[:n_found]
            places, raw = places[order], raw[order]
        return Ranking(places, raw)

    def _scores(self, users: Side, user: int, items: Side, n_threads: int) -> NDArray[np.float64]:
        """Raw scores of all items, by parts."""
        n_items = len(items.raw)
        scores = np.empty(n_items)
        user_raw = float(self._params.intercept[0]) + float(users.raw[user])
        shared = users.first[user] + self._shifts
        work = 1 + items.sums.shape[1] + (0 if self._model.deep is None else self._model.deep.shape.n_parameters)

        def score(start: int, stop: int, thread: int) -> None:
            part = slice(start, stop)
            score_pairs(items.raw, items.turned, start, user_raw, users.sums[user], scores[part])
            if self._network is not None:
                room = self._room()
                add_network(items.first[part], shared, self._network, room, scores[part])
                self._rooms.append(room)

        run_shards(score, n_items, max(SCORE_ROWS, SLICE_WORK // work), n_threads)
        return scores

    def _room(self) -> Any:
        try:
            return self._rooms.pop()
        except IndexError:  # one for each thread
            assert self._model.deep is not None
            shape = self._model.deep.shape
            return forward_room(shape) if PACKS else network_room(shape, SCORE_ROWS)

    def _scores_of_rows(
        self, users: Side, user: int, items: Side, places: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Raw scores of whole rows: those of the user and of some items."""
        return raw_scores(self._model, self._joined(users.rows, user, items.rows, places))

    def _joined(self, users: CsrRows, user: int, items: CsrRows, places: NDArray[np.int64]) -> CsrRows:
        """The user's entries and those of each item as one row, in the order of fields."""
        of_user = slice(users.indptr[user], users.indptr[user + 1])
        lengths = items.indptr[places + 1] - items.indptr[places]
        n_user = of_user.stop - of_user.start
        indptr = np.zeros(len(places) + 1, np.int64)
        np.cumsum(lengths + n_user, out=indptr[1:])
        row = np.repeat(np.arange(len(places)), lengths)
        at = np.arange(len(row)) + np.repeat(items.indptr[places] - (np.cumsum(lengths) - lengths), lengths)
        indices = np.concatenate([items.indices[at], np.tile(users.indices[of_user], len(places))])
        values = np.concatenate([items.values[at], np.tile(users.values[of_user], len(places))])
        row = np.concatenate([row, np.repeat(np.arange(len(places)), n_user)])
        order = np.lexsort((self._field_of[indices], row))
        parts = indptr, indices[order], values[order]
        for part in parts:
            part.flags.writeable = False
        return CsrRows(*parts)
