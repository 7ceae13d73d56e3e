"""Accuracy on public data sets, against published tables and a linear model.

    python benchmarks/bench_accuracy.py [frappe] [frappe_regression] [movielens] [a9a] [defaults] \
        [deepfm_frappe] [deepfm_defaults] [deepfm_made] [movielens_tables]

The data lie in the folder that the environment variable FASTFM_DEEP_DATA names (by default ../shared/data beside
the checkout); their licences forbid passing them on. Settings were chosen on parts of the training rows or on
validation files, see docs/defaults.md; test rows are only measured here. Some five minutes in all.
"""

from __future__ import annotations

import lzma
import os
import sys
from pathlib import Path

import numpy as np
import scipy.sparse
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score

from fastfm_deep import (
    DeepFMClassifier,
    DeepFMRegressor,
    DenseFeat,
    FMClassifier,
    FMRegressor,
    SparseFeat,
    TableEncoder,
    VarLenSparseFeat,
    read_text,
)
from fastfm_deep.datasets import make_ctr

DATA = Path(os.environ.get("FASTFM_DEEP_DATA", Path(__file__).parent.parent.parent / "shared" / "data"))
SEEDS = (0, 1, 2)

# Chosen on the validation file (the epoch too: early stopping).
FRAPPE_REGRESSION = {
    "n_factors": 128,
    "n_epochs": 200,
    "early_stopping_rounds": 4,
    "learning_rate": 0.1,
    "init_std": 0.2,
    "l2_reg_factors": 0.01,
    "clip": True,
}
# Chosen on parts of ua.base and u1.base.
MOVIELENS = {
    "n_factors": 128,
    "n_epochs": 10,
    "learning_rate": 0.05,
    "init_std": 0.003,
    "l2_reg_factors": 0.04,
    "l2_reg_linear": 0.05,
}

# MovieLens-100K as a table. Columns and settings, epochs too, were chosen with all columns on parts of ua.base:
# five ratings of each user, as ua.test has ten of each, and a random tenth.
ID_COLUMNS = [SparseFeat("user"), SparseFeat("item")]
SIDE_COLUMNS = [
    DenseFeat("age"),
    SparseFeat("sex"),
    SparseFeat("occupation"),
    VarLenSparseFeat("genres", pooling="sqrtn"),
    DenseFeat("year"),
]
MOVIELENS_TABLES = {
    FMRegressor: {
        "n_factors": 128,
        "n_epochs": 9,
        "learning_rate": 0.05,
        "init_std": 0.03,
        "l2_reg_factors": 0.065,
        "l2_reg_linear": 0.03,
    },
    DeepFMRegressor: {
        "n_factors": 32,
        "n_epochs": 9,
        "learning_rate": 0.05,
        "init_std": 0.01,
        "l2_reg_factors": 0.02,
        "l2_reg_linear": 0.01,
        "dnn_hidden_units": (64, 32),
        "dnn_dropout": 0.2,
        "dnn_learning_rate": 1e-3,
        "l2_reg_dnn": 1e-3,
        "batch_size": 16,
    },
}
# With pairs, the FM fits noise to it: users have an id already.
WEIGHT_ALONE = {FMRegressor: ("occupation",), DeepFMRegressor: ()}

# Columns of Frappe's fields, in their order.
FRAPPE_FIELDS = [957, 4082, 7, 7, 2, 3, 2, 9, 80, 233]
FRAPPE_DEEPFM = {
    "defaults": {},
    "dropout 0.2": {"dnn_dropout": 0.2},
    "Adam, batch norm, dropout 0.2": {
        "dnn_dropout": 0.2,
        "dnn_batch_norm": True,
        "optimizer": "adam",
        "learning_rate": 1e-3,
    },
}


def frappe(part):
    return read_text(DATA / "frappe" / f"frappe.{part}.libfm.xz", n_features=5382)


def one_hot(users, items, n_users, n_items):
    n = len(users)
    ids = np.stack([users, n_users + items], axis=1).ravel().astype(np.int32)
    return scipy.sparse.csr_array(
        (np.ones(2 * n, np.float32), ids, np.arange(0, 2 * n + 1, 2)), shape=(n, n_users + n_items)
    )


def ml100k(name):
    with lzma.open(DATA / "ml100k" / f"{name}.xz") as file:
        table = np.loadtxt(file, dtype=np.int64)
    return one_hot(table[:, 0] - 1, table[:, 1] - 1, 943, 1682), table[:, 2].astype(float)


def ml1m():
    with lzma.open(DATA / "ml1m_first_half" / "ratings.dat.xz") as file:
        table = np.array([[int(word) for word in line.split(b"::")[:3]] for line in file])
    users, items = (np.unique(table[:, column], return_inverse=True)[1] for column in (0, 1))
    X, y = one_hot(users, items, users.max() + 1, items.max() + 1), table[:, 2].astype(float)
    order = np.random.default_rng(1).permutation(len(y))
    test, train = order[: len(y) // 10], order[len(y) // 10 :]
    return X[train], y[train], X[test], y[test]


def movielens_tables():
    """Ratings with what is known of users and movies, as DataFrames: ua.base and ua.test."""
    import pandas as pd

    folder = DATA / "ml100k"
    genres = [line.split("|")[0] for line in (folder / "u.genre").read_text().split()]
    names = ["item", "title", "released", "video", "url", *genres]
    items = pd.read_csv(folder / "u.item", sep="|", names=names, encoding="latin-1")
    items["genres"] = [list(items[genres].columns[row == 1]) for row in items[genres].to_numpy()]
    items["year"] = items["released"].str[-4:].astype(float)
    users = pd.read_csv(folder / "u.user", sep="|", names=["user", "age", "sex", "occupation", "zip"])
    for name in ("ua.base", "ua.test"):
        ratings = pd.read_csv(folder / f"{name}.xz", sep="\t", names=["user", "item", "rating", "time"])
        yield ratings.merge(users, on="user").merge(items[["item", "title", "genres", "year"]], on="item")


def rmse(model, X, y):
    return float(np.sqrt(np.mean((model.predict(X) - y) ** 2)))


def auc(model, X, y):
    return float(roc_auc_score(y, model.decision_function(X)))


def run_frappe():
    train, valid, test = frappe("train.resampled"), frappe("validation"), frappe("test")
    found = []
    for seed in SEEDS:
        model = FMClassifier(n_factors=16, n_epochs=60, early_stopping_rounds=4, random_state=seed)
        model.fit(train.X, train.y, eval_set=(valid.X, valid.y))
        p = model.predict_proba(test.X)[:, 1]
        found.append((roc_auc_score(test.y, p), log_loss(test.y > 0, p)))
    mean = np.mean(found, axis=0)
    print(f"Frappe, classification, k = 16: test AUC {mean[0]:.4f}, logloss {mean[1]:.4f} (mean of 3 seeds;")
    print("    published FM: 0.9671 and 0.2065)")


def run_frappe_regression():
    train, valid, test = frappe("train.resampled"), frappe("validation"), frappe("test")
    found = []
    for seed in SEEDS:
        model = FMRegressor(**FRAPPE_REGRESSION, random_state=seed).fit(
            train.X, train.y, eval_set=(valid.X, valid.y)
        )
        found.append(rmse(model, test.X, test.y))
    print(f"Frappe, regression, k = 128: test RMSE {np.mean(found):.4f} (mean of 3 seeds; LibFM: 0.3437)")


def run_movielens():
    found = {}
    for name in ("ua", "u1", "u2", "u3", "u4", "u5"):
        model = FMRegressor(**MOVIELENS, random_state=0).fit(*ml100k(f"{name}.base"))
        found[name] = rmse(model, *ml100k(f"{name}.test"))
    five = np.mean([found[f"u{n}"] for n in range(1, 6)])
    print(f"MovieLens-100K: ua test RMSE {found['ua']:.4f} (pyFM: 0.9606), mean over u1-u5 {five:.4f}")


def run_movielens_tables():
    """Ids alone against all columns, with the same settings."""
    train, test = movielens_tables()
    for kind, settings in MOVIELENS_TABLES.items():
        found = []
        for columns in (ID_COLUMNS, ID_COLUMNS + SIDE_COLUMNS):
            chosen = settings | {
                "encoder": TableEncoder(columns),
                "deep_columns": [column for column in columns if column.name not in WEIGHT_ALONE[kind]],
            }
            models = (kind(**chosen, n_jobs=1, random_state=seed).fit(train, train["rating"]) for seed in SEEDS)
            found.append([rmse(model, test, test["rating"]) for model in models])
        ids, every = (np.mean(of_seeds) for of_seeds in found)
        print(
            f"MovieLens-100K ua, table, {kind.__name__}: test RMSE {every:.4f} with all columns "
            f"({min(found[1]):.4f} to {max(found[1]):.4f}), {ids:.4f} with ids alone, {every - ids:+.4f}"
        )


def run_a9a():
    train, test = (read_text(DATA / "a9a" / name, n_features=123) for name in ("a9a.xz", "a9a.t.xz"))
    linear = LogisticRegression(max_iter=1000).fit(train.X, train.y)
    print(f"a9a: test AUC of scikit-learn's LogisticRegression {auc(linear, test.X, test.y):.4f}", end="")
    for n_factors in (0, 8):
        found = auc(FMClassifier(n_factors, random_state=0).fit(train.X, train.y), test.X, test.y)
        print(f", n_factors={n_factors}: {found:.4f}", end="")
    print()


def run_defaults():
    """Nothing set but the seed: as it is, with values times 1,000, with a numeric column of 10^6."""
    train, test = frappe("train.resampled"), frappe("test")
    sets = {"Frappe": (FMClassifier, auc, train.X, train.y, test.X, test.y)}
    train, test = (read_text(DATA / "a9a" / name, n_features=123) for name in ("a9a.xz", "a9a.t.xz"))
    sets["a9a"] = (FMClassifier, auc, train.X, train.y, test.X, test.y)
    sets["ML-100K ua"] = (FMRegressor, rmse, *ml100k("ua.base"), *ml100k("ua.test"))
    sets["ML-1M, half"] = (FMRegressor, rmse, *ml1m())
    for name, (kind, metric, X, y, X_test, y_test) in sets.items():
        linear = metric(kind(n_factors=0, random_state=0).fit(X, y), X_test, y_test)
        plain = metric(kind(random_state=0).fit(X, y), X_test, y_test)
        large = metric(kind(random_state=0).fit(X * 1000, y), X_test * 1000, y_test)
        rng = np.random.default_rng(0)
        with_column, with_column_test = (
            scipy.sparse.hstack([part, scipy.sparse.csr_array(rng.uniform(0, 1e6, (part.shape[0], 1)))]).tocsr()
            for part in (X, X_test)
        )
        numeric = metric(kind(random_state=0).fit(with_column, y), with_column_test, y_test)
        print(
            f"defaults, {name}: {metric.__name__} {plain:.4f}, n_factors=0 {linear:.4f}; "
            f"values x 1000 {large:.4f}; with a column up to 10^6 {numeric:.4f}"
        )


def run_deepfm_frappe():
    train, valid, test = frappe("train.resampled"), frappe("validation"), frappe("test")
    print("Frappe, DeepFM, k = 10, hidden 400-400-400 (published: AUC 0.9842, logloss 0.1482):")
    for name, settings in FRAPPE_DEEPFM.items():
        for seed in SEEDS:
            model = DeepFMClassifier(
                10,
                fields=FRAPPE_FIELDS,
                dnn_hidden_units=(400, 400, 400),
                n_epochs=40,
                early_stopping_rounds=3,
                random_state=seed,
                **settings,
            )
            model.fit(train.X, train.y, eval_set=(valid.X, valid.y))
            p = model.predict_proba(test.X)[:, 1]
            print(
                f"    {name}, seed {seed}: test AUC {roc_auc_score(test.y, p):.4f}, "
                f"logloss {log_loss(test.y > 0, p):.4f}; validation logloss {model.best_score_:.4f}"
            )


def run_deepfm_defaults():
    """FM and DeepFM with nothing set but fields, number of factors and early stopping."""
    sets = {"Frappe": (frappe("train.resampled"), frappe("validation"), frappe("test"), FRAPPE_FIELDS)}
    train, test = (read_text(DATA / "a9a" / name, n_features=123) for name in ("a9a.xz", "a9a.t.xz"))
    order = np.random.default_rng(0).permutation(len(train.y))
    rows, held = order[len(order) // 10 :], order[: len(order) // 10]
    sets["a9a"] = (train, train, test, None)
    for name, (train, valid, test, fields) in sets.items():
        fitted, watched = (rows, held) if valid is train else (slice(None), slice(None))
        found = {}
        for kind in (FMClassifier, DeepFMClassifier):
            chosen = {"fields": fields} if kind is DeepFMClassifier else {}
            models = (
                kind(n_epochs=40, early_stopping_rounds=3, random_state=seed, **chosen).fit(
                    train.X[fitted], train.y[fitted], eval_set=(valid.X[watched], valid.y[watched])
                )
                for seed in SEEDS
            )
            found[kind] = np.mean([auc(model, test.X, test.y) for model in models])
        fm, deep = found[FMClassifier], found[DeepFMClassifier]
        print(f"{name}, defaults with early stopping: AUC of FM {fm:.4f}, DeepFM {deep:.4f}, {deep - fm:+.4f}")


def run_deepfm_made():
    """Pairs, which an FM can express, and triples, which it cannot; means over seeds."""
    for order in (2, 3):
        for n, n_fields, n_features in ((300_000, 10, 1_000), (300_000, 20, 10_000), (1_000_000, 39, 1_000_000)):
            X, y, fields, p = make_ctr(
                n + 60_000, n_fields, n_features, order=order, random_state=0, return_truth=True
            )
            train, valid, test = slice(n), slice(n, n + 30_000), slice(n + 30_000, None)
            found = []
            for kind, chosen in ((FMClassifier, {}), (DeepFMClassifier, {"fields": fields})):
                models = (
                    kind(n_epochs=12, early_stopping_rounds=2, random_state=seed, **chosen).fit(
                        X[train], y[train], eval_set=(X[valid], y[valid])
                    )
                    for seed in SEEDS
                )
                found.append(np.mean([auc(model, X[test], y[test]) for model in models]))
            name = f"make_ctr(order={order}), {n:,} rows, {n_fields} fields, {n_features:,} columns"
            fm, deep, best = *found, roc_auc_score(y[test], p[test])
            print(f"{name}: AUC of FM {fm:.4f}, DeepFM {deep:.4f}, {deep - fm:+.4f}; the truth {best:.4f}")


PARTS = {
    "frappe": run_frappe,
    "frappe_regression": run_frappe_regression,
    "movielens": run_movielens,
    "a9a": run_a9a,
    "defaults": run_defaults,
    "deepfm_frappe": run_deepfm_frappe,
    "deepfm_defaults": run_deepfm_defaults,
    "deepfm_made": run_deepfm_made,
    "movielens_tables": run_movielens_tables,
}

if __name__ == "__main__":
    if not DATA.is_dir():
        sys.exit(f"There is no folder {DATA}; set FASTFM_DEEP_DATA to the folder with the data sets.")
    for part in sys.argv[1:] or PARTS:
        PARTS[part]()
