"""Columns as float64, the form that numeric features take.

Text that spells a number is one: files and frames often hold numbers so.
"""

from __future__ import annotations

import numbers as number_types
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np

from fastfm_deep import validation
from fastfm_deep.data.python_values import is_missing
from fastfm_deep.data.values import BOOL, FLOAT, INT, Categories, Lists, Numbers, Objects, Texts, Values

if TYPE_CHECKING:
    from numpy.typing import NDArray


def to_floats(values: Values, name: str) -> NDArray[np.float64]:
    """Any form as floats, NaN where the value is missing; may share memory with `values`.

    Parameters
    ----------
    values : Texts, Numbers, Objects or Categories
    name : str
        The column, for messages.

    Returns
    -------
    float64 array (n,)
        Finite, or NaN.

    Raises
    ------
    InputError
        A value is no number, or infinite; the column holds dates or lists.
    """
    floats, is_bad = parse_floats(values, name)
    if is_bad.any():
        row = int(is_bad.argmax())
        raise validation.number_value_error(name, row, value_at(values, row))
    infinite = np.isinf(floats)
    if infinite.any():
        row = int(infinite.argmax())
        raise validation.infinite_value_error(name, row, value_at(values, row))
    return floats


def parse_floats(values: Values, name: str) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Any form as floats, which may be infinite, and which of the values are no numbers.

    Raises
    ------
    InputError
        The column holds dates or lists.
    """
    if isinstance(values, Lists):
        raise validation.number_column_error(name, "lists")
    if not isinstance(values, Categories):
        return _parsed(values, name)
    known, bad = _parsed(values.values, name)
    # The last place is that of code -1.
    return np.append(known, np.nan)[values.codes], np.append(bad, False)[values.codes]


def value_at(values: Values, row: int) -> Any:
    """One value as a Python object, for messages; dates are their numbers."""
    if isinstance(values, Categories):
        return None if values.codes[row] < 0 else value_at(values.values, int(values.codes[row]))
    if isinstance(values, Objects):
        return values.objects[row]
    if values.missing is not None and values.missing[row]:
        return None
    if isinstance(values, Texts):
        return bytes(values.data[values.offsets[row] : values.offsets[row + 1]]).decode("utf-8", "replace")
    if isinstance(values, Lists):
        return [value_at(values.items, place) for place in range(values.offsets[row], values.offsets[row + 1])]
    return values.numbers[row].item()


def _parsed(values: Texts | Numbers | Objects, name: str) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Floats, and which of the values are none."""
    if isinstance(values, Numbers):
        if values.kind not in (INT, FLOAT, BOOL):
            raise validation.number_column_error(name, "dates or datetimes")
        floats = values.numbers.astype(np.float64, copy=False)
        if values.missing is not None:
            floats = np.where(values.missing, np.nan, floats)
        return floats, np.zeros(len(floats), bool)
    bad = np.zeros(values.n, bool)
    floats = np.full(values.n, np.nan)
    for row, value in enumerate(_pieces(values)):
        if value is None or is_missing(value):
            continue
        try:
            floats[row] = _number(value)
        except OverflowError:
            floats[row] = np.inf
        except ValueError:
            bad[row] = True
    return floats, bad


def _pieces(values: Texts | Objects) -> list[Any]:
    """Texts as bytes, None where they are missing; objects as they are."""
    if isinstance(values, Objects):
        return values.objects.tolist()
    places = values.offsets.tolist()
    first = places[0]
    data = values.data[first : places[-1]].tobytes()
    missing = [False] * values.n if values.missing is None else values.missing.tolist()
    bounds = zip(places, places[1:], missing, strict=False)
    return [None if absent else data[start - first : stop - first] for start, stop, absent in bounds]


def _number(value: Any) -> float:
    if isinstance(value, str):
        value = value.encode("utf-8", "surrogatepass")
    elif isinstance(value, int | float | np.integer | np.floating | np.bool_ | Decimal | number_types.Real):
        return float(value)
    # float() would take "1_000" for a number; who writes that means a name.
    if not isinstance(value, bytes) or b"_" in value:
        raise ValueError
    return float(value)
