"""The options of `fastfm-deep evaluate`."""

from __future__ import annotations

from typing import Annotated

import typer

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

SHORT = "Measure a model on labelled text files."
EXAMPLES = examples(
    "fastfm-deep evaluate model.safetensors test.txt",
    "fastfm-deep evaluate model.safetensors part1.txt part2.txt --json",
)


def evaluate(
    model: ModelFile,
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE", help="Text files of labelled rows, measured together; - for standard input."
        ),
    ],
    unknown_ids: UnknownIds = "ignore",
    base: ModelBase = None,
    format: Format = "auto",
    n_jobs: Jobs = None,
    config: Config = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Measure how well a model predicts the labels of text files.

    Two classes: logloss, normalized entropy (logloss divided by that of the base rate), AUC, accuracy, Brier
    score, and how well probabilities are calibrated, in ten bins of rows with similar ones. Numbers: RMSE, MAE,
    MSE and R2.
    """
    with outcome(debug):
        from fastfm_deep.cli.evaluate import Order, run_evaluation

        order = Order(model, files, unknown_ids, base, format, n_jobs)
        run_evaluation(order, Console(quiet, as_json))
