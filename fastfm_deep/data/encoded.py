"""Encoded columns, and how they become rows: the entries of each row, field after field.

An *encoded column* gives each row one id and one value, or, as a bag, several of them; an id of -1 is nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastfm_deep.data.passes import passes

if TYPE_CHECKING:
    import scipy.sparse
    from numpy.typing import NDArray

# Rows whose entries are put down together: with some 40 columns they stay in the second-level cache.
_BLOCK_ROWS = 1024
# A plain pass takes its time by the call.
_PLAIN_BLOCK_ROWS = 1 << 16
_NO_VALUES = np.empty(0, np.float32)


class Encoded(NamedTuple):
    """A column of n rows.

    Attributes
    ----------
    ids : int32 array (n,), or (offsets[-1],) of a bag
    values : float32 array, likewise; (0,) where all are 1
    offsets : int64 array (n + 1,), where the bag of each row begins; None for one entry a row
    """

    ids: NDArray[np.int32]
    values: NDArray[np.float32] = _NO_VALUES
    offsets: NDArray[np.int64] | None = None


class Entries(NamedTuple):
    """Rows as CSR has them: int64 or int32 pointers and indices, float32 values."""

    indptr: NDArray[Any]
    indices: NDArray[Any]
    values: NDArray[np.float32]

    def as_csr(self, n_features: int) -> scipy.sparse.csr_array:
        """As SciPy has them, sharing the arrays."""
        import scipy.sparse

        shape = len(self.indptr) - 1, n_features
        return scipy.sparse.csr_array((self.values, self.indices, self.indptr), shape=shape)


def put_together(
    columns: Sequence[Encoded], n_rows: int, n_features: int, n_threads: int = 1, plain: bool = False
) -> Entries:
    """Rows out of columns, whose entries come in the order of the columns.

    Parameters
    ----------
    columns : sequence of Encoded
    n_rows, n_features : int
        Ids are below `n_features`.
    n_threads : int
        Each puts down a part of the rows.
    plain : bool
        Do without compiled code; see `data.passes`.
    """
    found = passes(plain)
    counts = np.zeros(n_rows, np.int64)
    for column in columns:
        if column.offsets is None:
            found.count_single(column.ids, counts)
        else:
            found.count_bags(column.offsets, counts)
    starts = np.zeros(n_rows + 1, np.int64)
    np.cumsum(counts, out=starts[1:])
    n_entries = int(starts[-1])
    block_rows = _PLAIN_BLOCK_ROWS if plain else _BLOCK_ROWS
    index_type = np.int32 if max(n_features, n_entries) < 2**31 else np.int64
    indices, data = np.empty(n_entries, index_type), np.empty(n_entries, np.float32)

    def put_rows(first: int, end: int) -> None:
        for start in range(first, end, block_rows):
            stop = min(start + block_rows, end)
            cursor = starts[start:stop].copy()
            for column in columns:
                if column.offsets is None:
                    values = column.values[start:stop] if len(column.values) else column.values
                    found.put_single(column.ids[start:stop], values, cursor, indices, data)
                else:
                    found.put_bags(
                        column.offsets[start : stop + 1], column.ids, column.values, cursor, indices, data
                    )

    bounds = np.linspace(0, n_rows, max(1, n_threads) + 1).astype(np.int64).tolist()
    if n_threads <= 1:
        put_rows(0, n_rows)
    else:
        from concurrent.futures import ThreadPoolExecutor  # takes some milliseconds

        with ThreadPoolExecutor(n_threads) as pool:
            list(pool.map(put_rows, bounds[:-1], bounds[1:]))
    return Entries(starts.astype(index_type, copy=False), indices, data)
