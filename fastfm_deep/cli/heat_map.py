"""A heat map drawn in characters: a matrix of pairs, the more ink the larger."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from fastfm_deep.model.explanation import shortened

if TYPE_CHECKING:
    from numpy.typing import NDArray

UNICODE = " ░▒▓█"
ASCII = " .:*#"
MOST = 20
"""Rows shown: with names they fit on a line of 100 characters."""

_NAME_WIDTH = 28
_CELL = 3


def shades() -> str:
    """Signs from none to most, in Unicode where standard output can show it."""
    try:
        UNICODE.encode(getattr(sys.stdout, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return ASCII
    return UNICODE


def heat_map(names: Sequence[str], values: NDArray[np.float64], signs: str = UNICODE) -> list[str]:
    """Lines of a map of the rows with the largest sums, the largest first.

    Parameters
    ----------
    names : sequence of str (n,)
    values : array (n, n)
        Symmetric, of at least 0.
    signs : str
        For 0, and for the shades between it and the largest value.
    """
    largest = float(values.max(initial=0.0))
    order = np.lexsort((np.arange(len(names)), -values.sum(axis=1)))[:MOST].tolist()
    if largest <= 0.0:
        return []
    levels = np.ceil(values / largest * (len(signs) - 1)).astype(int)
    shown = [shortened(names[at], _NAME_WIDTH) for at in order]
    width = max(map(len, shown))
    head = f"  {'':>{width + 4}}" + "".join(f"{number:>{_CELL}}" for number in range(1, len(order) + 1))
    lines = [
        f"  {name:>{width}} {number:>3}"
        + "".join(" " + signs[levels[at, other]] * (_CELL - 1) for other in order).rstrip()
        for number, (name, at) in enumerate(zip(shown, order, strict=True), 1)
    ]
    steps = [f"'{sign}' up to {largest * (at + 1) / (len(signs) - 1):.3g}" for at, sign in enumerate(signs[1:])]
    lines = [head.rstrip(), *lines, f"  {', '.join(steps)}"]
    if len(order) < len(names):
        lines.append(f"  the {len(order)} with the largest sums of {len(names):,} (--json has all)")
    return lines
