"""Stored models: files read without compiled code, as they are and as kernels take them; what is refused."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from deepfm_fit_tools import SIZES, new_deep
from encoder_tools import CLICKED, CLICKS, click_columns
from fit_tools import new_model, small_data

from fastfm_deep import (
    DeepFMClassifier,
    DeepFMRegressor,
    FMClassifier,
    FMRegressor,
    ModelFileError,
    TableEncoder,
    TableTooLargeError,
)
from fastfm_deep.data.encoders import Encoding
from fastfm_deep.model import restored, storage, stored
from fastfm_deep.model.file import read_model_file, write_model_file
from fastfm_deep.model.params import padded
from fastfm_deep.model.restored import fm_model, row_lookup
from fastfm_deep.model.score import raw_scores
from fastfm_deep.model.stored import dense_rows, read_stored_model


def test_reading_loads_no_compiled_code():
    code = (
        "import sys, fastfm_deep.model.stored as stored;"
        "stored.read_stored_model('tests/data/deepfm_classifier_1.safetensors');"
        "print(*sys.modules)"
    )
    root = stored.__file__.rsplit("/fastfm_deep/", 1)[0]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    loaded = set(done.stdout.split())
    assert "fastfm_deep.model.stored" in loaded
    assert not loaded & {"numba", "llvmlite", "sklearn", "scipy", "joblib"}
    assert not [name for name in loaded if name.startswith(("fastfm_deep.estimators", "fastfm_deep.training"))]


def fitted(kind, **parameters):
    X, y = small_data(kind, 120)
    make = new_deep if kind in (DeepFMClassifier, DeepFMRegressor) else new_model
    return make(kind, **parameters).fit(X, y), X


@pytest.mark.parametrize("mmap", [False, True])
def test_what_a_classifier_with_a_network_is(tmp_path, mmap):
    model, _ = fitted(DeepFMClassifier, dnn_batch_norm=True, negative_downsampling=0.5)
    model.save(tmp_path / "m", include_optimizer=True)
    got = read_stored_model(tmp_path / "m", mmap=mmap)
    assert (got.n_features, got.n_factors, got.storage) == (60, 4, "float32")
    assert got.factors.tobytes() == model._model.params.factors[:, :4].tobytes()
    assert got.linear.shape == (60, 1)
    assert got.linear.tobytes() == model._model.params.linear[:, 0].tobytes()
    assert got.kept is None
    assert got.intercept == model._model.params.intercept[0]
    assert got.inverse_scale.shape == (0,)
    assert got.occurs.tolist() == model._model.occurs.tolist()
    assert (got.center, got.scale, got.shift) == (0.0, 1.0, model._shift())
    assert got.shift < 0
    assert got.is_classifier
    assert got.classes.tolist() == model.classes_.tolist()
    assert (got.bounds, got.feature_names, got.encoder) == (None, None, None)
    assert got.layout.field_of_column.tolist() == np.repeat(np.arange(6), SIZES).tolist()
    deep = model._model.deep
    assert got.network.shape == deep.shape
    assert got.network.parameters.tobytes() == deep.parameters.tobytes()
    assert got.network.running.tobytes() == deep.running.tobytes()
    assert got.network.with_fields
    assert got.network.optimizer_name == deep.optimizer.name


def test_what_a_regressor_of_a_frame_is(tmp_path):
    pandas = pytest.importorskip("pandas")
    X, y = small_data(FMRegressor, 120)
    wide = X.toarray() * np.logspace(-3, 6, 60)
    frame = pandas.DataFrame(wide, columns=[f"größe {column}" for column in range(60)])
    model = new_model(FMRegressor, clip=True).fit(frame, y)
    model.save(tmp_path / "m")
    got = read_stored_model(tmp_path / "m")
    assert got.inverse_scale.tobytes() == model._model.params.inverse_scale.tobytes()
    assert len(got.inverse_scale) == 60
    assert (got.center, got.scale, got.shift) == (model._model.center, model._model.scale, 0.0)
    assert not got.is_classifier
    assert got.bounds == model.target_range_
    assert got.feature_names == tuple(frame.columns)
    assert (got.classes, got.layout, got.network) == (None, None, None)
    model.set_params(clip=False).save(tmp_path / "m")
    assert read_stored_model(tmp_path / "m").bounds is None


def test_an_encoder_is_handed_on(tmp_path):
    model = FMClassifier(encoder=TableEncoder(click_columns()), n_factors=2, n_epochs=1).fit(CLICKS, CLICKED)
    model.save(tmp_path / "m")
    got = read_stored_model(tmp_path / "m")
    encoding = Encoding.from_state(*got.encoder)
    assert encoding.n_features == got.n_features
    assert encoding.columns == model.encoder_.encoding_.columns


KINDS = [FMClassifier, FMRegressor, DeepFMClassifier, DeepFMRegressor]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_factors", [1, 5, 16])
@pytest.mark.parametrize("dtype", storage.STORAGES)
@pytest.mark.parametrize("prune", [None, 0.05])
def test_tables_in_place_are_those_of_the_file(tmp_path, kind, n_factors, dtype, prune):
    fitted(kind, n_factors=n_factors)[0].save(tmp_path / "m", dtype=dtype, prune=prune)
    got = read_stored_model(tmp_path / "m", mmap=True)
    model = fm_model(got, in_place=True)
    params = model.params
    n_rows = 60 if prune is None else 1 + got.kept.sum()
    assert 1 < n_rows <= 60
    assert got.factors.shape == (n_rows, n_factors)
    assert got.factors.dtype == storage.STORED_DTYPES[dtype]
    assert params.padded_factors == padded(n_factors)
    assert params.factors.shape == (n_rows, padded(n_factors))
    assert params.factors.dtype == got.factors.dtype
    np.testing.assert_array_equal(params.factors[:, :n_factors], got.factors)
    assert not params.factors[:, n_factors:].any()
    assert params.linear.shape == (n_rows, 2 if dtype == "int8" else 1)
    # What needs no padding is not copied; nothing of the map can be written to.
    assert np.shares_memory(params.factors, got.arrays["factors"]) == (n_factors == 16)
    assert np.shares_memory(params.linear, got.arrays["linear"])
    for array in (got.factors, got.linear, params.linear):
        assert not array.flags.writeable
    if prune is None:
        assert params.lookup is None
    else:
        assert params.lookup.dtype == np.int32
        assert params.lookup[got.kept].tolist() == list(range(1, n_rows))
        assert not params.lookup[~got.kept].any()
    assert (model.rule, model.center, model.scale) == (None, got.center, got.scale)
    assert (model.deep is None) == (got.network is None)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_factors", [1, 5, 16])
@pytest.mark.parametrize("mmap", [False, True])
def test_plain_tables_in_place_score_the_same_bits(tmp_path, kind, n_factors, mmap):
    from fastfm_deep.data.rows import as_csr_rows

    model, X = fitted(kind, n_factors=n_factors)
    model.save(tmp_path / "m")
    got = fm_model(read_stored_model(tmp_path / "m", mmap=mmap), in_place=True)
    rows = as_csr_rows(X)
    assert raw_scores(got, rows).tobytes() == raw_scores(model._model, rows).tobytes()


@pytest.mark.parametrize("dtype", storage.STORAGES)
@pytest.mark.parametrize("n_factors", [0, 5])
def test_dense_rows_are_what_a_loaded_model_has(tmp_path, dtype, n_factors):
    fitted(FMRegressor, n_factors=n_factors)[0].save(tmp_path / "m", dtype=dtype, prune=0.1)
    got = read_stored_model(tmp_path / "m")
    factors, linear = dense_rows(got)
    assert (factors.shape, linear.shape) == ((60, n_factors), (60,))
    model = fm_model(got, in_place=False)
    assert linear.tobytes() == model.params.linear[:, 0].tobytes()
    assert factors.tobytes() == model.params.factors[:, :n_factors].tobytes()
    assert not linear[~got.kept].any()
    assert not factors[~got.kept].any()
    assert linear[got.kept].tobytes() == got.linear[1:, 0].tobytes()


def test_rows_are_looked_up():
    kept = np.array([0, 1, 1, 0, 1, 0], bool)
    got = row_lookup(kept)
    assert got.dtype == np.int32
    assert got.tolist() == [0, 1, 2, 0, 3, 0]


def test_tables_too_large_for_this_machine(tmp_path, monkeypatch):
    fitted(FMClassifier)[0].save(tmp_path / "m", prune=0.1)
    got = read_stored_model(tmp_path / "m")
    monkeypatch.setattr(stored, "free_memory", lambda: 100)
    with pytest.raises(TableTooLargeError, match="n_features=60 with n_factors=4 needs parameter tables"):
        dense_rows(got)
    fitted(FMClassifier, n_factors=5)[0].save(tmp_path / "m")
    monkeypatch.setattr(restored, "free_memory", lambda: 100)
    with pytest.raises(TableTooLargeError, match="n_features=60 with n_factors=5 needs parameter tables"):
        fm_model(read_stored_model(tmp_path / "m"), in_place=True)


# ------------------------------------------------------------------------------------------------ what is refused


def put(**values):
    def change(header, arrays):
        for name, value in values.items():
            (arrays if isinstance(value, np.ndarray) else header)[name] = value

    return change


def drop(name):
    return lambda header, arrays: (arrays if name in arrays else header).pop(name)


def array(name, change_array):
    def change(header, arrays):
        arrays[name] = change_array(arrays[name].copy())

    return change


def at(place, value):
    def change(found):
        found[place] = value
        return found

    return change


def parameter(name, value):
    return lambda header, arrays: header["hyper_parameters"].update({name: value})


def attribute(name, value):
    return lambda header, arrays: header["attributes"].update({name: value})


ALTERED = {
    "unknown storage": put(storage="float8"),
    "storage of a list": put(storage=["int8"]),
    "another storage": put(storage="bfloat16"),
    "plain storage": put(storage="float32"),
    "no storage": drop("storage"),
    "not pruned": put(prune=None),
    "prune is text": put(prune="much"),
    "no bitmap": drop("kept"),
    "a short bitmap": array("kept", lambda kept: kept[:-1]),
    "a long bitmap": array("kept", lambda kept: np.append(kept, np.uint8(0))),
    "a bitmap of booleans": array("kept", lambda kept: np.unpackbits(kept)[:60].astype(bool)),
    "a feature more in the bitmap": array("kept", lambda kept: np.packbits(more(np.unpackbits(kept)))),
    "a feature less in the bitmap": array("kept", lambda kept: np.packbits(fewer(np.unpackbits(kept)))),
    "stray bits in the bitmap": array("kept", lambda kept: kept | np.array([0] * 7 + [1], np.uint8)),
    "scales of NaN": array("linear", at((3, 1), np.nan)),
    "negative scales": array("linear", at((3, 1), -0.5)),
    "scales of no finite number": array(
        "linear", at((3, 1), np.nextafter(storage.LARGEST_SCALE, np.float32(np.inf)))
    ),
    "infinite scales": array("linear", at((3, 1), np.inf)),
    "no scales": array("linear", lambda linear: linear[:, 0].copy()),
    "scales alone": array("linear", lambda linear: linear[:, :1].copy()),
    "flat weights": array("linear", lambda linear: linear.ravel()),
    "three numbers a row": array("linear", lambda linear: np.column_stack([linear, linear[:, 0]])),
    "weights of float64": array("linear", lambda linear: linear.astype(np.float64)),
    "a weight of features without a row": array("linear", at((0, 0), 0.1)),
    "factors of features without a row": array("factors", at((0, 2), 1)),
    "a row of factors less": array("factors", lambda factors: factors[:-1]),
    "a row less": lambda header, arrays: arrays.update(
        factors=arrays["factors"][:-1], linear=arrays["linear"][:-1]
    ),
    "factors of float32": array("factors", lambda factors: factors.astype(np.float32)),
    "unsigned factors": array("factors", lambda factors: factors.view(np.uint8)),
    "factors of all features": put(factors=np.zeros((60, 5), np.int8)),
    "more features": put(n_features=61),
    "many long labels": put(classes={"dtype": "<U200000", "values": ["a"] * 10_000}),
    "link of another class": put(link="identity"),
    "no link": drop("link"),
    "an unknown class": put(**{"class": "FM"}),
    "a share that is none": parameter("negative_downsampling", 0.0),
    "a share that is text": parameter("negative_downsampling", "half"),
    "names of other features": put(feature_names=["a", "b"]),
    "names that are numbers": put(feature_names=list(range(60))),
    "parts of other features": put(parts=np.ones(3, np.uint8)),
    "encoder of no columns": put(encoder={"columns": {"a": 1}}),
    "scale of 0": put(scale=0.0),
    "negative scale": put(scale=-1.0),
}


def more(bits):
    bits[np.flatnonzero(bits[:60] == 0)[0]] = 1
    return bits


def fewer(bits):
    bits[np.flatnonzero(bits[:60])[0]] = 0
    return bits


@pytest.fixture(scope="module")
def pruned(tmp_path_factory):
    path = tmp_path_factory.mktemp("pruned") / "m"
    fitted(FMClassifier, n_factors=5)[0].save(path, dtype="int8", prune=0.05)
    return path


@pytest.mark.parametrize("what", ALTERED)
def test_files_that_are_whole_but_make_no_sense(tmp_path, pruned, what):
    """Checksums and digest are right; a scorer would read beyond these arrays, or score another model."""
    header, arrays = read_model_file(pruned)
    write_model_file(tmp_path / "m", arrays, header)
    read_stored_model(tmp_path / "m")
    ALTERED[what](header, arrays)
    write_model_file(tmp_path / "m", arrays, header)
    for mmap in (False, True):
        with pytest.raises(
            ModelFileError, match=r"m' holds no estimator that .* can build \(.*\); save the model again"
        ):
            read_stored_model(tmp_path / "m", mmap=mmap)


@pytest.mark.parametrize(
    "target_range", [None, 5, [1.0], [2.0, 1.0], ["a", "b"], [0.0, float("1e308") * 10], [False, True]], ids=str
)
def test_ranges_that_are_none(tmp_path, target_range):
    fitted(FMRegressor, clip=True)[0].save(tmp_path / "m")
    header, arrays = read_model_file(tmp_path / "m")
    header["attributes"]["target_range_"] = target_range
    if target_range == [0.0, np.inf]:  # a number of JSON that is none of float64
        header["attributes"]["target_range_"] = [0.0, 10**400]
    write_model_file(tmp_path / "m", arrays, header)
    with pytest.raises(ModelFileError, match="holds no estimator that"):
        read_stored_model(tmp_path / "m")


def test_a_wide_claim_takes_no_memory(tmp_path, pruned):
    """A file of few bytes says that it is of many features, or factors."""
    for changes in ({"n_features": 2**50}, {"n_factors": 2**50}):
        header, arrays = read_model_file(pruned)
        write_model_file(tmp_path / "m", arrays, header | changes)
        tracemalloc.start()
        try:
            with pytest.raises(ModelFileError):
                read_stored_model(tmp_path / "m")
            assert tracemalloc.get_traced_memory()[1] < 1_000_000
        finally:
            tracemalloc.stop()
