"""Joined rows: the entries of one row added to those of each of many."""

from __future__ import annotations

import numpy as np

from fastfm_deep import validation
from fastfm_deep.data.rows import CsrRows


def joined_rows(first: CsrRows, rows: CsrRows) -> CsrRows:
    """Each of `rows` plus the one row of `first`: values of columns that are in both are added up.

    Raises
    ------
    InputError
        A sum is beyond float32.
    """
    n_rows, n_first = rows.n_rows, len(first.indices)
    row_of = np.concatenate(
        [np.repeat(np.arange(n_rows), np.diff(rows.indptr)), np.repeat(np.arange(n_rows), n_first)]
    )
    indices = np.concatenate([rows.indices, np.tile(first.indices, n_rows)])
    values = np.concatenate([rows.values, np.tile(first.values, n_rows)]).astype(np.float64)
    order = np.lexsort((indices, row_of))
    row_of, indices, values = row_of[order], indices[order], values[order]
    is_first = np.ones(len(indices), np.bool_)
    is_first[1:] = (row_of[1:] != row_of[:-1]) | (indices[1:] != indices[:-1])
    starts = np.flatnonzero(is_first)
    with np.errstate(over="ignore"):
        sums = (np.add.reduceat(values, starts) if len(starts) else values).astype(np.float32)
    if not np.isfinite(sums).all():
        at = int(np.argmin(np.isfinite(sums)))
        place = starts[at]
        raise validation.row_value_error(int(row_of[place]), int(indices[place]), float(values[place]))
    indptr = np.zeros(n_rows + 1, np.int64)
    np.cumsum(np.bincount(row_of[starts], minlength=n_rows), out=indptr[1:])
    parts = indptr, np.ascontiguousarray(indices[starts]), sums
    for part in parts:
        part.flags.writeable = False
    return CsrRows(*parts)
