"""Saved estimators: what `load_model` builds is what `save` was called on."""

from __future__ import annotations

import math
import os
import pickle
import re

import numpy as np
import pytest
import safetensors.numpy
import scipy.sparse as sp
from sklearn.exceptions import NotFittedError

from fastfm_deep import FMClassifier, FMRegressor, load_model
from fastfm_deep.data.fields import FieldLayout
from fastfm_deep.data.id_map import IdMap
from fastfm_deep.kernels.updates import RULES
from fastfm_deep.model import params
from fastfm_deep.model.file import read_model_file, write_model_file
from fastfm_deep.validation import InputError, MissingFileError, ModelFileError, TableTooLargeError

N_FEATURES = 20


def make_rows(n_rows=200, seed=0):
    rng = np.random.default_rng(seed)
    dense = rng.random((n_rows, N_FEATURES)) * (rng.random((n_rows, N_FEATURES)) < 0.3)
    dense[:, -1] = 0  # the last column never occurs
    return sp.csr_array(dense.astype(np.float32)), dense[:, :8].sum(axis=1) + 0.1 * rng.standard_normal(n_rows)


X, Y = make_rows()
HIGH = np.median(Y) < Y
SETTINGS = {"n_factors": 5, "n_epochs": 2, "n_jobs": 1, "random_state": 3, "init_std": 0.1}


def fitted(kind=FMClassifier, **changes):
    y = Y if kind is FMRegressor else np.where(HIGH, "yes", "no")
    return kind(**(SETTINGS | changes)).fit(X, y), y


def save_and_load(model, path, **options):
    model.save(path, **options)
    return load_model(path)


def answers(model):
    return model.decision_function(X) if isinstance(model, FMClassifier) else model.predict(X)


def assert_same_model(expected, got):
    assert type(got) is type(expected)
    assert got.get_params() == expected.get_params()
    assert answers(got).tobytes() == answers(expected).tobytes()
    assert got.coef_.tobytes() == expected.coef_.tobytes()
    assert got.factors_.tobytes() == expected.factors_.tobytes()
    assert got.factors_.shape == expected.factors_.shape
    assert got.intercept_ == expected.intercept_
    for name in ("n_features_in_", "history_", "best_epoch_", "best_score_"):
        assert getattr(got, name) == getattr(expected, name)
    left_out = {"_model", "classes_", "feature_names_in_", "id_map_", "fields_"}
    assert hasattr(got, "id_map_") == hasattr(expected, "id_map_")
    assert hasattr(got, "fields_") == hasattr(expected, "fields_")
    assert vars(got).keys() - left_out == vars(expected).keys() - left_out


@pytest.mark.parametrize("include_optimizer", [False, True])
@pytest.mark.parametrize("n_factors", [0, 1, 5, 16])
@pytest.mark.parametrize("kind", [FMClassifier, FMRegressor])
def test_scores_come_back_bit_for_bit(tmp_path, kind, n_factors, include_optimizer):
    model, _ = fitted(kind, n_factors=n_factors)
    got = save_and_load(model, tmp_path / "m", include_optimizer=include_optimizer)
    assert_same_model(model, got)
    np.testing.assert_array_equal(got.predict(X), model.predict(X))
    assert os.listdir(tmp_path) == ["m"]
    # And once more, from what was loaded.
    assert_same_model(model, save_and_load(got, tmp_path / "n", include_optimizer=include_optimizer))
    assert_same_model(model, pickle.loads(pickle.dumps(got)))


@pytest.mark.parametrize("optimizer", RULES)
@pytest.mark.parametrize("kind", [FMClassifier, FMRegressor])
def test_training_goes_on_where_it_stopped(tmp_path, kind, optimizer):
    model, y = fitted(kind, optimizer=optimizer)
    more, _ = make_rows(80, seed=1)
    got = save_and_load(model, tmp_path / "m", include_optimizer=True)
    bare = save_and_load(model, tmp_path / "n")
    for estimator in (model, got, bare):
        estimator.partial_fit(more, y[:80]).partial_fit(more, y[:80])
    assert answers(got).tobytes() == answers(model).tobytes()
    assert got.factors_.tobytes() == model.factors_.tobytes()
    assert [record["epoch"] for record in got.history_] == [1, 2, 3, 4]
    # Without the states it learns from the same weights, but with steps of another size.
    assert np.isfinite(answers(bare)).all()
    if optimizer != "sgd":
        assert answers(bare).tobytes() != answers(model).tobytes()


def test_a_warm_start_goes_on_too(tmp_path):
    model, y = fitted(warm_start=True)
    got = save_and_load(model, tmp_path / "m", include_optimizer=True)
    assert answers(got.fit(X, y)).tobytes() == answers(model.fit(X, y)).tobytes()


def test_the_states_of_the_optimizer_are_left_out_unless_asked_for(tmp_path):
    model, _ = fitted()
    model.save(tmp_path / "small")
    model.save(tmp_path / "large", include_optimizer=True)
    small, large = (safetensors.numpy.load_file(tmp_path / name) for name in ("small", "large"))
    assert {name for name in small if "padding" not in name} == {"factors", "linear", "intercept", "occurs"}
    assert {"factor_states", "linear_states", "intercept_states"} <= set(large)
    assert small["factors"].shape == (N_FEATURES, 5)
    np.testing.assert_array_equal(small["factors"], model.factors_)
    np.testing.assert_array_equal(small["linear"], model.coef_)


@pytest.mark.parametrize(
    "labels",
    [
        np.array(["no", "yes"]),
        np.array(["no", "yes"], dtype=object),
        np.array(["", "ä long label \U0001f600"]),
        np.array([False, True]),
        np.array([-1, 1], np.int8),
        np.array([-(2**63), 2**63 - 1]),
        np.array([0, 2**64 - 1], np.uint64),
        np.array([-1, 16777216], np.float32),
        np.array([-3.0, 4.0]),
    ],
    ids=lambda labels: f"{labels.dtype}-{labels[1]}",
)
def test_labels_of_every_kind(tmp_path, labels):
    model = FMClassifier(**SETTINGS).fit(X, labels[HIGH.astype(int)])
    got = save_and_load(model, tmp_path / "m")
    assert got.classes_.dtype == model.classes_.dtype
    assert got.classes_.tolist() == model.classes_.tolist()
    predicted = got.predict(X)
    assert predicted.dtype == labels.dtype
    np.testing.assert_array_equal(predicted, model.predict(X))


def test_labels_that_json_cannot_hold(tmp_path):
    model = FMClassifier(**SETTINGS).fit(X, np.where(HIGH, b"a", b"b"))
    message = "The model cannot be saved: its labels are [b'a', b'b'], but a model file holds strings, numbers and"
    with pytest.raises(InputError, match=re.escape(message)):
        model.save(tmp_path / "m")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "class_weight",
    [None, "balanced", {"yes": 2.0, "no": 0.5}, {"no": 3}],
    ids=str,
)
def test_class_weights(tmp_path, class_weight):
    model, _ = fitted(class_weight=class_weight)
    got = save_and_load(model, tmp_path / "m")
    assert_same_model(model, got)
    assert got.class_weight == class_weight


def test_hyper_parameters_of_numpy_types(tmp_path):
    model, _ = fitted(n_factors=np.int64(5), learning_rate=np.float64(0.1), warm_start=np.bool_(True))
    got = save_and_load(model, tmp_path / "m")
    assert_same_model(model, got)
    assert type(got.n_factors) is int


def test_a_generator_is_not_saved(tmp_path):
    model, _ = fitted(random_state=np.random.RandomState(0))
    got = save_and_load(model, tmp_path / "m")
    assert got.random_state is None
    assert answers(got).tobytes() == answers(model).tobytes()


def test_feature_names(tmp_path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X.toarray(), columns=[f"größe {column}" for column in range(N_FEATURES)])
    model = FMRegressor(**SETTINGS).fit(frame, Y)
    got = save_and_load(model, tmp_path / "m")
    assert got.feature_names_in_.tolist() == frame.columns.tolist()
    assert got.predict(frame).tobytes() == model.predict(frame).tobytes()
    with pytest.raises(ValueError, match="feature names"):
        got.predict(frame.rename(columns={"größe 0": "other"}))


def test_validation_scores_and_clipping(tmp_path):
    model = FMRegressor(**SETTINGS, clip=True, early_stopping_rounds=1, eval_metric=["mae", "rmse"])
    model.fit(X, Y, eval_set=[(X, Y)])
    got = save_and_load(model, tmp_path / "m")
    assert_same_model(model, got)
    assert got.best_score_ is not None
    assert got.target_range_ == model.target_range_
    assert got.predict(1000 * X).max() == Y.max()


def test_numbers_that_json_does_not_know(tmp_path):
    """The AUC of rows of one class is no number; it must not keep a model from being saved."""
    model = FMClassifier(**SETTINGS, eval_metric=["auc", "logloss"])
    y = HIGH.astype(int)
    model.fit(X, y, eval_set=[(X[y == 1], y[y == 1])])
    assert math.isnan(model.history_[0]["eval_0_auc"])
    got = save_and_load(model, tmp_path / "m")
    assert got.history_[0]["eval_0_auc"] is None
    assert got.history_[0]["eval_0_logloss"] == model.history_[0]["eval_0_logloss"]


@pytest.mark.parametrize("kind", [FMClassifier, FMRegressor])
def test_columns_of_very_different_units(tmp_path, kind):
    """Scales of columns, where training chose any, are part of the model."""
    wide = sp.csr_array(X * np.logspace(-3, 6, N_FEATURES)[None, :].astype(np.float32))
    y = Y if kind is FMRegressor else np.where(HIGH, 1, 0)
    model = kind(**SETTINGS).fit(wide, y)
    got = save_and_load(model, tmp_path / "m", include_optimizer=True)
    assert got.predict(wide).tobytes() == model.predict(wide).tobytes()
    assert len(model._model.params.inverse_scale) == N_FEATURES
    assert got._model.params.inverse_scale.tobytes() == model._model.params.inverse_scale.tobytes()
    got.partial_fit(wide, y)
    model.partial_fit(wide, y)
    assert got.factors_.tobytes() == model.factors_.tobytes()


ID_MAPS = {
    "offset": IdMap.by_offset(N_FEATURES, 1),
    "hash": IdMap.by_hash(N_FEATURES),
    "table": IdMap.by_table(np.r_[2**62, 0, 7:25].astype(np.int64)),
}
LAYOUT = FieldLayout.from_columns(np.r_[-1, np.repeat([0, 4], 9), 2])


# ------------------------------------------------------------------------------------------------ what is refused


@pytest.mark.parametrize("kind", [FMClassifier, FMRegressor])
def test_an_estimator_that_is_not_fitted(tmp_path, kind):
    with pytest.raises(NotFittedError, match=f"This {kind.__name__} instance is not fitted yet"):
        kind().save(tmp_path / "m")
    assert os.listdir(tmp_path) == []


def test_an_absent_file(tmp_path):
    with pytest.raises(
        MissingFileError, match=r"There is no model file '.*/m'; give the name of a file that save"
    ):
        load_model(tmp_path / "m")


def test_a_class_that_could_not_be_loaded(tmp_path):
    class Mine(FMClassifier):
        pass

    model = Mine(**SETTINGS).fit(X, HIGH)
    with pytest.raises(
        InputError,
        match="Mine is none of FMClassifier, FMRegressor, DeepFMClassifier, DeepFMRegressor, which load_model",
    ):
        model.save(tmp_path / "m")
    Mine.__name__ = "FMClassifier"
    with pytest.raises(InputError, match="is none of"):
        model.save(tmp_path / "m")


def test_hyper_parameters_that_json_cannot_hold(tmp_path):
    model, _ = fitted()
    model.set_params(verbose=object())
    with pytest.raises(InputError, match=r"its description cannot be put into JSON \(Object of type object"):
        model.save(tmp_path / "m")
    assert os.listdir(tmp_path) == []


def test_a_cut_file(tmp_path):
    model, _ = fitted()
    model.save(tmp_path / "m")
    content = (tmp_path / "m").read_bytes()
    (tmp_path / "m").write_bytes(content[: len(content) // 2])
    with pytest.raises(ModelFileError, match=r"m' is damaged: it ends after"):
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


def put_inside(outer, **values):
    def change(header, arrays):
        header[outer].update(values)

    return change


ALTERED = {
    "no class": drop("class"),
    "unknown class": put(**{"class": "Forest"}),
    "class is a list": put(**{"class": ["FMClassifier"]}),
    "class of the base": put(**{"class": "BaseFM"}),
    "no hyper-parameters": drop("hyper_parameters"),
    "unknown hyper-parameter": put_inside("hyper_parameters", depth=3),
    "no attributes": put(attributes={}),
    "attributes are a list": put(attributes=[]),
    "code as attribute": put_inside("attributes", predict="print"),
    "no factors": drop("factors"),
    "no weights": drop("linear"),
    "no intercept": drop("intercept"),
    "no occurrences": drop("occurs"),
    "no states": drop("factor_states"),
    "one factor row for all": put(factors=np.zeros((1, 5), np.float32)),
    "more factor rows": put(factors=np.zeros((N_FEATURES + 1, 5), np.float32)),
    "fewer factors": put(factors=np.zeros((N_FEATURES, 4), np.float32)),
    "float64 factors": put(factors=np.zeros((N_FEATURES, 5))),
    "flat factors": put(factors=np.zeros(N_FEATURES * 5, np.float32)),
    "one weight for all": put(linear=np.zeros((), np.float32)),
    "no intercept in it": put(intercept=np.zeros(0, np.float32)),
    "short occurrences": put(occurs=np.zeros(1, np.uint8)),
    "narrow states": put(factor_states=np.zeros((N_FEATURES, 1), np.float32)),
    "short scales": put(inverse_scale=np.ones(3, np.float32)),
    "wider": put(n_features=10**15),
    "narrower": put(n_features=3),
    "width for rows": put_inside("attributes", n_features_in_=10**6),
    "negative": put(n_features=-1),
    "no features": put(n_features=0),
    "text as size": put(n_features="20"),
    "more factors": put(n_factors=10**15),
    "negative factors": put(n_factors=-5),
    "unknown rule": put(rule="magic"),
    "center is text": put(center="middle"),
    "scale is missing": drop("scale"),
    "epochs are text": put(epochs="many"),
    "no classes": drop("classes"),
    "three classes": put(classes={"dtype": "<i8", "values": [1, 2, 3]}),
    "huge labels": put(classes={"dtype": f"<U{2**28}", "values": ["a", "b"]}),
    "labels of another type": put(classes={"dtype": "<i8", "values": ["a", "b"]}),
    "no id map": put(id_map=None),
    "id map of no kind": put(id_map={"kind": "tree", "base": 0}),
    "id map of kinds": put(id_map={"kind": ["hash"], "base": 0}),
    "id map without base": put(id_map={"kind": "offset"}),
    "ids from 2": put(id_map={"kind": "offset", "base": 2}),
    "hashes from 1": put(id_map={"kind": "hash", "base": 1}),
    "no ids": drop("ids"),
    "too few ids": put(ids=np.arange(3)),
    "ids of another type": put(ids=np.arange(N_FEATURES, dtype=np.int32)),
    "negative ids": put(ids=np.arange(N_FEATURES) - 1),
    "giant ids": put(ids=np.arange(N_FEATURES) + 2**62),
    "no fields": drop("field_of_column"),
    "too few fields": put(field_of_column=np.zeros(3, np.int32)),
    "fields of another type": put(field_of_column=np.zeros(N_FEATURES)),
    "more fields": put(field_of_column=np.arange(N_FEATURES, dtype=np.int32)),
    "negative fields": put(field_of_column=np.full(N_FEATURES, -2, np.int32)),
    "fields are many": put(n_fields="many"),
    "former base": put_inside("attributes", text_base_="x"),
    "labels of no type": put(classes={"dtype": "nothing", "values": ["a", "b"]}),
}


@pytest.mark.parametrize("what", ALTERED)
def test_files_that_are_whole_but_make_no_sense(tmp_path, what):
    """Checksums and digest are right; NumPy would stretch some of these arrays, kernels would read beyond them."""
    model, _ = fitted()
    if "former" not in what:
        model.id_map_, model.fields_ = ID_MAPS["table"], LAYOUT
    model.save(tmp_path / "m", include_optimizer=True)
    header, arrays = read_model_file(tmp_path / "m")
    write_model_file(tmp_path / "m", arrays, header)
    assert_same_model(model, load_model(tmp_path / "m"))
    ALTERED[what](header, arrays)
    write_model_file(tmp_path / "m", arrays, header)
    with pytest.raises(
        ModelFileError, match=r"m' holds no estimator that .* can build \(.*\); save the model again"
    ):
        load_model(tmp_path / "m")


def test_a_model_too_large_for_this_machine(tmp_path, monkeypatch):
    """Nothing is wrong with its file, and the error does not say so."""
    model, _ = fitted()
    model.save(tmp_path / "m")
    monkeypatch.setattr(params, "free_memory", lambda: 100)
    with pytest.raises(TableTooLargeError, match="n_features=20 with n_factors=5 needs parameter tables"):
        load_model(tmp_path / "m")
