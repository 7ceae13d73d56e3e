"""Scoring without compiled code: nothing that scores loads Numba or scikit-learn, and nothing needs them there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from deepfm_fit_tools import new_deep
from encoder_tools import CLICKED, CLICKS, click_columns
from fit_tools import small_data

import fastfm_deep
from fastfm_deep import DeepFMClassifier, FMClassifier, TableEncoder

PACKAGE = Path(fastfm_deep.__file__).parent
HEAVY = {"numba", "llvmlite", "sklearn", "joblib", "threadpoolctl"}
COMPILED = "fastfm_deep.kernels._jit"

START = """
import json, sys
if {forbidden}:
    for name in ("numba", "llvmlite", "sklearn", "joblib", "threadpoolctl"):
        sys.modules[name] = None
import numpy as np
from fastfm_deep.data.encoder_tables import table_to_encode
from fastfm_deep.data.encoders import Encoding
from fastfm_deep.data.pooling import pooled_rows
from fastfm_deep.data.rows import as_csr_rows
from fastfm_deep.model.plain_score import PlainScorer
from fastfm_deep.model.stored import read_stored_model

stored = read_stored_model({path!r}, mmap=True)
scorer = PlainScorer(stored)

def answers(rows):
    return (stored.center + stored.shift + stored.scale * scorer.raw_scores(rows)).tolist()

def show(*found):
    print(json.dumps([found, sorted(name for name in sys.modules if sys.modules[name] is not None)]))
"""


def outcome(path, forbidden, code):
    """What a new process shows, and the modules it has loaded then."""
    done = subprocess.run(
        [sys.executable, "-c", START.format(path=str(path), forbidden=forbidden) + code],
        capture_output=True,
        text=True,
        cwd=PACKAGE.parent,
    )
    assert done.returncode == 0, done.stderr
    found, loaded = json.loads(done.stdout)
    return found, set(loaded)


def assert_light(loaded, *more):
    assert not loaded & {*HEAVY, COMPILED, *more}


@pytest.fixture(scope="module")
def matrix_model(tmp_path_factory):
    X, y = small_data(DeepFMClassifier)
    model = new_deep(DeepFMClassifier).fit(X, y)
    path = tmp_path_factory.mktemp("models") / "matrix"
    model.save(path)
    return path, X[:50].toarray(), model.decision_function(X[:50])


@pytest.fixture(scope="module")
def table_model(tmp_path_factory):
    model = FMClassifier(
        n_factors=4, n_epochs=2, init_std=0.2, random_state=0, encoder=TableEncoder(click_columns())
    ).fit(CLICKS, CLICKED)
    path = tmp_path_factory.mktemp("models") / "table"
    model.save(path)
    return path, model.decision_function(CLICKS)


@pytest.mark.parametrize("forbidden", [False, True])
def test_rows_of_arrays(matrix_model, forbidden, tmp_path):
    path, X, expected = matrix_model
    np.save(tmp_path / "X.npy", X)
    code = f"""
X = np.load({str(tmp_path / "X.npy")!r})
show(answers(as_csr_rows(X, n_features=stored.n_features, plain=True)))
"""
    (got,), loaded = outcome(path, forbidden, code)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)
    assert_light(loaded, "scipy", "pandas", "pyarrow")


@pytest.mark.parametrize("forbidden", [False, True])
def test_rows_of_scipy_and_pandas(matrix_model, forbidden, tmp_path):
    path, X, expected = matrix_model
    np.save(tmp_path / "X.npy", X)
    code = f"""
import pandas, scipy.sparse
X = np.load({str(tmp_path / "X.npy")!r})
coo = scipy.sparse.coo_array(X)
twice = scipy.sparse.coo_array(
    (np.concatenate([coo.data, coo.data]) / 2, (np.concatenate([coo.row] * 2), np.concatenate([coo.col] * 2))),
    shape=X.shape,
)
matrices = scipy.sparse.csr_array(X), scipy.sparse.csc_matrix(X), twice, pandas.DataFrame(X)
show(*[answers(as_csr_rows(matrix, plain=True)) for matrix in matrices])
"""
    found, loaded = outcome(path, forbidden, code)
    for got in found:
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)
    assert_light(loaded)


@pytest.mark.parametrize("forbidden", [False, True])
def test_tables_and_dicts(table_model, forbidden, tmp_path):
    path, expected = table_model
    code = f"""
clicks = json.loads({json.dumps(CLICKS)!r})
encoding = Encoding.from_state(*stored.encoder, plain=True)
one = [scorer.score_one(*encoding.encode_row({{name: clicks[name][row] for name in clicks}}, pooled=True))
       for row in range(len(clicks["age"]))]
one = [stored.center + stored.shift + stored.scale * raw for raw in one]
records = [{{name: clicks[name][row] for name in clicks}} for row in range(len(clicks["age"]))]
show(one, *[answers(encoding.table_rows(table_to_encode(table, encoding))) for table in (clicks, records)])
"""
    found, loaded = outcome(path, forbidden, code)
    for got in found:
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)
    assert_light(loaded, "scipy", "pandas", "pyarrow")


def test_frames_and_files(table_model, tmp_path):
    path, expected = table_model
    code = f"""
import pandas, polars, pyarrow, pyarrow.csv, pyarrow.parquet
clicks = json.loads({json.dumps(CLICKS)!r})
folder = {str(tmp_path)!r}
texts = dict(clicks, tags=["|".join(tags or []) for tags in clicks["tags"]])
pyarrow.parquet.write_table(pyarrow.table(clicks), folder + "/a.parquet")
pyarrow.csv.write_csv(pyarrow.table(texts), folder + "/a.tsv".replace("tsv", "csv"))
frame = pandas.DataFrame(clicks)
frame["city"] = frame["city"].astype("category")
tables = frame, polars.DataFrame(clicks), pyarrow.table(clicks), folder + "/a.parquet", folder + "/a.csv"
encoding = Encoding.from_state(*stored.encoder, plain=True)
show(*[answers(encoding.table_rows(table_to_encode(table, encoding))) for table in tables])
"""
    found, loaded = outcome(path, True, code)
    with_lists, from_csv = found[:-1], found[-1]
    for got in with_lists:
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)
    # In CSV an empty list is a missing one.
    same = np.array([tags != [] for tags in CLICKS["tags"]])
    np.testing.assert_allclose(np.array(from_csv)[same], expected[same], rtol=1e-5, atol=1e-5)
    assert_light(loaded)


def names_in(folder):
    return sorted(f"fastfm_deep.{folder}.{path.stem}" for path in (PACKAGE / folder).glob("[a-z]*.py"))


def test_no_module_of_data_or_network_loads_compiled_code():
    names = [*names_in("data"), *names_in("nn")]
    assert "fastfm_deep.data.vocabulary" in names
    code = f"import sys, {', '.join(names)}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent
    )
    assert_light(set(done.stdout.split()), "scipy", "pandas", "pyarrow")


def test_kernels_are_loaded_when_they_are_asked_for():
    code = """
import sys
from fastfm_deep import kernels
assert "numba" not in sys.modules
assert kernels.row_checks.check_rows is sys.modules["fastfm_deep.kernels.row_checks"].check_rows
assert "numba" in sys.modules
try:
    kernels.rowchecks
except AttributeError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent
    )
    assert done.stdout.strip() == "module 'fastfm_deep.kernels' has no attribute 'rowchecks'"
