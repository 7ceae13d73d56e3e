"""What is said of table files that cannot be read or written."""

from __future__ import annotations

from typing import Any

from fastfm_deep.validation.errors import InputError, InputTypeError, MissingFileError
from fastfm_deep.validation.table import shortened


def missing_table_error(path: str) -> InputError:
    """Say that there is no file of a name."""
    return MissingFileError(f"There is no file {path!r}; give the name of a .csv, .tsv or .parquet file.")


def unreadable_table_error(path: str, fault: str) -> InputError:
    """Say why a file cannot be read at all."""
    return InputError(f"{path!r} {fault}; give the name of a .csv, .tsv or .parquet file that can be read.")


def empty_table_error(path: str) -> InputError:
    """Say that a CSV file has not even a header."""
    return InputError(f"{path!r} is empty; its first line must hold the names of the columns.")


def ragged_table_error(path: str, row: int | None, widths: tuple[str, str], text: str) -> InputError:
    """Say that a row has more or fewer values than there are columns."""
    where = "" if row is None else f", row {row} (the header is row 1)"
    return InputError(
        f"{path!r}{where}: {shortened(text)} holds {widths[1]} values, but the header names {widths[0]} columns; "
        "correct the row, or quote values that hold the delimiter."
    )


def table_value_error(path: str, column: str, row: int | None, value: str, kind: str) -> InputError:
    """Say that a value does not fit the type that a column has shown so far."""
    where = "" if row is None else f", row {row} (the header is row 1)"
    return InputError(
        f"{path!r}{where}: {shortened(value)} in the column {column!r} is no {kind}, as the column was taken to "
        "hold; correct it, or have the column read as text from the start (as a SparseFeat is)."
    )


def table_encoding_error(path: str, column: str | None) -> InputError:
    """Say that a CSV file is not in UTF-8: a column of it, or its header."""
    where = "the header" if column is None else f"column {column!r}"
    return InputError(f"{path!r} is no text in UTF-8 ({where}); convert the file to UTF-8 first.")


def damaged_table_error(path: str, kind: str, reason: str) -> InputError:
    """Say that a file is not what its name says, or damaged."""
    return InputError(
        f"{path!r} cannot be read as {kind}: {reason}. Copy it again, or give it the ending that it is."
    )


def written_columns_error(names: list[str], expected: list[str]) -> InputError:
    """Say that rows to be written have other columns than those before them."""
    return InputError(f"The columns {names} must be those written before, in their order: {expected}.")


def written_values_error(column: str, reason: Any) -> InputError:
    """Say that values of a column cannot be written to a Parquet file."""
    return InputTypeError(f"The column {column!r} cannot be written: {reason}. Give it values of one type.")
