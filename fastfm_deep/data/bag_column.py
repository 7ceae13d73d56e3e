"""A variable-length sparse column that has been learned: a bag of categories a row, each with a weight."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastfm_deep import validation
from fastfm_deep.data.categories import CategoryIds
from fastfm_deep.data.encoded import Encoded
from fastfm_deep.data.feature_columns import VarLenSparseFeat
from fastfm_deep.data.float_values import parse_floats, value_at
from fastfm_deep.data.keys import read_only
from fastfm_deep.data.passes import passes
from fastfm_deep.data.python_values import is_missing
from fastfm_deep.data.values import Categories, Lists, Numbers, Objects, Texts, Values
from fastfm_deep.data.vocabulary import SingleValues

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastfm_deep.data.table import Table

_LARGEST = 2.0**128 - 2.0**104  # of float32; to ask NumPy for it takes a millisecond
_POWERS = {"mean": 1.0, "sqrtn": 0.5}


class Bags(NamedTuple):
    """The values of some rows, one after the other, and where those of each row begin; int64 (n_rows + 1,)."""

    offsets: NDArray[np.int64]
    items: SingleValues

    def row_of(self, at: int) -> int:
        """The row of a value."""
        return int(np.searchsorted(self.offsets, at, side="right")) - 1


class BagColumn:
    """Several categories a row; see `VarLenSparseFeat`."""

    def __init__(self, column: VarLenSparseFeat, plain: bool = False) -> None:
        self.column = column
        self.categories = CategoryIds(column, plain)
        self._as_text = False

    @property
    def pooling(self) -> str:
        """Of the field."""
        return self.column.pooling

    def names_read(self) -> tuple[str, ...]:
        """The columns of the table that it reads."""
        return (self.column.name,) if self.column.weights is None else (self.column.name, self.column.weights)

    def learn(self, table: Table, scaling: bool = True) -> NDArray[np.int32] | None:
        """Take in some rows; what `encode` of the same rows may be given."""
        values = table.column(self.column.name)
        self._as_text = self._as_text or _holds_text(values)
        bags, _ = self._shortened(self._bags(values, self.column.name))
        return self.categories.learn(bags.items, bags.row_of)

    @property
    def n_new(self) -> int:
        """How many ids `settle` is going to give."""
        return self.categories.n_new

    def settle(self, next_id: int) -> int:
        """Give ids to what is new; see `CategoryIds.settle`."""
        return self.categories.settle(next_id)

    def encode(self, table: Table, codes: NDArray[np.int32] | None = None) -> Encoded:
        """Ids and weights of the rows; those that a row names twice are brought together."""
        values = table.column(self.column.name)
        whole = self._bags(values, self.column.name)
        weights = np.ones(whole.items.n, np.float32)
        if self.column.weights is not None:
            self._read_weights(table, whole, missing_rows(values), weights)
        bags, kept = self._shortened(whole)
        ids = self.categories.find(bags.items, codes, bags.row_of)
        return self._closed(bags.offsets, ids, weights if kept is None else weights[kept])

    def _bags(self, values: Values, name: str) -> Bags:
        return bags_of(values, self.column.separator, name, self.categories.plain)

    def _closed(self, offsets: NDArray[np.int64], ids: NDArray[np.int32], weights: NDArray[np.float32]) -> Encoded:
        place = np.empty(int(ids.max(initial=0)) + 1, np.int64)
        out = np.empty(len(offsets), np.int64)
        kept = passes(self.categories.plain).close_bags(
            offsets, ids, weights, self.column.pooling == "max", place, out
        )
        if self.column.weights is not None and not np.isfinite(weights[:kept]).all():
            at = int(np.argmin(np.isfinite(weights[:kept])))
            row = int(np.searchsorted(out, at, side="right")) - 1
            raise validation.bag_weight_error(self.column.weights, row, float(weights[at]))
        return Encoded(ids[:kept], weights[:kept], out)

    def _shortened(self, bags: Bags) -> tuple[Bags, NDArray[np.bool_] | None]:
        """The first `max_length` values of each row, and which those are; None for all."""
        most = self.column.max_length
        lengths = np.diff(bags.offsets)
        if most is None or int(lengths.max(initial=0)) <= most:
            return bags, None
        kept = np.empty(bags.items.n, np.bool_)
        passes(self.categories.plain).first_entries(bags.offsets, most, kept)
        offsets = np.zeros(len(bags.offsets), np.int64)
        np.cumsum(np.minimum(lengths, most), out=offsets[1:])
        return Bags(offsets, _chosen(bags.items, np.flatnonzero(kept))), kept

    def _read_weights(self, table: Table, bags: Bags, gone: NDArray[np.bool_], out: NDArray[np.float32]) -> None:
        """Write the weight of each value to `out`; rows that are `gone`, without a list, have none."""
        name = self.column.weights
        assert name is not None
        values = table.column(name)
        given = self._bags(values, name)
        without = gone | missing_rows(values)
        n_values, n_weights = np.diff(bags.offsets), np.diff(given.offsets)
        uneven = ~gone & (n_values != np.where(without, 0, n_weights))
        if uneven.any():
            row = int(np.argmax(uneven))
            found = 0 if without[row] else int(n_weights[row])
            raise validation.weight_count_error(self.column.name, name, row, int(n_values[row]), found)
        floats, is_bad = parse_floats(given.items, name)
        used = ~np.repeat(without, n_weights)
        bad = used & (is_bad | ~(np.abs(floats) <= _LARGEST))
        if bad.any():
            at = int(np.argmax(bad))
            raise validation.bag_weight_error(name, given.row_of(at), value_at(given.items, at))
        out[~np.repeat(gone, n_values)] = floats[used]

    def cells_of(self, value: Any, weights: Any) -> tuple[list[Any], list[float]]:
        """The single values of one row and their weights; `value` and `weights` as they stand in a row."""
        items = self.items_of(value, self.column.name)
        name, most = self.column.weights, self.column.max_length
        if name is None or is_missing_cell(value):
            return items[:most], [1.0] * len(items[:most])
        given = [] if is_missing_cell(weights) else self.items_of(weights, name)
        if len(given) != len(items):
            raise validation.weight_count_error(self.column.name, name, 0, len(items), len(given))
        cells = np.empty(len(given), object)
        cells[:] = given
        floats, is_bad = parse_floats(Objects(cells), name)
        bad = is_bad | ~(np.abs(floats) <= _LARGEST)
        if bad.any():
            raise validation.bag_weight_error(name, 0, given[int(np.argmax(bad))])
        return items[:most], floats[:most].astype(np.float32).tolist()

    def merged(self, ids: list[int], factors: list[float], pooled: bool) -> tuple[list[int], list[float]]:
        """What one row has of the bag, without ids of -1 and with each id once; `pooled` as models take it."""
        found: dict[int, float] = {}
        for number, factor in zip(ids, factors, strict=True):
            if number < 0:
                continue
            if number not in found:
                found[number] = factor
            elif self.column.pooling == "max":
                found[number] = max(found[number], factor)
            else:
                found[number] = self._sum(found[number], factor)
        values = list(found.values())
        power = _POWERS.get(self.column.pooling)
        if pooled and power is not None and len(values) > 1:
            n = sum(value != 0.0 for value in values)
            values = [value / n**power for value in values] if n > 1 else values
        return list(found), values

    def _sum(self, first: float, second: float) -> float:
        """In float32, as for tables."""
        with np.errstate(over="ignore"):
            found = float(np.float32(first + second))
        if not np.isfinite(found):
            assert self.column.weights is not None
            raise validation.bag_weight_error(self.column.weights, 0, found)
        return found

    def items_of(self, value: Any, name: str) -> list[Any]:
        """The single values of one cell."""
        if isinstance(value, str):
            return [piece for piece in value.split(self.column.separator) if piece]
        if isinstance(value, np.ndarray) and value.ndim == 0:
            return self.items_of(value.item(), name)
        if isinstance(value, list | tuple | np.ndarray):
            return list(value)
        if isinstance(value, set | frozenset):
            raise validation.no_category_error(name, 0, value)
        return [None if is_missing(value) else value]

    def decode(
        self, rows: NDArray[np.int64], ids: NDArray[np.int64], values: NDArray[Any], n_rows: int
    ) -> list[Any]:
        """The lists of `n_rows` rows, or their text; None for a row whose list was missing."""
        found: list[Any] = [[] for _ in range(n_rows)]
        for row, value in zip(rows.tolist(), self.categories.values_of(ids), strict=True):
            found[row].append(value)
        for row, items in enumerate(found):
            if items == [None]:
                found[row] = None
            elif self._as_text:
                found[row] = self.column.separator.join("" if item is None else str(item) for item in items)
        return found

    def named_ids(self) -> Iterator[tuple[int, Any, str]]:
        """Each id with its category and name."""
        return self.categories.named_ids()

    def owned_ids(self) -> NDArray[np.int64]:
        """All ids of the column."""
        return self.categories.owned_ids()

    @property
    def n_owned(self) -> int:
        """How many ids this column has."""
        return self.categories.n_owned

    @property
    def is_strict(self) -> bool:
        """Whether rows may hold values that it refuses to encode, though it has learned from them."""
        return self.column.handle_unknown == "error" or self.column.weights is not None

    def mark(self) -> Any:
        """The state now, for `reset`."""
        return self._as_text, self.categories.mark()

    def reset(self, mark: Any) -> None:
        """Forget what has been learned since."""
        self._as_text, of_categories = mark
        self.categories.reset(of_categories)

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """What a model file holds."""
        plain, arrays = self.categories.state()
        return plain | {"as_text": self._as_text}, arrays

    def set_state(self, plain: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
        """Take what `state` gave."""
        self._as_text = bool(plain["as_text"])
        self.categories.set_state(plain, arrays)


def is_missing_cell(value: Any) -> bool:
    """Whether a row has no list at all."""
    return not isinstance(value, str | list | tuple | np.ndarray | set | frozenset) and is_missing(value)


def bags_of(values: Values, separator: str, column: str, plain: bool = False) -> Bags:
    """The single values of a column: the items of its lists, the pieces of its text, or each value by itself.

    A row whose list is missing holds one missing value.
    """
    if isinstance(values, Lists):
        return _list_bags(values)
    if isinstance(values, Categories):
        return bags_of(_chosen(values, np.arange(values.n)), separator, column, plain)
    if isinstance(values, Objects):
        return _object_bags(values, separator, column)
    if isinstance(values, Texts):
        return _text_bags(values, separator, plain)
    return Bags(np.arange(values.n + 1), values)


def missing_rows(values: Values) -> NDArray[np.bool_]:
    """Which rows hold nothing at all, not even an empty list; bool (n_rows,)."""
    if isinstance(values, Categories):
        return np.asarray(values.codes) < 0
    if isinstance(values, Objects):
        return np.fromiter(map(is_missing_cell, values.objects), np.bool_, values.n)
    gone = np.zeros(values.n, np.bool_) if values.missing is None else np.asarray(values.missing)
    if isinstance(values, Numbers) and values.numbers.dtype.kind == "f":
        gone = gone | np.isnan(values.numbers)
    return gone


def _list_bags(values: Lists) -> Bags:
    offsets = values.offsets - values.offsets[0]
    items: SingleValues = values.items
    if int(values.offsets[0]) or int(values.offsets[-1]) != items.n:
        items = _chosen(items, np.arange(values.offsets[0], values.offsets[-1]))
    if values.missing is None or not values.missing.any():
        return Bags(offsets, items)
    # One missing value for each row without a list: a code, or a place, of -1.
    gone = np.asarray(values.missing)
    places = np.insert(np.arange(items.n), offsets[:-1][gone], -1)
    return Bags(offsets + np.concatenate([[0], np.cumsum(gone)]), _as_categories(items, places))


def _as_categories(items: SingleValues, places: NDArray[np.integer]) -> Categories:
    """The items at some places; missing where that is -1."""
    if isinstance(items, Categories):
        codes = np.append(np.asarray(items.codes, np.int64), -1)
        return Categories(codes[places], items.values)
    return Categories(places, items)


def _text_bags(values: Texts, separator: str, plain: bool) -> Bags:
    found = passes(plain)
    data, given = read_only(values.data, np.uint8), read_only(values.offsets, np.int64)
    between = read_only(np.frombuffer(separator.encode("utf-8", "surrogatepass"), np.uint8), np.uint8)
    offsets = np.empty(values.n + 1, np.int64)
    n_bytes = found.count_pieces(data, given, between, offsets)
    out, out_offsets = np.empty(n_bytes, np.uint8), np.empty(int(offsets[-1]) + 1, np.int64)
    found.split_pieces(data, given, between, out, out_offsets)
    lists = Lists(offsets, Texts(out, out_offsets, None), None)
    if values.missing is None or not values.missing.any():
        return _list_bags(lists)
    # What lies in the place of missing text is nobody's.
    kept = ~np.repeat(np.asarray(values.missing), np.diff(offsets))
    lengths = np.where(values.missing, 0, np.diff(offsets))
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return _list_bags(Lists(offsets, _chosen(lists.items, np.flatnonzero(kept)), np.asarray(values.missing)))


def _object_bags(values: Objects, separator: str, column: str) -> Bags:
    """Cells of mixed kinds, one by one."""
    items: list[Any] = []
    offsets = np.zeros(values.n + 1, np.int64)
    for row, cell in enumerate(values.objects):
        if isinstance(cell, str):
            items.extend(piece for piece in cell.split(separator) if piece)
        elif isinstance(cell, list | tuple | np.ndarray):
            items.extend(cell)
        elif isinstance(cell, set | frozenset):
            raise validation.no_category_error(column, row, cell)
        else:
            items.append(None if is_missing(cell) else cell)
        offsets[row + 1] = len(items)
    array = np.empty(len(items), object)
    array[:] = items
    return Bags(offsets, Objects(array))


def _chosen(items: SingleValues, places: NDArray[np.integer]) -> Any:
    """Some of the items, in a form of their own where they were categories."""
    if isinstance(items, Objects):
        return Objects(items.objects[places])
    if isinstance(items, Numbers):
        return items._replace(
            numbers=items.numbers[places], missing=None if items.missing is None else items.missing[places]
        )
    if isinstance(items, Texts):
        missing = None if items.missing is None else items.missing[places]
        lengths = np.diff(items.offsets)[places]
        offsets = np.zeros(len(places) + 1, np.int64)
        np.cumsum(lengths, out=offsets[1:])
        at = np.arange(offsets[-1]) + np.repeat(items.offsets[:-1][places] - offsets[:-1], lengths)
        return Texts(items.data[at], offsets, missing)
    codes = np.asarray(items.codes, np.int64)[places]
    if not items.values.n:
        return Objects(np.full(len(places), None, object))
    found = _chosen(items.values, np.maximum(codes, 0))
    if not (codes < 0).any():
        return found
    if isinstance(found, Objects):
        found.objects[codes < 0] = None
        return found
    gone = codes < 0 if found.missing is None else (codes < 0) | found.missing
    return found._replace(missing=gone)


def _holds_text(values: Values) -> bool:
    if isinstance(values, Categories):
        return _holds_text(values.values)
    if isinstance(values, Objects):
        return any(isinstance(cell, str) for cell in values.objects)
    return isinstance(values, Texts)
