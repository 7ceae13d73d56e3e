"""Evaluation sets: what `eval_set` may be, and the metrics that go with a task."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastfm_deep import validation
from fastfm_deep.training.metrics import METRICS


def as_entries(eval_set: Any) -> list[tuple[Any, ...]]:
    """The evaluation sets one by one, each (X, y) or (X, y, sample_weight)."""
    if eval_set is None:
        return []
    if isinstance(eval_set, tuple) and len(eval_set) in (2, 3) and not isinstance(eval_set[0], tuple):
        entries = [eval_set]
    elif isinstance(eval_set, list | tuple):
        entries = list(eval_set)
    else:
        raise _entry_error("eval_set", eval_set)
    for number, entry in enumerate(entries):
        if not isinstance(entry, tuple | list) or len(entry) not in (2, 3):
            raise _entry_error(f"eval_set[{number}]", entry)
    return [tuple(entry) for entry in entries]


def _entry_error(name: str, entry: Any) -> validation.InputError:
    found = f"a {type(entry).__name__}" + (f" of {len(entry)}" if isinstance(entry, list | tuple) else "")
    return validation.InputError(
        f"{name} is {found}, but must be (X, y) or (X, y, sample_weight), or a list of such tuples."
    )


def choose_metrics(eval_metric: Any, task: str, default: str) -> tuple[str, ...]:
    """Names of the metrics to compute; the last of them decides early stopping."""
    if eval_metric is None:
        return (default,)
    names = [eval_metric] if isinstance(eval_metric, str) else eval_metric
    if not isinstance(names, list | tuple) or not names:
        raise validation.InputError(
            f"eval_metric={eval_metric!r} must be the name of a metric, or a list of names."
        )
    known = [name for name, metric in METRICS.items() if task in metric.tasks]
    for name in names:
        validation.check_choice("eval_metric", name, known, hint=f"These go with {task}.")
    return tuple(dict.fromkeys(names))


def named_errors(number: int, check: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Call a check of X; what it finds at fault is told of `eval_set[number]`."""
    try:
        return check(*arguments, **options)
    except validation.InputError as error:
        raise type(error)(f"eval_set[{number}]: {error}") from error
