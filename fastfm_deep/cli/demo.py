"""The work of `fastfm-deep demo`: made click data, two models compared, one saved, loaded and set to score.

The *gap* is what lies between the logloss of the linear model and that of the probabilities which the labels were
drawn with; no model can close more of it than all.
"""

from __future__ import annotations

import itertools
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from fastfm_deep import validation
from fastfm_deep.cli import chart, tables, texts
from fastfm_deep.cli.console import Console
from fastfm_deep.cli.score import answers
from fastfm_deep.cli.train import epoch_table, measure

_SHAPE = {"n_fields": 16, "n_features": 10_000}
# Smaller steps than the default: more epochs until the best one make a curve that can be looked at.
_SETTINGS: dict[str, Any] = {"learning_rate": 0.02, "l2_reg_factors": 1e-3, "early_stopping_rounds": 2}


class Made(NamedTuple):
    """Made rows in three parts, and what the truth behind their labels reaches."""

    train: texts.Rows
    valid: texts.Rows
    test: texts.Rows
    truth: dict[str, float]  # metrics on `test` of the probabilities its labels were drawn with
    reachable: float  # logloss of those on `valid`


def run_demo(
    n_rows: int,
    n_factors: int,
    n_epochs: int,
    out: str | None,
    n_jobs: int | None,
    random_state: int,
    console: Console,
) -> None:
    """Make data, train a linear model and a factorization machine, compare, save, load, score."""
    started = time.perf_counter()
    validation.check_integer("n_rows", n_rows, minimum=1000)
    validation.check_integer("n_factors", n_factors, minimum=1)
    validation.check_integer("random_state", random_state, minimum=0)
    if out is not None:
        texts.check_output(out, [])
    parameters = {"n_epochs": n_epochs, "n_jobs": n_jobs, "random_state": random_state}
    linear, machine = _new_estimator(0, parameters), _new_estimator(n_factors, parameters)
    console.show(f"Making {n_rows:,} rows of click data: {_SHAPE['n_fields']} fields, ")
    console.show(f"{_SHAPE['n_features']:,} features, labels from planted pairs of features ...\n")
    made = _make(n_rows, random_state)
    console.show("\nA linear model first (n_factors=0):\n\n")
    _fit(linear, made, console)
    console.show(f"\nNow a factorization machine (n_factors={n_factors}):\n\n")
    _fit(machine, made, console)
    console.show("\nLogloss on the validation rows, lower is better:\n\n")
    console.show(_curves({"linear model": linear, "factorization machine": machine}, made.reachable))
    metrics = {"linear": measure(linear, made.test), "machine": measure(machine, made.test), "truth": made.truth}
    closed = _closed(metrics)
    console.show(_comparison(metrics, made.test.X.shape[0], closed))
    equal = _save_and_load(machine, made.test, out, console)
    seconds = time.perf_counter() - started
    console.show(f"\nAll of it took {seconds:.1f} s.\n")
    console.result(
        {
            "n_rows": n_rows,
            "n_features": made.train.X.shape[1],
            "histories": {"linear": linear.history_, "machine": machine.history_},
            "metrics": metrics,
            "gap_closed": closed,
            "bit_equal": equal,
            "seconds": seconds,
            "out": out,
        }
    )
    if not equal:
        raise validation.FastFMError("The loaded model scores differently from the one that was saved.")


def _new_estimator(n_factors: int, parameters: dict[str, Any]) -> Any:
    from fastfm_deep.estimators.fm_classifier import FMClassifier

    estimator = FMClassifier(n_factors, eval_metric=["auc", "logloss"], **_SETTINGS, **parameters)
    estimator._check_hyperparameters()
    return estimator


def _make(n_rows: int, random_state: int) -> Made:
    """Eight tenths of the rows to train on, one to watch, one to measure on."""
    from fastfm_deep.datasets import make_ctr
    from fastfm_deep.training.metrics import METRICS

    X, y, _, p = make_ctr(n_rows, **_SHAPE, random_state=random_state, return_truth=True)
    ends = [0, n_rows * 8 // 10, n_rows * 9 // 10, n_rows]
    train, valid, test = (texts.Rows(X[a:b], y[a:b].astype(np.float64)) for a, b in itertools.pairwise(ends))
    raw = np.log(p / (1 - p))

    def measured(a: int, b: int) -> dict[str, float]:
        signs = np.where(y[a:b] == 1, 1.0, -1.0)
        return {name: METRICS[name].compute(signs, raw[a:b], None) for name in ("logloss", "auc", "accuracy")}

    return Made(train, valid, test, truth=measured(*ends[2:]), reachable=measured(*ends[1:3])["logloss"])


def _fit(estimator: Any, made: Made, console: Console) -> None:
    table = epoch_table(estimator, console, watched=True)
    try:
        estimator.fit(made.train.X, made.train.y, eval_set=[tuple(made.valid)], callbacks=[table])
    except KeyboardInterrupt:
        raise KeyboardInterrupt("interrupted; the demo saves nothing before its end") from None


def _curves(estimators: dict[str, Any], reachable: float) -> str:
    curves = {
        f"{name}, best {estimator.best_score_:.4f} in epoch {estimator.best_epoch_}": [
            record["eval_0_logloss"] for record in estimator.history_
        ]
        for name, estimator in estimators.items()
    }
    return chart.learning_curves(curves, {f"reachable, {reachable:.4f}": reachable}, signs=_signs())


def _closed(metrics: dict[str, dict[str, float]]) -> float | None:
    """Share of the gap that the machine closed; None where chance on a few rows leaves no gap."""
    linear, machine, truth = (metrics[name]["logloss"] for name in ("linear", "machine", "truth"))
    return (linear - machine) / (linear - truth) if linear > truth else None


def _comparison(metrics: dict[str, dict[str, float]], n_rows: int, closed: float | None) -> str:
    shown = {
        "linear model": metrics["linear"],
        "factorization machine": metrics["machine"],
        "reachable": metrics["truth"],
    }
    table = tables.metrics_table({name: (n_rows, values) for name, values in shown.items()})
    linear, machine = metrics["linear"], metrics["machine"]
    if closed is None or closed <= 0:
        verdict = "So few rows do not tell pairs from chance: make more of them with --n-rows.\n"
    else:
        verdict = (
            f"The factorization machine gains {linear['logloss'] - machine['logloss']:.4f} in logloss and "
            f"{machine['auc'] - linear['auc']:.4f} in AUC over the linear model:\n"
            f"{100 * closed:.0f} % of the way to what the best of models can reach.\n"
        )
    return f"\nOn the test rows, which no model has seen:\n\n{table}\n{verdict}"


def _save_and_load(machine: Any, rows: texts.Rows, out: str | None, console: Console) -> bool:
    """Whether a model that went through a file scores as before, to the last bit."""
    from fastfm_deep.estimators.saved import load_model

    machine.text_base_ = 1  # so that `fastfm-deep score` takes the model
    before = answers(machine, rows.X)
    with _model_path(out) as path:
        machine.save(path)
        n_bytes = os.path.getsize(path)
        loaded = load_model(path)
    started = time.perf_counter()
    after = answers(loaded, rows.X)
    seconds = time.perf_counter() - started
    equal = np.array_equal(before, after)
    verdict = "the scores are bit-equal" if equal else "THE SCORES DIFFER"
    rate = tables.short_count(len(after) / max(seconds, 1e-9))
    where = f" to {out}" if out else ""
    console.show(
        f"\nSaved{where} ({n_bytes / 1e6:.2f} MB), loaded and scored {len(after):,} rows "
        f"({rate} rows/s): {verdict}.\n"
    )
    return equal


@contextmanager
def _model_path(out: str | None) -> Iterator[str]:
    if out is not None:
        yield out
        return
    with tempfile.TemporaryDirectory(prefix="fastfm_deep_") as folder:
        yield os.path.join(folder, "model.safetensors")


def _signs() -> chart.Signs:
    """Unicode where standard output can show it."""
    try:
        "".join(chart.UNICODE).encode(getattr(sys.stdout, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return chart.ASCII
    return chart.UNICODE
