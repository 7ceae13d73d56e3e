"""The work of `fastfm-deep columns`: feature columns proposed for a table, as a file of options.

A *glimpse* is what the first rows of a file show of a column: how many values, which range, how many are missing.
"""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

import numpy as np

from fastfm_deep import validation
from fastfm_deep.cli import frames, texts
from fastfm_deep.cli.console import Console
from fastfm_deep.cli.declarations import given_options
from fastfm_deep.data import arrow_files
from fastfm_deep.data.bag_column import bags_of
from fastfm_deep.data.families import NUMBERS, TEXTS, family_of_type
from fastfm_deep.data.feature_columns import DenseFeat, FeatureColumn, VarLenSparseFeat, to_plain
from fastfm_deep.data.float_values import to_floats
from fastfm_deep.data.proposals import propose_columns, value_counts
from fastfm_deep.data.table import Table, as_table

ROWS_SEEN = 200_000
"""Of a larger file, those looked at."""


class Glimpse(NamedTuple):
    """What is seen of a column."""

    missing: float  # share of the rows
    n_values: int | None = None  # different ones
    per_row: float | None = None  # of several values a row, the mean of how many
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        if self.low is not None and self.high is not None:
            seen = f"{self.low:.6g} .. {self.high:.6g}"
        else:
            seen = f"{self.n_values:,} {'value' if self.n_values == 1 else 'values'}"
        if self.per_row is not None:
            seen += f", {self.per_row:.2g} a row"
        return f"{seen}, {_share(self.missing)} missing"


class Proposal(NamedTuple):
    """Columns for a table, and what was seen of them."""

    path: str
    n_rows: int
    is_whole: bool
    target: str | None
    task: str | None
    columns: dict[str, tuple[FeatureColumn, Glimpse]]
    left_out: dict[str, str]


def run_columns(path: str, target: str | None, console: Console) -> None:
    """Look at the first rows of a table and print what its columns may be."""
    texts.check_inputs([path])
    if path == texts.STDIN or not frames.is_table(path):
        raise validation.no_table_error(texts.names_of([path]))
    frame, is_whole = _first_rows(path)
    names = [str(name) for name in frame.schema.names]
    if target is not None:
        frames.check_names(path, names, [target])
    if not frame.num_rows:
        raise validation.no_rows_error(path)
    table = as_table(frame)
    unnamed = [name for name in names if not name]
    columns, left_out = propose_columns(table, [*unnamed, *([] if target is None else [target])])
    found = Proposal(
        path,
        frame.num_rows,
        is_whole,
        target,
        None if target is None else _task(target, frame.column(target), table),
        {column.name: (column, _glimpse(frame.column(column.name), column, table)) for column in columns},
        left_out | ({"": "it has no name"} if unnamed else {}),
    )
    console.show(_as_toml(found))
    console.result(_as_json(found))


def _first_rows(path: str) -> tuple[Any, bool]:
    """Rows to look at, and whether they are all of them."""
    try:
        parts = arrow_files.iter_arrow_file(path, ROWS_SEEN, (), ())
        frame = next(parts)
        return frame, frame.num_rows < ROWS_SEEN or next(parts, None) is None
    except validation.InputError:
        # A type that fits the first block of CSV alone; the whole file tells, or what is wrong with it.
        frame = arrow_files.read_arrow_file(path)
        return frame.slice(0, ROWS_SEEN), frame.num_rows <= ROWS_SEEN


def _task(name: str, column: Any, table: Table) -> str | None:
    """What a target can be predicted as: two values, or numbers."""
    family = family_of_type(column.type)
    if family not in (TEXTS, NUMBERS):
        return None
    if len(value_counts(table.column(name), name)) == 2:
        return "binary"
    return "regression" if family == NUMBERS else None


def _glimpse(column: Any, declared: FeatureColumn, table: Table) -> Glimpse:
    n_rows, values = len(column), table.column(declared.name)
    if isinstance(declared, VarLenSparseFeat):
        bags = bags_of(values, declared.separator, declared.name)
        n_values = len(value_counts(bags.items, declared.name))
        n_items = bags.items.n - column.null_count  # a missing list counts as one missing value
        return Glimpse(column.null_count / n_rows, n_values, max(0, n_items) / n_rows)
    if isinstance(declared, DenseFeat):
        floats = to_floats(values, declared.name)
        present = floats[~np.isnan(floats)]
        return Glimpse(1 - len(present) / n_rows, low=float(present.min()), high=float(present.max()))
    return Glimpse(column.null_count / n_rows, len(value_counts(values, declared.name)))


def _share(share: float) -> str:
    if not share:
        return "none"
    return f"{share:.0%}" if share >= 0.01 else "under 1%"


def _as_toml(found: Proposal) -> str:
    rows = f"all {found.n_rows:,}" if found.is_whole else f"the first {found.n_rows:,}"
    lines = [
        f"# Columns of {_one_line(found.path)}, proposed from {rows} rows. Read them over: whether a number is a",
        "# category or an amount no rule can know. A column that is taken out is no feature. To train with them:",
        f"#   fastfm-deep train {_one_line(found.path)} --config THIS_FILE --out model.safetensors",
        "",
    ]
    lines += _target_lines(found)
    for name, (column, glimpse) in found.columns.items():
        lines += ["", f"# {glimpse}", f"[columns.{_key(name)}]"]
        lines += [f"{key} = {_value(value)}" for key, value in given_options(column).items()]
    if found.left_out:
        lines += ["", "# Left out:"]
        lines += [f"#   {_key(name)}: {_one_line(reason)}" for name, reason in found.left_out.items()]
    return "\n".join(lines) + "\n"


def _target_lines(found: Proposal) -> list[str]:
    if found.target is None:
        return [
            "# The column to predict, which must not be one of those below; or --target.",
            "# [train]",
            '# target = ""',
        ]
    lines = ["[train]", f"target = {_value(found.target)}"]
    if found.task == "regression":
        lines.append('task = "regression"')
    elif found.task is None:
        lines.append("# It has not two values, and they are no numbers: neither can be predicted.")
    return lines


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _value(name)


def _value(value: str | int) -> str:
    """A value in TOML, whose strings are escaped as those of JSON are."""
    text = json.dumps(value, ensure_ascii=False)
    return text.replace("\x7f", "\\u007f")


def _one_line(text: str) -> str:
    """Text in a comment, where no line may end and nothing be a control character."""
    return re.sub(r"[\x00-\x1f\x7f]", "?", text)


def _as_json(found: Proposal) -> dict[str, Any]:
    return {
        "path": found.path,
        "n_rows": found.n_rows,
        "is_whole": found.is_whole,
        "target": found.target,
        "task": found.task,
        "columns": [
            to_plain(column)
            | {"seen": {key: value for key, value in glimpse._asdict().items() if value is not None}}
            for column, glimpse in found.columns.values()
        ],
        "left_out": found.left_out,
    }
