"""Candidates: rows to be ranked for a context, added up as far as that goes without one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastfm_deep import validation
from fastfm_deep.data.joined_rows import joined_rows
from fastfm_deep.data.rows import CsrRows, is_sparse
from fastfm_deep.data.table_parts import check_parts, fields_in
from fastfm_deep.model.loaded import LoadedModel, empty_rows
from fastfm_deep.model.ranks import Ranking, best_of

if TYPE_CHECKING:
    from fastfm_deep.data.table import Table

_NAMES = "context", "candidates"


class Candidates:
    """Candidates prepared for one model as it is now; see `Scorer.prepare`.

    Attributes
    ----------
    loaded : LoadedModel
    rows : CsrRows
        Pooled if they come from a table.
    table : tuple of Table and tuple of int, or None
        The table they come from, and which fields it has.
    prepared : whatever the engine makes of them
    """

    def __init__(
        self, loaded: LoadedModel, rows: CsrRows, table: tuple[Table, tuple[int, ...]] | None, prepared: Any
    ) -> None:
        self.loaded = loaded
        self.rows = rows
        self.table = table
        self.prepared = prepared
        self._columns = None if table is not None else np.unique(rows.indices)

    def __len__(self) -> int:
        return self.rows.n_rows

    def are_apart_from(self, context: CsrRows) -> bool:
        """Whether a whole row is the sum of its parts: nothing in common that is pooled."""
        if self._columns is None:
            return True
        if np.isin(context.indices, self._columns).any():
            return False
        layout = self.loaded.layout
        if layout is None or not layout.pooling:
            return True
        of_both = np.intersect1d(layout.field_of_column[context.indices], layout.field_of_column[self._columns])
        return bool(layout.fields_with("sum")[of_both[of_both >= 0]].all())


def prepare(loaded: LoadedModel, candidates: Any, n_jobs: int | None, n_table_threads: int = 1) -> Candidates:
    """Encode candidates and add them up."""
    table = None
    if loaded.encoding is not None and not is_sparse(candidates):
        found = loaded.table(candidates, "candidates")
        table = found, fields_in(loaded.encoding, found)
        if not found.n_rows:
            return Candidates(loaded, empty_rows(), table, None)
        rows = loaded.encoding.table_rows(found, n_table_threads, table[1])
    else:
        rows = loaded.matrix_rows(candidates)
    if not rows.n_rows or not loaded.engine.can_join:
        return Candidates(loaded, rows, table, None)
    pooled = rows if table is not None else loaded.pooled(rows)
    return Candidates(loaded, rows, table, loaded.engine.prepare(pooled, n_jobs))


def context_row(loaded: LoadedModel, context: Any, given: Candidates) -> CsrRows:
    """A context for some candidates as one row; pooled if it comes from a table."""
    is_raw = loaded.encoding is not None and not is_sparse(context)
    if loaded.encoding is not None and is_raw != (given.table is not None):
        raise validation.mixed_rank_error(is_raw)
    if loaded.encoding is None or given.table is None:
        rows = loaded.matrix_rows(context)
    else:
        found = loaded.table(context, "context")
        fields = fields_in(loaded.encoding, found)
        check_parts(loaded.encoding, (found, fields), given.table, _NAMES)
        if found.n_rows != 1:
            raise validation.context_error(found.n_rows)
        rows = loaded.encoding.table_rows(found, 1, fields)
    if rows.n_rows != 1:
        raise validation.context_error(rows.n_rows)
    return rows


def rank(context: CsrRows, given: Candidates, n: int, n_jobs: int | None) -> Ranking:
    """The best of some candidates; raw scores of the tables."""
    loaded = given.loaded
    if given.prepared is not None and given.are_apart_from(context):
        of_context = context if given.table is not None else loaded.pooled(context)
        return loaded.engine.rank(of_context, given.prepared, n, n_jobs)
    rows = joined_rows(context, given.rows)
    if given.table is None:
        rows = loaded.pooled(rows)
    return best_of(loaded.engine.raw_of(rows, n_jobs), n)
