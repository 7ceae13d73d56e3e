"""Tables for an encoder: CSV files are read so that a category does not depend on the other rows of its file.

CSV has no types, and what a reader guesses of a column changes with its rows: 007 is 7 until an A12 follows. So
categories of CSV are the text that stands there, unless an encoder has learned otherwise from another table.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from fastfm_deep import validation
from fastfm_deep.data import arrow_files
from fastfm_deep.data.encoders import Encoding
from fastfm_deep.data.families import as_family, families_of
from fastfm_deep.data.feature_columns import DenseFeat, FeatureColumn, VarLenSparseFeat
from fastfm_deep.data.table import Table, as_table

_WHOLE = 1 << 62


def category_names(columns: Sequence[FeatureColumn]) -> list[str]:
    """Names of the columns of a table that hold categories, or text to be taken apart."""
    names: list[str] = []
    for column in columns:
        if not isinstance(column, DenseFeat):
            names.append(column.name)
        if isinstance(column, VarLenSparseFeat) and column.weights is not None:
            names.append(column.weights)
    return list(dict.fromkeys(names))


def table_to_learn(X: Any, columns: Sequence[FeatureColumn], name: str = "X") -> Table:
    """A table whose categories are to be learned; see `as_table`."""
    if not _is_csv(X):
        return as_table(X, name)
    return as_table(arrow_files.read_arrow_file(X, text_columns=category_names(columns)), name)


def table_to_encode(X: Any, encoding: Encoding, name: str = "X") -> Table:
    """A table for what has been learned: what its columns were then decides what those of CSV are."""
    if not _is_csv(X):
        return as_table(X, name)
    names = list(next(arrow_files.iter_arrow_file(X, 1, (), ())).schema.names)
    frame = next(arrow_files.iter_arrow_file(X, _WHOLE, names, ()))
    families = families_of(encoding)
    for wanted in families:
        if names.count(wanted) > 1:
            raise validation.ambiguous_column_error(wanted, names.count(wanted))
    found = {
        column: as_family(frame.column(column), families[column]) if column in families else frame.column(place)
        for place, column in enumerate(names)
    }
    return as_table(found, name)


def _is_csv(X: Any) -> bool:
    if not isinstance(X, str | os.PathLike):
        return False
    found = arrow_files.table_format(X)
    return found is not None and found.kind != "parquet"
