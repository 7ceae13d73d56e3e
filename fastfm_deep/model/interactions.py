"""The strength of interactions between groups of features, from the factors alone.

The *strength* of two groups is the root mean square of <v_i, v_j> over all pairs of a feature of one and a feature
of the other: what two features at value 1 add to the raw score together, up to its sign.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastfm_deep.model.explanation import Groups
    from fastfm_deep.model.params import FMModel

_ROWS = 65_536  # of the table of factors, looked at at a time


class InteractionStrengths(NamedTuple):
    """Strengths of interaction; see `interaction_strengths`.

    Attributes
    ----------
    names : tuple of str (n_groups,)
    strengths : float64 array (n_groups, n_groups)
        Symmetric.
    """

    names: tuple[str, ...]
    strengths: NDArray[np.float64]


def interaction_strengths(model: FMModel, groups: Groups) -> InteractionStrengths:
    """Strengths of all pairs of groups.

    Every feature that occurred in training counts alike, however often it did. With G_a = Σ v_i v_iᵀ over the
    features of group a, the sum of all <v_i, v_j>² of two groups is trace(G_a G_b), so that no pair is looked at
    by itself.

    Within a group pairs of different features count; it is 0 for groups that are not known to have several
    features in one row.
    """
    n_groups, k = len(groups.names), model.n_factors
    if not k:
        return InteractionStrengths(groups.names, np.zeros((n_groups, n_groups)))
    columns = np.flatnonzero((model.occurs > 0) & (groups.of_feature >= 0))
    of_column = groups.of_feature[columns]
    columns = columns[np.argsort(of_column, kind="stable")]
    counts = np.bincount(of_column, minlength=n_groups).astype(np.float64)
    ends = np.cumsum(counts).astype(np.int64)
    grams, fourth_powers = np.zeros((n_groups, k, k)), np.zeros(n_groups)
    for group in range(n_groups):
        first = int(ends[group] - counts[group])
        for start in range(first, int(ends[group]), _ROWS):
            factors = _factors(model, columns[start : min(start + _ROWS, int(ends[group]))])
            grams[group] += factors.T @ factors
            fourth_powers[group] += (np.einsum("ij,ij->i", factors, factors) ** 2).sum()
    flat = grams.reshape(n_groups, k * k)
    squares, n_pairs = flat @ flat.T, np.outer(counts, counts)
    diagonal = np.arange(n_groups)
    squares[diagonal, diagonal] -= fourth_powers  # a feature forms no pair with itself
    n_pairs[diagonal, diagonal] -= counts
    squares[diagonal, diagonal] *= groups.mixes & (counts > 1)
    strengths = model.scale * np.sqrt(np.maximum(squares, 0.0) / np.maximum(n_pairs, 1.0))
    return InteractionStrengths(groups.names, strengths)


def _factors(model: FMModel, columns: NDArray[np.intp]) -> NDArray[np.float64]:
    """Factors of some columns, in the units of the caller's columns."""
    params = model.params
    factors = params.factors[columns, : model.n_factors].astype(np.float64)
    if len(params.inverse_scale):
        factors *= params.inverse_scale[columns, None]
    return factors
