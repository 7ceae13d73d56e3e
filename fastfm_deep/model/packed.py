"""A network packed for scoring: its weights as `kernels.forward` reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastfm_deep.kernels._jit import BOUNDS_CHECKED, JIT_ENABLED
from fastfm_deep.kernels.activations import ACTIVATION_IDS
from fastfm_deep.kernels.forward import PACKED_UNITS, Packed
from fastfm_deep.kernels.network_layout import EPSILON
from fastfm_deep.nn.mlp import parts_of, running_parts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastfm_deep.model.deep import DeepPart
    from fastfm_deep.nn.shape import MLPShape

PACKS = JIT_ENABLED and not BOUNDS_CHECKED
"""Whether scores are computed from packed networks: these are for compiled code that goes by address."""

_ALIGN = 64
_ROWS = 4


def pack_network(deep: DeepPart, n_factors: int, padded_factors: int) -> Packed:
    """The network of a model whose field vectors have the padded width; batch normalisation becomes weights.

    With γ, β and the running mean m and variance v of a unit, γ (z - m) / √(v + ε) + β = a z + (β - a m).
    """
    shape = deep.shape
    parts = parts_of(shape, deep.parameters)
    pieces: list[NDArray[Any]] = []
    running = running_parts(shape, deep.running)
    for layer, n_units in enumerate(shape.hidden_units):
        weights = parts.weights[layer].astype(np.float64)
        shift = parts.vectors[layer][-1].astype(np.float64)
        if shape.batch_norm:
            mean, variance = next(running)
            factor = parts.vectors[layer][0] / np.sqrt(variance.astype(np.float64) + EPSILON)
            weights *= factor
            shift = shift - factor * mean
        if layer == 0:
            weights = _with_padding(weights, n_factors, padded_factors)
        n_padded = -(-n_units // PACKED_UNITS) * PACKED_UNITS
        pieces.append(_widened(weights, n_padded))
        pieces.append(_widened(shift.reshape(1, -1), n_padded))
    final = parts.weights[-1].reshape(1, -1)
    pieces.append(_widened(final, -(-final.size // PACKED_UNITS) * PACKED_UNITS))
    pieces.append(parts.bias.reshape(-1))
    n_inputs = shape.n_inputs // n_factors * padded_factors
    widths = np.array([n_inputs, *shape.hidden_units], np.int64)
    return Packed(_aligned(pieces), widths, ACTIVATION_IDS[shape.activation])


def first_shifts(packed: Packed) -> NDArray[np.float32]:
    """The shifts of the first layer, (padded units,)."""
    n_inputs, n_units = packed.widths[:2].tolist()
    n_padded = -(-n_units // PACKED_UNITS) * PACKED_UNITS
    return packed.weights[n_inputs * n_padded : (n_inputs + 1) * n_padded]


def forward_room(shape: MLPShape) -> NDArray[np.float32]:
    """Scratch for `kernels.forward.forward`."""
    most = max(-(-n_units // PACKED_UNITS) * PACKED_UNITS for n_units in shape.hidden_units)
    return np.zeros(2 * _ROWS * most, np.float32)


def _with_padding(weights: NDArray[np.float64], n_factors: int, padded_factors: int) -> NDArray[np.float64]:
    """Rows of zeros for the factors that only fill up a vector."""
    n_units = weights.shape[1]
    found = np.zeros((len(weights) // n_factors, padded_factors, n_units))
    found[:, :n_factors] = weights.reshape(-1, n_factors, n_units)
    return found.reshape(-1, n_units)


def _widened(rows: NDArray[Any], width: int) -> NDArray[np.float32]:
    found = np.zeros((len(rows), width), np.float32)
    found[:, : rows.shape[1]] = rows
    return found.reshape(-1)


def _aligned(pieces: list[NDArray[Any]]) -> NDArray[np.float32]:
    """All pieces one after the other, from the beginning of a cache line on: for speed only."""
    size = sum(piece.size for piece in pieces)
    flat = np.zeros(size + _ALIGN // 4, np.float32)
    first = (-flat.ctypes.data % _ALIGN) // 4
    found = flat[first : first + size]
    np.concatenate(pieces, out=found)
    return found
