"""Growing: ids never move, refused rows leave no trace, and models grow with their encoders."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from encoder_tools import (
    CLICKED,
    CLICKS,
    EXAMPLES,
    click_encoder,
    columns_and_rows,
    entries_of,
    learned,
    many_clicks,
    object_columns,
    refused,
    same_bits,
)
from hypothesis import given, settings

from fastfm_deep import (
    DeepFMClassifier,
    DeepFMRegressor,
    DenseFeat,
    FMClassifier,
    FMRegressor,
    InputError,
    SparseFeat,
    TableEncoder,
    VarLenSparseFeat,
)
from fastfm_deep.data.categories import CategoryIds
from fastfm_deep.estimators import base
from fastfm_deep.training.loop import Training

MODELS = [FMClassifier, FMRegressor, DeepFMClassifier, DeepFMRegressor]
SETTINGS = {"n_factors": 4, "n_epochs": 2, "n_jobs": 1, "random_state": 0, "init_std": 0.1}
NEW = {
    "city": ["new", "bj", None, "newer"],
    "age": [60.0, None, 30.0, 31.0],
    "user": [99, 7, 100, 3],
    "tags": [["z", "a"], None, [], ["y"]],
}
NEW_CLICKED = [1, 0, 1, 1]


def answers(model, table):
    return model.decision_function(table) if isinstance(model, FMClassifier) else model.predict(table)


@given(columns_and_rows(strict=False))
@settings(max_examples=EXAMPLES, deadline=None)
def test_ids_never_move(case):
    columns, first, more = case
    encoder = TableEncoder(columns).fit(object_columns(first))
    names, fields = encoder.get_feature_names_out().tolist(), encoder.fields_.field_of_column.tolist()
    encoder.partial_fit(object_columns(more)).partial_fit(object_columns(first))
    assert encoder.get_feature_names_out().tolist()[: len(names)] == names
    assert encoder.fields_.field_of_column.tolist()[: len(fields)] == fields


def test_new_categories_get_the_next_ids():
    encoder = click_encoder().fit(CLICKS)
    n, dictionary = encoder.encoding_.n_features, encoder.feature_dictionary_
    encoder.partial_fit(NEW)
    grown = encoder.feature_dictionary_
    assert grown["city"] == dictionary["city"] | {"new": n, "newer": n + 1}
    assert grown["user"] == dictionary["user"] | {99: n + 2, 100: n + 3}
    assert grown["tags"] == dictionary["tags"] | {"z": n + 4, "y": n + 5}
    assert grown["age"] == dictionary["age"]
    assert len(encoder.get_feature_names_out()) == n + 6


def test_counts_go_on():
    encoder = TableEncoder([SparseFeat("c", min_count=2), VarLenSparseFeat("v", min_count=2)])
    encoder.fit({"c": ["a", "b"], "v": ["x|y", "y"]}).partial_fit({"c": ["a", "c"], "v": ["x", ""]})
    assert encoder.feature_dictionary_ == {"missing": 0, "c": {"a": 4}, "v": {"y": 3, "x": 5}}


def test_partial_fit_begins_where_nothing_is():
    assert learned(click_encoder().partial_fit(CLICKS)) == learned(click_encoder().fit(CLICKS))
    chunks = click_encoder()
    for start in range(0, 8, 2):
        chunks.partial_fit({name: values[start : start + 2] for name, values in CLICKS.items()})
    whole = click_encoder().fit(CLICKS)
    for name in ("city", "user", "tags"):
        assert list(chunks.feature_dictionary_[name]) == list(whole.feature_dictionary_[name])
    np.testing.assert_allclose(chunks.encoding_.learned[1].units(), whole.encoding_.learned[1].units(), rtol=1e-12)


def test_fit_begins_anew():
    encoder = click_encoder().fit(CLICKS)
    assert learned(encoder.fit(NEW)) == learned(click_encoder().fit(NEW))


def test_scales_move_but_buckets_stay():
    encoder = TableEncoder([DenseFeat("d"), DenseFeat("b", buckets=2)]).fit({"d": [0, 2], "b": [0, 2]})
    encoder.partial_fit({"d": [4, 6], "b": [100, 200]})
    np.testing.assert_allclose(
        encoder.transform({"d": [3, 6], "b": [0, 1]}).data[::2], [0, 3 / np.sqrt(5)], rtol=1e-6
    )
    assert encoder.get_feature_names_out()[3:5].tolist() == ["b=(-inf, 0.0]", "b=(0.0, inf]"]


BAD = {
    "a date as number": NEW | {"age": [1, 2, 3, "x"]},
    "an unknown": NEW | {"strict": ["a", "b", "x", "a"]},
    "weights": NEW | {"weights": [[1], None, [], [1, 2]]},
    "no column": {name: values for name, values in NEW.items() if name != "user"},
    "a set": NEW | {"city": ["a", {1}, "b", "c"]},
    "text": NEW | {"texts": ["a|b", "c", "", "d"], "age": ["no"] * 4},
}


@pytest.mark.parametrize("what", BAD)
def test_refused_rows_leave_no_trace(what):
    always = {"strict": ["a"] * 8, "weights": CLICKS["tags"], "texts": [["a"]] * 8}
    always["weights"] = [tags if tags is None else [1.0] * len(tags) for tags in CLICKS["tags"]]
    columns = [
        *click_encoder().columns[:3],
        VarLenSparseFeat("tags", weights="weights"),
        SparseFeat("strict", min_count=2, handle_unknown="error"),
        VarLenSparseFeat("texts"),
        SparseFeat("hashed", hash_buckets=5),
    ]
    first = CLICKS | always | {"hashed": [None] * 8}
    later = {"strict": ["a"] * 4, "weights": [[1, 1], None, [], [1]], "texts": [["a"]] * 4, "hashed": [1] * 4}
    encoder = TableEncoder(columns).fit(first)
    before, row = learned(encoder), encoder.transform_row({name: values[0] for name, values in first.items()})
    with pytest.raises(InputError):
        encoder.partial_fit(later | BAD[what])
    assert learned(encoder) == before
    again = encoder.transform_row({name: values[0] for name, values in first.items()})
    assert [part.tobytes() for part in again] == [part.tobytes() for part in row]
    encoder.partial_fit(later | NEW)
    assert learned(encoder) == learned(TableEncoder(columns).fit(first).partial_fit(later | NEW))


# --------------------------------------------------------------------------------------------------------- models


@pytest.mark.parametrize("kind", MODELS)
def test_models_grow_with_their_encoders(kind):
    encoder = click_encoder()
    model = kind(encoder=encoder, **SETTINGS).fit(CLICKS, CLICKED)
    n, known = model.n_features_in_, model.encoder_.feature_dictionary_
    assert not hasattr(encoder, "_encoding")  # the estimator's own copy has learned
    before = answers(model, CLICKS)
    assert answers(model, NEW).shape == (4,)
    model.partial_fit(NEW, NEW_CLICKED)
    assert model.n_features_in_ == n + 6 == len(model.coef_) == len(model.factors_)
    assert model.encoder_.feature_dictionary_["city"] == known["city"] | {"new": n, "newer": n + 1}
    assert np.isfinite(answers(model, CLICKS)).all()
    assert (answers(model, CLICKS) != before).any()
    assert model.coef_[n] != 0.0
    # Numbers are read in the units of the first fit: weights have been learned for these.
    assert model.encoder_.encoding_.learned[1].units() == click_encoder().fit(CLICKS).encoding_.learned[1].units()
    model.set_params(warm_start=True).fit({**NEW, "city": ["other"] * 4}, NEW_CLICKED)
    assert model.n_features_in_ == n + 7
    assert len(model.history_) == 5
    model.set_params(warm_start=False).fit(CLICKS, CLICKED)
    assert model.n_features_in_ == n
    assert answers(model, CLICKS).tobytes() == before.tobytes()


@pytest.mark.parametrize("kind", MODELS)
def test_a_refused_partial_fit_leaves_model_and_encoder(kind):
    model = kind(encoder=click_encoder(handle_unknown="bucket"), **SETTINGS).fit(CLICKS, CLICKED)
    row = {name: values[0] for name, values in CLICKS.items()}
    before, scores, one = learned(model.encoder_), answers(model, CLICKS).tobytes(), model.score_row_dict(row)
    attributes = dict(vars(model))
    for X, y in ((NEW, [1, 0]), (NEW, ["a", None, 1, 2]), (NEW | {"age": ["x"] * 4}, NEW_CLICKED), ({}, [])):
        with pytest.raises(InputError):
            model.partial_fit(X, y)
        with pytest.raises(InputError):
            model.set_params(warm_start=True).fit(X, y)
        model.set_params(warm_start=False)
        with pytest.raises(InputError):
            model.fit(X, y)
        assert learned(model.encoder_) == before
        assert answers(model, CLICKS).tobytes() == scores
        assert model.score_row_dict(row) == one
        assert {name: value for name, value in vars(model).items() if name != "_row_scorer"} == {
            name: value for name, value in attributes.items() if name != "_row_scorer"
        }
    assert answers(model, NEW).shape == (4,)


def test_an_interrupted_training_leaves_them_too(monkeypatch):
    model = FMClassifier(encoder=click_encoder(), **SETTINGS).fit(CLICKS, CLICKED)
    before, scores = learned(model.encoder_), answers(model, CLICKS).tobytes()

    def run(training):
        training.is_usable = False
        raise KeyboardInterrupt

    monkeypatch.setattr(Training, "run", run)
    with pytest.raises(KeyboardInterrupt):
        model.partial_fit(NEW, NEW_CLICKED)
    assert learned(model.encoder_) == before
    assert answers(model, CLICKS).tobytes() == scores


@pytest.mark.parametrize("kind", [FMClassifier, DeepFMClassifier])
def test_growing_in_chunks_learns_as_a_model_should(kind):
    table, labels = many_clicks(2000)
    model = kind(encoder=click_encoder(), **SETTINGS | {"n_epochs": 1})
    for start in range(0, 2000, 500):
        part = {name: values[start : start + 500] for name, values in table.items()}
        model.partial_fit(part, labels[start : start + 500], classes=[0, 1])
    for _ in range(10):
        model.partial_fit(table, labels)
    assert (model.predict(table) == labels).mean() > 0.9


def test_other_columns_in_the_parts_of_a_model():
    model = FMClassifier(encoder=click_encoder(), linear_columns=["city"], **SETTINGS).fit(CLICKS, CLICKED)
    model.set_params(linear_columns=["city", "user"])
    refused(
        lambda: model.partial_fit(NEW, NEW_CLICKED), "linear_columns and deep_columns differ from those of the"
    )
    model.set_params(linear_columns=["city"]).partial_fit(NEW, NEW_CLICKED)
    n = click_encoder().fit(CLICKS).encoding_.n_features
    assert (model.coef_[n : n + 2] != 0).all()
    assert not model.coef_[n + 2 :].any()


def test_an_encoder_comes_too_late():
    X = click_encoder().fit_transform(CLICKS)
    model = FMClassifier(warm_start=True, **SETTINGS).fit(X, CLICKED)
    model.set_params(encoder=click_encoder())
    refused(lambda: model.fit(CLICKS, CLICKED), "encoder= was set on a model that was fitted to rows of numbers")
    refused(
        lambda: model.partial_fit(CLICKS, CLICKED), "encoder= was set on a model that was fitted to rows of num"
    )
    assert not hasattr(model, "encoder_")
    assert model.set_params(encoder=None).partial_fit(X, CLICKED).n_features_in_ == X.shape[1]


def test_scores_while_training_goes_on_elsewhere(monkeypatch):
    """Features that the model does not have yet are left out; kernels would read beyond its tables."""
    model = DeepFMClassifier(encoder=click_encoder(), **SETTINGS).fit(CLICKS, CLICKED)
    expected = model.predict_proba(
        NEW | {"city": [None, "bj", None, None], "user": [7] * 4, "tags": ["a", None, "", ""]}
    )
    started, asked = threading.Event(), threading.Event()
    run = Training.run

    def waiting(training):
        started.set()
        assert asked.wait(20)
        run(training)

    monkeypatch.setattr(base.Training, "run", waiting)
    trainer = threading.Thread(target=model.partial_fit, args=(NEW, NEW_CLICKED))
    trainer.start()
    assert started.wait(20)
    got, rows = model.predict_proba(NEW), [{name: values[row] for name, values in NEW.items()} for row in range(4)]
    single = [model.score_row_dict(row) for row in rows]
    asked.set()
    trainer.join()
    assert np.isfinite(got).all()
    np.testing.assert_allclose(single, got[:, 1], rtol=1e-6)
    assert got[1, 1] == pytest.approx(expected[1, 1])
    assert [model.score_row_dict(row) for row in rows] == pytest.approx(
        model.predict_proba(NEW)[:, 1].tolist(), rel=1e-6
    )


def test_one_row_scores_follow_the_model():
    model = FMClassifier(encoder=click_encoder(), **SETTINGS).fit(CLICKS, CLICKED)
    row = {name: values[0] for name, values in NEW.items()}
    model.score_row_dict(row)
    for _ in range(3):
        model.partial_fit(NEW, NEW_CLICKED)
        assert model.score_row_dict(row) == pytest.approx(model.predict_proba(NEW)[0, 1], rel=1e-6)
    assert same_bits(model.encoder_.transform(NEW), model.encoder_.transform(NEW))
    assert len(entries_of(model.encoder_.transform(NEW))) == 4


def test_rows_encoded_while_ids_are_given(monkeypatch):
    encoder = TableEncoder([SparseFeat("u"), SparseFeat("v"), DenseFeat("x")])
    encoder.fit({"u": ["a"], "v": ["b"], "x": [1]})
    new = {"u": ["c", "a"], "v": ["d", "b"], "x": [2, 3]}
    settle, seen = CategoryIds.settle, []

    def interrupted(self, next_id):
        encoder.transform_row({"u": "c", "v": "d", "x": 2})
        found = settle(self, next_id)
        rows = encoder.transform(new)
        seen.append(int(rows.indices.max()) < rows.shape[1])
        return found

    monkeypatch.setattr(CategoryIds, "settle", interrupted)
    encoder.partial_fit(new)
    assert seen == [True, True]
    rows = encoder.transform(new)
    assert len(set(rows.indices.tolist())) == 5
    assert encoder.transform_row({"u": "c", "v": "d", "x": 2})[0].tolist() == rows.indices[:3].tolist()
