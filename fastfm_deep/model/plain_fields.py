"""Field vectors in NumPy: what a network of fields is fed with, gathered from the products x v of rows.

The vector of a field is the sum of its products, or where the field is *maxed* the largest of them, factor by
factor; see `kernels.fields`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastfm_deep.data.fields import FieldLayout

    Floats = NDArray[np.float64]


class FieldVectors:
    """Gathers the vectors of the fields of a layout, or of some of them.

    Parameters
    ----------
    layout : FieldLayout
    numbers : int array, optional
        The fields to gather, in this order; by default all.

    Attributes
    ----------
    numbers : int64 array (n_vectors,)
    """

    def __init__(self, layout: FieldLayout, numbers: NDArray[np.int64] | None = None) -> None:
        self._layout = layout
        self._field_of_column = np.asarray(layout.field_of_column)
        # The last item of what is told of fields is for columns without one.
        self._maxed = np.append(layout.fields_with("max"), False)
        self._any_maxed = bool(self._maxed.any())
        self.numbers = np.arange(layout.n_fields) if numbers is None else numbers
        self._place_of: NDArray[np.int64] | None = None
        if numbers is not None:
            self._place_of = np.full(layout.n_fields + 1, -1)
            self._place_of[numbers] = np.arange(len(numbers))
            self._maxed = np.append(self._maxed[numbers], False)

    def those_of(self, ids: NDArray[Any]) -> FieldVectors:
        """Gathers only the fields of these columns."""
        fields = np.unique(self._field_of_column[ids]).astype(np.int64)
        return FieldVectors(self._layout, fields[fields >= 0])

    def share_a_maximum(self, first: NDArray[Any], second: NDArray[Any]) -> bool:
        """Whether two sets of columns have a maxed field in common: its vector is no sum over both."""
        if not self._any_maxed:
            return False
        both = np.intersect1d(self._field_of_column[first], self._field_of_column[second])
        return bool(self._maxed[both[both >= 0]].any())

    def gather(self, ids: NDArray[Any], x: Floats, products: Floats, indptr: NDArray[np.int64]) -> Floats:
        """Vectors of rows.

        Parameters
        ----------
        ids : int array (nnz,)
        x : float64 array (nnz,)
            A value of 0 is no candidate for the largest.
        products : float64 array (nnz, n_factors)
        indptr : int64 array (n_rows + 1,), from 0 on

        Returns
        -------
        float64 array (n_rows, n_vectors * n_factors); 0 for fields that a row does not have
        """
        n_rows, n_vectors, n_factors = len(indptr) - 1, len(self.numbers), products.shape[1]
        field = self._field_of_column[ids]
        if self._place_of is not None:
            field = self._place_of[field]
        slot = np.repeat(np.arange(n_rows) * n_vectors, np.diff(indptr)) + field
        n_slots = n_rows * n_vectors
        if len(slot) == n_slots and (slot == np.arange(n_slots)).all() and (field >= 0).all():
            return products.reshape(n_rows, -1)  # one entry a field
        out = np.zeros((n_slots, n_factors))
        kept = field >= 0
        if self._any_maxed:
            maxed = kept & self._maxed[field]
            _reduce(np.maximum, slot, products, maxed & (x != 0.0), out)
            kept &= ~maxed
        _reduce(np.add, slot, products, kept, out)
        return out.reshape(n_rows, -1)


def _reduce(
    ufunc: np.ufunc, slot: NDArray[np.int64], products: Floats, kept: NDArray[np.bool_], out: Floats
) -> None:
    """Bring together the products kept that have a slot in common, and put them into it."""
    if not kept.all():
        slot, products = slot[kept], products[kept]
    if not len(slot):
        return
    steps = slot[1:] - slot[:-1]
    if (steps < 0).any():
        order = np.argsort(slot, kind="stable")
        slot, products = slot[order], products[order]
        steps = slot[1:] - slot[:-1]
    starts = np.concatenate([[0], np.flatnonzero(steps) + 1])
    out[slot[starts]] = products if len(starts) == len(slot) else ufunc.reduceat(products, starts, axis=0)
