"""The work of `fastfm-deep evaluate`: a model and labelled text files in, figures out.

An *order* is what the options say.
"""

from __future__ import annotations

import time
from typing import NamedTuple

from fastfm_deep import validation
from fastfm_deep.cli import measures, models, texts
from fastfm_deep.cli.console import Console


class Order(NamedTuple):
    """What to measure, and on what."""

    model: str
    files: list[str]
    unknown_ids: str
    base: str | None
    format: str
    n_jobs: int | None


def run_evaluation(order: Order, console: Console) -> None:
    """Score the rows of all files together and compare with their labels."""
    from fastfm_deep.estimators import targets

    started = time.perf_counter()
    validation.check_choice("unknown_ids", order.unknown_ids, ["ignore", "error"])
    if order.base is not None:
        validation.check_choice("base", order.base, ["0", "1"])
    texts.check_inputs([order.model, *order.files])
    names = texts.names_of(order.files)
    estimator = models.open_model(order.model, order.n_jobs)
    data = texts.read_for(
        models.id_map_of(estimator, order.model, order.base),
        order.files,
        format=order.format,
        unknown_ids=order.unknown_ids,
        n_jobs=order.n_jobs,
    )
    y = texts.labels_of(data, names)
    bins = []
    if hasattr(estimator, "classes_"):
        signs = targets.signs(y, estimator.classes_, f"labels of {names}")
        raw = estimator.decision_function(data.X)
        metrics, bins = measures.class_metrics(signs, raw), measures.calibration(signs, raw)
    else:
        metrics = measures.number_metrics(y, estimator.predict(data.X))
    if data.n_unknown:
        console.note(texts.unknown_note(data.n_unknown, data.X.nnz, order.files))
    console.show(f"{len(y):,} rows of {names}\n\n" + _figures(metrics))
    if bins:
        console.show("\n" + _calibration_table(bins))
    console.result(
        {
            "task": "binary" if bins else "regression",
            "n_rows": len(y),
            "n_unknown": data.n_unknown,
            "metrics": metrics,
            "calibration": [found._asdict() for found in bins] if bins else None,
            "seconds": time.perf_counter() - started,
        }
    )


def _figures(metrics: dict[str, float]) -> str:
    return "".join(f"  {name.replace('_', ' '):<20}{value:>12.6g}\n" for name, value in metrics.items())


def _calibration_table(bins: list[measures.Bin]) -> str:
    lines = ["  calibration:    rows   predicted    observed"]
    lines += [f"  {found.n_rows:>18,}{found.predicted:>12.5f}{found.observed:>12.5f}" for found in bins]
    return "\n".join(lines) + "\n"
