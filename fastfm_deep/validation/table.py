"""What is said of tables and of their columns that cannot be read.

Rows count from 0 here, as they do in the arrays that a table becomes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastfm_deep.validation.errors import InputError, InputTypeError

_ACCEPTED = (
    "a DataFrame of pandas or polars, a table of pyarrow or of anything else that exports Arrow streams, a dict "
    "of arrays, a list of dicts, or the name of a .csv, .tsv or .parquet file"
)
_COLUMN_TYPES = "text, numbers, booleans, dates, datetimes, categories, bytes or lists of these"
_SHOWN = 10


def shortened(value: Any) -> str:
    """How a value is shown: what `repr` says, at most 60 characters of it."""
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."


def _counted(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def table_type_error(name: str, found: Any) -> InputError:
    """Say that something is no table."""
    kind = type(found)
    shown = kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
    way_out = "; call its collect() first" if kind.__name__ == "LazyFrame" else ""
    return InputTypeError(f"{name} is a {shown}, but must be a table: {_ACCEPTED}{way_out}.")


def table_name_error(name: str, path: str) -> InputError:
    """Say that text is the name of no table file."""
    return InputError(
        f"{name}={shortened(path)} names no table: files end in .csv, .tsv (either also with .gz, .bz2 or .zst "
        f"behind it), .parquet or .pq. A table may also be {_ACCEPTED.split(', or the name')[0]}."
    )


def table_export_error(name: str, found: Any, reason: Exception) -> InputError:
    """Say that an object exports something to Arrow, but no table."""
    return InputTypeError(
        f"{name}, of the type {type(found).__name__}, exports no table to Arrow: {reason}. A table may be "
        f"{_ACCEPTED}."
    )


def table_row_error(name: str, row: int, found: Any) -> InputError:
    """Say that a list of dicts holds something else."""
    return InputTypeError(
        f"{name}[{row}]={shortened(found)} must be a dict, as the other rows of the list are; make it one that "
        "maps names of columns to values."
    )


def missing_column_error(column: str, names: Sequence[str]) -> InputError:
    """Say that a table lacks a column, and which ones it has."""
    if not names:
        return InputError(f"There is no column {column!r}: the table has no columns at all; give it this one.")
    import difflib  # takes 10 ms

    close = difflib.get_close_matches(column, names, 1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    shown = ", ".join(map(repr, names[:_SHOWN]))
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return InputError(f"There is no column {column!r}.{hint} The table has {shown}{more}.")


def ambiguous_column_error(column: str, count: int) -> InputError:
    """Say that a name stands for more than one column."""
    return InputError(f"The column {column!r} occurs {count} times; rename all but one of them.")


def column_length_error(first: tuple[str, int], other: tuple[str, int]) -> InputError:
    """Say that two columns of a dict differ in length."""
    return InputError(
        f"The columns {first[0]!r} and {other[0]!r} hold {_counted(first[1], 'value')} and "
        f"{_counted(other[1], 'value')}; all columns of a table must be equally long."
    )


def scalar_column_error(column: str, found: Any) -> InputError:
    """Say that what stands for a column of a dict is a single value."""
    return InputTypeError(
        f"The column {column!r} is {shortened(found)}, no array or list; give one value a row, even if there is "
        "only one row: [value]."
    )


def column_dimension_error(column: str, n_dimensions: int) -> InputError:
    """Say that an array holds more than a row of values for each row."""
    return InputTypeError(
        f"The column {column!r} is an array of {n_dimensions} dimensions; a column has one, or two if each row "
        "holds several values."
    )


def value_type_error(column: str, found: Any) -> InputError:
    """Say that no form holds values of a type."""
    return InputTypeError(
        f"The column {column!r} is of the type {found}, but must be {_COLUMN_TYPES}; convert it to one of these, "
        "or leave it out."
    )


def damaged_column_error(column: str, reason: Exception) -> InputError:
    """Say that an array of Arrow is not as its type says."""
    return InputError(
        f"The column {column!r} is damaged: {str(reason).rstrip('.')}; make it anew. Text that is not in UTF-8 "
        "can be given as bytes."
    )


def cell_type_error(column: str, row: int, found: Any) -> InputError:
    """Say that one value of a column is of a type that no form holds."""
    if isinstance(found, set | frozenset):
        return InputTypeError(
            f"Column {column!r}, row {row}: {shortened(found)} is a set, whose order is not fixed; give a list, "
            "such as sorted(values)."
        )
    return InputTypeError(
        f"Column {column!r}, row {row}: the value {shortened(found)} is a {type(found).__name__}, but must be "
        f"{_COLUMN_TYPES}."
    )


def mixed_list_error(column: str, row: int, found: Any) -> InputError:
    """Say that some rows of a column hold lists, and one does not."""
    return InputTypeError(
        f"Column {column!r}, row {row}: {shortened(found)} is no list, but other rows hold lists; make it a list "
        "of one value, or None where there is none."
    )


def nested_list_error(column: str) -> InputError:
    """Say that a column holds lists of lists."""
    return InputTypeError(
        f"The column {column!r} holds lists of lists, but a row of it may hold only a list of single values; "
        "flatten them."
    )


def time_range_error(column: str, row: int, unit: str) -> InputError:
    """Say that a datetime does not fit into microseconds."""
    return InputError(
        f"Column {column!r}, row {row}: this datetime, in units of {unit}, lies beyond the years that "
        "microseconds in 64 bits reach; correct it, or make it missing."
    )


def missing_arrow_error(what: str) -> InputError:
    """Say which extra reads tables of Arrow."""
    return InputError(f"{what} needs pyarrow, which the extra brings: pip install 'fastfm_deep[arrow]'.")


_SPARSE_WAY_OUT = "declare the column as a SparseFeat if its values are categories"


def number_value_error(column: str, row: int, found: Any) -> InputError:
    """Say that a value is no number, where the column must hold numbers."""
    return InputError(
        f"Column {column!r}, row {row}: {shortened(found)} is no number, as a DenseFeat needs; correct it, or "
        f"{_SPARSE_WAY_OUT}."
    )


def infinite_value_error(column: str, row: int, found: Any) -> InputError:
    """Say that a number is infinite."""
    return InputError(
        f"Column {column!r}, row {row}: {shortened(found)} is infinite, but a DenseFeat needs finite numbers; "
        "replace it, or make it missing."
    )


def number_column_error(column: str, found: str) -> InputError:
    """Say that a column as a whole holds no numbers."""
    return InputError(
        f"The column {column!r} holds {found}, but a DenseFeat needs a number in each row; convert them, or "
        f"{_SPARSE_WAY_OUT}."
    )
