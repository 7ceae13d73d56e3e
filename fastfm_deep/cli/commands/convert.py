"""The options of `fastfm-deep convert`."""

from __future__ import annotations

from typing import Annotated

import typer

from fastfm_deep.cli.console import Console, outcome
from fastfm_deep.cli.options import FORMATS, Config, Debug, Quiet, choices, examples

SHORT = "Turn text of one format into another."
EXAMPLES = examples(
    "fastfm-deep convert train.ffm train.txt --to libsvm",
    "fastfm-deep convert train.txt train.ffm --to libffm --fields 10,20,5",
    "zcat train.ffm.gz | fastfm-deep convert - - --to libsvm | head",
)


def convert(
    source: Annotated[
        str, typer.Argument(metavar="IN", help="Text file, plain or compressed; - for standard input.")
    ],
    target: Annotated[str, typer.Argument(metavar="OUT", help="Text file to write; - for standard output.")],
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="libsvm|libffm",
            autocompletion=choices("libsvm", "libffm"),
            help="Format to write; libfm is the same as libsvm.",
        ),
    ],
    from_: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="auto|libsvm|libfm|libffm",
            autocompletion=choices(*FORMATS),
            help="Format of IN; auto: as the first pair looks.",
        ),
    ] = "auto",
    base: Annotated[
        str,
        typer.Option(
            metavar="auto|0|1",
            autocompletion=choices("auto", "0", "1"),
            help="First id of IN, for --base-out, --fields.",
        ),
    ] = "auto",
    base_out: Annotated[
        str | None,
        typer.Option(metavar="0|1", autocompletion=choices("0", "1"), help="First id of OUT; default: ids stay."),
    ] = None,
    fields: Annotated[
        str | None,
        typer.Option(
            metavar="SIZES|FILE",
            help="Fields of the ids of libsvm text: sizes of consecutive ones, 10,20,5, or a file with one field "
            "a line, one line an id.",
        ),
    ] = None,
    config: Config = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Turn libsvm, libfm or libffm text into libsvm or libffm text.

    Labels and values stay the same numbers (values: float32), ids too unless --base-out moves them. Comments,
    qid: tokens and blank lines are left out.
    """
    with outcome(debug):
        from fastfm_deep.cli.convert import Conversion, run_conversion

        conversion = Conversion(source, target, to, from_, base, base_out, fields)
        run_conversion(conversion, Console(quiet))
