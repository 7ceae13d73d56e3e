"""The work of `fastfm-deep score`: a model and a text file in, one number a line out.

An *order* is what the options say.
"""

from __future__ import annotations

import time
from typing import Any, NamedTuple

from fastfm_deep import validation
from fastfm_deep.cli import models, texts
from fastfm_deep.cli.console import Console, write_out


class Order(NamedTuple):
    """What to score, with what, and where the scores go."""

    model: str
    file: str
    out: str | None
    raw: bool
    unknown_ids: str
    base: str | None
    format: str
    n_jobs: int | None


def run_scoring(order: Order, console: Console) -> None:
    """Score the rows of a file and write the scores, to a file at once or not at all."""
    started = time.perf_counter()
    validation.check_choice("unknown_ids", order.unknown_ids, ["ignore", "error"])
    if order.base is not None:
        validation.check_choice("base", order.base, ["0", "1"])
    texts.check_inputs([order.model, order.file])
    if order.out is not None:
        texts.check_output(order.out, [order.model, order.file])
    estimator = models.open_model(order.model, order.n_jobs)
    data = texts.read_for(
        models.id_map_of(estimator, order.model, order.base),
        [order.file],
        format=order.format,
        unknown_ids=order.unknown_ids,
        labels="optional",
        n_jobs=order.n_jobs,
    )
    scores = answers(estimator, data.X, order.raw)
    _write(order, scores)
    if data.n_unknown:
        console.note(texts.unknown_note(data.n_unknown, data.X.nnz, [order.file]))
    if order.out is None:
        return
    console.show(f"{len(scores):,} rows scored, written to {order.out}\n")
    console.result(
        {
            "n_rows": len(scores),
            "n_unknown": data.n_unknown,
            "seconds": time.perf_counter() - started,
            "out": order.out,
        }
    )


def _write(order: Order, scores: Any) -> None:
    from fastfm_deep.data.output import replace_file

    if order.out is None:
        for lines in texts.score_lines(scores):
            write_out(lines)
        return
    with replace_file(order.out) as target:
        for lines in texts.score_lines(scores):
            target.write(lines.encode("ascii"))


def answers(estimator: Any, X: Any, raw: bool = False) -> Any:
    """One number for each row: the probability of the second class, the raw score or the prediction."""
    if not hasattr(estimator, "predict_proba"):
        return estimator.predict(X)
    return estimator.decision_function(X) if raw else estimator.predict_proba(X)[:, 1]
