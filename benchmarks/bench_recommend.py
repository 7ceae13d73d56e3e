"""The best of many items for one user: `recommend` against scoring a full row for each item.

    python benchmarks/bench_recommend.py [--items 100000] [--n 10] [--factors 16] [--calls 20] [--threads 1 2]

A user has three columns (id, age, city), an item four (id, brand, price, three tags). Figures are medians over
users, each asked about once, in milliseconds; the four ways take turns.

    catalog      recommend(user, catalog, n), the catalog made before by prepare_items(items)
    items        recommend(user, items, n), the raw table, the same for all users
    rows         decision_function of the rows of all pairs, encoded before, as CSR; then the n best
    table        the same of the raw table of all pairs, put together before

All must give the same items. `prepare` is the time of prepare_items alone. BLAS has one thread throughout: left to
itself it starts more while a DeepFM scores rows, which wait for each other by spinning, and on a machine that does
anything else `rows` and `table` then take up to sixty times as long: a ratio of that would be one of the machine.
"""

from __future__ import annotations

import argparse
import gc
import time

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from fastfm_deep import DeepFMClassifier, DenseFeat, FMClassifier, SparseFeat, TableEncoder, VarLenSparseFeat

N_USERS, N_TRAIN = 50_000, 200_000
USER_COLUMNS = [SparseFeat("user"), DenseFeat("age"), SparseFeat("city")]
ITEM_COLUMNS = [
    SparseFeat("item"),
    SparseFeat("brand"),
    DenseFeat("price", scaling="log1p"),
    VarLenSparseFeat("tags"),
]
WAYS = ("catalog", "items", "rows", "table")


def make_tables(n_items, rng):
    users = pd.DataFrame(
        {
            "user": np.arange(N_USERS),
            "age": rng.integers(16, 80, N_USERS),
            "city": pd.Series(rng.integers(500, size=N_USERS)).map("city {}".format),
        }
    )
    tags = [f"tag{number}" for number in range(2000)]
    items = pd.DataFrame(
        {
            "item": pd.Series(np.arange(n_items)).map("item {}".format),
            "brand": pd.Series(rng.integers(3000, size=n_items)).map("brand {}".format),
            "price": rng.lognormal(3.0, 1.0, n_items),
            "tags": [
                "|".join(tags[place] for place in row) for row in rng.integers(2000, size=(n_items, 3)).tolist()
            ],
        }
    )
    return users, items


def joined(users, items):
    return pd.concat([users.reset_index(drop=True), items.reset_index(drop=True)], axis=1)


def best_of(scores, n):
    best = np.argpartition(-scores, n - 1)[:n]
    return best[np.argsort(-scores[best], kind="stable")]


def check_same(found, scores):
    """The same items, but for those whose scores are one number up to rounding."""
    for way, ids in found.items():
        other = found["rows"]
        assert np.allclose(scores[ids], scores[other], rtol=0, atol=1e-5), way
        assert len(set(ids.tolist())) == len(other), way


def run(model, users, items, options, rng):
    n = options.n
    started = time.perf_counter()
    catalog = model.prepare_items(items)
    prepare = 1000 * (time.perf_counter() - started)
    taken = {way: [] for way in WAYS}
    chosen = rng.choice(N_USERS, size=options.calls + 1, replace=False)
    n_same = 0
    for call, number in enumerate(chosen.tolist()):
        user = users.iloc[[number]]
        table = joined(users.iloc[np.full(len(items), number)], items)
        rows = model.encoder_.transform(table)
        ways = {
            "catalog": lambda user=user: model.recommend(user, catalog, n).ids[0],
            "items": lambda user=user: model.recommend(user, items, n).ids[0],
            "rows": lambda rows=rows: best_of(model.decision_function(rows), n),
            "table": lambda table=table: best_of(model.decision_function(table), n),
        }
        found = {}
        gc.collect()
        for way, ask in ways.items():
            ask()  # what went before has emptied the caches
            started = time.perf_counter()
            found[way] = ask()
            if call:  # the first one compiles
                taken[way].append(1000 * (time.perf_counter() - started))
        check_same(found, model.decision_function(rows))
        n_same += all(np.array_equal(ids, found["rows"]) for ids in found.values())
    medians = {way: float(np.median(times)) for way, times in taken.items()}
    return medians, prepare, n_same


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--n", type=int, default=10)
    parser.add_argument("--factors", type=int, default=16)
    parser.add_argument("--calls", type=int, default=20)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    users, items = make_tables(options.items, rng)
    seen = rng.integers(N_USERS, size=N_TRAIN), np.arange(N_TRAIN) % len(items)
    train = joined(users.iloc[seen[0]], items.iloc[seen[1]])
    clicked = rng.random(N_TRAIN) < 0.1 + 0.4 * rng.random(len(items))[seen[1]]
    print(f"1 user, {len(items):,} items, the best {options.n}; medians of {options.calls} calls, ms")
    print(f"{'model':16} {'threads':>7}" + "".join(f"{way:>9}" for way in WAYS), end="")
    print(f"{'rows/catalog':>13}{'table/items':>12}{'prepare':>9}")
    for name, kind in (("FM", FMClassifier), ("DeepFM 64-32", DeepFMClassifier)):
        model = kind(
            options.factors, encoder=TableEncoder(USER_COLUMNS + ITEM_COLUMNS), n_epochs=2, random_state=0
        )
        model.fit(train, clicked)
        for n_threads in options.threads:
            model.set_params(n_jobs=n_threads)
            with threadpool_limits(1, user_api="blas"):
                medians, prepare, n_same = run(model, users, items, options, rng)
            line = f"{name + f', k = {options.factors}':16} {n_threads:7}"
            line += "".join(f"{medians[way]:9.2f}" for way in WAYS)
            line += f"{medians['rows'] / medians['catalog']:13.1f}{medians['table'] / medians['items']:12.1f}"
            print(f"{line}{prepare:9.1f}")
            if n_same <= options.calls:
                print(f"    for {options.calls + 1 - n_same} users near ties came in another order")


if __name__ == "__main__":
    main()
