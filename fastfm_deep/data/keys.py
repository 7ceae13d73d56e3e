"""Categories and their keys: what Python value a category is, and the bytes it is known by.

A *key* is a kind and some bytes, see `kernels.keys`. Values that are equal in Python have the same key, whatever
type they came in: 1, 1.0, True and NumPy's integers; None, NaN, NaT and pandas.NA are one, *missing*.
"""

from __future__ import annotations

import datetime as dt
import math
import struct
from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np

from fastfm_deep import validation
from fastfm_deep.data.python_values import is_missing
from fastfm_deep.data.values import (
    BIG_INT,
    BOOL,
    BYTES,
    DATE,
    DATETIME,
    DATETIME_NS,
    DATETIME_NS_UTC,
    DATETIME_UTC,
    FLOAT,
    INT,
    MISSING,
    TEXT,
    Numbers,
    Objects,
    Texts,
)
from fastfm_deep.kernels.key_layout import WHOLE_KIND, Keys

if TYPE_CHECKING:
    from numpy.typing import NDArray

NUMERIC_KINDS = (INT, FLOAT, BOOL, WHOLE_KIND, BIG_INT)
KINDS = (
    MISSING,
    TEXT,
    INT,
    FLOAT,
    BOOL,
    DATE,
    DATETIME,
    DATETIME_UTC,
    DATETIME_NS,
    DATETIME_NS_UTC,
    BIG_INT,
    BYTES,
    WHOLE_KIND,
)

_EPOCH = dt.datetime(1970, 1, 1)
_EPOCH_UTC = dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)
_FIRST_DAY = dt.date(1970, 1, 1)
_MICROSECOND = dt.timedelta(microseconds=1)
_NO_BYTES = np.empty(0, np.uint8)
_TIMES = {DATETIME_NS: DATETIME, DATETIME_NS_UTC: DATETIME_UTC}
INT64 = struct.Struct("<q")
_FLOAT64 = struct.Struct("<d")


class NoCategoryError(Exception):
    """A value that cannot be one."""


def key_of(value: Any) -> tuple[int, bytes]:
    """Kind and bytes of a category.

    Raises
    ------
    NoCategoryError
        It is neither text, number, boolean, date, time or bytes, nor missing. The caller knows column and row.
    """
    if isinstance(value, str):
        return TEXT, _utf8(value)
    if is_missing(value):
        return MISSING, b""
    if isinstance(value, bool | np.bool_):
        return BOOL, INT64.pack(int(value))
    if isinstance(value, int | np.integer) and not isinstance(value, np.timedelta64):
        return _int_key(int(value))
    if isinstance(value, float | np.floating | Decimal):
        return _float_key(float(value))
    if isinstance(value, np.datetime64):
        return _time_key(value)
    if isinstance(value, dt.datetime):
        return _datetime_key(value)
    if isinstance(value, dt.date):
        return DATE, INT64.pack((value - _FIRST_DAY).days)
    if isinstance(value, bytes):
        return BYTES, bytes(value)
    raise NoCategoryError


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:  # half of a pair of surrogates
        return text.encode("utf-8", "surrogatepass")


def _int_key(number: int) -> tuple[int, bytes]:
    if -(2**63) <= number < 2**63:
        return INT, INT64.pack(number)
    try:
        return BIG_INT, b"%d" % number
    except ValueError:  # Python writes no integers of thousands of digits
        raise NoCategoryError from None


def _float_key(number: float) -> tuple[int, bytes]:
    if not number.is_integer():
        return FLOAT, _FLOAT64.pack(number)
    if -(2.0**63) <= number < 2.0**63:
        return WHOLE_KIND, INT64.pack(int(number))
    return BIG_INT, b"%d" % int(number)


def _datetime_key(value: dt.datetime) -> tuple[int, bytes]:
    aware = value.utcoffset() is not None
    microseconds = (value - (_EPOCH_UTC if aware else _EPOCH)) // _MICROSECOND
    nanoseconds = getattr(value, "nanosecond", 0)  # of a pandas Timestamp
    if nanoseconds:
        return (DATETIME_NS_UTC if aware else DATETIME_NS), INT64.pack(microseconds * 1000 + nanoseconds)
    return (DATETIME_UTC if aware else DATETIME), INT64.pack(microseconds)


def _time_key(value: np.datetime64) -> tuple[int, bytes]:
    unit = np.datetime_data(value.dtype)[0]
    if unit in ("Y", "M", "W", "D"):
        return DATE, INT64.pack(int(value.astype("datetime64[D]").astype(np.int64)))
    if unit in ("ns", "ps", "fs", "as"):
        number = int(value.astype("datetime64[ns]").astype(np.int64))
        if number % 1000:
            return DATETIME_NS, INT64.pack(number)
    return DATETIME, INT64.pack(int(value.astype("datetime64[us]").astype(np.int64)))


def value_of(kind: int, content: bytes) -> Any:
    """The Python value that a key stands for: str, int, float, bool, date, datetime, bytes or None.

    A time with a time zone comes back in UTC; one of nanoseconds, or beyond the years of Python's, as
    numpy.datetime64.
    """
    if kind == TEXT:
        return content.decode("utf-8", "surrogatepass")
    if kind == MISSING:
        return None
    if kind == BYTES:
        return content
    if kind == BIG_INT:
        return int(content)
    if kind == FLOAT:
        return _FLOAT64.unpack(content)[0]
    number = INT64.unpack(content)[0]
    if kind == INT:
        return number
    if kind == BOOL:
        return bool(number)
    if kind == WHOLE_KIND:
        return float(number)
    if kind in (DATETIME_NS, DATETIME_NS_UTC):
        return np.datetime64(number, "ns")
    moment = np.datetime64(number, "D" if kind == DATE else "us")
    if not isinstance(moment.item(), dt.date):
        return moment
    return moment.item().replace(tzinfo=dt.timezone.utc) if kind == DATETIME_UTC else moment.item()


def keys_of(values: Texts | Numbers | Objects, column: str, row_of: Callable[[int], int] = int) -> Keys:
    """Keys of the values of a column.

    Parameters
    ----------
    values : Texts, Numbers or Objects
    column : str
        For the message.
    row_of : callable
        The row of a place in `values`, likewise.

    Raises
    ------
    InputTypeError
        An object is no category; the message names column, value and row.
    """
    if isinstance(values, Texts):
        return _frozen(values.data, values.offsets, _kinds(values.n, TEXT, values.missing))
    if isinstance(values, Numbers):
        return _number_keys(values)
    return keys_of_objects(values.objects, column, row_of)


def keys_of_objects(objects: Any, column: str, row_of: Callable[[int], int] = int) -> Keys:
    """Keys of Python values, one by one."""
    kinds = np.empty(len(objects), np.uint8)
    contents = []
    for place, value in enumerate(objects):
        try:
            kind, content = key_of(value)
        except NoCategoryError:
            raise validation.no_category_error(column, row_of(place), value) from None
        kinds[place] = kind
        contents.append(content)
    offsets = np.zeros(len(objects) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, contents), np.int64, len(contents)), out=offsets[1:])
    return _frozen(np.frombuffer(b"".join(contents), np.uint8), offsets, kinds)


def _kinds(n: int, kind: int, missing: NDArray[np.bool_] | None) -> NDArray[np.uint8]:
    kinds = np.full(n, kind, np.uint8)
    if missing is not None:
        kinds[missing] = MISSING
    return kinds


def _number_keys(values: Numbers) -> Keys:
    numbers_, kinds = values.numbers, _kinds(values.n, values.kind, values.missing)
    if values.kind == FLOAT:
        found, kinds = _float_keys(numbers_, kinds)
        if found is None:
            floats = numbers_ if values.missing is None else np.where(values.missing, np.nan, numbers_)
            return keys_of_objects(floats.tolist(), "")
        numbers_ = found
    elif values.kind in _TIMES:
        whole = numbers_ % 1000 == 0
        numbers_ = np.where(whole, numbers_ // 1000, numbers_)
        kinds[whole & (kinds != MISSING)] = _TIMES[values.kind]
    content = np.ascontiguousarray(numbers_, "<i8").view(np.uint8)
    return _frozen(content, np.arange(0, 8 * values.n + 1, 8, dtype=np.int64), kinds)


def _float_keys(
    floats: NDArray[np.float64], kinds: NDArray[np.uint8]
) -> tuple[NDArray[np.int64] | None, NDArray[np.uint8]]:
    """Whole numbers as integers, the bits of others; None where there are integers beyond int64."""
    floats = np.ascontiguousarray(floats, np.float64)
    kinds[np.isnan(floats)] = MISSING
    present = kinds != MISSING
    with np.errstate(invalid="ignore"):
        whole = present & (np.floor(floats) == floats) & np.isfinite(floats)
        if bool((whole & (np.abs(floats) >= 2.0**63)).any()):
            return None, kinds
        found = np.where(whole, floats, 0.0).astype(np.int64)
    kinds[whole] = WHOLE_KIND
    return np.where(whole, found, floats.view(np.int64)), kinds


def _frozen(data: NDArray[Any], offsets: NDArray[Any], kinds: NDArray[np.uint8]) -> Keys:
    """Read-only plain arrays, so that kernels are compiled once."""
    return Keys(
        *(read_only(array, dtype) for array, dtype in ((data, np.uint8), (offsets, np.int64), (kinds, np.uint8)))
    )


def read_only(array: NDArray[Any], dtype: Any) -> NDArray[Any]:
    """A plain contiguous view that cannot be written."""
    view = np.require(np.asarray(array), dtype, ["C", "A"]).view()
    view.flags.writeable = False
    return view


_TRUTH = {"True": True, "False": False}


def number_in(text: str) -> int | float | None:
    """The number or truth that is written so, None where the text is not how Python writes one."""
    if text in _TRUTH:
        return _TRUTH[text]
    number: int | float
    try:
        number = int(text)
    except ValueError:
        try:
            number = float(text)
        except ValueError:
            return None
    is_finite = isinstance(number, int) or math.isfinite(number)
    return number if is_finite and str(number) == text else None


def text_of(value: Any) -> str:
    """How a number is written where text stands for numbers: 1 for 1.0.

    Raises
    ------
    NoCategoryError
        It is a span of time, or has more digits than Python writes.
    """
    if isinstance(value, np.timedelta64):
        raise NoCategoryError
    if isinstance(value, bool | np.bool_):
        return str(bool(value))
    if not isinstance(value, int | np.integer):
        value = float(value)
        if not value.is_integer():
            return str(value)
    try:
        return str(int(value))
    except ValueError:
        raise NoCategoryError from None


NUMBER_TYPES = (int, float, Decimal, np.number, np.bool_)
"""Whose values are written as text where a vocabulary has nothing but that."""
