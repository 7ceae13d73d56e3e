"""warm_up() leaves nothing to compile."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from table_tools import INTERPRETED

import fastfm_deep

FIT = """
from fastfm_deep import FMClassifier
from fastfm_deep.datasets import make_ctr
X, y, _ = make_ctr(30_000, n_fields=4, n_features=100, random_state=1)
for rows in (X, X * 0.5):
    for n_jobs in (1, 2):
        FMClassifier(3, n_epochs=2, learning_rate=0.01, n_jobs=n_jobs).fit(rows, y).predict_proba(rows)
"""


@pytest.mark.skipif(INTERPRETED, reason="nothing is compiled")
def test_a_later_process_compiles_nothing(tmp_path):
    def run(code):
        environment = os.environ | {
            "NUMBA_CACHE_DIR": str(tmp_path),
            "PYTHONPATH": str(Path(fastfm_deep.__file__).parents[1]),
        }
        subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=300)
        return {(path.name, path.stat().st_mtime_ns) for path in tmp_path.rglob("*.nbc")}

    compiled = run("import fastfm_deep; fastfm_deep.warm_up(n_factors=[3])")
    assert any("fit_rows" in name for name, _ in compiled)
    assert run(FIT) == compiled


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_factors": [-1]}, "n_factors=-1 must be at least 0"),
        ({"optimizers": ["adamw"]}, "optimizer='adamw' is"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(fastfm_deep.InputError, match=message):
        fastfm_deep.warm_up(**arguments)
