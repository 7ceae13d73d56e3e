"""From a wide table of categories, flags and numbers to probabilities: the safe-driver data of Porto Seguro.

The names of 57 columns tell what they are: "_cat" and "_bin" are categories, the others numbers; -1 stands for
missing. Shows the feature dictionary and the index and value matrices that DeepFM write-ups build by hand for this
table. Needs pandas and train.csv (https://www.kaggle.com/c/porto-seguro-safe-driver-prediction; the first 10,000
rows are enough), in the folder porto_seguro_10k of the one that FASTFM_DEEP_DATA names.

    python examples/porto_seguro.py
"""

import os
import sys
from pathlib import Path

import pandas as pd
from sklearn.metrics import log_loss, roc_auc_score

from fastfm_deep import DeepFMClassifier, DenseFeat, SparseFeat, TableEncoder

DATA = Path(os.environ.get("FASTFM_DEEP_DATA", Path(__file__).parents[2] / "shared" / "data")) / "porto_seguro_10k"
paths = sorted(DATA.glob("train*.csv*"))
if not paths:
    sys.exit(f"There is no train.csv in {DATA}: get it from kaggle.com, and set FASTFM_DEEP_DATA.")
table = pd.read_csv(paths[0], nrows=10_000, na_values=[-1])
train, test = table[:8000], table[8000:]

names = [name for name in table.columns if name not in ("id", "target")]
encoder = TableEncoder(
    [SparseFeat(name, min_count=5) if name.endswith(("_cat", "_bin")) else DenseFeat(name) for name in names]
)
model = DeepFMClassifier(
    8, encoder=encoder, dnn_hidden_units=(32, 16), l2_reg_factors=0.05, n_epochs=3, n_jobs=1, random_state=0
)
model.fit(train, train["target"])
p = model.predict_proba(test)[:, 1]
print(f"{len(names)} columns became {model.n_features_in_} features")
print(f"2,000 test rows: AUC {roc_auc_score(test['target'], p):.3f}, logloss {log_loss(test['target'], p):.4f}")

# What the encoder has learned, and the same rows as one index and one value a column.
print(f"\nfeatures of ps_car_02_cat: {model.encoder_.feature_dictionary_['ps_car_02_cat']}")
index, value = model.encoder_.to_index_value(test)
print("the first row: indices", *index[0, :8], "...")
print("               values ", *(f"{number:.2f}" for number in value[0, :8]), "...")
