"""DeepFM as its paper has it: categories, bags of tags and numbers, each a field, under a deep network.

The rows are impressions of an advertisement: city, device and hour (one value each), tags of the page (several)
and two numbers. scikit-learn turns each into columns; a `FieldLayout` says which columns belong together and that
the tags of a row are averaged. A DeepFM is compared with a plain factorization machine on rows that neither has
seen.

    python examples/mixed_fields.py
"""

import numpy as np
import scipy.sparse as sp
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.preprocessing import MultiLabelBinarizer, OneHotEncoder, StandardScaler

from fastfm_deep import DeepFMClassifier, FieldLayout, FMClassifier

N_ROWS, N_CITIES, N_DEVICES, N_TAGS = 20_000, 40, 6, 30
rng = np.random.default_rng(0)

# The table as it comes: one value, several tags, or a number in a cell.
city = rng.integers(N_CITIES, size=N_ROWS)
device = rng.integers(N_DEVICES, size=N_ROWS)
hour = rng.integers(24, size=N_ROWS)
tags = [rng.choice(N_TAGS, size=rng.integers(1, 5), replace=False) for _ in range(N_ROWS)]
price, age = rng.lognormal(3.0, 0.5, N_ROWS), rng.uniform(16, 80, N_ROWS)
categories = np.column_stack([city, device, hour]).astype(str)
numbers = np.column_stack([price, age])

# The planted truth: a city and a device together decide which tags work, and there is a best price.
city_side, device_side = rng.choice([-1, 1], N_CITIES), rng.choice([-1, 1], N_DEVICES)
appeal = rng.normal(size=N_TAGS)
mean_appeal = np.array([appeal[of_row].mean() for of_row in tags])
score = (
    -0.2
    + 0.4 * rng.normal(size=N_CITIES)[city]
    + 0.3 * np.sin(hour * np.pi / 12)
    + 2.0 * city_side[city] * device_side[device] * mean_appeal
    - 1.5 * np.abs(np.log(price) - 3.0)
)
truth = 1.0 / (1.0 + np.exp(-score))
clicked = rng.random(N_ROWS) < truth

# Columns: a block for each field, side by side.
train, valid, test = np.split(np.arange(N_ROWS), [14_000, 16_000])
one_hot = OneHotEncoder(handle_unknown="ignore", dtype=np.float32).fit(categories[train])
bags = MultiLabelBinarizer(sparse_output=True).fit(tags)
scaler = StandardScaler().fit(np.log(numbers[train]))
X = sp.hstack(
    [one_hot.transform(categories), bags.transform(tags), scaler.transform(np.log(numbers))],
    format="csr",
    dtype=np.float32,
)
sizes = [len(values) for values in one_hot.categories_] + [len(bags.classes_)] + [1, 1]
fields = FieldLayout.from_sizes(sizes, pooling=["sum", "sum", "sum", "mean", "sum", "sum"])

fm = FMClassifier(n_factors=8, n_epochs=30, early_stopping_rounds=2, n_jobs=1, random_state=0)
deep_fm = DeepFMClassifier(
    n_factors=8,
    fields=fields,
    dnn_hidden_units=(256, 128, 64),
    dnn_activation="relu",
    dnn_dropout=0.2,
    l2_reg_linear=1e-5,
    optimizer="adam",
    learning_rate=1e-3,
    n_epochs=30,
    early_stopping_rounds=2,
    batch_size=128,
    n_jobs=1,
    random_state=0,
)
print(f"{X.shape[0]:,} rows, {X.shape[1]} columns in {fields.n_fields} fields of {sizes}\n")
print("            epochs  logloss     AUC   (4,000 test rows)")
for name, model in (("FM", fm), ("DeepFM", deep_fm)):
    model.fit(X[train], clicked[train], eval_set=[(X[valid], clicked[valid])])
    p = model.predict_proba(X[test])[:, 1]
    logloss, auc = log_loss(clicked[test], p), roc_auc_score(clicked[test], p)
    print(f"{name:<12}{model.best_epoch_:6}{logloss:9.4f}{auc:8.4f}")
logloss, auc = log_loss(clicked[test], truth[test]), roc_auc_score(clicked[test], truth[test])
print(f"{'the truth':<18}{logloss:9.4f}{auc:8.4f}")
