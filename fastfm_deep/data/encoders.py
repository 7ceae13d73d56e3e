"""The encoding of a table: what has been learned of its columns, and how they become rows and fields.

A *field* is what one feature column becomes: all ids of its categories, or the one of its numbers. Feature 0 is
"missing": it stands for nothing in index matrices, and no row of CSR ever holds it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastfm_deep import validation
from fastfm_deep.data.bag_column import BagColumn
from fastfm_deep.data.dense_column import DenseColumn
from fastfm_deep.data.encoded import Encoded, Entries, put_together
from fastfm_deep.data.feature_columns import (
    DenseFeat,
    FeatureColumn,
    SparseFeat,
    VarLenSparseFeat,
    from_plain,
    names_of,
    to_plain,
)
from fastfm_deep.data.fields import FieldLayout
from fastfm_deep.data.memory import free_memory
from fastfm_deep.data.pooling import pooled_rows
from fastfm_deep.data.row_encoder import RowEncoder
from fastfm_deep.data.rows import CsrRows, as_csr_rows
from fastfm_deep.data.sparse_column import SparseColumn

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastfm_deep.data.table import Table

LearnedColumn = SparseColumn | DenseColumn | BagColumn
_LEARNED: dict[type[Any], Callable[[Any, bool], LearnedColumn]] = {
    SparseFeat: SparseColumn,
    DenseFeat: DenseColumn,
    VarLenSparseFeat: BagColumn,
}
MISSING_FEATURE = "missing"
_MOST_FEATURES = 2**31 - 2


class Encoding:
    """What an encoder has learned.

    `encode` and what else only reads may be called by several threads at once.

    Parameters
    ----------
    columns : sequence of feature columns
        Checked.
    plain : bool
        Do without compiled code, as out of a file alone: nothing can be learned; see `data.passes`.

    Attributes
    ----------
    columns : tuple of SparseFeat, DenseFeat or VarLenSparseFeat
        One a field.
    field_of_feature : int32 array (n_features,)
        -1 for feature 0.
    """

    plain = False  # of those that were pickled before there was a choice

    def __init__(self, columns: Sequence[FeatureColumn], plain: bool = False) -> None:
        self.columns = tuple(columns)
        self.plain = plain
        self.learned = tuple(_LEARNED[type(column)](column, plain) for column in self.columns)
        self.field_of_feature = np.full(1, -1, np.int32)
        self._state = object()
        """Another one each time that something has been learned or forgotten, in whatever thread."""
        self._row_encoder: tuple[object, RowEncoder] | None = None  # and the state that it is of

    @property
    def n_features(self) -> int:
        """Width of the encoded rows."""
        return len(self.field_of_feature)

    @property
    def n_fields(self) -> int:
        """How many columns are encoded."""
        return len(self.columns)

    def learn(self, table: Table, n_threads: int = 1, scaling: bool = True) -> list[Any]:
        """Take in the rows of a table: new categories get the next ids, those there are keep theirs.

        Parameters
        ----------
        table : Table
        n_threads : int
            Columns that are read at a time.
        scaling : bool
            Let these rows move the mean, deviation and range of dense columns too.

        Returns
        -------
        list
            What `encode` may be given as `kept` for the same rows.

        Raises
        ------
        InputError
            A column is missing or holds what it must not; nothing has been learned then.
        """
        self.check_names(table)
        before = self.mark()
        try:
            kept = _each(self.learned, lambda column: column.learn(table, scaling), n_threads)
            self._settle()
            # What these rows may not hold is refused here as it is later.
            strict = [field for field in range(self.n_fields) if self.learned[field].is_strict]
            for field, encoded in zip(strict, self.encode_columns(table, kept, n_threads, strict), strict=True):
                kept[field] = encoded
        except BaseException:
            self.reset(before)
            raise
        self._state = object()
        return kept

    def check_names(self, table: Table, chosen: Sequence[int] | None = None) -> None:
        """See that a table has the columns of these fields, before any of them is read."""
        for field in range(self.n_fields) if chosen is None else chosen:
            for name in self.learned[field].names_read():
                if not table.has(name):
                    raise validation.missing_column_error(name, table.names)

    def _settle(self) -> None:
        next_id, n_new = self.n_features, [column.n_new for column in self.learned]
        n_features, room = next_id + sum(n_new), min(_MOST_FEATURES, free_memory() // 4)
        if n_features > room:
            raise validation.too_many_features_error(n_features, room)
        fields = np.repeat(np.arange(self.n_fields, dtype=np.int32), n_new)
        # Before the ids are given: rows that other threads encode meanwhile hold none beyond the width.
        self.field_of_feature = np.concatenate([self.field_of_feature, fields])
        for column in self.learned:
            next_id = column.settle(next_id)

    def mark(self) -> Any:
        """The state now, for `reset`; cheap."""
        return self.field_of_feature, [column.mark() for column in self.learned]

    def reset(self, mark: Any) -> None:
        """Forget what has been learned since."""
        for column, of_column in zip(self.learned, mark[1], strict=True):
            column.reset(of_column)
        self.field_of_feature = mark[0]
        self._state = object()

    def encode_columns(
        self,
        table: Table,
        kept: list[Any] | None = None,
        n_threads: int = 1,
        chosen: Sequence[int] | None = None,
    ) -> list[Encoded]:
        """Each column by itself; `chosen` are the numbers of the fields to encode, by default all."""
        self.check_names(table, chosen)
        fields = range(self.n_fields) if chosen is None else chosen

        def encode(field: int) -> Encoded:
            found = None if kept is None else kept[field]
            return found if isinstance(found, Encoded) else self.learned[field].encode(table, found)

        return _each(fields, encode, n_threads)

    def encode(
        self,
        table: Table,
        kept: list[Any] | None = None,
        n_threads: int = 1,
        chosen: Sequence[int] | None = None,
    ) -> Entries:
        """Rows of a table, field after field.

        Raises
        ------
        InputError
            A column is missing, or holds what it must not; the message names column, value and row.
        """
        columns = self.encode_columns(table, kept, n_threads, chosen)
        return put_together(columns, table.n_rows, self.n_features, n_threads, self.plain)

    def encode_row(self, row: Mapping[str, Any], pooled: bool = False) -> tuple[list[int], list[float]]:
        """Ids and values of one row, a dict of raw values; see `RowEncoder.encode`."""
        state, kept = self._state, self._row_encoder
        if kept is None or kept[0] is not state:
            kept = self._row_encoder = state, RowEncoder(self.learned)
        return kept[1].encode(row, pooled)

    def __getstate__(self) -> dict[str, Any]:
        """Without what holds addresses of this process."""
        return self.__dict__ | {"_row_encoder": None}

    def table_rows(self, table: Table, n_threads: int = 1, chosen: Sequence[int] | None = None) -> CsrRows:
        """Rows of a table as models take them, pooled; `chosen` as of `encode_columns`.

        Raises
        ------
        InputError
            As `encode`; or the table has no rows.
        """
        if not table.n_rows:
            raise validation.empty_error((0, self.n_features))
        entries = self.encode(table, None, n_threads, chosen)
        # Sound as they are: finite values, and each feature at most once a row.
        parts = CsrRows(entries.indptr.astype(np.int64, copy=False), entries.indices, entries.values)
        for part in parts:
            part.flags.writeable = False
        layout = self.fields()
        return pooled_rows(parts, layout, self.plain) if layout.pooling else parts

    def pooled_rows(self, X: Any) -> CsrRows:
        """Encoded rows as models take them, through the gate and pooled: also by models that know no fields."""
        layout, rows = self.fields(), as_csr_rows(X, plain=self.plain)
        return pooled_rows(rows, layout, self.plain) if layout.pooling else rows

    def fields(self) -> FieldLayout:
        """The field of each feature, and how its values are pooled."""
        pooling = tuple(column.pooling for column in self.learned)
        return FieldLayout(self.field_of_feature, self.n_fields, pooling if set(pooling) - {"sum"} else ())

    def names(self) -> list[str]:
        """Name of each feature: "missing", "city=Rome", "price", "price=<missing>".

        Where two would have one name, the text "1" and the number 1, say, the later one's ends in its id.
        """
        found = [MISSING_FEATURE] * self.n_features
        for column, number, _, name in self._named():
            found[number] = f"{column.name}={name}" if name else column.name
        known: set[str] = set()
        for number, name in enumerate(found):
            while found[number] in known:
                found[number] = f"{name}#{number}" if found[number] == name else f"{found[number]}#"
            known.add(found[number])
        return found

    def _named(self) -> Iterator[tuple[FeatureColumn, int, Any, str]]:
        for column, learned in zip(self.columns, self.learned, strict=True):
            for number, value, name in learned.named_ids():
                yield column, number, value, name

    def dictionary(self) -> dict[str, Any]:
        """The feature dictionary of DeepFM write-ups: one id a category, one a numeric column."""
        found: dict[str, Any] = {MISSING_FEATURE: 0}
        for column, learned in zip(self.columns, self.learned, strict=True):
            if isinstance(learned, DenseColumn) and column.buckets is None:  # type: ignore[union-attr]
                found[column.name] = learned.id
            elif isinstance(learned, DenseColumn):
                found[column.name] = {value: number for number, value, _ in learned.named_ids() if value}
            else:
                bucket = learned.categories.bucket_id
                found[column.name] = {
                    value: number for number, value, _ in learned.named_ids() if number != bucket
                }
        return found

    def decode(self, entries: Entries) -> dict[str, Any]:
        """The columns that rows came from, as far as their entries tell."""
        n_rows = len(entries.indptr) - 1
        row_of_entry = np.repeat(np.arange(n_rows), np.diff(entries.indptr))
        field_of_entry = self.field_of_feature[entries.indices]
        found = {}
        for field, (column, learned) in enumerate(zip(self.columns, self.learned, strict=True)):
            at = np.flatnonzero(field_of_entry == field)
            ids = entries.indices[at].astype(np.int64)
            found[column.name] = learned.decode(row_of_entry[at], ids, entries.values[at], n_rows)
        return found

    def state(self) -> tuple[list[dict[str, Any]], dict[str, NDArray[Any]]]:
        """What a model file holds: a description of each column, and arrays named "0.data", "0.ids", ..."""
        plain: list[dict[str, Any]] = []
        arrays: dict[str, NDArray[Any]] = {}
        for field, (column, learned) in enumerate(zip(self.columns, self.learned, strict=True)):
            of_column, arrays_of_column = learned.state()
            plain.append({"column": to_plain(column), **of_column})
            arrays |= {f"{field}.{name}": array for name, array in arrays_of_column.items()}
        return plain, arrays | {"field_of_feature": self.field_of_feature}

    @classmethod
    def from_state(
        cls, state: list[dict[str, Any]], arrays: dict[str, NDArray[Any]], plain: bool = False
    ) -> Encoding:
        """The way back; `plain` as of the class.

        Raises
        ------
        ValueError, KeyError, TypeError
            The parts contradict each other.
        """
        found = cls([from_plain(of_column["column"]) for of_column in state], plain)
        names = names_of(found.columns)
        if len(set(names)) < len(names):
            raise ValueError("found two columns of one name")
        found.field_of_feature = _checked_fields(arrays["field_of_feature"], found.n_fields)
        for field, (learned, of_column) in enumerate(zip(found.learned, state, strict=True)):
            prefix = f"{field}."
            learned.set_state(
                of_column,
                {name.removeprefix(prefix): part for name, part in arrays.items() if name.startswith(prefix)},
            )
            expected = np.flatnonzero(found.field_of_feature == field)
            # The numbers first: what a header says must not decide how much is allocated.
            if learned.n_owned != len(expected) or not np.array_equal(np.sort(learned.owned_ids()), expected):
                raise ValueError(f"found other features of column {names[field]!r} than it has ids")
        return found


def _checked_fields(fields: NDArray[Any], n_fields: int) -> NDArray[np.int32]:
    """The field of each feature, out of a file."""
    if fields.ndim != 1 or fields.dtype != np.int32 or not len(fields) or fields[0] != -1:
        raise ValueError(f"found field_of_feature of shape {fields.shape} and {fields.dtype}")
    if fields[1:].min(initial=0) < 0 or fields.max() >= n_fields:
        raise ValueError(f"found fields up to {fields.max()} of {n_fields}")
    return np.array(fields)


def _each(items: Any, work: Callable[[Any], Any], n_threads: int) -> list[Any]:
    """What `work` gives for each item; the first error is raised once all threads have ended."""
    if n_threads <= 1:
        return [work(item) for item in items]
    from concurrent.futures import ThreadPoolExecutor  # takes some milliseconds

    with ThreadPoolExecutor(n_threads) as pool:
        return list(pool.map(work, items))
