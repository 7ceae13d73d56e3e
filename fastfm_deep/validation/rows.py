"""What is said of a matrix of rows that cannot be used."""

from __future__ import annotations

import math
from typing import Any

from fastfm_deep.validation.errors import InputError, InputTypeError


def dimension_error(X: Any) -> InputError:
    """Say that X is no matrix, in the words scikit-learn's own checks look for."""
    if X.ndim > 2:
        return InputError(f"Found array with dim {X.ndim}, while dim <= 2 is required: X must be a matrix.")
    found = "1D array" if X.ndim == 1 else "scalar array"
    return InputError(
        f"Expected 2D array, got {found} instead:\narray={X}.\nReshape your data either using "
        "array.reshape(-1, 1) if your data has a single feature or array.reshape(1, -1) if it contains a "
        "single row."
    )


def empty_error(shape: tuple[int, int]) -> InputError:
    """Say that X has no rows or no features, in the words scikit-learn's own checks look for."""
    missing = "sample(s)" if shape[0] == 0 else "feature(s)"
    shown = f"({shape[0]}, {shape[1]})"
    return InputError(f"Found array with 0 {missing} (shape={shown}) while a minimum of 1 is required.")


def width_error(found: int, n_features: int) -> InputError:
    """Say that X has columns the model knows nothing of."""
    return InputError(
        f"X has {found} features, but the model is expecting {n_features} features as input; give it the "
        "columns it was fitted on, in the same order."
    )


_NUMBERS_HINT = "Turn text, dates and categories into numbers first (one-hot columns, for example)."


def number_type_error(what: str, dtype: Any) -> InputError:
    """Say that no row of numbers can be made of a dtype."""
    if getattr(dtype, "kind", "") == "c":
        return InputError(
            f"Complex data not supported: {what} has dtype={dtype}; pass real and imaginary parts as columns "
            "of their own."
        )
    return InputError(f"{what} has dtype={dtype}, but must hold numbers. {_NUMBERS_HINT}")


def conversion_error(what: str, reason: Exception) -> InputError:
    """Say that values are no numbers; `reason` is what NumPy or pandas said."""
    kind = InputTypeError if isinstance(reason, TypeError) else InputError
    return kind(f"{what} cannot be read as numbers: {reason}. {_NUMBERS_HINT}")


def damaged_matrix_error(format_name: str, fault: str) -> InputError:
    """Say that the arrays of a SciPy matrix contradict each other."""
    return InputError(
        f"X is a damaged {format_name} matrix: {fault}. Build it anew, e.g. with "
        "scipy.sparse.csr_array((values, (rows, columns)), shape=...)."
    )


def index_range_error(name: str, value: int, size: int, where: str = "") -> InputError:
    """Say that an index points outside the matrix."""
    return InputError(
        f"{name}={value}{where} must lie in 0 .. {size - 1}, as the shape of X says; correct the index, or "
        "build the matrix with the shape it needs."
    )


def row_value_error(row: int, column: int, value: Any) -> InputError:
    """Say that a value of X is NaN or infinite, or that float32 cannot hold it."""
    name = f"X[{row}, {column}]={value} (row {row}, column {column})"
    if value != value:
        return InputError(f"{name}: X contains NaN. Fill in such values or drop their rows first.")
    if value in (math.inf, -math.inf):
        return InputError(f"{name}: X contains infinity. Replace such values or drop their rows first.")
    return InputError(
        f"{name} is beyond the range of float32, +-3.4028235e+38, in which rows are kept; scale column "
        f"{column} down."
    )
