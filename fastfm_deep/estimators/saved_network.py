"""What a model file holds of a network: its shape in the header, its parameters and states as flat arrays."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from fastfm_deep.data.fields import FieldLayout
from fastfm_deep.model.deep import DeepPart
from fastfm_deep.nn.activations import ACTIVATIONS
from fastfm_deep.nn.mlp import MLPShape
from fastfm_deep.nn.optimizers import OPTIMIZERS, DenseOptimizer

if TYPE_CHECKING:
    from numpy.typing import NDArray

_STATE = "network_state_"


def put_network(
    deep: DeepPart, include_optimizer: bool, header: dict[str, Any], arrays: dict[str, NDArray[Any]]
) -> None:
    """Add a network to what is to be saved."""
    optimizer = deep.optimizer if include_optimizer else None
    header["network"] = {
        **deep.shape._asdict(),
        "with_fields": deep.layout is not None,
        "optimizer": None if optimizer is None else optimizer.name,
    }
    arrays["network_parameters"] = deep.parameters
    arrays["network_running"] = deep.running
    if optimizer is not None:
        arrays.update({_STATE + name: state for name, state in optimizer.states.items()})


def network_from(
    header: dict[str, Any], arrays: dict[str, NDArray[Any]], layout: FieldLayout | None
) -> DeepPart | None:
    """The network of a file, None where it holds none.

    Raises
    ------
    ValueError
        Header and arrays contradict each other.
    """
    if "network" not in header:
        if "network_parameters" in arrays:  # without it the scores would be those of another model
            raise ValueError("found parameters of a network, but not its shape")
        return None
    stored = dict(header["network"])
    with_fields, optimizer_name = stored.pop("with_fields"), stored.pop("optimizer")
    shape = MLPShape(**{**stored, "hidden_units": tuple(stored["hidden_units"])})
    n_vectors = 2 if not with_fields else -1 if layout is None else layout.n_fields
    is_sound = (
        all(type(size) is int and 0 < size < 2**31 for size in (shape.n_inputs, *shape.hidden_units))
        and len(shape.hidden_units) > 0
        and shape.activation in ACTIVATIONS
        and type(shape.batch_norm) is bool
        and isinstance(shape.dropout, float | int)
        and math.isfinite(shape.dropout)
        and 0.0 <= shape.dropout < 1.0
        and shape.n_inputs == n_vectors * header["n_factors"]
    )
    if not is_sound:
        raise ValueError(f"found a network of {shape}")
    deep = DeepPart(
        layout if with_fields else None,
        shape,
        _take(arrays, "network_parameters", shape.n_parameters),
        _take(arrays, "network_running", shape.n_running),
        None,
    )
    if optimizer_name is not None:
        if optimizer_name not in OPTIMIZERS:
            raise ValueError(f"found a network trained by {optimizer_name!r}")
        deep.optimizer = DenseOptimizer(optimizer_name, shape.n_parameters)
        for name, state in deep.optimizer.states.items():
            state[...] = _take(arrays, _STATE + name, len(state), state.dtype)
    return deep


def _take(arrays: dict[str, NDArray[Any]], name: str, size: int, dtype: Any = np.float32) -> NDArray[Any]:
    array = arrays[name]
    if array.shape != (size,) or array.dtype != np.dtype(dtype):
        raise ValueError(f"found {name} of shape {array.shape} and {array.dtype} instead of ({size},)")
    return array
