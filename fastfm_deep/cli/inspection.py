"""The work of `fastfm-deep inspect`: what a model file holds, in short.

A *name* of a column is what its user calls it: the id in the text, a column of a DataFrame, or, with hashed ids,
its number.
"""

from __future__ import annotations

import math
import os
import textwrap
from collections.abc import Callable
from typing import Any

import numpy as np

from fastfm_deep import validation
from fastfm_deep.cli import models, strongest, texts
from fastfm_deep.cli.console import Console

_MOST = 10_000  # weights and pairs shown
_UNITS = ("B", "kB", "MB", "GB", "TB")


def run_inspection(path: str, top: int, console: Console) -> None:
    """Read a model and show what it is."""
    if validation.check_integer("top", top, minimum=0) > _MOST:
        raise validation.upper_bound_error("top", top, f"at most {_MOST}")
    texts.check_inputs([path])
    estimator = models.open_model(path)
    found = _description(estimator, path)
    model = estimator._model
    name = _names(estimator)
    fields = getattr(estimator, "fields_", None)
    weights = strongest.strongest_weights(estimator.coef_, model.occurs, top)
    pairs = strongest.Pairs([], True)
    if model.n_factors:
        scale = math.sqrt(model.scale)
        inverse_scale = model.params.inverse_scale
        pairs = strongest.strongest_pairs(
            model.params.factors[:, : model.n_factors],
            inverse_scale * np.float32(scale) if len(inverse_scale) else scale,
            model.occurs,
            top,
        )

    def features(columns: dict[str, int]) -> dict[str, Any]:
        named = {key: name(column) for key, column in columns.items()}
        if fields is None:
            return named
        return named | {f"{key}_field": int(fields.field_of_column[column]) for key, column in columns.items()}

    found["strongest_weights"] = [features({"id": item.column}) | {"weight": item.weight} for item in weights]
    found["strongest_pairs"] = [
        features({"id": item.first, "other_id": item.second}) | {"strength": item.strength} for item in pairs.pairs
    ]
    found["strongest_pairs_complete"] = pairs.is_complete
    console.show(_as_text(found))
    console.result(found)


def _names(estimator: Any) -> Callable[[int], int | str]:
    """What to call a column."""
    id_map = getattr(estimator, "id_map_", None)
    if id_map is None:
        known = getattr(estimator, "feature_names_in_", None)
        return (lambda column: column) if known is None else (lambda column: str(known[column]))
    if id_map.kind == "table" and len(id_map.ids):
        return lambda column: int(id_map.ids[column])
    return lambda column: column + id_map.base


def _description(estimator: Any, path: str) -> dict[str, Any]:
    model = estimator._model
    id_map, fields = getattr(estimator, "id_map_", None), getattr(estimator, "fields_", None)
    history = estimator.history_
    return {
        "path": path,
        "bytes": os.path.getsize(path),
        "class": type(estimator).__name__,
        "classes": estimator.classes_.tolist() if hasattr(estimator, "classes_") else None,
        "n_features": model.n_features,
        "n_features_that_occur": int(np.count_nonzero(model.occurs)),
        "n_factors": model.n_factors,
        "intercept": estimator.intercept_,
        "optimizer_states": model.rule,
        "ids": None if id_map is None else {"kind": id_map.kind, "base": id_map.base, "n_ids": len(id_map.ids)},
        "n_fields": None if fields is None else fields.n_fields,
        "hyper_parameters": _plain(estimator.get_params()),
        "n_epochs_trained": len(history),
        "best_epoch": estimator.best_epoch_,
        "best_score": estimator.best_score_,
        "last_epoch": history[-1] if history else None,
    }


def _plain(parameters: dict[str, Any]) -> dict[str, Any]:
    """Keys that JSON can hold: class weights are by label."""
    return {
        name: {str(key): item for key, item in value.items()} if isinstance(value, dict) else value
        for name, value in parameters.items()
    }


def _as_text(found: dict[str, Any]) -> str:
    lines = [f"{found['path']}: {found['class']}, {_size(found['bytes'])}"]
    lines += [f"  {name:<18}{value}" for name, value in _facts(found)]
    given = ", ".join(f"{name}={value}" for name, value in found["hyper_parameters"].items())
    wrapped = textwrap.wrap(given, 80, break_on_hyphens=False, break_long_words=False)
    lines += [f"  {'hyper-parameters' if not number else '':<18}{line}" for number, line in enumerate(wrapped)]
    if found["strongest_weights"]:
        lines += ["", "strongest linear weights", *_table(found["strongest_weights"], "weight")]
    if found["strongest_pairs"]:
        lines += ["", "strongest pairs of features", *_table(found["strongest_pairs"], "strength")]
    if not found["strongest_pairs_complete"]:
        lines.append(
            f"  (of the {strongest.MOST_FEATURES:,} features with the longest vectors of factors; others were not "
            "looked at, and may hold a stronger pair)"
        )
    return "\n".join(lines) + "\n"


def _facts(found: dict[str, Any]) -> list[tuple[str, str]]:
    facts = []
    if found["classes"] is not None:
        facts.append(("classes", ", ".join(map(str, found["classes"]))))
    facts += [
        ("features", f"{found['n_features']:,}, of which {found['n_features_that_occur']:,} occur in training"),
        ("factors", f"{found['n_factors']} a feature"),
        ("intercept", f"{found['intercept']:.6g}"),
        ("ids", _ids(found["ids"], found["n_features"])),
    ]
    if found["n_fields"] is not None:
        facts.append(("fields", f"{found['n_fields']:,}"))
    facts.append(("training", _training(found)))
    if found["optimizer_states"] is not None:
        facts.append(("optimizer", f"states of {found['optimizer_states']} are kept: training can go on"))
    return facts


def _ids(ids: dict[str, Any] | None, n_features: int) -> str:
    if ids is None:
        return "none: trained from Python"
    return {
        "offset": f"from {ids['base']} to {n_features + ids['base'] - 1:,}",
        "hash": f"hashed; what is shown as id is the hash, 0 .. {n_features - 1:,}",
        "table": f"a table of {ids['n_ids']:,}, each with a feature of its own",
    }[ids["kind"]]


def _training(found: dict[str, Any]) -> str:
    epochs, last = found["n_epochs_trained"], found["last_epoch"]
    text = f"{epochs} {'epoch' if epochs == 1 else 'epochs'}"
    if last is None:
        return text
    figures = ", ".join(
        f"{name.replace('eval_0_', 'valid ').replace('_', ' ')} {value:.5f}"
        for name, value in last.items()
        if (name == "train_loss" or name.startswith("eval_")) and value is not None
    )
    text += f" of {last['rows']:,} rows, the last with {figures}"
    if found["best_score"] is not None:
        text += f"; best epoch {found['best_epoch']}: {found['best_score']:.5f}"
    return text


def _size(n_bytes: int) -> str:
    power = min(len(_UNITS) - 1, int(math.log(max(1, n_bytes), 1000)))
    return f"{n_bytes / 1000**power:.{0 if not power else 1}f} {_UNITS[power]}"


def _table(rows: list[dict[str, Any]], last: str) -> list[str]:
    """Lines of a table; the last column is a number, signs below each other."""
    heads = [name for name in rows[0] if name != last]
    # id, its field, the other id, its field
    heads.sort(key=lambda name: ("other" in name, "field" in name))
    cells = [[str(row[name]) for name in heads] for row in rows]
    titles = [name.replace("_", " ").replace("id field", "field") for name in heads]
    widths = [
        max(10, len(title), *map(len, column))
        for title, column in zip(titles, zip(*cells, strict=True), strict=True)
    ]
    lines = [titles, *cells]
    ends = [f"{last:>14}", *(f"{row[last]:>+14.6g}" for row in rows)]
    return [
        "  " + "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) + end
        for line, end in zip(lines, ends, strict=True)
    ]
