"""Scores in NumPy: what a stored model says to rows, without compiled code.

Sums are in float64, and rows go block by block, so that the products of a block stay in the cache.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastfm_deep.model.plain_fields import FieldVectors
from fastfm_deep.model.ranks import Ranking, best_of
from fastfm_deep.model.storage import from_bfloat16, from_int8
from fastfm_deep.model.units import RAW, Units
from fastfm_deep.nn.inference import Inference

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastfm_deep.data.rows import CsrRows
    from fastfm_deep.model.stored import StoredModel

    Floats = NDArray[np.float64]

# Products x v of a block, and inputs of the network; 2 MB of float64.
_BLOCK = 1 << 18


class _Sums(NamedTuple):
    """What rows add up to.

    linear : float64 (n_rows,), Σ x w
    sums : float64 (n_rows, n_factors), s = Σ x v
    squares : float64 likewise, q = Σ x² v²; (n_rows, 1), their sum, where no single one is asked for
    vectors : float64 (n_rows, n_inputs), what the network is fed with; None without fields
    """

    linear: Floats
    sums: Floats
    squares: Floats
    vectors: Floats | None

    def pairs(self) -> Floats:
        """½ Σ (s² - q)."""
        found: Floats = 0.5 * (np.einsum("ij,ij->i", self.sums, self.sums) - self.squares.sum(axis=1))
        return found


class _FirstLayer(NamedTuple):
    """What the network's first layer sums up of a context (1, n_units), and its weights for the other fields."""

    of_context: NDArray[np.float32]
    weights: NDArray[np.float32]


class PlainScorer:
    """Scores rows of a stored model; may be asked by any number of threads at once.

    Parameters
    ----------
    stored : StoredModel
    units, raw_units : Units
        Of answers, and of raw scores as they are told.
    """

    can_join = True

    def __init__(self, stored: StoredModel, units: Units = RAW, raw_units: Units = RAW) -> None:
        self._units = {False: units, True: raw_units}
        self._storage, self._n_factors = stored.storage, stored.n_factors
        # Maps of files are a class of their own, whose every slice costs some microseconds.
        self._factors, self._linear = np.asarray(stored.factors), np.asarray(stored.linear)
        self._weights = self._linear[:, 0]
        self._inverse_scale = np.asarray(stored.inverse_scale)
        self._intercept = stored.intercept
        self._row_of: NDArray[np.int32] | None = None
        if stored.kept is not None:
            self._row_of = np.where(stored.kept, np.cumsum(stored.kept, dtype=np.int32), np.int32(0))
        self._network: Inference | None = None
        self._fields: FieldVectors | None = None
        if stored.network is not None:
            self._network = Inference(stored.network.shape, *map(np.asarray, stored.network[1:3]))
            self._of_network = stored.network
            if stored.network.with_fields:
                assert stored.layout is not None
                self._fields = FieldVectors(stored.layout)

    def answer_entries(self, ids: Sequence[int], values: Sequence[float], raw: bool) -> float:
        """The answer to one row as lists; see `score_one`."""
        return self._units[raw].answer(self.score_one(ids, values))

    def answers(self, rows: CsrRows, raw: bool, n_jobs: int | None) -> Floats:
        """Answers to rows that are sound and pooled, float64 (n_rows,); by one thread, whatever `n_jobs` is."""
        return self._units[raw].answers(self.raw_scores(rows))

    def raw_of(self, rows: CsrRows, n_jobs: int | None) -> Floats:
        """What the tables say to such rows, before units."""
        return self.raw_scores(rows)

    def prepare(self, rows: CsrRows, n_jobs: int | None) -> CsrRows:
        """Rows of one part, for `rank`."""
        return rows

    def rank(self, context: CsrRows, candidates: CsrRows, n: int, n_jobs: int | None) -> Ranking:
        """The best of some candidates for a context of one row; raw scores of the tables."""
        scores = self.rank_scores(context.indices.tolist(), context.values.tolist(), candidates)
        return best_of(scores, n)

    def raw_scores(self, rows: CsrRows) -> Floats:
        """What the tables and the network say to each row, before `center`, `scale` and link function.

        Parameters
        ----------
        rows : CsrRows
            Columns within the width of the model; pooled.

        Returns
        -------
        float64 array (n_rows,)
            Rows that are beyond float32 arithmetic in the network are computed in float64.
        """
        out = np.empty(rows.n_rows)
        with np.errstate(all="ignore"):
            for start, stop in self._blocks(rows):
                indptr = rows.indptr[start : stop + 1]
                entries = slice(indptr[0], indptr[-1])
                out[start:stop] = self._scores(rows.indices[entries], rows.values[entries], indptr - indptr[0])
        return out

    def score_one(self, ids: Sequence[int], values: Sequence[float]) -> float:
        """The same of one row.

        Parameters
        ----------
        ids : sequence of int
            Each once, below the width of the model.
        values : sequence of float
            Finite as float32, and pooled.
        """
        indptr = np.array((0, len(ids)), np.int64)
        with np.errstate(all="ignore"):
            return float(self._scores(np.array(ids, np.int64), np.array(values, np.float32), indptr)[0])

    def rank_scores(
        self, context_ids: Sequence[int], context_values: Sequence[float], candidates: CsrRows
    ) -> Floats:
        """Scores of rows that have some entries in common, for which these are added up once.

        Parameters
        ----------
        context_ids : sequence of int
            Those that every row has; no candidate names one of them.
        context_values : sequence of float
            Finite as float32, and pooled.
        candidates : CsrRows
            What each row has besides; pooled.

        Returns
        -------
        float64 array (n_candidates,), as `raw_scores` of the whole rows
        """
        ids, values = np.array(context_ids, np.int64), np.array(context_values, np.float32)
        if self._fields is not None and self._fields.share_a_maximum(ids, candidates.indices):
            return self._scores_of_joined(ids, values, candidates, np.arange(candidates.n_rows))
        out = np.empty(candidates.n_rows)
        with np.errstate(all="ignore"):
            context = self._add_up(ids, values, np.array((0, len(ids)), np.int64))
            # Fields that no candidate has are left out of the products of the first layer.
            fields = None if self._fields is None else self._fields.those_of(candidates.indices)
            first = None if fields is None else self._first_layer(context, fields)
            for start, stop in self._blocks(candidates):
                part = slice(candidates.indptr[start], candidates.indptr[stop])
                indptr = candidates.indptr[start : stop + 1] - part.start
                own = self._add_up(candidates.indices[part], candidates.values[part], indptr, fields)
                out[start:stop] = self._joined_scores(context, own, first)
            beyond = np.flatnonzero(~np.isfinite(out))
        if len(beyond):
            out[beyond] = self._scores_of_joined(ids, values, candidates, beyond)
        return out

    def _blocks(self, rows: CsrRows) -> Iterator[tuple[int, int]]:
        """Runs of rows whose products and inputs are few enough; one row at least."""
        most_entries = max(1, _BLOCK // (self._n_factors + 1))
        width = 0 if self._network is None else len(self._network.first_weights)
        most_rows = max(1, _BLOCK // max(width, self._n_factors + 1))
        start, indptr = 0, rows.indptr
        while start < rows.n_rows:
            stop = int(np.searchsorted(indptr, indptr[start] + most_entries, side="right")) - 1
            stop = min(max(stop, start + 1), start + most_rows, rows.n_rows)
            yield start, stop
            start = stop

    def _scores(self, ids: NDArray[Any], values: NDArray[np.float32], indptr: NDArray[np.int64]) -> Floats:
        found = self._add_up(ids, values, indptr)
        out = self._intercept + found.linear
        if self._n_factors:
            out += found.pairs()
        if self._network is not None:
            inputs = _inputs(found)
            out += self._network.answers(inputs.astype(np.float32))
            beyond = np.flatnonzero(~np.isfinite(out))
            if len(beyond):
                out[beyond] = self._intercept + found.linear[beyond] + found.pairs()[beyond]
                out[beyond] += self._exact_network().answers(inputs[beyond])
        return out

    def _exact_network(self) -> Inference:
        """The network in float64; made anew, as hardly any row needs it."""
        network = self._of_network
        return Inference(network.shape, network.parameters.astype(np.float64), network.running.astype(np.float64))

    def _add_up(
        self,
        ids: NDArray[Any],
        values: NDArray[np.float32],
        indptr: NDArray[np.int64],
        fields: FieldVectors | None = None,
    ) -> _Sums:
        """Add up the entries of rows; `fields` are those of the network unless others are given."""
        table_rows = ids if self._row_of is None else self._row_of[ids]
        x = values.astype(np.float64)
        if len(self._inverse_scale):
            x *= self._inverse_scale[ids]
        linear = _row_sums(self._weights.take(table_rows) * x, indptr)
        if not self._n_factors:
            nothing = np.empty((len(linear), 0))
            return _Sums(linear, nothing, nothing, None)
        products = self._rows(table_rows) * x[:, None]
        sums, fields = _row_sums(products, indptr), self._fields if fields is None else fields
        if self._network is not None and fields is None:
            squares = _row_sums(products * products, indptr)
        else:
            squares = _row_sums(np.einsum("ij,ij->i", products, products), indptr)[:, None]
        vectors = None if fields is None else fields.gather(ids, x, products, indptr)
        return _Sums(linear, sums, squares, vectors)

    def _rows(self, table_rows: NDArray[Any]) -> NDArray[np.float32]:
        """Rows of the table of factors."""
        stored = self._factors.take(table_rows, axis=0)
        if self._storage == "bfloat16":
            return from_bfloat16(stored)
        if self._storage == "int8":
            return from_int8(stored, self._linear[table_rows, 1])
        return stored

    def _first_layer(self, context: _Sums, fields: FieldVectors) -> _FirstLayer:
        assert self._network is not None
        assert context.vectors is not None
        weights = self._network.first_weights
        n_units = weights.shape[1]
        chosen = weights.reshape(-1, self._n_factors, n_units)[fields.numbers].reshape(-1, n_units)
        return _FirstLayer(context.vectors.astype(np.float32) @ weights, chosen)

    def _joined_scores(self, context: _Sums, own: _Sums, first: _FirstLayer | None) -> Floats:
        """Scores of the context with each of some rows, by their sums."""
        out: Floats = self._intercept + context.linear[0] + own.linear
        if self._n_factors:
            out += context.pairs()[0] + own.pairs() + own.sums @ context.sums[0]
        if self._network is None:
            return out
        if first is None:
            whole = _Sums(out, context.sums + own.sums, context.squares + own.squares, None)
            return out + self._network.answers(_inputs(whole).astype(np.float32))
        assert own.vectors is not None
        return out + self._network.answers_to(own.vectors.astype(np.float32) @ first.weights + first.of_context)

    def _scores_of_joined(
        self, ids: NDArray[np.int64], values: NDArray[np.float32], candidates: CsrRows, chosen: NDArray[np.int64]
    ) -> Floats:
        """Scores of the whole rows of some candidates, one by one block."""
        out = np.empty(len(chosen))
        n_most = max(1, _BLOCK // ((len(ids) + 1) * (self._n_factors + 1)))
        for first in range(0, len(chosen), n_most):
            part = chosen[first : first + n_most]
            lengths = candidates.indptr[part + 1] - candidates.indptr[part]
            indptr = np.zeros(len(part) + 1, np.int64)
            np.cumsum(lengths + len(ids), out=indptr[1:])
            # The context's entries come first in each row.
            of_context = (indptr[:-1, None] + np.arange(len(ids))).reshape(-1)
            own = np.ones(indptr[-1], np.bool_)
            own[of_context] = False
            at = np.arange(lengths.sum()) + np.repeat(
                candidates.indptr[part] - (np.cumsum(lengths) - lengths), lengths
            )
            indices, joined = np.empty(indptr[-1], np.int64), np.empty(indptr[-1], np.float32)
            indices[of_context], joined[of_context] = np.tile(ids, len(part)), np.tile(values, len(part))
            indices[own], joined[own] = candidates.indices[at], candidates.values[at]
            out[first : first + len(part)] = self.raw_scores(type(candidates)(indptr, indices, joined))
        return out


def _inputs(found: _Sums) -> Floats:
    """What the network is fed with: field vectors, or s and ½ (s² - q)."""
    if found.vectors is not None:
        return found.vectors
    return np.concatenate([found.sums, 0.5 * (found.sums * found.sums - found.squares)], axis=1)


def _row_sums(array: Floats, indptr: NDArray[np.int64]) -> Floats:
    """Sums over the entries of each row, (n_rows, ...)."""
    if len(indptr) == 2:
        return np.add.reduce(array, axis=0, keepdims=True)
    lengths = np.diff(indptr)
    n_rows, behind = len(lengths), array.shape[1:]
    if n_rows and (lengths == lengths[0]).all():  # as in most tables
        # A third of the time that `sum` takes here.
        return np.einsum("ij...->i...", array.reshape(n_rows, lengths[0], *behind))
    out = np.zeros((n_rows, *behind))
    filled = np.flatnonzero(lengths)
    if len(filled):
        out[filled] = np.add.reduceat(array, indptr[:-1][filled], axis=0)
    return out
