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
    Target,
    UnknownIds,
    examples,
    options_given,
)

SHORT = "Measure a model on labelled tables or text files."
EXAMPLES = examples(
    "fastfm-deep evaluate model.safetensors test.parquet",
    "fastfm-deep evaluate model.safetensors test.csv --target clicked",
    "fastfm-deep evaluate model.safetensors test.txt",
    "fastfm-deep evaluate model.safetensors part1.txt part2.txt --json",
)


def evaluate(
    context: typer.Context,
    model: ModelFile,
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE", help="Files of labelled rows, measured together; - for text on standard input."
        ),
    ],
    target: Target = None,
    unknown_ids: UnknownIds = "ignore",
    base: ModelBase = None,
    format: Format = "auto",
    n_jobs: Jobs = None,
    config: Config = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Measure how well a model predicts the labels of files, tables or text as it was trained on.

    Two classes: logloss, normalized entropy (logloss divided by that of the base rate), AUC, accuracy, Brier
    score, and how well probabilities are calibrated, in ten bins of rows with similar ones. Numbers: RMSE, MAE,
    MSE and R2.

    Of tables the column that was the --target in training holds the labels. --unknown-ids, --base and --format are
    about text alone.
    """
    with outcome(debug):
        from fastfm_deep.cli.evaluate import run_evaluation
        from fastfm_deep.cli.labelled import Order

        text_options = options_given(context, ("unknown_ids", "base", "format"))
        order = Order(model, files, target, unknown_ids, base, format, n_jobs, text_options)
        run_evaluation(order, Console(quiet, as_json))
