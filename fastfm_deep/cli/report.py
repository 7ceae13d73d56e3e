"""The work of `fastfm-deep report`: a model and labelled files in, a page to look at out.

An *order* is what the options say.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import scipy.sparse

from fastfm_deep import validation
from fastfm_deep.cli import frames, models, texts
from fastfm_deep.cli.console import Console

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Order(NamedTuple):
    """What to report on, and where the page goes."""

    model: str
    files: list[str]
    out: str
    title: str | None
    target: str | None
    unknown_ids: str
    base: str | None
    format: str
    n_jobs: int | None
    text_options: Sequence[str]
    """Of the options, those given that are about text."""


class _Rows(NamedTuple):
    """Rows of all files together, and their labels."""

    X: Any  # CSR
    y: NDArray[Any]
    n_unknown: int | None = None  # values


def run_report(order: Order, console: Console) -> None:
    """Read the rows of all files, and write a page about what the model makes of them."""
    from fastfm_deep.estimators import targets
    from fastfm_deep.plots import canvas
    from fastfm_deep.plots.report import report

    started = time.perf_counter()
    validation.check_choice("unknown_ids", order.unknown_ids, ["ignore", "error"])
    if order.base is not None:
        validation.check_choice("base", order.base, ["0", "1"])
    canvas.matplotlib()
    texts.check_inputs([order.model, *order.files])
    texts.check_output(order.out, [order.model, *order.files])
    are_tables = frames.are_tables(order.files)
    names = texts.names_of(order.files)
    estimator = models.open_model(order.model, order.n_jobs)
    models.check_kind(estimator, order.model, order.files[0], are_tables)
    rows = (_of_tables if are_tables else _of_texts)(order, estimator, console)
    if hasattr(estimator, "classes_"):
        targets.signs(rows.y, estimator.classes_, f"labels of {names}")
    title = f"{os.path.basename(order.model)} on {names}" if order.title is None else order.title
    page = report(estimator, rows.X, rows.y, order.out, title=title)
    n_bytes = os.path.getsize(page)
    console.show(f"{len(rows.y):,} rows of {names}: report of {n_bytes / 1000:,.0f} kB written to {order.out}\n")
    console.result(
        {
            "out": order.out,
            "bytes": n_bytes,
            "n_rows": len(rows.y),
            "n_unknown": rows.n_unknown,
            "seconds": time.perf_counter() - started,
        }
    )


def _of_texts(order: Order, estimator: Any, console: Console) -> _Rows:
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
    return _Rows(data.X, y, data.n_unknown)


def _of_tables(order: Order, estimator: Any, console: Console) -> _Rows:
    from fastfm_deep.cli import labels
    from fastfm_deep.data.table import as_table

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
    y, parts = [], []
    for path in order.files:
        columns = frames.read_as(path, families)
        y_of_file = labels.read_labels(columns.pop(target), path, target, task)
        if not len(y_of_file):
            continue
        y.append(y_of_file)
        with frames.about(path):
            parts.append(estimator.encoder_.transform(as_table(columns)))
    if not y:
        raise validation.no_rows_error(texts.names_of(order.files))
    return _Rows(parts[0] if len(parts) == 1 else scipy.sparse.vstack(parts, format="csr"), np.concatenate(y))
