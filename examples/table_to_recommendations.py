"""From tables of users, items and clicks to recommendations: train, save, load, score one row, recommend.

The tables are made here, as dicts of arrays; DataFrames of pandas or polars, tables of pyarrow and names of CSV or
Parquet files serve as well. Who likes what is planted: each age group has its taste in genres, and cheap items are
clicked more.

    python examples/table_to_recommendations.py
"""

import tempfile
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from fastfm_deep import DeepFMClassifier, DenseFeat, SparseFeat, TableEncoder, VarLenSparseFeat, load_model

N_USERS, N_ITEMS, N_CLICKS = 500, 200, 30_000
GENRES = np.array(["crime", "drama", "comedy", "horror", "romance", "fantasy", "war", "music"])
rng = np.random.default_rng(0)

# The tables.
age = rng.integers(16, 76, N_USERS)
users = {"user": [f"u{number}" for number in range(N_USERS)], "age": age}
genres = [rng.choice(len(GENRES), size=rng.integers(1, 4), replace=False) for _ in range(N_ITEMS)]
items = {
    "item": [f"i{number}" for number in range(N_ITEMS)],
    "genres": ["|".join(GENRES[of_item]) for of_item in genres],
    "price": rng.lognormal(2.0, 0.5, N_ITEMS).round(2),
}

# The planted truth: the probability that a user clicks an item, (N_USERS, N_ITEMS).
taste = 2.0 * rng.normal(size=(4, len(GENRES)))[(age - 16) // 15]
liking = np.stack([taste[:, of_item].mean(axis=1) for of_item in genres], axis=1)
truth = 1.0 / (1.0 + np.exp(-(liking - 1.0 * (np.log(items["price"]) - 2.0))))

# What was shown to whom, and whether it was clicked.
shown_to, shown = rng.integers(N_USERS, size=N_CLICKS), rng.integers(N_ITEMS, size=N_CLICKS)
clicks = {name: np.asarray(values)[shown_to] for name, values in users.items()}
clicks |= {name: np.asarray(values)[shown] for name, values in items.items()}
clicked = rng.random(N_CLICKS) < truth[shown_to, shown]
part = rng.choice(["train", "valid", "test"], size=N_CLICKS, p=[0.7, 0.1, 0.2])
train, valid, test = (
    ({column: values[part == name] for column, values in clicks.items()}, clicked[part == name])
    for name in ("train", "valid", "test")
)

# Train on the raw table.
encoder = TableEncoder(
    [
        SparseFeat("user"),
        DenseFeat("age", buckets=8),
        SparseFeat("item"),
        VarLenSparseFeat("genres"),
        DenseFeat("price", scaling="log1p"),
    ]
)
model = DeepFMClassifier(
    8, encoder=encoder, l2_reg_factors=0.05, n_epochs=20, early_stopping_rounds=2, n_jobs=1, random_state=0
)
model.fit(*train, eval_set=[valid])
auc, best = (
    roc_auc_score(test[1], p) for p in (model.predict_proba(test[0])[:, 1], truth[shown_to, shown][part == "test"])
)
print(f"{len(test[1]):,} test rows: AUC {auc:.3f} (the truth itself: {best:.3f})")

# One file holds model and encoder; nothing else is needed to score raw rows.
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "model.safetensors"
    model.save(path)
    loaded = load_model(path)
row = {"user": "u7", "age": age[7], "item": "a new one", "genres": "war|drama", "price": None}
print(f"a new war drama of unknown price, for u7: {loaded.score_row_dict(row):.3f}")

# The best items for two users, without those that they clicked before.
catalog = loaded.prepare_items(items)
seen = {name: clicks[name][clicked] for name in ("user", "item")}
chosen = {"user": ["u7", "u8"], "age": age[7:9]}
found = loaded.recommend(chosen, catalog, n=5, exclude=seen)
table = found.to_table()
print("\nuser  rank  item  score  truth  genres")
for user, rank, item, score, of_item in zip(
    table["user"], table["rank"], table["item"], table["score"], table["genres"], strict=True
):
    print(f"u{7 + user:<4} {rank:4}  {item:<5} {score:.3f}  {truth[7 + user, int(item[1:])]:.3f}  {of_item}")
mean = truth[[[7], [8]], found.ids].mean()
print(f"mean truth of these: {mean:.3f}, of all items: {truth[7:9].mean():.3f}")
