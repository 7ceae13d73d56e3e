"""Messages in the words of the command line: `--unknown-ids=ignore`, not `unknown_ids='ignore'`.

The library builds its messages for callers from Python; here they are told to those who typed options.
"""

from __future__ import annotations

import re

OPTIONS = frozenset(
    {
        "base",
        "base_out",
        "batch_size",
        "class_weight",
        "clip",
        "compact",
        "deep_columns",
        "dnn_activation",
        "dnn_batch_norm",
        "dnn_dropout",
        "dnn_learning_rate",
        "dnn_optimizer",
        "early_stopping_rounds",
        "eval_metric",
        "format",
        "from",
        "handle_unknown",
        "hash_features",
        "init_std",
        "l1_reg_linear",
        "l2_reg_dnn",
        "l2_reg_factors",
        "l2_reg_linear",
        "learning_rate",
        "linear_columns",
        "min_count",
        "model",
        "n_epochs",
        "n_factors",
        "n_features",
        "n_jobs",
        "n_rows",
        "negative_downsampling",
        "optimizer",
        "random_state",
        "task",
        "to",
        "top",
        "unknown_ids",
    }
)
"""Parameters of the library whose options bear the same name."""

# What has no option, or is no name=value: a pattern, and what takes its place.
PHRASES = (
    (r"; labels='optional' reads rows that have none", ""),
    (
        r", number only those that occur \(compact=True\), or leave the fields out \(keep_fields=False\)",
        " or number only those that occur (--compact)",
    ),
    (r"range \(2\*\*22 columns, for example\)", "range (--hash-features=4194304, for example)"),
    (r"or number only the columns that occur\.", "or number only the columns that occur (--compact)."),
    (r"n_jobs=0 must be None, a number", "n_jobs=0 must be a number"),
    (
        r"n_features=\d+ leaves room for ids up to (\d+)\. Raise n_features, or leave",
        r"the model knows ids up to \1. Leave",
    ),
    (
        r"network \(dnn_hidden_units=\([\d, ]*\)\) without inputs; use n_factors of at least 1, or .*$",
        "network without inputs; use --n-factors of at least 1, or --model=fm.",
    ),
    (r"\(fields · n_factors\) and dnn_hidden_units=\(([\d, ]*?),?\)", r"and hidden layers of \1 units"),
    (r"\(fields=None feeds it", "(--fields=none feeds it"),
    (r"a smaller batch_size\.", "a smaller --batch-size."),
    (r"declare the column as a SparseFeat if", "name the column in --sparse if"),
    (r"\bSparseFeat\b", "sparse column"),
    (r"\bDenseFeat\b", "dense column"),
    (r"\bVarLenSparseFeat\b", "varlen column"),
    (r"\(hash_buckets=2\*\*22\)", "(hash_buckets = 4194304 in [columns.NAME])"),
    (r"/dev/stdin", "standard input"),
    (r"np\.\w+\(([^()]*)\)", r"\1"),  # how NumPy 2 shows its numbers
)

# Quoted text is what the user wrote, and paths may hold anything.
_ASSIGNMENT = re.compile(
    rf"(?<![\w=-])'[^']*'|(?<![\w./-])({'|'.join(sorted(OPTIONS))})=('[^']*'|[^\s;,()'/]*[^\s;,.()'/])(?!/)"
)
_PLAIN = re.compile(r"'[\w.+-]+'")


def in_options(message: str) -> str:
    """The message with options instead of parameters of Python."""
    for ours, theirs in PHRASES:
        message = re.sub(ours, theirs, message)
    return _ASSIGNMENT.sub(_as_option, message)


def _as_option(found: re.Match[str]) -> str:
    name, value = found.groups()
    if name is None:
        return found[0]
    option = option_name(name)
    if value in ("True", "False"):
        return option if value == "True" else option.replace("--", "--no-", 1)
    power = re.fullmatch(r"2\*\*(\d{1,3})", value)
    if power:
        return f"{option}={2 ** int(power[1])}"
    return f"{option}={value[1:-1] if _PLAIN.fullmatch(value) else value}"


def option_name(name: str) -> str:
    """The option that sets a parameter."""
    return "--" + name.replace("_", "-")
