"""Result tables on their way into a file, some rows at a time.

CSV is written here, so that scores can be had without pyarrow; Parquet is left to it.
"""

from __future__ import annotations

import csv
from contextlib import suppress
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from fastfm_deep import validation
from fastfm_deep.data.arrow_values import import_arrow
from fastfm_deep.data.python_values import is_missing

if TYPE_CHECKING:
    from numpy.typing import NDArray


class TableWriter:
    r"""Writes columns to a file that is open, which it leaves open.

    Parameters
    ----------
    file : BinaryIO
    format : "csv", "tsv" or "parquet"

    Examples
    --------
    >>> import io
    >>> file = io.BytesIO()
    >>> with TableWriter(file, "csv") as writer:
    ...     writer.write({"user": np.array(["ann", "bob"]), "score": np.array([0.25, 0.1], np.float32)})
    >>> file.getvalue()
    b'user,score\nann,0.25\nbob,0.1\n'
    """

    def __init__(self, file: BinaryIO, format: str) -> None:
        self._file = file
        self._format = validation.check_choice("format", format, ("csv", "tsv", "parquet"))
        self._names: list[str] | None = None
        self._parquet: Any = None
        if format == "parquet":
            import_arrow("Writing a Parquet file")

    def __enter__(self) -> TableWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        else:  # a writer of Parquet would complain, once its file is closed
            with suppress(Exception):
                self.close()

    def write(self, columns: dict[str, NDArray[Any]]) -> None:
        """Write some rows; every call gives the same columns.

        Parameters
        ----------
        columns : dict of arrays (n,)
            Numbers, booleans, text, datetimes, or objects of these. Missing values are empty in CSV.
        """
        names = list(columns)
        if self._names is not None and names != self._names:
            raise validation.written_columns_error(names, self._names)
        if self._format == "parquet":
            self._write_parquet(columns)
        else:
            self._write_text(columns)
        self._names = names

    def close(self) -> None:
        """Write what belongs at the end of the file."""
        if self._parquet is not None:
            self._parquet.close()
            self._parquet = None

    def _write_text(self, columns: dict[str, NDArray[Any]]) -> None:
        lines: list[str] = []
        # Values that hold a sign of the line's end are quoted, and to readers either sign is one.
        to_lines: Any = SimpleNamespace(write=lines.append)
        writer = csv.writer(to_lines, delimiter="\t" if self._format == "tsv" else ",", lineterminator="\r\n")
        if self._names is None:
            writer.writerow(columns)
        writer.writerows(zip(*map(_shown, columns.values()), strict=True))
        # Half a surrogate pair has no place in UTF-8; what is written must be read again.
        text = "".join([line.removesuffix("\r\n") + "\n" for line in lines])
        self._file.write(text.encode("utf-8", "backslashreplace"))

    def _write_parquet(self, columns: dict[str, NDArray[Any]]) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        schema = None if self._parquet is None else self._parquet.schema
        arrays = {}
        for name, values in columns.items():
            kind = None if schema is None else schema.field(name).type
            try:
                arrays[name] = pa.array(values, kind, from_pandas=values.dtype == object)
            except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
                raise validation.written_values_error(name, error) from error
        table = pa.table(arrays)
        if self._parquet is None:
            self._parquet = parquet.ParquetWriter(self._file, table.schema)
        self._parquet.write_table(table)


def _shown(values: NDArray[Any]) -> list[Any]:
    """Values as the csv module writes them: floats in the fewest digits that read back as the same number."""
    kind = values.dtype.kind
    if kind == "f":
        shown = values.tolist() if values.dtype == np.float64 else values.astype(str).tolist()
        for row in np.flatnonzero(np.isnan(values)).tolist():
            shown[row] = None
        return shown
    if kind == "M":
        texts = np.datetime_as_string(values)
        return np.where(np.isnat(values), "", texts).tolist()
    if kind == "b":
        return np.where(values, "true", "false").tolist()
    if kind == "O":
        return [value if type(value) is str or not is_missing(value) else None for value in values.tolist()]
    return values.tolist()
