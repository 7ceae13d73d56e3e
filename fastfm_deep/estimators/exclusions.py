"""What is not to be recommended: pairs of users and items, given as a table, a matrix or lists."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse

from fastfm_deep import validation
from fastfm_deep.data.table import Table, as_table, is_table
from fastfm_deep.data.values import Lists
from fastfm_deep.data.vocabulary import Vocabulary

if TYPE_CHECKING:
    from numpy.typing import NDArray


def excluded_items(exclude: Any, users: Table, items: Table, n_items: int) -> Any:
    """A function of the number of a user that gives the rows of the items which are left out for that user."""
    if exclude is None:
        none = np.empty(0, np.int64)
        return lambda user: none
    if is_table(exclude) and not (isinstance(exclude, list) and not exclude):
        return _excluded_by_table(as_table(exclude, "exclude"), users, items)
    if scipy.sparse.issparse(exclude) or (isinstance(exclude, np.ndarray) and exclude.ndim == 2):
        if exclude.shape != (users.n_rows, n_items):
            raise validation.exclude_shape_error(exclude.shape, (users.n_rows, n_items))
        matrix = scipy.sparse.csr_array(exclude)
        if matrix.dtype.kind in "fc" and np.isnan(matrix.data).any():
            raise validation.exclude_nan_error()
        matrix.eliminate_zeros()
        return lambda user: matrix.indices[matrix.indptr[user] : matrix.indptr[user + 1]]
    if not isinstance(exclude, Sequence | np.ndarray) or isinstance(exclude, str) or len(exclude) != users.n_rows:
        raise validation.exclude_type_error(exclude, users.n_rows)
    lists = []
    for user, given in enumerate(exclude):
        found = np.asarray(given)
        if not found.size:
            found = np.empty(0, np.int64)
        if found.ndim != 1 or found.dtype.kind not in "iu":
            raise validation.exclude_type_error(given, users.n_rows, user)
        if ((found < 0) | (found >= n_items)).any():
            raise validation.exclude_range_error(user, int(found[(found < 0) | (found >= n_items)][0]), n_items)
        lists.append(found.astype(np.int64))
    return lists.__getitem__


def _excluded_by_table(table: Table, users: Table, items: Table) -> Any:
    """Pairs that a table holds, told by the columns that it shares with users and with items."""
    of_users = [name for name in table.names if users.has(name)]
    of_items = [name for name in table.names if items.has(name)]
    if not of_users or not of_items:
        raise validation.exclude_columns_error(table.names, users.names, items.names)
    user_keys, user_of_pair = _shared_keys(users, table, of_users)
    item_keys, item_of_pair = _shared_keys(items, table, of_items)
    known = (user_of_pair >= 0) & (item_of_pair >= 0)
    pairs = np.unique(np.stack([user_of_pair[known], item_of_pair[known]], axis=1), axis=0)
    starts = np.searchsorted(pairs[:, 0], np.arange(int(user_keys.max(initial=-1)) + 2))
    by_key = np.argsort(item_keys, kind="stable")
    sorted_keys = item_keys[by_key]

    def excluded(user: int) -> NDArray[np.int64]:
        key = user_keys[user]
        keys = pairs[starts[key] : starts[key + 1], 1]
        first, end = np.searchsorted(sorted_keys, keys), np.searchsorted(sorted_keys, keys, side="right")
        parts = [by_key[start:stop] for start, stop in zip(first, end, strict=True)]
        return np.concatenate(parts) if parts else np.empty(0, np.int64)

    return excluded


def _shared_keys(table: Table, other: Table, names: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Numbers for the rows of a table, equal where their columns are, and those of another's rows; -1: none."""
    keys, others = np.zeros(table.n_rows, np.int64), np.zeros(other.n_rows, np.int64)
    for name in names:
        vocabulary = Vocabulary()
        first, second = table.column(name), other.column(name)
        if isinstance(first, Lists) or isinstance(second, Lists):
            raise validation.listed_column_error(name)
        codes = vocabulary.add(first, name).astype(np.int64)
        found = vocabulary.find(second, name).astype(np.int64)
        # Numbered anew after each column, so that products of sizes stay small.
        joined = keys * vocabulary.n + codes
        distinct, keys = np.unique(joined, return_inverse=True)
        wanted = np.where((others < 0) | (found < 0), -1, others * vocabulary.n + found)
        place = np.minimum(np.searchsorted(distinct, wanted), len(distinct) - 1)
        others = np.where((wanted >= 0) & (distinct[place] == wanted), place, -1)
    return keys, others
