"""Scores by compiled code: what a stored model says to rows, one by one, in bulk and as rankings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastfm_deep.data.rows import CsrRows
from fastfm_deep.kernels.file_state import CAN_ASK
from fastfm_deep.kernels.row_score import ANSWERED, DOUBTFUL, HAS_ROW_SCORE
from fastfm_deep.model.ranking import Ranker, Side
from fastfm_deep.model.ranks import Ranking
from fastfm_deep.model.restored import fm_model
from fastfm_deep.model.row_score import INDEX_TYPES, RowScorer
from fastfm_deep.model.score import SLICE_WORK, exact_score, raw_scores, work_of_model
from fastfm_deep.model.shards import run_shards, thread_count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fastfm_deep.model.stored import StoredModel
    from fastfm_deep.model.units import Units

# Multiplications that a thread is worth being started for.
WORTH = 20_000_000
VALUE_TYPES = (np.dtype(np.float32), np.dtype(np.float64))

# Values of other types that are converted at a time.
_MOST_CONVERTED = 1 << 16
_NO_VALUES = np.empty(0, np.float32)


class CompiledScorer:
    """Scores rows of a stored model; may be asked by any number of threads at once.

    Parameters
    ----------
    stored : StoredModel
    units, raw_units : Units
        Of answers, and of raw scores as they are told.
    """

    def __init__(self, stored: StoredModel, units: Units, raw_units: Units) -> None:
        # Uncompiled code reads float32 alone.
        self.model = fm_model(stored, in_place=HAS_ROW_SCORE)
        self._units = {False: units, True: raw_units}
        self.row_scorers = {
            raw: RowScorer(self.model, of_kind, stored.mapped) for raw, of_kind in self._units.items()
        }
        self.asks_itself = HAS_ROW_SCORE and CAN_ASK
        """Whether the answer to a single row is NaN once the mapped file has been changed."""
        self._ranker: Ranker | None = None
        self._field_of = None if stored.layout is None else stored.layout.field_of_column

    def warm_up(self) -> None:
        """Compile or load the code for rows of the usual types."""
        for scorer in self.row_scorers.values():
            indices = np.empty(0, scorer.index_type)
            if scorer.answer_rows is not None:
                scorer.answer_rows(np.zeros(1, scorer.index_type), indices, _NO_VALUES, np.empty(0))
            for index_type in INDEX_TYPES:
                scorer.take_type(index_type)
        if self.can_join:
            parts = np.zeros(2, np.int64), np.empty(0, np.int32), _NO_VALUES
            for part in parts:
                part.flags.writeable = False
            row = CsrRows(*parts)
            self.rank(row, self.prepare(row, 1), 1, 1)

    def answer_entries(self, ids: Sequence[int], values: Sequence[float], raw: bool) -> float:
        """The answer to one row that is sound and pooled, as lists."""
        return self.row_scorers[raw].score(ids, values)

    def answer_csr(self, rows: CsrRows, out: NDArray[Any], raw: bool, n_jobs: int | None) -> bool:
        """Answers to rows that nobody has looked at, in place; False if some are not sound, or of other types.

        `rows` may hold the arrays of any CSR matrix, `out` is float64 or float32 (n_rows,).
        """
        indptr, indices, values = rows
        scorer = self.row_scorers[raw]
        is_plain = indptr.dtype == indices.dtype and values.dtype in VALUE_TYPES
        if scorer.answer_rows is None or not is_plain or not all(_is_behaved(part) for part in rows):
            return False
        if not scorer.take_type(indices.dtype) or indptr[0] != 0:
            return False
        answer_rows = scorer.answer_rows
        work = work_of_model(self.model, rows)
        n_threads = thread_count(n_jobs, rows.n_rows * work, WORTH)
        doubts: list[int] = []
        is_single, in_place = values.dtype == np.float32, out.dtype == np.float64 and _is_behaved(out)
        slice_rows = max(1, int(SLICE_WORK / work))
        if not is_single:
            slice_rows = min(slice_rows, max(1, _MOST_CONVERTED * rows.n_rows // max(1, len(values))))

        def answer(start: int, stop: int, thread: int) -> None:
            if doubts:
                return
            part = CsrRows(indptr[start : stop + 1], indices, values)
            if not is_single:
                found_part = _as_float32(part)
                if found_part is None:
                    doubts.append(start)
                    return
                part = found_part
            found = out[start:stop] if in_place else np.empty(stop - start)
            how = answer_rows(*part, found)
            if how == DOUBTFUL:
                doubts.append(start)
                return
            if how != ANSWERED:
                self._answer_exactly(part, found, raw)
            if not in_place:
                out[start:stop] = found

        run_shards(answer, rows.n_rows, slice_rows, n_threads)
        return not doubts

    def _answer_exactly(self, rows: CsrRows, out: NDArray[np.float64], raw: bool) -> None:
        """Rows for which float32 was not enough."""
        for row in np.flatnonzero(np.isnan(out)).tolist():
            out[row] = self._units[raw].answer(exact_score(self.model, rows, row))

    def answers(self, rows: CsrRows, raw: bool, n_jobs: int | None) -> NDArray[np.float64]:
        """Answers to rows that are sound and pooled, float64 (n_rows,)."""
        out = np.empty(rows.n_rows)
        index_type = rows.indices.dtype
        if len(rows.indices) <= np.iinfo(index_type).max:  # pointers of their type, as in matrices of SciPy
            unchecked = rows._replace(indptr=rows.indptr.astype(index_type, copy=False))
            if self.answer_csr(unchecked, out, raw, n_jobs):
                return out
        return self._units[raw].answers(self.raw_of(rows, n_jobs))

    def raw_of(self, rows: CsrRows, n_jobs: int | None) -> NDArray[np.float64]:
        """What the tables say to such rows, before units."""
        n_threads = thread_count(n_jobs, rows.n_rows * work_of_model(self.model, rows), WORTH)
        return raw_scores(self.model, rows, n_threads)

    @property
    def can_join(self) -> bool:
        """Whether scores of two parts of a row tell that of the whole: not where a network takes whole rows."""
        return self.model.deep is None or self.model.deep.layout is not None

    def prepare(self, rows: CsrRows, n_jobs: int | None) -> Side:
        """Rows of one part, added up."""
        if self._ranker is None:
            field_of = np.zeros(self.model.n_features, np.int32) if self._field_of is None else self._field_of
            self._ranker = Ranker(self.model, np.asarray(field_of))
        work = work_of_model(self.model, rows)
        return self._ranker.side(rows, thread_count(n_jobs, rows.n_rows * work, WORTH))

    def rank(self, context: CsrRows, candidates: Side, n: int, n_jobs: int | None) -> Ranking:
        """The best of some candidates for a context of one row; raw scores of the tables."""
        side = self.prepare(context, 1)
        assert self._ranker is not None
        work = len(candidates.raw) * work_of_model(self.model, context)
        return self._ranker.best(side, 0, candidates, n, np.empty(0, np.int64), thread_count(n_jobs, work, WORTH))


def _is_behaved(array: NDArray[Any]) -> bool:
    """Whether compiled code takes an array as it is."""
    return array.flags.c_contiguous and array.flags.aligned


def _as_float32(rows: CsrRows) -> CsrRows | None:
    """Some rows of a larger matrix by themselves, with values of float32; None where pointers lead astray."""
    begin, end = int(rows.indptr[0]), int(rows.indptr[-1])
    if not 0 <= begin <= end <= len(rows.indices):
        return None
    with np.errstate(over="ignore"):  # what is beyond float32 is found later
        values = rows.values[begin:end].astype(np.float32)
    return CsrRows(rows.indptr - begin, rows.indices[begin:end], values)
