"""What the columns of a CSV file are read as, whatever type a part of it looks like.

A *family* is what the values of a column are: text, numbers, dates, times or instants. CSV is read as text, and
each column is then brought into the family that training has found, chunk by chunk with the same outcome.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastfm_deep.data.values import DATE, DATETIME, DATETIME_NS, DATETIME_NS_UTC, DATETIME_UTC, TEXT

if TYPE_CHECKING:
    from fastfm_deep.data.encoders import Encoding

TEXTS, NUMBERS, DATES, TIMES, INSTANTS, OTHERS = "text", "numbers", "dates", "times", "instants", "others"

_TIME_KINDS = {DATETIME, DATETIME_NS}
_INSTANT_KINDS = {DATETIME_UTC, DATETIME_NS_UTC}
_EXACT_FLOAT = 2.0**53
_WORDS = {"true": True, "false": False}


def family_of_kinds(kinds: frozenset[int]) -> str:
    """The family of categories of these kinds; see `data/values.py`."""
    if not kinds or TEXT in kinds:
        return TEXTS
    if kinds == {DATE}:
        return DATES
    if kinds <= _TIME_KINDS | {DATE}:
        return TIMES
    return INSTANTS if kinds <= _INSTANT_KINDS else NUMBERS


def family_of_type(kind: Any) -> str:
    """The family of a type of Arrow."""
    import pyarrow as pa

    types = pa.types
    if types.is_dictionary(kind):
        return family_of_type(kind.value_type)
    if types.is_string(kind) or types.is_large_string(kind) or str(kind) == "string_view":
        return TEXTS
    if types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind) or types.is_decimal(kind):
        return NUMBERS
    if types.is_date(kind):
        return DATES
    if types.is_timestamp(kind):
        return TIMES if kind.tz is None else INSTANTS
    return OTHERS


def families_of(encoding: Encoding) -> dict[str, str]:
    """The family of each column that an encoding reads."""
    from fastfm_deep.data.bag_column import BagColumn
    from fastfm_deep.data.sparse_column import SparseColumn

    found = {}
    for learned in encoding.learned:
        if isinstance(learned, SparseColumn):
            found[learned.column.name] = family_of_kinds(learned.categories.first_kinds)
        else:
            # Bags are taken apart at their separators, weights likewise.
            family = TEXTS if isinstance(learned, BagColumn) else NUMBERS
            found |= {name: found.get(name, family) for name in learned.names_read()}
    return found


def as_family(column: Any, family: str) -> Any:
    """A column of text as one of its family.

    Parameters
    ----------
    column : pyarrow.ChunkedArray of strings
    family : str

    Returns
    -------
    pyarrow.ChunkedArray, or object array
        Objects where some of the texts are of the family and others are not; these stay text.
    """
    import pyarrow as pa
    from pyarrow import compute

    if family in (TEXTS, OTHERS):
        return column
    trimmed = compute.utf8_trim_whitespace(_without_null_words(column))
    for kind in _types_of(family):
        try:
            found = compute.cast(trimmed, kind)
        except pa.ArrowInvalid:
            continue
        if not (pa.types.is_float64(kind) and _is_rounded(found)):
            return found
    return _as_objects(trimmed, _PARSERS[family])


def _is_rounded(column: Any) -> bool:
    """Whether some of the numbers are so large that integers among them may not be what they were."""
    from pyarrow import compute

    return bool(compute.any(compute.greater(compute.abs(column), _EXACT_FLOAT)).as_py())


def _types_of(family: str) -> Sequence[Any]:
    """Types of Arrow in the order in which its reader of CSV tries them."""
    import pyarrow as pa

    return {
        NUMBERS: (pa.int64(), pa.float64(), pa.bool_()),
        DATES: (pa.date32(),),
        TIMES: (pa.timestamp("s"), pa.timestamp("ns")),
        INSTANTS: (pa.timestamp("s", "UTC"), pa.timestamp("ns", "UTC")),
    }[family]


def _without_null_words(column: Any) -> Any:
    """Missing where stands what the reader of CSV takes for missing in all columns but those of text."""
    import pyarrow as pa
    from pyarrow import compute, csv

    words = pa.array(csv.ConvertOptions().null_values, column.type)
    return compute.if_else(compute.is_in(column, value_set=words), pa.scalar(None, column.type), column)


def _as_objects(column: Any, parse: Callable[[str], Any]) -> Any:
    """Each text parsed for itself, once however often it occurs."""
    coded = column.combine_chunks().dictionary_encode()
    known = [_parsed(text, parse) for text in coded.dictionary.to_pylist()]
    items = np.empty(len(known) + 1, object)
    items[: len(known)] = known
    codes = coded.indices.fill_null(len(known)).to_numpy(zero_copy_only=False)
    return items[codes]


def _parsed(text: str, parse: Callable[[str], Any]) -> Any:
    try:
        return parse(text)
    except ValueError:
        return text


def _number(text: str) -> Any:
    word = _WORDS.get(text.lower())
    if word is not None:
        return word
    if "_" in text:  # int() would take 1_000 for a number
        raise ValueError
    try:
        return int(text)
    except ValueError:
        return float(text)


def _instant(text: str) -> dt.datetime:
    found = dt.datetime.fromisoformat(text.replace("Z", "+00:00"))
    if found.tzinfo is None:
        raise ValueError
    return found


_PARSERS: dict[str, Callable[[str], Any]] = {
    NUMBERS: _number,
    DATES: dt.date.fromisoformat,
    TIMES: dt.datetime.fromisoformat,
    INSTANTS: _instant,
}
