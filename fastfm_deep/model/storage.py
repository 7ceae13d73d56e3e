"""Storages: the numbers in which a model file holds factors, and which features it leaves out.

A *storage* is "float32"; "bfloat16", the upper half of a float32, which NumPy takes for uint16 as it has no such
type; or "int8", integers from -127 to 127 and one scale a row. All work goes by blocks of rows, so that a large
table never has a second copy in float32.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

STORAGES = ("float32", "bfloat16", "int8")
STORED_DTYPES: dict[str, np.dtype[Any]] = {
    "float32": np.dtype(np.float32),
    "bfloat16": np.dtype(np.uint16),
    "int8": np.dtype(np.int8),
}
"""What NumPy takes each storage for."""

_BLOCK = 1 << 18  # numbers: the arrays of a block stay in the cache
_LARGEST = 127  # symmetric, so that a scale is all that a row needs
LARGEST_SCALE = np.nextafter(np.finfo(np.float32).max / np.float32(_LARGEST), np.float32(0.0))
"""Of a row of int8: whatever it is multiplied by, the number is finite."""
_LARGEST_BFLOAT16 = np.uint32(0x7F7F)  # the largest finite one; also with the sign bit of a negative one
_SIGN = np.uint32(0x8000)


def _blocks(n_rows: int, width: int) -> Iterator[slice]:
    step = max(1, _BLOCK // max(1, width))
    return (slice(first, min(first + step, n_rows)) for first in range(0, n_rows, step))


def to_bfloat16(factors: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Round to the nearest bfloat16, to the even one of two: at most 1/256 of a number is lost.

    Parameters
    ----------
    factors : float32 array (n, k)

    Returns
    -------
    uint16 array (n, k)
        Finite where the number is: one beyond the largest bfloat16, 3.39e38, becomes that.
    """
    out = np.empty(factors.shape, np.uint16)
    for rows in _blocks(*factors.shape):
        bits = np.ascontiguousarray(factors[rows], np.float32).view(np.uint32)
        upper = bits >> np.uint32(16)
        magnitude = bits & np.uint32(0x7FFFFFFF)
        rounded = (bits + np.uint32(0x7FFF) + (upper & np.uint32(1))) >> np.uint32(16)
        # Rounded up beyond the largest, a number would be infinite; infinity itself stays, NaN stays one.
        finite = magnitude < np.uint32(0x7F800000)
        overflown = finite & ((rounded & np.uint32(0x7FFF)) > _LARGEST_BFLOAT16)
        rounded = np.where(overflown, (upper & _SIGN) | _LARGEST_BFLOAT16, rounded)
        out[rows] = np.where(magnitude > np.uint32(0x7F800000), upper | np.uint32(0x40), rounded)
    return out


def from_bfloat16(stored: NDArray[np.uint16], out: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
    """The numbers that a bfloat16 array stands for, exactly.

    Parameters
    ----------
    stored : uint16 array (n, k)
    out : float32 array (n, k), optional
        Where to write them; views of wider tables too.

    Returns
    -------
    float32 array (n, k), `out` if given
    """
    found = np.empty(stored.shape, np.float32) if out is None else out
    for rows in _blocks(*stored.shape):
        found[rows] = (stored[rows].astype(np.uint32) << np.uint32(16)).view(np.float32)
    return found


def to_int8(factors: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Round to multiples of a scale of each row: no number is off by more than half of it.

    Parameters
    ----------
    factors : float32 array (n, k)

    Returns
    -------
    stored : int8 array (n, k), from -127 to 127
    scales : float32 array (n,)
        The largest absolute value of the row, divided by 127; 0 for a row of zeros. Not finite where that is not.
    """
    stored, scales = np.empty(factors.shape, np.int8), np.empty(len(factors), np.float32)
    for rows in _blocks(*factors.shape):
        block = factors[rows]
        exact = np.abs(block).max(axis=1, initial=0.0).astype(np.float64) / _LARGEST
        of_rows = exact.astype(np.float32)
        # Where scales are subnormal, they are coarse: one too small would cut the largest number of its row.
        short = (of_rows < np.finfo(np.float32).tiny) & (of_rows < exact)
        of_rows[short] = np.nextafter(of_rows[short], np.float32(np.inf))
        of_rows[np.isfinite(of_rows) & (of_rows > LARGEST_SCALE)] = LARGEST_SCALE
        scales[rows] = of_rows
        divisors = np.where((of_rows > 0.0) & np.isfinite(of_rows), of_rows, np.float32(np.inf))
        with np.errstate(invalid="ignore"):  # of numbers that are not finite
            multiples = np.nan_to_num(block / divisors[:, None], nan=0.0)
        stored[rows] = np.clip(np.rint(multiples), -_LARGEST, _LARGEST)
    return stored, scales


def from_int8(
    stored: NDArray[np.int8], scales: NDArray[np.float32], out: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """The numbers that int8 rows stand for: stored * scale.

    Parameters
    ----------
    stored : int8 array (n, k)
    scales : float32 array (n,)
    out : float32 array (n, k), optional
        Where to write them; views of wider tables too.

    Returns
    -------
    float32 array (n, k), `out` if given
    """
    found = np.empty(stored.shape, np.float32) if out is None else out
    for rows in _blocks(*stored.shape):
        np.multiply(stored[rows], scales[rows, None], out=found[rows], dtype=np.float32)
    return found


def write_dense(
    storage: str,
    stored: NDArray[Any],
    stored_linear: NDArray[np.float32],
    kept: NDArray[np.bool_] | None,
    factors: NDArray[np.float32],
    linear: NDArray[np.float32],
) -> None:
    """Write the stored rows to those of their features; others are left as they are.

    Parameters
    ----------
    storage : str
    stored : array (n_rows, n_factors) of `STORED_DTYPES[storage]`, or without rows if there are no factors
    stored_linear : float32 array (n_rows, 1), or (n_rows, 2) with a scale beside each weight
    kept : bool array (n_features,), or None
        The features whose rows are stored, from row 1 on; None: all, from row 0 on.
    factors, linear : float32 arrays (n_features, n_factors) and (n_features,)
        Where to write; views of wider tables too.
    """
    ids = None if kept is None else np.flatnonzero(kept)
    first = 0 if ids is None else 1
    for rows in _blocks(len(stored_linear) - first, stored.shape[1]):
        features: Any = rows if ids is None else ids[rows]
        source = slice(rows.start + first, rows.stop + first)
        linear[features] = stored_linear[source, 0]
        if not stored.shape[1]:
            continue
        part = stored[source]
        if storage == "bfloat16":
            part = from_bfloat16(part)
        elif storage == "int8":
            part = from_int8(part, stored_linear[source, 1])
        factors[features] = part


def reduced_tables(
    storage: str, factors: NDArray[np.float32], weights: NDArray[np.float32], kept: NDArray[np.bool_] | None
) -> tuple[NDArray[Any], NDArray[np.float32]]:
    """Tables as a file of this storage holds them; the inverse of `write_dense`.

    Parameters
    ----------
    storage : str
    factors : float32 array (n_features, n_factors), or without rows if there are no factors
    weights : float32 array (n_features,)
    kept : bool array (n_features,), or None to keep all
        With it a row of zeros comes first, for the features that are left out.

    Returns
    -------
    factors : array (n_rows, n_factors) of `STORED_DTYPES[storage]`, or (0, 0) without factors
    linear : float32 array (n_rows,); with int8 (n_rows, 2), a weight and the scale of its row side by side
        Side by side, because scoring touches both at once.
    """
    n_factors = factors.shape[1]
    ids = None if kept is None else np.flatnonzero(kept)
    first = 0 if ids is None else 1
    n_rows = first + (len(weights) if ids is None else len(ids))
    stored = np.zeros((n_rows if n_factors else 0, n_factors), STORED_DTYPES[storage])
    shape: tuple[int, ...] = (n_rows, 2) if storage == "int8" else (n_rows,)
    linear = np.zeros(shape, np.float32)
    of_weights = linear[:, 0] if storage == "int8" else linear
    for rows in _blocks(n_rows - first, n_factors):
        features: Any = rows if ids is None else ids[rows]
        target = slice(rows.start + first, rows.stop + first)
        of_weights[target] = weights[features]
        if not n_factors:
            continue
        if storage == "int8":
            stored[target], linear[target, 1] = to_int8(factors[features])
        else:
            stored[target] = to_bfloat16(factors[features]) if storage == "bfloat16" else factors[features]
    return stored, linear


def kept_features(
    factors: NDArray[np.float32],
    weights: NDArray[np.float32],
    scale: float,
    inverse_scale: NDArray[np.float32],
    bound: float,
) -> NDArray[np.bool_]:
    """Which features are worth keeping: those with a weight or factor beyond `bound`, as the user sees them.

    Parameters
    ----------
    factors : float32 array (n_features, n_factors), or without rows if there are no factors
    weights : float32 array (n_features,)
    scale : float
        Of the answers.
    inverse_scale : float32 array (n_features,), or (0,) where all are 1
    bound : float
        Compared with what `coef_` and `factors_` show: with it numbers are in the units of columns and answers.

    Returns
    -------
    bool array (n_features,)
        Where `bound` is 0, all that are not exactly 0, even if they are shown as 0.
    """
    kept = np.empty(len(weights), np.bool_)
    limit = np.float32(bound)  # as NumPy compares float32 with a number of Python
    parts = [(weights[:, None], np.float32(scale))]
    if factors.shape[1]:
        parts.append((factors, np.float32(math.sqrt(scale))))
    for rows in _blocks(len(weights), factors.shape[1]):
        found = np.zeros(rows.stop - rows.start, np.bool_)
        for numbers, unit in parts:
            shown = numbers[rows]
            if bound > 0.0:
                with np.errstate(over="ignore", under="ignore", invalid="ignore"):
                    shown = shown * unit
                    if len(inverse_scale):
                        shown *= inverse_scale[rows, None]
            found |= ~(np.abs(shown) <= limit).all(axis=1)  # not "greater": NaN is kept
        kept[rows] = found
    return kept
