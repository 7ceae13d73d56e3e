"""Rows per second of the kernels: scoring and updates, by factors and threads, and time per row by row length.

    python benchmarks/bench_kernels.py [--quick]
    python -m pytest benchmarks/bench_kernels.py --benchmark-only

On made click data (39 fields, 1M features); `--quick` takes a tenth of the rows. AdaGrad, after a first fit that
compiles. The second table should rise in proportion to the length of the rows and, once a row of factors is more
than one cache line, to the factors.
"""

from __future__ import annotations

import argparse
import os

import numpy as np
import pytest

from fastfm_deep import FMClassifier
from fastfm_deep.datasets import make_ctr

FACTORS = (0, 4, 8, 16, 32, 64)


def trained(X, y, n_factors, n_threads, n_epochs=3):
    return FMClassifier(n_factors, n_epochs=n_epochs, n_jobs=n_threads, random_state=0).fit(X, y)


def update_rate(X, y, n_factors, n_threads):
    """Median rows per second of an epoch."""
    trained(X[:5000], y[:5000], n_factors, n_threads)
    return float(np.median([record["rows_per_second"] for record in trained(X, y, n_factors, n_threads).history_]))


def score_rate(X, y, n_factors, n_threads):
    import time

    model = trained(X[:5000], y[:5000], n_factors, n_threads, 1)
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        model.decision_function(X)
        seconds.append(time.perf_counter() - started)
    return X.shape[0] / float(np.median(seconds))


def show_rates(X, y, threads):
    print(f"{X.shape[0]:,} rows, {X.indptr[1]} ones each; million rows per second\n")
    head = "".join(f"{name:>9} {n}" for name in ("update", "score") for n in threads)
    print(f"{'factors':>8}{head}   (threads)")
    for n_factors in FACTORS:
        rates = [rate(X, y, n_factors, n) / 1e6 for rate in (update_rate, score_rate) for n in threads]
        print(f"{n_factors:8}" + "".join(f"{rate:11.2f}" for rate in rates))


def show_growth(n_rows):
    print("\nNanoseconds per row, update, 1 thread\n")
    print(f"{'non-zeros':>10}" + "".join(f"{f'k = {k}':>10}" for k in (8, 16, 32, 64)))
    for length in (10, 40, 160):
        X, y, _ = make_ctr(n_rows * 40 // length, n_fields=length, n_features=100_000, random_state=0)
        print(f"{length:10}" + "".join(f"{1e9 / update_rate(X, y, k, 1):10.0f}" for k in (8, 16, 32, 64)))


@pytest.fixture(scope="module")
def clicks():
    return make_ctr(50_000, random_state=0)[:2]


@pytest.mark.parametrize("n_factors", FACTORS)
def test_update(benchmark, clicks, n_factors):
    trained(clicks[0][:5000], clicks[1][:5000], n_factors, 1)
    benchmark.pedantic(trained, (*clicks, n_factors, 1, 1), rounds=3)


@pytest.mark.parametrize("n_factors", FACTORS)
def test_score(benchmark, clicks, n_factors):
    model = trained(*clicks, n_factors, 1, 1)
    benchmark.pedantic(model.decision_function, (clicks[0],), rounds=5, warmup_rounds=1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    n_rows = 50_000 if parser.parse_args().quick else 500_000
    X, y, _ = make_ctr(n_rows, random_state=0)
    show_rates(X, y, sorted({1, os.cpu_count() or 1}))
    show_growth(n_rows // 5)
