"""Scorers as objects: loading, what they say of the model, reloading, pickling, and forked children."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from encoder_tools import CLICKS
from scorer_tools import (
    BACKENDS,
    DEEP,
    EACH_BACKEND,
    FM,
    NARROW,
    SMALL,
    WIDE,
    WIDTH,
    assert_answers,
    assert_raw,
    estimator_of,
    expected_answers,
    path_of,
    random_matrix,
    scorer_of,
    table_models,
    table_path,
)
from table_tools import LANES_RUN
from test_concurrency import in_forked_child

import fastfm_deep
from fastfm_deep import FMClassifier, InputError, ModelFileError, Scorer
from fastfm_deep.kernels.row_score import HAS_ROW_SCORE

PACKAGE = Path(fastfm_deep.__file__).parent


@EACH_BACKEND
@pytest.mark.parametrize("mmap", [False, True])
def test_what_a_scorer_says_of_its_model(backend, mmap):
    for spec, dtype in (
        (FM, "float32"),
        (NARROW, "float32"),
        (DEEP, "float32"),
        (SMALL, "int8"),
        (WIDE, "bfloat16"),
    ):
        scorer = Scorer.load(path_of(spec), mmap=mmap, backend=backend)
        assert scorer.path == path_of(spec)
        assert (scorer.backend, scorer.dtype) == (backend, dtype)
        assert (scorer.n_features, scorer.n_factors) == (WIDTH, spec.n_factors)
        assert scorer.columns == []
        if spec.is_classifier:
            assert scorer.classes.tolist() == ["no", "yes"]
        else:
            assert scorer.classes is None
        X = random_matrix(20)
        assert_answers(scorer.score(X), expected_answers(estimator_of(spec), X), spec.is_classifier)
    scorer = Scorer.load(table_path(), mmap=mmap, backend=backend)
    assert scorer.columns == list(CLICKS)
    assert scorer.n_features == table_models()[0].n_features_in_


@EACH_BACKEND
def test_attributes_cannot_be_set(backend):
    scorer = Scorer.load(path_of(FM), backend=backend)
    for name in ("n_features", "n_factors", "dtype", "classes", "columns"):
        with pytest.raises(AttributeError):
            setattr(scorer, name, 1)


def test_paths_of_every_kind(tmp_path):
    for path in (path_of(FM), Path(path_of(FM)), os.fsencode(path_of(FM))):
        scorer = Scorer.load(path, backend="numpy")
        assert scorer.path == path_of(FM)
        assert repr(scorer) == f"Scorer({path_of(FM)!r}, backend='numpy')"
    assert repr(Scorer.load(path_of(FM))) == f"Scorer({path_of(FM)!r}, backend='numba')"


@EACH_BACKEND
@pytest.mark.parametrize("mmap", [False, True])
def test_files_that_cannot_be_loaded(backend, mmap, tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing"):
        Scorer.load(tmp_path / "nothing", mmap=mmap, backend=backend)
    with pytest.raises(InputError, match="nothing"):
        Scorer.load(tmp_path / "nothing", mmap=mmap, backend=backend)
    whole = Path(path_of(DEEP)).read_bytes()
    middle = len(whole) // 2
    for name, content in {
        "empty": b"",
        "text": b"not a model",
        "cut": whole[:-1],
        "half": whole[:middle],
        "longer": whole + b"\0",
        "changed": whole[:-3] + bytes([whole[-3] ^ 1]) + whole[-2:],
        "header": whole[:20] + b"?" + whole[21:],
    }.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ModelFileError, match=name):
            Scorer.load(tmp_path / name, mmap=mmap, backend=backend)
    with pytest.raises((ModelFileError, InputError)):
        Scorer.load(tmp_path, mmap=mmap, backend=backend)


def test_arguments_of_load():
    with pytest.raises(InputError, match="backend='gpu' is unknown; use one of 'numba', 'numpy'"):
        Scorer.load(path_of(FM), backend="gpu")
    with pytest.raises(InputError, match="n_jobs=0 must be"):
        Scorer.load(path_of(FM), n_jobs=0)
    with pytest.raises(InputError, match="mmap='no'"):
        Scorer.load(path_of(FM), mmap="no")


@EACH_BACKEND
def test_warming_up_changes_no_answer(backend):
    for path in (path_of(DEEP), table_path()):
        scorer = Scorer.load(path, backend=backend)
        assert scorer.warm_up() is scorer
        assert scorer.score_row([1, 3]) == Scorer.load(path, backend=backend).score_row([1, 3])


# ---------------------------------------------------------------------------------------------------- reloading


@EACH_BACKEND
def test_a_file_that_was_replaced_is_taken_when_it_is_asked_for(backend, tmp_path):
    path, X = tmp_path / "m", random_matrix(20)
    estimator_of(FM).save(path)
    scorer = Scorer.load(path, backend=backend)
    before = scorer.score(X)
    estimator_of(FM, 1).save(path)
    np.testing.assert_array_equal(scorer.score(X), before)
    assert scorer.reload() is scorer
    assert_answers(scorer.score(X), expected_answers(estimator_of(FM, 1), X), True)
    assert np.abs(scorer.score(X) - before).max() > 0.01
    assert_answers([scorer.score_row([2, 5])], [scorer_of(FM, backend, 1).score_row([2, 5])], True)


@EACH_BACKEND
def test_another_file_takes_its_place(backend):
    X = random_matrix(20)
    scorer = Scorer.load(path_of(FM), backend=backend)
    prepared = scorer.prepare(X)
    assert len(scorer.rank({0: 1.0}, prepared, 3).ids) == 3
    assert scorer.reload(path_of(NARROW)) is scorer
    assert scorer.path == path_of(NARROW)
    assert scorer.classes is None
    assert scorer.n_factors == 4
    assert_raw(scorer.score(X), expected_answers(estimator_of(NARROW), X))
    with pytest.raises(InputError, match="prepared for another model, or before reload"):
        scorer.rank({0: 1.0}, prepared, 3)
    assert len(scorer.rank({0: 1.0}, scorer.prepare(X), 3).ids) == 3
    scorer.reload()
    assert scorer.path == path_of(NARROW)
    scorer.reload(table_path())
    assert scorer.columns == list(CLICKS)
    assert scorer.score(CLICKS).shape == (8,)


@EACH_BACKEND
def test_after_a_failed_reload_the_old_model_goes_on(backend, tmp_path):
    path, X = tmp_path / "m", random_matrix(20)
    estimator_of(FM).save(path)
    scorer = Scorer.load(path, backend=backend)
    before, prepared = scorer.score(X), scorer.prepare(X)
    for name, content in (("text", b"no model"), ("half", path.read_bytes()[:900])):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ModelFileError, match=name):
            scorer.reload(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        scorer.reload(tmp_path / "nothing")
    os.replace(tmp_path / "text", path)
    with pytest.raises(ModelFileError):
        scorer.reload()
    assert scorer.path == str(path)
    np.testing.assert_array_equal(scorer.score(X), before)
    assert len(scorer.rank({0: 1.0}, prepared).ids) == 10
    path.unlink()
    with pytest.raises(FileNotFoundError):
        scorer.reload()
    np.testing.assert_array_equal(scorer.score(X), before)


# ---------------------------------------------------------------------------------------------- other processes


@EACH_BACKEND
def test_pickled_scorers_load_their_file(backend, tmp_path):
    path, X = tmp_path / "m", random_matrix(20)
    shutil.copy(path_of(DEEP), path)
    scorer = Scorer.load(path, mmap=False, backend=backend, n_jobs=1).warm_up()
    data = pickle.dumps(scorer)
    assert len(data) < 500
    again = pickle.loads(data)
    assert (again.path, again.backend, again._mmap, again._n_jobs) == (str(path), backend, False, 1)
    np.testing.assert_array_equal(again.score(X), scorer.score(X))
    scorer.reload(path_of(FM))
    assert pickle.loads(pickle.dumps(scorer)).path == path_of(FM)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        pickle.loads(data)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
@EACH_BACKEND
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_forked_child_scores(backend, n_jobs):
    X = random_matrix(400)
    found = [(scorer_of(spec, backend), scorer_of(spec, backend).score(X, n_jobs=n_jobs)) for spec in (FM, DEEP)]

    def work():
        for scorer, expected in found:
            np.testing.assert_array_equal(scorer.score(X, n_jobs=n_jobs), expected)
            assert scorer.score_row([1, 2]) > 0.0
            np.testing.assert_array_equal(scorer.reload().score(X, n_jobs=n_jobs), expected)

    assert in_forked_child(work) == 0


COMPILED = """
import sys
from numba.core.event import install_recorder
with install_recorder("numba:compile") as recorder:
    from fastfm_deep import Scorer
    Scorer.load(sys.argv[1]).warm_up().score([{1: 1.0}])
print(len(recorder.buffer))
"""


@pytest.mark.skipif(not HAS_ROW_SCORE, reason="nothing is compiled")
def test_a_second_process_finds_compiled_code():
    scorer_of(FM, "numba")
    found = [
        subprocess.run(
            [sys.executable, "-c", COMPILED, path_of(FM)], capture_output=True, text=True, cwd=PACKAGE.parent
        )
        for _ in range(2)
    ]
    assert found[-1].stdout == "0\n", found[-1].stderr


def test_the_row_kernels_are_there_where_code_is_compiled():
    assert HAS_ROW_SCORE == LANES_RUN
    assert set(BACKENDS) == {"numba", "numpy"}
    assert FMClassifier.__name__ == FM.kind.__name__
