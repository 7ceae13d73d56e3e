"""The work of `fastfm-deep evaluate`: a model and labelled files in, figures out."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastfm_deep.cli import frames, texts
from fastfm_deep.cli.calibration import Bin, calibration
from fastfm_deep.cli.console import Console
from fastfm_deep.cli.labelled import Order, read_tables, read_texts
from fastfm_deep.cli.score import table_answers
from fastfm_deep.training import measures

if TYPE_CHECKING:
    from numpy.typing import NDArray


class _Answered(NamedTuple):
    """Labels, and what the model answers: raw scores or numbers."""

    y: NDArray[Any]
    answers: NDArray[np.float64]


def run_evaluation(order: Order, console: Console) -> None:
    """Score the rows of all files together and compare with their labels."""
    from fastfm_deep.estimators import targets

    started = time.perf_counter()
    order.check()
    estimator, are_tables = order.open_model()
    names = texts.names_of(order.files)
    found, n_unknown = (_of_tables if are_tables else _of_texts)(order, estimator, console)
    bins = []
    if hasattr(estimator, "classes_"):
        signs = targets.signs(found.y, estimator.classes_, f"labels of {names}")
        metrics, bins = measures.class_metrics(signs, found.answers), calibration(signs, found.answers)
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
    data, y = read_texts(order, estimator, console)
    is_binary = hasattr(estimator, "classes_")
    return _Answered(y, (estimator.decision_function if is_binary else estimator.predict)(data.X)), data.n_unknown


def _of_tables(order: Order, estimator: Any, console: Console) -> tuple[_Answered, int | None]:
    y, answers = [], []
    for path, columns, y_of_file in read_tables(order, estimator):
        y.append(y_of_file)
        with frames.about(path):
            answers.append(table_answers(estimator, columns, len(y_of_file), raw=True))
    return _Answered(np.concatenate(y), np.concatenate(answers)), None


def _figures(metrics: dict[str, float]) -> str:
    return "".join(f"  {name.replace('_', ' '):<20}{value:>12.6g}\n" for name, value in metrics.items())


def _calibration_table(bins: list[Bin]) -> str:
    lines = ["  calibration:    rows   predicted    observed"]
    lines += [f"  {found.n_rows:>18,}{found.predicted:>12.5f}{found.observed:>12.5f}" for found in bins]
    return "\n".join(lines) + "\n"
