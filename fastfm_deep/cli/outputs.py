"""Where scores go: lines of one number, or a table with other columns before them.

A *sink* takes the scores of some rows at a time, and the columns that are kept beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from fastfm_deep import validation
from fastfm_deep.cli import texts
from fastfm_deep.cli.console import write_out
from fastfm_deep.data.arrow_files import table_format
from fastfm_deep.data.output import replace_file

if TYPE_CHECKING:
    from numpy.typing import NDArray


SCORE = "score"
"""The column of the scores."""

Sink = Callable[[Any, Mapping[str, Any]], None]


def table_kind(out: str | None) -> str | None:
    """What kind of table is to be written, "csv", "tsv" or "parquet"; None for lines.

    Raises
    ------
    InputError
        It is to be a compressed one.
    """
    format = None if out is None else table_format(out)
    if format is None:
        return None
    if format.compression is not None:
        raise validation.table_out_error(str(out))
    return format.kind


def check_keep(keep: Sequence[str], out: str | None) -> None:
    """See that there is a table to keep columns in, and that none takes the name of the scores."""
    if keep and table_kind(out) is None:
        raise validation.keep_option_error("standard output" if out is None else out)
    if SCORE in keep:
        raise validation.keep_score_error()


@contextmanager
def opened(out: str | None) -> Iterator[Sink]:
    """A sink for a file, which appears whole or not at all, or for standard output."""
    kind = table_kind(out)
    if out is None:
        yield lambda scores, _: _write_lines(scores, write_out)
        return
    if kind is None:
        with replace_file(out) as file:
            yield lambda scores, _: _write_lines(scores, lambda lines: file.write(lines.encode("ascii")))
        return
    from fastfm_deep.data.table_writer import TableWriter

    with replace_file(out) as file, TableWriter(file, kind) as writer:

        def write(scores: Any, kept: Mapping[str, Any]) -> None:
            columns = {name: written_values(column, kind == "parquet") for name, column in kept.items()}
            writer.write(columns | {SCORE: np.asarray(scores, np.float64)})

        yield write


def _write_lines(scores: Any, write: Callable[[str], object]) -> None:
    for lines in texts.score_lines(scores):
        write(lines)


def can_be_written(kind: Any) -> bool:
    """Whether a column of a type of Arrow can stand beside scores."""
    import pyarrow as pa

    types = pa.types
    if types.is_dictionary(kind):
        return can_be_written(kind.value_type)
    is_text = types.is_string(kind) or types.is_large_string(kind) or str(kind) == "string_view"
    is_number = (
        types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind) or types.is_decimal(kind)
    )
    return is_text or is_number or types.is_date(kind) or types.is_timestamp(kind) or types.is_null(kind)


def written_values(column: Any, with_types: bool) -> NDArray[Any]:
    """A column of Arrow as `TableWriter` takes it, of the same type for all parts of a file.

    Parameters
    ----------
    column : pyarrow.ChunkedArray
    with_types : bool
        Whether what is written knows types: booleans are words where it does not.
    """
    import pyarrow as pa

    types, kind = pa.types, column.type
    if types.is_dictionary(kind):
        return written_values(column.cast(kind.value_type), with_types)
    if types.is_decimal(kind):
        return written_values(column.cast(pa.float64()), with_types)
    if types.is_null(kind) or (types.is_boolean(kind) and not with_types):
        return written_values(column.cast(pa.string()), with_types)
    is_text = types.is_string(kind) or types.is_large_string(kind) or str(kind) == "string_view"
    if is_text:
        # Objects that are all None would be of no type.
        all_missing = column.null_count == len(column)
        return np.ma.masked_all(len(column), "U1") if all_missing else np.array(column.to_pylist(), object)
    if not column.null_count or types.is_date(kind) or types.is_timestamp(kind):
        found: NDArray[Any] = column.to_numpy()
        return found
    missing = column.is_null().to_numpy()
    return np.ma.masked_array(column.fill_null(False if types.is_boolean(kind) else 0).to_numpy(), missing)
