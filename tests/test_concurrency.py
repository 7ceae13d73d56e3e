"""Threads, forks and processes that begin at the same time: right results, no crash."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from fit_tools import answers, assert_same_bits, clicks, new_model, small_data
from table_tools import INTERPRETED

import fastfm_deep
from fastfm_deep import FMClassifier, FMRegressor

BOTH = pytest.mark.parametrize("estimator_class", [FMClassifier, FMRegressor])


@BOTH
@pytest.mark.parametrize("n_jobs", [None, 2])
def test_eight_threads_predict_while_a_ninth_fits(estimator_class, n_jobs):
    X, y = small_data(estimator_class, 50 if INTERPRETED else 3000)
    model = new_model(estimator_class, n_factors=8, n_jobs=n_jobs).fit(X, y)
    expected = answers(model, X)
    is_over = threading.Event()

    def fit_others():
        fits = []
        while not is_over.is_set() or not fits:
            fits.append(new_model(estimator_class, n_factors=5, n_epochs=2).fit(X, y))
        return fits

    def predict(thread):
        return [answers(model, X) for _ in range(10)]

    with ThreadPoolExecutor(9) as pool:
        fitting = pool.submit(fit_others)
        predicting = [pool.submit(predict, thread) for thread in range(8)]
        for future in predicting:
            for got in future.result():
                np.testing.assert_array_equal(got, expected)
        is_over.set()
        fits = fitting.result()
    for other in fits:
        assert_same_bits(other, new_model(estimator_class, n_factors=5, n_epochs=2).fit(X, y))


def test_two_fits_at_once_with_threads_of_their_own():
    X, y = clicks(50 if INTERPRETED else 3000)
    with ThreadPoolExecutor(2) as pool:
        models = list(pool.map(lambda seed: new_model(FMClassifier, n_jobs=2, n_epochs=5).fit(X, y), range(2)))
    for model in models:
        assert len(model.history_) == 5
        assert model.history_[-1]["train_loss"] < model.history_[0]["train_loss"]


def in_forked_child(work) -> int:
    """Run `work` in a forked child; its exit status, or the signal that ended it as a negative number."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
@BOTH
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_forked_child_predicts_and_fits(estimator_class, n_jobs):
    """The parent has used threads before; the child starts its own."""
    X, y = small_data(estimator_class)
    model = new_model(estimator_class, n_jobs=n_jobs).fit(X, y)
    expected = answers(model, X)
    alone = new_model(estimator_class).fit(X, y)

    def work():
        np.testing.assert_array_equal(answers(model, X), expected)
        model.partial_fit(X, y)
        assert len(model.history_) == 4
        new_model(estimator_class, n_jobs=2).fit(X, y)
        assert_same_bits(new_model(estimator_class).fit(X, y), alone)

    assert in_forked_child(work) == 0
    np.testing.assert_array_equal(answers(model, X), expected)
    assert in_forked_child(lambda: sys.exit("the child's failures are seen")) == 1


# Processes on their own, with kernels to compile

FIT = """
from fastfm_deep import FMClassifier
X = [[1, 0, 1, 0], [1, 0, 0, 1], [0, 1, 1, 0], [0, 1, 0, 1]]
model = FMClassifier(n_factors=4, n_epochs=300, learning_rate=0.5, init_std=0.1, random_state=0)
print(model.fit(X, ["no", "yes", "yes", "no"]).predict(X).tolist())
"""
ANSWER = "['no', 'yes', 'yes', 'no']\n"


def start(code: str, at: Path, **environment: str) -> subprocess.Popen[str]:
    ours = ("NUMBA_CACHE", "XDG")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=at,
        env=kept | {"PYTHONPATH": str(at), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_processes_that_begin_on_an_empty_cache_at_once(tmp_path):
    cache = tmp_path / "cache"
    package = Path(fastfm_deep.__file__).parent.parent
    processes = [start(FIT, package, NUMBA_CACHE_DIR=str(cache)) for _ in range(2)]
    assert [process.communicate(timeout=300) for process in processes] == [(ANSWER, "")] * 2
    assert [process.returncode for process in processes] == [0, 0]
    if not INTERPRETED:
        assert list(cache.rglob("*fit_rows*.nbi"))
    assert not list(cache.rglob("*.tmp*"))


def test_fits_where_no_folder_can_be_written(tmp_path):
    """Every folder that could take a cache is a regular file, which stops root as well."""
    shutil.copytree(
        Path(fastfm_deep.__file__).parent, tmp_path / "fastfm_deep", ignore=shutil.ignore_patterns("__pycache__")
    )
    for folder in (tmp_path / "fastfm_deep").rglob("__init__.py"):
        (folder.parent / "__pycache__").touch()
    file = tmp_path / "file"
    file.touch()
    (tmp_path / "tmp").mkdir()
    (tmp_path / "tmp" / f"fastfm_deep-numba-{os.getuid()}").touch()
    names = {"HOME": file / "home", "NUMBA_CACHE_DIR": file / "cache", "TMPDIR": tmp_path / "tmp"}
    process = start(FIT, tmp_path, **{name: str(path) for name, path in names.items()})
    out, err = process.communicate(timeout=300)
    assert (out, process.returncode) == (ANSWER, 0)
    warned = err.count("RuntimeWarning: fastfm_deep found no folder to keep compiled kernels in")
    assert warned == (0 if INTERPRETED else 1)
    assert not list(tmp_path.rglob("*.nbi"))
