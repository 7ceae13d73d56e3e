"""What `fastfm-deep inspect` tells of the columns of a table that a model was trained on.

A *column* has a feature for each of its categories, or one for its numbers; they stand in the linear part, in the
deep part (pairs and network), or in both.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastfm_deep.data.feature_columns import DenseFeat, SparseFeat, names_of, to_plain

_SHOWN = 60
"""Columns shown; more would not be read."""
_WIDEST = 32


def described(estimator: Any) -> list[dict[str, Any]]:
    """Each column: how it was declared, how many features it has, and in which parts of the model they stand."""
    from fastfm_deep.estimators.table_input import chosen_names

    encoding = estimator.encoder_.encoding_
    names = names_of(encoding.columns)
    fields = encoding.field_of_feature
    n_features = np.bincount(fields[fields >= 0], minlength=len(names)).tolist()
    linear = set(chosen_names("linear_columns", estimator.linear_columns, names))
    deep = set(chosen_names("deep_columns", estimator.deep_columns, names))
    return [
        to_plain(column) | {"n_features": n, "linear": column.name in linear, "deep": column.name in deep}
        for column, n in zip(encoding.columns, n_features, strict=True)
    ]


def as_table(columns: list[dict[str, Any]]) -> list[str]:
    """Lines of a table of them; the parts only where some columns are not in both."""
    has_parts = not all(column["linear"] and column["deep"] for column in columns)
    heads = ["name", "type", "features", "values", "unknown or missing"] + (["parts"] if has_parts else [])
    rows = [_cells(column)[: len(heads)] for column in columns[:_SHOWN]]
    widths = [max(map(len, cells)) for cells in zip(heads, *rows, strict=True)]
    lines = [
        "  "
        + "  ".join(
            cell.rjust(width) if head == "features" else cell.ljust(width)
            for head, cell, width in zip(heads, row, widths, strict=True)
        ).rstrip()
        for row in [heads, *rows]
    ]
    return lines if len(columns) <= _SHOWN else [*lines, f"  and {len(columns) - _SHOWN:,} more (--json has all)"]


def _cells(column: dict[str, Any]) -> list[str]:
    """The cells of a line."""
    name = "".join(sign if sign.isprintable() else "?" for sign in column["name"])
    name = name if len(name) <= _WIDEST else name[: _WIDEST - 3] + "..."
    parts = [part for part in ("linear", "deep") if column[part]]
    rule = column["missing"] if column["type"] == DenseFeat.kind else column["handle_unknown"]
    return [
        name,
        column["type"],
        f"{column['n_features']:,}",
        _values(column),
        rule,
        " and ".join(parts) or "none",
    ]


def _values(column: dict[str, Any]) -> str:
    """What becomes of the values of a column."""
    if column["type"] == DenseFeat.kind:
        return f"{column['buckets']} buckets" if column["buckets"] is not None else f"scaled: {column['scaling']}"
    told = [] if column["hash_buckets"] is None else ["hashed"]
    if column["min_count"] > 1:
        told.append(f"{column['min_count']} times or more")
    if column["type"] != SparseFeat.kind:
        told.append(f"pooled: {column['pooling']}")
        told += [f"at most {column['max_length']}"] if column["max_length"] is not None else []
        told += [f"weights: {column['weights']}"] if column["weights"] is not None else []
    return ", ".join(told)
