"""NumPy arrays and lists of Python objects, read into the forms of `data/values.py`.

An *object* is missing if it is None, NaN, pandas.NA or NaT; what else a column holds decides on its form.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterable, Sequence
from decimal import Decimal
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from fastfm_deep import kernels, validation
from fastfm_deep.data.id_map import IdTable
from fastfm_deep.data.values import (
    BOOL,
    DATE,
    DATETIME,
    DATETIME_NS,
    FLOAT,
    INT,
    TEXT,
    Categories,
    Lists,
    Numbers,
    Objects,
    Texts,
    Values,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BLOCK = 4096
"""Texts taken at a time: the objects stay in the cache between the passes over them. Measured with a million texts
out of 200,000: 61 ns each, 100 ns without blocks, 147 ns by pyarrow."""

# From so many objects on it is looked whether they are few that occur often: this share of a sample at most.
_SHARED_ROWS, _SHARED = 8192, 0.5

_NAN = float("nan")
_MAX_INT = 2**63 - 1
_MISSING_NAMES = ("NAType", "NaTType")  # of pandas, which is not imported for that
_LIST = -1  # beside the kinds of values.py
_REFUSED = -2
_OTHER = -3


def is_missing(value: Any) -> bool:
    """Whether a Python object stands for no value."""
    if value is None:
        return True
    if isinstance(value, float | np.generic):
        return bool(value != value)
    if isinstance(value, Decimal):  # to compare a NaN that signals is an error
        return value.is_nan()
    return type(value).__name__ in _MISSING_NAMES


def object_array(values: Iterable[Any], n: int) -> NDArray[Any]:
    """An array of objects, whatever they are; `np.array` would take lists apart."""
    return np.fromiter(values, object, n)


def read_array(array: NDArray[Any], name: str, missing: NDArray[np.bool_] | None = None) -> Values:
    """Read a NumPy array.

    Parameters
    ----------
    array : array (n,), or (n, width) where each row holds a list
    name : str
        The column, for messages.
    missing : bool array (n,), optional
        Numbers that count as missing.
    """
    if isinstance(array, np.ma.MaskedArray):
        mask = np.ma.getmaskarray(array)
        if array.dtype.kind in "biufM" and array.ndim == 1:
            return read_array(array.data, name, mask)
        array = np.array(array.data, object)
        array[mask] = None
    if array.ndim == 2:
        n_rows, width = array.shape
        items = _checked_items(read_array(array.reshape(-1), name), name)
        return Lists(np.arange(n_rows + 1, dtype=np.int64) * width, items, None)
    if array.ndim != 1:
        raise validation.column_dimension_error(name, array.ndim)
    kind = array.dtype.kind
    if kind == "f":
        return Numbers(np.ascontiguousarray(array, np.float64), FLOAT, missing)
    if kind in "iu":
        return _read_integers(array, missing)
    if kind == "b":
        return Numbers(array.astype(np.int64), BOOL, missing)
    if kind == "M":
        return _read_datetimes(array, name, missing)
    if kind in "OUT":
        return read_objects(array, name)
    if kind == "S":
        return Objects(array.astype(object))
    raise validation.value_type_error(name, array.dtype)


def _read_integers(array: NDArray[Any], missing: NDArray[np.bool_] | None) -> Values:
    if array.dtype.kind == "u" and array.dtype.itemsize == 8 and (array > _MAX_INT).any():
        objects = array.astype(object)
        if missing is not None:
            objects[missing] = None
        return Objects(objects)
    return Numbers(np.ascontiguousarray(array, np.int64), INT, missing)


_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_SECONDS = {"m": 60, "h": 3600}


def _read_datetimes(array: NDArray[Any], name: str, missing: NDArray[np.bool_] | None) -> Values:
    unit, count = np.datetime_data(array.dtype)
    absent = np.isnat(array)
    if missing is not None:
        absent |= missing
    if unit in ("generic", "Y", "M", "W", "D"):  # generic: every value is NaT
        days = array.astype("M8[D]").astype(np.int64)
        return Numbers(np.where(absent, 0, days), DATE, _mask(absent))
    if unit not in _PER_SECOND and unit not in _SECONDS:
        raise validation.value_type_error(name, array.dtype)
    numbers = np.where(absent, 0, array.astype(np.int64))
    if unit == "ns" and count == 1:
        return Numbers(numbers, DATETIME_NS, _mask(absent))
    times = count * _SECONDS.get(unit, 1)
    return Numbers(scaled_times(numbers, times, _PER_SECOND.get(unit, 1), name), DATETIME, _mask(absent))


def scaled_times(numbers: NDArray[np.int64], times: int, per_second: int, name: str) -> NDArray[np.int64]:
    """Times in units of `times / per_second` seconds as microseconds, of which none may be beyond int64."""
    factor, divisor = times * 10**6, per_second
    if factor % divisor:
        return numbers * times // (divisor // 10**6)
    factor //= divisor
    if factor == 1:
        return numbers
    beyond = (numbers > _MAX_INT // factor) | (numbers < -(_MAX_INT // factor))
    if beyond.any():
        raise validation.time_range_error(name, int(beyond.argmax()), f"{times / per_second:g} seconds")
    return numbers * factor


def _mask(missing: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
    return missing if missing.any() else None


def read_objects(objects: Sequence[Any] | NDArray[Any], name: str) -> Values:
    """Read Python objects by what they are.

    All text, all integers, all floats or all booleans, apart from those missing, become that; lists, tuples and
    arrays become Lists. A mixture stays as it is.

    Parameters
    ----------
    objects : list, tuple or array (n,)
    name : str
        The column, for messages.
    """
    shared = _read_shared_texts(objects) if isinstance(objects, np.ndarray) else None
    texts = shared or read_texts(objects)
    if texts is not None:
        return texts
    values = objects.tolist() if isinstance(objects, np.ndarray) else list(objects)
    kinds = {kind: _kind_of(kind) for kind in set(map(type, values))}
    if _REFUSED in kinds.values():
        row = next(i for i, value in enumerate(values) if kinds[type(value)] == _REFUSED)
        raise validation.cell_type_error(name, row, values[row])
    absent = {kind for kind in kinds if kind is type(None) or kind.__name__ in _MISSING_NAMES}
    present = {kinds[kind] for kind in kinds.keys() - absent}
    if FLOAT in present and all(value != value for value in values if kinds[type(value)] == FLOAT):
        absent |= {kind for kind, found in kinds.items() if found == FLOAT}
        present.discard(FLOAT)
    if _LIST in present:
        return _read_lists(values, absent, name)
    if present <= {FLOAT}:
        return Numbers(np.array(_filled(values, absent, _NAN), np.float64), FLOAT, None)
    numbers = None
    if present in ({INT}, {BOOL}):
        numbers = _as_int64(_filled(values, absent, 0))
    if numbers is None:
        return Objects(objects if isinstance(objects, np.ndarray) else object_array(values, len(values)))
    return Numbers(numbers, present.pop(), _missing_types(values, absent))


def _read_shared_texts(objects: NDArray[Any]) -> Categories | None:
    """Texts of which many are one object, as readers of files and joins of tables leave them; None if few are.

    The addresses of the objects are told apart, which takes a sixth of the time that it takes to read them all.
    """
    n = len(objects)
    if n < _SHARED_ROWS or objects.dtype != object:
        return None
    held = np.ascontiguousarray(objects)
    memory: Any = (ctypes.c_int64 * n).from_address(held.ctypes.data)
    addresses = np.frombuffer(memory, np.int64)
    sample = addresses[:: n // _SHARED_ROWS + 1]
    if len(np.unique(sample)) > _SHARED * len(sample):
        return None
    codes, first = _told_apart(addresses)
    texts = read_texts(held[first])
    if texts is None:
        return None
    if texts.missing is not None:
        codes[texts.missing[codes]] = -1
    return Categories(codes, texts._replace(missing=None))


def _told_apart(addresses: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """The number of each address among the different ones, and where each of these comes first."""
    if sys.modules.get("numba") is None:  # a process that scores without: sorting takes four times as long
        _, first, codes = np.unique(addresses, return_index=True, return_inverse=True)
        return codes.reshape(-1).astype(np.int32), first.astype(np.int64)
    n, numbers = len(addresses), addresses.copy()
    IdTable().add(numbers)
    found, places = np.empty(n, np.int32), np.empty(n, np.int64)
    return found, places[: kernels.keys.first_appearances(numbers, places, found)]


def _kind_of(kind: type) -> int:
    if issubclass(kind, str):
        return TEXT
    if issubclass(kind, bool | np.bool_):
        return BOOL
    if issubclass(kind, int | np.integer) and not issubclass(kind, np.timedelta64):
        return INT
    if issubclass(kind, float | np.floating):
        return FLOAT
    if issubclass(kind, list | tuple | np.ndarray):
        return _LIST
    return _REFUSED if issubclass(kind, set | frozenset | dict) else _OTHER


def _filled(values: list[Any], absent: set[type], filler: Any) -> list[Any]:
    return [filler if type(value) in absent else value for value in values] if absent else values


def _missing_types(values: list[Any], absent: set[type]) -> NDArray[np.bool_] | None:
    if not absent:
        return None
    return np.fromiter((type(value) in absent for value in values), bool, len(values))


def _as_int64(values: list[Any]) -> NDArray[np.int64] | None:
    """None if one of them does not fit; the conversion of NumPy's own scalars would wrap around in silence."""
    if values and (max(values) > _MAX_INT or min(values) < -_MAX_INT - 1):
        return None
    return np.array(values, np.int64)


def _read_lists(values: list[Any], absent: set[type], name: str) -> Lists:
    lengths = np.zeros(len(values), np.int64)
    cells = []
    for row, cell in enumerate(values):
        if type(cell) in absent:
            continue
        if not isinstance(cell, list | tuple | np.ndarray):
            raise validation.mixed_list_error(name, row, cell)
        if isinstance(cell, np.ndarray) and cell.ndim != 1:
            raise validation.nested_list_error(name) if cell.ndim else validation.mixed_list_error(name, row, cell)
        lengths[row] = len(cell)
        cells.append(cell)
        if not isinstance(cell, np.ndarray) or cell.dtype == object:
            _check_cell(cell, name, row)
    items = _checked_items(_read_items(cells, name), name)
    return Lists(np.concatenate(([0], np.cumsum(lengths))), items, _missing_types(values, absent))


def _check_cell(cell: Any, name: str, row: int) -> None:
    """Refuse what no list holds here, where its row is known."""
    for kind in set(map(type, cell)):
        if _kind_of(kind) == _LIST:
            raise validation.nested_list_error(name)
        if _kind_of(kind) == _REFUSED:
            raise validation.cell_type_error(name, row, next(item for item in cell if type(item) is kind))


def _read_items(cells: list[Any], name: str) -> Values:
    """What stands in all the lists, one after the other."""
    dtypes = {cell.dtype if isinstance(cell, np.ndarray) else None for cell in cells}
    if len(dtypes) == 1 and None not in dtypes:
        return read_array(np.concatenate(cells), name)
    flat = [cell.tolist() if isinstance(cell, np.ndarray) else cell for cell in cells]
    return read_objects(list(chain.from_iterable(flat)), name)


def _checked_items(items: Values, name: str) -> Texts | Numbers | Objects:
    if isinstance(items, Lists):
        raise validation.nested_list_error(name)
    assert isinstance(items, Texts | Numbers | Objects)
    return items


def read_texts(objects: Sequence[Any] | NDArray[Any]) -> Texts | None:
    """Read objects that are all str or missing; None if one is not, or if no one is a str."""
    n = len(objects)
    pieces: list[bytes] = []
    lengths = np.zeros(n + 1, np.int64)
    missing: list[int] = []
    n_missing = 0  # up to the block before
    for start in range(0, n, _BLOCK):
        block = objects[start : start + _BLOCK]
        values = block.tolist() if isinstance(block, np.ndarray) else block
        try:
            # If the block before had missing values, this one will.
            texts = values if len(missing) == n_missing else _with_blanks(values)
            n_missing = len(missing)
            joined = "\0".join(texts)
        except TypeError:
            texts = _with_blanks(values)
            try:
                joined = "\0".join(texts)
            except TypeError:
                return None
        piece, found = _split(joined, texts)
        pieces.append(piece)
        lengths[start + 1 : start + 1 + len(texts)] = found
        if texts is not values:
            empty = np.flatnonzero(found == 0).tolist()
            missing += [start + i for i in empty if not isinstance(values[i], str)]
    if len(missing) == n:
        return None
    mask = None
    if missing:
        mask = np.zeros(n, bool)
        mask[missing] = True
    return Texts(np.frombuffer(b"".join(pieces), np.uint8), np.cumsum(lengths), mask)


def _with_blanks(values: Sequence[Any]) -> list[Any]:
    """Empty text for what is missing; None and NaN, of which there may be many, are not asked with a call."""
    return [
        value
        if type(value) is str
        else ""
        if value is None or (type(value) is float and value != value) or is_missing(value)
        else value
        for value in values
    ]


def _split(joined: str, texts: Sequence[str]) -> tuple[bytes, NDArray[np.int64]]:
    """Bytes of texts joined by NULs, without these, and the length of each text.

    To look for the NULs takes a third of the time that asking each str for its length does.
    """
    # Half of a surrogate pair has no place in UTF-8, but in Python's str; the same bytes stand for it each time.
    data = joined.encode("utf-8", "surrogatepass")
    ends = np.flatnonzero(np.frombuffer(data, np.uint8) == 0)
    if len(ends) == len(texts) - 1:
        return data.replace(b"\0", b""), np.diff(ends, prepend=-1, append=len(data)) - 1
    encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
    return b"".join(encoded), np.fromiter(map(len, encoded), np.int64, len(encoded))
