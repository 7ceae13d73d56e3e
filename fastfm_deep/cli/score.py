"""The work of `fastfm-deep score`: a model and a text file in, one number a line out.

An *order* is what the options say.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import closing
from typing import TYPE_CHECKING, Any, NamedTuple

from fastfm_deep import validation
from fastfm_deep.cli import models, texts
from fastfm_deep.cli.console import Console, write_out

if TYPE_CHECKING:
    from fastfm_deep.data.text import TextData


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


class _Counts(NamedTuple):
    """What has been scored."""

    n_rows: int
    n_known: int  # values
    n_unknown: int


def run_scoring(order: Order, console: Console) -> None:
    """Score the rows of a file, and write the scores as they come; a file appears whole or not at all."""
    started = time.perf_counter()
    validation.check_choice("unknown_ids", order.unknown_ids, ["ignore", "error"])
    if order.base is not None:
        validation.check_choice("base", order.base, ["0", "1"])
    texts.check_inputs([order.model, order.file])
    if order.out is not None:
        texts.check_output(order.out, [order.model, order.file])
    estimator = models.open_model(order.model, order.n_jobs)
    chunks = texts.chunks_for(
        models.id_map_of(estimator, order.model, order.base),
        order.file,
        format=order.format,
        unknown_ids=order.unknown_ids,
        n_jobs=order.n_jobs,
    )
    counts = _write(order, estimator, chunks)
    if counts.n_unknown:
        console.note(texts.unknown_note(counts.n_unknown, counts.n_known, [order.file]))
    if order.out is None:
        return
    console.show(f"{counts.n_rows:,} rows scored, written to {order.out}\n")
    console.result(
        {
            "n_rows": counts.n_rows,
            "n_unknown": counts.n_unknown,
            "seconds": time.perf_counter() - started,
            "out": order.out,
        }
    )


def _write(order: Order, estimator: Any, chunks: Generator[TextData, None, None]) -> _Counts:
    from fastfm_deep.data.output import replace_file

    if order.out is None:
        try:
            return _score(estimator, chunks, order.raw, write_out)
        except KeyboardInterrupt:
            raise KeyboardInterrupt("interrupted; there are more rows than scores") from None
    with replace_file(order.out) as target:
        return _score(estimator, chunks, order.raw, lambda lines: target.write(lines.encode("ascii")))


def _score(
    estimator: Any, chunks: Generator[TextData, None, None], raw: bool, write: Callable[[str], object]
) -> _Counts:
    """Write the scores of one chunk before the next is read."""
    n_rows = n_known = n_unknown = 0
    with closing(chunks):
        for chunk in chunks:
            for lines in texts.score_lines(answers(estimator, chunk.X, raw)):
                write(lines)
            n_rows += chunk.X.shape[0]
            n_known += chunk.X.nnz
            n_unknown += chunk.n_unknown
    return _Counts(n_rows, n_known, n_unknown)


def answers(estimator: Any, X: Any, raw: bool = False) -> Any:
    """One number for each row: the probability of the second class, the raw score or the prediction."""
    if not hasattr(estimator, "predict_proba"):
        return estimator.predict(X)
    return estimator.decision_function(X) if raw else estimator.predict_proba(X)[:, 1]
