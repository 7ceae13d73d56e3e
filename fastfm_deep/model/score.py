"""Scores: the raw answers of a model to many rows, computed on as many threads as they are worth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastfm_deep.data.rows import CsrRows, fold_ones
from fastfm_deep.kernels import fm
from fastfm_deep.model.deep import DeepScores, exact_deep_score
from fastfm_deep.model.params import FMModel, float64_rows, for_scoring, scoring_blocks, scoring_lanes
from fastfm_deep.model.shards import run_shards

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Multiplications worth a slice of work: a few hundredths of a second.
SLICE_WORK = 50_000_000


def work_per_row(rows: CsrRows, n_factors: int) -> float:
    """Rough multiplications that a mean row costs."""
    return 50.0 + len(rows.indices) / max(1, rows.n_rows) * (n_factors + 8)


def work_of_model(model: FMModel, rows: CsrRows) -> float:
    """The same with the network, where there is one."""
    return work_per_row(rows, model.n_factors) + (0.0 if model.deep is None else model.deep.work_per_row)


def raw_scores(model: FMModel, rows: CsrRows, n_threads: int = 1) -> NDArray[np.float64]:
    """What the tables say to each row, before `center`, `scale` and link function.

    Parameters
    ----------
    model : FMModel
    rows : CsrRows
        Columns within the width of the model.
    n_threads : int
        Threads to use, if there is work for them.

    Returns
    -------
    float64 array (n_rows,)
        Finite: rows whose values are too large for float32 arithmetic are computed again in float64.
    """
    params = for_scoring(model)
    lanes, blocks = scoring_lanes(params), scoring_blocks(params)
    if len(params.inverse_scale) == 0:
        rows = fold_ones(rows)
    out = np.empty(rows.n_rows, np.float64)
    deep = None if model.deep is None else DeepScores(model.deep, params, model.n_factors)

    def score(start: int, stop: int, thread: int) -> None:
        part = rows._replace(indptr=rows.indptr[start : stop + 1])
        if deep is None:
            fm.score_rows(part, params, lanes, blocks, out[start:stop])
        else:
            deep.compute(part, out[start:stop])

    slice_rows = max(1, int(SLICE_WORK / work_of_model(model, rows)))
    run_shards(score, rows.n_rows, slice_rows, n_threads)
    for row in np.flatnonzero(~np.isfinite(out)):
        out[row] = exact_score(model, rows, int(row))
    return out


def exact_score(model: FMModel, rows: CsrRows, row: int) -> float:
    """The score of one row in float64, for values that are too large for float32 arithmetic."""
    entries = slice(rows.indptr[row], rows.indptr[row + 1])
    columns, values = rows.indices[entries], rows.values[entries].astype(np.float64)
    columns, values = columns[values != 0.0], values[values != 0.0]
    params = model.params
    if len(params.inverse_scale):
        values *= params.inverse_scale[columns]
    linear, factors = float64_rows(params, columns, model.n_factors)
    raw = float(params.intercept[0]) + float(linear @ values)
    if model.n_factors:
        products = factors * values[:, None]
        raw += 0.5 * float((products.sum(axis=0) ** 2 - (products**2).sum(axis=0)).sum())
        if model.deep is not None:
            raw += exact_deep_score(model.deep, columns, products)
    return raw
