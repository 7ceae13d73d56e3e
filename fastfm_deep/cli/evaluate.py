"""The work of `fastfm-deep evaluate`: a model and labelled files in, figures out.

An *order* is what the options say.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastfm_deep import validation
from fastfm_deep.cli import frames, measures, models, texts
from fastfm_deep.cli.console import Console
from fastfm_deep.cli.score import table_answers

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Order(NamedTuple):
    """What to measure, and on what."""

    model: str
    files: list[str]
    target: str | None
    unknown_ids: str
    base: str | None
    format: str
    n_jobs: int | None
    text_options: Sequence[str]
    """Of the options, those given that are about text."""


class _Answered(NamedTuple):
    """Labels, and what the model answers: raw scores or numbers."""

    y: NDArray[Any]
    answers: NDArray[np.float64]


def run_evaluation(order: Order, console: Console) -> None:
    """Score the rows of all files together and compare with their labels."""
    from fastfm_deep.estimators import targets

    started = time.perf_counter()
    validation.check_choice("unknown_ids", order.unknown_ids, ["ignore", "error"])
    if order.base is not None:
        validation.check_choice("base", order.base, ["0", "1"])
    texts.check_inputs([order.model, *order.files])
    are_tables = frames.are_tables(order.files)
    names = texts.names_of(order.files)
    estimator = models.open_model(order.model, order.n_jobs)
    models.check_kind(estimator, order.model, order.files[0], are_tables)
    found, n_unknown = (_of_tables if are_tables else _of_texts)(order, estimator, console)
    bins = []
    if hasattr(estimator, "classes_"):
        signs = targets.signs(found.y, estimator.classes_, f"labels of {names}")
        metrics, bins = measures.class_metrics(signs, found.answers), measures.calibration(signs, found.answers)
    else:
        metrics = measures.number_metrics(found.y, found.answers)
    console.show(f"{len(found.y):,} rows of {names}\n\n" + _figures(metrics))
    if bins:
        console.show("\n" + _calibration_table(bins))
    console.result(
        {
            "task": "binary" if bins else "regression",
            "n_rows": len(found.y),
            "n_unknown": n_unknown,
            "metrics": metrics,
            "calibration": [found._asdict() for found in bins] if bins else None,
            "seconds": time.perf_counter() - started,
        }
    )


def _of_texts(order: Order, estimator: Any, console: Console) -> tuple[_Answered, int | None]:
    if order.target is not None:
        raise validation.table_option_error(["--target"], texts.names_of(order.files[:1]))
    data = texts.read_for(
        models.id_map_of(estimator, order.model, order.base),
        order.files,
        format=order.format,
        unknown_ids=order.unknown_ids,
        n_jobs=order.n_jobs,
    )
    y = texts.labels_of(data, texts.names_of(order.files))
    if data.n_unknown:
        console.note(texts.unknown_note(data.n_unknown, data.X.nnz, order.files))
    is_binary = hasattr(estimator, "classes_")
    return _Answered(y, (estimator.decision_function if is_binary else estimator.predict)(data.X)), data.n_unknown


def _of_tables(order: Order, estimator: Any, console: Console) -> tuple[_Answered, int | None]:
    from fastfm_deep.cli import labels

    models.refuse_text_options(order.text_options, order.files[0])
    target = order.target if order.target is not None else getattr(estimator, "target_name_", None)
    if target is None:
        raise validation.unknown_target_error(order.model)
    task = "binary" if hasattr(estimator, "classes_") else "regression"
    families = models.families_of_model(estimator)
    if target in families:
        raise validation.target_column_error(target, "the model")
    families[target] = labels.family_of_labels(estimator)
    for path in order.files:
        frames.check_names(path, frames.names_in(path), list(families))
    y, answers = [], []
    for path in order.files:
        columns = frames.read_as(path, families)
        y.append(labels.read_labels(columns.pop(target), path, target, task))
        with frames.about(path):
            answers.append(table_answers(estimator, columns, len(y[-1]), raw=True))
    found = _Answered(np.concatenate(y), np.concatenate(answers))
    if not len(found.y):
        raise validation.no_rows_error(texts.names_of(order.files))
    return found, None


def _figures(metrics: dict[str, float]) -> str:
    return "".join(f"  {name.replace('_', ' '):<20}{value:>12.6g}\n" for name, value in metrics.items())


def _calibration_table(bins: list[measures.Bin]) -> str:
    lines = ["  calibration:    rows   predicted    observed"]
    lines += [f"  {found.n_rows:>18,}{found.predicted:>12.5f}{found.observed:>12.5f}" for found in bins]
    return "\n".join(lines) + "\n"
