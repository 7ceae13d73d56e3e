"""Parts of rows: two tables that have the columns of an encoding between them, of users and of items, say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastfm_deep import validation

if TYPE_CHECKING:
    from fastfm_deep.data.encoders import Encoding
    from fastfm_deep.data.table import Table

    Part = tuple[Table, tuple[int, ...]]


def fields_in(encoding: Encoding, table: Table) -> tuple[int, ...]:
    """The fields whose columns a table has."""
    return tuple(
        field
        for field, column in enumerate(encoding.learned)
        if all(table.has(name) for name in column.names_read())
    )


def check_parts(encoding: Encoding, users: Part, items: Part, names: tuple[str, str] = ("users", "items")) -> None:
    """See that each column is in one of the tables, and in one only.

    Raises
    ------
    InputError
        A column is in both, or in none.
    """
    for field, column in enumerate(encoding.learned):
        if field in users[1] and field in items[1]:
            raise validation.shared_column_error(encoding.columns[field].name, names)
        if field not in users[1] and field not in items[1]:
            read = column.names_read()
            absent = [name for name in read if not users[0].has(name) and not items[0].has(name)]
            raise validation.absent_column_error((absent or read)[0], names)
