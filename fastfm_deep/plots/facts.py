"""What a model is, in short: the head of a report.

A *fact* is a name and what stands beside it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from fastfm_deep.plots.answers import name_of

_LISTED = 12
_LONGEST = 60  # characters of a name or value

_FEEDS = {True: "two vectors of the whole row", False: "a vector of each field"}


def facts_of(model: Any) -> list[tuple[str, str]]:
    """Names and values, for people."""
    inner, found = model._model, [("model", type(model).__name__)]
    if hasattr(model, "classes_"):
        first, second = (shortened(name_of(label)) for label in model.classes_)
        found.append(("classes", f"{first} and {second}; probabilities are those of {second}"))
    if getattr(model, "target_name_", None) is not None:
        found.append(("target", shortened(str(model.target_name_))))
    n_occur = int(np.count_nonzero(inner.occurs))
    found.append(("features", f"{inner.n_features:,}, of which {n_occur:,} occurred in training"))
    found.append(("fields", _fields(model)))
    found.append(("factors", f"{inner.n_factors:,} a feature" if inner.n_factors else "none: a linear model"))
    if inner.deep is not None:
        found.append(("network", _network(inner.deep)))
    found.append(("training", _training(model)))
    changed = changed_parameters(model)
    listed = ", ".join(f"{name}={value}" for name, value in changed.items())
    found.append(("hyper-parameters changed", listed or "none, all are at their defaults"))
    return found


def has_fields(model: Any) -> bool:
    """Whether it is known which features belong together."""
    return hasattr(model, "encoder_") or getattr(model, "fields_", None) is not None


def changed_parameters(model: Any) -> dict[str, str]:
    """Hyper-parameters that are not at their defaults; of fields and columns more is told elsewhere."""
    defaults = type(model)().get_params(deep=False)
    return {
        name: shortened(_shown(value))
        for name, value in model.get_params(deep=False).items()
        if name not in ("encoder", "fields") and not _same(value, defaults.get(name))
    }


def shortened(text: str) -> str:
    """Text that fits on a line or two, whatever a category is."""
    plain = "".join(sign if sign.isprintable() else "?" for sign in text)
    return plain if len(plain) <= _LONGEST else plain[: _LONGEST - 1] + "…"


def listed(names: Iterable[str]) -> str:
    """The first few of what may be many."""
    several = [shortened(name) for name in names]
    return ", ".join(several[:_LISTED] + (["…"] if len(several) > _LISTED else []))


def _same(value: Any, default: Any) -> bool:
    # A model file keeps tuples as lists.
    if isinstance(value, list | tuple) and isinstance(default, list | tuple):
        return list(value) == list(default)
    if isinstance(value, np.ndarray):
        return False
    return (
        value is default
        or (type(value) is type(default) and bool(value == default))
        or _same_number(value, default)
    )


def _same_number(value: Any, default: Any) -> bool:
    kinds = (int, float, np.integer, np.floating)
    is_number = isinstance(value, kinds) and not isinstance(value, bool)
    return is_number and isinstance(default, kinds) and not isinstance(default, bool) and bool(value == default)


def _shown(value: Any) -> str:
    if isinstance(value, np.generic):
        value = value.item()
    return ", ".join(map(str, value)).join("()") if isinstance(value, list | tuple) else str(value)


def _fields(model: Any) -> str:
    if hasattr(model, "encoder_"):
        names = [str(getattr(column, "name", column)) for column in model.encoder_.encoding_.columns]
        return f"{len(names):,}: {listed(names)}"
    layout = getattr(model, "fields_", None)
    return "not known" if layout is None else f"{layout.n_fields:,}"


def _network(deep: Any) -> str:
    shape = deep.shape
    widths = " → ".join(f"{width:,}" for width in (shape.n_inputs, *shape.hidden_units, 1))
    dropout = np.asarray(shape.dropout, float).ravel()
    extras = [str(shape.activation)]
    if dropout.any():
        extras.append("dropout " + " ".join(f"{rate:g}" for rate in dropout))
    if shape.batch_norm:
        extras.append("batch normalisation")
    return (
        f"{widths}, fed with {_FEEDS[deep.layout is None]}; {', '.join(extras)}; {shape.n_parameters:,} parameters"
    )


def _training(model: Any) -> str:
    history = getattr(model, "history_", [])
    text = f"{len(history):,} {'epoch' if len(history) == 1 else 'epochs'}"
    if not history:
        return text
    seconds = [record.get("seconds") for record in history]
    text += f" of {history[-1]['rows']:,} rows"
    if all(second is not None for second in seconds):
        text += f", {sum(seconds):.3g} s"
    if getattr(model, "best_score_", None) is not None:
        text += f"; the best is epoch {model.best_epoch_}"
    return text
