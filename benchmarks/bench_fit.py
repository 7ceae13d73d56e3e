"""Training and scoring speed against a hand-written C trainer, on the same made click data.

    python benchmarks/bench_fit.py [--threads 1 2] [--rounds 3] [--epochs 3] [--rows 500000] [--factors 16]

The C program, limit_fm.c, is looked for in ../shared/yardstick beside the checkout (or in the folder that
FASTFM_DEEP_YARDSTICK names) and built with gcc -march=native; without it, or without AVX-512, only our own figures
are shown. Both train in turn, round after round, with the same rows, learning rate, penalty and start, rows in a
new random order each epoch. Ratios are of medians over all epochs but the first of each fit, which is the one
that meets new pages of memory.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
from sklearn.metrics import log_loss

from fastfm_deep import Callback, FMClassifier
from fastfm_deep.datasets import make_ctr

YARDSTICK = Path(os.environ.get("FASTFM_DEEP_YARDSTICK", Path(__file__).parents[2] / "shared" / "yardstick"))
LEARNING_RATE, L2, INIT_STD = 0.05, 1e-6, 0.01


def build_yardstick(folder, n_factors):
    """The compiled C program, or None and why not."""
    source = YARDSTICK / "limit_fm.c"
    if not source.exists():
        return None, f"there is no {source}"
    program = folder / "limit_fm"
    command = ["gcc", "-O3", "-march=native", "-ffast-math", f"-DK={n_factors}", "-DUPDATE=1", "-pthread"]
    try:
        done = subprocess.run([*command, source, "-o", program, "-lm"], capture_output=True, text=True)
    except OSError as error:
        return None, str(error)
    return (program, None) if done.returncode == 0 else (None, "it does not compile here (AVX-512 needed)")


def write_data(path, X, y, n_train):
    """The binary file that the C program reads."""
    n_fields = X.indptr[1]
    cut = n_train * n_fields
    with path.open("wb") as file:
        np.array([X.shape[1], n_fields, n_train, X.shape[0] - n_train, 0], np.int32).tofile(file)
        for rows, ids in ((slice(0, n_train), slice(0, cut)), (slice(n_train, None), slice(cut, None))):
            X.indices[ids].astype(np.int32).tofile(file)
            y[rows].astype(np.float32).tofile(file)


def run_yardstick(program, data, n_threads, n_epochs):
    """One run: rows per second of each epoch, scoring rows per second, test logloss."""
    # HOT 0: no private copies; SHUFFLE 1: a new random order each epoch.
    numbers = [n_threads, n_epochs, LEARNING_RATE, L2, INIT_STD, 0, 1]
    found = json.loads(subprocess.check_output([program, data, *map(str, numbers)]))
    epochs = found["epochs"]
    return {
        "rows_s": [epoch["rows_s"] for epoch in epochs],
        "score_rows_s": max(epoch["score_rows_s"] for epoch in epochs),
        "logloss": epochs[-1]["logloss"],
    }


class EpochClock(Callback):
    """CPU and wall time of the epochs alone."""

    def on_fit_begin(self, n_rows, n_epochs):
        self.began = time.perf_counter(), time.process_time()

    def on_epoch_end(self, record):
        self.wall = time.perf_counter() - self.began[0]
        self.cpu = time.process_time() - self.began[1]


def run_ours(train, test, n_factors, n_threads, n_epochs, seed):
    model = FMClassifier(
        n_factors,
        learning_rate=LEARNING_RATE,
        l2_reg_linear=L2,
        l2_reg_factors=L2,
        init_std=INIT_STD,
        n_epochs=n_epochs,
        n_jobs=n_threads,
        random_state=seed,
    )
    started, cpu = time.perf_counter(), time.process_time()
    clock = EpochClock()
    model.fit(*train, callbacks=clock)
    seconds = time.perf_counter() - started
    cpu_per_wall = (time.process_time() - cpu) / seconds
    scores = []
    for _ in range(3):
        begun = time.perf_counter()
        raw = model.decision_function(test[0])
        scores.append(len(raw) / (time.perf_counter() - begun))
    return {
        "rows_s": [epoch["rows_per_second"] for epoch in model.history_],
        "fit_rows_s": len(train[1]) * n_epochs / seconds,
        "score_rows_s": max(scores),
        "logloss": log_loss(test[1], 1 / (1 + np.exp(-raw))),
        "cpu_per_wall": cpu_per_wall,
        "epoch_cpu_per_wall": clock.cpu / clock.wall,
    }


def median(runs, name):
    values = [run[name][1:] or run[name] if isinstance(run[name], list) else run[name] for run in runs]
    return float(np.median(np.concatenate([np.atleast_1d(value) for value in values])))


def report(n_threads, ours, theirs):
    def ratio(name):
        return f"{median(ours, name) / median(theirs, name):5.2f} x" if theirs else ""

    print(f"\n{n_threads} thread{'s' if n_threads > 1 else ''}          {'ours':>14} {'C':>14}   ratio")
    for name, label in (("rows_s", "training rows/s"), ("score_rows_s", "scoring rows/s")):
        other = f"{median(theirs, name):14,.0f}" if theirs else " " * 14
        print(f"{label:17} {median(ours, name):14,.0f} {other} {ratio(name)}")
    other = f"{median(theirs, 'logloss'):14.4f}" if theirs else ""
    print(f"{'test logloss':17} {median(ours, 'logloss'):14.4f} {other}")
    print(f"{'whole fit, rows/s':17} {median(ours, 'fit_rows_s'):14,.0f}")
    print(f"{'CPU / wall, epochs':18}{median(ours, 'epoch_cpu_per_wall'):14.2f}")
    print(f"{'CPU / wall, fit':17} {median(ours, 'cpu_per_wall'):14.2f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="+", default=sorted({1, min(2, os.cpu_count() or 1)}))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--rows", type=int, default=500_000)
    parser.add_argument("--features", type=int, default=1_000_000)
    parser.add_argument(
        "--factors", type=int, default=16, choices=[8, 16], help="those the C program is written for"
    )
    options = parser.parse_args()
    X, y, _ = make_ctr(options.rows * 6 // 5, n_features=options.features, random_state=0)
    train, test = (X[: options.rows], y[: options.rows]), (X[options.rows :], y[options.rows :])
    with tempfile.TemporaryDirectory() as name:
        program, why_not = build_yardstick(Path(name), options.factors)
        if program is None:
            print(f"Our figures alone: {why_not}.")
        data = Path(name) / "data.bin"
        write_data(data, X, y, options.rows)
        for n_threads in options.threads:
            small = (train[0][:20_000], train[1][:20_000])
            run_ours(small, test, options.factors, n_threads, 2, 0)  # compiles
            ours, theirs = [], []
            for seed in range(options.rounds):
                ours.append(run_ours(train, test, options.factors, n_threads, options.epochs, seed))
                if program is not None:
                    theirs.append(run_yardstick(program, data, n_threads, options.epochs))
            report(n_threads, ours, theirs)


if __name__ == "__main__":
    main()
