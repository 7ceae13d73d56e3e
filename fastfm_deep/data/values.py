"""The values of one column of a table, in the few forms that everything else reads.

A *form* is a handful of arrays: text as bytes and offsets, numbers as one array with a kind, categories as codes,
several values a row as a list, and Python objects where a column is none of these.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Kinds of single values; what a model file holds of a category, so these numbers never change.
MISSING = 0
TEXT = 1
INT = 2
FLOAT = 3
BOOL = 4
DATE = 5  # days since 1970-01-01
DATETIME = 6  # microseconds since then, without a time zone
DATETIME_UTC = 7  # the same, of an instant
DATETIME_NS = 8  # nanoseconds
DATETIME_NS_UTC = 9
BIG_INT = 10  # an integer beyond int64, as decimal digits
BYTES = 11


class Texts(NamedTuple):
    """Strings, in UTF-8.

    Attributes
    ----------
    data : uint8 array
    offsets : int64 array (n + 1,)
        Value i is `data[offsets[i]:offsets[i + 1]]`.
    missing : bool array (n,), or None where nothing is
    """

    data: NDArray[Any]
    offsets: NDArray[Any]
    missing: NDArray[Any] | None

    @property
    def n(self) -> int:
        """How many."""
        return len(self.offsets) - 1


class Numbers(NamedTuple):
    """Numbers, booleans, dates or times.

    Attributes
    ----------
    numbers : int64 array (n,), or float64 where the kind is FLOAT
        NaN counts as missing.
    kind : int
        INT, FLOAT, BOOL, DATE or one of the DATETIMEs.
    missing : bool array (n,), or None where nothing but NaN is
    """

    numbers: NDArray[Any]
    kind: int
    missing: NDArray[Any] | None

    @property
    def n(self) -> int:
        """How many."""
        return len(self.numbers)


class Objects(NamedTuple):
    """Python objects, of mixed types or of types that none of the other forms holds.

    Attributes
    ----------
    objects : object array (n,)
    """

    objects: NDArray[Any]

    @property
    def n(self) -> int:
        """How many."""
        return len(self.objects)


class Categories(NamedTuple):
    """Values that are few: the place of each in a list of them.

    Attributes
    ----------
    codes : integer array (n,)
        -1 where the value is missing.
    values : Texts, Numbers or Objects
    """

    codes: NDArray[Any]
    values: Texts | Numbers | Objects

    @property
    def n(self) -> int:
        """How many."""
        return len(self.codes)


class Lists(NamedTuple):
    """Several values a row.

    Attributes
    ----------
    offsets : int64 array (n + 1,)
        Row i holds the items `offsets[i]` to `offsets[i + 1] - 1`.
    items : Texts, Numbers, Objects or Categories
    missing : bool array (n,), or None
        Rows that hold no list, not even an empty one; they have no items.
    """

    offsets: NDArray[Any]
    items: Texts | Numbers | Objects | Categories
    missing: NDArray[Any] | None

    @property
    def n(self) -> int:
        """How many rows."""
        return len(self.offsets) - 1


Values = Texts | Numbers | Objects | Categories | Lists
