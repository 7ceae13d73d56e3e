"""The Scorer: microseconds a row, rows per second, what smaller files cost and gain, threads, and the start.

    python benchmarks/bench_scorer.py [rows] [bulk] [storage] [loss] [threads] [start] [--rounds 5] [--quick]

Without names, all sections. Within a section all contestants take turns in this one process, round after round,
and figures are medians over rounds. onnxruntime and PyTorch run the same models, put together by hand
(scorer_rivals.py), with the faster of their settings, and must give the same scores within 1e-4 first; one that is
not installed is skipped. `--quick` takes fewer rows and rounds: to see that it runs. benchmarks/README.md tells
what each section measures.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import tempfile
import threading
import time
from pathlib import Path

import bench_fit
import numpy as np
import scorer_rivals
from scorer_files import run_loss, run_start, run_storage
from scorer_models import N_FIELDS, as_csr, best_rate, in_turn, made_rows, random_model, resident_mb

from fastfm_deep import Scorer

N_FEATURES, K = 1_000_000, 16
TOLERANCE = 1e-4
BATCHES = (64, 256, 1024, 4096, 16384, 65536)
BLOCK_ROWS = 256


def has(name):
    found = importlib.util.find_spec(name) is not None
    if not found:
        print(f"    {name} is not installed: skipped")
    return found


def saved(model, folder):
    path = Path(folder) / "model.safetensors"
    model.save(path)
    return path


# One row ----------------------------------------------------------------------------------------------------


def clock_overhead():
    """What the clock itself takes, in nanoseconds."""
    clock = time.perf_counter_ns
    taken = np.empty(20_000)
    for place in range(len(taken)):
        started = clock()
        taken[place] = clock() - started
    return float(np.median(taken))


def row_times(score, rows, order):
    """p50 and p99 of single calls, in microseconds, without the clock's own time."""
    clock, taken = time.perf_counter_ns, np.empty(len(order))
    overhead = clock_overhead()
    for place, number in enumerate(order):
        ids, values = rows[number]
        started = clock()
        score(ids, values)
        taken[place] = clock() - started
    return np.percentile(taken - overhead, [50, 99]) / 1000


def row_ways(model, scorer, ids, values, options):
    """Functions of one row and the rows in the form that each of them takes."""
    plain = list(zip(ids, values, strict=True))
    ways = {"ours": (scorer.score_row, plain)}
    weights = scorer_rivals.weights_of(model)
    if has("onnx") and has("onnxruntime"):
        wide = [(row[None], value[None]) for row, value in plain]
        found = scorer_rivals.onnx_row_scorers(weights, N_FIELDS)
        ways |= {name: (score, wide) for name, score in found.items()}
    if has("torch"):
        import torch

        tensors = [(torch.from_numpy(row[None]), torch.from_numpy(value[None])) for row, value in plain]
        found = scorer_rivals.torch_row_scorers(weights, N_FIELDS, options.compile)
        ways |= {name: (score, tensors) for name, score in found.items()}
    return ways


def run_rows(options):
    n_rows = 2000 if options.quick else 20_000
    rng = np.random.default_rng(2)
    ids, sizes = made_rows(n_rows, N_FEATURES, seed=3)
    values = rng.lognormal(0.0, 0.3, ids.shape).astype(np.float32)
    print(f"\none row, {N_FIELDS} non-zeros, k = {K}, {N_FEATURES:,} features, one of {n_rows:,} rows at random")
    for title, hidden in (("FM", None), ("DeepFM 64-32", (64, 32))):
        model = random_model(N_FEATURES, K, sizes, hidden)
        with tempfile.TemporaryDirectory() as folder:
            scorer = Scorer.load(saved(model, folder)).warm_up()
            ways = row_ways(model, scorer, ids, values, options)
            expected = [scorer.score_row(*row) for row in ways["ours"][1][:1000]]
            for name, (score, rows) in ways.items():
                got = [score(*row) for row in rows[:1000]]
                assert np.abs(np.subtract(got, expected)).max() < TOLERANCE, name
            X = as_csr(ids[:1000], N_FEATURES)
            X.data[:] = values[:1000].reshape(-1)
            assert np.abs(model.predict_proba(X)[:, 1] - expected).max() < TOLERANCE
            found = in_turn(
                {
                    name: lambda score=score, rows=rows: row_times(score, rows, rng.permutation(n_rows).tolist())
                    for name, (score, rows) in ways.items()
                },
                options.rounds,
            )
        figures = {name: np.median(times, axis=0) for name, times in found.items()}
        print(f"  {title:32}{'p50, us':>10}{'p99, us':>10}{'x ours':>10}")
        for name, (p50, p99) in figures.items():
            print(f"  {name:32}{p50:10.2f}{p99:10.2f}{p50 / figures['ours'][0]:10.1f}")


# Many rows --------------------------------------------------------------------------------------------------


def in_batches(score, ids, size, convert):
    """A function that scores all rows, so many at a time, and returns the scores."""
    out = np.empty(len(ids), np.float32)
    parts = [
        (slice(start, start + size), convert(ids[start : start + size])) for start in range(0, len(ids), size)
    ]

    def run():
        for place, part in parts:
            out[place] = score(part)
        return out

    return run


def with_best_batch(name, score, ids, convert):
    """The same with the fastest size, found on a part of the rows."""
    few = ids[: max(len(ids) // 5, 1)]
    rates = {size: best_rate(len(few), in_batches(score, few, size, convert), 2) for size in BATCHES}
    best = max(rates, key=rates.get)
    print(f"    {name}: batches of {best:,}")
    return in_batches(score, ids, best, convert)


def yardstick_way(folder, ids, n_threads):
    """A function that tells the scoring rows per second of the C program, or None."""
    program, why_not = bench_fit.build_yardstick(Path(folder), K)
    if program is None:
        print(f"    no yardstick: {why_not}")
        return None
    n_train = min(20_000, len(ids))
    X = as_csr(np.concatenate([ids[:n_train], ids]), N_FEATURES)
    data = Path(folder) / "data.bin"
    bench_fit.write_data(data, X, np.arange(X.shape[0]) % 4 == 0, n_train)
    return lambda: bench_fit.run_yardstick(program, data, n_threads, 1)["score_rows_s"]


def run_bulk(options):
    n_rows, n_threads = 100_000 if options.quick else 1_000_000, options.threads
    ids, _ = made_rows(n_rows, N_FEATURES, seed=4)
    model, X = random_model(N_FEATURES, K), as_csr(ids, N_FEATURES)
    print(f"\n{n_rows:,} rows, FM, {N_FIELDS} non-zeros, k = {K}, {N_FEATURES:,} features, {n_threads} threads")
    with tempfile.TemporaryDirectory() as folder:
        scorer = Scorer.load(saved(model, folder), n_jobs=n_threads).warm_up()
        out = np.empty(n_rows)
        ways = {
            "ours, score_into": lambda: scorer.score_into(X, out),
            "ours, score": lambda: scorer.score(X),
        }
        weights, rivals = scorer_rivals.weights_of(model), {}
        if has("onnx") and has("onnxruntime"):
            score = scorer_rivals.onnx_batches(weights, N_FIELDS, n_threads)
            rivals["onnxruntime"] = with_best_batch("onnxruntime", score, ids, np.ascontiguousarray)
        if has("torch"):
            import torch

            torch.set_num_threads(n_threads)
            for name, score in scorer_rivals.torch_batches(weights).items():
                title = f"PyTorch, {name}"
                rivals[title] = with_best_batch(title, score, ids, torch.from_numpy)
        scorer.score_into(X, out)
        for name, rival in rivals.items():
            assert np.abs(rival() - out).max() < TOLERANCE, name
        assert np.array_equal(scorer.score(X), out)
        timed = {name: lambda way=way: best_rate(n_rows, way) for name, way in (ways | rivals).items()}
        yardstick = yardstick_way(folder, ids, n_threads)
        if yardstick is not None:
            timed["the yardstick, in C"] = yardstick
        rates = {name: float(np.median(found)) for name, found in in_turn(timed, options.rounds).items()}
    print(f"  {'':32}{'rows/s':>14}{'score_into is':>16}{'score is':>11}")
    for name, rate in rates.items():
        into, plain = rates["ours, score_into"] / rate, rates["ours, score"] / rate
        print(f"  {name:32}{rate:14,.0f}{into:14.2f} x{plain:9.2f} x")


# Threads ----------------------------------------------------------------------------------------------------


def on_threads(n_threads, n_calls, work):
    """Seconds in which threads do so many calls together."""
    bounds = np.linspace(0, n_calls, n_threads + 1).astype(int).tolist()
    threads = [threading.Thread(target=work, args=span) for span in itertools.pairwise(bounds)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - started


def run_threads(options):
    n_calls = 50_000 if options.quick else 1_000_000
    ids, _ = made_rows(20_000, N_FEATURES, seed=5)
    values = np.random.default_rng(6).lognormal(0.0, 0.3, ids.shape).astype(np.float32)
    rows, model = list(zip(ids, values, strict=True)), random_model(N_FEATURES, K)
    print(f"\n{n_calls:,} calls of one row together, FM, {N_FIELDS} non-zeros, k = {K}, {N_FEATURES:,} features")
    with tempfile.TemporaryDirectory() as folder:
        scorer = Scorer.load(saved(model, folder), n_jobs=1).warm_up()
        expected = np.resize([scorer.score_row(*row) for row in rows], n_calls)
        got = np.zeros(n_calls)

        def single(start, stop):
            for place in range(start, stop):
                got[place] = scorer.score_row(*rows[place % len(rows)])

        # Memory of threads, and of comparing, is kept for the next time.
        on_threads(16, min(n_calls, 16_000), single)
        np.count_nonzero(got != expected)
        before, rates = resident_mb(), {1: [], 16: []}
        for _ in range(min(options.rounds, 3)):
            for n_threads, found in rates.items():
                got[:] = np.nan
                found.append(n_calls / on_threads(n_threads, n_calls, single))
                n_wrong = np.count_nonzero(got != expected)
                assert not n_wrong, f"{n_wrong} results are wrong"
        growth = resident_mb() - before
        one, many = (float(np.median(found)) for found in rates.values())
        print(f"  1 thread {one:,.0f} calls/s, 16 threads {many:,.0f}: {many / one:.2f} x; all results right")
        print(f"  memory grew by {growth:.1f} MB over all of them")
        run_blocks(options, scorer, ids)


def run_blocks(options, scorer, ids):
    """Blocks of rows, one thread and two threads of the caller's."""
    n_calls = 500 if options.quick else 5000
    blocks = [
        as_csr(ids[start : start + BLOCK_ROWS], N_FEATURES)
        for start in range(0, len(ids) - BLOCK_ROWS + 1, BLOCK_ROWS)
    ]

    def work(start, stop):
        out = np.empty(BLOCK_ROWS)
        for place in range(start, stop):
            scorer.score_into(blocks[place % len(blocks)], out)

    ways = {count: lambda count=count: on_threads(count, n_calls, work) for count in (1, 2)}
    times = {count: float(np.median(found)) for count, found in in_turn(ways, options.rounds).items()}
    rate = BLOCK_ROWS * n_calls / times[1]
    print(f"  blocks of {BLOCK_ROWS} rows: 1 thread {rate:,.0f} rows/s, 2 threads {times[1] / times[2]:.2f} x")


SECTIONS = {
    "rows": run_rows,
    "bulk": run_bulk,
    "storage": run_storage,
    "loss": run_loss,
    "threads": run_threads,
    "start": run_start,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", help=", ".join(SECTIONS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2, help="of bulk and storage")
    parser.add_argument("--features", type=int, default=4_000_000, help="of storage")
    parser.add_argument("--prune", type=float, nargs="+", default=[0.0, 0.01, 0.03, 0.1], help="bounds of loss")
    parser.add_argument("--compile", action="store_true", help="torch.compile too; takes a compiler and a while")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    if options.quick:
        options.rounds = 1
    for name in options.sections:
        if name not in SECTIONS:
            parser.error(f"{name!r} is none of {', '.join(SECTIONS)}")
    for name in options.sections or SECTIONS:
        SECTIONS[name](options)


if __name__ == "__main__":
    main()
