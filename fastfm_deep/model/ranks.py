"""Rankings: which of some rows have the highest scores."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Ranking(NamedTuple):
    """The best items of one user, the best first: places int64 (n,), raw scores float64 (n,)."""

    places: NDArray[np.int64]
    raw: NDArray[np.float64]


def best_of(scores: NDArray[np.float64], n: int) -> Ranking:
    """The `n` highest scores; of equal ones those that stand first."""
    n = min(n, len(scores))
    if n < len(scores):
        least = np.partition(scores, len(scores) - n)[len(scores) - n]
        places = np.flatnonzero(scores >= least)
    else:
        places = np.arange(len(scores))
    places = places[np.lexsort((places, -scores[places]))[:n]]
    return Ranking(places, scores[places])
