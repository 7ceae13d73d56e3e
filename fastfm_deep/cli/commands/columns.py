"""The options of `fastfm-deep columns`."""

from __future__ import annotations

from typing import Annotated

import typer

from fastfm_deep.cli.console import Console, outcome
from fastfm_deep.cli.options import AsJson, Debug, Target, examples

SHORT = "Propose feature columns for a table."
EXAMPLES = examples(
    "fastfm-deep columns clicks.csv --target clicked > run.toml",
    "fastfm-deep columns clicks.parquet --target clicked --json",
)


def columns(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Table: .csv, .tsv or .parquet.")],
    target: Target = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Look at a table and print what its columns may be, as a file that train takes with --config.

    Text, booleans, dates, integers of few values or with names like user_id become categories (sparse), other
    numbers amounts (dense), lists and text with separators several categories (varlen). Columns of no use are left
    out, with the reason. Of a large file the first rows are looked at.
    """
    with outcome(debug):
        from fastfm_deep.cli.columns import run_columns

        run_columns(file, target, Console(as_json=as_json))
