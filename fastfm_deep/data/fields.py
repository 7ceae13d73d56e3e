"""Fields: which group of columns each column belongs to."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fastfm_deep import validation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray


class FieldLayout(NamedTuple):
    """The field of every column.

    Attributes
    ----------
    field_of_column : int32 array (n_features,)
        Fields count from 0; -1 for a column that belongs to none, as of an id that no text has shown yet.
    n_fields : int
        One more than the largest field.
    """

    field_of_column: NDArray[np.int32]
    n_fields: int

    @classmethod
    def from_columns(cls, field_of_column: ArrayLike) -> FieldLayout:
        """Layout of an array that says the field of each column.

        Parameters
        ----------
        field_of_column : integers (n_features,)
            From 0 on; -1 for columns without a field.

        Raises
        ------
        InputError
            It is no flat array of integers from -1 to 2**31 - 2.
        """
        array = np.asarray(field_of_column)
        if array.ndim != 1 or array.dtype.kind not in "iu" or not array.size:
            raise validation.field_array_error(array)
        for extreme in (array.min(), array.max()):
            if not -1 <= int(extreme) < 2**31 - 1:
                raise validation.field_number_error(int(np.flatnonzero(array == extreme)[0]), int(extreme))
        return cls(array.astype(np.int32), int(array.max()) + 1)

    @classmethod
    def from_sizes(cls, sizes: Sequence[int]) -> FieldLayout:
        """Layout of consecutive fields: the first `sizes[0]` columns are field 0, the next are field 1, ...

        Raises
        ------
        InputError
            A size is no integer of at least 1, or there is none.
        """
        checked = [
            validation.check_integer(f"field_sizes[{field}]", size, minimum=1) for field, size in enumerate(sizes)
        ]
        return cls.from_columns(np.repeat(np.arange(len(checked)), checked))

    @property
    def n_features(self) -> int:
        """Number of columns."""
        return len(self.field_of_column)
