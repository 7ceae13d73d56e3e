"""What is said of rows that a scorer cannot score."""

from __future__ import annotations

from typing import Any

from fastfm_deep.validation.encoding import listed, shown
from fastfm_deep.validation.errors import InputError, InputTypeError


def row_ids_error(indices: Any) -> InputError:
    """Say what the columns of a row must be."""
    found = f"an array of shape={indices.shape} and dtype={indices.dtype}" if hasattr(indices, "dtype") else None
    return InputTypeError(
        f"indices={found or shown(indices)} must be the columns of one row: a flat array, or a list, of integers."
    )


def row_numbers_error(values: Any) -> InputError:
    """Say what the values of a row must be."""
    found = f"an array of shape={values.shape} and dtype={values.dtype}" if hasattr(values, "dtype") else None
    return InputTypeError(
        f"values={found or shown(values)} must be the values of one row: a flat array, or a list, of real "
        "numbers, one for each of indices; None stands for ones."
    )


def row_length_error(n_indices: int, n_values: int) -> InputError:
    """Say that a row has more columns than values, or fewer."""
    return InputError(f"values holds {n_values} numbers for {n_indices} indices, but must hold one for each.")


def row_id_range_error(place: int, found: int, n_features: int) -> InputError:
    """Say that a row names a column that the model does not have."""
    return InputError(
        f"indices[{place}]={found} must lie in 0 .. {n_features - 1}, the {n_features} features of the model; "
        "leave out what it has never seen."
    )


def row_number_error(place: int, column: int, value: float) -> InputError:
    """Say that a value of a row is NaN, infinite or beyond float32."""
    return InputError(
        f"values[{place}]={value} (column {column}) must be a finite number within the range of float32, "
        "+-3.4028235e+38; fill in or leave out what is missing."
    )


def out_array_error(out: Any, n_rows: int | None) -> InputError:
    """Say what scores can be written to."""
    if hasattr(out, "dtype") and hasattr(out, "shape"):
        found = f"out has shape={out.shape} and dtype={out.dtype}"
        if not getattr(getattr(out, "flags", None), "writeable", True):
            found += " and cannot be written to"
    else:
        found = f"out={shown(out)}"
    return InputTypeError(
        f"{found}, but must be a NumPy array of shape=({'n_rows' if n_rows is None else n_rows},), one number for "
        "each row of X, of dtype float64 or float32, that can be written to."
    )


def row_keys_error(found: Any, has_names: bool) -> InputError:
    """Say what the keys of a row that is a dict must be, for a model that was fitted to a matrix."""
    names = "names of features, or their numbers" if has_names else "numbers of features"
    return InputTypeError(
        f"row has the key {shown(found)}, but the model was fitted to a matrix: keys must be {names}, from 0 on."
    )


def row_entry_error(key: Any, value: Any) -> InputError:
    """Say that a feature of a row that is a dict has no number."""
    return InputTypeError(f"row[{shown(key)}]={shown(value)} must be a real number, the value of that feature.")


def unknown_feature_error(name: str, n_features: int) -> InputError:
    """Say that a row names a feature that the model does not have."""
    return InputError(f"row has the key {name!r}, which is none of the {n_features} features of the model.")


def column_order_error(place: int, found: str, expected: str) -> InputError:
    """Say that a table's columns are not the features that the model was fitted to, in their order."""
    return InputError(
        f"Column {place} of X is {found!r}, but the model was fitted to {expected!r} there; give it the columns "
        "of the fit, in the same order."
    )


def context_error(n_rows: int) -> InputError:
    """Say that a context is one row."""
    return InputError(f"context has {n_rows} rows, but must be one: a dict, or a matrix or table of one row.")


def foreign_candidates_error() -> InputError:
    """Say that candidates were prepared for another model."""
    return InputError(
        "candidates were prepared for another model, or before reload(); prepare them anew by "
        "scorer.prepare(candidates)."
    )


def mixed_rank_error(is_table: bool) -> InputError:
    """Say that context and candidates are of different kinds."""
    first, second = ("a table", "a matrix") if is_table else ("a matrix", "a table")
    return InputTypeError(
        f"context is {first} and candidates are {second}, but must be both of one kind: tables or dicts for a "
        "model that was fitted to a table, else matrices."
    )


def no_numba_error() -> InputError:
    """Say that there is no compiler."""
    return InputError(
        'backend="numba" needs Numba, which is not installed; install it (pip install numba), or score with NumPy '
        'alone by backend="numpy".'
    )


def no_raw_columns_error(what: str, found: Any, columns: list[str]) -> InputError:
    """Say that a model that was fitted to a table has been given something else."""
    return InputTypeError(
        f"{what} is a {type(found).__name__}, but must be a table, a dict or a list of dicts with the columns "
        f"{listed(columns)}, or a sparse matrix that the model's encoder has made."
    )
