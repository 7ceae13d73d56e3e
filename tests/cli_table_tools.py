"""Made clicks as CSV and Parquet files, and the command run on them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from fastfm_deep.cli import main

N_ROWS = 400
DECLARED = ["--target", "clicked", "--sparse", "user,city", "--dense", "price", "--varlen", "tags"]
TRAINING = ["--n-factors", "3", "--n-epochs", "2", "--random-state", "0", "--n-jobs", "1"]


def made_table(n_rows: int = N_ROWS, seed: int = 0) -> pa.Table:
    """Rows with a planted answer; tags are never empty, which CSV could not tell from missing."""
    rng = np.random.default_rng(seed)
    user = rng.integers(12, size=n_rows)
    city = np.array(["Rome", "Oslo", "Köln"])[rng.integers(3, size=n_rows)]
    price = np.round(rng.gamma(2, 20, n_rows), 2).tolist()
    tags = ["|".join(rng.choice(["a", "b", "c"], rng.integers(1, 4), replace=False)) for _ in range(n_rows)]
    odds = 0.2 * (user - 6) + (city == "Rome") + np.array(["a" in text for text in tags]) - 1
    return pa.table(
        {
            "row_id": np.arange(n_rows) + 1000,
            "user": user,
            "city": city,
            "price": [None if row % 17 == 3 else value for row, value in enumerate(price)],
            "tags": tags,
            "clicked": np.where(rng.random(n_rows) < 1 / (1 + np.exp(-odds)), "yes", "no"),
            "spent": np.round(10 + 2 * odds, 3),
        }
    )


def write_table(path: Path, table: pa.Table) -> str:
    """Write CSV, TSV or Parquet, as the name says."""
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(table, path)
    else:
        options = pyarrow.csv.WriteOptions(
            delimiter="\t" if path.suffix == ".tsv" else ",", quoting_style="needed"
        )
        pyarrow.csv.write_csv(table, path, options)
    return str(path)


def make_tables(folder: Path, kind: str) -> dict[str, str]:
    """Names of a train, a valid and a test file, and of a model that was trained on them."""
    table = made_table()
    spans = {"train": (0, 300), "valid": (300, 50), "test": (350, 50)}
    names = {name: write_table(folder / f"{name}.{kind}", table.slice(*span)) for name, span in spans.items()}
    names["model"] = str(folder / f"{kind}.safetensors")
    assert main(["train", names["train"], *DECLARED, *TRAINING, "--out", names["model"], "--quiet"]) == 0
    return names


def csv_file(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def result_of(capsys: Any, *arguments: str) -> dict[str, Any]:
    """The JSON object that a command prints."""
    capsys.readouterr()
    assert main([*arguments, "--json"]) == 0, capsys.readouterr().err
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def lines_of(capsys: Any, *arguments: str) -> list[str]:
    """What a command prints."""
    capsys.readouterr()
    assert main(list(arguments)) == 0, capsys.readouterr().err
    return capsys.readouterr().out.splitlines()
