"""The names of a table's columns, as fast as a shell that completes a word wants them."""

from __future__ import annotations

import csv
from collections.abc import Sequence


def names_on_hand(paths: Sequence[str]) -> list[str]:
    """Names of the columns of the first table among some files; none where they cannot be had at once."""
    for path in paths:
        name = path.lower()
        if name.endswith((".csv", ".tsv")):
            return _names_of_text(path, "\t" if name.endswith(".tsv") else ",")
        if name.endswith((".parquet", ".pq")):
            return _names_of_parquet(path)
    return []


def _names_of_text(path: str, delimiter: str) -> list[str]:
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            return next(csv.reader(file, delimiter=delimiter), [])
    except (OSError, ValueError, csv.Error):
        return []


def _names_of_parquet(path: str) -> list[str]:
    try:
        from pyarrow import parquet

        with parquet.ParquetFile(path) as file:
            return [str(name) for name in file.schema_arrow.names]
    except (ImportError, OSError, ValueError):
        return []
