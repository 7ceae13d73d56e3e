"""What is said of networks that cannot be built."""

from __future__ import annotations

from typing import Any

from fastfm_deep.validation.errors import InputError, TableTooLargeError


def hidden_units_error(value: Any) -> InputError:
    """Say what hidden units may be."""
    return InputError(
        f"dnn_hidden_units={value!r} must be a sequence of the widths of the hidden layers, as (64, 32); () for a "
        "plain factorization machine."
    )


def dropout_error(value: float) -> InputError:
    """Say that no output would be left."""
    return InputError(f"dnn_dropout={value} must be below 1: it is the share of the outputs that are dropped.")


def single_row_norm_error() -> InputError:
    """Say that one row has no statistics."""
    return InputError(
        "batch_size=1 leaves dnn_batch_norm=True without statistics; use larger micro-batches, or "
        "dnn_batch_norm=False."
    )


def no_input_error(units: tuple[int, ...]) -> InputError:
    """Say that a network without factors has no inputs."""
    return InputError(
        f"n_factors=0 leaves the network (dnn_hidden_units={units}) without inputs; use n_factors of at least 1, "
        "or dnn_hidden_units=()."
    )


def changed_network_error(given: tuple[int, ...], trained: tuple[int, ...]) -> InputError:
    """Say that training cannot go on with another network."""
    return InputError(
        f"dnn_hidden_units={given}, dnn_activation, dnn_batch_norm or fields differ from those of the model that "
        f"training goes on with (dnn_hidden_units={trained}); set them back, or fit anew with warm_start=False."
    )


def network_too_large_error(n_inputs: int, units: tuple[int, ...], n_bytes: int, free: int) -> TableTooLargeError:
    """Say that a network would not fit into memory."""
    return TableTooLargeError(
        f"A network of {n_inputs} inputs (fields · n_factors) and dnn_hidden_units={units} needs "
        f"{n_bytes / 1e9:.1f} GB to be trained, and {free / 1e9:.1f} GB are free; use fewer fields (fields=None "
        "feeds it with vectors of the whole row), fewer units, or a smaller batch_size."
    )
