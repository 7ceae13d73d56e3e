"""A sparse column that has been learned: one category a row."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from fastfm_deep import validation
from fastfm_deep.data.categories import CategoryIds
from fastfm_deep.data.encoded import Encoded
from fastfm_deep.data.feature_columns import SparseFeat
from fastfm_deep.data.values import Lists
from fastfm_deep.data.vocabulary import taken

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastfm_deep.data.table import Table


class SparseColumn:
    """Categories of one column; see `SparseFeat`."""

    def __init__(self, column: SparseFeat, plain: bool = False) -> None:
        self.column = column
        self.categories = CategoryIds(column, plain)

    @property
    def pooling(self) -> str:
        """Of the field."""
        return "sum"

    def names_read(self) -> tuple[str, ...]:
        """The columns of the table that it reads."""
        return (self.column.name,)

    def learn(self, table: Table, scaling: bool = True) -> NDArray[np.int32] | None:
        """Take in some rows; what `encode` of the same rows may be given."""
        return self.categories.learn(self._values(table))

    @property
    def n_new(self) -> int:
        """How many ids `settle` is going to give."""
        return self.categories.n_new

    def settle(self, next_id: int) -> int:
        """Give ids to what is new; see `CategoryIds.settle`."""
        return self.categories.settle(next_id)

    def encode(self, table: Table, codes: NDArray[np.int32] | None = None) -> Encoded:
        """Ids of the rows."""
        if codes is not None and self.column.handle_unknown != "error":
            return Encoded(taken(codes, self.categories.lookup(), self.categories.plain))
        return Encoded(self.categories.find(self._values(table), codes))

    def _values(self, table: Table) -> Any:
        values = table.column(self.column.name)
        if isinstance(values, Lists):
            raise validation.listed_column_error(self.column.name)
        return values

    def decode(
        self, rows: NDArray[np.int64], ids: NDArray[np.int64], values: NDArray[Any], n_rows: int
    ) -> list[Any]:
        """The categories of `n_rows` rows, given the entries that this field has: None where there is none."""
        found: list[Any] = [None] * n_rows
        for row, value in zip(rows.tolist(), self.categories.values_of(ids), strict=True):
            found[row] = value
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
        return self.column.handle_unknown == "error"

    def mark(self) -> Any:
        """The state now, for `reset`."""
        return self.categories.mark()

    def reset(self, mark: Any) -> None:
        """Forget what has been learned since."""
        self.categories.reset(mark)

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """What a model file holds."""
        return self.categories.state()

    def set_state(self, plain: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
        """Take what `state` gave."""
        self.categories.set_state(plain, arrays)
