"""The work of `fastfm-deep inspect`: what a model file holds, in short.

A *name* of a feature is what its user calls it: "city=Rome" of a table, the id in the text, a column of a
DataFrame, or, with hashed ids, its number.
"""

from __future__ import annotations

import math
import os
import textwrap
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from fastfm_deep import validation
from fastfm_deep.cli import encoded_columns, models, strongest, texts
from fastfm_deep.cli.console import Console

if TYPE_CHECKING:
    from fastfm_deep.data.fields import FieldLayout
    from fastfm_deep.model.deep import DeepPart

_MOST = 10_000  # weights and pairs shown
_LISTED = 12  # fields
_WIDEST = 40  # characters of a name
_FEEDS = {"fields": "a vector of each field", "the whole row": "two vectors of the whole row"}
_UNITS = ("B", "kB", "MB", "GB", "TB")


def run_inspection(path: str, top: int, console: Console) -> None:
    """Read a model and show what it is."""
    check_top(top)
    texts.check_inputs([path])
    estimator = models.open_model(path)
    found = _description(estimator, path)
    model = estimator._model
    name = names_of(estimator)
    # Names of features of a table tell the column.
    fields = None if hasattr(estimator, "encoder_") else getattr(estimator, "fields_", None)
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


def check_top(top: int) -> None:
    """See that so much can be shown."""
    if validation.check_integer("top", top, minimum=0) > _MOST:
        raise validation.upper_bound_error("top", top, f"at most {_MOST}")


def names_of(estimator: Any) -> Callable[[int], int | str]:
    """What to call a feature."""
    if hasattr(estimator, "encoder_"):
        names = estimator.encoder_.get_feature_names_out()
        return lambda column: str(names[column])
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
        "target": getattr(estimator, "target_name_", None),
        "columns": encoded_columns.described(estimator) if hasattr(estimator, "encoder_") else None,
        "n_fields": None if fields is None else fields.n_fields,
        "features_per_field": None if fields is None else _sizes(fields),
        "pooling": None if fields is None else list(fields.pooling or ("sum",) * fields.n_fields),
        "network": None if model.deep is None else _network(model.deep),
        "hyper_parameters": _plain(estimator.get_params(deep=False)),
        "n_epochs_trained": len(history),
        "best_epoch": estimator.best_epoch_,
        "best_score": estimator.best_score_,
        "last_epoch": history[-1] if history else None,
    }


def _sizes(fields: FieldLayout) -> list[int]:
    """How many features each field has."""
    with_field = fields.field_of_column[fields.field_of_column >= 0]
    sizes: list[int] = np.bincount(with_field, minlength=fields.n_fields).tolist()
    return sizes


def _network(deep: DeepPart) -> dict[str, Any]:
    shape = deep.shape
    return {
        "feeds_on": "the whole row" if deep.layout is None else "fields",
        "n_inputs": shape.n_inputs,
        "hidden_units": list(shape.hidden_units),
        "n_parameters": shape.n_parameters,
        "activation": shape.activation,
        "dropout": shape.dropout,
        "batch_norm": shape.batch_norm,
        "optimizer_states": None if deep.optimizer is None else deep.optimizer.name,
    }


def _plain(parameters: dict[str, Any]) -> dict[str, Any]:
    """What JSON can hold: class weights are by label, and of fields and columns more is told elsewhere."""
    return {
        name: {str(key): item for key, item in value.items()} if isinstance(value, dict) else value
        for name, value in parameters.items()
        if name != "fields" and (name != "encoder" or value is None)
    }


def _as_text(found: dict[str, Any]) -> str:
    lines = [f"{found['path']}: {found['class']}, {_size(found['bytes'])}"]
    lines += [f"  {name:<18}{value}" for name, value in _facts(found)]
    given = ", ".join(f"{name}={value}" for name, value in found["hyper_parameters"].items())
    wrapped = textwrap.wrap(given, 80, break_on_hyphens=False, break_long_words=False)
    lines += [f"  {'hyper-parameters' if not number else '':<18}{line}" for number, line in enumerate(wrapped)]
    if found["columns"] is not None:
        lines += ["", "columns", *encoded_columns.as_table(found["columns"])]
    apart = ", the network left out of account" if found["network"] is not None else ""
    named = found["columns"] is not None
    if found["strongest_weights"]:
        lines += ["", f"strongest linear weights{apart}", *_table(found["strongest_weights"], "weight", named)]
    if found["strongest_pairs"]:
        lines += ["", f"strongest pairs of features{apart}", *_table(found["strongest_pairs"], "strength", named)]
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
    if found["target"] is not None:
        facts.append(("target", found["target"]))
    facts += [
        ("features", f"{found['n_features']:,}, of which {found['n_features_that_occur']:,} occur in training"),
        ("factors", f"{found['n_factors']} a feature"),
        ("intercept", f"{found['intercept']:.6g}"),
    ]
    if found["columns"] is None:
        facts.append(("ids", _ids(found["ids"], found["n_features"])))
    if found["n_fields"] is not None and found["columns"] is None:
        facts.append(("fields", _fields(found)))
    network = found["network"]
    if network is not None:
        facts += _network_facts(network)
    facts.append(("training", _training(found)))
    if found["optimizer_states"] is not None:
        rules = found["optimizer_states"]
        if network is not None and network["optimizer_states"] is not None:
            rules += f" (network: {network['optimizer_states']})"
        facts.append(("optimizer", f"states of {rules} are kept: training can go on"))
    return facts


def _fields(found: dict[str, Any]) -> str:
    sizes, poolings = found["features_per_field"], found["pooling"]
    text = f"{found['n_fields']:,}, of {_listed(f'{size:,}' for size in sizes)} features"
    return text if set(poolings) <= {"sum"} else f"{text}; pooled by {_listed(poolings)}"


def _listed(items: Iterable[str]) -> str:
    """The first few of what may be many."""
    several = list(items)
    return ", ".join(several[:_LISTED] + (["..."] if len(several) > _LISTED else []))


def _network_facts(network: dict[str, Any]) -> list[tuple[str, str]]:
    widths = " -> ".join(f"{width:,}" for width in (network["n_inputs"], *network["hidden_units"], 1))
    layers = f"dropout {network['dropout']:g}, {'' if network['batch_norm'] else 'no '}batch normalisation"
    return [
        ("network", f"{widths}, fed with {_FEEDS[network['feeds_on']]}; {network['n_parameters']:,} parameters"),
        ("hidden layers", f"{network['activation']}, {layers}"),
    ]


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


def _table(rows: list[dict[str, Any]], last: str, named: bool = False) -> list[str]:
    """Lines of a table; the last column is a number, signs below each other."""
    heads = [name for name in rows[0] if name != last]
    # id, its field, the other id, its field
    heads.sort(key=lambda name: ("other" in name, "field" in name))
    cells = [[str(row[name]) for name in heads] for row in rows]
    cells = [[_shortened(cell) for cell in line] for line in cells]
    titles = [name.replace("_", " ").replace("id field", "field") for name in heads]
    if named:
        titles = [title.replace("id", "feature") for title in titles]
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


def _shortened(text: str) -> str:
    """A name that fits on a line, whatever a category is."""
    plain = "".join(sign if sign.isprintable() else "?" for sign in text)
    return plain if len(plain) <= _WIDEST else plain[: _WIDEST - 3] + "..."
