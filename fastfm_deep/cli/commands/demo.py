"""The options of `fastfm-deep demo`."""

from __future__ import annotations

from typing import Annotated

import typer

from fastfm_deep.cli.console import Console, outcome
from fastfm_deep.cli.options import AsJson, Debug, Jobs, Quiet, examples

SHORT = "See it learn on made click data."
EXAMPLES = examples("fastfm-deep demo", "fastfm-deep demo --n-rows 100000 -k 16 --out model.safetensors")


def demo(
    n_rows: Annotated[int, typer.Option(metavar="N", help="Rows to make, 1000 or more.")] = 500_000,
    n_factors: Annotated[int, typer.Option("--n-factors", "-k", metavar="N", help="Factors per feature.")] = 8,
    n_epochs: Annotated[int, typer.Option(metavar="N", help="Passes over the rows, at most.")] = 15,
    out: Annotated[str | None, typer.Option("--out", "-o", metavar="FILE", help="Keep the model.")] = None,
    n_jobs: Jobs = None,
    random_state: Annotated[
        int, typer.Option("--random-state", metavar="N", help="Seed of data and training.")
    ] = 0,
    quiet: Quiet = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Make click data, train a linear model and a factorization machine, compare, save, load and score.

    The data are made on the spot from a planted model, so the logloss that the best of models can reach is known.
    """
    with outcome(debug):
        from fastfm_deep.cli.demo import run_demo

        run_demo(n_rows, n_factors, n_epochs, out, n_jobs, random_state, Console(quiet, as_json))
