"""What the sections of `bench_scorer.py` share: models of random numbers, rows, and turns."""

from __future__ import annotations

import gc
import time
from pathlib import Path

import numpy as np
import scipy.sparse

from fastfm_deep import DeepFMClassifier, FMClassifier
from fastfm_deep.datasets import make_ctr

N_FIELDS = 39
_BLOCK = 65_536


def made_rows(n_rows, n_features, zipf=1.1, seed=0):
    """Ids int32 (n_rows, N_FIELDS), and the sizes of the fields."""
    X, _, sizes = make_ctr(n_rows, N_FIELDS, n_features, zipf=zipf, random_state=seed)
    return X.indices.reshape(n_rows, N_FIELDS).astype(np.int32), sizes


def uniform_rows(n_rows, n_features, seed=0):
    """Ids int32 (n_rows, N_FIELDS), all equally frequent: nearly each is a look at memory. None twice in a row."""
    bounds = np.linspace(0, n_features, N_FIELDS + 1).astype(np.int64)
    rng = np.random.default_rng(seed)
    return rng.integers(bounds[:-1], bounds[1:], size=(n_rows, N_FIELDS)).astype(np.int32)


def as_csr(ids, n_features):
    """Rows whose values are all 1."""
    indptr = np.arange(0, ids.size + 1, ids.shape[1])
    parts = np.ones(ids.size, np.float32), ids.reshape(-1), indptr.astype(np.int32)
    return scipy.sparse.csr_array(parts, shape=(len(ids), n_features))


def random_model(n_features, k, sizes=None, hidden=None):
    """An FM, or a DeepFM of these fields, fitted to a few rows and then filled with random numbers.

    What a score takes does not depend on them, and a fit of that many columns would take long.
    """
    rng = np.random.default_rng(1)
    ids, found = made_rows(2000, n_features)
    chosen = {"n_epochs": 1, "optimizer": "sgd", "learning_rate": 1e-3, "n_jobs": 1, "random_state": 0}
    if hidden is None:
        model = FMClassifier(k, **chosen)
    else:
        model = DeepFMClassifier(
            k, fields=sizes or found, dnn_hidden_units=hidden, dnn_activation="relu", **chosen
        )
    model.fit(as_csr(ids, n_features), rng.random(len(ids)) < 0.3)
    params = model._model.params
    std = 0.4 / k**0.5  # raw scores of about 1
    for start in range(0, n_features, _BLOCK):
        part = params.factors[start : start + _BLOCK, :k]
        part[:] = rng.standard_normal(part.shape, np.float32) * np.float32(std)
    params.linear[:, 0] = rng.standard_normal(n_features, np.float32) * np.float32(0.1)
    model._model.occurs[:] = 1
    return model


def in_turn(ways, n_rounds):
    """The results of functions that take turns, round after round; a list for each name."""
    found = {name: [] for name in ways}
    for _ in range(n_rounds):
        for name, way in ways.items():
            gc.collect()
            found[name].append(way())
    return found


def best_rate(n_rows, call, n_times=3):
    """Rows per second of the fastest of a few calls: as the yardstick tells its own."""
    least = np.inf
    for _ in range(n_times):
        started = time.perf_counter()
        call()
        least = min(least, time.perf_counter() - started)
    return n_rows / least


def median_rates(ways, n_rows, n_rounds):
    """Rows per second of functions that score `n_rows` rows, medians over rounds."""
    rates = in_turn({name: lambda way=way: best_rate(n_rows, way) for name, way in ways.items()}, n_rounds)
    return {name: float(np.median(values)) for name, values in rates.items()}


def resident_mb():
    """Memory of this process that is in use (Linux)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return float("nan")
