"""Predict MovieLens ratings from a table: ids, age, sex, occupation, genres and year, straight from a DataFrame.

The encoder says what the columns are; the model takes the table, remembers how to read it and scores a single new
row from a dict of raw values. All columns are compared with ids alone. Needs pandas and the MovieLens 100K data
(https://grouplens.org/datasets/movielens/100k/): the folder ml100k in the one that FASTFM_DEEP_DATA names.

    python examples/movielens_table.py
"""

import os
import sys
from pathlib import Path

import pandas as pd

from fastfm_deep import DenseFeat, FMRegressor, SparseFeat, TableEncoder, VarLenSparseFeat

DATA = Path(os.environ.get("FASTFM_DEEP_DATA", Path(__file__).parents[2] / "shared" / "data")) / "ml100k"


def read_ratings(name):
    """Ratings beside what is known of their users and movies; a genre is a column of zeros and ones in u.item."""
    genres = [line.split("|")[0] for line in (DATA / "u.genre").read_text().split()]
    items = pd.read_csv(
        DATA / "u.item", sep="|", names=["item", "title", "released", "video", "url", *genres], encoding="latin-1"
    )
    items["genres"] = items[genres].apply(lambda row: "|".join(row.index[row == 1]), axis=1)
    items["year"] = items["released"].str[-4:].astype(float)
    users = pd.read_csv(DATA / "u.user", sep="|", names=["user", "age", "sex", "occupation", "zip"])
    path = next(DATA.glob(f"{name}*"))  # as it is, or compressed
    ratings = pd.read_csv(path, sep="\t", names=["user", "item", "rating", "time"])
    return ratings.merge(users, on="user").merge(items[["item", "title", "genres", "year"]], on="item")


if not DATA.is_dir():
    sys.exit(f"There is no folder {DATA}: get ml-100k.zip from grouplens.org, and set FASTFM_DEEP_DATA.")
train, test = read_ratings("ua.base"), read_ratings("ua.test")

ids = [SparseFeat("user"), SparseFeat("item")]
of_user = [DenseFeat("age"), SparseFeat("sex"), SparseFeat("occupation")]
of_item = [VarLenSparseFeat("genres", pooling="sqrtn"), DenseFeat("year")]
settings = {"n_factors": 64, "n_epochs": 9, "learning_rate": 0.05, "l2_reg_factors": 0.05, "l2_reg_linear": 0.03}
for name, columns in (("ids alone", ids), ("all columns", ids + of_user + of_item)):
    paired = [column for column in columns if column.name != "occupation"]  # which has a weight, but no factors
    model = FMRegressor(
        encoder=TableEncoder(columns), deep_columns=paired, init_std=0.03, n_jobs=1, random_state=0, **settings
    )
    model.fit(train, train["rating"])
    rmse = ((model.predict(test) - test["rating"]) ** 2).mean() ** 0.5
    print(f"{name:<12} {model.n_features_in_:5} features, test RMSE {rmse:.4f}")

# One row of raw values. The movie is new, but its genres and year are not: its id counts as unknown.
row = test.iloc[0].to_dict() | {"item": 99_999, "genres": "Drama|War", "year": 1996}
print(f"\na new war drama, for user {row['user']}: {model.score_row_dict(row):.2f}")
