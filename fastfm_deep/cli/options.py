"""Options that several commands have, and how options are completed and read from a file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer

from fastfm_deep.cli.config import settings_for


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
        context.default_map = settings_for(str(context.info_name), takers, path)
    return path


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
        help="TOML file of options, n_factors = 8, at its top or in a table with the name of the command. What is "
        "given on the command line wins.",
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
