"""What a model file holds of a network: its shape in the header, its parameters and states as flat arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastfm_deep.model.stored import require, take
from fastfm_deep.nn.optimizers import OPTIMIZERS, DenseOptimizer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastfm_deep.model.deep import DeepPart
    from fastfm_deep.model.stored import StoredNetwork

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


def optimizer_from(stored: StoredNetwork, arrays: dict[str, NDArray[Any]]) -> DenseOptimizer | None:
    """The optimizer of a network with the states that a file holds, None where it holds none.

    Raises
    ------
    ValueError, KeyError
        There is no such optimizer, or its states are missing or of another network.
    """
    if stored.optimizer_name is None:
        return None
    require(stored.optimizer_name in OPTIMIZERS, f"a network trained by {stored.optimizer_name!r}")
    optimizer = DenseOptimizer(stored.optimizer_name, stored.shape.n_parameters)
    for name, state in optimizer.states.items():
        state[...] = take(arrays, _STATE + name, state.shape, state.dtype)
    return optimizer
