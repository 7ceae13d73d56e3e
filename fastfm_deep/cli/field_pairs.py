"""The work of `fastfm-deep inspect --pairs`: how strongly fields interact, in a model or on given rows.

An *order* is what the options say.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastfm_deep import validation
from fastfm_deep.cli import frames, inspection, models, texts
from fastfm_deep.cli.console import Console
from fastfm_deep.cli.heat_map import heat_map, shades
from fastfm_deep.model.explanation import Groups, MeanSizes, ModelExplanation, named_parts, shortened

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastfm_deep.data.rows import CsrRows

_NAME_WIDTH = 40


class Order(NamedTuple):
    """What to look at, and by what."""

    model: str
    top: int
    data: str | None
    base: str | None
    format: str
    text_options: Sequence[str]
    """Of the options, those given that are about text."""


class _Pair(NamedTuple):
    """Two groups, by their numbers."""

    first: int
    second: int
    strength: float


def run_pairs(order: Order, console: Console) -> None:
    """Read a model, and rows if there are any, and show which fields act together."""
    inspection.check_top(order.top)
    if order.base is not None:
        validation.check_choice("base", order.base, ["0", "1"])
    texts.check_inputs([order.model] + ([] if order.data is None else [order.data]))
    is_table = order.data is not None and frames.is_table(order.data)
    estimator = models.open_model(order.model)
    if order.data is not None:
        models.check_kind(estimator, order.model, order.data, is_table)
        if is_table:
            models.refuse_text_options(order.text_options, order.data)
    groups = _groups(estimator, order.model)
    found: dict[str, Any] = {
        "path": order.model,
        "class": type(estimator).__name__,
        "n_factors": estimator._model.n_factors,
        "fields": list(groups.names),
    }
    if order.data is None:
        _show_strengths(order, estimator, groups, found, console)
    else:
        _show_sizes(order, estimator, groups, found, console)


def _groups(estimator: Any, path: str) -> Groups:
    from fastfm_deep.estimators.explaining import MOST_FEATURES, field_groups, groups_for

    model = estimator._model
    if field_groups(estimator, model) is None and model.n_features > MOST_FEATURES:
        raise validation.ungrouped_model_error(path, model.n_features, MOST_FEATURES)
    groups = groups_for(estimator, model)
    if getattr(estimator, "id_map_", None) is None or getattr(estimator, "fields_", None) is not None:
        return groups
    name = inspection.names_of(estimator)
    return groups._replace(names=tuple(f"id {name(feature)}" for feature in range(model.n_features)))


def _show_strengths(order: Order, estimator: Any, groups: Groups, found: dict[str, Any], console: Console) -> None:
    from fastfm_deep.model.interactions import interaction_strengths

    model = estimator._model
    names, strengths = interaction_strengths(model, groups)
    pairs = _strongest(strengths, order.top)
    found["strengths"] = strengths.tolist()
    found["strongest_pairs"] = [
        {"field": names[pair.first], "other_field": names[pair.second], "strength": pair.strength}
        for pair in pairs
    ]
    lines = [
        f"{order.model}: {found['class']}, {model.n_factors} factors",
        "  strength of two fields: the root mean square of what a feature of one and a feature of the other, both",
        "  at value 1, add to the raw score together"
        + (", without the network" if model.deep is not None else ""),
    ]
    if not strengths.any():
        lines += ["", "no two fields interact"]
    if pairs:
        lines += ["", "strongest pairs of fields", *_pair_table(names, pairs)]
    drawn = heat_map(names, strengths, shades())
    console.show("\n".join([*lines, *_titled("all pairs of fields", drawn)]) + "\n")
    console.result(found)


def _show_sizes(order: Order, estimator: Any, groups: Groups, found: dict[str, Any], console: Console) -> None:
    sizes, unknown = _sizes(order, estimator, groups)
    data = texts.names_of([str(order.data)])
    if not sizes.n_rows:
        raise validation.no_rows_error(data)
    if unknown.n_unknown:
        console.note(texts.unknown_note(unknown.n_unknown, unknown.n_known, [str(order.data)]))
    found |= {
        "data": order.data,
        "n_rows": sizes.n_rows,
        "n_unknown": unknown.n_unknown,
        "linear": sizes.linear.tolist(),
        "pairs": sizes.pairs.tolist(),
        "network": sizes.deep,
        "largest": [
            {"part": name, "mean_absolute_contribution": value}
            for name, value in sorted(named_parts(sizes), key=lambda part: -part[1])[: order.top]
        ],
    }
    lines = [f"{order.model}: {found['class']}, on {data}"]
    if order.top:
        lines += ["", *sizes.to_text(order.top).splitlines()]
    drawn = heat_map(sizes.names, np.maximum(sizes.pairs, sizes.pairs.T), shades())
    console.show("\n".join([*lines, *_titled("pairs of fields", drawn)]) + "\n")
    console.result(found)


class _Unknown(NamedTuple):
    """Counts of values of text by whether the model knows their ids."""

    n_known: int = 0
    n_unknown: int = 0


def _sizes(order: Order, estimator: Any, groups: Groups) -> tuple[ModelExplanation, _Unknown]:
    """Contributions over all rows of the data, read part by part."""
    found, unknown = MeanSizes(estimator._model, groups), _Unknown()
    if hasattr(estimator, "encoder_"):
        for rows in _table_rows(order, estimator):
            found.add(rows)
        return found.mean(), unknown
    chunks = texts.chunks_for(
        models.id_map_of(estimator, order.model, order.base),
        str(order.data),
        format=order.format,
        unknown_ids="ignore",
    )
    with closing(chunks):
        for chunk in chunks:
            if chunk.X.shape[0]:
                found.add(estimator._read_rows(chunk.X, reset=False))
            unknown = _Unknown(unknown.n_known + chunk.X.nnz, unknown.n_unknown + chunk.n_unknown)
    return found.mean(), unknown


def _table_rows(order: Order, estimator: Any) -> Iterator[CsrRows]:
    from fastfm_deep.data.table import as_table

    path, first = str(order.data), 0
    for frame, columns in frames.chunks_as(path, models.families_of_model(estimator), frames.CHUNK_ROWS):
        if frame.num_rows:
            with frames.about(path, first):
                rows = estimator._read_rows(as_table(columns), reset=False)
            yield rows
        first += frame.num_rows


def _strongest(strengths: NDArray[np.float64], n: int) -> list[_Pair]:
    """The strongest of a symmetric matrix, each pair once."""
    first, second = np.nonzero(np.triu(strengths))
    values = strengths[first, second]
    order = np.argsort(-values, kind="stable")[:n]
    return [_Pair(int(first[at]), int(second[at]), float(values[at])) for at in order]


def _pair_table(names: Sequence[str], pairs: Sequence[_Pair]) -> list[str]:
    cells = [
        (shortened(names[pair.first], _NAME_WIDTH), shortened(names[pair.second], _NAME_WIDTH)) for pair in pairs
    ]
    heads = ("field", "other field")
    left, right = (max(map(len, column)) for column in zip(heads, *cells, strict=True))
    lines = [f"  {heads[0]:>{left}}  {heads[1]:>{right}}{'strength':>14}"]
    return lines + [
        f"  {one:>{left}}  {other:>{right}}{pair.strength:>14.6g}"
        for (one, other), pair in zip(cells, pairs, strict=True)
    ]


def _titled(title: str, lines: list[str]) -> list[str]:
    return ["", title, *lines] if lines else []
