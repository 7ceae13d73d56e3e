"""The commands and their options.

What a command does stands in the module of its name, which is imported once the options are known, so that
`--help` answers at once.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from fastfm_deep import __version__, validation
from fastfm_deep.cli.console import BAD_INPUT, DONE, Console, Ended, complain, outcome, write_out

app = typer.Typer(
    name="fastfm-deep",
    help="Factorization machines for large sparse data: train on text files, score others, see it learn.",
    epilog=(
        "Exit codes: 0 done; 1 the work failed; 2 bad usage or input; 130 interrupted. "
        "Start with `fastfm-deep demo`, which needs no data."
    ),
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_USAGE_ERROR: Any = typer.BadParameter.__base__  # typer has click's UsageError, but no name for it

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Format = Annotated[str, typer.Option("--format", metavar="auto|libsvm|libfm", help="Format of the text files.")]
Jobs = Annotated[
    int | None,
    typer.Option("--n-jobs", "-j", metavar="N", help="Threads; -1: all cores; default: as the work is worth."),
]


@app.callback(invoke_without_command=True)
def _options(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        write_out(f"fastfm-deep {__version__}\n")
        raise Ended(DONE)
    if context.invoked_subcommand is None:
        complain("no command given; use train, score or demo (fastfm-deep --help tells more)")
        raise Ended(BAD_INPUT)


@app.command(short_help="Train on text files, save the model.")
def train(
    files: Annotated[list[str], typer.Argument(metavar="TRAIN", help="Text files to learn from.")],
    valid: Annotated[
        str | None, typer.Option(metavar="FILE", help="Text file to measure on after each epoch.")
    ] = None,
    test: Annotated[
        str | None, typer.Option(metavar="FILE", help="Text file to measure the final model on.")
    ] = None,
    out: Annotated[
        str | None, typer.Option("--out", "-o", metavar="FILE", help="Model to write (a safetensors file).")
    ] = None,
    task: Annotated[
        str, typer.Option(metavar="binary|regression", help="Labels are two classes, or numbers.")
    ] = "binary",
    n_factors: Annotated[
        int | None, typer.Option("--n-factors", "-k", metavar="N", help="Factors per feature; 0: a linear model.")
    ] = None,
    optimizer: Annotated[
        str | None, typer.Option(metavar="NAME", help="adagrad, adagrad_rowwise, sgd, adam or ftrl.")
    ] = None,
    learning_rate: Annotated[float | None, typer.Option(metavar="X", help="Step size.")] = None,
    n_epochs: Annotated[int | None, typer.Option(metavar="N", help="Passes over the rows.")] = None,
    l2_reg_linear: Annotated[float | None, typer.Option(metavar="X", help="L2 penalty of linear weights.")] = None,
    l2_reg_factors: Annotated[float | None, typer.Option(metavar="X", help="L2 penalty of factors.")] = None,
    l1_reg_linear: Annotated[
        float | None, typer.Option(metavar="X", help="L1 penalty of linear weights (ftrl).")
    ] = None,
    init_std: Annotated[float | None, typer.Option(metavar="X", help="Spread of the first factors.")] = None,
    early_stopping_rounds: Annotated[
        int | None,
        typer.Option(metavar="N", help="End after N epochs without a better score on --valid; keep the best."),
    ] = None,
    eval_metric: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="logloss, auc, accuracy (binary), rmse, mae, mse (regression): shown for --valid after each "
            "epoch. May be repeated; the last decides early stopping.",
        ),
    ] = None,
    class_weight: Annotated[
        str | None, typer.Option(metavar="balanced", help="Let both classes weigh the same (binary).")
    ] = None,
    clip: Annotated[
        bool, typer.Option("--clip", help="Keep predictions within the range of the labels (regression).")
    ] = False,
    n_jobs: Jobs = None,
    random_state: Annotated[
        int | None, typer.Option("--random-state", metavar="N", help="Seed; with one thread the result repeats.")
    ] = None,
    format: Format = "auto",
    base: Annotated[
        str, typer.Option(metavar="auto|0|1", help="First id; auto: 0 if any of the files holds an id 0, else 1.")
    ] = "auto",
    n_features: Annotated[
        int | None,
        typer.Option(metavar="N", help="Width of the rows; default: up to the largest id of all files."),
    ] = None,
    include_optimizer: Annotated[
        bool, typer.Option("--include-optimizer", help="Save what partial_fit needs to go on exactly, too.")
    ] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Train a factorization machine on libsvm or libfm text, plain or compressed (.gz, .xz).

    Each line of a file is a label and the non-zeros of a row, "1 3:1 17:0.5". A * in the table marks the best
    epoch so far. Ctrl-C ends training and saves what was learned to --out.

    Hyper-parameters that are not given are those of FMClassifier or FMRegressor.
    """
    hyper_parameters = {
        "n_factors": n_factors,
        "optimizer": optimizer,
        "learning_rate": learning_rate,
        "n_epochs": n_epochs,
        "l2_reg_linear": l2_reg_linear,
        "l2_reg_factors": l2_reg_factors,
        "l1_reg_linear": l1_reg_linear,
        "init_std": init_std,
        "early_stopping_rounds": early_stopping_rounds,
        "eval_metric": eval_metric or None,
        "class_weight": class_weight,
        "clip": clip or None,
        "n_jobs": n_jobs,
        "random_state": random_state,
    }
    given = {name: value for name, value in hyper_parameters.items() if value is not None}
    with outcome(debug):
        from fastfm_deep.cli.train import Plan, run_training

        plan = Plan(files, valid, test, task, given, format, base, n_features, out, include_optimizer)
        run_training(plan, Console(quiet, as_json))


@app.command(short_help="Score the rows of a text file.")
def score(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Model file that train wrote.")],
    file: Annotated[str, typer.Argument(metavar="FILE", help="Text file of rows to score; labels may be absent.")],
    out: Annotated[
        str | None, typer.Option("--out", "-o", metavar="FILE", help="File to write; default: standard output.")
    ] = None,
    raw: Annotated[bool, typer.Option("--raw", help="Raw scores (log-odds) instead of probabilities.")] = False,
    unknown_ids: Annotated[
        str, typer.Option(metavar="ignore|error", help="What to do with ids beyond those of training.")
    ] = "ignore",
    base: Annotated[
        str | None,
        typer.Option(metavar="0|1", help="First id, for a model from Python; train keeps it with the model."),
    ] = None,
    format: Format = "auto",
    n_jobs: Jobs = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Score the rows of a text file, one number a line: the probability of the larger label, or the prediction.

    Ids count from the base that the model was trained with. An id beyond those of training adds nothing to the
    score of its row, and a note says how many there were; --unknown-ids=error forbids them.
    """
    with outcome(debug):
        from fastfm_deep.cli.score import Order, run_scoring

        if as_json and out is None:
            raise validation.InputError("--json needs --out: both it and the scores would go to standard output.")
        order = Order(model, file, out, raw, unknown_ids, base, format, n_jobs)
        run_scoring(order, Console(quiet, as_json))


@app.command(short_help="See it learn on made click data.")
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
        app(arguments, prog_name="fastfm-deep", standalone_mode=False)
    except _USAGE_ERROR as error:
        complain(f"{error.format_message()} (fastfm-deep --help tells more)")
        raise Ended(BAD_INPUT) from None
    except typer.Abort:
        raise KeyboardInterrupt from None
    except SystemExit:  # how click ends when nobody reads the help
        raise BrokenPipeError from None
