"""What the tests of recommendations share: users, items and models that know both."""

from __future__ import annotations

import numpy as np

from fastfm_deep import DenseFeat, SparseFeat, TableEncoder, VarLenSparseFeat

COLUMNS = [
    SparseFeat("item", min_count=2),
    SparseFeat("user"),
    VarLenSparseFeat("tags", pooling="mean"),
    DenseFeat("age"),
    VarLenSparseFeat("likes", pooling="max"),
    SparseFeat("kind"),
    DenseFeat("price", scaling="log1p"),
]
USER_COLUMNS, ITEM_COLUMNS = ("user", "age", "likes"), ("item", "tags", "kind", "price")


def users_and_items(n_users: int = 12, n_items: int = 60) -> tuple[dict, dict]:
    generator = np.random.default_rng(0)
    users = {
        "user": [f"u{number}" for number in range(n_users)],
        "age": generator.integers(18, 70, n_users).astype(float),
        "likes": ["|".join(generator.choice(list("abcd"), 2)) for _ in range(n_users)],
    }
    users["age"][n_users // 4] = np.nan
    items = {
        "item": np.arange(1000, 1000 + n_items),
        "tags": ["|".join(generator.choice(list("xyz"), generator.integers(0, 4))) for _ in range(n_items)],
        "kind": generator.choice(np.array(["new", "old", None], object), n_items),
        "price": generator.gamma(2.0, 10.0, n_items),
    }
    return users, items


def picked(table: dict, rows) -> dict:
    return {name: np.asarray(values, dtype=None)[rows] for name, values in table.items()}


def pairs_of(users: dict, items: dict, n_rows: int = 900) -> tuple[dict, np.ndarray, np.ndarray]:
    """A table of pairs, with the rows of users and items that they are of."""
    generator = np.random.default_rng(1)
    user, item = (
        generator.integers(0, len(users["user"]), n_rows),
        generator.integers(0, len(items["item"]), n_rows),
    )
    return {**picked(users, user), **picked(items, item)}, user, item


def fitted(kind, users: dict, items: dict, **options):
    table, user, item = pairs_of(users, items)
    y = (user % 3 + item % 4 + np.random.default_rng(2).normal(size=len(user)) > 2.5).astype(int)
    options = {"n_factors": 4, "n_epochs": 3, "random_state": 0, "init_std": 0.1} | options
    return kind(encoder=TableEncoder(COLUMNS), **options).fit(table, y)


def whole_rows(users: dict, items: dict, user: int) -> dict:
    """The table of one user beside all items."""
    n_items = len(items["item"])
    return {
        name: np.repeat(np.asarray(values, dtype=None)[user : user + 1], n_items) for name, values in users.items()
    } | items


def answers(model, table) -> np.ndarray:
    return model.predict_proba(table)[:, 1] if hasattr(model, "predict_proba") else model.predict(table)


def expected_order(model, users: dict, items: dict, user: int) -> tuple[np.ndarray, np.ndarray]:
    """All items for a user, the best first, and their answers: by scoring each as a whole row."""
    table = whole_rows(users, items, user)
    raw = model.decision_function(table) if hasattr(model, "decision_function") else model.predict(table)
    order = np.lexsort((np.arange(len(raw)), -raw))
    return order, answers(model, table)[order]
