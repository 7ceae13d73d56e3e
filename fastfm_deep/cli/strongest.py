"""The strongest linear weights and pairs of a model, found without looking at all pairs.

The strength of a pair (i, j) is <v_i, v_j>, what two features at value 1 add to the raw score together. It is at
most |v_i| |v_j|, so that with features sorted by norm the search ends once this bound falls below the pairs found.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Features with the largest norms whose pairs are looked at; more would take more than seconds.
MOST_FEATURES = 16_384

_ROWS = 65_536  # of the table of factors, brought into the caller's units at a time
_BLOCK = 256  # features that are multiplied with the others at a time


class Weight(NamedTuple):
    """A column and its linear weight."""

    column: int
    weight: float


class Pair(NamedTuple):
    """Two columns and the product of their factors."""

    first: int
    second: int
    strength: float


class Pairs(NamedTuple):
    """The strongest pairs; `is_complete` tells whether a stronger one can have been missed."""

    pairs: list[Pair]
    is_complete: bool


def strongest_weights(coef: NDArray[np.float32], occurs: NDArray[Any], n: int) -> list[Weight]:
    """The `n` columns that occur with the largest absolute weights, the strongest first."""
    size = np.where(occurs > 0, np.abs(coef), np.float32(-1))
    n = min(n, int(np.count_nonzero(occurs)))
    if n < 1:
        return []
    found = np.argpartition(-size, n - 1)[:n]
    found = found[np.lexsort((found, -size[found]))]
    return [Weight(int(column), float(coef[column])) for column in found]


def strongest_pairs(
    factors: NDArray[np.float32], scale: NDArray[np.float32] | float, occurs: NDArray[Any], n: int
) -> Pairs:
    """The `n` pairs of different columns that occur with the largest absolute strengths, the strongest first.

    Parameters
    ----------
    factors : float32 array (n_features, n_factors)
        A view will do; it is not copied as a whole.
    scale : float32 array (n_features,), or a number
        What the factors of a column are multiplied by.
    occurs : array (n_features,)
    n : int
    """
    columns, norms, largest_left_out = _by_norm(factors, scale, occurs)
    if n < 1 or len(columns) < 2:
        return Pairs([], True)
    scales = np.broadcast_to(np.asarray(scale, np.float32), len(factors))
    chosen = factors[columns] * scales[columns, None]
    best: list[tuple[float, int, int, float]] = []  # a heap, the weakest pair first
    for start in range(0, len(columns) - 1, _BLOCK):
        least = best[0][0] if len(best) == n else 0.0
        # The first of the block, which is the longest, times the first one that may be its partner.
        if norms[start] * norms[start + 1] <= least:
            break
        end = min(start + _BLOCK, len(columns))
        limit = max(end, int(np.searchsorted(-norms, -least / norms[start])))
        products = chosen[start:end] @ chosen[start:limit].T
        _keep_strongest(best, products, columns[start:end], columns[start:limit], n)
    least = best[0][0] if len(best) == n else 0.0
    pairs = sorted(best, key=lambda item: (-item[0], -item[1], -item[2]))
    is_complete = norms[0] * largest_left_out <= least
    return Pairs([Pair(-first, -second, strength) for _, first, second, strength in pairs], bool(is_complete))


def _by_norm(
    factors: NDArray[np.float32], scale: NDArray[np.float32] | float, occurs: NDArray[Any]
) -> tuple[NDArray[np.intp], NDArray[np.float64], float]:
    """Columns with the largest norms, these norms, and the largest one of all other columns."""
    norms = np.empty(len(factors), np.float32)
    for start in range(0, len(factors), _ROWS):
        rows = factors[start : start + _ROWS]
        np.sqrt(
            np.einsum("ij,ij->i", rows, rows, dtype=np.float64), out=norms[start : start + _ROWS], casting="unsafe"
        )
    norms *= np.float32(1 + 1e-6) * scale  # rounded up, so that the bound is one
    norms[occurs == 0] = -1
    n_columns = min(MOST_FEATURES, int(np.count_nonzero(norms > 0)))
    if not n_columns:
        return np.empty(0, np.intp), np.empty(0), 0.0
    # One more than are looked at, to know what is left out.
    chosen = np.argpartition(-norms, min(n_columns, len(norms) - 1))[: n_columns + 1]
    chosen = chosen[np.lexsort((chosen, -norms[chosen]))]
    left_out = max(0.0, float(norms[chosen[n_columns]])) if len(chosen) > n_columns else 0.0
    return chosen[:n_columns], norms[chosen[:n_columns]].astype(np.float64), left_out


def _keep_strongest(
    best: list[tuple[float, int, int, float]],
    products: NDArray[np.float32],
    rows: NDArray[np.intp],
    columns: NDArray[np.intp],
    n: int,
) -> None:
    """Take from a block of products, whose row i stands at its column i, what is stronger than the weakest."""
    strengths = np.triu(np.abs(products), k=1)
    least = best[0][0] if len(best) == n else 0.0
    places = np.flatnonzero(strengths > least)
    if len(places) > n:
        found = strengths.reshape(-1)[places]
        places = places[np.argpartition(-found, n - 1)[:n]]
    for place in places.tolist():
        i, j = divmod(place, products.shape[1])
        first, second = sorted((int(rows[i]), int(columns[j])))
        item = (float(strengths[i, j]), -first, -second, float(products[i, j]))
        if len(best) < n:
            heapq.heappush(best, item)
        else:
            heapq.heappushpop(best, item)
