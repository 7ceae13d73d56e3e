"""What the kernel tests share: the tables of a kernel made from a reference model, and the way back.

Only the package's own tuples go into kernels here: Numba's cache names the classes it has seen, and the cache
of the package must not name one of the tests.
"""

from __future__ import annotations

import math

import numba
import numpy as np
from reference import ReferenceFM, Settings

from fastfm_deep.data.rows import CsrRows
from fastfm_deep.kernels import fm
from fastfm_deep.kernels._jit import BOUNDS_CHECKED
from fastfm_deep.kernels.losses import LOSS_IDS
from fastfm_deep.kernels.updates import RULES, Step
from fastfm_deep.model.params import Parameters, allocate, blocks_for, lanes_for
from fastfm_deep.training.fm_step import Targets

INTERPRETED = bool(numba.config.DISABLE_JIT)
LANES_RUN = not (INTERPRETED or BOUNDS_CHECKED)
N_FACTORS = (0, 1, 2, 3, 4, 5, 8, 12, 16, 17, 24, 32, 40)


def few(examples: int) -> int:
    """Hypothesis examples: fewer where every loop is interpreted."""
    return max(3, examples // 8) if INTERPRETED else examples


def tables_of(model: ReferenceFM, rule: str) -> Parameters:
    """float32 tables with the model's parameters and the states that `rule` starts from."""
    n_features, n_factors = model.factors.shape
    tables, start = allocate(n_features, n_factors, rule), RULES[rule].start
    if n_factors:  # the table of factors has no rows otherwise
        tables.factors[:, :n_factors] = model.factors
        tables.factors[:, tables.padded_factors :] = RULES[rule].factor_start
    tables.linear[:, 0] = model.weights
    tables.linear[:, 1:] = start
    tables.intercept[0] = model.intercept
    tables.intercept[1:] = start
    if model.inverse_scale is not None:
        tables = tables._replace(inverse_scale=model.inverse_scale.astype(np.float32))
    return tables


def copy_of(tables: Parameters) -> Parameters:
    return tables._replace(**{name: getattr(tables, name).copy() for name in tables._fields[:4]})


def step_of(settings: Settings, n_factors: int) -> Step:
    return Step(
        loss=LOSS_IDS[settings.loss],
        rule=RULES[settings.rule].marker,
        learning_rate=np.float32(settings.learning_rate),
        l2_linear=np.float32(settings.l2_linear),
        l2_factors=np.float32(settings.l2_factors),
        l1_linear=np.float32(settings.l1_linear),
        max_gradient=np.float32(settings.max_gradient),
        n_factors=np.float32(max(1, n_factors)),
    )


def targets_of(y, weight=None) -> Targets:
    return Targets(np.asarray(y, np.float64), np.asarray([] if weight is None else weight, np.float64))


def score(rows: CsrRows, tables: Parameters, score_rows=None) -> np.ndarray:
    """Call the kernel with read-only tables, as `raw_scores` does."""
    views = [array.view() for array in tables[:4]]
    for view in views:
        view.setflags(write=False)
    out = np.full(len(rows.indptr) - 1, np.nan)
    locked = Parameters(*views, tables.padded_factors)
    (score_rows or fm.score_rows)(
        rows, locked, lanes_for(tables.padded_factors), blocks_for(tables.padded_factors), out
    )
    return out


def fit(rows, targets, order, tables, settings, n_factors, *, span=None, tally=None, hot=None, fit_rows=None):
    """Call the kernel; returns the tally."""
    tally = np.zeros(2) if tally is None else tally
    order = np.asarray(order) if np.asarray(order).size else np.empty(0, np.int32)
    (fit_rows or fm.fit_rows)(
        rows,
        targets,
        order,
        span or (0, len(order)),
        int(np.diff(rows.indptr).max(initial=1)),
        tables,
        step_of(settings, n_factors),
        hot,
        lanes_for(tables.padded_factors),
        blocks_for(tables.padded_factors),
        tally,
    )
    return tally


def row_dicts(rows: CsrRows) -> list[dict[int, float]]:
    """The rows as the reference takes them."""
    spans = zip(rows.indptr[:-1], rows.indptr[1:], strict=True)
    return [{int(i): float(x) for i, x in zip(rows.indices[a:b], rows.values[a:b], strict=True)} for a, b in spans]


def random_rows(rng, n_rows=24, n_features=12, most=7, index_dtype=np.int32) -> CsrRows:
    """Rows with up to `most` entries in any order, some of them zero; the first and the last row are empty."""
    lengths = rng.integers(0, most + 1, n_rows)
    lengths[[0, -1]] = 0
    columns = [rng.permutation(n_features)[:length] for length in lengths]
    values = rng.integers(-6, 7, lengths.sum()).astype(np.float32) / 4
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    return read_only(CsrRows(indptr, np.concatenate(columns).astype(index_dtype), values))


def read_only(rows: CsrRows) -> CsrRows:
    """As the gate hands rows out."""
    for array in rows:
        array.setflags(write=False)
    return rows


def random_model(rng, n_features=12, n_factors=4, *, scaled=False) -> ReferenceFM:
    """Parameters that float32 holds exactly, so that reference and kernel start from the same numbers."""

    def draw(size, spread):
        return (spread * rng.standard_normal(size)).astype(np.float32).astype(np.float64)

    scale = 2.0 ** rng.integers(-3, 2, n_features) if scaled else None
    start = float(draw(1, 0.3)[0])
    return ReferenceFM(start, draw(n_features, 0.2), draw((n_features, n_factors), 0.2), scale)


def random_targets(rng, n_rows, loss, *, weighted=False) -> Targets:
    y = rng.choice([-1.0, 1.0], n_rows) if loss == "logistic" else rng.normal(0.0, 2.0, n_rows)
    return targets_of(y.astype(np.float32), rng.uniform(0.25, 2.0, n_rows) if weighted else None)


def assert_same_model(tables: Parameters, model: ReferenceFM, tolerance: float = 2e-5) -> None:
    """Parameters agree to `tolerance`, relative to a number's own size or 0.1, whichever is larger."""
    n_factors = model.factors.shape[1]
    pairs = {
        "intercept": (tables.intercept[0], model.intercept),
        "weights": (tables.linear[:, 0], model.weights),
    }
    if n_factors:
        pairs["factors"] = (tables.factors[:, :n_factors], model.factors)
    for name, (got, expected) in pairs.items():
        np.testing.assert_allclose(got, expected, rtol=tolerance, atol=0.1 * tolerance, err_msg=name)


def is_finite(tables: Parameters) -> bool:
    return all(math.isfinite(float(array.sum())) for array in tables[:4])
