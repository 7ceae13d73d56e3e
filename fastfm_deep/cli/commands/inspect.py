"""The options of `fastfm-deep inspect`."""

from __future__ import annotations

from typing import Annotated

import typer

from fastfm_deep import validation
from fastfm_deep.cli.console import Console, outcome
from fastfm_deep.cli.options import (
    AsJson,
    Debug,
    Format,
    ModelBase,
    ModelFile,
    examples,
    options_given,
)

SHORT = "Show what a model file holds."
EXAMPLES = examples(
    "fastfm-deep inspect model.safetensors",
    "fastfm-deep inspect model.safetensors --top 50 --json > model.json",
    "fastfm-deep inspect model.safetensors --pairs",
    "fastfm-deep inspect model.safetensors --pairs --data test.csv",
)


def inspect(
    context: typer.Context,
    model: ModelFile,
    top: Annotated[
        int, typer.Option("--top", "-n", metavar="N", help="How many weights, and pairs, to show; 0: none.")
    ] = 10,
    pairs: Annotated[bool, typer.Option("--pairs", help="Show how strongly fields interact instead.")] = False,
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            metavar="FILE",
            help="With --pairs: table or text, -: standard input; show what fields and their pairs add to the "
            "scores of its rows.",
        ),
    ] = None,
    base: ModelBase = None,
    format: Format = "auto",
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Show the sizes of a model, what it was trained with, and its strongest weights and pairs.

    A weight is what its feature adds to the raw score at value 1; the strength of a pair, the product of both
    vectors of factors, is what two features at value 1 add together. What the network of a DeepFM makes of them
    is not in these figures.

    --pairs tells of fields instead, the columns of a table or the fields of libffm text: how strongly each two of
    them interact, as a list and as a map. With --data it is how much linear terms, pairs and network add to the
    scores of rows, as means of absolute values.

    --base and --format are about text in --data.
    """
    with outcome(debug):
        text_options = options_given(context, ("base", "format"))
        given = options_given(context, ("data",))
        if text_options and data is None:
            raise validation.data_option_error(text_options)
        if given and not pairs:
            raise validation.pairs_option_error(given)
        if pairs:
            from fastfm_deep.cli.field_pairs import Order, run_pairs

            run_pairs(Order(model, top, data, base, format, text_options), Console(as_json=as_json))
            return
        from fastfm_deep.cli.inspection import run_inspection

        run_inspection(model, top, Console(as_json=as_json))
