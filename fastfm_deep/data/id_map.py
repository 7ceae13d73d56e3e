"""Ids of text files and the columns that they become.

Settled once, on the training files together, and kept with the model: later files are read by the same map.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from fastfm_deep import kernels

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

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


def hash_ids(ids: ArrayLike, n_features: int) -> NDArray[np.int64]:
    """Columns of ids under `hash_features=n_features`; the same on every platform, now and later.

    The id, as a 64-bit number h, is mixed by MurmurHash3's finaliser (Appleby), modulo 2**64::

        h = (h ^ (h >> 33)) * 0xff51afd7ed558ccd
        h = (h ^ (h >> 33)) * 0xc4ceb9fe1a85ec53
        column = (h ^ (h >> 33)) % n_features

    Parameters
    ----------
    ids : integers, any shape
        From 0 to 2**62, as they stand in the text.
    n_features : int

    Returns
    -------
    int64 array, as `ids`

    Examples
    --------
    >>> hash_ids([0, 1, 4_000_000_000], 2**22)
    array([      0,  183084, 3729606])
    """
    columns = np.array(ids, np.int64)
    kernels.ids.hash_columns(columns.reshape(-1), n_features)
    return columns


class IdTable:
    """Columns of the ids that have occurred, in order of first appearance.

    Parameters
    ----------
    ids : int64 array (n_columns,), optional
        The id of each column, each once.
    """

    def __init__(self, ids: NDArray[np.int64] | None = None) -> None:
        self._n_columns = 0
        self._make(1 << 12)
        if ids is not None:
            self._make(2 * len(ids))
            kernels.ids.fill_table(np.ascontiguousarray(ids, np.int64), self._keys, self._columns)
            self._n_columns = len(ids)

    def _make(self, n_slots: int) -> None:
        n_slots = 1 << max(12, (n_slots - 1).bit_length())
        self._keys = np.full(n_slots, kernels.ids.FREE, np.int64)
        self._columns = np.zeros(n_slots, np.int64)

    def find(self, ids: NDArray[np.int64]) -> None:
        """Put its column in the place of each id; -1 for those that the table does not know."""
        kernels.ids.find_columns(ids, self._keys, self._columns)

    def knows(self, number: int) -> bool:
        """Whether an id has a column."""
        found = np.array([number], np.int64)
        self.find(found)
        return bool(found[0] >= 0)

    def add(self, ids: NDArray[np.int64]) -> None:
        """Put its column in the place of each id; new ids get the next columns."""
        place = 0
        while True:
            place, self._n_columns = kernels.ids.add_ids(ids, place, self._keys, self._columns, self._n_columns)
            if place == len(ids):
                return
            known = self.ids()
            self._make(4 * len(known))
            kernels.ids.fill_table(known, self._keys, self._columns)

    def ids(self) -> NDArray[np.int64]:
        """The id of each column."""
        found = np.empty(self._n_columns, np.int64)
        taken = self._keys != kernels.ids.FREE
        found[self._columns[taken]] = self._keys[taken]
        return found
