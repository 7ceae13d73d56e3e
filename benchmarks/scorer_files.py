"""The sections of `bench_scorer.py` about model files: storages, what they lose, and the start."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import bench_accuracy
import numpy as np
from scorer_models import N_FIELDS, as_csr, in_turn, made_rows, median_rates, random_model, uniform_rows
from sklearn.metrics import roc_auc_score

from fastfm_deep import DeepFMClassifier, DenseFeat, FMClassifier, Scorer, SparseFeat, TableEncoder
from fastfm_deep.datasets import make_ctr

ROOT = Path(__file__).parents[1]
STORAGES = ("float32", "bfloat16", "int8")
LOAD_TIMES = 5


def megabytes(path):
    return os.path.getsize(path) / 1e6


# Speed and size ---------------------------------------------------------------------------------------------


def load_seconds(path):
    """Median time to load a file that the system has in memory, up to a Scorer that answers."""
    row, taken = (np.arange(3, dtype=np.int32), np.ones(3, np.float32)), []
    for _ in range(LOAD_TIMES):
        started = time.perf_counter()
        Scorer.load(path).score_row(*row)
        taken.append(time.perf_counter() - started)
    return float(np.median(taken))


def run_storage(options):
    n_features = 200_000 if options.quick else options.features
    n_rows = 50_000 if options.quick else 200_000
    inputs = {
        "Zipf": as_csr(made_rows(n_rows, n_features, seed=7)[0], n_features),
        "uniform": as_csr(uniform_rows(n_rows, n_features, seed=8), n_features),
    }
    for k in (64, 16):
        with tempfile.TemporaryDirectory() as folder:
            paths = {storage: Path(folder) / f"{storage}.safetensors" for storage in STORAGES}
            model = random_model(n_features, k)
            for storage, path in paths.items():
                model.save(path, dtype=storage)
            del model
            run_storage_of(options, k, paths, inputs, n_rows, n_features)


def run_storage_of(options, k, paths, inputs, n_rows, n_features):
    print(f"\nstorages: FM, {n_features:,} features, k = {k}, {n_rows:,} rows of {N_FIELDS} non-zeros, score_into")
    scorers = {storage: Scorer.load(path).warm_up() for storage, path in paths.items()}
    for storage, path in paths.items():
        print(f"  {storage:10}{megabytes(path):10,.0f} MB, loaded in {1000 * load_seconds(path):.1f} ms")
    out = np.empty(n_rows)
    for ids, X in inputs.items():
        for n_threads in sorted({1, options.threads}):
            ways = {
                storage: lambda scorer=scorer, X=X, n_threads=n_threads: scorer.score_into(
                    X, out, n_jobs=n_threads
                )
                for storage, scorer in scorers.items()
            }
            for way in ways.values():  # pages of a mapped file come with the first look at them
                way()
            rates = median_rates(ways, n_rows, options.rounds)
            figures = "".join(
                f"{storage:>11} {rate:10,.0f} rows/s ({rate / rates['float32']:.2f} x)"
                for storage, rate in rates.items()
            )
            print(f"  {ids:8} ids, {n_threads} thread{'s' if n_threads > 1 else ' '}{figures}")


# What is lost -----------------------------------------------------------------------------------------------


def run_loss(options):
    """AUC on Frappe of the same model out of different files."""
    if not (bench_accuracy.DATA / "frappe").exists():
        print(f"\nloss: there is no {bench_accuracy.DATA / 'frappe'}; FASTFM_DEEP_DATA names the folder: skipped")
        return
    train, valid, test = (bench_accuracy.frappe(part) for part in ("train.resampled", "validation", "test"))
    chosen = {"n_epochs": 2 if options.quick else 60, "early_stopping_rounds": 4, "random_state": 0}
    models = {
        "FM": FMClassifier(**chosen),
        "DeepFM": DeepFMClassifier(fields=bench_accuracy.FRAPPE_FIELDS, **chosen),
    }
    kinds = [{"dtype": storage} for storage in STORAGES] + [{"prune": bound} for bound in options.prune]
    kinds += [{"dtype": "int8", "prune": bound} for bound in options.prune[1:2]]
    print(f"\nAUC on Frappe, {len(test.y):,} test rows")
    for name, model in models.items():
        model.fit(train.X, train.y, eval_set=[(valid.X, valid.y)])
        print(f"  {name:28}{'AUC':>10}{'lost':>11}{'largest change':>16}{'file, kB':>10}")
        plain = model.predict_proba(test.X)[:, 1]
        whole = roc_auc_score(test.y, plain)
        for kind in kinds:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "model.safetensors"
                model.save(path, **kind)
                scores, size = Scorer.load(path).score(test.X), 1000 * megabytes(path)
            auc = roc_auc_score(test.y, scores)
            title = ", ".join(f"{option}={value}" for option, value in kind.items())
            print(f"  {title:28}{auc:10.5f}{whole - auc:11.6f}{np.abs(scores - plain).max():16.5f}{size:10,.0f}")


# The start --------------------------------------------------------------------------------------------------

NOTHING = "print(1.0, flush=True)"
NUMPY = "import numpy; print(1.0, flush=True)"
ARRAYS = """
import sys
import numpy
from fastfm_deep import Scorer
scorer = Scorer.load(sys.argv[1], backend=sys.argv[2])
print(scorer.score_row(numpy.array({ids}, numpy.int32), numpy.ones({n}, numpy.float32)), flush=True)
"""
TABLE = """
import sys
from fastfm_deep import Scorer
scorer = Scorer.load(sys.argv[1], backend=sys.argv[2])
print(scorer.score_dict({row}), flush=True)
"""


def until_first_line(code, *arguments):
    """Seconds from the start of a process until its first line, and the number in it."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        line = process.stdout.readline()
        seconds = time.perf_counter() - started
    assert process.returncode == 0, code
    return seconds, float(line)


def table_model():
    """A model of a table, and a row of it."""
    rng = np.random.default_rng(9)
    n = 20_000
    table = {
        "user": [f"user {number}" for number in rng.integers(5000, size=n)],
        "item": [f"item {number}" for number in rng.integers(5000, size=n)],
        "city": [f"city {number}" for number in rng.integers(300, size=n)],
        "price": rng.lognormal(3.0, 1.0, n).tolist(),
    }
    columns = [SparseFeat("user"), SparseFeat("item"), SparseFeat("city"), DenseFeat("price")]
    model = FMClassifier(encoder=TableEncoder(columns), n_epochs=1, random_state=0)
    model.fit(table, rng.random(n) < 0.3)
    return model, {name: values[0] for name, values in table.items()}


def run_start(options):
    n_features, n_rounds = 100_000, 1 if options.quick else 7
    X, y, _ = make_ctr(20_000, N_FIELDS, n_features, random_state=0)
    with tempfile.TemporaryDirectory() as folder:
        rows, table = Path(folder) / "rows.safetensors", Path(folder) / "table.safetensors"
        model = FMClassifier(n_epochs=1, random_state=0).fit(X, y)
        model.save(rows)
        of_table, row = table_model()
        of_table.save(table)
        code = {
            "arrays": (ARRAYS.format(ids=X.indices[:N_FIELDS].tolist(), n=N_FIELDS), rows),
            "dict": (TABLE.format(row=row), table),
        }
        expected = {"arrays": model.predict_proba(X[:1])[0, 1], "dict": of_table.score_row_dict(row)}
        ways = {"the interpreter alone": lambda: until_first_line(NOTHING)[0]}
        ways["import numpy alone"] = lambda: until_first_line(NUMPY)[0]
        for kind, (text, path) in code.items():
            for backend in ("numba", "numpy"):
                ways[f"{kind}, {backend}"] = lambda text=text, path=path, backend=backend: until_first_line(
                    text, path, backend
                )[0]
                got = until_first_line(text, path, backend)[1]  # compiled code and pages are there then
                assert abs(got - expected[kind]) < 1e-5, (kind, backend, got)
        found = in_turn(ways, n_rounds)
    print(f"\nfrom the start of a process to its first score, compiled code on disk; medians of {n_rounds}")
    for name, seconds in found.items():
        print(f"  {name:24}{np.median(seconds):7.3f} s")
