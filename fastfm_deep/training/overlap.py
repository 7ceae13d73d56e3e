"""How alike rows are: what an update for one of them does to the scores of the others.

The *overlap* of rows is the mean, over pairs of different rows, of the squared length of one in the columns that
the other has too. Rows of n dense columns of unit size have n, rows of one-hot fields some ten times less.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastfm_deep.data.rows import CsrRows

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Rows that are looked at, spread over all, and their non-zeros.
_SAMPLE_ROWS, _SAMPLE_VALUES = 2_048, 200_000


def row_overlap(rows: CsrRows, row_ids: NDArray[np.integer], inverse_scale: NDArray[np.float32]) -> float:
    """The overlap of the rows `row_ids`, from a sample; a single row has all of its squared length.

    `inverse_scale`, (n_features,) or (0,), is what values are multiplied by.
    """
    indptr, n_rows = rows.indptr, len(row_ids)
    mean_length = max(1.0, (float(indptr[-1]) + 1.0) / max(1, len(indptr) - 1))
    n_sampled = int(min(n_rows, max(2, min(_SAMPLE_ROWS, _SAMPLE_VALUES / mean_length))))
    sample = row_ids[np.linspace(0, n_rows - 1, n_sampled).astype(np.int64)]
    parts = [slice(indptr[row], indptr[row + 1]) for row in sample.tolist()]
    indices = np.concatenate([rows.indices[part] for part in parts])
    values = np.concatenate([rows.values[part] for part in parts]).astype(np.float64)
    if len(inverse_scale):
        values *= inverse_scale[indices]
    _, place, counts = np.unique(indices, return_inverse=True, return_counts=True)
    if n_sampled == 1:
        return float((values**2).sum())
    others = counts[place] - 1.0
    return float((values**2 * others).sum() / (n_sampled * (n_sampled - 1.0)))
