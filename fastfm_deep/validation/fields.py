"""What is said of fields that cannot be used."""

from __future__ import annotations

from typing import Any

from fastfm_deep.validation.errors import InputError


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
