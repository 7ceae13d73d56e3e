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
    Keep,
    ModelBase,
    ModelFile,
    Quiet,
    UnknownIds,
    examples,
    names_given,
    options_given,
)

SHORT = "Score the rows of a table or a text file."
EXAMPLES = examples(
    "fastfm-deep score model.safetensors new.csv --keep user,item --out scores.csv",
    "fastfm-deep score model.safetensors new.parquet --out scores.parquet",
    "fastfm-deep score model.safetensors test.txt --out scores.txt",
    "zcat clicks.gz | fastfm-deep score model.safetensors - | sort -gr | head",
    "fastfm-deep score model.safetensors test.txt --raw --unknown-ids=error",
)


def score(
    context: typer.Context,
    model: ModelFile,
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="Table of rows to score, or text, - for text on standard input; labels may be absent.",
        ),
    ],
    out: Annotated[
        str | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="File to write: a table with a column score if its name ends in .csv, .tsv or .parquet, else a "
            "number a line; default, and -: standard output.",
        ),
    ] = None,
    keep: Keep = None,
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
    """Score the rows of a file: the probability of the larger label, or the prediction.

    A model that was trained on tables scores tables (.csv, .tsv, .parquet) part by part, however large they are.
    Columns are found by name; others do not matter. What becomes of categories that training did not know was said
    when the model was trained. One that was trained on text scores text: ids become features as they did then. An
    id unknown then adds nothing to the score of its row, and a note says how many there were; --unknown-ids=error
    forbids them.

    What takes longer than a moment shows on a terminal how far it is, on standard error; --quiet forbids it.

    --unknown-ids, --base and --format are about text alone, --keep about tables.
    """
    with outcome(debug):
        from fastfm_deep.cli.score import Order, run_scoring

        target = None if out == "-" else out
        if as_json and target is None:
            raise validation.InputError("--json needs --out: both it and the scores would go to standard output.")
        order = Order(
            model=model,
            file=file,
            out=target,
            raw=raw,
            keep=list(dict.fromkeys(names_given(context, "keep", keep) or [])),
            unknown_ids=unknown_ids,
            base=base,
            format=format,
            n_jobs=n_jobs,
            text_options=options_given(context, ("unknown_ids", "base", "format")),
        )
        run_scoring(order, Console(quiet, as_json))
