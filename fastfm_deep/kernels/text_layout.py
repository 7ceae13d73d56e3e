"""What Python and kernels both know of text: the rules of lines, the buffers of rows, how far reading has come.

Nothing here is compiled, so that a process can import what reads text without Numba.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PADDING = 16
"""Bytes that must lie behind a text: registers are loaded whole."""

LARGEST_FIELD = 2**31 - 2

# From here on a float64 rounds to a float32 that is infinite.
FLOAT32_BOUND = 2.0**128 - 2.0**103


class LineRules(NamedTuple):
    """What a line has to keep.

    Attributes
    ----------
    smallest_id, largest_id : int
    base : int
        What is taken off an id.
    leave_out : bool
        Pairs of larger ids are left out, no fault.
    unlabelled : bool
        Lines may come without a label.
    """

    smallest_id: int
    largest_id: int
    base: int
    leave_out: bool
    unlabelled: bool


class RowBuffers(NamedTuple):
    """Room for rows.

    Attributes
    ----------
    labels : float64 array
        NaN where there is none.
    ends : int64 array
        Where the pairs of each row end.
    columns : int64 array
    values : float32 array
    """

    labels: NDArray[np.float64]
    ends: NDArray[np.int64]
    columns: NDArray[np.int64]
    values: NDArray[np.float32]


class Progress(NamedTuple):
    """How far reading has come."""

    at: int  # the first byte that is not read yet, that of a line
    n_rows: int
    n_pairs: int
    n_lines: int
    n_left_out: int
    least: int  # the least id so far
    most: int
