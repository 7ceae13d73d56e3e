"""The commands put together, and how a run of one of them ends.

The options of a command stand in `fastfm_deep.cli.commands`. What it does stands in another module of its name,
which is imported once the options are known, so that `--help` answers at once.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from fastfm_deep import __version__
from fastfm_deep.cli.commands import columns, convert, demo, evaluate, inspect, report, score, train
from fastfm_deep.cli.console import BAD_INPUT, DONE, Ended, complain, outcome, write_out
from fastfm_deep.cli.options import examples

app = typer.Typer(
    name="fastfm-deep",
    help="Factorization machines for large sparse data: train on tables or text files, measure, score others, "
    "see it learn.",
    epilog="Exit codes: 0 done; 1 the work failed; 2 bad usage or input; 130 interrupted.\n\n"
    + examples(
        "fastfm-deep demo",
        "fastfm-deep columns clicks.csv --target clicked > run.toml",
        "fastfm-deep train clicks.csv --config run.toml --out model.safetensors",
        "fastfm-deep evaluate model.safetensors test.csv",
        "fastfm-deep score model.safetensors new.csv --out scores.csv",
        "fastfm-deep train train.txt --valid valid.txt --out model.safetensors",
        "fastfm-deep COMMAND --help",
    ),
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command(short_help=train.SHORT, epilog=train.EXAMPLES)(train.train)
app.command(short_help=score.SHORT, epilog=score.EXAMPLES)(score.score)
app.command(short_help=evaluate.SHORT, epilog=evaluate.EXAMPLES)(evaluate.evaluate)
app.command(short_help=report.SHORT, epilog=report.EXAMPLES)(report.report)
app.command(short_help=inspect.SHORT, epilog=inspect.EXAMPLES)(inspect.inspect)
app.command(short_help=columns.SHORT, epilog=columns.EXAMPLES)(columns.columns)
app.command(short_help=convert.SHORT, epilog=convert.EXAMPLES)(convert.convert)
app.command(short_help=demo.SHORT, epilog=demo.EXAMPLES)(demo.demo)

_USAGE_ERROR: Any = typer.BadParameter.__base__  # typer has click's UsageError, but no name for it


@app.callback(invoke_without_command=True)
def _options(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        write_out(f"fastfm-deep {__version__}\n")
        raise Ended(DONE)
    if context.invoked_subcommand is None:
        complain("no command given; use train, score, evaluate or demo (fastfm-deep --help tells more)")
        raise Ended(BAD_INPUT)


def run(arguments: list[str]) -> int:
    """Run the command line and return its exit code; see `fastfm_deep.cli.main`."""
    try:
        with outcome(debug=False):
            _call(arguments)
    except Ended as error:
        return error.code
    return DONE


def _call(arguments: list[str]) -> None:
    try:
        code = app(arguments, prog_name="fastfm-deep", standalone_mode=False)
    except _USAGE_ERROR as error:
        complain(f"{error.format_message()} (fastfm-deep --help tells more)")
        raise Ended(BAD_INPUT) from None
    except typer.Abort:
        raise KeyboardInterrupt from None
    except SystemExit as error:
        # How click ends when nobody reads the help; or it has completed a command, or shown how that is done.
        if isinstance(error.__context__, BrokenPipeError):
            raise BrokenPipeError from None
        code = error.code
    if isinstance(code, int) and code:
        raise Ended(code)
