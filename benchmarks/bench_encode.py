"""Encoding a table: `TableEncoder.fit_transform` against scikit-learn, on the same DataFrame.

    python benchmarks/bench_encode.py [--rows 100000] [--columns 26] [--threads 1 2] [--rounds 3] \
        [--tables "pandas str" "pandas object" polars pyarrow]

The table has `--columns` columns of 8 hexadecimal digits, as Criteo's logs have them, with 1,000,000 values in all
that follow Zipf's law, and half as many numeric columns, a tenth of whose values are missing. scikit-learn's side
is a ColumnTransformer of OneHotEncoder(handle_unknown="ignore"), in float32, and StandardScaler with the mean in
the place of missing numbers; on 2,000 rows both must give the same up to the order of their columns. Each run is a
process of its own, which encodes 2,000 rows first; contenders take turns and figures are medians. `peak` is the
memory at its highest (VmHWM, Linux) beyond the process that holds the table, `result` the arrays that come out and
are part of it. Needs pandas, polars and pyarrow. The full size is `--rows 1000000`: some ten minutes and 6 GB.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from fastfm_deep import DenseFeat, SparseFeat, TableEncoder

ROOT = Path(__file__).parents[1]
TABLES = ("pandas str", "pandas object", "polars", "pyarrow")
N_VALUES = 1_000_000
N_HEAD = 2000
RIVAL = "scikit-learn"


def names_of(n_columns):
    """Names of the categorical and of the numeric columns."""
    return [f"C{number}" for number in range(1, n_columns + 1)], [f"I{n}" for n in range(1, n_columns // 2 + 1)]


def vocabulary_sizes(n_columns):
    """From a few values to a third of all, as in click logs; N_VALUES in all."""
    shares = np.geomspace(1, 1e5, n_columns)
    return np.maximum(2, np.round(N_VALUES * shares / shares.sum())).astype(np.int64)


def arrow_columns(n_rows, n_columns):
    """The columns, text as dictionaries of codes and values."""
    rng = np.random.default_rng(0)
    categorical, numeric = names_of(n_columns)
    found = {}
    for number, (name, size) in enumerate(zip(categorical, vocabulary_sizes(n_columns).tolist(), strict=True)):
        # An odd multiplier: no two numbers share a text.
        values = [f"{(2_654_435_761 * (value + 1) + number) % 2**32:08x}" for value in range(size)]
        codes = (size ** rng.random(n_rows)).astype(np.int32) - 1
        found[name] = pyarrow.DictionaryArray.from_arrays(codes, values)
    for name in numeric:
        values = np.round(rng.lognormal(2.0, 1.5, n_rows), 2)
        found[name] = pyarrow.array(values, mask=rng.random(n_rows) < 0.1)
    return found


def make_table(kind, n_rows, n_columns):
    columns = arrow_columns(n_rows, n_columns)
    if kind == "pandas object":
        import pandas as pd

        # One str for all the rows that have a value, as pandas reads them.
        arrays = {
            name: np.array(part.dictionary.to_pylist(), object)[part.indices.to_numpy()]
            if isinstance(part, pyarrow.DictionaryArray)
            else part.to_numpy(zero_copy_only=False)
            for name, part in columns.items()
        }
        return pd.DataFrame(
            {
                name: pd.Series(array, dtype=object if array.dtype == object else None)
                for name, array in arrays.items()
            }
        )
    table = pyarrow.table(
        {
            name: part.cast(pyarrow.string()) if isinstance(part, pyarrow.DictionaryArray) else part
            for name, part in columns.items()
        }
    )
    if kind == "pandas str":
        found = table.to_pandas()
        return found.astype(dict.fromkeys(names_of(n_columns)[0], "str"))
    if kind == "polars":
        import polars

        return polars.from_arrow(table)
    return table


def make_encoder(contender, n_columns):
    categorical, numeric = names_of(n_columns)
    if contender == RIVAL:
        # In this order the deviation is that of the values there are, as ours is; 0 is then their mean.
        numbers = make_pipeline(StandardScaler(), SimpleImputer(strategy="constant", fill_value=0.0))
        return ColumnTransformer(
            [("categories", OneHotEncoder(handle_unknown="ignore", dtype=np.float32), categorical)]
            + [("numbers", numbers, numeric)] * bool(numeric),
            sparse_threshold=1.0,
        )
    columns = [SparseFeat(name) for name in categorical] + [DenseFeat(name, missing="mean") for name in numeric]
    return TableEncoder(columns, n_jobs=int(contender.split()[1]))


def check_equal(options):
    """Both must say the same of the rows, or their times mean nothing: all products of two rows are compared."""
    table = make_table("pandas str", N_HEAD, options.columns)
    ours, theirs = (make_encoder(name, options.columns).fit_transform(table) for name in ("ours 1", RIVAL))
    difference = abs(ours @ ours.T - theirs.astype(np.float32) @ theirs.T.astype(np.float32))
    assert difference.max() < 1e-3, difference.max()


# One run, in a process of its own ---------------------------------------------------------------------------


def status(name):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(name))


def run_child(options):
    kind, contender = options.child
    table = make_table(kind, options.rows, options.columns)
    head = make_table(kind, N_HEAD, options.columns)
    make_encoder(contender, options.columns).fit(head).transform(head)  # imports and loads what is compiled
    encoder = make_encoder(contender, options.columns)
    gc.collect()
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    before = status("VmRSS")
    clock = [time.perf_counter()]
    X = encoder.fit_transform(table)
    clock.append(time.perf_counter())
    peak = status("VmHWM") - before
    encoder.transform(table)
    clock.append(time.perf_counter())
    result = sum(array.nbytes for array in (X.data, X.indices, X.indptr))
    fit_transform, transform = np.diff(clock)
    print(json.dumps([fit_transform, transform, peak, result, X.shape[1]]))


def measure(options, kind, contender):
    command = [sys.executable, __file__, "--child", kind, contender]
    command += ["--rows", str(options.rows), "--columns", str(options.columns)]
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    return json.loads(subprocess.check_output(command, env=environment))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--columns", type=int, default=26)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=list(TABLES))
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        run_child(options)
        return
    check_equal(options)
    ours = [f"ours {threads}" for threads in options.threads]
    print(
        f"{options.rows:,} rows, {options.columns} columns of text, {options.columns // 2} of numbers; "
        f"medians of {options.rounds} rounds; the digit is our threads"
    )
    print(
        f"{'table':14} {'contender':13} {'fit_transform':>13} {'transform':>10} {'peak MB':>8} {'result MB':>10}",
        end="",
    )
    print(f" {'x sklearn':>10}")
    for kind in options.tables:
        # scikit-learn takes one-hot columns from pandas at full speed; other tables are shown for ours alone.
        contenders = [RIVAL, *ours] if kind.startswith("pandas") else ours
        runs = {name: [] for name in contenders}
        for _ in range(options.rounds):
            for name in contenders:
                runs[name].append(measure(options, kind, name))
        medians = {name: np.median(found, axis=0) for name, found in runs.items()}
        for name, (seconds, again, peak, result, _) in medians.items():
            line = f"{kind:14} {name:13} {seconds:13.3f} {again:10.3f} {peak / 1e6:8.0f} {result / 1e6:10.0f}"
            rival = medians.get(RIVAL)
            print(
                line + (f" {rival[0] / seconds:10.1f}" if rival is not None and name != RIVAL else ""), flush=True
            )
    print(f"{int(medians[ours[0]][4]):,} features came of it (ours: with those for unknown categories)")


if __name__ == "__main__":
    main()
