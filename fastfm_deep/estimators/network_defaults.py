"""What a DeepFM's hyper-parameters stand for where they are None, and whether the network has room."""

from __future__ import annotations

from fastfm_deep import validation
from fastfm_deep.data.memory import free_memory
from fastfm_deep.nn.mlp import MLPShape

RATES = {"adam": 0.001, "adagrad": 0.02, "sgd": 0.01}
"""`dnn_learning_rate=None`, where the tables have another optimizer, whose rate says nothing of the network's."""

# `batch_size=None`: of many rows the largest, of few so many that an epoch has updates enough.
_BATCH_SIZES = (32, 256)
_LEAST_UPDATES = 64


def batch_rows(batch_size: int | None, n_rows: int) -> int:
    """Rows of a micro-batch of data of `n_rows`."""
    if batch_size is None:
        least, most = _BATCH_SIZES
        batch_size = min(max(n_rows // _LEAST_UPDATES, least), most)
    return int(min(batch_size, n_rows))


def check_room_for_network(shape: MLPShape, batch_size: int) -> None:
    """Refuse a network that cannot fit into memory, before anything is allocated."""
    # Weights, gradient, two states and a copy; activations and their gradients of a micro-batch.
    width = shape.n_inputs + sum(shape.hidden_units)
    n_bytes = 4 * (5 * shape.n_parameters + 4 * batch_size * width)
    free = free_memory()
    if n_bytes > free:
        raise validation.network_too_large_error(shape.n_inputs, shape.hidden_units, n_bytes, free)
