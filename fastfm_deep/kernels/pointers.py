"""Pointers and addresses: how lanes kernels reach rows and tables without paying for arrays at each access.

The owner of the arrays keeps them alive while a kernel runs.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba.core import types
from numba.core.extending import overload

from fastfm_deep.kernels import lanes as ln
from fastfm_deep.kernels._jit import row_function
from fastfm_deep.kernels.updates import factor_states, linear_width

FLOAT_BYTES = 4
_LARGEST = 3.4028234663852886e38  # of float32
# Rows of factors with states are filled up to a multiple of this.
STATE_ROW_BYTES = 32


class RowPointers(NamedTuple):
    """Where the rows lie, for kernels that go by address; their owner keeps the arrays alive."""

    indptr: int
    indices: int
    values: int


class TablePointers(NamedTuple):
    """Where the parameters lie, likewise."""

    linear: int
    linear_width: int  # numbers per feature
    factors: int  # an address
    row_bytes: int  # of a row of factors with its states
    state_bytes: int  # from a factor to its first state
    n_blocks: int  # vectors of lanes in a row of factors
    inverse_scale: int
    scaled: bool
    parts: int | None  # for updates alone; see `kernels.parts`
    lookup: int | None = None  # the row of each feature; None where they are the same


LOOKUP = (0,)
"""Marker of kernels for models that have one; None for others."""


def if_marked(lookup, marker):
    """The pointer, or None where the marker is None."""
    raise NotImplementedError("for compiled code only")


@overload(if_marked, inline="always")
def _if_marked(lookup, marker):
    if isinstance(marker, types.NoneType):
        return lambda lookup, marker: None
    return lambda lookup, marker: lookup


@row_function
def row_at(lookup, feature):
    """The row of the tables that a feature has, given a pointer to those of all features, or None."""
    if lookup is None:
        return feature
    return np.intp(ln.at(lookup, feature))


@row_function
def factor_value(tables, row, x, lanes):
    """What stored factors of a table row are multiplied by for the value `x`: their scale is in it."""
    if ln.have_scales(lanes):
        return x * ln.at(tables.linear, row * tables.linear_width + 1)
    return x


@row_function
def point_at_rows(rows):
    """Pointers for the arrays of rows."""
    return RowPointers(ln.pointer(rows.indptr), ln.pointer(rows.indices), ln.pointer(rows.values))


@row_function
def point_at_tables(params, lanes, blocks):
    """Pointers for the tables of parameters.

    Where `blocks` says that a row of factors is one vector of lanes, that is known at compile time.
    """
    padded = len(lanes) if len(blocks) == 1 else params.padded_factors
    return TablePointers(
        ln.pointer(params.linear),
        np.intp(params.linear.shape[1]),
        ln.address_of(ln.pointer(params.factors), 0),
        np.intp(params.factors.shape[1] * ln.stored_bytes(lanes)),
        np.intp(padded * FLOAT_BYTES),
        np.intp(padded // len(lanes)),
        ln.pointer(params.inverse_scale),
        len(params.inverse_scale) > 0,
        None,
        ln.pointer_if_any(params.lookup),
    )


@row_function
def point_at_states(params, step, lanes, blocks):
    """`point_at_tables` for tables with the states of a rule, whose sizes the rule tells at compile time."""
    tables = point_at_tables(params, lanes, blocks)
    row_bytes = tables.state_bytes * (1 + factor_states(step))
    if factor_states(step) > 0:
        row_bytes = -(-row_bytes // STATE_ROW_BYTES) * STATE_ROW_BYTES
    return TablePointers(
        tables.linear,
        np.intp(linear_width(step)),
        tables.factors,
        np.intp(row_bytes),
        tables.state_bytes,
        tables.n_blocks,
        tables.inverse_scale,
        tables.scaled,
        ln.pointer_if_any(params.parts),
        None,
    )


@row_function
def pairs_of(s, q):
    """Σ (s² - q) of wide lanes; NaN where float32 would not hold the squares.

    Of the difference of such numbers rounding leaves nothing in float64 either: they are scored in one place, see
    `model.score.exact_score`.
    """
    squares, own = ln.sum_lanes(ln.multiply(s, s)), ln.sum_lanes(q)
    if not squares + own <= _LARGEST:
        return np.nan
    return squares - own


@row_function
def value_at(rows, tables, p):
    """The value x of non-zero `p`, in the units its column is trained in."""
    if ln.all_ones(rows.values):
        return np.float32(1.0)
    x = ln.at(rows.values, p)
    if tables.scaled:
        x *= ln.at(tables.inverse_scale, np.intp(ln.at(rows.indices, p)))
    return x
