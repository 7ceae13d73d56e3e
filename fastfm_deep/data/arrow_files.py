"""CSV and Parquet files as tables of pyarrow, whole or in pieces; every fault is told in our words.

A *table format* is what the name of a file says that it is: CSV, its twin with tabs, or Parquet.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fastfm_deep import validation
from fastfm_deep.data.arrow_values import import_arrow

_ENDINGS = {".csv": "csv", ".tsv": "tsv", ".parquet": "parquet", ".pq": "parquet"}
_COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd"}
_BLOCK_BYTES = 1 << 23
"""Of CSV, read at a time: no row may be longer, and the types of a streamed file are those of its first block."""
_EXACT_FLOAT = 2.0**53


class TableFormat(NamedTuple):
    """What kind of table file a name stands for.

    Attributes
    ----------
    kind : "csv", "tsv" or "parquet"
    compression : "gzip", "bz2", "zstd" or None
        Of a file of text as a whole.
    """

    kind: str
    compression: str | None


def table_format(path: str | os.PathLike[str]) -> TableFormat | None:
    """The format of a table file by its name; None if it is not the name of one."""
    endings = Path(os.fsdecode(path)).suffixes[-2:]
    endings = [ending.lower() for ending in endings]
    compression = _COMPRESSIONS.get(endings[-1]) if endings else None
    if compression is not None:
        endings.pop()
    kind = _ENDINGS.get(endings[-1]) if endings else None
    if kind is None or (compression is not None and kind == "parquet"):
        return None
    return TableFormat(kind, compression)


def read_arrow_file(
    path: str | os.PathLike[str], columns: Sequence[str] | None = None, text_columns: Sequence[str] = ()
) -> Any:
    """A whole file as a pyarrow.Table; see `table_files.read_table_file`."""
    text, format = _checked(path)
    types = {} if format.kind == "parquet" else _csv_types(text_columns, ())
    with _told(text, format, types):
        if format.kind == "parquet":
            return _read_parquet(text, columns)
        table = _read_csv(text, format, types)
        as_text = _text_by_force(table)
        if as_text:
            table = _read_csv(text, format, types | as_text)
        _check_encoding(text, table.schema)
        return _blank_to_null(table if columns is None else table.select(_places(table.schema.names, columns)))


def iter_arrow_file(
    path: str | os.PathLike[str],
    batch_rows: int,
    text_columns: Sequence[str],
    number_columns: Sequence[str],
    on_read: Callable[[float], object] | None = None,
) -> Iterator[Any]:
    """A file as one pyarrow.Table after the other; see `table_files.iter_table_file`.

    `on_read` is told with each of them which share of the file it ends: of the rows of Parquet, of the bytes of
    CSV, nearly; nothing is told of compressed files.
    """
    text, format = _checked(path)
    types = _csv_types(text_columns, number_columns)
    with _told(text, format, types):
        if format.kind == "parquet":
            yield from _iter_parquet(text, batch_rows, on_read)
            return
        types |= {name: kind for name, kind in _first_types(text, format, types).items() if name not in types}
        reader = _open_csv(text, format, types)
        _check_encoding(text, reader.schema)
        blocks = _Counted(reader)
        n_rows, size = 0, max(os.path.getsize(text), 1)
        for table in _rebatched(blocks, reader.schema, batch_rows):
            n_rows += table.num_rows
            if on_read is not None and format.compression is None:
                n_bytes = min(size, blocks.n_blocks * _BLOCK_BYTES)
                on_read(n_bytes / size * n_rows / max(blocks.n_rows, 1))
            yield _blank_to_null(table)


def _checked(path: str | os.PathLike[str]) -> tuple[str, TableFormat]:
    text, format = os.fsdecode(path), table_format(path)
    if format is None:
        raise validation.table_name_error("path", text)
    import_arrow(f"The file {text!r}")
    try:
        mode = os.stat(text).st_mode
    except FileNotFoundError as error:
        raise validation.missing_table_error(text) from error
    except (OSError, ValueError) as error:
        fault = f"cannot be read: {getattr(error, 'strerror', None) or error}"
        raise validation.unreadable_table_error(text, fault) from error
    if not stat.S_ISREG(mode):
        fault = f"is {validation.file_kind(mode)}, no regular file"
        raise validation.unreadable_table_error(text, fault)
    return text, format


def _places(names: list[str], columns: Sequence[str]) -> list[int]:
    for column in columns:
        count = names.count(column)
        if not count:
            raise validation.missing_column_error(column, names)
        if count > 1:
            raise validation.ambiguous_column_error(column, count)
    return [names.index(column) for column in columns]


def _read_parquet(path: str, columns: Sequence[str] | None) -> Any:
    # Not read_table, which takes folders like "day=3" above the file for columns of it.
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        if columns is not None:
            _places(file.schema_arrow.names, columns)
        return file.read(columns=None if columns is None else list(columns))


def _iter_parquet(path: str, batch_rows: int, on_read: Callable[[float], object] | None) -> Iterator[Any]:
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        n_rows, n_read = file.metadata.num_rows, 0
        batches = file.iter_batches(batch_size=batch_rows)
        for table in _rebatched(batches, file.schema_arrow, batch_rows):
            n_read += table.num_rows
            if on_read is not None:
                on_read(n_read / max(n_rows, 1))
            yield table


class _Counted:
    """Batches of CSV, counted as they are taken: each is of one block. The file itself is read further ahead."""

    def __init__(self, batches: Any) -> None:
        self._batches = batches
        self.n_blocks = self.n_rows = 0

    def __iter__(self) -> Iterator[Any]:
        for batch in self._batches:
            self.n_blocks += 1
            self.n_rows += batch.num_rows
            yield batch


def _rebatched(batches: Any, schema: Any, batch_rows: int) -> Iterator[Any]:
    """Tables of exactly so many rows, but for the last one."""
    import pyarrow as pa

    waiting: list[Any] = []
    n_waiting, is_empty = 0, True
    for batch in batches:
        waiting.append(batch)
        n_waiting += batch.num_rows
        if n_waiting < batch_rows:
            continue
        table = pa.Table.from_batches(waiting)
        full = n_waiting - n_waiting % batch_rows
        for start in range(0, full, batch_rows):
            yield table.slice(start, batch_rows)
            is_empty = False
        waiting, n_waiting = table.slice(full).to_batches(), n_waiting - full
    if n_waiting or is_empty:
        yield pa.Table.from_batches(waiting, schema=schema)


def _csv_options(format: TableFormat, types: dict[str, Any], **read: Any) -> dict[str, Any]:
    from pyarrow import csv

    return {
        "read_options": csv.ReadOptions(block_size=_BLOCK_BYTES, **read),
        "parse_options": csv.ParseOptions(
            delimiter="\t" if format.kind == "tsv" else ",", newlines_in_values=True
        ),
        # Numbers may be "NA" or "nan" where they are missing; text keeps such words.
        "convert_options": csv.ConvertOptions(column_types=types, strings_can_be_null=False),
    }


def _stream(path: str, format: TableFormat) -> Any:
    import pyarrow as pa

    return pa.input_stream(path, compression=format.compression)


def _read_csv(path: str, format: TableFormat, types: dict[str, Any]) -> Any:
    from pyarrow import csv

    return csv.read_csv(_stream(path, format), **_csv_options(format, types))


def _open_csv(path: str, format: TableFormat, types: dict[str, Any], **read: Any) -> Any:
    from pyarrow import csv

    return csv.open_csv(_stream(path, format), **_csv_options(format, types, **read))


def _csv_types(text_columns: Sequence[str], number_columns: Sequence[str]) -> dict[str, Any]:
    import pyarrow as pa

    return dict.fromkeys(number_columns, pa.float64()) | dict.fromkeys(text_columns, pa.string())


def _first_types(path: str, format: TableFormat, types: dict[str, Any]) -> dict[str, Any]:
    """What `_text_by_force` says of the first block."""
    import pyarrow as pa

    with suppress(StopIteration):
        return _text_by_force(pa.Table.from_batches([_open_csv(path, format, types).read_next_batch()]))
    return {}


def _text_by_force(table: Any) -> dict[str, Any]:
    """Columns whose values would be lost in the type that pyarrow takes them for.

    Times of the day are of no form that columns are read into. Whole numbers beyond int64 become floats, in which
    many of them are the same: these are ids. Where nothing stands in the first block of a file, or only "NA" in
    all of it, is most likely text.
    """
    import pyarrow as pa

    found = {}
    for field, column in zip(table.schema, table.columns, strict=True):
        lost = pa.types.is_time(field.type) or pa.types.is_null(field.type)
        if lost or (pa.types.is_float64(field.type) and _are_ids(column)):
            found[field.name] = pa.string()
    return found


def _are_ids(column: Any) -> bool:
    from pyarrow import compute

    bounds = compute.min_max(column)
    largest = max(bounds["max"].as_py() or 0.0, -(bounds["min"].as_py() or 0.0))
    if not _EXACT_FLOAT < largest < 1e30:
        return False
    return bool(compute.all(compute.equal(compute.floor(column), column)).as_py())


def _check_encoding(path: str, schema: Any) -> None:
    """Pyarrow takes text that is not in UTF-8 for bytes."""
    import pyarrow as pa

    for field in schema:
        if pa.types.is_binary(field.type):
            raise validation.table_encoding_error(path, field.name)


def _blank_to_null(table: Any) -> Any:
    """Empty text as missing; beside it in a row may well stand a value."""
    import pyarrow as pa

    for place, field in enumerate(table.schema):
        if pa.types.is_string(field.type):
            chunks = [_without_blanks(chunk) for chunk in table.column(place).chunks]
            table = table.set_column(place, field, pa.chunked_array(chunks, field.type))
    return table


def _without_blanks(texts: Any) -> Any:
    """The same offsets and bytes below another bitmap. `compute.if_else` garbles slices in old versions."""
    import pyarrow as pa

    start, n = texts.offset, len(texts)
    _, offsets, data = texts.buffers()
    if not n:
        return texts
    is_text = np.diff(np.frombuffer(offsets, np.int32, start + n + 1)) > 0
    if is_text[start:].all():
        return texts
    bitmap = pa.py_buffer(np.packbits(is_text, bitorder="little"))
    return pa.StringArray.from_buffers(n, offsets, data, bitmap, -1, start)


_RAGGED = re.compile(r"(?:Row #(?P<row>\d+): )?Expected (\d+) columns, got (\d+): (.*)", re.DOTALL)
_UNFIT = re.compile(
    r"In CSV column #(\d+): (?:Row #(?P<row>\d+): )?CSV conversion error to (\w+)[^:]*: (?:invalid value '(.*)')?",
    re.DOTALL,
)
_KINDS = {"int64": "integer", "double": "number", "bool": "boolean", "string": "text in UTF-8"}


@contextmanager
def _told(path: str, format: TableFormat, types: dict[str, Any]) -> Iterator[None]:
    """Turn what pyarrow raises into our errors."""
    import pyarrow as pa

    try:
        yield
    except validation.InputError:
        raise
    except UnicodeDecodeError as error:  # names of columns
        raise validation.table_encoding_error(path, None) from error
    except PermissionError as error:
        raise validation.unreadable_table_error(path, f"cannot be read: {error.strerror}") from error
    except (pa.ArrowException, OSError) as error:
        raise _fault(path, format, types, error) from error


def _fault(path: str, format: TableFormat, types: dict[str, Any], error: Exception) -> validation.InputError:
    message = str(error)
    reason = message.split("\n")[0].rstrip(".")
    if "Empty CSV" in message:
        return validation.empty_table_error(path)
    if format.kind == "parquet":
        return validation.damaged_table_error(path, "Parquet", reason)
    found = _RAGGED.search(message)
    if found:
        row = int(found["row"]) if found["row"] else _row_of_fault(path, format, types, _RAGGED)
        return validation.ragged_table_error(path, row, (found[2], found[3]), found[4])
    found = _UNFIT.search(message)
    if found:
        name = _column_name(path, format, int(found[1]))
        row = int(found["row"]) if found["row"] else _row_of_fault(path, format, types, _UNFIT)
        if found[3] == "string":
            return validation.table_encoding_error(path, name)
        return validation.table_value_error(path, name, row, found[4] or "", _KINDS.get(found[3], found[3]))
    return validation.damaged_table_error(path, format.kind.upper(), reason)


def _row_of_fault(path: str, format: TableFormat, types: dict[str, Any], pattern: re.Pattern[str]) -> int | None:
    """Where a fault lies: only a reader of one thread counts rows, so the file is read once more."""
    import pyarrow as pa

    try:
        for _ in _open_csv(path, format, types, use_threads=False):
            pass
    except (pa.ArrowException, OSError) as error:
        found = pattern.search(str(error))
        return int(found["row"]) if found and found["row"] else None
    return None


def _column_name(path: str, format: TableFormat, place: int) -> str:
    import pyarrow as pa

    try:
        names: list[str] = _open_csv(path, format, {}).schema.names
    except (pa.ArrowException, OSError, UnicodeDecodeError):
        return f"number {place}"
    return names[place]
