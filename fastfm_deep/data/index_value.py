"""Index and value matrices, as DeepFM write-ups feed them to a network: one feature and one value a field.

Feature 0, "missing", stands where a field has nothing; its value is 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastfm_deep import validation
from fastfm_deep.data.encoded import Encoded, Entries

if TYPE_CHECKING:
    from numpy.typing import NDArray


def to_matrices(
    columns: Sequence[Encoded], names: Sequence[str], n_rows: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Index and value matrix, (n_rows, n_fields) both.

    Raises
    ------
    InputError
        A row has several values in one field.
    """
    index, value = np.zeros((n_rows, len(columns)), np.int64), np.zeros((n_rows, len(columns)), np.float32)
    for field, column in enumerate(columns):
        if column.offsets is None:
            rows, ids = np.flatnonzero(column.ids >= 0), column.ids
            values = column.values if len(column.values) else np.ones(len(ids), np.float32)
            index[rows, field], value[rows, field] = ids[rows], values[rows]
            continue
        sizes = np.diff(column.offsets)
        if int(sizes.max(initial=0)) > 1:
            row = int(np.argmax(sizes > 1))
            raise validation.several_values_error(names[field], row, int(sizes[row]))
        rows = np.flatnonzero(sizes)
        index[rows, field], value[rows, field] = column.ids, column.values
    return index, value


def from_matrices(index: Any, value: Any, field_of_feature: NDArray[np.int32], n_fields: int) -> Entries:
    """Rows out of the matrices; what has feature 0 is left out.

    Raises
    ------
    InputError
        The matrices do not fit each other or the fields, or an index is that of another field.
    """
    ids, values = np.asarray(index), np.asarray(value)
    if ids.ndim != 2 or ids.shape != values.shape or ids.shape[1] != n_fields or ids.dtype.kind not in "iu":
        raise validation.index_matrix_error(ids, values, n_fields)
    if values.dtype.kind not in "fiub":
        raise validation.number_type_error("Xv", values.dtype)
    bad = (ids < 0) | (ids >= len(field_of_feature))
    safe = np.where(bad, 0, ids)
    bad |= (safe > 0) & (field_of_feature[safe] != np.arange(n_fields))
    if bad.any():
        row, field = map(int, np.unravel_index(int(np.argmax(bad)), bad.shape))
        raise validation.foreign_index_error(row, field, int(ids[row, field]))
    used = ids > 0
    with np.errstate(over="ignore"):
        kept = values[used].astype(np.float32)
    if not np.isfinite(kept).all():
        row, field = (int(part[np.argmax(~np.isfinite(kept))]) for part in np.nonzero(used))
        raise validation.row_value_error(row, field, float(values[row, field]))
    indptr = np.zeros(len(ids) + 1, np.int64)
    np.cumsum(used.sum(axis=1), out=indptr[1:])
    index_type = np.int32 if indptr[-1] < 2**31 else np.int64
    return Entries(indptr.astype(index_type), ids[used].astype(index_type), kept)
