"""Models of columns with parts: their files, and what happens when they grow."""

from __future__ import annotations

import numpy as np
import pytest
from fit_tools import OPTIMIZERS
from parts_tools import (
    ALL_RULES,
    EVERY,
    N_FEATURES,
    NARROW,
    assert_absent_parts_are_zero,
    assert_same_params,
    assert_same_tables,
    fitted,
    mixed_parts,
    model_of,
    split_rows,
    train,
)

from fastfm_deep import FMClassifier, load_model
from fastfm_deep.data.fields import FieldLayout
from fastfm_deep.estimators.base import BaseFM
from fastfm_deep.kernels.parts import HAS_BOTH, HAS_FACTORS, HAS_WEIGHT
from fastfm_deep.model import params as model_params
from fastfm_deep.model.file import read_model_file, write_model_file
from fastfm_deep.model.params import allocate, grown, with_parts
from fastfm_deep.model.score import raw_scores
from fastfm_deep.validation import ModelFileError, TableTooLargeError


@pytest.fixture
def parted(monkeypatch):
    """Estimators train columns of mixed parts."""
    original = BaseFM._model_to_train

    def model_to_train(self, n_features, goal, anew):
        model = original(self, n_features, goal, anew)
        if anew:
            model.params = with_parts(model.params, mixed_parts(n_features))
        return model

    monkeypatch.setattr(BaseFM, "_model_to_train", model_to_train)


@EVERY
@pytest.mark.parametrize(
    "optimizer",
    ["adagrad", *(pytest.param(name, marks=pytest.mark.slow) for name in OPTIMIZERS if name != "adagrad")],
)
def test_files_hold_parts(tmp_path, parted, kind, optimizer):
    model, X, y = fitted(kind, optimizer=optimizer)
    assert_absent_parts_are_zero(model._model.params)
    model.save(tmp_path / "m", include_optimizer=True)
    got = load_model(tmp_path / "m")
    assert_same_params(got, model)
    assert got.predict(X).tobytes() == model.predict(X).tobytes()
    for each in (model, got):
        each.partial_fit(X, y)
    assert_same_params(got, model)
    assert_absent_parts_are_zero(got._model.params)
    model.save(tmp_path / "m")  # without states
    assert load_model(tmp_path / "m").predict(X).tobytes() == model.predict(X).tobytes()


def test_files_of_ordinary_models_hold_none(tmp_path):
    fitted(FMClassifier)[0].save(tmp_path / "m")
    assert "parts" not in read_model_file(tmp_path / "m")[1]


@pytest.mark.parametrize(
    "wrong",
    [np.ones(3, np.uint8), np.ones(N_FEATURES, np.int32), np.full(N_FEATURES, 4, np.uint8)],
    ids=["short", "of another type", "of a third kind"],
)
def test_files_with_wrong_parts(tmp_path, parted, wrong):
    fitted(FMClassifier)[0].save(tmp_path / "m")
    header, arrays = read_model_file(tmp_path / "m")
    write_model_file(tmp_path / "m", arrays | {"parts": wrong}, header)
    with pytest.raises(ModelFileError, match=r"can build \(ValueError: .*parts"):
        load_model(tmp_path / "m")


@pytest.mark.parametrize("divided", [False, True])
@pytest.mark.parametrize("deep", [False, "fields"])
@ALL_RULES
def test_growth_is_as_if_the_width_had_been_there(rule, deep, divided):
    """Bit for bit: the columns that are new draw the same numbers."""
    parts = mixed_parts(N_FEATURES) if divided else np.full(N_FEATURES, HAS_BOTH, np.uint8)
    first, second = split_rows()
    wide = model_of(rule, parts, deep=deep)
    train(wide, *first)
    narrow = model_of(rule, parts, deep=deep)
    narrow.params = with_parts(allocate(NARROW, 4, rule), parts[:NARROW])
    narrow.occurs = narrow.occurs[:NARROW].copy()
    if deep:
        layout = narrow.deep.layout
        narrow.deep.layout = FieldLayout(layout.field_of_column[:NARROW].copy(), 6, ())
    train(narrow, *first)
    before = raw_scores(narrow, first[0])
    model = grown(narrow, N_FEATURES, parts)
    if deep:
        model.deep.layout = layout
    assert model.n_features == N_FEATURES
    assert not model.params.linear[NARROW:, 0].any()
    assert not model.params.factors[NARROW:, :4].any()
    assert raw_scores(model, first[0]).tobytes() == before.tobytes()
    for each in (model, wide):
        train(each, *second)
    assert_same_tables(model.params, wide.params)
    np.testing.assert_array_equal(model.occurs, wide.occurs)
    if deep:
        np.testing.assert_array_equal(model.deep.parameters, wide.deep.parameters)
    new = slice(NARROW, None)
    assert model.params.linear[new][parts[new] & HAS_WEIGHT > 0, 0].any()
    assert model.params.factors[new, :4][parts[new] & HAS_FACTORS > 0].any()
    assert_absent_parts_are_zero(model.params, parts)


@pytest.mark.parametrize("n_factors", [0, 4])
@pytest.mark.parametrize("rule", [None, "adam"])
def test_growth_keeps_units_and_gives_new_columns_both_parts(rule, n_factors):
    model = model_of(rule, mixed_parts(N_FEATURES), n_factors)
    scales = np.linspace(0.1, 1.0, N_FEATURES, dtype=np.float32)
    model.params = model.params._replace(inverse_scale=scales)
    model.occurs[:] = 1
    model.epochs, model.scale = 3, 2.0
    got = grown(model, N_FEATURES + 2, None)
    assert got.params.inverse_scale.tolist() == [*scales.tolist(), 1.0, 1.0]
    assert got.params.parts.tolist() == [*mixed_parts(N_FEATURES).tolist(), HAS_BOTH, HAS_BOTH]
    assert got.occurs.tolist() == [1] * N_FEATURES + [0, 0]
    assert (got.n_features, got.rule, got.n_factors, got.epochs, got.scale) == (62, rule, n_factors, 3, 2.0)
    assert model.n_features == len(model.occurs) == N_FEATURES


def test_growth_that_makes_no_sense():
    model = model_of("adagrad", None)
    with pytest.raises(ValueError, match="n_features=59 of a model that has 60"):
        grown(model, 59, None)
    parts = np.full(61, HAS_BOTH, np.uint8)
    parts[0] = HAS_WEIGHT
    with pytest.raises(ValueError, match="parts of present columns differ"):
        grown(model, 61, parts)
    with pytest.raises(ValueError, match="parts of shape"):
        grown(model, 61, np.full(60, HAS_BOTH, np.uint8))


def test_growth_beyond_memory(monkeypatch):
    model = model_of("adagrad", None)
    monkeypatch.setattr(model_params, "free_memory", lambda: 100)
    with pytest.raises(TableTooLargeError, match="n_features=1000 with n_factors=4"):
        grown(model, 1000, None)
