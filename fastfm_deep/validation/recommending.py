"""What is said of recommendations that cannot be made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastfm_deep.validation.encoding import listed, shown
from fastfm_deep.validation.errors import InputError, InputTypeError


def shared_column_error(name: str, tables: tuple[str, str]) -> InputError:
    """Say that a column belongs to two tables, users and items, at once."""
    return InputError(
        f"Column {name!r} is in {tables[0]} and in {tables[1]}, but must be in one of them: the score of a pair "
        "takes one value of it. Leave it out of the other."
    )


def absent_column_error(name: str, tables: tuple[str, str]) -> InputError:
    """Say that a column is in neither table."""
    return InputError(
        f"Column {name!r} is neither in {tables[0]} nor in {tables[1]}, but the model was fitted to it; add it to "
        "one of them, None where its value is missing."
    )


def foreign_catalog_error() -> InputError:
    """Say that items were prepared for another model."""
    return InputError(
        "items were prepared for another model, or before this one learned more; prepare them anew by "
        "model.prepare_items(items)."
    )


def exclude_type_error(exclude: Any, n_users: int, user: int | None = None) -> InputError:
    """Say what `exclude` may be."""
    name = "exclude" if user is None else f"exclude[{user}]"
    return InputTypeError(
        f"{name}={shown(exclude)} must be a list of rows of items for each of the {n_users} users, a matrix "
        "(n_users, n_items) that is not 0 where an item is left out, or a table of pairs with columns of both."
    )


def exclude_shape_error(found: tuple[int, ...], expected: tuple[int, int]) -> InputError:
    """Say that a matrix of what is left out has another shape."""
    return InputError(f"exclude has shape={found}, but must be of shape (n_users, n_items)={expected}.")


def exclude_range_error(user: int, found: int, n_items: int) -> InputError:
    """Say that an item that is left out does not exist."""
    return InputError(f"exclude[{user}] holds {found}, but rows of items lie in 0 .. {n_items - 1}.")


def exclude_columns_error(found: Sequence[str], users: Sequence[str], items: Sequence[str]) -> InputError:
    """Say that a table of pairs does not tell users or items."""
    return InputError(
        f"exclude is a table of {listed(found)}, which must share a column with users ({listed(users)}) and one "
        f"with items ({listed(items)}), to tell which pairs are left out."
    )


def no_items_error(name: str, what: str) -> InputError:
    """Say that a table is empty."""
    return InputError(f"{name} has 0 rows (0 sample(s)), so there is nothing to {what}; give it at least one.")


def exclude_nan_error() -> InputError:
    """Say that NaN neither leaves out nor keeps an item."""
    return InputError("exclude holds NaN, which says neither yes nor no; use 1 for what is left out, else 0.")
