"""From raw table to scores on four small files: clicks (Criteo, Avazu), ratings (MovieLens) and incomes (census).

100 to 200 rows each: too few to learn from, enough to see what a few lines do with missing values, rare
categories, bags of genres, sampled negatives and weighted rows. Needs pandas and the sample files of DeepCTR
(https://github.com/shenweichen/DeepCTR, folder examples), in the folder deepctr_samples of the one that
FASTFM_DEEP_DATA names.

    python examples/deepctr_samples.py
"""

import os
import sys
from pathlib import Path

import pandas as pd

from fastfm_deep import (
    DeepFMClassifier,
    DeepFMRegressor,
    DenseFeat,
    FMClassifier,
    SparseFeat,
    TableEncoder,
    VarLenSparseFeat,
)

DATA = Path(os.environ.get("FASTFM_DEEP_DATA", Path(__file__).parents[2] / "shared" / "data")) / "deepctr_samples"
CENSUS = """row age class industry_code occupation_code education wage enrolled marital_status industry occupation
    race origin sex union unemployed employment capital_gains capital_losses dividends tax_filer region_before
    state_before household household_summary weight migration_msa migration_region migration_within same_house
    sunbelt employees parents father_born mother_born born citizenship own_business veteran_form veteran
    weeks_worked year income"""


def read_census():
    """No header, blanks after commas, question marks for what is missing."""
    path = DATA / "census-income.sample"
    return pd.read_csv(path, names=CENSUS.split(), skipinitialspace=True, na_values="?")


def show(name, table, target, scores):
    pairs = zip(scores[:4], table[target][-40:-36], strict=True)
    print(f"{name:<10}", ", ".join(f"{score:.3f} ({truth})" for score, truth in pairs))


if not DATA.is_dir():
    sys.exit(f"There is no folder {DATA}: get the samples of shenweichen/DeepCTR, and set FASTFM_DEEP_DATA.")
print("scores of the first of 40 rows that were held back, and the truth")

table = pd.read_csv(DATA / "criteo_sample.txt")
columns = [SparseFeat(f"C{number}", min_count=2) for number in range(1, 27)]
columns += [DenseFeat(f"I{number}", scaling="log1p") for number in range(1, 14)]
model = DeepFMClassifier(8, encoder=TableEncoder(columns), n_jobs=1, random_state=0)
model.fit(table[:-40], table["label"][:-40])
show("Criteo", table, "label", model.predict_proba(table[-40:])[:, 1])

table = pd.read_csv(DATA / "avazu_sample.txt", dtype={"id": str, "hour": str})
table["hour"] = pd.to_datetime(table["hour"], format="%y%m%d%H").dt.hour
columns = [SparseFeat(name, min_count=2) for name in table.columns.drop(["id", "click"])]
# Of the rows without a click, one in ten had been kept, let us say: the probabilities are those for all rows.
model = FMClassifier(8, encoder=TableEncoder(columns), negative_downsampling=0.1, n_jobs=1, random_state=0)
model.fit(table[:-40], table["click"][:-40])
show("Avazu", table, "click", model.predict_proba(table[-40:])[:, 1])

table = pd.read_csv(DATA / "movielens_sample.txt")
columns = [SparseFeat(name) for name in ("user_id", "movie_id", "gender", "occupation")]
columns += [DenseFeat("age"), VarLenSparseFeat("genres", separator="|")]
model = DeepFMRegressor(8, encoder=TableEncoder(columns), clip=True, n_jobs=1, random_state=0)
model.fit(table[:-40], table["rating"][:-40])
show("MovieLens", table, "rating", model.predict(table[-40:]))

table = read_census()
encoder = TableEncoder.from_frame(table, exclude=["row", "weight", "income"])  # columns proposed from their values
model = DeepFMClassifier(8, encoder=encoder, n_jobs=1, random_state=0)
model.fit(table[:-40], table["income"][:-40], sample_weight=table["weight"][:-40])
show("census", table, "income", model.predict_proba(table[-40:])[:, 1])
