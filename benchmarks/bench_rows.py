"""One row from a dict of raw values to its score: `score_row_dict`, microseconds a row.

    python benchmarks/bench_rows.py [--rows 20000] [--vocabulary 1000000] [--factors 16]

A row has 10 columns: six sparse ones (four of text, two of integers), three dense ones and a bag of three tags;
their categories are `--vocabulary` in all. Every row is another one, and one in twenty holds a category that is
unknown. Each call is timed by itself. Answers to the first 1,000 rows are compared with those that the model gives
for them as a table.
"""

from __future__ import annotations

import argparse
import gc
import time

import numpy as np

from fastfm_deep import DeepFMClassifier, DenseFeat, FMClassifier, SparseFeat, TableEncoder, VarLenSparseFeat

COLUMNS = [
    *(SparseFeat(name) for name in ("user", "item", "page", "device", "campaign", "city")),
    *(DenseFeat(name) for name in ("price", "age", "hour")),
    VarLenSparseFeat("tags"),
]
N_TAGS = 10_000


def make_rows(n, vocabulary, rng):
    """`n` rows as columns of raw values; enough of them hold every category but some tags."""
    size = max(2, (vocabulary - N_TAGS) // 6)
    # An odd multiplier: no two numbers share a text.
    texts = np.array([f"{2_654_435_761 * value % 2**32:08x}" for value in range(1, size + 1)], object)
    places = [rng.permutation(max(n, size))[:n] % size for _ in range(6)]
    columns = {name: texts[place] for name, place in zip(("user", "item", "page", "device"), places, strict=False)}
    columns |= {"campaign": places[4] + 10**9, "city": places[5]}
    columns |= {"price": rng.lognormal(3.0, 1.0, n), "age": rng.integers(16, 80, n), "hour": rng.uniform(0, 24, n)}
    tags = np.array([f"tag{number}" for number in range(N_TAGS)], object)
    columns["tags"] = tags[rng.integers(N_TAGS, size=(n, 3))].tolist()
    return columns


def as_dicts(columns):
    """What a server gets: dicts of plain Python values."""
    lists = [values.tolist() if isinstance(values, np.ndarray) else values for values in columns.values()]
    return [dict(zip(columns, row, strict=True)) for row in zip(*lists, strict=True)]


def microseconds(call, rows):
    taken = np.empty(len(rows))
    clock = time.perf_counter_ns
    gc.collect()
    for place, row in enumerate(rows):
        started = clock()
        call(row)
        taken[place] = clock() - started
    return taken / 1000


def report(name, taken):
    p50, p99 = np.percentile(taken, [50, 99])
    print(f"{name:32} {p50:7.1f} {p99:7.1f} {taken.mean():7.1f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--vocabulary", type=int, default=1_000_000)
    parser.add_argument("--factors", type=int, default=16)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    n_train = max(options.vocabulary // 5, 2000)
    table = make_rows(n_train, options.vocabulary, rng)
    clicked = rng.random(n_train) < 0.3
    rows = as_dicts(make_rows(options.rows, options.vocabulary, rng))
    for row in rows[::20]:
        row["item"] = "never seen"
    few = {name: [row[name] for row in rows[:1000]] for name in table}
    print(f"{'microseconds a row':32} {'p50':>7} {'p99':>7} {'mean':>7}")
    for name, kind, chosen in (("FM", FMClassifier, {}), ("DeepFM 64-32", DeepFMClassifier, {"batch_size": 256})):
        model = kind(options.factors, encoder=TableEncoder(COLUMNS), n_epochs=1, random_state=0, **chosen)
        model.fit(table, clicked)
        expected = model.predict_proba(few)[:, 1]
        for row in rows[:100]:  # compiles
            model.score_row_dict(row)
        report(f"{name}, k = {options.factors}", microseconds(model.score_row_dict, rows))
        got = [model.score_row_dict(row) for row in rows[:1000]]
        assert np.allclose(got, expected, rtol=1e-5, atol=1e-6), np.abs(got - expected).max()
    report("transform_row alone", microseconds(model.encoder_.transform_row, rows))
    print(f"{options.rows:,} rows; {model.n_features_in_:,} features")


if __name__ == "__main__":
    main()
