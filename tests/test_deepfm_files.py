"""Saved DeepFMs: table and network come back bit for bit, training goes on, and no damage goes unnoticed."""

from __future__ import annotations

import os

import numpy as np
import pytest
import safetensors.numpy
import scipy.sparse as sp
from deepfm_fit_tools import BOTH, assert_same_network, layout, new_deep, numbers
from fit_tools import answers, small_data

from fastfm_deep import DeepFMClassifier, FieldLayout, ModelFileError, load_model
from fastfm_deep.model.file import read_model_file, write_model_file

NETWORKS = {
    "plain": {},
    "batch norm": {"dnn_batch_norm": True, "dnn_activation": "tanh"},
    "dropout": {"dnn_dropout": 0.25, "dnn_activation": "gelu"},
    "no fields": {"fields": None, "dnn_activation": "leaky_relu"},
    "max": {"fields": layout("max"), "dnn_hidden_units": (5,)},
    "poolings": {"fields": layout("mixed"), "dnn_activation": "sigmoid"},
    "no layers": {"dnn_hidden_units": (), "fields": layout("mean")},
    "one factor": {"n_factors": 1},
}


def fitted(estimator_class, **parameters):
    X, y = small_data(estimator_class, 120)
    return new_deep(estimator_class, **{"batch_size": 50} | parameters).fit(X, y), X, y


def save_and_load(model, path, **options):
    model.save(path, **options)
    return load_model(path)


@BOTH
@pytest.mark.parametrize("include_optimizer", [False, True])
@pytest.mark.parametrize("network", NETWORKS)
def test_answers_come_back_bit_for_bit(tmp_path, estimator_class, network, include_optimizer):
    model, X, _ = fitted(estimator_class, **NETWORKS[network])
    got = save_and_load(model, tmp_path / "m", include_optimizer=include_optimizer)
    assert type(got) is estimator_class
    assert_same_network(got, model)
    for rows in (X, X.toarray(), X * np.float32(0.5)):
        assert answers(got, rows).tobytes() == answers(model, rows).tobytes()
    if estimator_class is DeepFMClassifier:
        assert got.predict_proba(X).tobytes() == model.predict_proba(X).tobytes()
    assert os.listdir(tmp_path) == ["m"]
    again = save_and_load(got, tmp_path / "n", include_optimizer=include_optimizer)
    assert answers(again, X).tobytes() == answers(model, X).tobytes()
    expected = {**model.get_params(), "fields": None}
    assert {**got.get_params(), "fields": None} == expected
    assert (got.history_, got.best_epoch_, got.best_score_) == (
        model.history_,
        model.best_epoch_,
        model.best_score_,
    )


@BOTH
@pytest.mark.parametrize("dnn_optimizer", ["adam", "adagrad", "sgd"])
@pytest.mark.parametrize("network", NETWORKS)
def test_training_goes_on_where_it_stopped(tmp_path, estimator_class, network, dnn_optimizer):
    model, X, y = fitted(estimator_class, dnn_optimizer=dnn_optimizer, **NETWORKS[network])
    got = save_and_load(model, tmp_path / "m", include_optimizer=True)
    bare = save_and_load(model, tmp_path / "n")
    for estimator in (model, got, bare):
        estimator.partial_fit(X, y).partial_fit(X[:60], y[:60])
    assert_same_network(got, model)
    assert answers(got, X).tobytes() == answers(model, X).tobytes()
    assert [record["epoch"] for record in got.history_] == [1, 2, 3, 4, 5]
    # Without the states it learns from the same weights, but with steps of another size.
    assert np.isfinite(answers(bare, X)).all()
    assert not np.array_equal(bare.factors_, got.factors_)


def test_a_warm_start_goes_on_too(tmp_path):
    model, X, y = fitted(DeepFMClassifier, warm_start=True, dnn_batch_norm=True)
    got = save_and_load(model, tmp_path / "m", include_optimizer=True)
    assert_same_network(got.fit(X, y), model.fit(X, y))
    assert len(got.history_) == 6


def test_what_is_loaded_may_be_fitted_anew(tmp_path):
    model, X, y = fitted(DeepFMClassifier)
    got = save_and_load(model, tmp_path / "m").set_params(dnn_hidden_units=(4,), fields=[30, 30])
    assert_same_network(got.fit(X, y), fitted(DeepFMClassifier, dnn_hidden_units=(4,), fields=[30, 30])[0])


def test_what_a_file_holds(tmp_path):
    model, _, _ = fitted(DeepFMClassifier, dnn_batch_norm=True)
    model.save(tmp_path / "small")
    model.save(tmp_path / "large", include_optimizer=True)
    small, large = (safetensors.numpy.load_file(tmp_path / name) for name in ("small", "large"))
    for stored in (small, large):
        np.testing.assert_array_equal(stored["network_parameters"], numbers(model)[0])
        np.testing.assert_array_equal(stored["network_running"], numbers(model)[1])
        np.testing.assert_array_equal(stored["field_of_column"], np.repeat(np.arange(6), 10))
    states = {name for name in large if name not in small and "padding" not in name}
    assert {name for name in states if "network" in name} == {f"network_state_{name}" for name in "mut"}
    assert large["network_state_t"].tolist() == [9]  # three epochs of three micro-batches


def test_hyper_parameters_of_numpy_types(tmp_path):
    units = np.array([6, 3])
    model, X, _ = fitted(
        DeepFMClassifier, dnn_hidden_units=units, dnn_dropout=np.float32(0.25), batch_size=np.int64(50)
    )
    got = save_and_load(model, tmp_path / "m")
    assert got.dnn_hidden_units == (6, 3)
    assert answers(got, X).tobytes() == answers(model, X).tobytes()


def test_parameters_changed_since_the_fit_do_not_change_what_is_saved(tmp_path):
    """The network is what the fit made it; the parameters are for the next fit."""
    model, X, _ = fitted(DeepFMClassifier)
    expected = answers(model, X)
    model.set_params(dnn_hidden_units=(9,), fields=None, dnn_batch_norm=True, dnn_activation="gelu")
    np.testing.assert_array_equal(answers(model, X), expected)
    got = save_and_load(model, tmp_path / "m")
    np.testing.assert_array_equal(answers(got, X), expected)
    assert got.dnn_hidden_units == (9,)


# Damage


def test_a_byte_that_flips_anywhere_is_noticed(tmp_path):
    model, _, _ = fitted(DeepFMClassifier, dnn_hidden_units=(3,), fields=[60])
    model.save(tmp_path / "m", include_optimizer=True)
    content = (tmp_path / "m").read_bytes()
    rng = np.random.default_rng(0)
    for at in {*range(0, 64), *rng.integers(0, len(content), 150).tolist(), len(content) - 1}:
        changed = bytearray(content)
        changed[at] ^= 1 << int(rng.integers(8))
        (tmp_path / "m").write_bytes(changed)
        with pytest.raises(ModelFileError):
            load_model(tmp_path / "m")


def test_a_cut_file_is_noticed(tmp_path):
    model, _, _ = fitted(DeepFMClassifier, dnn_hidden_units=(3,), fields=[60])
    model.save(tmp_path / "m")
    content = (tmp_path / "m").read_bytes()
    for length in (0, 5, 300, len(content) // 2, len(content) - 1):
        (tmp_path / "m").write_bytes(content[:length])
        with pytest.raises(ModelFileError):
            load_model(tmp_path / "m")
    (tmp_path / "m").write_bytes(content + b"\0")
    with pytest.raises(ModelFileError):
        load_model(tmp_path / "m")


def drop(*names):
    def change(header, arrays):
        for name in names:
            del (arrays if name in arrays else header)[name]

    return change


def put(**values):
    def change(header, arrays):
        for name, value in values.items():
            (arrays if isinstance(value, np.ndarray) else header)[name] = value

    return change


def network(**values):
    return lambda header, arrays: header["network"].update(values)


def resized(name, change_by):
    """An array of another length."""

    def change(header, arrays):
        arrays[name] = np.resize(arrays[name], len(arrays[name]) + change_by)

    return change


def one_layer(header, arrays):
    """A shape that fits no parameters, and looks right."""
    header["network"].update(hidden_units=[9])
    header["hyper_parameters"].update(dnn_hidden_units=[9])


ALTERED = {
    "no shape": drop("network"),
    "shape is null": put(network=None),
    "shape is a list": put(network=[]),
    "no parameters": drop("network_parameters"),
    "no running statistics": drop("network_running"),
    "no state": drop("network_state_m"),
    "no counter": drop("network_state_t"),
    "one parameter more": resized("network_parameters", 1),
    "one parameter less": resized("network_parameters", -1),
    "one statistic less": resized("network_running", -1),
    "short state": resized("network_state_u", -1),
    "two counters": resized("network_state_t", 1),
    "counter of another type": put(network_state_t=np.zeros(1, np.float32)),
    "float64 parameters": lambda header, arrays: arrays.update(
        network_parameters=arrays["network_parameters"].astype(np.float64)
    ),
    "parameters of two axes": lambda header, arrays: arrays.update(
        network_parameters=arrays["network_parameters"][None]
    ),
    "more inputs": network(n_inputs=28),
    "inputs are text": network(n_inputs="24"),
    "huge inputs": network(n_inputs=2**62),
    "another layer": network(hidden_units=[6, 3, 3]),
    "one layer": one_layer,
    "no layer": network(hidden_units=[]),
    "empty layer": network(hidden_units=[6, 0]),
    "negative layer": network(hidden_units=[6, -3]),
    "huge layer": network(hidden_units=[6, 2**40]),
    "layer is true": network(hidden_units=[6, True]),
    "layers are a number": network(hidden_units=3),
    "unknown activation": network(activation="swish"),
    "activation is a list": network(activation=["relu"]),
    "no batch norm": network(batch_norm=False),
    "batch norm is a number": network(batch_norm=1),
    "dropout of one": network(dropout=1.0),
    "negative dropout": network(dropout=-0.1),
    "dropout is text": network(dropout="0.1"),
    "unknown optimizer": network(optimizer="lion"),
    "another optimizer": network(optimizer="adagrad"),
    "without fields": network(with_fields=False),
    "more to say": network(depth=2),
    "more factors": put(n_factors=5),
    "fewer factors": put(n_factors=3),
    "no layout": drop("n_fields", "field_of_column"),
    "fewer fields": put(n_fields=5),
    "more fields": put(n_fields=7),
    "a field too large": put(field_of_column=np.r_[np.zeros(59), 6].astype(np.int32)),
    "short layout": put(field_of_column=np.zeros(59, np.int32)),
    "unknown pooling": put(pooling=["avg"] * 6),
    "too few poolings": put(pooling=["max"] * 5),
    "no class of that name": put(**{"class": "DeepFM"}),
    "class without network": put(**{"class": "FMClassifier"}),
    "class of numbers": put(**{"class": "DeepFMRegressor"}),
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "m"
    model, X, _ = fitted(DeepFMClassifier, dnn_batch_norm=True)
    model.save(path, include_optimizer=True)
    return path, model, X


@pytest.mark.parametrize("what", ALTERED)
def test_files_that_are_whole_but_lie(tmp_path, saved, what):
    """Checksums and digest are right; kernels would read beyond these arrays, or score another model."""
    path, model, X = saved
    header, arrays = read_model_file(path)
    write_model_file(tmp_path / "m", arrays, header)
    assert answers(load_model(tmp_path / "m"), X).tobytes() == answers(model, X).tobytes()
    ALTERED[what](header, arrays)
    write_model_file(tmp_path / "m", arrays, header)
    with pytest.raises(
        ModelFileError, match=r"m' holds no estimator that .* can build \(.*\); save the model again"
    ):
        load_model(tmp_path / "m")


def test_columns_of_very_different_units(tmp_path):
    """Scales of columns, where training chose any, are part of the model; network and table see the same rows."""
    X, y = small_data(DeepFMClassifier, 120)
    wide = sp.csr_array(X * np.logspace(-3, 6, 60)[None, :].astype(np.float32))
    model = new_deep(DeepFMClassifier, fields=FieldLayout.from_sizes([30, 30], "mean")).fit(wide, y)
    assert len(model._model.params.inverse_scale) == 60
    got = save_and_load(model, tmp_path / "m", include_optimizer=True)
    assert answers(got, wide).tobytes() == answers(model, wide).tobytes()
    assert_same_network(got.partial_fit(wide, y), model.partial_fit(wide, y))
