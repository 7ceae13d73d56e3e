"""Train a factorization machine and a small network together on a dense table of zeros and ones.

1,000 rows of 10 answers to yes-or-no questions; the label depends on three of them at once, which no sum of pairs
can express: it is the network that learns it. Shows fields for dense columns, updates after every single row
(batch_size=1), and the answer for one new row.

    python examples/dense_bits.py
"""

import numpy as np
from sklearn.metrics import accuracy_score, roc_auc_score

from fastfm_deep import DeepFMClassifier, FMClassifier

rng = np.random.default_rng(0)
X = rng.integers(0, 2, size=(1000, 10))
# Yes where an odd number of the first three bits are set; one label in fifty is wrong.
is_odd = X[:, :3].sum(axis=1) % 2 == 1
y = is_odd ^ (rng.random(1000) < 0.02)
X_train, X_test, y_train, y_test = X[:800], X[800:], y[:800], y[800:]

fm = FMClassifier(n_factors=8, n_epochs=40, random_state=0)
fm.fit(X_train, y_train)

model = DeepFMClassifier(
    n_factors=8,
    fields=[1] * 10,  # ten fields of one column each
    dnn_hidden_units=[10, 5],
    dnn_activation="sigmoid",
    batch_size=1,
    optimizer="adam",
    learning_rate=0.005,
    init_std=0.1,
    l2_reg_factors=0.0,
    l2_reg_dnn=0.0,  # sigmoids start flat: the penalty would outweigh the little that they learn at first
    n_epochs=40,
    n_jobs=1,  # with one thread and a seed the result repeats
    random_state=0,
)
model.fit(X_train, y_train)

print("            accuracy     AUC   (200 test rows)")
for name, fitted in (("FM", fm), ("FM+network", model)):
    accuracy = accuracy_score(y_test, fitted.predict(X_test))
    auc = roc_auc_score(y_test, fitted.predict_proba(X_test)[:, 1])
    print(f"{name:<12}{accuracy:8.3f}{auc:8.3f}")

# One row is a matrix of one row: (1, 10).
row = np.array([[1, 0, 0, 1, 1, 0, 1, 0, 0, 1]])
print(f"\nrow {row[0].tolist()}: label {model.predict(row)[0]}, probability {model.predict_proba(row)[0, 1]:.3f}")
