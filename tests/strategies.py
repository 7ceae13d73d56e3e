"""Random CSR rows for hypothesis, as SciPy lets them be: nothing is sorted, summed or pruned."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse
from hypothesis import strategies as st

VALUE_DTYPES = (np.float32, np.float64, np.int8, np.int32, np.int64, np.uint8, np.bool_)
INDEX_DTYPES = (np.int32, np.int64)


@st.composite
def csr_rows(
    draw: st.DrawFn,
    *,
    n_features: int | None = None,
    min_rows: int = 1,
    max_rows: int = 8,
    max_entries: int = 12,
    value_dtypes: tuple[Any, ...] = VALUE_DTYPES,
    repeated: bool = True,
    containers: tuple[Any, ...] = (scipy.sparse.csr_matrix, scipy.sparse.csr_array),
) -> Any:
    """A CSR matrix or array (n_rows, n_features) with up to `max_entries` entries a row.

    There are empty rows, explicit zeros, columns in any order and, with `repeated=True`, more than once in a
    row. Values are multiples of 1/4 of at most 4, so their sums are exact in every dtype drawn.
    """
    width = draw(st.integers(1, 10)) if n_features is None else n_features
    n_rows = draw(st.integers(min_rows, max_rows))
    row = st.lists(st.integers(0, width - 1), max_size=max_entries, unique=not repeated)
    rows = [draw(row) for _ in range(n_rows)]
    indptr = np.cumsum([0] + [len(columns) for columns in rows])
    quarters = draw(st.lists(st.integers(-16, 16), min_size=int(indptr[-1]), max_size=int(indptr[-1])))
    dtype = np.dtype(draw(st.sampled_from(value_dtypes)))
    stored = np.array(quarters, np.float64) / 4
    if dtype.kind in "iub":
        stored = np.abs(np.trunc(stored))
    X = draw(st.sampled_from(containers))((n_rows, width), dtype=dtype)
    # Set one by one: the constructor would narrow int64 indices.
    index_dtype = draw(st.sampled_from(INDEX_DTYPES))
    X.data = stored.astype(dtype)
    X.indices = np.array([column for columns in rows for column in columns], index_dtype)
    X.indptr = indptr.astype(index_dtype)
    return X
