"""The options of `fastfm-deep score`."""

from __future__ import annotations

from typing import Annotated

import typer

from fastfm_deep import validation
from fastfm_deep.cli.console import Console, outcome
from fastfm_deep.cli.options import (
    AsJson,
    Config,
    Debug,
    Format,
    Jobs,
    ModelBase,
    ModelFile,
    Quiet,
    UnknownIds,
    examples,
)

SHORT = "Score the rows of a text file."
EXAMPLES = examples(
    "fastfm-deep score model.safetensors test.txt --out scores.txt",
    "zcat clicks.gz | fastfm-deep score model.safetensors - | sort -gr | head",
    "fastfm-deep score model.safetensors test.txt --raw --unknown-ids=error",
)


def score(
    model: ModelFile,
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE", help="Text file of rows to score, - for standard input; labels may be absent."
        ),
    ],
    out: Annotated[
        str | None,
        typer.Option("--out", "-o", metavar="FILE", help="File to write; default, and -: standard output."),
    ] = None,
    raw: Annotated[
        bool,
        typer.Option("--raw/--no-raw", show_default=False, help="Raw scores (log-odds) instead of probabilities."),
    ] = False,
    unknown_ids: UnknownIds = "ignore",
    base: ModelBase = None,
    format: Format = "auto",
    n_jobs: Jobs = None,
    config: Config = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Score the rows of a text file, one number a line: the probability of the larger label, or the prediction.

    Ids become features as they did when the model was trained. An id unknown then adds nothing to the score of
    its row, and a note says how many there were; --unknown-ids=error forbids them.
    """
    with outcome(debug):
        from fastfm_deep.cli.score import Order, run_scoring

        target = None if out == "-" else out
        if as_json and target is None:
            raise validation.InputError("--json needs --out: both it and the scores would go to standard output.")
        order = Order(model, file, target, raw, unknown_ids, base, format, n_jobs)
        run_scoring(order, Console(quiet, as_json))
