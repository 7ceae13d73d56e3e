"""Saved estimators that know how text becomes rows: `id_map_` and `fields_` come back with them."""

from __future__ import annotations

import os
import re

import numpy as np
import pytest
from test_saved import ID_MAPS, LAYOUT, N_FEATURES, SETTINGS, assert_same_model, fitted, save_and_load

from fastfm_deep import FMRegressor, load_model
from fastfm_deep.data.fields import FieldLayout
from fastfm_deep.data.id_map import IdMap
from fastfm_deep.model.file import read_model_file, write_model_file
from fastfm_deep.validation import InputError


@pytest.mark.parametrize("kind", ID_MAPS)
def test_how_text_is_read_for_it(tmp_path, kind):
    model, _ = fitted()
    model.id_map_ = ID_MAPS[kind]
    model.fields_ = LAYOUT
    got = save_and_load(model, tmp_path / "m")
    assert_same_model(model, got)
    assert type(got.id_map_) is IdMap
    assert got.id_map_[:3] == ID_MAPS[kind][:3]
    assert got.id_map_.ids.dtype == np.int64
    assert got.id_map_.ids.tolist() == ID_MAPS[kind].ids.tolist()
    assert type(got.fields_) is FieldLayout
    assert got.fields_.n_fields == 5
    assert got.fields_.field_of_column.dtype == np.int32
    assert got.fields_.field_of_column.tolist() == LAYOUT.field_of_column.tolist()
    assert_same_model(got, save_and_load(got, tmp_path / "n"))


def test_text_without_ids_makes_a_map_without_ids(tmp_path):
    model = FMRegressor(**SETTINGS).fit(np.zeros((3, 1)), [1.0, 2.0, 3.0])
    model.id_map_ = IdMap("table", 1, 0, np.empty(0, np.int64))
    got = save_and_load(model, tmp_path / "m")
    assert (got.id_map_.n_features, len(got.id_map_.ids)) == (1, 0)


def test_files_that_hold_the_base_alone(tmp_path):
    model, _ = fitted()
    model.save(tmp_path / "m")
    header, arrays = read_model_file(tmp_path / "m")
    for base in (0, 1):
        header["attributes"]["text_base_"] = base
        write_model_file(tmp_path / "m", arrays, header)
        got = load_model(tmp_path / "m")
        assert not hasattr(got, "text_base_")
        assert got.id_map_[:3] == ("offset", N_FEATURES, base)
        assert_same_model(got, save_and_load(got, tmp_path / "n"))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("id_map_", IdMap.by_hash(7), "id_map_ is of n_features=7, but the model is of 20; set id_map_ anew or"),
        ("id_map_", {1: 0}, "id_map_ is a dict, but must be of type IdMap"),
        ("fields_", FieldLayout.from_sizes([3, 4]), "fields_ is of n_features=7, but the model is of 20; set"),
        ("fields_", [0, 1], "fields_ is a list, but must be of type FieldLayout"),
    ],
)
def test_maps_and_fields_of_another_model(tmp_path, name, value, message):
    model, _ = fitted()
    setattr(model, name, value)
    with pytest.raises(InputError, match=f"The model cannot be saved: {re.escape(message)}"):
        model.save(tmp_path / "m")
    assert os.listdir(tmp_path) == []
