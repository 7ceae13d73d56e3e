"""What is said of fields that cannot be used."""

from __future__ import annotations

from typing import Any

from fastfm_deep.validation.errors import InputError, TableTooLargeError


def field_array_error(array: Any) -> InputError:
    """Say that an array does not give the fields of columns."""
    return InputError(
        f"fields of shape {array.shape} and dtype {array.dtype} must be a flat array of integers, one for each "
        "column: its field, counted from 0."
    )


def field_number_error(column: int, field: int) -> InputError:
    """Say that a field has a number that none can have."""
    return InputError(
        f"fields[{column}]={field} must lie in -1 .. {2**31 - 2} (-1: no field); number the fields from 0."
    )


def field_table_error(n_features: int, most: int) -> TableTooLargeError:
    """Say that so many columns are too many for a table of their fields."""
    return TableTooLargeError(
        f"An id of the text makes n_features={n_features}, but the fields of at most {most} columns are kept. "
        "Hash the ids (hash_features=2**22), number only those that occur (compact=True), or leave the fields out "
        "(keep_fields=False)."
    )


def field_type_error(fields: Any) -> InputError:
    """Say what fields may be given as."""
    return InputError(
        f"fields={fields!r} must be a FieldLayout, an int array (n_features,) with the field of each column, or a "
        "list of the sizes of consecutive fields."
    )


def field_cover_error(found: int, n_features: int) -> InputError:
    """Say that fields and columns differ in number."""
    return InputError(f"fields cover {found} columns, but X has {n_features}; give each column one field.")


def pooling_count_error(found: int, n_fields: int) -> InputError:
    """Say that not every field has its pooling."""
    return InputError(f"pooling names {found} ways, but there are {n_fields} fields; give one for each, or one.")


def fieldless_layout_error() -> InputError:
    """Say that a network would have no inputs."""
    return InputError(
        "fields put no column into any field (all are -1), which leaves the network without inputs; give at least "
        "one column a field, or leave fields=None."
    )
