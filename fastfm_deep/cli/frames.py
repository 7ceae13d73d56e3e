"""Table files as the commands use them: told from text, read whole or chunk by chunk, put one below the other.

A *frame* is a table of pyarrow out of one or more files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from fastfm_deep import validation
from fastfm_deep.data import arrow_files
from fastfm_deep.data.families import OTHERS, TEXTS, as_family, family_of_type

CHUNK_ROWS = 65_536
"""Rows of a table that are scored at a time."""

_WHOLE = 1 << 62
_TABLE_ENDINGS = {".csv", ".tsv", ".parquet", ".pq"}


def is_table(path: str) -> bool:
    """Whether a file is a table, by its name.

    Raises
    ------
    InputError
        It is one in a compression that tables are not read from.
    """
    if arrow_files.table_format(path) is not None:
        return True
    if _TABLE_ENDINGS & {ending.lower() for ending in Path(path).suffixes[-2:-1]}:
        raise validation.table_compression_error(path)
    return False


def are_tables(paths: Sequence[str]) -> bool:
    """Whether files are tables; all of them are, or none."""
    kinds = {path: is_table(path) for path in paths}
    if len(set(kinds.values())) > 1:
        tables = [path for path, found in kinds.items() if found]
        texts = [path for path, found in kinds.items() if not found]
        raise validation.mixed_files_error(tables[0], texts[0])
    return bool(paths) and kinds[paths[0]]


@contextmanager
def about(path: str, first_row: int = 0) -> Iterator[None]:
    """Let errors about what a file holds name it, and the row that they count from."""
    try:
        yield
    except validation.InputError as error:
        if path in str(error):
            raise
        raise validation.named_table_error(path, first_row, error) from error


def row_name(path: str, row: int) -> str:
    """A row of a file as messages name it, counted as a reader of the file counts."""
    if _is_text(path):
        return f"{path}, row {row + 2} (the header is row 1)"
    return f"{path}, row {row} (the first is row 0)"


def _is_text(path: str) -> bool:
    """Whether types are not told by the file itself."""
    format = arrow_files.table_format(path)
    return format is not None and format.kind != "parquet"


def names_in(path: str) -> list[str]:
    """Names of the columns of a file."""
    first = next(arrow_files.iter_arrow_file(path, 1, (), ()))
    return [str(name) for name in first.schema.names]


def check_names(path: str, known: Sequence[str], wanted: Sequence[str]) -> None:
    """See that a file has columns, each once."""
    with about(path):
        for name in wanted:
            if name not in known:
                raise validation.missing_column_error(name, known)
            if known.count(name) > 1:
                raise validation.ambiguous_column_error(name, known.count(name))


def chunks_as(
    path: str,
    families: Mapping[str, str],
    batch_rows: int,
    on_read: Callable[[float], object] | None = None,
) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Read a file part by part, with each column in its family.

    Parameters
    ----------
    path : str
    families : dict of str to str
        The columns that are wanted, and the families that those of CSV are brought into.
    batch_rows : int
    on_read : function of one float, optional
        Is told with each part which share of the file it ends, unless that is unknown.

    Yields
    ------
    frame : pyarrow.Table
        As it was read; CSV as text.
    columns : dict of str to column
        What was wanted, as `as_table` takes it.
    """
    names = names_in(path)
    check_names(path, names, list(families))
    text = names if _is_text(path) else []
    for frame in arrow_files.iter_arrow_file(path, batch_rows, text, (), on_read):
        columns = {name: frame.column(name) for name in families}
        if text:
            columns = {name: as_family(column, families[name]) for name, column in columns.items()}
        yield frame, columns


def read_as(path: str, families: Mapping[str, str]) -> dict[str, Any]:
    """The columns of a whole file, likewise."""
    if _is_text(path):
        return next(chunks_as(path, families, _WHOLE))[1]
    frame = _read(path, list(families))
    return {name: frame.column(name) for name in families}


class Frame(NamedTuple):
    """Training files as one table, and the family of each column."""

    table: Any  # pyarrow.Table
    families: dict[str, str]
    sizes: dict[str, int]  # rows of each file


def read_frame(paths: Sequence[str], wanted: Sequence[str] | None, as_text: Sequence[str] = ()) -> Frame:
    """Read files one below the other; their columns are brought together by name.

    Parameters
    ----------
    paths : sequence of str
    wanted : sequence of str, optional
        Columns to read, which all files must have; None: all of the first file.
    as_text : sequence of str
        Columns that are text in CSV, even where each looks like a number.
    """
    frames = {path: _read(path, wanted) for path in paths}
    names = list(next(iter(frames.values())).schema.names if wanted is None else dict.fromkeys(wanted))
    for path, frame in frames.items():
        check_names(path, frame.schema.names, names)
    families = {name: _common_family(frames, name, name in as_text) for name in names}
    for path in paths:
        frames[path] = _in_families(path, frames[path].select(names), families)
    sizes = {path: frame.num_rows for path, frame in frames.items()}
    return Frame(_joined(frames, names), families, sizes)


def _read(path: str, wanted: Sequence[str] | None) -> Any:
    if wanted is None or _is_text(path):
        return arrow_files.read_arrow_file(path)
    check_names(path, names_in(path), wanted)
    return arrow_files.read_arrow_file(path, list(dict.fromkeys(wanted)))


def _common_family(frames: Mapping[str, Any], name: str, as_text: bool) -> str:
    """What the values of a column are in all files together."""
    found = {path: _family_in(frame.column(name)) for path, frame in frames.items()}
    known = {path: family for path, family in found.items() if family is not None}
    families = set(known.values())
    if as_text and all(map(_is_text, frames)):
        return TEXTS
    if not families:
        return TEXTS
    if len(families) == 1:
        return families.pop()
    if OTHERS in families:
        raise validation.uneven_column_error(name, {path: str(frames[path].column(name).type) for path in known})
    return TEXTS


def _family_in(column: Any) -> str | None:
    """None where nothing stands."""
    return None if column.null_count == len(column) else family_of_type(column.type)


def _in_families(path: str, frame: Any, families: Mapping[str, str]) -> Any:
    """The columns of a file in the families of all files; what has lost its text is read once more."""
    import pyarrow as pa
    from pyarrow import compute

    others = [name for name, family in families.items() if family_of_type(frame.column(name).type) != family]
    if not others:
        return frame
    text: Any = None
    for name in others:
        family, column = families[name], frame.column(name)
        if column.null_count == len(column):
            continue
        if family == TEXTS and _is_text(path):
            if text is None:
                text = next(arrow_files.iter_arrow_file(path, _WHOLE, names_in(path), ()))
            column = text.column(name)
        else:
            column = compute.cast(column, pa.string())
        frame = frame.set_column(frame.schema.names.index(name), name, column)
    return frame


def _joined(frames: Mapping[str, Any], names: Sequence[str]) -> Any:
    import pyarrow as pa

    if len(frames) == 1:
        return next(iter(frames.values()))
    columns = {}
    for name in names:
        parts = {path: _plain(frame.column(name)) for path, frame in frames.items()}
        kinds = {part.type for part in parts.values() if part.null_count < len(part)} or {pa.string()}
        if len(kinds) > 1:  # Arrow brings booleans and numbers together only when told to
            kinds = {pa.int64() if pa.types.is_boolean(kind) else kind for kind in kinds}
        try:
            schemas = [pa.schema([(name, kind)]) for kind in kinds]
            kind = pa.unify_schemas(schemas, promote_options="permissive").field(name).type
            chunks = [_cast(part, kind) for part in parts.values()]
        except pa.ArrowException as error:
            types = {path: str(part.type) for path, part in parts.items()}
            raise validation.uneven_column_error(name, types) from error
        columns[name] = pa.chunked_array([chunk for part in chunks for chunk in part.chunks], chunks[0].type)
    return pa.table(columns)


def _plain(column: Any) -> Any:
    """A column without a dictionary, which may be another one in each file."""
    import pyarrow as pa

    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def _cast(column: Any, kind: Any) -> Any:
    import pyarrow as pa

    if column.null_count == len(column):
        return pa.chunked_array([pa.nulls(len(column), kind)])
    return column.cast(kind)
