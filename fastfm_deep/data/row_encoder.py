"""One row, from a dict of raw values to ids and values, in microseconds.

The same rules as for tables, without arrays for each column: keys of all categories are found by one call.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastfm_deep import kernels, validation
from fastfm_deep.data.bag_column import BagColumn, is_missing_cell
from fastfm_deep.data.categories import CategoryIds
from fastfm_deep.data.dense_column import DenseColumn
from fastfm_deep.data.keys import INT64, NoCategoryError, key_of
from fastfm_deep.data.values import INT, TEXT
from fastfm_deep.data.vocabulary import Vocabulary, adapted_value

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastfm_deep.data.encoders import LearnedColumn

_WAITING = -1
_LEAST, _MOST = -(2**63), 2**63 - 1


class _Plan(NamedTuple):
    """How one column of a row is read."""

    name: str
    dense: DenseColumn | None
    bag: BagColumn | None
    categories: CategoryIds | None
    table: int  # number of the vocabulary; -1 where there is none to be found by address
    kinds: frozenset[int]  # what values are adapted to, see `adapted_value`
    takes_text: bool  # as it stands
    takes_integers: bool
    refuses: bool  # what is unknown


class RowEncoder:
    """Encodes single rows; may be used by several threads at once.

    It is of the columns as they are now: once they have learned more, another one is needed.
    """

    def __init__(self, columns: tuple[LearnedColumn, ...]) -> None:
        self._owned: list[Any] = []  # what the addresses lead to
        self._addresses: list[list[int]] = []
        self._plans = [self._plan(column) for column in columns]
        self._tables = np.array(self._addresses, np.int64)

    def _plan(self, column: LearnedColumn) -> _Plan:
        name = column.column.name
        if isinstance(column, DenseColumn):
            return _Plan(name, column, None, None, -1, frozenset(), False, False, False)
        categories = column.categories
        number, kinds = -1, frozenset[int]()
        if not categories.is_hashed and not categories.plain and kernels.key_rows.find_row is not None:
            number, kinds = len(self._addresses), categories.vocabulary.first_kinds
            self._addresses.append(self._addresses_of(categories))
        bag = column if isinstance(column, BagColumn) else None
        text = not kinds or TEXT in kinds
        integers = adapted_value(1, kinds) == 1
        return _Plan(
            name, None, bag, categories, number, kinds, text, integers, column.column.handle_unknown == "error"
        )

    def _addresses_of(self, categories: CategoryIds) -> list[int]:
        assert isinstance(categories.vocabulary, Vocabulary)
        table, by_code = categories.vocabulary.table, categories.lookup()
        # Keys that are added to this very table while rows are encoded are unknown, and no place beyond the end.
        lookup = np.full(len(table.kinds) + 1, by_code[-1], np.int64)
        lookup[1 : len(by_code)] = by_code[:-1]
        self._owned += [table, lookup]
        return [part.ctypes.data for part in (*table, lookup)] + [len(table.slots)]

    def encode(self, row: Mapping[str, Any], pooled: bool = False) -> tuple[list[int], list[float]]:
        """Ids and values of a row.

        Parameters
        ----------
        row : dict
        pooled : bool
            Divide the values of bags as models take them; see `FieldLayout`.

        Raises
        ------
        InputError
            A column is missing, or holds what it must not.
        """
        if not isinstance(row, Mapping):
            raise validation.row_type_error(row)
        ids: list[int] = []
        values: list[float] = []
        keys = _KeyList()
        bags: list[tuple[BagColumn, int, int]] = []
        for plan in self._plans:
            name = plan.name
            try:
                value = row[name]
            except KeyError:
                raise validation.row_column_error(name, list(map(str, row))) from None
            if plan.dense is not None:
                number, factor = plan.dense.entry_of(value)
                ids.append(number)
                values.append(factor)
            elif plan.bag is not None:
                items, factors = plan.bag.cells_of(value, _weights_in(row, plan.bag, value))
                bags.append((plan.bag, len(ids), len(ids) + len(items)))
                for item in items:
                    ids.append(keys.add(plan, item, len(ids)))
                values += factors
            else:
                ids.append(keys.add(plan, value, len(ids)))
                values.append(1.0)
        if keys.places:
            keys.find(self._tables, ids)
        for bag, start, stop in reversed(bags):
            ids[start:stop], values[start:stop] = bag.merged(ids[start:stop], values[start:stop], pooled)
        if _WAITING in ids:
            kept = [at for at, number in enumerate(ids) if number >= 0]
            return [ids[at] for at in kept], [values[at] for at in kept]
        return ids, values


class _KeyList:
    """Keys that wait to be found together."""

    __slots__ = ("contents", "keys", "n_bytes", "places", "plans", "values")

    def __init__(self) -> None:
        self.keys: list[int] = []
        self.contents: list[bytes] = []
        self.places: list[int] = []
        self.plans: list[_Plan] = []
        self.values: list[Any] = []
        self.n_bytes = 0

    def add(self, plan: _Plan, value: Any, place: int) -> int:
        """The id of a value, or _WAITING where it is to be found with the others."""
        if plan.table < 0:
            assert plan.categories is not None
            return plan.categories.checked_id(value)
        kind, content = _key(value, plan)
        end = self.n_bytes + len(content)
        self.keys += (plan.table, kind, self.n_bytes, end)
        self.n_bytes = end
        self.contents.append(content)
        self.places.append(place)
        self.plans.append(plan)
        self.values.append(value)
        return _WAITING

    def find(self, tables: NDArray[np.int64], ids: list[int]) -> None:
        """Put the ids into their places."""
        content = np.frombuffer(b"".join(self.contents) or b"\0", np.uint8)
        found = np.empty(len(self.places), np.int64)
        assert kernels.key_rows.find_row is not None
        kernels.key_rows.find_row(content, np.frombuffer(array("q", self.keys), np.int64), tables, found)
        for at, plan, value, number in zip(self.places, self.plans, self.values, found.tolist(), strict=True):
            if number < 0 and plan.refuses:
                assert plan.categories is not None
                plan.categories.checked_id(value)  # raises
            ids[at] = number


def _key(value: Any, plan: _Plan) -> tuple[int, bytes]:
    if type(value) is str and plan.takes_text and value.isascii():
        return TEXT, value.encode()
    if type(value) is int and plan.takes_integers and _LEAST <= value <= _MOST:
        return INT, INT64.pack(value)
    try:
        return key_of(adapted_value(value, plan.kinds))
    except NoCategoryError:
        raise validation.no_category_error(plan.name, 0, value) from None


def _weights_in(row: Mapping[str, Any], column: BagColumn, value: Any) -> Any:
    name = column.column.weights
    if name is None or is_missing_cell(value):
        return None
    if name not in row:
        raise validation.row_column_error(name, list(map(str, row)))
    return row[name]


def as_arrays(ids: list[int], values: list[float], n_features: int) -> tuple[NDArray[Any], NDArray[np.float32]]:
    """Ids and values as arrays, of the types that rows have."""
    return np.array(ids, np.int32 if n_features < 2**31 else np.int64), np.array(values, np.float32)
