"""The vocabulary of a column: the keys that have occurred, numbered, and how often each has.

A *code* is the number of a key, in order of first appearance. Codes never change; new keys get the next ones.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastfm_deep import kernels, validation
from fastfm_deep.data.keys import (
    NUMBER_TYPES,
    NUMERIC_KINDS,
    NoCategoryError,
    key_of,
    keys_of,
    number_in,
    read_only,
    text_of,
    value_of,
)
from fastfm_deep.data.memory import free_memory
from fastfm_deep.data.passes import passes
from fastfm_deep.data.python_values import is_missing
from fastfm_deep.data.values import BOOL, DATE, DATETIME, MISSING, TEXT, Categories, Numbers, Objects, Texts
from fastfm_deep.kernels.key_layout import Keys, KeyTable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

_MOST_KEYS = 2**31 - 2
_FIRST_KEYS = 64
# What is asked for without looking whether it is there: to look takes half a millisecond.
_MUCH = 1 << 26
_NUMERIC_KINDS = frozenset(NUMERIC_KINDS)

SingleValues = Texts | Numbers | Objects | Categories


class Contents(NamedTuple):
    """What a model file holds of a vocabulary of n keys.

    data : uint8; offsets : int64 (n + 1,); kinds : uint8 (n,); counts : int64 (n,).
    """

    data: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    kinds: NDArray[np.uint8]
    counts: NDArray[np.int64]


class Vocabulary:
    """The keys of a column.

    `find` may be called by several threads at once, `add` by one alone.
    """

    def __init__(self) -> None:
        self.n = 0
        self.counts = np.zeros(0, np.int64)
        """How often each key has occurred, (n,)."""
        self.first_kinds: frozenset[int] = frozenset()
        """Kinds of the keys that came first, but for the missing one. Where these are all numbers, or all text,
        that is how later values are read too: the same column may come as either, from a CSV file, say."""
        self._table = KeyTable(
            np.zeros(4 * _FIRST_KEYS, np.uint64),
            np.zeros(16 * _FIRST_KEYS, np.uint8),
            np.zeros(_FIRST_KEYS + 1, np.int64),
            np.zeros(_FIRST_KEYS, np.uint8),
        )

    def contents(self) -> Contents:
        """The keys, for a file."""
        table = self._table
        n_bytes = int(table.offsets[self.n])
        return Contents(table.data[:n_bytes], table.offsets[: self.n + 1], table.kinds[: self.n], self.counts)

    @classmethod
    def from_contents(cls, contents: Contents, first_kinds: frozenset[int]) -> Vocabulary:
        """A vocabulary out of a file, whose contents have been checked.

        Raises
        ------
        ValueError
            A key comes twice.
        """
        found = cls()
        n = len(contents.kinds)
        slots = np.zeros(_slots_for(n), np.uint64)
        found._table = KeyTable(slots, *(np.array(part) for part in contents[:3]))
        if not kernels.keys.fill_slots(found._table, n):
            raise ValueError("found a category twice")
        found.n, found.counts, found.first_kinds = n, np.array(contents.counts), first_kinds
        return found

    def add(self, values: SingleValues, column: str, row_of: Callable[[int], int] = int) -> NDArray[np.int32]:
        """Codes of the values, int32 (n,), after giving new ones to those that are new; counts them all.

        Parameters
        ----------
        values : Texts, Numbers, Objects or Categories
        column : str
            For the message.
        row_of : callable
            The row of a place in `values`, likewise.
        """
        if isinstance(values, Categories):
            codes = self._add_categories(values, column, row_of)
        else:
            codes = self._add_keys(keys_of(adapted(values, self.first_kinds), column, row_of))
        counts = np.zeros(self.n, np.int64)
        counts[: len(self.counts)] = self.counts
        kernels.keys.count_codes(codes, counts)
        self.counts = counts
        if not self.first_kinds:
            self.first_kinds = frozenset(np.unique(self._table.kinds[: self.n]).tolist()) - {MISSING}
        return codes

    def _add_categories(self, values: Categories, column: str, row_of: Callable[[int], int]) -> NDArray[np.int32]:
        """Only those of the categories that some row has become keys, in the order of these rows."""
        n_categories = values.values.n
        given = _given_codes(values)
        first, order = np.full(n_categories + 1, -1, np.int64), np.empty(n_categories + 1, np.int64)
        used = order[: kernels.keys.first_in_order(given, first, order)]
        keys = _with_missing(
            keys_of(
                adapted(values.values, self.first_kinds), column, lambda place: row_of(row_with(values, place))
            )
        )
        codes = np.full(n_categories + 1, -1, np.int32)
        codes[used] = self._add_keys(_picked(keys, used))
        return taken(given, codes)

    def _add_keys(self, keys: Keys) -> NDArray[np.int32]:
        if not all(part.flags.writeable for part in self._table):  # memory maps of joblib
            self._table = KeyTable(*map(np.array, self._table))
        codes = np.empty(len(keys.kinds), np.int32)
        place = 0
        while True:
            place, self.n = kernels.keys.add_keys(keys, place, self._table, self.n, codes)
            if place == len(codes):
                return codes
            self._grow(int(keys.offsets[place + 1] - keys.offsets[place]))

    def _grow(self, n_bytes: int) -> None:
        """Make room for more keys, one of which has `n_bytes`."""
        table, n = self._table, self.n
        if n >= _MOST_KEYS:
            raise validation.too_many_categories_error(n)
        if 2 * n >= len(table.slots) or n == len(table.kinds):
            room = 2 * max(n, _FIRST_KEYS)
            n_slots = _slots_for(room)
            n_bytes_more = 8 * n_slots + 9 * room
            if n_bytes_more > _MUCH and n_bytes_more > free_memory():
                raise validation.category_memory_error(n)
            table = KeyTable(
                np.zeros(n_slots, np.uint64),
                table.data,
                _longer(table.offsets, room + 1),
                _longer(table.kinds, room),
            )
            kernels.keys.fill_slots(table, n)
        used = int(table.offsets[n])
        if used + n_bytes > len(table.data):
            table = table._replace(data=_longer(table.data, 2 * used + n_bytes))
        self._table = table

    def forget(self, n: int, counts: NDArray[np.int64], first_kinds: frozenset[int]) -> None:
        """Go back to the first `n` keys, and to what they were counted then."""
        # Always, and in a table of its own: `n` may not tell of all that was added before an interrupt, and who
        # reads the present table may go on.
        table = self._table._replace(slots=np.zeros(len(self._table.slots), np.uint64))
        kernels.keys.fill_slots(table, n)
        self._table, self.n, self.counts, self.first_kinds = table, n, counts, first_kinds

    def find(self, values: SingleValues, column: str, row_of: Callable[[int], int] = int) -> NDArray[np.int32]:
        """Codes of the values, int32 (n,); -1 for those that are not known. Parameters as of `add`."""
        if isinstance(values, Categories):
            codes = self.find(values.values, column, lambda place: row_of(row_with(values, place)))
            return taken(_given_codes(values), np.append(codes, self.code_of_missing()))
        keys = keys_of(adapted(values, self.first_kinds), column, row_of)
        codes = np.empty(len(keys.kinds), np.int32)
        kernels.keys.find_keys(keys, self._table, codes)
        return codes

    def code_of_missing(self) -> np.int32:
        """The code of a missing value, -1 where none has occurred."""
        return self.code_of(None)

    def code_of(self, value: Any) -> np.int32:
        """The code of one value, -1 if it is not known.

        Raises
        ------
        NoCategoryError
            It cannot be one.
        """
        kind, content = key_of(adapted_value(value, self.first_kinds))
        key = Keys(
            read_only(np.frombuffer(content, np.uint8), np.uint8),
            read_only(np.array((0, len(content))), np.int64),
            read_only(np.array((kind,)), np.uint8),
        )
        codes = np.empty(1, np.int32)
        kernels.keys.find_keys(key, self._table, codes)
        return codes[0]

    def values(self, codes: NDArray[np.integer] | None = None) -> list[Any]:
        """The Python values of some codes, of all by default."""
        return list(self.iterate(range(self.n) if codes is None else codes.tolist()))

    def iterate(self, codes: Any) -> Iterator[Any]:
        """The Python values of codes, one by one."""
        data, offsets, kinds = self._table.data, self._table.offsets, self._table.kinds
        for code in codes:
            yield value_of(int(kinds[code]), data[offsets[code] : offsets[code + 1]].tobytes())

    @property
    def table(self) -> KeyTable:
        """The keys as kernels take them."""
        return self._table


def adapted(values: Texts | Numbers | Objects, kinds: frozenset[int]) -> Texts | Numbers | Objects:
    """The values as `kinds`, those of the keys that came first, have them; see `Vocabulary.first_kinds`."""
    if isinstance(values, Texts):
        if not _are_numbers(kinds) and not _are_dates(kinds):
            return values
        return Objects(_as_objects([adapted_value(text, kinds) for text in _strings(values)]))
    if isinstance(values, Objects):
        if kinds != {TEXT} and not _are_numbers(kinds) and not _are_dates(kinds):
            return values
        return Objects(_as_objects([adapted_value(value, kinds) for value in values.objects]))
    if kinds != {TEXT}:
        return values
    if values.kind not in NUMERIC_KINDS:
        return Objects(_as_objects(_dates_as_text(values)))
    missing = np.zeros(values.n, bool) if values.missing is None else values.missing
    numbers = values.numbers.astype(bool) if values.kind == BOOL else values.numbers
    items = zip(numbers.tolist(), missing.tolist(), strict=True)
    return Objects(_as_objects([None if gone or number != number else text_of(number) for number, gone in items]))


def adapted_value(value: Any, kinds: frozenset[int]) -> Any:
    """One value, likewise."""
    if isinstance(value, str):
        if _are_dates(kinds):
            return _date_or_text(value, kinds)
        return _number_or_text(value) if _are_numbers(kinds) else value
    if kinds == {TEXT} and isinstance(value, dt.date | np.datetime64) and not is_missing(value):
        return _text_of_time(*key_of(value))
    if kinds == {TEXT} and isinstance(value, NUMBER_TYPES) and not is_missing(value):
        try:
            return text_of(value)
        except (NoCategoryError, TypeError):  # complex numbers
            return value
    return value


def _are_dates(kinds: frozenset[int]) -> bool:
    return kinds in ({DATE}, {DATETIME})


def _date_or_text(text: str, kinds: frozenset[int]) -> Any:
    """The date, or time without a zone, that is written as Python writes one; else the text."""
    try:
        found: dt.date = dt.date.fromisoformat(text) if kinds == {DATE} else dt.datetime.fromisoformat(text)
    except ValueError:
        return text
    has_zone = isinstance(found, dt.datetime) and found.tzinfo is not None
    return text if has_zone or str(found) != text else found


def _text_of_time(kind: int, content: bytes) -> Any:
    """How Python writes a date, or a time without a zone; others can be written in many ways and stay."""
    value = value_of(kind, content)
    return str(value) if kind in (DATE, DATETIME) and isinstance(value, dt.date) else value


def _dates_as_text(values: Numbers) -> list[Any]:
    keys = keys_of(values, "")
    content = keys.data.tobytes()
    return [
        None if kind == MISSING else _text_of_time(kind, content[8 * row : 8 * row + 8])
        for row, kind in enumerate(keys.kinds.tolist())
    ]


def _are_numbers(kinds: frozenset[int]) -> bool:
    return bool(kinds) and kinds <= _NUMERIC_KINDS


def _number_or_text(text: str | None) -> Any:
    number = None if text is None else number_in(text)
    return text if number is None else number


def _strings(values: Texts) -> Iterator[str | None]:
    data, offsets = values.data.tobytes(), values.offsets.tolist()
    missing = values.missing
    for row in range(values.n):
        gone = missing is not None and missing[row]
        yield None if gone else data[offsets[row] : offsets[row + 1]].decode("utf-8", "surrogatepass")


def _given_codes(values: Categories) -> NDArray[Any]:
    """The codes of categories in one of two types, so that few kernels are compiled."""
    return read_only(values.codes, np.int64 if values.codes.dtype.itemsize > 4 else np.int32)


def taken(codes: NDArray[np.integer], by_code: NDArray[np.int32], plain: bool = False) -> NDArray[np.int32]:
    """What an array has at each code, at its end for -1; int32 (n,)."""
    out = np.empty(len(codes), np.int32)
    passes(plain).take_codes(read_only(codes, codes.dtype), read_only(by_code, np.int32), out)
    return out


def row_with(values: Categories, place: int) -> int:
    """Where a category occurs first."""
    return int(np.argmax(np.asarray(values.codes) == place))


def _as_objects(items: list[Any]) -> NDArray[Any]:
    array = np.empty(len(items), object)
    array[:] = items
    return array


def _picked(keys: Keys, chosen: NDArray[np.integer]) -> Keys:
    """Some of the keys."""
    lengths = np.diff(keys.offsets)[chosen]
    offsets = np.zeros(len(chosen) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    at = np.arange(offsets[-1]) + np.repeat(keys.offsets[:-1][chosen] - offsets[:-1], lengths)
    return Keys(
        read_only(keys.data[at], np.uint8), read_only(offsets, np.int64), read_only(keys.kinds[chosen], np.uint8)
    )


def _with_missing(keys: Keys) -> Keys:
    """The keys, and one more for what is missing."""
    return Keys(
        keys.data,
        read_only(np.append(keys.offsets, keys.offsets[-1]), np.int64),
        read_only(np.append(keys.kinds, np.uint8(MISSING)), np.uint8),
    )


def _slots_for(n: int) -> int:
    return 1 << max(8, (2 * n).bit_length())


def _longer(array: NDArray[Any], length: int) -> NDArray[Any]:
    new = np.zeros(length, array.dtype)
    new[: len(array)] = array[:length]
    return new
