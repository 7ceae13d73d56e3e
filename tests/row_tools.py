"""What the tests of the row gate share: raw CSR matrices, and the way back to a dense array."""

from __future__ import annotations

import tracemalloc

import numpy as np
import scipy.sparse as sp

from fastfm_deep.data.rows import CsrRows

DENSE = np.array([[0, 2.5, 0, -1], [0, 0, 0, 0], [3, 0, 1, 0.25]], np.float32)
FORMATS = ("csr", "csc", "coo", "lil", "dok", "bsr", "dia")


def raw_csr(indptr, indices, values, shape, container=sp.csr_array, *, index_dtype=np.int32, dtype=np.float32):
    """CSR without any of the constructor's checks and conversions."""
    X = container(shape, dtype=np.float32)
    X.indptr, X.indices = np.asarray(indptr, index_dtype), np.asarray(indices, index_dtype)
    X.data = np.asarray(values, dtype)
    return X


def to_dense(rows: CsrRows, n_features: int) -> np.ndarray:
    out = np.zeros((rows.n_rows, n_features), np.float32)
    for row in range(rows.n_rows):
        for at in range(rows.indptr[row], rows.indptr[row + 1]):
            assert out[row, rows.indices[at]] == 0.0
            out[row, rows.indices[at]] = rows.values[at]
    return out


def assert_output_types(rows: CsrRows) -> None:
    assert rows.indptr.dtype == np.dtype(np.int64)
    assert rows.indices.dtype in (np.dtype(np.int32), np.dtype(np.int64))
    assert rows.values.dtype == np.dtype(np.float32)
    for array in rows:
        assert type(array) is np.ndarray
        assert array.dtype.isnative
        assert array.flags.c_contiguous
        assert array.flags.aligned
        assert not array.flags.writeable
    assert len(rows.indices) == len(rows.values) == rows.indptr[-1]


def traced_peak(function):
    function()  # compiles
    tracemalloc.start()
    function()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak
