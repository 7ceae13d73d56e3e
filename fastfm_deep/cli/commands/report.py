"""The options of `fastfm-deep report`."""

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

SHORT = "Write a page about a model: curves, calibration, fields."
EXAMPLES = examples(
    "fastfm-deep report model.safetensors test.parquet",
    "fastfm-deep report model.safetensors test.csv --target clicked --out clicks.html",
    "fastfm-deep report model.safetensors part1.txt part2.txt --title Clicks --out clicks.html",
)


def report(
    context: typer.Context,
    model: ModelFile,
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE", help="Files of labelled rows, taken together; - for text on standard input."
        ),
    ],
    out: Annotated[str, typer.Option("--out", "-o", metavar="FILE", help="Page to write.")] = "report.html",
    title: Annotated[
        str | None, typer.Option(metavar="TEXT", help="What stands above it; default: the names of the files.")
    ] = None,
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
    """Write one HTML page, to be opened in a browser: what a model is, and how well it predicts labelled rows.

    It shows metrics, learning curves, ROC and calibration curves (numbers: true ones and residuals over predicted
    ones), the distribution of scores, the importance of fields and the strength of their interactions. The page
    needs no network, and can be read on a phone. Drawing needs matplotlib: pip install 'fastfm_deep[plot]'.

    Of tables the column that was the --target in training holds the labels. --unknown-ids, --base and --format are
    about text alone.
    """
    with outcome(debug):
        from fastfm_deep.cli.labelled import Order
        from fastfm_deep.cli.report import run_report

        text_options = options_given(context, ("unknown_ids", "base", "format"))
        order = Order(model, files, target, unknown_ids, base, format, n_jobs, text_options)
        run_report(order, out, title, Console(quiet, as_json))
