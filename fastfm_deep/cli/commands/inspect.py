"""The options of `fastfm-deep inspect`."""

from __future__ import annotations

from typing import Annotated

import typer

from fastfm_deep.cli.console import Console, outcome
from fastfm_deep.cli.options import AsJson, Debug, ModelFile, examples

SHORT = "Show what a model file holds."
EXAMPLES = examples(
    "fastfm-deep inspect model.safetensors",
    "fastfm-deep inspect model.safetensors --top 50 --json > model.json",
)


def inspect(
    model: ModelFile,
    top: Annotated[
        int, typer.Option("--top", "-n", metavar="N", help="How many weights, and pairs, to show; 0: none.")
    ] = 10,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Show the sizes of a model, what it was trained with, and its strongest weights and pairs.

    A weight is what its feature adds to the raw score at value 1; the strength of a pair, the product of both
    vectors of factors, is what two features at value 1 add together. What the network of a DeepFM makes of them
    is not in these figures.
    """
    with outcome(debug):
        from fastfm_deep.cli.inspection import run_inspection

        run_inspection(model, top, Console(as_json=as_json))
