"""What an estimator takes as `fields`: a sound layout, or an error before memory is taken for it."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastfm_deep import validation
from fastfm_deep.data.fields import POOLINGS, FieldLayout, as_field_layout


def read_fields(fields: Any, n_features: int) -> FieldLayout | None:
    """The layout of `n_features` columns, None for None; see `as_field_layout`.

    Raises
    ------
    InputError
        It is none, does not cover the columns, or contradicts itself: kernels trust what it says.
    """
    if fields is None:
        return None
    if isinstance(fields, FieldLayout):
        return as_field_layout(_sound_layout(fields), n_features)
    if isinstance(fields, list | tuple | range):
        sizes = [
            validation.check_integer(f"fields[{field}]", size, minimum=1) for field, size in enumerate(fields)
        ]
        if sum(sizes) != n_features:
            raise validation.field_cover_error(sum(sizes), n_features)
    return as_field_layout(fields, n_features)


def same_layout(first: FieldLayout | None, second: FieldLayout | None) -> bool:
    """Whether two layouts say the same of every column."""
    if first is second:
        return True
    if first is None or second is None:
        return False
    return (
        first.n_fields == second.n_fields
        and first.pooling == second.pooling
        and np.array_equal(first.field_of_column, second.field_of_column)
    )


def _sound_layout(layout: FieldLayout) -> FieldLayout:
    """A layout may have been made by hand, without the checks of `FieldLayout.from_columns`."""
    found = FieldLayout.from_columns(layout.field_of_column)
    n_fields = validation.check_integer("fields.n_fields", layout.n_fields, minimum=found.n_fields)
    pooling = tuple(layout.pooling)
    if pooling and len(pooling) != n_fields:
        raise validation.pooling_count_error(len(pooling), n_fields)
    for field, name in enumerate(pooling):
        validation.check_choice(f"pooling[{field}]", name, POOLINGS)
    return FieldLayout(found.field_of_column, n_fields, pooling)
