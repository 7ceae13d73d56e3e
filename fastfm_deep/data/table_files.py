"""Files as tables: one whole, or one table after the other of as many rows as are wanted at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from fastfm_deep.data import arrow_files
from fastfm_deep.data.table import Table
from fastfm_deep.data.table_sources import ArrowSource


def read_table_file(path: str | os.PathLike[str], columns: Sequence[str] | None = None) -> Table:
    """Read a CSV, TSV or Parquet file.

    Parameters
    ----------
    path : str or path
        Ends in .csv or .tsv, either also with .gz, .bz2 or .zst behind it, or in .parquet or .pq.
    columns : sequence of str, optional
        Only these.

    Raises
    ------
    InputError
        The file cannot be read, or lacks a column; MissingFileError if there is none.
    """
    return Table(ArrowSource(arrow_files.read_arrow_file(path, columns)))


def iter_table_file(
    path: str | os.PathLike[str],
    batch_rows: int,
    text_columns: Sequence[str] | None = None,
    number_columns: Sequence[str] | None = None,
) -> Iterator[Table]:
    """Read a file table by table, without ever holding it whole.

    Parameters
    ----------
    path : str or path
        As for `read_table_file`.
    batch_rows : int
        Rows of each table but the last one. A file without rows makes one table, which has none.
    text_columns, number_columns : sequence of str, optional
        Columns of CSV that are text, or floats, from the first row on. The first block decides on the types of the
        others, and a later value that does not fit is an error. Names that the file does not have are ignored.

    Raises
    ------
    InputError
        As `read_table_file`; a value does not fit the type of its column.
    """
    for table in arrow_files.iter_arrow_file(path, batch_rows, text_columns or (), number_columns or ()):
        yield Table(ArrowSource(table))
