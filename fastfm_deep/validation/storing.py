"""What is said of how a model is to be stored."""

from __future__ import annotations

import numbers
from typing import Any

from fastfm_deep.validation.errors import InputError

_MOST = 1e30  # as of other numbers


def check_prune(value: Any) -> float | None:
    """Return the bound of weights and factors that are left out, or raise an `InputError` that names the rule."""
    if value is None:
        return None
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not is_number or not 0 <= value <= _MOST:
        raise InputError(
            f"prune={value!r} must be a number from 0 to {_MOST:g}, which no weight or factor of a feature that "
            "is left out exceeds, or None to keep all features."
        )
    return float(value)


def optimizer_storage_error(dtype: str, prune: float | None) -> InputError:
    """Say that training cannot go on exactly from numbers that were rounded or left out."""
    given = f"dtype={dtype!r}" if prune is None else f"prune={prune!r}"
    return InputError(
        f"include_optimizer=True with {given}: the states of the optimizer belong to all features in full "
        "precision; save a file for training (dtype='float32', prune=None) and a smaller one without them."
    )


def infinite_factors_error(feature: int) -> InputError:
    """Say that factors cannot be stored as multiples of a scale."""
    return InputError(
        f"dtype='int8': factors of feature {feature} are no finite numbers, of which a scale could be made; save "
        "with dtype='float32', or train anew."
    )
