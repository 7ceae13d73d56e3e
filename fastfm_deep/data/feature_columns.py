"""Feature columns: what the columns of a table are, as a user declares it.

A *sparse* column holds categories, a *dense* one numbers, a *variable-length sparse* one several categories a row.
The names are those of DeepCTR.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from fastfm_deep import validation
from fastfm_deep.data.fields import POOLINGS

UNKNOWN_RULES = ("bucket", "ignore", "error")
SCALINGS = ("standard", "log1p", "minmax", "none")
MISSING_RULES = ("indicator", "mean", "error")

_MOST_BUCKETS = 2**31 - 2


@dataclass(frozen=True)
class SparseFeat:
    """A column of categories: text, integers, booleans, dates, floats, bytes, also mixed.

    Parameters
    ----------
    name : str
        Of the column in the table.
    min_count : int, default 1
        Categories that occur less often in `fit` are not told apart: they count as unknown.
    hash_buckets : int, optional
        Keep no vocabulary, but hash categories into so many features; some will share one.
    handle_unknown : {"bucket", "ignore", "error"}, default "bucket"
        What becomes of categories that are unknown, and of missing ones (None, NaN). "bucket": unknown ones share
        a feature, which the rare ones of `fit` train; missing ones have one of their own if they occurred in
        `fit`, else they are unknown. "ignore": nothing, as if the column were not there. "error": an error, in
        `fit` too, that names column, value and row.

    Examples
    --------
    >>> SparseFeat("city", min_count=5)
    SparseFeat(name='city', min_count=5, hash_buckets=None, handle_unknown='bucket')
    """

    name: str
    min_count: int = 1
    hash_buckets: int | None = None
    handle_unknown: str = "bucket"
    kind: ClassVar[str] = "sparse"

    def __post_init__(self) -> None:
        _check_name(self.name)
        _check_categories(self)


@dataclass(frozen=True)
class DenseFeat:
    """A column of numbers.

    Parameters
    ----------
    name : str
        Of the column in the table.
    scaling : {"standard", "log1p", "minmax", "none"}, default "standard"
        "standard": (x - mean) / standard deviation. "log1p": log(1 + |x|) with the sign of x. "minmax": 0 for the
        smallest value of `fit`, 1 for the largest. Mean, deviation and range are those of `fit`.
    buckets : int, optional
        Put the values into so many groups of equal size, by the quantiles of `fit`, each with a feature of its
        own, instead of scaling them.
    missing : {"indicator", "mean", "error"}, default "indicator"
        What becomes of missing values (None, NaN): a feature of its own, the mean of `fit`, or an error, in `fit`
        too, that names column and row.

    Examples
    --------
    >>> DenseFeat("price", scaling="log1p")
    DenseFeat(name='price', scaling='log1p', buckets=None, missing='indicator')
    """

    name: str
    scaling: str = "standard"
    buckets: int | None = None
    missing: str = "indicator"
    kind: ClassVar[str] = "dense"

    def __post_init__(self) -> None:
        _check_name(self.name)
        validation.check_choice(f"scaling of column {self.name!r}", self.scaling, SCALINGS)
        validation.check_choice(f"missing of column {self.name!r}", self.missing, MISSING_RULES)
        if self.buckets is not None:
            validation.check_integer(f"buckets of column {self.name!r}", self.buckets, minimum=2)


@dataclass(frozen=True)
class VarLenSparseFeat:
    """A column of several categories a row: lists, or text with separators.

    Parameters
    ----------
    name : str
        Of the column in the table.
    pooling : {"mean", "sum", "sqrtn", "max"}, default "mean"
        How the values of a row come together; see `FieldLayout`.
    separator : str, default "|"
        What stands between the values where they come as text; empty ones are left out.
    max_length : int, optional
        Take the first so many values of a row.
    weights : str, optional
        Name of a column that holds a number for each of the values, as a list or as text with the separator.
    min_count, hash_buckets, handle_unknown
        As for `SparseFeat`, of the single values. A row whose value is missing (None, NaN) follows
        `handle_unknown`; a list without values, and empty text, is just empty.

    Examples
    --------
    >>> VarLenSparseFeat("genres", pooling="sqrtn").separator
    '|'
    """

    name: str
    pooling: str = "mean"
    separator: str = "|"
    max_length: int | None = None
    weights: str | None = None
    min_count: int = 1
    hash_buckets: int | None = None
    handle_unknown: str = "bucket"
    kind: ClassVar[str] = "varlen"

    def __post_init__(self) -> None:
        _check_name(self.name)
        validation.check_choice(f"pooling of column {self.name!r}", self.pooling, POOLINGS)
        if not isinstance(self.separator, str) or not self.separator:
            raise validation.separator_error(self.name, self.separator)
        if self.max_length is not None:
            validation.check_integer(f"max_length of column {self.name!r}", self.max_length, minimum=1)
        if self.weights is not None:
            _check_name(self.weights)
        _check_categories(self)


FeatureColumn = SparseFeat | DenseFeat | VarLenSparseFeat
COLUMN_TYPES: dict[str, type[Any]] = {found.kind: found for found in (SparseFeat, DenseFeat, VarLenSparseFeat)}


def check_columns(columns: Any) -> tuple[FeatureColumn, ...]:
    """See that feature columns are such, and that no two have one name.

    Raises
    ------
    InputError
        They are not, or there are none.
    """
    if isinstance(columns, str | bytes) or not isinstance(columns, Sequence):
        raise validation.column_list_error(columns)
    found: tuple[Any, ...] = tuple(columns)
    if not found:
        raise validation.no_columns_error()
    for place, column in enumerate(found):
        if not isinstance(column, SparseFeat | DenseFeat | VarLenSparseFeat):
            raise validation.column_type_error(place, column)
    names = [column.name for column in found]
    for name in names:
        if names.count(name) > 1:
            raise validation.repeated_column_error(name)
    return found


def to_plain(column: FeatureColumn) -> dict[str, Any]:
    """A feature column as JSON and TOML hold it."""
    return {"type": column.kind, **asdict(column)}


def from_plain(stored: dict[str, Any]) -> FeatureColumn:
    """The way back.

    Raises
    ------
    ValueError, TypeError, KeyError
        It is none.
    """
    options = dict(stored)
    column: FeatureColumn = COLUMN_TYPES[options.pop("type")](**options)
    return column


def _check_name(name: Any) -> None:
    if not isinstance(name, str) or not name:
        raise validation.column_name_error(name)


def _check_categories(column: SparseFeat | VarLenSparseFeat) -> None:
    validation.check_choice(f"handle_unknown of column {column.name!r}", column.handle_unknown, UNKNOWN_RULES)
    validation.check_integer(f"min_count of column {column.name!r}", column.min_count, minimum=1)
    if column.hash_buckets is None:
        return
    what = f"hash_buckets of column {column.name!r}"
    if validation.check_integer(what, column.hash_buckets, minimum=1) > _MOST_BUCKETS:
        raise validation.upper_bound_error(what, column.hash_buckets, f"at most {_MOST_BUCKETS}")
    if column.min_count > 1:
        raise validation.counted_hash_error(column.name, column.min_count)


def names_of(columns: Sequence[FeatureColumn]) -> tuple[str, ...]:
    """The names of columns, in their order."""
    return tuple(column.name for column in columns)
