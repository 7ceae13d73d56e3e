"""Fields: which group of columns each column belongs to, and how several values of one group are pooled.

A *field* is what one-hot encoding makes of one column of a table, a bag of tags, or a single numeric column.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastfm_deep import validation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

POOLINGS = ("sum", "mean", "sqrtn", "max")
"""How the values of a row in one field come together; see `FieldLayout`."""


class FieldLayout(NamedTuple):
    """The field of every column, and the pooling of every field.

    With pooling "mean" or "sqrtn" each value of a row is divided by the number of the row's values in that field
    that are not 0, or by its root, for all parts of a model. "sum" changes nothing. "max" takes the largest of the
    vectors x·v, factor by factor, where a network is fed with them, and changes nothing elsewhere.

    Attributes
    ----------
    field_of_column : int32 array (n_features,)
        Fields count from 0; -1 for a column that belongs to none, as of an id that no text has shown yet.
    n_fields : int
        One more than the largest field.
    pooling : tuple of str (n_fields,)
        Of each field; empty where all are "sum".
    """

    field_of_column: NDArray[np.int32]
    n_fields: int
    pooling: tuple[str, ...] = ()

    @classmethod
    def from_columns(cls, field_of_column: ArrayLike, pooling: str | Sequence[str] = "sum") -> FieldLayout:
        """Layout of an array that says the field of each column.

        Parameters
        ----------
        field_of_column : integers (n_features,)
            From 0 on; -1 for columns without a field.
        pooling : {"sum", "mean", "sqrtn", "max"}, or a sequence of these (n_fields,)

        Raises
        ------
        InputError
            It is no flat array of integers from -1 to 2**31 - 2, or the pooling is none of these.
        """
        array = np.asarray(field_of_column)
        if array.ndim != 1 or array.dtype.kind not in "iu" or not array.size:
            raise validation.field_array_error(array)
        for extreme in (array.min(), array.max()):
            if not -1 <= int(extreme) < 2**31 - 1:
                raise validation.field_number_error(int(np.flatnonzero(array == extreme)[0]), int(extreme))
        n_fields = int(array.max()) + 1
        return cls(array.astype(np.int32), n_fields, _poolings(pooling, n_fields))

    @classmethod
    def from_sizes(cls, sizes: Sequence[int], pooling: str | Sequence[str] = "sum") -> FieldLayout:
        """Layout of consecutive fields: the first `sizes[0]` columns are field 0, the next are field 1, ...

        Raises
        ------
        InputError
            A size is no integer of at least 1, or there is none; or as `from_columns`.
        """
        checked = [
            validation.check_integer(f"field_sizes[{field}]", size, minimum=1) for field, size in enumerate(sizes)
        ]
        return cls.from_columns(np.repeat(np.arange(len(checked)), checked), pooling)

    @property
    def n_features(self) -> int:
        """Number of columns."""
        return len(self.field_of_column)

    def fields_with(self, *pooling: str) -> NDArray[np.bool_]:
        """Which fields are pooled so, (n_fields,)."""
        given = self.pooling or ("sum",) * self.n_fields
        return np.isin(np.array(given, dtype=object), pooling)


def as_field_layout(fields: Any, n_features: int) -> FieldLayout:
    """What a caller gave as `fields`: a layout, an int array (n_features,), or the sizes of consecutive fields.

    Raises
    ------
    InputError
        It is none of these, or does not cover `n_features` columns.
    """
    if not isinstance(fields, FieldLayout):
        if isinstance(fields, np.ndarray):
            fields = FieldLayout.from_columns(fields)
        elif isinstance(fields, list | tuple | range):
            fields = FieldLayout.from_sizes(fields)
        else:
            raise validation.field_type_error(fields)
    if fields.n_features != n_features:
        raise validation.field_cover_error(fields.n_features, n_features)
    return fields


def _poolings(pooling: str | Sequence[str], n_fields: int) -> tuple[str, ...]:
    if isinstance(pooling, str):
        validation.check_choice("pooling", pooling, POOLINGS)
        return () if pooling == "sum" else (pooling,) * n_fields
    given = tuple(pooling)
    if len(given) != n_fields:
        raise validation.pooling_count_error(len(given), n_fields)
    for field, name in enumerate(given):
        validation.check_choice(f"pooling[{field}]", name, POOLINGS)
    return given if set(given) - {"sum"} else ()
