"""What a DeepFM's hyper-parameters stand for where they are None, and whether the network has room."""

from __future__ import annotations

from typing import Any

from fastfm_deep import validation
from fastfm_deep.data.memory import free_memory
from fastfm_deep.nn.shape import MLPShape

# `learning_rate=None`, by optimizer of the tables, with a network; and without one, as of `FMClassifier`.
_TABLE_RATES = {"adagrad": 0.1, "adagrad_rowwise": 0.1, "sgd": 0.07, "adam": 0.001, "ftrl": 0.07}
_FM_RATE = 0.07

# `dnn_learning_rate=None`, where the tables have another optimizer, whose rate says nothing of the network's.
_NETWORK_RATES = {"adam": 0.001, "adagrad": 0.02, "sgd": 0.01}

# `batch_size=None`: of many rows the largest, of few so many that an epoch has updates enough.
_BATCH_SIZES = (8, 256)
_LEAST_UPDATES = 64


def table_rate(estimator: Any) -> Any:
    """Step size of the tables of a DeepFM, from its hyper-parameters."""
    if estimator.learning_rate is not None:
        return estimator.learning_rate
    # An unknown optimizer is refused by name elsewhere.
    return _TABLE_RATES.get(estimator.optimizer, _FM_RATE) if len(estimator.dnn_hidden_units) else _FM_RATE


def network_rate(estimator: Any) -> float:
    """Step size of the network of a DeepFM, from its hyper-parameters."""
    if estimator.dnn_learning_rate is not None:
        return float(estimator.dnn_learning_rate)
    if estimator.learning_rate is not None and estimator.dnn_optimizer == estimator.optimizer:
        return float(estimator.learning_rate)
    return _NETWORK_RATES[estimator.dnn_optimizer]


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
