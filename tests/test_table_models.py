"""All estimators on tables: the same bits from every kind of table, and all that scikit-learn does with models."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse
from encoder_tools import CLICKED, CLICKS, click_columns, click_encoder, learned, many_clicks, refused, tables_of
from sklearn.base import clone, is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer

from fastfm_deep import (
    DeepFMClassifier,
    DeepFMRegressor,
    DenseFeat,
    FMClassifier,
    FMRegressor,
    SparseFeat,
    TableEncoder,
    VarLenSparseFeat,
    load_model,
)

MODELS = [FMClassifier, FMRegressor, DeepFMClassifier, DeepFMRegressor]
DEEP = [DeepFMClassifier, DeepFMRegressor]
SETTINGS = {"n_factors": 4, "n_epochs": 2, "n_jobs": 1, "random_state": 0, "init_std": 0.1}
TABLES = tables_of(CLICKS)


def new(kind=DeepFMClassifier, **options):
    return kind(**{"encoder": click_encoder(), **SETTINGS, **options})


def answers(model, table):
    return model.predict_proba(table) if is_classifier(model) else model.predict(table)


def bits(model, table=CLICKS):
    return answers(model, table).tobytes(), model.factors_.tobytes(), model.coef_.tobytes(), model.intercept_


@pytest.mark.parametrize("kind", MODELS)
def test_tables_of_every_kind_give_the_same_bits(kind):
    expected = bits(new(kind).fit(CLICKS, CLICKED))
    for what, table in TABLES.items():
        model = new(kind).fit(table, CLICKED)
        for other, X in TABLES.items():
            assert bits(model, X) == expected, (what, other)
    frame = TABLES["pandas"]
    assert bits(model, frame[frame.columns[::-1]].assign(more=1)) == expected


@pytest.mark.parametrize("kind", MODELS)
def test_a_table_is_what_its_rows_are(kind):
    """The encoder by itself, and its fields, give the same model."""
    encoder = click_encoder()
    model, X = new(kind).fit(CLICKS, CLICKED), encoder.fit_transform(CLICKS)
    if kind in DEEP:
        by_hand = new(kind, encoder=None, fields=encoder.fields_).fit(X, CLICKED)
        assert bits(by_hand, X) == bits(model)
    assert answers(model, X).tobytes() == answers(model, CLICKS).tobytes()
    np.testing.assert_allclose(answers(model, scipy.sparse.coo_array(X)), answers(model, CLICKS), rtol=1e-6)
    refused(lambda: model.predict(X[:, :-1]), "features")


@pytest.mark.parametrize("kind", MODELS)
def test_what_a_fit_leaves(kind):
    encoder = click_encoder()
    model = kind(encoder=encoder, **SETTINGS)
    with pytest.raises(NotFittedError):
        model.predict(CLICKS)
    model.fit(TABLES["pandas"], CLICKED)
    assert vars(encoder).keys() == {"columns", "n_jobs"}
    assert model.encoder is encoder
    assert learned(model.encoder_) == learned(click_encoder().fit(CLICKS))
    assert model.n_features_in_ == model.encoder_.encoding_.n_features == len(model.coef_)
    assert not hasattr(model, "feature_names_in_")
    if kind in DEEP:
        assert model.fields_.field_of_column.tolist() == model.encoder_.fields_.field_of_column.tolist()
        assert model.fields_.pooling == model.encoder_.fields_.pooling
    model.set_params(encoder=None).fit(np.eye(4), [0, 1, 0, 1])
    assert not hasattr(model, "encoder_")
    assert model.n_features_in_ == 4


def run_elsewhere(code, *arguments, seed="7"):
    environment = os.environ | {"PYTHONHASHSEED": seed}
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert not done.returncode, done.stderr
    return done.stdout


SCORE = """
import sys
import pyarrow.parquet
from fastfm_deep import load_model
for path in sys.argv[2:]:
    model, table = load_model(path), sys.argv[1]
    answers = model.predict_proba(table) if hasattr(model, "predict_proba") else model.predict(table)
    row = pyarrow.parquet.read_table(table).to_pylist()[0]
    print(answers.tobytes().hex(), model.score_row_dict(row).hex())
"""


def test_saved_models_score_the_same_bits_in_another_process(tmp_path):
    columns = [*click_columns(), SparseFeat("hashed", hash_buckets=11), DenseFeat("b", buckets=3)]
    table = pl.DataFrame(CLICKS | {"hashed": [*"abcdefg", None], "b": range(8)})
    table.write_parquet(tmp_path / "t.parquet")
    expected, paths = [], []
    for kind in MODELS:
        model = new(kind, encoder=TableEncoder(columns)).fit(table, CLICKED)
        paths.append(tmp_path / kind.__name__)
        model.save(paths[-1])
        assert bits(load_model(paths[-1]), table) == bits(model, table)
        row = table.rows(named=True)[0]
        expected.append(f"{answers(model, table).tobytes().hex()} {model.score_row_dict(row).hex()}")
    assert run_elsewhere(SCORE, tmp_path / "t.parquet", *paths).splitlines() == expected


@pytest.mark.parametrize("include_optimizer", [False, True])
@pytest.mark.parametrize("kind", MODELS)
def test_saved_and_loaded(tmp_path, kind, include_optimizer):
    options = {"linear_columns": ["city", DenseFeat("age")], "deep_columns": ("city", "tags")}
    model = new(kind, **options).fit(CLICKS, CLICKED)
    model.save(tmp_path / "m", include_optimizer)
    got = load_model(tmp_path / "m")
    assert bits(got) == bits(model)
    assert learned(got.encoder_) == learned(model.encoder_)
    assert got.encoder.get_params() == model.encoder.get_params()
    assert got.linear_columns == ["city", "age"]
    assert got.deep_columns == ["city", "tags"]
    assert got.score_row_dict({name: values[0] for name, values in CLICKS.items()}) == model.score_row_dict(
        {name: values[0] for name, values in CLICKS.items()}
    )
    more = {name: values[::-1] for name, values in CLICKS.items()} | {"city": ["new"] * 8}
    model.partial_fit(more, CLICKED)
    got.partial_fit(more, CLICKED)
    assert learned(got.encoder_) == learned(model.encoder_)
    if include_optimizer:
        assert bits(got) == bits(model)
    got.save(tmp_path / "n")
    assert bits(load_model(tmp_path / "n"), more) == bits(got, more)
    assert got.fit(CLICKS, CLICKED).n_features_in_ == click_encoder().fit(CLICKS).encoding_.n_features


@pytest.mark.parametrize("kind", MODELS)
def test_pickle_joblib_and_clone(tmp_path, kind):
    model = new(kind).fit(CLICKS, CLICKED)
    model.score_row_dict({name: values[0] for name, values in CLICKS.items()})
    joblib.dump(model, tmp_path / "m")
    copies = (
        pickle.loads(pickle.dumps(model)),
        joblib.load(tmp_path / "m"),
        joblib.load(tmp_path / "m", mmap_mode="r"),
    )
    for other in copies:
        assert bits(other) == bits(model)
        assert (
            other.partial_fit(CLICKS | {"city": ["new"] * 8}, CLICKED).n_features_in_ == model.n_features_in_ + 1
        )
    fresh = clone(model)
    assert not fresh.__sklearn_is_fitted__()
    assert not fresh.encoder.__sklearn_is_fitted__()
    assert fresh.get_params()["encoder__columns"] == model.encoder.columns
    assert bits(fresh.fit(CLICKS, CLICKED)) == bits(model)
    assert "encoder=TableEncoder(columns=[SparseFeat(" in repr(
        clone(model).set_params(encoder__columns=click_columns()[:1])
    )


def test_searched_over_columns_and_factors():
    table, labels = many_clicks(240)
    frame = pd.DataFrame(table)
    grid = {"encoder__columns": [click_columns(), click_columns()[:1]], "n_factors": [0, 4]}
    search = GridSearchCV(new(FMClassifier, n_epochs=20), grid, cv=3, scoring="neg_log_loss").fit(frame, labels)
    assert search.best_params_["encoder__columns"] == click_columns()
    assert len(search.predict(frame)) == 240
    assert cross_val_score(new(FMRegressor), pl.DataFrame(table), labels, cv=3).shape == (3,)


def test_in_a_pipeline():
    table, labels = many_clicks(240)
    frame = pd.DataFrame(table)
    lower = FunctionTransformer(lambda table: table.assign(city=table["city"].str.upper()))
    model = make_pipeline(lower, new(DeepFMClassifier, n_epochs=20)).fit(frame, labels)
    assert model.score(frame, labels) > 0.8
    rows = Pipeline([("rows", click_encoder()), ("model", FMClassifier(**SETTINGS))]).fit(frame, labels)
    assert rows.predict_proba(frame).shape == (240, 2)
    assert rows[:-1].get_feature_names_out()[0] == "missing"


# ----------------------------------------------------------------------------------- which columns take which part


def features_of(model, *names):
    fields = model.encoder_.fields_.field_of_column
    numbers = [[column.name for column in model.encoder_.columns].index(name) for name in names]
    return np.isin(fields, numbers)


@pytest.mark.parametrize("kind", MODELS)
def test_linear_and_deep_columns(kind):
    model = new(kind, linear_columns=["user"], deep_columns=["city", "tags"], n_epochs=3).fit(CLICKS, CLICKED)
    linear, deep = features_of(model, "user"), features_of(model, "city", "tags")
    occurs = model.encoder_.transform(CLICKS).sum(axis=0) != 0
    assert not model.coef_[~linear].any()
    assert model.coef_[linear & occurs].all()
    assert not model.factors_[~deep].any()
    assert model.factors_[deep & occurs].any(axis=1).all()
    if kind in DEEP:
        names = [column.name for column in model.encoder_.columns]
        expected = np.full(len(names) + 1, -1)
        expected[names.index("city")], expected[names.index("tags")] = 0, 1
        assert model.fields_.field_of_column.tolist() == expected[model.encoder_.fields_.field_of_column].tolist()
        assert model.fields_.n_fields == 2
        assert model.fields_.pooling == ("sum", "mean")
        assert model._model.deep.shape.n_inputs == 2 * 4
    # A column of the linear part alone moves each row by its weight.
    other = CLICKS | {"user": [3] * 8}
    ids = [model.encoder_.feature_dictionary_["user"][user] for user in CLICKS["user"]]
    moved = model.coef_[model.encoder_.feature_dictionary_["user"][3]] - model.coef_[ids]
    score = model.decision_function if is_classifier(model) else model.predict
    np.testing.assert_allclose(score(other) - score(CLICKS), moved, atol=1e-5)


@pytest.mark.parametrize("kind", MODELS)
def test_a_column_of_neither_part_changes_nothing(kind):
    without = new(kind, encoder=TableEncoder(click_columns()[1:])).fit(CLICKS, CLICKED)
    names = ["age", "user", "tags"]
    model = new(kind, linear_columns=names, deep_columns=names).fit(CLICKS, CLICKED)
    first, _ = answers(model, CLICKS), answers(without, CLICKS)
    assert answers(model, CLICKS | {"city": ["unknown"] * 8}).tobytes() == first.tobytes()


@pytest.mark.parametrize("kind", MODELS)
def test_no_columns_in_one_part(kind):
    model = new(kind, linear_columns=[]).fit(CLICKS, CLICKED)
    assert not model.coef_.any()
    if kind in DEEP:
        refused(lambda: new(kind, deep_columns=[]).fit(CLICKS, CLICKED), "deep_columns=[] leaves the network")
    model = new(kind, deep_columns=[], **({"dnn_hidden_units": ()} if kind in DEEP else {})).fit(CLICKS, CLICKED)
    assert not model.factors_.any()
    assert model.coef_.any()
    assert new(kind, deep_columns=click_columns()[:2]).fit(CLICKS, CLICKED).factors_.any()


# -------------------------------------------------------------------------------------------- the rest of training


@pytest.mark.parametrize("kind", MODELS)
def test_eval_sets_are_tables(kind):
    later = CLICKS | {"city": ["unknown"] * 8}
    model = new(kind, early_stopping_rounds=1).fit(
        CLICKS, CLICKED, eval_set=[(TABLES["polars"], CLICKED), (later, CLICKED)]
    )
    metric = "logloss" if is_classifier(model) else "rmse"
    assert {f"eval_0_{metric}", f"eval_1_{metric}"} <= model.history_[0].keys()
    assert model.n_features_in_ == click_encoder().fit(CLICKS).encoding_.n_features  # nothing was learned from it
    bad = CLICKS | {"age": ["x"] * 8}
    refused(
        lambda: new(kind).fit(CLICKS, CLICKED, eval_set=(bad, CLICKED)), "eval_set[0]: Column 'age', row 0: 'x'"
    )
    refused(lambda: new(kind).fit(CLICKS, CLICKED, eval_set=({}, [])), "eval_set[0]: ")


@pytest.mark.parametrize("kind", MODELS)
def test_rows_of_weight_zero_have_no_effect_but_on_the_vocabulary(kind):
    table = {name: values + values for name, values in CLICKS.items()}
    weight = [1.0] * 8 + [0.0] * 8
    model = new(kind).fit(table, CLICKED + CLICKED[::-1], sample_weight=weight)
    assert np.isfinite(answers(model, CLICKS)).all()
    balanced = new(kind).fit(CLICKS, CLICKED, sample_weight=[2.0] * 8)
    assert np.isfinite(answers(balanced, CLICKS)).all()


@pytest.mark.parametrize("kind", [FMClassifier, DeepFMClassifier])
def test_negatives_that_were_left_out_are_counted_again(kind, tmp_path):
    plain, share = new(kind).fit(CLICKS, CLICKED), 0.05
    model = new(kind, negative_downsampling=share).fit(CLICKS, CLICKED)
    np.testing.assert_allclose(model.decision_function(CLICKS), plain.decision_function(CLICKS) + np.log(share))
    odds, full = (m.predict_proba(CLICKS)[:, 1] / m.predict_proba(CLICKS)[:, 0] for m in (model, plain))
    np.testing.assert_allclose(odds, share * full)
    assert model.intercept_ == pytest.approx(plain.intercept_ + np.log(share))
    assert model.factors_.tobytes() == plain.factors_.tobytes()
    assert model.history_[0]["train_loss"] == plain.history_[0]["train_loss"]
    model.save(tmp_path / "m")
    assert bits(load_model(tmp_path / "m")) == bits(model)
    rows = click_encoder().fit_transform(CLICKS)
    assert np.isfinite(
        new(kind, encoder=None, negative_downsampling=share).fit(rows, CLICKED).predict_proba(rows)
    ).all()


@pytest.mark.parametrize("share", [0, -0.1, 1.1, None, "1", True, float("nan")])
def test_shares_that_are_none(share):
    message = (
        f"negative_downsampling={share!r} must be greater than 0 and at most 1: the share of the negative rows"
    )
    refused(lambda: new(FMClassifier, negative_downsampling=share).fit(CLICKS, CLICKED), message)
    model = new(FMClassifier).fit(CLICKS, CLICKED).set_params(negative_downsampling=share)
    refused(lambda: model.predict_proba(CLICKS), message)


@pytest.mark.parametrize("pooling", ["sum", "mean", "sqrtn", "max"])
def test_pooling_is_the_model_s(pooling, tmp_path):
    columns = [VarLenSparseFeat("tags", pooling=pooling, weights="w"), SparseFeat("city")]
    table = CLICKS | {"w": [tags if tags is None else [0.5] * len(tags) for tags in CLICKS["tags"]]}
    fm = new(FMRegressor, encoder=TableEncoder(columns)).fit(table, CLICKED)
    dense = fm.encoder_.transform(table).toarray().astype(np.float64)
    bag = fm.encoder_.fields_.field_of_column == 0
    counts = np.maximum((dense[:, bag] != 0).sum(axis=1, keepdims=True), 1)
    dense[:, bag] /= {"mean": counts, "sqrtn": np.sqrt(counts)}.get(pooling, 1)
    sums, squares = dense @ fm.factors_, dense**2 @ fm.factors_.astype(float) ** 2
    expected = (
        fm.intercept_
        + dense @ fm.coef_
        + 0.5 * (sums**2 - squares).sum(axis=1) / fm._model.scale * fm._model.scale
    )
    np.testing.assert_allclose(fm.predict(table), expected, rtol=1e-5, atol=1e-5)
    deep = new(DeepFMClassifier, encoder=TableEncoder(columns)).fit(table, CLICKED)
    deep.save(tmp_path / "m")
    assert bits(load_model(tmp_path / "m"), table) == bits(deep, table)
    rows = [{name: values[row] for name, values in table.items()} for row in range(8)]
    np.testing.assert_allclose(
        [deep.score_row_dict(row) for row in rows], deep.predict_proba(table)[:, 1], rtol=1e-6
    )
