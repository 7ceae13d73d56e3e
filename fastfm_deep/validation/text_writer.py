"""What is said of rows that no text can hold."""

from __future__ import annotations

from fastfm_deep.validation.errors import InputError


def bare_row_error(row: int) -> InputError:
    """Say that a row would be a blank line, which readers pass over."""
    return InputError(
        f"Row {row} has neither a label nor values, and a blank line is no row; give y, or drop such rows."
    )


def no_fields_error() -> InputError:
    """Say that libffm text needs fields."""
    return InputError(
        "fields=None must give the field of each column: a FieldLayout, an int array (n_features,), or a list of "
        "field sizes; write_libsvm writes rows without fields."
    )


def no_field_error(column: int) -> InputError:
    """Say that a column with values has no field."""
    return InputError(f"fields[{column}]=-1: column {column} has values but no field; give it one.")


def label_shape_error(shape: tuple[int, ...]) -> InputError:
    """Say that labels must be flat."""
    return InputError(f"y of shape {shape} must have shape (n_rows,), one number for each row.")
