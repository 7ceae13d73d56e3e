"""DeepFM of several libraries on the same rows: rows per second, test logloss and AUC, peak memory, in one run.

    python benchmarks/compare_libraries.py [--rows 300000] [--hidden 64-32 400-400-400] [--threads 1 2]
    python benchmarks/compare_libraries.py --vocabulary [--sizes 10000 100000 1000000 10000000]
    python benchmarks/compare_libraries.py --matrix-products [--hidden 400-400-400]

Made click logs (`make_ctr`, Zipf ids). Each run is a process of its own that first trains on a few rows; the
competitors (benchmarks/competitors) take turns, repeat after repeat, and figures are medians. Those that are not
installed are skipped with a word; benchmarks/README.md says how to get them and how to read the table.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from competitors import COMPETITORS
from competitors.contract import Rows, Task
from sklearn.metrics import log_loss, roc_auc_score

from fastfm_deep.datasets import make_ctr

ZIPF = 1.1
WARM_UP_ROWS = 4000
# Of the training rows: those the batch size is chosen on.
SEARCH_SHARE = 4


# The rows, made once and read by every process --------------------------------------------------------------


def write_rows(folder, n_rows, n_fields, n_features, seed):
    """Training rows and a fifth as many test rows."""
    X, y, sizes = make_ctr(n_rows * 6 // 5, n_fields, n_features, zipf=ZIPF, random_state=seed)
    np.save(folder / "ids.npy", X.indices.reshape(-1, n_fields).astype(np.int32))
    np.save(folder / "y.npy", y)
    (folder / "sizes.json").write_text(json.dumps([n_rows, sizes]))


def read_rows(folder):
    n_rows, sizes = json.loads((folder / "sizes.json").read_text())
    rows = Rows(np.load(folder / "ids.npy"), np.load(folder / "y.npy"), sizes)
    return rows.part(0, n_rows), rows.part(n_rows, len(rows.y))


# In a process of its own ------------------------------------------------------------------------------------


def status(name):
    """A line of Linux' account of this process in bytes, or NaN elsewhere."""
    with contextlib.suppress(OSError), open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(name))
    return float("nan")


def forget_peak():
    """Give free memory back, and let the peak be counted from here."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as file:
        file.write("5")


def run_here(folder, name, task):
    """One measured fit: what the parent's table needs."""
    competitor = COMPETITORS[name]
    train, test = read_rows(folder)
    warm_up(competitor, train, test, task)
    rows = competitor.prepare(train, test)
    forget_peak()
    before = status("VmRSS")
    started = time.perf_counter()
    outcome = competitor.fit_and_score(rows, task)
    return {
        "rates": [outcome.n_rows / seconds for seconds in outcome.seconds],
        "whole": time.perf_counter() - started,
        "logloss": log_loss(test.y, outcome.probabilities.astype(np.float64)),
        "auc": roc_auc_score(test.y, outcome.probabilities),
        "memory": status("VmHWM") - before,
        "note": outcome.note,
    }


def search_here(folder, name, task):
    """Rows per second by batch size, on a part of the rows: the better of two epochs."""
    competitor = COMPETITORS[name]
    train, test = read_rows(folder)
    warm_up(competitor, train, test, task)
    rows = competitor.prepare(train.part(0, len(train.y) // SEARCH_SHARE), test.part(0, WARM_UP_ROWS))
    rates = {}
    for size in competitor.batch_sizes:
        outcome = competitor.fit_and_score(rows, task._replace(batch_size=size, n_epochs=2))
        rates[size] = outcome.n_rows / min(outcome.seconds)
    return rates


def warm_up(competitor, train, test, task):
    few = competitor.prepare(train.part(0, WARM_UP_ROWS), test.part(0, 100))
    competitor.fit_and_score(few, task._replace(n_epochs=1))


CHILDREN = {"run": run_here, "search": search_here}


def in_process(what, folder, name, task):
    """The answer of a fresh process, or None and its last words on stderr."""
    arguments = [sys.executable, __file__, "--child", what, str(folder), name, json.dumps(task._asdict())]
    threads = {
        variable: str(task.n_threads)
        for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    }
    done = subprocess.run(arguments, env={**os.environ, **threads}, capture_output=True, text=True)
    if done.returncode:
        print(f"{name} failed: {done.stderr.strip()[-500:]}", file=sys.stderr)
        return None
    return json.loads(done.stdout.splitlines()[-1])


def child(what, folder, name, text):
    task = Task(**json.loads(text))
    task = task._replace(hidden_units=tuple(task.hidden_units))
    print(json.dumps(CHILDREN[what](Path(folder), name, task)))


# The table --------------------------------------------------------------------------------------------------


def chosen_competitors(names):
    for name, competitor in COMPETITORS.items():
        if names and name not in names:
            continue
        why_not = competitor.why_not()
        if why_not is None:
            yield name
        else:
            print(f"{name} is skipped: {why_not}.")


def batch_size_for(folder, name, task, given):
    """The fastest of the competitor's batch sizes, or the given one; None for a competitor that has its own."""
    if not COMPETITORS[name].batch_sizes or given is not None:
        return given if COMPETITORS[name].batch_sizes else None
    rates = in_process("search", folder, name, task)
    if rates is None:
        return None
    print(f"  {name}: " + ", ".join(f"batch {size}: {rate:,.0f}" for size, rate in rates.items()) + " rows/s")
    return int(max(rates, key=rates.get))


def compare(folder, names, task, options):
    """All runs of one network and number of threads, by name."""
    print(f"\nMLP {'-'.join(map(str, task.hidden_units))}, {task.n_threads} thread(s)")
    tasks = {}
    for name in names:
        tasks[name] = task._replace(batch_size=batch_size_for(folder, name, task, options.batch_size))
        if name == "ours":
            tasks[name] = task._replace(options=options.ours)
    runs = {name: [] for name in names}
    for repeat in range(options.repeats):
        for name in names:
            for rate in options.rates or [None]:
                seed = options.seed + repeat
                run = in_process("run", folder, name, tasks[name]._replace(seed=seed, learning_rate=rate))
                if run is not None:
                    runs[name].append(run)
                if run is not None and options.rates:
                    print(f"  {name}, rate {rate}: logloss {run['logloss']:.4f}, AUC {run['auc']:.4f}", flush=True)
    if not options.rates:
        show(runs)
    return runs


def median(runs, name):
    values = [run[name] for run in runs]
    return float(np.median(np.concatenate([np.atleast_1d(value) for value in values])))


def show(runs):
    print(f"\n{'':22}{'rows/s':>10}{'logloss':>9}{'AUC':>8}{'memory':>9}{'ours is':>10}")
    ours = runs.get("ours")
    for name, own in runs.items():
        if not own:
            continue
        ratio = f"{median(ours, 'rates') / median(own, 'rates'):8.2f} x" if ours and name != "ours" else " " * 10
        print(
            f"{name:22}{median(own, 'rates'):10,.0f}{median(own, 'logloss'):9.4f}{median(own, 'auc'):8.4f}"
            f"{median(own, 'memory') / 1e6:6,.0f} MB{ratio}   {own[0]['note']}",
            flush=True,
        )


def show_threads(one, two, n_threads):
    """What more threads give each."""
    print(f"\n{n_threads} threads against 1{'':6}rows/s   logloss")
    for name, runs in two.items():
        if runs and one.get(name):
            gain = median(runs, "rates") / median(one[name], "rates")
            change = median(runs, "logloss") - median(one[name], "logloss")
            print(f"{name:22}{gain:7.2f} x{change:+10.4f}", flush=True)


def compare_all(options):
    names = list(chosen_competitors(options.only))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_rows(folder, options.rows, options.fields, options.features, options.seed)
        print(
            f"{options.rows:,} rows of {options.fields} one-hot fields, {options.features:,} columns, "
            f"{options.k} factors, {options.epochs} epoch(s), median of {options.repeats}"
        )
        for hidden in options.hidden:
            by_threads = {}
            for n_threads in options.threads:
                task = Task(options.k, hidden, options.epochs, n_threads, options.seed)
                by_threads[n_threads] = compare(folder, names, task, options)
            for n_threads in sorted(by_threads)[1:]:
                if 1 in by_threads:
                    show_threads(by_threads[1], by_threads[n_threads], n_threads)


def show_vocabulary(options):
    """Time per row as the vocabulary grows; the first size is what the others are held against."""
    for hidden in options.hidden:
        print(f"\nMLP {'-'.join(map(str, hidden))}, {options.rows:,} rows; nanoseconds per row, ours")
        print(f"{'columns':>12}" + "".join(f"{f'{n} thread(s)':>22}" for n in options.threads))
        first = {}
        for n_features in options.sizes:
            with tempfile.TemporaryDirectory() as name:
                write_rows(Path(name), options.rows, options.fields, n_features, options.seed)
                line = f"{n_features:12,}"
                for n_threads in options.threads:
                    task = Task(options.k, hidden, options.epochs, n_threads, options.seed, options=options.ours)
                    runs = [in_process("run", Path(name), "ours", task) for _ in range(options.repeats)]
                    found = 1e9 / median([run for run in runs if run], "rates")
                    ratio = found / first.setdefault(n_threads, found)
                    line += f"{found:12,.0f}{ratio:8.2f} x"
                print(line, flush=True)


def widths(text):
    """`64-32` as (64, 32)."""
    return tuple(int(part) for part in text.split("-"))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    modes = parser.add_mutually_exclusive_group()
    modes.add_argument("--vocabulary", action="store_true", help="our time per row by number of columns")
    modes.add_argument("--matrix-products", action="store_true", help="our matrix products against bare ones")
    modes.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--rows", type=int, default=300_000, help="training rows; a fifth as many test rows")
    parser.add_argument("--features", type=int, default=1_000_000)
    parser.add_argument("--fields", type=int, default=39)
    parser.add_argument("--k", type=int, default=16, help="factors")
    parser.add_argument("--hidden", type=widths, nargs="+", default=[(64, 32)], help="such as 64-32 400-400-400")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--threads", type=int, nargs="+", default=sorted({1, min(2, os.cpu_count() or 1)}))
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=list(COMPETITORS), help="these competitors alone")
    parser.add_argument("--batch-size", type=int, help="for all PyTorch competitors, instead of the fastest")
    parser.add_argument(
        "--rates", type=float, nargs="+", help="try these learning rates instead of the best known"
    )
    parser.add_argument(
        "--ours",
        type=json.loads,
        default={},
        help="arguments of DeepFMClassifier, such as '{\"batch_size\": 512}'",
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000, 10_000_000])
    return parser.parse_args()


def main():
    options = arguments()
    if options.child:
        child(*options.child)
    elif options.vocabulary:
        show_vocabulary(options)
    elif options.matrix_products:
        from matrix_products import show_matrix_products

        show_matrix_products(options)
    else:
        compare_all(options)


if __name__ == "__main__":
    main()
