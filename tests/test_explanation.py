"""What scores are made of: the parts are those of the formula, and add up to what the model answers."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
from deepfm_fit_tools import layout, new_deep, plain_scores, valued_rows
from encoder_tools import CLICKED, CLICKS, click_encoder, columns_and_rows, many_clicks
from fit_tools import answers, clicks, new_model, small_data
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from row_tools import traced_peak
from strategies import csr_rows
from table_tools import few

from fastfm_deep import (
    DeepFMClassifier,
    DeepFMRegressor,
    DenseFeat,
    FieldLayout,
    FMClassifier,
    FMRegressor,
    InputError,
    SparseFeat,
    TableEncoder,
    VarLenSparseFeat,
    load_model,
)
from fastfm_deep.model import explanation
from fastfm_deep.model.score import exact_score

FMS, DEEPS = [FMClassifier, FMRegressor], [DeepFMClassifier, DeepFMRegressor]
EVERY = pytest.mark.parametrize("kind", FMS + DEEPS)
LAYOUTS = [None, "sum", "mean", "sqrtn", "max", "mixed"]


def with_random_numbers(model, seed=0, size=0.3):
    """The same estimator with numbers that no training would find, so that every part counts."""
    rng = np.random.default_rng(seed)
    fitted = model._model
    params = fitted.params
    params.factors[:, : fitted.n_factors] = rng.normal(0, size, (len(params.factors), fitted.n_factors))
    params.linear[:, 0] = rng.normal(0, size, len(params.linear))
    params.intercept[0] = rng.normal()
    fitted.occurs[:] = 1
    if fitted.deep is not None:
        fitted.deep.parameters[:] = rng.normal(0, 0.5, len(fitted.deep.parameters))
        fitted.deep.running[:] = rng.uniform(0.5, 2, len(fitted.deep.running))
    return model


def made(kind, pooling=None, **options):
    """A fitted model for rows of 60 features."""
    X, y = small_data(kind, 100)
    if kind in DEEPS:
        options = {"fields": None if pooling is None else layout(pooling)} | options
        return with_random_numbers(new_deep(kind, **options).fit(X, y))
    return with_random_numbers(new_model(kind, **options).fit(X, y))


def assert_adds_up(found, expected):
    """The parts are finite, in the upper triangle, and make the raw score, which is the model's."""
    total = found.intercept + found.linear.sum() + found.pairs.sum() + found.deep
    assert total == pytest.approx(found.raw, rel=1e-12, abs=1e-12)
    assert abs(found.raw - expected) <= 1e-5 * (1 + abs(found.raw))
    assert np.isfinite([found.raw, found.deep]).all()
    np.testing.assert_array_equal(found.pairs, np.triu(found.pairs))
    assert found.linear.dtype == found.pairs.dtype == np.float64
    assert found.linear.shape == (len(found.names),)
    assert found.pairs.shape == (len(found.names),) * 2


def by_hand(model, columns, values, group_of, n_groups):
    """Linear terms and pairs, one after the other, from what the model shows; values are pooled."""
    coef, factors = model.coef_.astype(np.float64), model.factors_.astype(np.float64)
    linear, pairs = np.zeros(n_groups), np.zeros((n_groups, n_groups))
    for at, i in enumerate(columns):
        linear[group_of[i]] += coef[i] * values[at]
        for other in range(at):
            j = columns[other]
            first, second = sorted((group_of[i], group_of[j]))
            pairs[first, second] += factors[i] @ factors[j] * values[at] * values[other]
    return linear, pairs


def means_of_rows(model, X, names, fields=None):
    """What `explain` is to tell, row by row."""
    rows = [model.explain_row(X[at : at + 1], fields) for at in range(X.shape[0])]
    assert {row.names for row in rows} == {names}
    return (
        np.mean([np.abs(row.linear) for row in rows], axis=0),
        np.mean([np.abs(row.pairs) for row in rows], axis=0),
        np.mean([abs(row.deep) for row in rows]),
    )


def assert_is_mean(found, expected, n_rows):
    linear, pairs, deep = expected
    np.testing.assert_allclose(found.linear, linear, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.pairs, pairs, rtol=1e-9, atol=1e-12)
    assert found.deep == pytest.approx(deep, rel=1e-9)
    assert found.n_rows == n_rows


@pytest.mark.parametrize("pooling", LAYOUTS)
@EVERY
def test_parts_are_those_of_the_formula(kind, pooling):
    fields = None if pooling is None else layout(pooling)
    model, X = made(kind, pooling), valued_rows()
    # A factorization machine has no fields of its own; pooling then does not matter.
    given = fields if kind in FMS else None
    expected = answers(model, X)
    of_column = None if fields is None else fields.field_of_column
    for at in range(X.shape[0]):
        found = model.explain_row(X[at : at + 1], given)
        assert_adds_up(found, expected[at])
        row = X[at : at + 1].toarray()[0].astype(np.float64)
        columns = np.flatnonzero(row)
        if fields is None:
            group_of = {column: number for number, column in enumerate(columns)}
            assert found.names == tuple(f"feature {column}" for column in columns)
            linear, pairs = by_hand(model, columns, row[columns], group_of, len(columns))
        else:
            if kind in DEEPS:
                for column in columns:
                    name = (
                        "sum" if of_column[column] < 0 or not fields.pooling else fields.pooling[of_column[column]]
                    )
                    n_values = np.sum(of_column[columns] == of_column[column])
                    row[column] /= n_values ** {"mean": 1.0, "sqrtn": 0.5}.get(name, 0.0)
            filled = np.unique(of_column[of_column >= 0])
            rest = ("other features",) * bool((of_column < 0).any())
            assert found.names == (*(f"field {field}" for field in filled), *rest)
            numbers = {field: number for number, field in enumerate(filled)} | {-1: len(filled)}
            group_of = {column: numbers[of_column[column]] for column in columns}
            linear, pairs = by_hand(model, columns, row[columns], group_of, len(found.names))
        np.testing.assert_allclose(found.linear, linear, rtol=1e-5, atol=1e-6 * abs(model._model.scale))
        np.testing.assert_allclose(found.pairs, pairs, rtol=1e-5, atol=1e-6 * abs(model._model.scale))
        assert (found.deep == 0.0) == (kind in FMS)


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("pooling", LAYOUTS)
def test_networks(pooling, activation, batch_norm):
    options = {"dnn_activation": activation, "dnn_batch_norm": batch_norm, "dnn_dropout": 0.5}
    model, X = made(DeepFMClassifier, pooling, **options), valued_rows(20)
    expected = plain_scores(model, X)
    for at in range(20):
        assert_adds_up(model.explain_row(X[at : at + 1]), expected[at])
    fields = None if pooling else [30, 30]
    found = model.explain(X, fields)
    assert_is_mean(found, means_of_rows(model, X, found.names, fields), 20)


@settings(max_examples=few(60), deadline=None)
@given(st.data())
def test_any_rows_add_up(data):
    kind = data.draw(st.sampled_from(FMS + DEEPS))
    pooling = data.draw(st.sampled_from(LAYOUTS))
    fields = None
    if pooling is not None:
        of_column = data.draw(st.lists(st.integers(-1, 3), min_size=10, max_size=10).filter(lambda x: max(x) >= 0))
        fields = FieldLayout.from_columns(of_column, "sum" if pooling == "mixed" else pooling)
    X, y = sp.csr_array(np.eye(10, dtype=np.float32)), np.arange(10) % 2
    if kind in DEEPS:
        model = new_deep(kind, fields=fields, dnn_batch_norm=data.draw(st.booleans()), n_epochs=1)
    else:
        model = new_model(kind, n_factors=data.draw(st.integers(0, 5)), n_epochs=1)
    model = with_random_numbers(model.fit(X, y), data.draw(st.integers(0, 9)))
    rows = data.draw(csr_rows(n_features=10))
    expected = answers(model, rows)
    for at in range(rows.shape[0]):
        assert_adds_up(model.explain_row(rows[at : at + 1], fields if kind in FMS else None), expected[at])
    found = model.explain(rows, [4, 6])
    dense = rows.toarray()
    assert_is_mean(found, means_of_rows(model, dense, found.names, [4, 6]), rows.shape[0])


@settings(max_examples=few(40), deadline=None)
@given(columns_and_rows(strict=False), st.sampled_from(FMS + DEEPS), st.integers(0, 9))
def test_any_table_adds_up(drawn, kind, seed):
    columns, known, further = drawn
    n_rows = len(known["s"])
    y = np.arange(max(2, n_rows)) % 2
    known = {name: values if n_rows > 1 else values * 2 for name, values in known.items()}
    options = {"dnn_hidden_units": (3,)} if kind in DEEPS else {}
    model = new_model(kind, encoder=TableEncoder(columns), n_epochs=1, **options).fit(known, y)
    model = with_random_numbers(model, seed)
    # In float64: numbers may be so large that float32 leaves little of differences of their squares.
    try:
        encoded, fitted = model._read_rows(further, reset=False), model._model
    except InputError:  # a number is too far from those of the fit
        assume(False)
    assume(np.abs(encoded.values).max(initial=0) < 1e6)
    exact = [exact_score(fitted, encoded, at) for at in range(encoded.n_rows)]
    expected = fitted.center + model._shift() + fitted.scale * np.array(exact)
    rows = []
    for at in range(len(further["s"])):
        rows.append(model.explain_row({name: values[at] for name, values in further.items()}))
        assert_adds_up(rows[-1], expected[at])
        assert rows[-1].names[:3] == ("s", "d", "v")
    found = model.explain(further)
    np.testing.assert_allclose(
        found.linear, np.mean([abs(row.linear) for row in rows], axis=0), rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(
        found.pairs, np.mean([abs(row.pairs) for row in rows], axis=0), rtol=1e-5, atol=1e-6
    )
    # One value a row: no pairs within.
    assert found.pairs[0, 0] == found.pairs[1, 1] == 0.0


@EVERY
def test_columns_without_weights_or_factors(kind):
    options = {"linear_columns": ["city", DenseFeat("age")], "deep_columns": ("city", "tags")}
    model = new_model(kind, encoder=click_encoder(), **options).fit(CLICKS, CLICKED)
    found = model.explain(CLICKS)
    assert found.names == ("city", "age", "user", "tags")
    assert (found.linear != 0).tolist() == [True, True, False, False]
    assert np.argwhere(found.pairs).tolist() == [[0, 3], [3, 3]]
    row = {name: values[0] for name, values in CLICKS.items()}
    assert_adds_up(
        model.explain_row(row), answers(model, {name: values[:1] for name, values in CLICKS.items()})[0]
    )
    strengths = model.interaction_strengths().strengths
    assert np.argwhere(np.triu(strengths)).tolist() == [[0, 3], [3, 3]]


@EVERY
def test_parts_are_in_the_units_of_the_answer(kind):
    """Also of a column whose values training has brought into other units."""
    X, y = small_data(kind, 200)
    X = sp.csr_array(X * np.where(np.arange(60) % 3, 1, 1000).astype(np.float32))
    model = (new_deep if kind in DEEPS else new_model)(kind).fit(X, y)
    assert len(model._model.params.inverse_scale)
    expected = answers(model, X)
    for at in range(10):
        found = model.explain_row(X[at : at + 1], [60])
        assert_adds_up(found, expected[at])
        assert found.linear[0] == pytest.approx((X[at : at + 1] @ model.coef_.astype(np.float64))[0], rel=1e-4)
        assert found.intercept == pytest.approx(model.intercept_)


def test_negatives_left_out_and_bounds():
    X, y = clicks()
    model = new_model(FMClassifier, negative_downsampling=0.1).fit(X, y)
    assert_adds_up(model.explain_row(X[:1]), model.decision_function(X[:1])[0])
    plain = new_model(FMClassifier).fit(X, y).explain_row(X[:1])
    assert model.explain_row(X[:1]).intercept == pytest.approx(plain.intercept + np.log(0.1))
    X, y = small_data(FMRegressor)
    model = new_model(FMRegressor, clip=True).fit(X, y)
    beyond = model.explain_row(50 * X[:1])
    assert beyond.raw != pytest.approx(model.predict(50 * X[:1])[0])
    assert_adds_up(beyond, model.set_params(clip=False).predict(50 * X[:1])[0])


def test_values_beyond_float32():
    model = made(FMClassifier)
    row = sp.csr_array(np.full((1, 60), 1e30, np.float32))
    found = model.explain_row(row, [20] * 3)
    assert_adds_up(found, model.decision_function(row)[0])


def assert_same_parts(got, expected):
    for one, other in zip(got, expected, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("kind", [FMClassifier, DeepFMClassifier])
def test_ways_to_give_a_row(kind):
    model, X = made(kind, "mean"), valued_rows()
    row = X[3:4]
    expected = model.explain_row(row)
    for other in (row.toarray(), row.tocoo(), (row.indices, row.data), (row.indices.tolist(), row.data.tolist())):
        assert_same_parts(model.explain_row(other), expected)
    empty = model.explain_row(([], []), [30, 30])
    assert empty.raw == pytest.approx(answers(model, sp.csr_array((1, 60), dtype=np.float32))[0])
    assert not empty.linear.any()
    assert not empty.pairs.any()


@pytest.mark.parametrize("kind", [FMRegressor, DeepFMRegressor])
def test_ways_to_give_a_row_of_a_table(kind):
    table, labels = many_clicks()
    model = new_model(kind, encoder=click_encoder()).fit(table, labels)
    frame = pl.DataFrame(table)[5:6]
    expected = model.explain_row(frame)
    encoded = model.encoder_.transform(frame)
    row = {name: values[5] for name, values in table.items()}
    for other in (frame.to_pandas(), frame.to_dicts(), encoded, (encoded.indices, encoded.data), row):
        assert_same_parts(model.explain_row(other), expected)
    unknown = model.explain_row({"city": "nowhere", "age": None, "user": -1, "tags": ["zz"]})
    assert unknown.names == ("city", "age", "user", "tags")


def test_names_of_features():
    X, y = clicks(100)
    frame = pd.DataFrame(X.toarray()[:, :9], columns=[*"abcdefghi"])
    model = new_model(FMClassifier).fit(frame, y)
    row = frame.iloc[:1].to_numpy()[0]
    got = model.explain_row((np.flatnonzero(row), row[row != 0]))
    assert got.names == tuple(np.array([*"abcdefghi"])[np.flatnonzero(row)])
    assert model.explain(frame).names == tuple("abcdefghi")
    assert model.explain(frame, [1, 8]).names == ("a", "field 1")
    of_column = np.array([-1, 10**9, 10**9, 5, 5, 5, 5, 5, -1])
    found = model.explain(frame, of_column)
    assert found.names == ("field 5", "field 1000000000", "other features")
    assert_is_mean(found, _summed(model, frame, found.names, of_column), 100)


def _summed(model, frame, names, fields):
    rows = [model.explain_row(frame.iloc[at : at + 1], fields) for at in range(len(frame))]
    assert {row.names for row in rows} == {names}
    return np.mean([abs(row.linear) for row in rows], 0), np.mean([abs(row.pairs) for row in rows], 0), 0.0


def test_features_that_never_occurred_are_told_with_none():
    X, y = clicks(100)
    wide = sp.csr_array((X.data, X.indices, X.indptr), shape=(100, 70))
    of_column = np.repeat([0, 1, -1], [30, 30, 10])
    model = new_model(FMClassifier).fit(wide, y)
    assert model.explain(wide, of_column).names == ("field 0", "field 1")
    row = sp.csr_array(np.ones((1, 70), np.float32))
    assert_adds_up(model.explain_row(row, of_column), model.decision_function(row)[0])


@EVERY
def test_few_features_need_no_fields(kind):
    model, X = made(kind), valued_rows(30)
    found = model.explain(X)
    assert found.names == tuple(f"feature {at}" for at in range(60))
    linear = np.zeros(60)
    for at in range(30):
        row = model.explain_row(X[at : at + 1])
        linear[[int(name.split()[1]) for name in row.names]] += abs(row.linear)
    np.testing.assert_allclose(found.linear, linear / 30, rtol=1e-9)
    assert not np.diagonal(found.pairs).any()


@pytest.mark.parametrize("pooling", [None, "mixed"])
@pytest.mark.parametrize("room", [1, 700, 5000])
def test_blocks_make_no_difference(monkeypatch, room, pooling):
    model, X = made(DeepFMRegressor, pooling), valued_rows()
    fields = None if pooling else [10] * 6
    expected = model.explain(X, fields)
    monkeypatch.setattr(explanation, "_ROOM", room)
    got = model.explain(X, fields)
    assert_is_mean(got, (expected.linear, expected.pairs, expected.deep), X.shape[0])


def test_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(explanation, "_ROOM", 1 << 16)
    model, X = made(DeepFMClassifier, "sum"), valued_rows(50)
    rows = sp.vstack([X] * 200, format="csr")
    assert traced_peak(lambda: model.explain(rows)) < 8e6


def test_saved_models_tell_the_same(tmp_path):
    table, labels = many_clicks()
    model = new_model(DeepFMClassifier, encoder=click_encoder()).fit(table, labels)
    model.save(tmp_path / "m")
    other = load_model(tmp_path / "m")
    assert_same_parts(other.explain(table), model.explain(table))
    assert_same_parts(other.interaction_strengths(), model.interaction_strengths())


def strengths_by_hand(model, group_of, n_groups, mixes):
    factors = model.factors_.astype(np.float64)
    occurs = np.flatnonzero(model._model.occurs)
    squares = [[[] for _ in range(n_groups)] for _ in range(n_groups)]
    for i in occurs:
        for j in occurs:
            a, b = group_of[i], group_of[j]
            if i != j and a >= 0 and b >= 0 and (a != b or mixes[a]):
                squares[a][b].append((factors[i] @ factors[j]) ** 2)
    return np.array([[np.sqrt(np.mean(found or [0.0])) for found in row] for row in squares])


@pytest.mark.parametrize("pooling", ["sum", "mean", "mixed"])
@EVERY
def test_strengths_are_root_mean_squares(kind, pooling):
    fields = layout(pooling)
    model = made(kind, pooling)
    model._model.occurs[::7] = 0
    names, strengths = model.interaction_strengths(fields if kind in FMS else None)
    of_column = fields.field_of_column
    filled = np.unique(of_column[of_column >= 0])
    group_of = np.where(of_column >= 0, np.searchsorted(filled, of_column), len(filled))
    mixes = [fields.pooling[field] != "sum" if fields.pooling else False for field in filled] + [True]
    expected = strengths_by_hand(model, group_of, len(names), mixes)
    np.testing.assert_allclose(strengths, expected, rtol=1e-4)
    np.testing.assert_array_equal(strengths, strengths.T)


def test_strengths_of_a_table():
    table, labels = many_clicks()
    model = with_random_numbers(new_model(FMClassifier, encoder=click_encoder()).fit(table, labels))
    names, strengths = model.interaction_strengths()
    assert names == ("city", "age", "user", "tags", "other features")  # all features have occurred: also "missing"
    of_feature = model.encoder_.encoding_.field_of_feature
    expected = strengths_by_hand(model, np.where(of_feature < 0, 4, of_feature), 5, [False] * 3 + [True] * 2)
    np.testing.assert_allclose(strengths, expected, rtol=1e-4)


def test_no_factors_no_pairs():
    X, y = clicks()
    model = new_model(FMClassifier, n_factors=0).fit(X, y)
    assert not model.explain(X).pairs.any()
    assert not model.explain_row(X[:1]).pairs.any()
    assert not model.interaction_strengths().strengths.any()


def test_text_tells_the_largest_first():
    found = explanation.RowExplanation(
        -1.0, np.array([0.5, 0.0]), np.array([[0.0, 2.0], [0.0, -0.25]]), 0.25, 1.5, ("city", "user\n" + "x" * 60)
    )
    lines = str(found).splitlines()
    assert lines[0] == "raw score 1.5"
    assert [line.split("  ")[1].strip()[:10] for line in lines[1:]] == [
        "city & use",
        "intercept",
        "city",
        "user?xxxxx",
        "network",
    ]
    assert lines[1].endswith("+2   50.0%")
    assert all(len(line) < 80 for line in lines)
    assert found.to_text(top=2).splitlines()[-1].split() == ["3", "others", "+0.5", "25.0%"]
    assert found.to_text(top=4).splitlines()[-1].split() == ["1", "other", "+0.25", "6.2%"]
    nothing = explanation.RowExplanation(0.0, np.zeros(0), np.zeros((0, 0)), 0.0, 0.0, ())
    assert str(nothing) == "raw score 0\n  intercept            +0    0.0%\n"
    sizes = explanation.ModelExplanation(("a", "b"), np.array([3.0, 0.0]), np.array([[0, 1.0], [0, 0]]), 0.0, 1200)
    assert str(sizes).splitlines() == [
        "mean absolute contributions to the raw score over 1,200 rows",
        "  a                 3   75.0%",
        "  a & b             1   25.0%",
    ]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (np.ones((2, 60)), "row holds n_rows=2, but must be one; explain(X) takes any number of rows."),
        (([60], [1.0]), "indices hold 60, but features of the model lie in 0 .. 59."),
        (([-1], [1.0]), "indices hold -1, but"),
        (([1.0], [1.0]), "indices of shape (1,) and dtype float64 must be integers (nnz,)"),
        (([1], [1.0, 2.0]), "values of shape (2,) and dtype float64 must be numbers (1,), one for each index."),
        (([1], ["x"]), "must be numbers (1,)"),
        (([1], [np.nan]), "X contains NaN"),
        (np.ones((1, 59)), "X has 59 features, but FMClassifier is expecting 60 features as input"),
        ({"city": "bj"}, "explain_row of a dict needs a model that was fitted to a table"),
    ],
)
def test_rows_that_are_none(row, message):
    model = made(FMClassifier)
    with pytest.raises(ValueError, match=re.escape(message)):
        model.explain_row(row)


def test_too_many_to_tell():
    X = sp.csr_array(np.full((2, 5000), 1e-3, np.float32))
    model = new_model(FMClassifier, n_epochs=1).fit(X, [0, 1])
    with pytest.raises(InputError, match=r"n_features=5000 without fields are too many .* fields=\[sizes\]"):
        model.explain(X)
    with pytest.raises(InputError, match="n_features=5000 without fields"):
        model.interaction_strengths()
    with pytest.raises(InputError, match="non-zeros=5000 would make 5000² pairs, but at most 4096"):
        model.explain_row(X[:1])
    with pytest.raises(InputError, match="n_fields=5000 would make"):
        model.explain(X, [1] * 5000)
    with pytest.raises(InputError, match="fields cover 4 columns"):
        model.explain(X, [1] * 4)
    assert len(model.explain(X, [1000] * 5).names) == 5
    with pytest.raises(ValueError, match="not fitted"):
        FMClassifier().explain(X)
    with pytest.raises(ValueError, match="not fitted"):
        FMClassifier().explain_row(X[:1])


def test_a_bag_has_pairs_of_its_own():
    columns = [SparseFeat("user"), VarLenSparseFeat("tags", pooling="sum")]
    table = {"user": [1, 2, 1, 2], "tags": [["a", "b"], ["a"], ["b", "c"], []]}
    model = with_random_numbers(
        new_model(FMRegressor, encoder=TableEncoder(columns)).fit(table, [1.0, 2.0, 3.0, 4.0])
    )
    names = model.encoder_.get_feature_names_out().tolist()
    factors = model.factors_[[names.index("tags=a"), names.index("tags=b")]]
    found = model.explain_row({"user": 1, "tags": ["a", "b"]})
    assert found.pairs[1, 1] == pytest.approx(float(factors[0] @ factors[1]), rel=1e-5)
    assert model.explain_row({"user": 1, "tags": ["a"]}).pairs[1, 1] == 0.0
