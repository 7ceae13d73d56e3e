"""Recommend items from two matrices: one with the features of users, one with those of items.

A row of training is a pair: the features of a user beside those of an item, and whether the user liked it. The
model then answers how probable it is that one user likes one item, and ranks all items for a user by
`predict_proba` on the pairs.

    python examples/recommender.py
"""

import numpy as np
import scipy.sparse as sp
from sklearn.metrics import roc_auc_score

from fastfm_deep import DeepFMClassifier

N_USERS, N_ITEMS, N_GENRES, N_AGES = 300, 120, 8, 5
GENRES = ["crime", "drama", "comedy", "horror", "romance", "fantasy", "war", "music"]
rng = np.random.default_rng(0)

# The planted truth: each age group has its taste in genres, each user a few deviations, some items are popular.
age_of_user = rng.integers(N_AGES, size=N_USERS)
genre_of_item = rng.integers(N_GENRES, size=N_ITEMS)
taste = 2.0 * rng.normal(size=(N_AGES, N_GENRES))[age_of_user] + 0.7 * rng.normal(size=(N_USERS, N_GENRES))
popularity = 0.7 * rng.normal(size=N_ITEMS)
truth = 1.0 / (1.0 + np.exp(-(taste[:, genre_of_item] + popularity)))  # (N_USERS, N_ITEMS)


def one_hot(values, n_values):
    """Sparse matrix with a 1 in the column of each value."""
    return sp.csr_array((np.ones(len(values)), (np.arange(len(values)), values)), shape=(len(values), n_values))


# What the model sees of a user: who it is, and the age group; of an item: which it is, and its genre.
user_features = sp.hstack([one_hot(np.arange(N_USERS), N_USERS), one_hot(age_of_user, N_AGES)], format="csr")
item_features = sp.hstack([one_hot(np.arange(N_ITEMS), N_ITEMS), one_hot(genre_of_item, N_GENRES)], format="csr")


def pairs(users, items):
    """Rows of pairs: the features of users[j] beside those of items[j]."""
    return sp.hstack([user_features[users], item_features[items]], format="csr")


# Every user has rated some thirty items. Of the ratings, some say when to stop, others how good the model is.
users, items = np.nonzero(rng.random((N_USERS, N_ITEMS)) < 0.25)
liked = rng.random(len(users)) < truth[users, items]
part = rng.choice(["train", "valid", "test"], size=len(users), p=[0.7, 0.1, 0.2])
train, valid, test = (part == name for name in ("train", "valid", "test"))

model = DeepFMClassifier(
    n_factors=8,
    fields=[N_USERS, N_AGES, N_ITEMS, N_GENRES],
    dnn_hidden_units=[32],
    optimizer="adam",
    learning_rate=0.01,
    n_epochs=30,
    early_stopping_rounds=2,
    batch_size=64,
    n_jobs=1,
    random_state=0,
)
model.fit(
    pairs(users[train], items[train]), liked[train], eval_set=[(pairs(users[valid], items[valid]), liked[valid])]
)

predicted = model.predict_proba(pairs(users[test], items[test]))[:, 1]
print(f"{train.sum():,} ratings to learn from, {test.sum():,} to test on; best epoch {model.best_epoch_}")
print(f"AUC {roc_auc_score(liked[test], predicted):.3f}", end=" ")
print(f"(the truth itself: {roc_auc_score(liked[test], truth[users[test], items[test]]):.3f})")

# One user and one item.
user, item = 7, 42
probability = model.predict_proba(pairs([user], [item]))[0, 1]
print(f"\nprobability that user {user} likes item {item}: {probability:.3f} (truth {truth[user, item]:.3f})")

# All items, for one user: the pairs of this user with each of them.
every_item = np.arange(N_ITEMS)
probabilities = model.predict_proba(pairs(np.full(N_ITEMS, user), every_item))[:, 1]
print(f"\nbest items for user {user}\n  item  genre      predicted   truth")
for item in np.argsort(-probabilities)[:5]:
    print(f"{item:6}  {GENRES[genre_of_item[item]]:<10}{probabilities[item]:10.3f}{truth[user, item]:8.3f}")
top = np.argsort(-probabilities)[:10]
print(f"mean truth of the 10 best: {truth[user, top].mean():.3f}, of all items: {truth[user].mean():.3f}")
