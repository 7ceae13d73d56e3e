"""Predict numbers with a factorization machine, and watch the mean squared error fall.

First 100 rows of 8 integer ratings each; then, with another optimizer, 100 rows of 10 normally distributed values.
Both targets hold a product of two columns, which a linear model cannot follow. verbose=1 shows a progress bar an
epoch on a terminal, a line an epoch elsewhere, in both cases on standard error: `train_mse` is the mean squared
error of the rows, each taken just before the model learned from it.

    python examples/ratings.py
"""

import numpy as np
from sklearn.linear_model import LinearRegression

from fastfm_deep import FMRegressor

rng = np.random.default_rng(0)


def show(title, model, X, y):
    """A table of targets and predictions, and how far off they are beside those of a linear model."""
    predicted = model.predict(X)
    print(f"\n{title}\n       y  predicted")
    for target, answer in zip(y[:8], predicted[:8], strict=True):
        print(f"{target:8.2f}{answer:11.2f}")
    mse = np.mean((predicted - y) ** 2)
    linear_mse = np.mean((LinearRegression().fit(X, y).predict(X) - y) ** 2)
    print(f"mean squared error {mse:.3f}, of a linear model {linear_mse:.3f}")
    print(f"(of the mean as the only answer: {np.var(y):.3f})\n")


# How 100 guests rated eight things from 1 to 5, and what they say overall.
X = rng.integers(1, 6, size=(100, 8))
y = 1.0 + 0.5 * X[:, 0] - 0.3 * X[:, 1] + 0.4 * X[:, 2] * X[:, 3] + 0.1 * rng.normal(size=100)
model = FMRegressor(n_factors=4, n_epochs=40, learning_rate=0.1, l2_reg_factors=1e-4, verbose=1, random_state=0)
model.fit(X, y)
show("100 rows of 8 integer ratings", model, X, y)

# The same model on other data, with Adam.
X = rng.normal(size=(100, 10))
y = X[:, 0] - 2.0 * X[:, 1] + 1.5 * X[:, 2] * X[:, 3] + 0.1 * rng.normal(size=100)
model.set_params(optimizer="adam", learning_rate=0.01)
model.fit(X, y)
show("100 rows of 10 normal values, Adam", model, X, y)
