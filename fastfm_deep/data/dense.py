"""Dense data on its way to rows: NumPy arrays and DataFrames, packed so that zeros take no place.

A *block* is a run of rows in float32. Packing goes block by block, so that no float32 copy of the whole
table is ever made, and `data/rows.py` checks what comes out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastfm_deep import validation
from fastfm_deep.data.passes import passes

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BLOCK_VALUES = 2**18
"""1 MB of float32: a block stays in the second-level cache between its conversion and its packing."""


class Packed(NamedTuple):
    """Entries of a dense table that are not zero, in CSR order, and a way back to the original values."""

    indptr: NDArray[np.int64]
    indices: NDArray[Any]
    values: NDArray[np.float32]
    value_at: Callable[[int, int], Any]


def to_float32(array: NDArray[Any]) -> NDArray[np.float32]:
    """Contiguous, aligned, native float32: the array itself where it fits, else one copy.

    What float32 cannot hold becomes infinity; objects go through float64, as in scikit-learn.
    """
    with np.errstate(all="ignore"):
        if array.dtype.kind == "O":
            array = array.astype(np.float64)
        return np.require(array, np.float32, ["C", "A"])


def to_array(X: Any) -> NDArray[Any]:
    """X as a plain NumPy array: a view of an array, a new one of nested lists."""
    try:
        return np.asarray(X)
    except (ValueError, TypeError, OverflowError) as error:
        raise validation.conversion_error("X", error) from error


def pack_array(X: NDArray[Any], plain: bool = False) -> Packed:
    """Pack an array (n_rows, n_columns) of numbers, or of objects that are numbers."""
    if X.dtype.kind not in "biufO":
        raise validation.number_type_error("X", X.dtype)

    def block(start: int, stop: int) -> NDArray[np.float32]:
        try:
            return to_float32(X[start:stop])
        except (ValueError, TypeError, OverflowError) as error:
            raise validation.conversion_error("X", error) from error

    return _pack(X.shape, block, lambda row, column: X[row, column], plain)


def is_frame(X: Any) -> bool:
    """Whether X is a DataFrame in the manner of pandas, which is not imported for that."""
    return all(hasattr(X, name) for name in ("iloc", "dtypes", "columns", "to_numpy")) and X.ndim == 2


def is_sparse_frame(frame: Any) -> bool:
    """Whether every column is sparse with zeros left out, so that `frame.sparse.to_coo()` works."""
    return all(hasattr(dtype, "fill_value") and dtype.fill_value == 0 for dtype in frame.dtypes)


def pack_frame(frame: Any, plain: bool = False) -> Packed:
    """Pack a DataFrame whose columns hold numbers; columns of NumPy dtypes are read in place."""
    columns = [_column_array(frame, number) for number in range(frame.shape[1])]

    def block(start: int, stop: int) -> NDArray[np.float32]:
        out = np.empty((stop - start, len(columns)), np.float32)
        with np.errstate(all="ignore"):
            for number, column in enumerate(columns):
                out[:, number] = column[start:stop]
        return out

    return _pack(frame.shape, block, lambda row, column: columns[column][row], plain)


def _column_array(frame: Any, number: int) -> NDArray[Any]:
    """One column as a NumPy array of numbers, with NaN where a value is missing."""
    column = frame.iloc[:, number]
    what = f"Column {frame.columns[number]!r} of X"
    kind = getattr(column.dtype, "kind", "O")
    if kind not in "biufO":
        raise validation.number_type_error(what, column.dtype)
    if kind != "O" and isinstance(column.dtype, np.dtype):
        return np.asarray(column)
    try:  # nullable, sparse, categories that are numbers, objects that are numbers
        return np.asarray(column.to_numpy(dtype=np.float64, na_value=np.nan))
    except (ValueError, TypeError, OverflowError) as error:
        raise validation.conversion_error(what, error) from error


def _pack(
    shape: tuple[int, ...],
    block: Callable[[int, int], NDArray[np.float32]],
    value_at: Callable[[int, int], Any],
    plain: bool,
) -> Packed:
    """Count the entries of each row, then write them: two passes over blocks instead of one over a copy."""
    n_rows, n_columns = shape
    step = max(1, _BLOCK_VALUES // max(1, n_columns))
    parts = [(start, min(start + step, n_rows)) for start in range(0, n_rows, step)]
    indptr = np.zeros(n_rows + 1, np.int64)
    for start, stop in parts:
        indptr[start + 1 : stop + 1] = np.count_nonzero(block(start, stop), axis=1)
    np.cumsum(indptr, out=indptr)
    indices = np.empty(indptr[-1], np.int32 if n_columns < 2**31 else np.int64)
    values = np.empty(indptr[-1], np.float32)
    for start, stop in parts:
        dense = block(start, stop).view()
        dense.flags.writeable = False  # one compiled kernel, whatever the input was
        passes(plain).pack_rows(dense, indptr[start : stop + 1], indices, values)
    return Packed(indptr, indices, values, value_at)
