"""warm_up() leaves nothing to compile."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from table_tools import INTERPRETED

import fastfm_deep
from fastfm_deep.estimators import warming

FM = """
from fastfm_deep import FMClassifier
from fastfm_deep.datasets import make_ctr
X, y, _ = make_ctr(30_000, n_fields=4, n_features=100, random_state=1)
for rows in (X, X * 0.5):
    for n_jobs in (1, 2):
        FMClassifier(3, n_epochs=2, learning_rate=0.01, n_jobs=n_jobs).fit(rows, y).predict_proba(rows)
"""
DEEPFM = """
from fastfm_deep import DeepFMClassifier, DeepFMRegressor, FieldLayout
from fastfm_deep.datasets import make_ctr
X, y, sizes = make_ctr(30_000, n_fields=4, n_features=100, random_state=1)
layouts = [None] + [FieldLayout.from_sizes(sizes, pooling) for pooling in ("sum", "mean", "max")]
options = {"n_epochs": 2, "learning_rate": 0.01}
for rows in (X, X * 0.5):
    for n_jobs in (1, 2):
        for fields in layouts:
            DeepFMClassifier(3, fields=fields, n_jobs=n_jobs, **options).fit(rows, y).predict_proba(rows)
        options = {"n_epochs": 2, "learning_rate": 0.01, "dnn_activation": "tanh", "dnn_optimizer": "adam"}
        options |= {"dnn_dropout": 0.1, "dnn_batch_norm": True, "dnn_hidden_units": (5, 5)}
        DeepFMRegressor(3, n_jobs=n_jobs, **options).fit(rows, y).predict(rows)
"""


@pytest.mark.skipif(INTERPRETED, reason="nothing is compiled")
@pytest.mark.parametrize(
    ("model", "kernel", "fit"),
    [("fm", "fit_rows", FM), pytest.param("deepfm", "fit_batches", DEEPFM, marks=pytest.mark.slow)],
)
def test_a_later_process_compiles_nothing(tmp_path, model, kernel, fit):
    def run(code):
        environment = os.environ | {
            "NUMBA_CACHE_DIR": str(tmp_path),
            "PYTHONPATH": str(Path(fastfm_deep.__file__).parents[1]),
        }
        subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=300)
        return {(path.name, path.stat().st_mtime_ns) for path in tmp_path.rglob("*.nbc")}

    compiled = run(f"import fastfm_deep; fastfm_deep.warm_up(n_factors=[3], models=[{model!r}])")
    assert any(kernel in name for name, _ in compiled)
    assert run(fit) == compiled


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, {("FMClassifier", 16, "adagrad"), ("DeepFMClassifier", 16, "adagrad")}),
        ({"models": ["fm"], "n_factors": [2, 8]}, {("FMClassifier", k, "adagrad") for k in (2, 8)}),
        (
            {"models": ["deepfm"], "optimizers": ["adam", "ftrl"]},
            {("DeepFMClassifier", 16, optimizer) for optimizer in ("adam", "ftrl")},
        ),
        ({"n_factors": [0]}, {("FMClassifier", 0, "adagrad")}),
        ({"models": []}, set()),
    ],
)
def test_what_is_compiled(monkeypatch, arguments, expected):
    found = []
    monkeypatch.setattr(warming, "_use", lambda model, rows, y: found.append(model))
    warming.warm_up(**arguments)
    assert {(type(model).__name__, model.n_factors, model.optimizer) for model in found} == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_factors": [-1]}, "n_factors=-1 must be at least 0"),
        ({"optimizers": ["adamw"]}, "optimizer='adamw' is"),
        ({"models": ["dcn"]}, "model='dcn' is"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(fastfm_deep.InputError, match=message):
        fastfm_deep.warm_up(**arguments)
