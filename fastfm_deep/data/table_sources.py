"""What users hand in as a table, by kind: how its columns are read, its rows picked, a run of rows cut out.

A *source* holds such a table and does these things in the table's own way. The libraries that tables come from
are never imported to look for them: who has one of their tables has imported them.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from fastfm_deep import validation
from fastfm_deep.data import arrow_values, pandas_values, python_values

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastfm_deep.data.values import Values


class Source(Protocol):
    """A table of some kind."""

    names: list[str]
    n_rows: int

    def read(self, place: int) -> Values:
        """The column at a place."""

    def pick(self, rows: NDArray[np.int64]) -> Any:
        """These rows, as a table of this kind."""

    def slice(self, start: int, stop: int) -> Source:
        """Rows `start` to `stop - 1`, without copying their values."""


def is_of(value: Any, module: str, *classes: str) -> bool:
    """Whether a value is an instance of a class of a library, which is not imported for that."""
    loaded = sys.modules.get(module)
    return loaded is not None and isinstance(value, tuple(getattr(loaded, name) for name in classes))


class PandasSource:
    """A DataFrame of pandas."""

    def __init__(self, frame: Any) -> None:
        self._frame = frame
        self.names = [str(name) for name in frame.columns]
        self.n_rows = len(frame)

    def read(self, place: int) -> Values:
        return pandas_values.read_pandas(self._frame.iloc[:, place], self.names[place])

    def pick(self, rows: NDArray[np.int64]) -> Any:
        return self._frame.iloc[rows]

    def slice(self, start: int, stop: int) -> PandasSource:
        return PandasSource(self._frame.iloc[start:stop])


class PolarsSource:
    """A DataFrame of polars, read through Arrow."""

    def __init__(self, frame: Any) -> None:
        arrow_values.import_arrow("A table of polars")
        self._frame = frame
        self.names = list(frame.columns)
        self.n_rows = frame.height

    def read(self, place: int) -> Values:
        return _read_polars(self._frame.to_series(place), self.names[place])

    def pick(self, rows: NDArray[np.int64]) -> Any:
        return self._frame[rows]

    def slice(self, start: int, stop: int) -> PolarsSource:
        return PolarsSource(self._frame.slice(start, stop - start))


def _read_polars(series: Any, name: str) -> Values:
    if str(series.dtype) == "Object":
        return python_values.read_objects(series.to_list(), name)
    try:
        exported = series.alias("").to_arrow()  # a name with a NUL in it is more than polars can export
    except Exception as error:  # of Rust, without a common class; 128-bit integers, for instance
        raise validation.value_type_error(name, series.dtype) from error
    return arrow_values.read_arrow(exported, name)


class ArrowSource:
    """A Table or RecordBatch of pyarrow."""

    def __init__(self, table: Any) -> None:
        self._table = table
        self.names = [str(name) for name in table.schema.names]
        self.n_rows = table.num_rows

    def read(self, place: int) -> Values:
        return arrow_values.read_arrow(self._table.column(place), self.names[place])

    def pick(self, rows: NDArray[np.int64]) -> Any:
        return self._table.take(arrow_values.import_arrow("A table of Arrow").array(rows))

    def slice(self, start: int, stop: int) -> ArrowSource:
        return ArrowSource(self._table.slice(start, stop - start))


def exported_table(X: Any, name: str) -> ArrowSource:
    """The table of an object that exports itself in the manner of Arrow (`__arrow_c_stream__`)."""
    pyarrow = arrow_values.import_arrow(f"{name}, a {type(X).__name__},")
    try:
        if hasattr(X, "__arrow_c_stream__"):
            return ArrowSource(pyarrow.RecordBatchReader.from_stream(X).read_all())
        return ArrowSource(pyarrow.Table.from_batches([pyarrow.record_batch(X)]))
    except (pyarrow.ArrowException, TypeError, ValueError) as error:
        raise validation.table_export_error(name, X, error) from error


class DictSource:
    """A dict of columns, each an array, a list or a Series."""

    def __init__(self, columns: Mapping[Any, Any]) -> None:
        self._keys = list(columns)
        self.names = [str(key) for key in columns]
        self._columns = [_as_column(columns[key], str(key)) for key in columns]
        lengths = [len(column) for column in self._columns]
        for name, length in zip(self.names, lengths, strict=True):
            if length != lengths[0]:
                raise validation.column_length_error((self.names[0], lengths[0]), (name, length))
        self.n_rows = lengths[0] if lengths else 0

    def read(self, place: int) -> Values:
        return read_column(self._columns[place], self.names[place])

    def pick(self, rows: NDArray[np.int64]) -> Any:
        picked = [_picked(column, rows) for column in self._columns]
        return dict(zip(self._keys, picked, strict=True))

    def slice(self, start: int, stop: int) -> DictSource:
        columns = [
            column.iloc[start:stop] if _has_iloc(column) else column[start:stop] for column in self._columns
        ]
        return DictSource(dict(zip(self._keys, columns, strict=True)))


def _has_iloc(column: Any) -> bool:
    """Whether an index that stands beside the values could be meant by plain indexing."""
    return is_of(column, "pandas", "Series")


def _as_column(value: Any, name: str) -> Any:
    """What is a column as it stands, or as an array."""
    if isinstance(value, list | tuple):
        return value
    if isinstance(value, str | bytes | Mapping | set | frozenset) or not hasattr(value, "__len__"):
        raise validation.scalar_column_error(name, value)
    if isinstance(value, np.ndarray):
        if not value.ndim:
            raise validation.scalar_column_error(name, value)
        return value
    if is_of(value, "pandas", "Index"):
        return value.to_series()
    if is_of(value, "pandas", "Series") or is_of(value, "polars", "Series"):
        return value
    if is_of(value, "pyarrow", "Array", "ChunkedArray"):
        return value
    if is_of(value, "pandas.api.extensions", "ExtensionArray"):
        return sys.modules["pandas"].Series(value, copy=False)
    return _as_column(np.asarray(value), name)


def read_column(column: Any, name: str) -> Values:
    """Read an array, a list or a Series."""
    if isinstance(column, np.ndarray):
        return python_values.read_array(column, name)
    if isinstance(column, list | tuple):
        return python_values.read_objects(column, name)
    if is_of(column, "pandas", "Series"):
        return pandas_values.read_pandas(column, name)
    if is_of(column, "polars", "Series"):
        arrow_values.import_arrow("A Series of polars")
        return _read_polars(column, name)
    return arrow_values.read_arrow(column, name)


def _picked(column: Any, rows: NDArray[np.int64]) -> Any:
    if _has_iloc(column):
        return column.iloc[rows]
    if isinstance(column, list | tuple):
        return type(column)([column[row] for row in rows.tolist()])
    if is_of(column, "pyarrow", "Array", "ChunkedArray"):
        return column.take(sys.modules["pyarrow"].array(rows))
    return column[rows]


class RecordSource:
    """A list of dicts, one a row; a column that a row lacks is missing there."""

    def __init__(self, records: Sequence[Any], name: str = "X", keys: list[Any] | None = None) -> None:
        if keys is None:
            for row, record in enumerate(records):
                if not isinstance(record, Mapping):
                    raise validation.table_row_error(name, row, record)
            keys = list(dict.fromkeys(chain.from_iterable(records)))
        self._records = records
        self._keys = keys
        self.names = [str(key) for key in keys]
        self.n_rows = len(records)

    def read(self, place: int) -> Values:
        key = self._keys[place]
        return python_values.read_objects([record.get(key) for record in self._records], self.names[place])

    def pick(self, rows: NDArray[np.int64]) -> Any:
        return [self._records[row] for row in rows.tolist()]

    def slice(self, start: int, stop: int) -> RecordSource:
        return RecordSource(self._records[start:stop], keys=self._keys)
