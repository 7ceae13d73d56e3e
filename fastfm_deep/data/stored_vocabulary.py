"""Vocabularies out of files: what must hold of their arrays before kernels trust them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastfm_deep.data.keys import KINDS
from fastfm_deep.data.values import BIG_INT, BOOL, BYTES, FLOAT, MISSING, TEXT

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastfm_deep.data.vocabulary import Contents

# Texts that are looked through at a time.
_BLOCK = 1 << 16


def check_contents(contents: Contents) -> None:
    """See that each key lies within the data and is what its kind says.

    Raises
    ------
    ValueError
        One is not.
    """
    n = len(contents.kinds)
    for array, dtype, shape, name in (
        (contents.data, np.uint8, contents.data.shape[:1], "data"),
        (contents.offsets, np.int64, (n + 1,), "offsets"),
        (contents.kinds, np.uint8, (n,), "kinds"),
        (contents.counts, np.int64, (n,), "counts"),
    ):
        if array.dtype != dtype or array.shape != shape:
            raise ValueError(f"found {name} of shape {array.shape} and {array.dtype}")
    lengths = np.diff(contents.offsets)
    ends = int(contents.offsets[0]), int(contents.offsets[-1])
    if ends != (0, len(contents.data)) or lengths.min(initial=0) < 0:
        raise ValueError(f"found offsets from {ends[0]} to {ends[1]} of {len(contents.data)} bytes")
    if contents.counts.min(initial=0) < 0:
        raise ValueError("found a negative count")
    _check_kinds(contents, lengths)


def _check_kinds(contents: Contents, lengths: NDArray[np.int64]) -> None:
    kinds = contents.kinds
    if not np.isin(kinds, KINDS).all():
        raise ValueError(f"found a category of kind {int(kinds[~np.isin(kinds, KINDS)][0])}")
    expected = np.where(kinds == MISSING, 0, 8)
    of_any_length = np.isin(kinds, (TEXT, BYTES, BIG_INT))
    if (lengths != expected)[~of_any_length].any():
        raise ValueError("found a number that is not of 8 bytes")
    if _words_of(contents, kinds == BOOL).max(initial=0) > 1:
        raise ValueError("found a truth value that is neither 0 nor 1")
    if np.isnan(_words_of(contents, kinds == FLOAT).view(np.float64)).any():
        raise ValueError("found NaN as a category")
    for at in np.flatnonzero(kinds == BIG_INT).tolist():
        digits = _piece(contents, at, at + 1)
        number = int(digits)
        if b"%d" % number != digits or -(2**63) <= number < 2**63:
            raise ValueError("found a large integer that is none")
    _check_texts(contents)


def _words_of(contents: Contents, chosen: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """The 8 bytes of each of the keys."""
    at = contents.offsets[:-1][chosen][:, None] + np.arange(8)
    return np.ascontiguousarray(contents.data[at]).view("<u8").reshape(-1)


def _check_texts(contents: Contents) -> None:
    """Many texts are decoded at once, which says of each that it is sound if none begins within a character."""
    is_text = contents.kinds == TEXT
    starts = contents.offsets[:-1][is_text & (np.diff(contents.offsets) > 0)]
    if (contents.data[starts] & 0xC0 == 0x80).any():
        raise ValueError("found text that is not in UTF-8")
    for first in range(0, len(is_text), _BLOCK):
        stop = min(first + _BLOCK, len(is_text))
        if is_text[first:stop].all():
            _piece(contents, first, stop).decode("utf-8", "surrogatepass")
        else:
            for at in (first + np.flatnonzero(is_text[first:stop])).tolist():
                _piece(contents, at, at + 1).decode("utf-8", "surrogatepass")


def _piece(contents: Contents, first: int, stop: int) -> bytes:
    data: Any = contents.data[contents.offsets[first] : contents.offsets[stop]]
    return bytes(data)
