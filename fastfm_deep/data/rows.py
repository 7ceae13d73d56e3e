"""Rows: the one gate that data passes on its way to the kernels, which trust what comes out of it.

A *row* is a list of (column, value) pairs that names no column twice and whose values are finite float32.
`CsrRows` holds many of them, one after the other, as SciPy's CSR format does.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastfm_deep import kernels, validation
from fastfm_deep.data import dense
from fastfm_deep.data.passes import Passes, passes
from fastfm_deep.kernels.row_faults import POINTER_FAULT, RANGE_FAULT

if TYPE_CHECKING:
    from numpy.typing import NDArray


class CsrRows(NamedTuple):
    """Rows that have been checked; all three arrays are read-only, contiguous and aligned.

    Attributes
    ----------
    indptr : int64 array (n_rows + 1,)
        Row i holds the entries `indptr[i]` to `indptr[i + 1] - 1`.
    indices : int32 or int64 array (nnz,)
        Column of each entry; no order within a row, none twice.
    values : float32 array (nnz,)
        Value of each entry; finite.
    """

    indptr: NDArray[np.int64]
    indices: NDArray[Any]
    values: NDArray[np.float32]

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.indptr) - 1


def as_csr_rows(
    X: Any, *, n_features: int | None = None, allow_empty: bool = False, plain: bool = False
) -> CsrRows:
    """Check a matrix and hand out its rows; X itself is never changed.

    Parameters
    ----------
    X : matrix (n_rows, n_columns) of real numbers
        A SciPy sparse matrix or array of any format, a NumPy array, a DataFrame, or a list of lists.
        The columns and values of CSR with native float32 values are shared, not copied.
    n_features : int, optional
        Width of the model that the rows are for; X may have fewer columns, but no more.
    allow_empty : bool
        Let a matrix without rows through.
    plain : bool
        Do without compiled code; see `data.passes`.

    Returns
    -------
    CsrRows
        A column that occurs twice in a row is summed, as `X.toarray()` does. Explicit zeros of a sparse
        matrix are kept, zeros of a dense one are left out.

    Raises
    ------
    InputError
        X is no matrix of finite real numbers within float32's range, is empty or too wide, or its arrays
        contradict each other. The message names row and column.

    Examples
    --------
    >>> as_csr_rows([[0, 2.5], [1, 0]]).indices
    array([1, 0], dtype=int32)
    """
    is_frame = dense.is_frame(X)
    if not is_frame and not is_sparse(X):
        X = dense.to_array(X)
    _check_shape(X, n_features, allow_empty)
    if is_frame and dense.is_sparse_frame(X):
        X = X.sparse.to_coo()
    found = passes(plain)
    if is_sparse(X):
        return _sparse_rows(X, found)
    indptr, indices, values, value_at = dense.pack_frame(X, plain) if is_frame else dense.pack_array(X, plain)
    return _checked_rows(indptr, indices, values, lambda row, at: value_at(row, int(indices[at])), found)


def is_sparse(X: Any) -> bool:
    """Whether X is a matrix or array of SciPy, which is not imported for that."""
    loaded = sys.modules.get("scipy.sparse")
    return loaded is not None and bool(loaded.issparse(X))


def _check_shape(X: Any, n_features: int | None, allow_empty: bool) -> None:
    if getattr(getattr(X, "dtype", None), "kind", "") == "c":
        raise validation.number_type_error("X", X.dtype)
    if X.ndim != 2:
        raise validation.dimension_error(X)
    n_rows, n_columns = X.shape
    if n_columns == 0 or (n_rows == 0 and not allow_empty):
        raise validation.empty_error(X.shape)
    if n_features is not None and n_columns > n_features:
        raise validation.width_error(n_columns, n_features)


def _sparse_rows(X: Any, found: Passes) -> CsrRows:
    """Rows of a SciPy matrix, which is read attribute by attribute.

    Its methods stay out of this: `sum_duplicates`, `sort_indices` and `astype` of some formats change X
    itself, and `has_canonical_format` stores a flag in it.
    """
    if X.format != "csr":
        X = _to_csr(X, found)
    indptr, indices, repeated = _check_compressed(X, X.shape, "row", found)
    stored = np.asarray(X.data)[: indptr[-1]]
    if repeated:
        indptr, indices, stored = _summed_copy(indptr, indices, stored, X.shape)
    values = _convert_values(stored)
    return _checked_rows(indptr, indices, values, lambda row, at: stored[at], found)


def _convert_values(stored: NDArray[Any]) -> NDArray[np.float32]:
    if stored.dtype.kind not in "biufO":
        raise validation.number_type_error("X", stored.dtype)
    try:
        return dense.to_float32(stored)
    except (ValueError, TypeError, OverflowError) as error:
        raise validation.conversion_error("X", error) from error


def _to_csr(X: Any, found: Passes) -> Any:
    """Convert from another format, once it is certain that SciPy's compiled code stays within the arrays."""
    if X.dtype.kind not in "biuf":
        raise validation.number_type_error("X", X.dtype)
    n_rows, n_columns = X.shape
    try:
        if X.format == "dok":
            X = X.tocoo()
        if X.format == "coo":
            _check_coordinates(X)
        elif X.format == "csc":
            _check_compressed(X, (n_columns, n_rows), "column", found)
        elif X.format == "bsr":
            height, width = X.blocksize
            _check_compressed(X, (n_rows // height, n_columns // width), "block row", found)
        elif X.format == "lil" and list(map(len, X.rows)) != list(map(len, X.data)):
            raise validation.damaged_matrix_error("lil", "X.rows and X.data differ in the lengths of their rows")
        elif X.format == "dia" and (X.data.ndim != 2 or len(X.data) != len(X.offsets)):
            raise validation.damaged_matrix_error("dia", "X.data and X.offsets differ in length")
        return X.tocsr()
    except validation.InputError:
        raise
    except (ValueError, TypeError, OverflowError) as error:
        raise validation.damaged_matrix_error(X.format, str(error)) from error


def _check_coordinates(X: Any) -> None:
    for name, ids, size in (("X.row", X.row, X.shape[0]), ("X.col", X.col, X.shape[1])):
        if len(ids) != len(X.data):
            raise validation.damaged_matrix_error("coo", f"{name} has {len(ids)} of {len(X.data)} entries")
        if len(ids) and (ids.min() < 0 or ids.max() >= size):
            at = int(np.flatnonzero((ids < 0) | (ids >= size))[0])
            raise validation.index_range_error(f"{name}[{at}]", int(ids[at]), size)


def _check_compressed(
    X: Any, shape: tuple[int, int], line: str, found: Passes
) -> tuple[NDArray[np.int64], NDArray[Any], bool]:
    """Check pointers and indices of a csr, csc or bsr matrix of `shape` lines and places in a line.

    Returns pointers as int64, the indices they cover, and whether some line holds an index twice. Pointers
    are checked before they are followed.
    """

    def damage(fault: str) -> validation.InputError:
        return validation.damaged_matrix_error(X.format, fault)

    pointers, ids = np.asarray(X.indptr), np.asarray(X.indices)
    for name, array in (("X.indptr", pointers), ("X.indices", ids)):
        if array.ndim != 1 or array.dtype.kind not in "iu":
            raise damage(f"{name} has shape={array.shape} and dtype={array.dtype}, not one row of integers")
    if np.ndim(X.data) != (3 if X.format == "bsr" else 1):
        raise damage(f"X.data has shape={np.shape(X.data)}")
    n_lines, n_places = shape
    if len(pointers) != n_lines + 1:
        raise damage(f"X.indptr has {len(pointers)} entries, not one more than the {n_lines} {line}s")
    indptr = _read_only(np.require(pointers, np.int64, ["C", "A"]))
    wide = ids.dtype.itemsize > 4 or ids.dtype == np.uint32
    indices = _read_only(np.require(ids, np.int64 if wide else np.int32, ["C", "A"]))
    n_stored = min(len(indices), len(X.data))
    if indptr[0] != 0:
        raise damage(f"X.indptr[0]={indptr[0]} must be 0")
    fault, number, at, repeated = found.check_rows(indptr, indices[:n_stored], n_places)
    if fault == POINTER_FAULT:
        raise damage(
            f"X.indptr[{at}]={indptr[at]} after X.indptr[{at - 1}]={indptr[at - 1]}, but pointers must never "
            f"fall, nor lead beyond the {n_stored} stored values"
        )
    if fault == RANGE_FAULT:
        where = f" ({line} {number})"
        raise validation.index_range_error(f"X.indices[{at}]", int(indices[at]), n_places, where)
    return indptr, indices[: indptr[-1]], repeated


def _summed_copy(
    indptr: NDArray[np.int64], indices: NDArray[Any], stored: NDArray[Any], shape: tuple[int, int]
) -> tuple[NDArray[np.int64], NDArray[Any], NDArray[Any]]:
    """Copy of the matrix in which SciPy has added up repeated columns, in the dtype the values came in."""
    dtype = stored.dtype.newbyteorder("=")
    if dtype == np.float16:  # SciPy sums neither float16 nor objects
        dtype = np.dtype(np.float32)
    values = _convert_values(stored).copy() if dtype.kind == "O" else stored.astype(dtype)
    copy = sys.modules["scipy.sparse"].csr_array((values, indices.copy(), indptr.copy()), shape=shape)
    copy.sum_duplicates()
    return copy.indptr.astype(np.int64), copy.indices, copy.data


def _checked_rows(
    indptr: NDArray[np.int64],
    indices: NDArray[Any],
    values: NDArray[np.float32],
    value_at: Callable[[int, int], Any],
    found: Passes,
) -> CsrRows:
    """Rows out of sound arrays, once every value is finite; `value_at(row, position)` is for the message."""
    rows = CsrRows(_read_only(indptr), _read_only(indices), _read_only(values))
    at = found.first_nonfinite(rows.values.view(np.uint32))
    if at >= 0:
        row = int(np.searchsorted(indptr, at, side="right")) - 1
        value = math.nan if math.isnan(values[at]) else value_at(row, at)
        raise validation.row_value_error(row, int(indices[at]), value)
    return rows


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    """View as a plain array that cannot be written, so that kernels compile once; X keeps its own flags."""
    view = np.asarray(array).view()
    view.flags.writeable = False
    return view


def fold_ones(rows: CsrRows) -> CsrRows:
    """The same rows, with `values` broadcast from a single 1.0 if all of them are 1.

    Kernels see by the strides that there is nothing to read and nothing to multiply with: 17 % of their time.
    """
    if not kernels.columns.all_ones(rows.values.view(np.uint32)):
        return rows
    return rows._replace(values=np.broadcast_to(np.float32(1.0), rows.values.shape))
