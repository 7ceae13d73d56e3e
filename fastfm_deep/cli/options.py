"""Options that several commands have, and how options are completed and read from a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

from fastfm_deep.cli.config import COLUMNS, NAMES, names_in, read_config, settings_for

_DECLARED = "fastfm_deep.columns"


def choices(*values: str) -> Callable[[str], list[str]]:
    """What a shell offers as the value of an option."""

    def complete(incomplete: str) -> list[str]:
        return [value for value in values if value.startswith(incomplete)]

    return complete


def examples(*lines: str) -> str:
    """Text for the end of a command's help; the first character keeps its lines as they are."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def _use_config(context: typer.Context, path: str | None) -> str | None:
    """Let the file say what options are by default; called before the other options are read."""
    if path is not None and not context.resilient_parsing and context.parent is not None:
        commands: dict[str, Any] = getattr(context.parent.command, "commands", {})
        takers = {
            name: command
            for name, command in commands.items()
            if any(parameter.name == "config" for parameter in command.params)
        }
        content = read_config(path)
        context.default_map = settings_for(str(context.info_name), takers, path, content)
        if content.get(COLUMNS) is not None:
            from fastfm_deep.cli.declarations import columns_in_config  # not for --help: it takes NumPy

            context.meta[_DECLARED] = columns_in_config(path, content)
    return path


def declared_in_file(context: typer.Context) -> dict[str, dict[str, Any]]:
    """What the file of options says of columns."""
    found: dict[str, dict[str, Any]] = context.meta.get(_DECLARED, {})
    return found


def is_from_file(context: typer.Context, parameter: str) -> bool:
    """Whether an option comes from the file, not from the command line."""
    source = context.get_parameter_source(parameter)
    return source is not None and source.name == "DEFAULT_MAP"


def options_given(context: typer.Context, parameters: Sequence[str]) -> list[str]:
    """Those of some options that are given, on the command line or in the file."""
    sources = {parameter: context.get_parameter_source(parameter) for parameter in parameters}
    return [
        "--" + parameter.replace("_", "-")
        for parameter, source in sources.items()
        if source is not None and source.name != "DEFAULT"
    ]


def names_given(context: typer.Context, parameter: str, given: Sequence[str] | None) -> list[str] | None:
    """Names of columns out of an option that may be repeated; None if it was not given.

    Those of a file stand there one by one, so that they may hold commas.
    """
    if not given:
        return None
    if is_from_file(context, parameter):
        return list(given)
    option = "--" + parameter.replace("_", "-")
    return [name for part in given for name in names_in(part, option)]


def complete_columns(context: typer.Context, incomplete: str) -> list[str]:
    """What a shell offers as the last of several names: the columns of the table that was named before."""
    from fastfm_deep.cli.headers import names_on_hand

    before, comma, last = incomplete.rpartition(",")
    # An option that still lacks its value leaves the files among what has not been told apart.
    given = [*(context.params.get("files") or ()), context.params.get("file"), *context.args]
    names = names_on_hand([path for path in given if isinstance(path, str)])
    return [f"{before}{comma}{name}" for name in names if name.startswith(last)]


FORMATS = ("auto", "libsvm", "libfm", "libffm")

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Config = Annotated[
    str | None,
    typer.Option(
        "--config",
        metavar="FILE",
        is_eager=True,
        callback=_use_config,
        help="TOML file of options, n_factors = 8, at its top or in a table with the name of the command; and of "
        "columns, [columns.NAME], as the command columns prints them. What is given on the command line wins.",
    ),
]
Format = Annotated[
    str,
    typer.Option(
        "--format",
        metavar="auto|libsvm|libfm|libffm",
        autocompletion=choices(*FORMATS),
        help="Format of the text files; auto: as the first pair looks.",
    ),
]
Jobs = Annotated[
    int | None,
    typer.Option("--n-jobs", "-j", metavar="N", help="Threads; -1: all cores; default: as the work is worth."),
]
Target = Annotated[
    str | None,
    typer.Option(
        "--target",
        metavar="NAME",
        autocompletion=complete_columns,
        help="Column of a table that is to be predicted.",
    ),
]
Sparse = Annotated[
    list[str] | None,
    typer.Option(
        "--sparse",
        metavar=NAMES,
        autocompletion=complete_columns,
        help="Columns of categories: user,item. May be repeated.",
    ),
]
Dense = Annotated[
    list[str] | None,
    typer.Option(
        "--dense", metavar=NAMES, autocompletion=complete_columns, help="Columns of numbers. May be repeated."
    ),
]
Varlen = Annotated[
    list[str] | None,
    typer.Option(
        "--varlen",
        metavar=NAMES,
        autocompletion=complete_columns,
        help="Columns of several categories a row: lists, or text with separators. May be repeated.",
    ),
]
LinearColumns = Annotated[
    list[str] | None,
    typer.Option(
        "--linear-columns",
        metavar=NAMES,
        autocompletion=complete_columns,
        help="Columns that have linear weights; default: all.",
    ),
]
DeepColumns = Annotated[
    list[str] | None,
    typer.Option(
        "--deep-columns",
        metavar=NAMES,
        autocompletion=complete_columns,
        help="Columns that have factors: they form pairs, and feed the network; default: all.",
    ),
]
Keep = Annotated[
    list[str] | None,
    typer.Option(
        "--keep",
        metavar=NAMES,
        autocompletion=complete_columns,
        help="Columns of the table to write before the scores; those of CSV as the text that they are.",
    ),
]
MinCount = Annotated[
    int | None,
    typer.Option(
        "--min-count", metavar="N", help="Categories that occur less often count as unknown; default: 1."
    ),
]
HandleUnknown = Annotated[
    str | None,
    typer.Option(
        "--handle-unknown",
        metavar="bucket|ignore|error",
        autocompletion=choices("bucket", "ignore", "error"),
        help="Categories that training did not know share a feature, add nothing, or are an error; default: "
        "bucket.",
    ),
]
Separator = Annotated[
    str | None,
    typer.Option("--separator", metavar="TEXT", help="What stands between values of --varlen columns; default: |"),
]
ModelFile = Annotated[str, typer.Argument(metavar="MODEL", help="Model file that train wrote.")]
UnknownIds = Annotated[
    str,
    typer.Option(
        "--unknown-ids",
        metavar="ignore|error",
        autocompletion=choices("ignore", "error"),
        help="What to do with ids that training did not know.",
    ),
]
ModelBase = Annotated[
    str | None,
    typer.Option(
        "--base",
        metavar="0|1",
        autocompletion=choices("0", "1"),
        help="First id, for a model from Python; train keeps it with the model.",
    ),
]
