"""Smaller models: files of fewer bytes a factor, or of fewer features, and what their scores are."""

from __future__ import annotations

import json
import os
import re
from fractions import Fraction

import numpy as np
import pytest
import safetensors
import scipy.sparse as sp
from deepfm_fit_tools import BOTH, layout, new_deep
from encoder_tools import CLICKED, CLICKS, click_columns
from fit_tools import answers, new_model, small_data
from test_saved import ID_MAPS, LAYOUT
from test_saved import X as TEXT_ROWS
from test_saved import fitted as text_model

from fastfm_deep import (
    DeepFMClassifier,
    DeepFMRegressor,
    FMClassifier,
    FMRegressor,
    InputError,
    TableEncoder,
    TableTooLargeError,
    load_model,
)
from fastfm_deep.model import params
from fastfm_deep.model.file import read_model_file
from fastfm_deep.model.storage import STORAGES, from_bfloat16, from_int8, to_bfloat16, to_int8

KINDS = pytest.mark.parametrize("kind", [FMClassifier, FMRegressor, DeepFMClassifier, DeepFMRegressor])
ROUNDED = {
    "float32": lambda x: x,
    "bfloat16": lambda x: from_bfloat16(to_bfloat16(x)),
    "int8": lambda x: from_int8(*to_int8(x)),
}
REDUCED = [{"dtype": "bfloat16"}, {"dtype": "int8"}, {"prune": 0.05}, {"dtype": "int8", "prune": 0.05}]


def new(kind, **parameters):
    if kind in (FMClassifier, FMRegressor):
        return new_model(kind, **parameters)
    if parameters.get("n_factors") == 0:  # a network takes vectors of factors
        parameters["dnn_hidden_units"] = ()
    return new_deep(kind, **parameters)


def fitted(kind, **parameters):
    X, y = small_data(kind, 120)
    return new(kind, **parameters).fit(X, y), X, y


def standardised(kind):
    """A model that multiplies the values of each column by a number of its own."""
    X, y = small_data(kind, 120)
    wide = sp.csr_array(X * np.logspace(-3, 6, 60)[None, :].astype(np.float32))
    model = new(kind).fit(wide, y)
    assert len(model._model.params.inverse_scale) == 60
    return model, wide


def save_and_load(model, path, **options):
    model.save(path, **options)
    return load_model(path)


def format_of(path):
    with safetensors.safe_open(path, framework="numpy") as file:
        return json.loads(file.metadata()["fastfm_deep"])["format"]


def assert_no_file(folder):
    assert os.listdir(folder) == []


def with_tables(model, factors, weights):
    """The same estimator with the numbers given in its tables."""
    tables = model._model.params
    tables.factors[:, : model._model.n_factors] = factors
    tables.linear[:, 0] = weights
    model._drop_prepared()
    return model


# ------------------------------------------------------------------------------------------------------- storages


@pytest.mark.parametrize(
    ("kind", "n_factors"), [(FMClassifier, 0), (FMClassifier, 1), (FMClassifier, 16), (DeepFMClassifier, 5)]
)
@pytest.mark.parametrize("dtype", ["bfloat16", "int8"])
def test_scores_are_those_of_the_rounded_factors(tmp_path, kind, n_factors, dtype):
    model, X, _ = fitted(kind, n_factors=n_factors)
    got = save_and_load(model, tmp_path / "m", dtype=dtype)
    table = model._model.params.factors[:, :n_factors].copy()
    expected = with_tables(model, ROUNDED[dtype](table), model._model.params.linear[:, 0].copy())
    assert type(got) is kind
    assert answers(got, X).tobytes() == answers(expected, X).tobytes()
    assert got.coef_.tobytes() == expected.coef_.tobytes()
    assert got.factors_.tobytes() == expected.factors_.tobytes()
    assert got.intercept_ == expected.intercept_
    assert got.get_params().keys() == expected.get_params().keys()
    assert got.history_ == expected.history_
    # What has been rounded is not rounded once more; scales are only in the last place.
    again = save_and_load(got, tmp_path / "n", dtype=dtype)
    np.testing.assert_allclose(again.factors_, got.factors_, rtol=1e-6 if dtype == "int8" else 0)


@KINDS
def test_a_factor_is_off_by_no_more_than_is_said(tmp_path, kind):
    model, wide = standardised(kind)
    factors = model.factors_
    short = save_and_load(model, tmp_path / "m", dtype="bfloat16")
    assert (np.abs(short.factors_ - factors) <= np.abs(factors) / 256 * (1 + 1e-6)).all()
    byte = save_and_load(model, tmp_path / "m", dtype="int8")
    largest = np.abs(factors).max(axis=1, keepdims=True)
    assert (np.abs(byte.factors_ - factors) <= largest / 254 * (1 + 1e-4)).all()
    assert not np.array_equal(short.factors_, factors)
    assert not np.array_equal(byte.factors_, factors)
    for got in (short, byte):
        assert got.coef_.tobytes() == model.coef_.tobytes()
        assert np.isfinite(answers(got, wide)).all()
        assert np.abs(answers(got, wide) - answers(model, wide)).max() < 0.05 * np.ptp(answers(model, wide))


def test_files_are_smaller(tmp_path):
    rng = np.random.default_rng(0)
    model = FMRegressor(32, n_epochs=1).fit(rng.random((30, 2000)), rng.random(30))
    sizes = {}
    for dtype in STORAGES:
        model.save(tmp_path / dtype, dtype=dtype)
        sizes[dtype] = os.path.getsize(tmp_path / dtype)
    assert sizes["bfloat16"] < 0.55 * sizes["float32"]
    assert sizes["int8"] < 0.32 * sizes["float32"]


def test_what_other_readers_see(tmp_path):
    model, _, _ = fitted(FMClassifier, n_factors=5)
    expected = {"float32": "F32", "bfloat16": "BF16", "int8": "I8"}
    for dtype, code in expected.items():
        model.save(tmp_path / dtype, dtype=dtype)
        with safetensors.safe_open(tmp_path / dtype, framework="numpy") as file:
            assert file.get_slice("factors").get_dtype() == code
            assert file.get_slice("factors").get_shape() == [60, 5]
            assert file.get_slice("linear").get_dtype() == "F32"
            assert file.get_slice("linear").get_shape() == ([60, 2] if dtype == "int8" else [60])
    with safetensors.safe_open(tmp_path / "int8", framework="numpy") as file:
        np.testing.assert_array_equal(file.get_tensor("linear")[:, 0], model.coef_)
        table = from_int8(file.get_tensor("factors"), file.get_tensor("linear")[:, 1].copy())
    np.testing.assert_array_equal(table, load_model(tmp_path / "int8").factors_)


@pytest.mark.parametrize(
    "options", [{}, {"include_optimizer": True}, {"dtype": "float32", "prune": None}], ids=str
)
def test_plain_files_are_of_the_first_format(tmp_path, options):
    model, _, _ = fitted(FMClassifier)
    model.save(tmp_path / "m", **options)
    assert format_of(tmp_path / "m") == 1
    header, arrays = read_model_file(tmp_path / "m")
    assert not {"storage", "prune"} & header.keys()
    assert "kept" not in arrays


@pytest.mark.parametrize("options", [*REDUCED, {"prune": 0.0}], ids=str)
def test_smaller_files_are_of_the_second_format(tmp_path, options):
    """Readers of the first say what to do; they would not understand the rest."""
    model, _, _ = fitted(FMClassifier)
    model.save(tmp_path / "m", **options)
    assert format_of(tmp_path / "m") == 2
    assert format_of_plain_after(tmp_path) == 1


def format_of_plain_after(folder):
    """What was made smaller is an ordinary model again once it is loaded."""
    load_model(folder / "m").save(folder / "plain", include_optimizer=False)
    return format_of(folder / "plain")


@KINDS
@pytest.mark.parametrize("options", REDUCED, ids=str)
def test_training_goes_on_from_a_smaller_file(tmp_path, kind, options):
    model, X, y = fitted(kind)
    got = save_and_load(model, tmp_path / "m", **options)
    before = got.factors_.copy()
    got.partial_fit(X, y)
    assert np.isfinite(answers(got, X)).all()
    assert not np.array_equal(before, got.factors_)
    got.save(tmp_path / "n", include_optimizer=True)
    assert answers(load_model(tmp_path / "n"), X).tobytes() == answers(got, X).tobytes()


@pytest.mark.parametrize("options", REDUCED, ids=str)
def test_encoders_come_with_it(tmp_path, options):
    model = FMClassifier(
        encoder=TableEncoder(click_columns()), n_factors=3, n_epochs=3, init_std=0.1, random_state=0
    )
    model.fit(CLICKS, CLICKED)
    got = save_and_load(model, tmp_path / "m", **options)
    assert got.encoder_.feature_dictionary_ == model.encoder_.feature_dictionary_
    assert got.predict_proba(CLICKS).shape == model.predict_proba(CLICKS).shape
    np.testing.assert_allclose(got.predict_proba(CLICKS), model.predict_proba(CLICKS), atol=0.1)
    row = {name: values[0] for name, values in CLICKS.items()}
    assert got.score_row_dict(row) == pytest.approx(got.predict_proba(CLICKS)[0, 1], rel=1e-6)


@pytest.mark.parametrize("options", REDUCED, ids=str)
def test_how_text_is_read_comes_with_it(tmp_path, options):
    model, _ = text_model()
    model.id_map_, model.fields_ = ID_MAPS["table"], LAYOUT
    got = save_and_load(model, tmp_path / "m", **options)
    assert got.id_map_.ids.tolist() == model.id_map_.ids.tolist()
    assert got.fields_.field_of_column.tolist() == LAYOUT.field_of_column.tolist()
    assert np.isfinite(answers(got, TEXT_ROWS)).all()


# -------------------------------------------------------------------------------------------------------- pruning


def bounded(model, bound):
    """Which features are beyond a bound, as anyone can see from outside."""
    return (np.abs(model.coef_) > bound) | (np.abs(model.factors_) > bound).any(axis=1)


@KINDS
@pytest.mark.parametrize("n_factors", [1, 5, 16])
@pytest.mark.parametrize("dtype", STORAGES)
def test_pruned_features_score_as_nothing(tmp_path, kind, n_factors, dtype):
    model, X, _ = fitted(kind, n_factors=n_factors)
    bound = float(np.median(np.maximum(np.abs(model.coef_), np.abs(model.factors_).max(axis=1))))
    kept = bounded(model, bound)
    assert 10 < kept.sum() < 50
    got = save_and_load(model, tmp_path / "m", dtype=dtype, prune=bound)
    assert read_model_file(tmp_path / "m").arrays["linear"].shape[0] == 1 + kept.sum()
    weights, table = model._model.params.linear[:, 0].copy(), model._model.params.factors[:, :n_factors].copy()
    expected = with_tables(model, ROUNDED[dtype](table) * kept[:, None], weights * kept)
    assert answers(got, X).tobytes() == answers(expected, X).tobytes()
    assert not got.coef_[~kept].any()
    assert not got.factors_[~kept].any()
    np.testing.assert_array_equal(got.coef_, expected.coef_)


@KINDS
def test_the_bound_is_in_the_units_that_the_user_sees(tmp_path, kind):
    model, wide = standardised(kind)
    sizes = np.maximum(np.abs(model.coef_), np.abs(model.factors_).max(axis=1))
    assert sizes.max() > 1000 * sizes[sizes > 0].min()
    for bound in np.quantile(sizes[sizes > 0], [0.0, 0.3, 0.9]).astype(np.float32).tolist():
        got = save_and_load(model, tmp_path / "m", prune=bound)
        kept = bounded(model, np.float32(bound))
        np.testing.assert_array_equal(got.coef_, model.coef_ * kept)
        np.testing.assert_array_equal(got.factors_, model.factors_ * kept[:, None])
        assert len(read_model_file(tmp_path / "m").arrays["linear"]) == 1 + kept.sum()
        assert np.isfinite(answers(got, wide)).all()


@KINDS
@pytest.mark.parametrize("n_factors", [0, 1, 5, 16])
def test_a_bound_of_0_changes_no_score(tmp_path, kind, n_factors):
    model, X, _ = fitted(kind, n_factors=n_factors)
    model._model.params.factors[5:30] = 0.0
    model._model.params.linear[20:40, 0] = 0.0
    model._drop_prepared()
    got = save_and_load(model, tmp_path / "m", prune=0.0)
    assert answers(got, X).tobytes() == answers(model, X).tobytes()
    assert got.factors_.tobytes() == model.factors_.tobytes()
    assert got.coef_.tobytes() == model.coef_.tobytes()
    arrays = read_model_file(tmp_path / "m").arrays
    kept = np.unpackbits(arrays["kept"], count=60).astype(bool)
    assert not kept[20 : 40 if n_factors == 0 else 30].any()
    assert kept.sum() == len(arrays["linear"]) - 1 > 0


def test_a_bound_of_0_keeps_what_is_only_shown_as_0(tmp_path):
    """Numbers that underflow in the units of the column still count with its large values."""
    model, _ = standardised(FMRegressor)
    tables = model._model.params
    tables.factors[-1], tables.linear[-1, 0] = 0.0, np.float32(1e-42)
    assert model.coef_[-1] == 0.0
    assert not model.factors_[-1].any()
    got = save_and_load(model, tmp_path / "m", prune=0.0)
    assert got._model.params.linear[-1, 0] == tables.linear[-1, 0] > 0
    got = save_and_load(model, tmp_path / "m", prune=1e-30)
    assert got._model.params.linear[-1, 0] == 0


@pytest.mark.parametrize("dtype", STORAGES)
@KINDS
def test_a_model_of_which_nothing_is_left(tmp_path, kind, dtype):
    model, X, _ = fitted(kind)
    got = save_and_load(model, tmp_path / "m", dtype=dtype, prune=1e6)
    assert not got.coef_.any()
    assert not got.factors_.any()
    assert np.ptp(answers(got, X)) == 0.0
    assert len(read_model_file(tmp_path / "m").arrays["linear"]) == 1


@pytest.mark.parametrize("kind", ["max", "mixed", "mean"])
@BOTH
def test_pooled_fields(tmp_path, estimator_class, kind):
    model, X, _ = fitted(estimator_class, fields=layout(kind))
    bound = float(np.median(np.maximum(np.abs(model.coef_), np.abs(model.factors_).max(axis=1))))
    got = save_and_load(model, tmp_path / "m", prune=bound)
    kept = bounded(model, bound)
    tables = model._model.params
    expected = with_tables(model, tables.factors[:, :4] * kept[:, None], tables.linear[:, 0] * kept)
    assert answers(got, X).tobytes() == answers(expected, X).tobytes()


# ------------------------------------------------------------------------------------------------ what is refused


@pytest.mark.parametrize("dtype", ["float16", "INT8", "", None, np.float32, 8], ids=str)
def test_unknown_storages(tmp_path, dtype):
    model, _, _ = fitted(FMClassifier)
    message = f"dtype={dtype!r} is unknown; use one of 'float32', 'bfloat16', 'int8'."
    with pytest.raises(InputError, match=re.escape(message)):
        model.save(tmp_path / "m", dtype=dtype)
    assert_no_file(tmp_path)


@pytest.mark.parametrize("prune", [-1e-9, np.nan, np.inf, -np.inf, True, "0.1", [0.1], 1j, 10**40], ids=str)
def test_bounds_that_are_none(tmp_path, prune):
    model, _, _ = fitted(FMClassifier)
    message = (
        f"prune={prune!r} must be a number from 0 to 1e+30, which no weight or factor of a feature that is left"
    )
    with pytest.raises(InputError, match=re.escape(message)):
        model.save(tmp_path / "m", prune=prune)
    assert_no_file(tmp_path)


@pytest.mark.parametrize("prune", [0, 1, np.float32(0.5), np.int64(0), Fraction(1, 8), 1e30, 1e-300], ids=str)
def test_bounds_of_every_kind_of_number(tmp_path, prune):
    model, _, _ = fitted(FMClassifier)
    got = save_and_load(model, tmp_path / "m", prune=prune)
    kept = bounded(model, float(prune))
    assert len(read_model_file(tmp_path / "m").arrays["linear"]) == 1 + kept.sum()
    np.testing.assert_array_equal(got.coef_, model.coef_ * kept)


@pytest.mark.parametrize(
    ("options", "given"), [({"dtype": "int8"}, "dtype='int8'"), ({"prune": 0.0}, "prune=0.0")]
)
def test_states_of_the_optimizer_need_all_numbers(tmp_path, options, given):
    model, _, _ = fitted(FMClassifier)
    message = f"include_optimizer=True with {given}: the states of the optimizer belong to all features in full"
    with pytest.raises(InputError, match=re.escape(message)):
        model.save(tmp_path / "m", include_optimizer=True, **options)
    assert_no_file(tmp_path)


@pytest.mark.parametrize("prune", [None, 0.0])
def test_factors_without_a_scale(tmp_path, prune):
    model, _, _ = fitted(FMClassifier)
    model._model.params.factors[0] = model._model.params.linear[0] = 0.0
    model._model.params.factors[7, 2] = np.inf
    with pytest.raises(InputError, match=r"dtype='int8': factors of feature 7 are no finite numbers, of which"):
        model.save(tmp_path / "m", dtype="int8", prune=prune)
    assert_no_file(tmp_path)


def test_a_share_of_negatives_that_no_reader_would_take(tmp_path):
    model, _, _ = fitted(FMClassifier)
    model.set_params(negative_downsampling=2.0)
    with pytest.raises(InputError, match=r"negative_downsampling=2\.0 must be greater than 0"):
        model.save(tmp_path / "m")
    assert_no_file(tmp_path)


def test_a_pruned_model_too_large_for_this_machine(tmp_path, monkeypatch):
    """What is small as a file may be large as the tables of all features."""
    model, _, _ = fitted(FMClassifier)
    model.save(tmp_path / "m", prune=1e6)
    monkeypatch.setattr(params, "free_memory", lambda: 100)
    with pytest.raises(TableTooLargeError, match="n_features=60 with n_factors=4 needs parameter tables"):
        load_model(tmp_path / "m")
