"""Tables: what users hand in with named columns, whatever library it comes from.

A *table* reads a column when it is asked for, into the forms of `data/values.py`; nothing is read before.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fastfm_deep import validation
from fastfm_deep.data import arrow_files
from fastfm_deep.data.table_sources import (
    ArrowSource,
    DictSource,
    PandasSource,
    PolarsSource,
    RecordSource,
    Source,
    exported_table,
    is_of,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fastfm_deep.data.values import Values


class Table:
    """Named columns of equal length.

    Parameters
    ----------
    source : Source
        What the user has handed in.

    Attributes
    ----------
    names : tuple of str
        Names of the columns, in their order; a name may occur more than once.
    n_rows : int
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self.names = tuple(source.names)
        self.n_rows = source.n_rows

    def __len__(self) -> int:
        return self.n_rows

    def has(self, name: str) -> bool:
        """Whether there is a column of this name."""
        return name in self.names

    def column(self, name: str) -> Values:
        """The values of a column.

        Raises
        ------
        InputError
            There is no such column, or more than one; InputTypeError if no form holds its values.
        """
        count = self.names.count(name)
        if not count:
            raise validation.missing_column_error(name, self.names)
        if count > 1:
            raise validation.ambiguous_column_error(name, count)
        return self._source.read(self.names.index(name))

    def pick(self, rows: NDArray[np.int64]) -> Any:
        """These rows, as a table of the kind that was handed in; of a file, as a table of pyarrow."""
        return self._source.pick(rows)

    def slice(self, start: int, stop: int) -> Table:
        """Rows `start` to `stop - 1`, which share their values with this table."""
        start, stop, _ = slice(start, stop).indices(self.n_rows)
        return Table(self._source.slice(start, max(start, stop)))


def is_table(X: Any) -> bool:
    """Whether `as_table` takes X: a matrix or a list of lists is none.

    A list is judged by its first row. One without rows is a table; so it is for a list that ran empty.
    """
    if isinstance(X, str | os.PathLike):
        return arrow_files.table_format(X) is not None
    if isinstance(X, list):
        return not X or isinstance(X[0], Mapping)
    if _is_column(X) or hasattr(X, "tocsr"):  # DOK matrices of SciPy are dicts
        return False
    return isinstance(X, Table | Mapping) or is_of(X, "pandas", "DataFrame") or _is_of_arrow(X)


def _is_of_arrow(X: Any) -> bool:
    if isinstance(X, type):
        return False
    return (
        is_of(X, "polars", "DataFrame")
        or is_of(X, "pyarrow", "Table", "RecordBatch")
        or hasattr(X, "__arrow_c_stream__")
        or hasattr(X, "__arrow_c_array__")
    )


def _is_column(X: Any) -> bool:
    """Whether X is a single column, which exports itself just as tables do."""
    return (
        is_of(X, "pandas", "Series", "Index")
        or is_of(X, "polars", "Series")
        or is_of(X, "pyarrow", "Array", "ChunkedArray", "Scalar")
    )


def as_table(X: Any, name: str = "X") -> Table:
    """Make a Table of whatever holds named columns.

    Parameters
    ----------
    X : table
        A DataFrame of pandas or polars; a Table or RecordBatch of pyarrow, or anything else that exports itself
        to Arrow; a dict of arrays; a list of dicts; the name of a CSV, TSV or Parquet file. It is never changed.
    name : str
        What messages call X.

    Raises
    ------
    InputError
        X is none of these, or a damaged one.

    Examples
    --------
    >>> as_table({"user": ["ann", "bob"], "age": [31, 27]}).names
    ('user', 'age')
    """
    if isinstance(X, Table):
        return X
    if isinstance(X, str | os.PathLike) and not is_table(X):
        raise validation.table_name_error(name, os.fsdecode(X))
    if not is_table(X):
        raise validation.table_type_error(name, X)
    if isinstance(X, str | os.PathLike):
        return Table(ArrowSource(arrow_files.read_arrow_file(X)))
    return Table(_source_of(X, name))


def _source_of(X: Any, name: str) -> Source:
    if is_of(X, "pandas", "DataFrame"):
        return PandasSource(X)
    if is_of(X, "polars", "DataFrame"):
        return PolarsSource(X)
    if is_of(X, "pyarrow", "Table", "RecordBatch"):
        return ArrowSource(X)
    if isinstance(X, list):
        return RecordSource(X, name)
    return DictSource(X) if isinstance(X, Mapping) else exported_table(X, name)
