"""The work of `fastfm-deep score`: a model and a file in, a score for each row out.

An *order* is what the options say.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from contextlib import closing
from typing import Any, NamedTuple

import numpy as np

from fastfm_deep import validation
from fastfm_deep.cli import frames, models, outputs, texts
from fastfm_deep.cli.console import Console
from fastfm_deep.cli.progress import Progress


class Order(NamedTuple):
    """What to score, with what, and where the scores go."""

    model: str
    file: str
    out: str | None
    raw: bool
    keep: Sequence[str]
    unknown_ids: str
    base: str | None
    format: str
    n_jobs: int | None
    text_options: Sequence[str]
    """Of the options, those given that are about text."""


class _Part(NamedTuple):
    """Rows that are scored together."""

    scores: Any
    kept: dict[str, Any]
    n_known: int = 0  # values
    n_unknown: int = 0


def run_scoring(order: Order, console: Console) -> None:
    """Score the rows of a file, and write the scores as they come; a file appears whole or not at all."""
    started = time.perf_counter()
    validation.check_choice("unknown_ids", order.unknown_ids, ["ignore", "error"])
    if order.base is not None:
        validation.check_choice("base", order.base, ["0", "1"])
    texts.check_inputs([order.model, order.file])
    outputs.check_keep(order.keep, order.out)
    if order.out is not None:
        texts.check_output(order.out, [order.model, order.file])
    is_table = frames.is_table(order.file)
    # Scores that run over a terminal show by themselves how far they are.
    progress = Progress("score", console.watched and (order.out is not None or not console.live))
    estimator = models.open_model(order.model, order.n_jobs)
    models.check_kind(estimator, order.model, order.file, is_table)
    if is_table:
        models.refuse_text_options(order.text_options, order.file)
        parts = _table_parts(order, estimator, progress)
    else:
        if order.keep:
            raise validation.table_option_error(["--keep"], texts.names_of([order.file]))
        parts = _text_parts(order, estimator, progress)
    n_rows, n_known, n_unknown = _write(order, parts, progress)
    if n_unknown:
        console.note(texts.unknown_note(n_unknown, n_known, [order.file]))
    if order.out is None:
        return
    console.show(f"{n_rows:,} rows scored, written to {order.out}\n")
    console.result(
        {
            "n_rows": n_rows,
            "n_unknown": None if is_table else n_unknown,
            "seconds": time.perf_counter() - started,
            "out": order.out,
        }
    )


def _text_parts(order: Order, estimator: Any, progress: Progress) -> Generator[_Part, None, None]:
    chunks = texts.chunks_for(
        models.id_map_of(estimator, order.model, order.base),
        order.file,
        format=order.format,
        unknown_ids=order.unknown_ids,
        n_jobs=order.n_jobs,
        on_read=progress.read,
    )
    return _scored_text(estimator, chunks, order.raw)


def _scored_text(estimator: Any, chunks: Any, raw: bool) -> Generator[_Part, None, None]:
    with closing(chunks):
        for chunk in chunks:
            yield _Part(answers(estimator, chunk.X, raw), {}, chunk.X.nnz, chunk.n_unknown)


def _table_parts(order: Order, estimator: Any, progress: Progress) -> Generator[_Part, None, None]:
    """Scores of a table, chunk by chunk; that it has all columns is seen before."""
    families = models.families_of_model(estimator)
    frames.check_names(order.file, frames.names_in(order.file), [*families, *order.keep])
    return _scored_table(order, estimator, families, progress)


def _scored_table(
    order: Order, estimator: Any, families: dict[str, str], progress: Progress
) -> Generator[_Part, None, None]:
    first = 0
    for frame, columns in frames.chunks_as(order.file, families, frames.CHUNK_ROWS, progress.read):
        for name in order.keep:
            if not outputs.can_be_written(frame.column(name).type):
                raise validation.kept_lists_error(order.file, name, str(frame.column(name).type))
        with frames.about(order.file, first):
            scores = table_answers(estimator, columns, frame.num_rows, order.raw)
        yield _Part(scores, {name: frame.column(name) for name in order.keep})
        first += frame.num_rows


def _write(order: Order, parts: Generator[_Part, None, None], progress: Progress) -> tuple[int, int, int]:
    """Write the scores of one part before the next is read; counts of rows, values and unknown ones."""
    n_rows = n_known = n_unknown = 0
    try:
        with closing(parts), outputs.opened(order.out) as write, progress:
            for part in parts:
                write(part.scores, part.kept)
                n_rows += len(part.scores)
                n_known += part.n_known
                n_unknown += part.n_unknown
                progress.add(len(part.scores))
    except KeyboardInterrupt:
        if order.out is None:
            raise KeyboardInterrupt("interrupted; there are more rows than scores") from None
        raise
    return n_rows, n_known, n_unknown


def table_answers(estimator: Any, columns: dict[str, Any], n_rows: int, raw: bool = False) -> Any:
    """One number for each row of a table, which may have none."""
    from fastfm_deep.data.table import as_table

    return answers(estimator, as_table(columns), raw) if n_rows else np.empty(0)


def answers(estimator: Any, X: Any, raw: bool = False) -> Any:
    """One number for each row: the probability of the second class, the raw score or the prediction."""
    if not hasattr(estimator, "predict_proba"):
        return estimator.predict(X)
    return estimator.decision_function(X) if raw else estimator.predict_proba(X)[:, 1]
