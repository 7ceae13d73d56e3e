"""The options of `fastfm-deep train`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from fastfm_deep.cli.console import Console, outcome
from fastfm_deep.cli.options import (
    AsJson,
    Config,
    Debug,
    DeepColumns,
    Dense,
    Format,
    HandleUnknown,
    Jobs,
    LinearColumns,
    MinCount,
    Quiet,
    Separator,
    Sparse,
    Target,
    Varlen,
    choices,
    declared_in_file,
    examples,
    is_from_file,
    names_given,
)

SHORT = "Train on tables or text files, save the model."
EXAMPLES = examples(
    "fastfm-deep train clicks.csv --target clicked --out model.safetensors",
    "fastfm-deep train clicks.parquet --target clicked --sparse user,item --dense price --varlen tags",
    "fastfm-deep train day1.csv day2.csv --valid day3.csv --model deepfm --config run.toml -o model.safetensors",
    "fastfm-deep train train.txt --out model.safetensors",
    "fastfm-deep train train.txt --valid valid.txt --early-stopping-rounds 2 -k 8 -o model.safetensors",
    "fastfm-deep train day1.ffm.gz day2.ffm.gz --hash-features 4194304 -o model.safetensors",
    "fastfm-deep train ratings.txt --task regression --compact -o model.safetensors",
    "fastfm-deep train train.ffm --model deepfm --dnn-hidden-units 64,32 --dnn-dropout 0.2 -o model.safetensors",
    "fastfm-deep train train.txt --model deepfm --fields 957,4081,7 -o model.safetensors",
)


def train(
    context: typer.Context,
    files: Annotated[
        list[str],
        typer.Argument(metavar="TRAIN", help="Tables or text files to learn from; - is text on standard input."),
    ],
    valid: Annotated[str | None, typer.Option(metavar="FILE", help="File to measure on after each epoch.")] = None,
    test: Annotated[str | None, typer.Option(metavar="FILE", help="File to measure the final model on.")] = None,
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
    target: Target = None,
    sparse: Sparse = None,
    dense: Dense = None,
    varlen: Varlen = None,
    min_count: MinCount = None,
    handle_unknown: HandleUnknown = None,
    separator: Separator = None,
    linear_columns: LinearColumns = None,
    deep_columns: DeepColumns = None,
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
    negative_downsampling: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            help="Share of the negative rows that was kept when the files were made; the answers of the model are "
            "corrected for it, the figures shown while training are not (binary).",
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
    """Train a factorization machine, or a DeepFM, on tables or on text.

    Tables are .csv, .tsv (also .gz, .bz2, .zst) and .parquet files; --target names the column to predict. Which
    columns are features --sparse, --dense and --varlen say, or [columns.NAME] in the file of --config; of a column
    that both name, the command line says all. Without either, columns are proposed from what they hold, as the
    command columns shows them. --min-count, --handle-unknown and --separator hold for all columns that do not say
    otherwise in the file. Several files make one table; their columns are found by name.

    Text is libsvm, libfm or libffm, plain or .gz, .xz, .bz2, .zst. Each line is a label and the non-zeros of a
    row, "1 3:1 17:0.5"; in libffm text the field stands before, "1 0:3:1 4:17:0.5". --format, --base,
    --n-features, --hash-features, --compact and --fields are about text alone.

    A * in the table of epochs marks the best so far. Ctrl-C ends training and saves what was learned to --out.

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
        "negative_downsampling": negative_downsampling,
        "clip": clip or None,
        "n_jobs": n_jobs,
        "random_state": random_state,
    }
    given: dict[str, Any] = {name: value for name, value in hyper_parameters.items() if value is not None}
    with outcome(debug):
        from fastfm_deep.cli.declarations import Declarations
        from fastfm_deep.cli.plans import Plan, hidden_units
        from fastfm_deep.cli.texts import IdOptions
        from fastfm_deep.cli.train import run_training

        # Several values come out of a list in a file of options.
        if dnn_hidden_units:
            given["dnn_hidden_units"] = hidden_units(",".join(dnn_hidden_units))
        for name, names in (("linear_columns", linear_columns), ("deep_columns", deep_columns)):
            if names:
                given[name] = names_given(context, name, names)
        by_type = {"sparse": sparse, "dense": dense, "varlen": varlen}
        defaults = {"min_count": min_count, "handle_unknown": handle_unknown, "separator": separator}
        declarations = Declarations(
            {kind: names_given(context, kind, names) or [] for kind, names in by_type.items()},
            declared_in_file(context),
            frozenset(kind for kind in by_type if is_from_file(context, kind)),
            {name: value for name, value in defaults.items() if value is not None},
        )
        fields_given = ",".join(fields) if fields else None
        ids = IdOptions(base, n_features, hash_features, compact)
        plan = Plan(
            files=files,
            valid=valid,
            test=test,
            model=model,
            task=task,
            fields=fields_given,
            hyper_parameters=given,
            format=format,
            ids=ids,
            out=out,
            include_optimizer=include_optimizer,
            target=target,
            declarations=declarations,
        )
        run_training(plan, Console(quiet, as_json))
