"""Ids of text files and the columns that they become.

Settled once, on the training files together, and kept with the model: later files are read by the same map.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

LARGEST_ID = 2**62
"""Ids beyond this are refused: sums of ids must fit into int64."""


class IdMap(NamedTuple):
    """How an id becomes a column.

    Attributes
    ----------
    kind : {"offset", "hash", "table"}
        "offset": column = id - base. "hash": column = hash_ids(id) % n_features, see `hash_ids`. "table": column j
        is that of the id `ids[j]`, in order of first appearance.
    n_features : int
        Number of columns.
    base : {0, 1}
        What ids count from; 0 unless kind is "offset".
    ids : int64 array (n_features,)
        The ids of a table; empty unless kind is "table".
    """

    kind: Literal["offset", "hash", "table"]
    n_features: int
    base: int
    ids: NDArray[np.int64]

    @classmethod
    def by_offset(cls, n_features: int, base: int) -> IdMap:
        """Columns count as ids do, from 0 instead of `base`."""
        return cls("offset", n_features, base, np.empty(0, np.int64))

    @classmethod
    def by_hash(cls, n_features: int) -> IdMap:
        """Columns are hashes of ids."""
        return cls("hash", n_features, 0, np.empty(0, np.int64))

    @classmethod
    def by_table(cls, ids: NDArray[np.int64]) -> IdMap:
        """Columns for these ids alone."""
        return cls("table", len(ids), 0, ids)
