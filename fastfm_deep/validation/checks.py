"""Hyper-parameters and other single values: their rules, and what is said when one is broken."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable
from typing import Any

from fastfm_deep.validation.errors import DivergenceError, InputError, TableTooLargeError


def check_integer(name: str, value: Any, *, minimum: int) -> int:
    """Return `value` as an int, or raise an `InputError` that names the rule."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise InputError(f"{name}={value!r} must be an integer of at least {minimum}.")
    if value < minimum:
        raise InputError(f"{name}={value} must be at least {minimum}.")
    return int(value)


def check_real(
    name: str, value: Any, *, minimum: float = 0.0, above: bool = False, maximum: float = 1e30
) -> float:
    """Return `value` as a float of at least (`above=True`: greater than) `minimum`, at most `maximum`."""
    rule = f"{'greater than' if above else 'at least'} {minimum:g}"
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise InputError(f"{name}={value!r} must be a number {rule}.")
    number = float(value)
    if not math.isfinite(number):
        raise InputError(f"{name}={value!r} must be a finite number {rule}.")
    if number < minimum or (above and number == minimum):
        raise InputError(f"{name}={value!r} must be {rule}.")
    if number > maximum:
        raise InputError(f"{name}={value!r} must be at most {maximum:g}.")
    return number


def check_flag(name: str, value: Any) -> bool:
    """Return `value` if it is True or False (NumPy's too)."""
    if str(value) not in ("True", "False") or isinstance(value, str):
        raise InputError(f"{name}={value!r} must be True or False.")
    return bool(value)


def check_jobs(value: Any) -> int:
    """Return a number of threads, negative for one counted from the cores, or raise an `InputError`."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value == 0:
        raise InputError(f"n_jobs={value!r} must be an integer of at least 1, or -1 for all cores.")
    return int(value)


def check_choice(name: str, value: Any, choices: Iterable[str], *, hint: str = "") -> str:
    """Return `value` if it is one of `choices`, else raise an `InputError` that lists them."""
    known = list(choices)
    if not isinstance(value, str) or value not in known:
        listed = ", ".join(repr(choice) for choice in known)
        raise InputError(f"{name}={value!r} is unknown; use one of {listed}.{' ' + hint if hint else ''}")
    return value


def field_room_error(n_features: int, n_fields: int) -> InputError:
    """Say that there are fewer features than fields to hold them."""
    return InputError(
        f"n_features={n_features} must be at least n_fields={n_fields}, one feature a field; raise n_features "
        "or lower n_fields."
    )


def upper_bound_error(name: str, value: Any, rule: str) -> InputError:
    """Say that a number is too large; `rule` reads "must be ..."."""
    return InputError(f"{name}={value!r} must be {rule}.")


def seed_error(value: Any) -> InputError:
    """Say that a random_state cannot seed anything."""
    return InputError(
        f"random_state={value!r} must be None, an integer of at least 0, a numpy.random.Generator or a "
        "numpy.random.RandomState."
    )


def table_too_large_error(n_features: int, n_factors: int, n_bytes: int, free: int) -> TableTooLargeError:
    """Say how large the tables would be, and what makes them smaller."""
    return TableTooLargeError(
        f"n_features={n_features} with n_factors={n_factors} needs parameter tables of {n_bytes / 2**30:.3g} GiB, "
        f"but {free / 2**30:.3g} GiB of memory are free. Take fewer factors, hash the column ids into a smaller "
        "range (2**22 columns, for example), or number only the columns that occur."
    )


def divergence_error(
    epoch: int, train_loss: float, limit: float, null_loss: float, learning_rate: float, kept_epoch: int
) -> DivergenceError:
    """Say when training went astray, and with what learning rate to try again."""
    found = f"train_loss={train_loss:.4g}" if math.isfinite(train_loss) else "a loss that is no finite number"
    if train_loss <= limit:
        found = "parameters that are no finite numbers"
    weights = f"the weights of epoch {kept_epoch}" if kept_epoch else "the weights from before this fit"
    return DivergenceError(
        f"Training diverged in epoch {epoch}: {found} with learning_rate={learning_rate:g} (a constant answer "
        f"would lose {null_loss:.4g}); {weights} were put back. Try learning_rate={learning_rate / 10:g}, and "
        "scale columns or targets with extreme values down."
    )
