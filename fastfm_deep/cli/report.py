"""The work of `fastfm-deep report`: a model and labelled files in, a page to look at out."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import scipy.sparse

from fastfm_deep.cli import frames, texts
from fastfm_deep.cli.console import Console
from fastfm_deep.cli.labelled import Order, read_tables, read_texts

if TYPE_CHECKING:
    from numpy.typing import NDArray


class _Rows(NamedTuple):
    """Rows of all files together, and their labels."""

    X: Any  # CSR
    y: NDArray[Any]
    n_unknown: int | None = None  # values


def run_report(order: Order, out: str, title: str | None, console: Console) -> None:
    """Read the rows of all files, and write a page about what the model makes of them."""
    from fastfm_deep.estimators import targets
    from fastfm_deep.plots import canvas
    from fastfm_deep.plots.report import report

    started = time.perf_counter()
    canvas.matplotlib()
    order.check()
    texts.check_output(out, [order.model, *order.files])
    estimator, are_tables = order.open_model()
    names = texts.names_of(order.files)
    rows = (_of_tables if are_tables else _of_texts)(order, estimator, console)
    if hasattr(estimator, "classes_"):
        targets.signs(rows.y, estimator.classes_, f"labels of {names}")
    shown = f"{os.path.basename(order.model)} on {names}" if title is None else title
    page = report(estimator, rows.X, rows.y, out, title=shown)
    n_bytes = os.path.getsize(page)
    console.show(f"{len(rows.y):,} rows of {names}: report of {n_bytes / 1000:,.0f} kB written to {out}\n")
    console.result(
        {
            "out": out,
            "bytes": n_bytes,
            "n_rows": len(rows.y),
            "n_unknown": rows.n_unknown,
            "seconds": time.perf_counter() - started,
        }
    )


def _of_texts(order: Order, estimator: Any, console: Console) -> _Rows:
    data, y = read_texts(order, estimator, console)
    return _Rows(data.X, y, data.n_unknown)


def _of_tables(order: Order, estimator: Any, console: Console) -> _Rows:
    from fastfm_deep.data.table import as_table

    y, parts = [], []
    for path, columns, y_of_file in read_tables(order, estimator):
        y.append(y_of_file)
        with frames.about(path):
            parts.append(estimator.encoder_.transform(as_table(columns)))
    return _Rows(parts[0] if len(parts) == 1 else scipy.sparse.vstack(parts, format="csr"), np.concatenate(y))
