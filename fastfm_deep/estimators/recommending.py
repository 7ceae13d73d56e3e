"""Recommendations: the best items of a table for each user of another.

A *catalog* is a table of items prepared for a model: encoded, and added up as far as that goes without a user.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import expit

from fastfm_deep import validation
from fastfm_deep.data.encoder_tables import table_to_encode
from fastfm_deep.data.encoders import Encoding
from fastfm_deep.data.rows import CsrRows
from fastfm_deep.data.same_values import copied, same_values
from fastfm_deep.data.table import Table
from fastfm_deep.data.table_parts import check_parts, fields_in
from fastfm_deep.data.values import Values
from fastfm_deep.estimators.exclusions import excluded_items
from fastfm_deep.model.params import FMModel
from fastfm_deep.model.ranking import Ranker, Side
from fastfm_deep.model.ranks import Ranking

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Recommendations:
    """The best items for each user, the best first; unpacks into `ids` and `scores`.

    Attributes
    ----------
    ids : int64 array (n_users, n)
        Rows of the table of items; -1 where fewer than n were left.
    scores : float64 array (n_users, n)
        What `predict_proba` says of the second class, or `predict`; NaN where there is no item.
    """

    def __init__(self, ids: NDArray[np.int64], scores: NDArray[np.float64], items: Table) -> None:
        self.ids = ids
        self.scores = scores
        self._items = items

    def __iter__(self) -> Iterator[Any]:
        return iter((self.ids, self.scores))

    def __repr__(self) -> str:
        return f"Recommendations(n_users={len(self.ids)}, n={self.ids.shape[1]})"

    def to_table(self) -> Any:
        """One row for each user and item: "user" (its row), "rank" from 1, the columns of the item, "score".

        Where the items have a column of one of these names, ours is "recommended_user" and so on.
        Of the kind that the items were: a DataFrame of pandas or polars, a table of pyarrow, else a dict of
        arrays.
        """
        there = self.ids >= 0
        users, ranks = np.nonzero(there)
        names = {
            name: f"recommended_{name}" if self._items.has(name) else name for name in ("user", "rank", "score")
        }
        before = {names["user"]: users, names["rank"]: ranks + 1}
        return _widened(self._items.pick(self.ids[there]), before, {names["score"]: self.scores[there]})


class ItemCatalog:
    """A table of items, prepared for one model as it is now; see `prepare_items`."""

    def __init__(self, table: Table, fields: tuple[int, ...], side: Side, owner: Catalogs) -> None:
        self.table = table
        self.fields = fields
        self.side = side
        self.owner = owner  # of one state of a model: training makes another

    def __len__(self) -> int:
        return self.table.n_rows


class Catalogs:
    """The ranker of a model, and the catalog that it was asked about last.

    Items that hold the same values as at the last call are not prepared again: their columns are compared, which
    takes a small part of the time.
    """

    def __init__(self, model: FMModel, encoding: Encoding) -> None:
        self.model = model
        self.encoding = encoding
        self.ranker = Ranker(model, encoding.field_of_feature)
        self._last: tuple[dict[str, Values], ItemCatalog] | None = None

    def of_items(self, items: Any, threads_for: Callable[[int], int]) -> ItemCatalog:
        """The catalog of a table of items, or the one that was given."""
        if isinstance(items, ItemCatalog):
            if items.owner is not self:
                raise validation.foreign_catalog_error()
            return items
        table = table_to_encode(items, self.encoding, "items")
        fields = fields_in(self.encoding, table)
        names = [name for field in fields for name in self.encoding.learned[field].names_read()]
        values = {name: table.column(name) for name in names}
        last = self._last
        if (
            last is not None
            and last[0].keys() == values.keys()
            and all(same_values(last[0][name], values[name]) for name in names)
        ):
            found = last[1]
            return ItemCatalog(table, found.fields, found.side, self)
        catalog = self.prepared(table, fields, threads_for(table.n_rows))
        self._last = ({name: copied(part) for name, part in values.items()}, catalog)
        return catalog

    def prepared(self, table: Table, fields: tuple[int, ...], n_threads: int) -> ItemCatalog:
        """Encode and add up a table of items."""
        if not table.n_rows:
            raise validation.no_items_error("items", "recommend")
        side = self.ranker.side(self.rows(table, fields), n_threads)
        return ItemCatalog(table, fields, side, self)

    def rows(self, table: Table, fields: Sequence[int]) -> CsrRows:
        """Rows of a part of the columns, pooled."""
        entries = self.encoding.encode(table, None, 1, fields)
        return self.encoding.pooled_rows(entries.as_csr(self.encoding.n_features))


def recommend(
    catalogs: Catalogs, users: Any, items: Any, n: int, exclude: Any, threads_for: Callable[[int], int]
) -> tuple[NDArray[np.int64], NDArray[np.float64], Table]:
    """Places and raw scores of the best items for each user, (n_users, n), and the table of items.

    `threads_for` says how many threads so many items are worth.
    """
    validation.check_integer("n", n, minimum=1)
    catalog = catalogs.of_items(items, threads_for)
    n_threads = threads_for(len(catalog))
    of_users = table_to_encode(users, catalogs.encoding, "users")
    fields = fields_in(catalogs.encoding, of_users)
    check_parts(catalogs.encoding, (of_users, fields), (catalog.table, catalog.fields))
    if not of_users.n_rows:
        raise validation.no_items_error("users", "rank items for")
    side = catalogs.ranker.side(catalogs.rows(of_users, fields), n_threads)
    n_users, n_items = of_users.n_rows, len(catalog)
    excluded = excluded_items(exclude, of_users, catalog.table, n_items)
    n = min(n, n_items)
    ids, raw = np.full((n_users, n), -1, np.int64), np.full((n_users, n), np.nan)
    for user in range(n_users):
        best: Ranking = catalogs.ranker.best(side, user, catalog.side, n, excluded(user), n_threads)
        ids[user, : len(best.places)] = best.places
        raw[user, : len(best.places)] = best.raw
    return ids, raw, catalog.table


def probabilities(raw: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of raw scores."""
    found: NDArray[np.float64] = expit(raw)
    return found


def _widened(picked: Any, before: dict[str, Any], after: dict[str, Any]) -> Any:
    """A table with columns before and after its own, whose names give way."""
    kind = type(picked).__module__.partition(".")[0]
    library = sys.modules.get(kind)
    added = [*before, *after]
    if kind == "pandas" and library is not None:
        own = picked.drop(columns=[name for name in added if name in picked.columns]).reset_index(drop=True)
        return library.concat([library.DataFrame(before), own, library.DataFrame(after)], axis=1)
    if kind == "polars" and library is not None:
        own = picked.drop([name for name in added if name in picked.columns])
        return library.concat([library.DataFrame(before), own, library.DataFrame(after)], how="horizontal")
    if kind == "pyarrow" and library is not None:
        names = [name for name in picked.column_names if name not in added]
        columns = {name: picked.column(name) for name in names}
        return library.table({**before, **columns, **after})
    if isinstance(picked, list):
        names = list(dict.fromkeys(name for row in picked for name in row))
        picked = {name: np.array([row.get(name) for row in picked], object) for name in names}
    own = {name: values for name, values in picked.items() if name not in added}
    return {**before, **own, **after}
