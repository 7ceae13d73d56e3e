"""Pooling by counts: the values of a row that share a field, divided by their number or its root."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastfm_deep.data.passes import passes

if TYPE_CHECKING:
    from fastfm_deep.data.fields import FieldLayout
    from fastfm_deep.data.rows import CsrRows


def pooled_rows(rows: CsrRows, layout: FieldLayout, plain: bool = False) -> CsrRows:
    """The rows as models with these fields take them; the same ones where no field is a mean or sqrtn.

    Parameters
    ----------
    rows : CsrRows
    layout : FieldLayout
        Covers the columns of the rows.
    plain : bool
        Do without compiled code; see `data.passes`.

    Returns
    -------
    CsrRows
        Only its values are new: values that are 0 are not counted.
    """
    means, roots = layout.fields_with("mean"), layout.fields_with("sqrtn")
    if not means.any() and not roots.any():
        return rows
    powers = np.where(means, 1.0, np.where(roots, 0.5, 0.0))
    values = rows.values.copy()
    passes(plain).divide_by_counts(rows, layout.field_of_column, powers, values)
    values.flags.writeable = False
    return rows._replace(values=values)
