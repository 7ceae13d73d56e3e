"""The options of `fastfm-deep train`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from fastfm_deep.cli.console import Console, outcome
from fastfm_deep.cli.options import AsJson, Config, Debug, Format, Jobs, Quiet, choices, examples

SHORT = "Train on text files, save the model."
EXAMPLES = examples(
    "fastfm-deep train train.txt --out model.safetensors",
    "fastfm-deep train train.txt --valid valid.txt --early-stopping-rounds 2 -k 8 -o model.safetensors",
    "fastfm-deep train day1.ffm.gz day2.ffm.gz --hash-features 4194304 -o model.safetensors",
    "fastfm-deep train ratings.txt --task regression --compact -o model.safetensors",
    "fastfm-deep train train.ffm --model deepfm --dnn-hidden-units 64,32 --dnn-dropout 0.2 -o model.safetensors",
    "fastfm-deep train train.txt --model deepfm --fields 957,4081,7 -o model.safetensors",
    "fastfm-deep train train.txt --config run.toml",
)


def train(
    files: Annotated[
        list[str], typer.Argument(metavar="TRAIN", help="Text files to learn from; - is standard input.")
    ],
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
        str,
        typer.Option(
            metavar="binary|regression",
            autocompletion=choices("binary", "regression"),
            help="Labels are two classes, or numbers.",
        ),
    ] = "binary",
    model: Annotated[
        str,
        typer.Option(
            metavar="fm|deepfm",
            autocompletion=choices("fm", "deepfm"),
            help="A factorization machine, or one with a network on the same factors, trained together.",
        ),
    ] = "fm",
    n_factors: Annotated[
        int | None, typer.Option("--n-factors", "-k", metavar="N", help="Factors per feature; 0: a linear model.")
    ] = None,
    optimizer: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            autocompletion=choices("adagrad", "adagrad_rowwise", "sgd", "adam", "ftrl"),
            help="adagrad, adagrad_rowwise, sgd, adam or ftrl.",
        ),
    ] = None,
    learning_rate: Annotated[float | None, typer.Option(metavar="X", help="Step size.")] = None,
    n_epochs: Annotated[int | None, typer.Option(metavar="N", help="Passes over the rows.")] = None,
    l2_reg_linear: Annotated[float | None, typer.Option(metavar="X", help="L2 penalty of linear weights.")] = None,
    l2_reg_factors: Annotated[float | None, typer.Option(metavar="X", help="L2 penalty of factors.")] = None,
    l1_reg_linear: Annotated[
        float | None, typer.Option(metavar="X", help="L1 penalty of linear weights (ftrl).")
    ] = None,
    init_std: Annotated[float | None, typer.Option(metavar="X", help="Spread of the first factors.")] = None,
    dnn_hidden_units: Annotated[
        list[str] | None,
        typer.Option(metavar="N,...", help="Widths of the network's hidden layers, 64,32 (deepfm)."),
    ] = None,
    dnn_activation: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            autocompletion=choices("relu", "sigmoid", "tanh", "leaky_relu", "gelu"),
            help="relu, sigmoid, tanh, leaky_relu or gelu (deepfm).",
        ),
    ] = None,
    dnn_dropout: Annotated[
        float | None,
        typer.Option(metavar="X", help="Share of a hidden layer's outputs dropped in training (deepfm)."),
    ] = None,
    dnn_batch_norm: Annotated[
        bool,
        typer.Option(
            "--dnn-batch-norm/--no-dnn-batch-norm",
            show_default=False,
            help="Normalise hidden layers over the rows of a micro-batch (deepfm).",
        ),
    ] = False,
    dnn_optimizer: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            autocompletion=choices("adagrad", "adam", "sgd"),
            help="adam, adagrad or sgd for the network; default: adam (deepfm).",
        ),
    ] = None,
    dnn_learning_rate: Annotated[
        float | None,
        typer.Option(metavar="X", help="Step size of the network; default: by its optimizer (deepfm)."),
    ] = None,
    l2_reg_dnn: Annotated[
        float | None, typer.Option(metavar="X", help="L2 penalty of the network's weights (deepfm).")
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(metavar="N", help="Rows of an update; default: 256, fewer for small data (deepfm)."),
    ] = None,
    fields: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SIZES|FILE|none",
            help="Which features belong together (deepfm): sizes of consecutive fields, 957,4081,7, a file of "
            "such, or a file with a line for each feature, the number of its field; default: those that libffm "
            "text names. Features count as they come out of --base, --hash-features or --compact.",
        ),
    ] = None,
    early_stopping_rounds: Annotated[
        int | None,
        typer.Option(metavar="N", help="End after N epochs without a better score on --valid; keep the best."),
    ] = None,
    eval_metric: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            autocompletion=choices("logloss", "auc", "accuracy", "rmse", "mae", "mse"),
            help="logloss, auc, accuracy (binary), rmse, mae, mse (regression): shown for --valid after each "
            "epoch. May be repeated; the last decides early stopping.",
        ),
    ] = None,
    class_weight: Annotated[
        str | None,
        typer.Option(
            metavar="balanced",
            autocompletion=choices("balanced"),
            help="Let both classes weigh the same (binary).",
        ),
    ] = None,
    clip: Annotated[
        bool,
        typer.Option(
            "--clip/--no-clip",
            show_default=False,
            help="Keep predictions within the range of the labels (regression).",
        ),
    ] = False,
    n_jobs: Jobs = None,
    random_state: Annotated[
        int | None, typer.Option("--random-state", metavar="N", help="Seed; with one thread the result repeats.")
    ] = None,
    format: Format = "auto",
    base: Annotated[
        str,
        typer.Option(
            metavar="auto|0|1",
            autocompletion=choices("auto", "0", "1"),
            help="First id; auto: 0 if any of the files holds an id 0, else 1.",
        ),
    ] = "auto",
    n_features: Annotated[
        int | None,
        typer.Option(metavar="N", help="Width of the rows; default: up to the largest id of all files."),
    ] = None,
    hash_features: Annotated[
        int | None,
        typer.Option(metavar="N", help="Hash ids of any size into N features; some ids will share one."),
    ] = None,
    compact: Annotated[
        bool,
        typer.Option(
            "--compact/--no-compact", show_default=False, help="Features only for ids that occur in TRAIN."
        ),
    ] = False,
    include_optimizer: Annotated[
        bool,
        typer.Option(
            "--include-optimizer/--no-include-optimizer",
            show_default=False,
            help="Save what partial_fit needs to go on exactly, too.",
        ),
    ] = False,
    config: Config = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Train a factorization machine, or a DeepFM, on text: libsvm, libfm or libffm, plain or .gz, .xz, .bz2, .zst.

    Each line of a file is a label and the non-zeros of a row, "1 3:1 17:0.5"; in libffm text the field stands
    before, "1 0:3:1 4:17:0.5". A * in the table marks the best epoch so far. Ctrl-C ends training and saves what
    was learned to --out.

    Hyper-parameters that are not given are those of FMClassifier or FMRegressor, or, with --model=deepfm, of
    DeepFMClassifier or DeepFMRegressor. Options marked (deepfm) go with that alone.
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
        "dnn_activation": dnn_activation,
        "dnn_dropout": dnn_dropout,
        "dnn_batch_norm": dnn_batch_norm or None,
        "dnn_optimizer": dnn_optimizer,
        "dnn_learning_rate": dnn_learning_rate,
        "l2_reg_dnn": l2_reg_dnn,
        "batch_size": batch_size,
        "early_stopping_rounds": early_stopping_rounds,
        "eval_metric": list(eval_metric or ()) or None,
        "class_weight": class_weight,
        "clip": clip or None,
        "n_jobs": n_jobs,
        "random_state": random_state,
    }
    given: dict[str, Any] = {name: value for name, value in hyper_parameters.items() if value is not None}
    with outcome(debug):
        from fastfm_deep.cli.texts import IdOptions
        from fastfm_deep.cli.train import Plan, hidden_units, run_training

        # Several values come out of a list in a file of options.
        if dnn_hidden_units:
            given["dnn_hidden_units"] = hidden_units(",".join(dnn_hidden_units))
        fields_given = ",".join(fields) if fields else None
        ids = IdOptions(base, n_features, hash_features, compact)
        plan = Plan(files, valid, test, model, task, fields_given, given, format, ids, out, include_optimizer)
        run_training(plan, Console(quiet, as_json))
