"""Scores in NumPy: those of the estimators, and within rounding those of the formulas, whatever a file holds."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import scipy.sparse as sp
from deepfm_fit_tools import ACTIVATIONS, layout, new_deep, valued_rows
from encoder_tools import CLICKED, CLICKS, EXAMPLES, click_columns
from fit_tools import answers, new_model, small_data
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import csr_rows

from fastfm_deep import (
    DeepFMClassifier,
    DeepFMRegressor,
    FMClassifier,
    FMRegressor,
    TableEncoder,
)
from fastfm_deep.data.encoder_tables import table_to_encode
from fastfm_deep.data.encoders import Encoding
from fastfm_deep.data.fields import POOLINGS, FieldLayout
from fastfm_deep.data.pooling import pooled_rows
from fastfm_deep.data.rows import CsrRows, as_csr_rows
from fastfm_deep.model.plain_score import PlainScorer
from fastfm_deep.model.storage import from_bfloat16, from_int8, to_bfloat16, to_int8
from fastfm_deep.model.stored import StoredModel, StoredNetwork, read_stored_model
from fastfm_deep.nn.mlp import MLPShape, parts_of, start_parameters

WIDTH = 10


# ------------------------------------------------------------------------------------- models with any numbers


def made_model(seed=0, *, n_factors=3, storage="float32", pruned=False, scaled=False, layout=None, shape=None):
    """A stored model of random numbers; with a `shape`, the network takes the fields of `layout`, if any."""
    rng = np.random.default_rng(seed)
    factors = rng.normal(0, 0.5, (WIDTH, n_factors)).astype(np.float32)
    linear = rng.normal(0, 1, (WIDTH, 1)).astype(np.float32)
    kept = None
    if pruned:
        kept = rng.random(WIDTH) < 0.5
        zeros = np.zeros((1, n_factors), np.float32)
        factors = np.concatenate([zeros, factors[kept]])
        linear = np.append(np.float32(0.0), linear[kept])[:, None]
    if storage == "bfloat16":
        factors = to_bfloat16(factors)
    elif storage == "int8":
        factors, scales = to_int8(factors)
        linear = np.concatenate([linear, scales[:, None]], axis=1)
    network = None
    if shape is not None:
        running = rng.uniform(0.5, 2.0, shape.n_running).astype(np.float32)
        parameters = start_parameters(shape, rng)
        parameters[shape.n_decayed :] += rng.normal(0, 0.3, shape.n_parameters - shape.n_decayed)
        network = StoredNetwork(shape, parameters, running, layout is not None, None)
    return StoredModel(
        header={},
        arrays={},
        n_features=WIDTH,
        n_factors=n_factors,
        storage=storage,
        factors=factors if n_factors else np.empty((0, 0), np.float32),
        linear=linear,
        kept=kept,
        intercept=float(rng.normal()),
        inverse_scale=rng.uniform(0.1, 5.0, WIDTH if scaled else 0).astype(np.float32),
        occurs=np.ones(WIDTH, np.uint8),
        center=0.0,
        scale=1.0,
        shift=0.0,
        is_classifier=True,
        classes=None,
        bounds=None,
        layout=layout,
        network=network,
        feature_names=None,
        encoder=None,
    )


def tables_of_model(stored):
    """Factors and weights of all columns, in float64."""
    factors, weights = stored.factors, stored.linear[:, 0].astype(np.float64)
    if stored.storage == "bfloat16":
        factors = from_bfloat16(factors)
    elif stored.storage == "int8":
        factors = from_int8(factors, stored.linear[:, 1])
    factors = factors.astype(np.float64)
    if stored.kept is not None:
        place = np.where(stored.kept, np.cumsum(stored.kept), 0)
        factors, weights = factors[place] if stored.n_factors else factors, weights[place]
    return factors, weights


def expected_scores(stored, rows):
    """The formulas in float64, entry by entry."""
    factors, weights = tables_of_model(stored)
    found = []
    for row in range(rows.n_rows):
        raw, products, fields = stored.intercept, [], []
        for at in range(rows.indptr[row], rows.indptr[row + 1]):
            column, x = int(rows.indices[at]), float(rows.values[at])
            if len(stored.inverse_scale):
                x *= float(stored.inverse_scale[column])
            raw += weights[column] * x
            if stored.n_factors:
                products.append((column, x, factors[column] * x))
        for one in range(len(products)):
            for other in range(one):
                raw += float(products[one][2] @ products[other][2])
        if stored.network is not None:
            total = sum((product for _, _, product in products), np.zeros(stored.n_factors))
            squares = sum((product**2 for _, _, product in products), np.zeros(stored.n_factors))
            fields = [total, 0.5 * (total**2 - squares)]
            if stored.network.with_fields:
                fields = field_vectors(stored, products)
            raw += network_answer(stored.network, np.concatenate(fields))
        found.append(raw)
    return np.array(found)


def field_vectors(stored, products):
    vectors = []
    for field in range(stored.layout.n_fields):
        is_max = bool(stored.layout.pooling) and stored.layout.pooling[field] == "max"
        mine = [
            product
            for column, x, product in products
            if stored.layout.field_of_column[column] == field and not (is_max and x == 0.0)
        ]
        pool = np.max if is_max else np.sum
        vectors.append(pool(mine, axis=0) if mine else np.zeros(stored.n_factors))
    return vectors


def network_answer(network, x):
    shape = network.shape
    parts = parts_of(shape, network.parameters.astype(np.float64))
    statistics = np.split(network.running.astype(np.float64), np.cumsum(np.repeat(shape.hidden_units, 2)))
    for layer in range(len(shape.hidden_units)):
        x = x @ parts.weights[layer]
        if shape.batch_norm:
            gamma, beta = parts.vectors[layer]
            mean, variance = statistics[2 * layer : 2 * layer + 2]
            x = gamma * (x - mean) / np.sqrt(variance + 1e-5) + beta
        else:
            x = x + parts.vectors[layer][0]
        x = ACTIVATIONS[shape.activation](x)
    return float((x @ parts.weights[-1] + parts.bias)[0])


def assert_close(got, expected):
    assert got.dtype == np.float64
    np.testing.assert_array_less(np.abs(got - expected), 1e-5 * (1.0 + np.abs(expected)))


@st.composite
def models(draw):
    """A stored model of whatever a file may hold."""
    n_factors = draw(st.sampled_from([0, 1, 3, 8]))
    given, shape = None, None
    if n_factors and draw(st.booleans()):
        n_vectors = 2
        if draw(st.booleans()):
            numbers = st.lists(st.integers(-1, 3), min_size=WIDTH, max_size=WIDTH)
            fields = draw(numbers.filter(lambda fields: max(fields) >= 0))
            n_vectors = max(fields) + 1
            pooling = draw(st.lists(st.sampled_from(POOLINGS), min_size=n_vectors, max_size=n_vectors))
            given = FieldLayout.from_columns(fields, pooling)
        shape = MLPShape(
            n_vectors * n_factors,
            draw(st.sampled_from([(4,), (5, 3), (6, 4, 2)])),
            draw(st.sampled_from(list(ACTIVATIONS))),
            0.5,
            draw(st.booleans()),
        )
    return made_model(
        draw(st.integers(0, 2**32 - 1)),
        n_factors=n_factors,
        storage=draw(st.sampled_from(["float32", "bfloat16", "int8"])),
        pruned=draw(st.booleans()),
        scaled=draw(st.booleans()),
        layout=given,
        shape=shape,
    )


def rows_for(stored, X):
    rows = as_csr_rows(X)
    return rows if stored.layout is None else pooled_rows(rows, stored.layout)


@given(stored=models(), X=csr_rows(n_features=WIDTH, value_dtypes=(np.float32,)))
@settings(max_examples=6 * EXAMPLES, deadline=None)
def test_scores_are_the_formulas(stored, X):
    rows = rows_for(stored, X)
    scorer, expected = PlainScorer(stored), expected_scores(stored, rows)
    got = scorer.raw_scores(rows)
    assert_close(got, expected)
    for row in range(rows.n_rows):
        part = slice(rows.indptr[row], rows.indptr[row + 1])
        one = scorer.score_one(rows.indices[part].tolist(), rows.values[part].tolist())
        assert type(one) is float
        assert_close(np.array([one]), expected[row : row + 1])


@given(
    stored=models(),
    X=csr_rows(n_features=WIDTH, value_dtypes=(np.float32,), min_rows=2, repeated=False),
    seed=st.integers(0, 100),
)
@settings(max_examples=6 * EXAMPLES, deadline=None)
def test_ranking_gives_the_scores_of_whole_rows(stored, X, seed):
    rows = as_csr_rows(X)
    of_context = np.random.default_rng(seed).random(WIDTH) < 0.5
    own = np.flatnonzero(~of_context[rows.indices])
    n_before = np.concatenate([[0], np.cumsum(~of_context[rows.indices])])
    candidates = CsrRows(n_before[rows.indptr], rows.indices[own], rows.values[own])
    first = slice(rows.indptr[0], rows.indptr[1])
    shared = of_context[rows.indices[first]]
    ids, values = rows.indices[first][shared], rows.values[first][shared]
    whole = [
        np.concatenate([part, common])
        for (name, common) in (("indices", ids), ("values", values))
        for part in np.split(getattr(candidates, name), candidates.indptr[1:-1])
    ]
    indptr = np.arange(rows.n_rows + 1) * len(ids) + candidates.indptr
    joined = CsrRows(indptr, np.concatenate(whole[: rows.n_rows]), np.concatenate(whole[rows.n_rows :]))
    got = PlainScorer(stored).rank_scores(ids.tolist(), values.tolist(), candidates)
    assert_close(got, expected_scores(stored, joined))


def test_no_rows_have_no_scores():
    nothing = CsrRows(np.zeros(1, np.int64), np.empty(0, np.int32), np.empty(0, np.float32))
    shape = MLPShape(6, (4,))
    for stored in (made_model(), made_model(n_factors=0), made_model(shape=shape)):
        scorer = PlainScorer(stored)
        assert scorer.raw_scores(nothing).shape == (0,)
        assert scorer.rank_scores([0], [1.0], nothing).shape == (0,)


def test_order_of_entries_does_not_matter():
    given = FieldLayout.from_columns([0, 1, -1, 2, 0, 1, 2, 0, -1, 1], ["max", "sum", "sum"])
    scorer = PlainScorer(made_model(layout=given, shape=MLPShape(9, (4,))))
    rng = np.random.default_rng(0)
    ids = rng.permutation(WIDTH)
    values = rng.normal(size=WIDTH).astype(np.float32)
    order = np.argsort(ids)
    assert scorer.score_one(ids, values) == pytest.approx(scorer.score_one(ids[order], values[order]), rel=1e-6)


@pytest.mark.parametrize("with_fields", [False, True])
@pytest.mark.parametrize("activation", list(ACTIVATIONS))
def test_values_beyond_float32_are_computed_in_float64(activation, with_fields):
    given = FieldLayout.from_columns(np.arange(WIDTH) % 2) if with_fields else None
    stored = made_model(layout=given, shape=MLPShape(6, (5, 3), activation))
    values = np.array([[3e38, -1e30, 1.0], [1.0, 2.0, 0.5]], np.float32)
    rows = CsrRows(np.array([0, 3, 6]), np.array([0, 1, 4] * 2, np.int32), values.reshape(-1))
    with np.errstate(over="ignore"):
        scorer, expected = PlainScorer(stored), expected_scores(stored, rows)
    got = scorer.raw_scores(rows)
    assert np.isfinite(got).all()
    np.testing.assert_allclose(got, expected, rtol=1e-5)
    tails = CsrRows(np.array([0, 2, 4]), np.array([1, 4] * 2, np.int32), values[:, 1:].reshape(-1))
    ranked = scorer.rank_scores([0], [values[0, 0]], tails)
    assert ranked[0] == pytest.approx(expected[0], rel=1e-5)


def test_many_rows_go_block_by_block():
    given = FieldLayout.from_columns(np.arange(WIDTH) % 4)
    stored = made_model(n_factors=8, layout=given, shape=MLPShape(32, (5,)))
    X = sp.random_array((40_000, WIDTH), density=0.4, rng=np.random.default_rng(0), format="csr", dtype=np.float32)
    rows = as_csr_rows(X)
    scorer = PlainScorer(stored)
    assert len(list(scorer._blocks(rows))) > 3
    got = scorer.raw_scores(rows)
    chosen = np.arange(0, rows.n_rows, 997)
    assert_close(got[chosen], expected_scores(stored, as_csr_rows(X[chosen])))
    ranked = scorer.rank_scores([], [], rows)
    assert_close(ranked, got)


def test_threads_share_a_scorer():
    given = FieldLayout.from_columns(np.arange(WIDTH) % 4)
    scorer = PlainScorer(made_model(n_factors=8, layout=given, shape=MLPShape(32, (5,))))
    tables = [
        as_csr_rows(sp.random_array((500, WIDTH), density=0.5, rng=np.random.default_rng(i), dtype=np.float32))
        for i in range(4)
    ]
    expected = [scorer.raw_scores(rows) for rows in tables]
    wrong = []

    def ask(i):
        same = [np.array_equal(scorer.raw_scores(tables[i]), expected[i]) for _ in range(10)]
        wrong.extend([i] * same.count(False))

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


# ------------------------------------------------------------------------------------------------ files of models


def stored_answers(path, rows):
    """What the model of a file says, in the units of the estimator's answers."""
    stored = read_stored_model(path, mmap=True)
    return stored.center + stored.shift + stored.scale * PlainScorer(stored).raw_scores(rows)


def assert_same_answers(got, expected, spread=None):
    scale = 1.0 if spread is None else spread
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5 * scale)


@pytest.mark.parametrize("n_factors", [0, 4, 5])
@pytest.mark.parametrize("estimator_class", [FMClassifier, FMRegressor])
def test_factorization_machines_answer_as_their_estimators(estimator_class, n_factors, tmp_path):
    X, y = small_data(estimator_class)
    model = new_model(estimator_class, n_factors=n_factors, learning_rate=0.2).fit(X, y)
    model.save(tmp_path / "model")
    X = valued_rows()
    expected = answers(model, X)
    assert_same_answers(stored_answers(tmp_path / "model", as_csr_rows(X)), expected, np.abs(expected).max())


@pytest.mark.parametrize("kind", [None, "sum", "mean", "max", "mixed"])
@pytest.mark.parametrize("options", [{}, {"dnn_batch_norm": True, "dnn_activation": "gelu"}])
@pytest.mark.parametrize("estimator_class", [DeepFMClassifier, DeepFMRegressor])
def test_deep_models_answer_as_their_estimators(estimator_class, options, kind, tmp_path):
    X, y = small_data(estimator_class)
    fields = None if kind is None else layout(kind)
    model = new_deep(estimator_class, fields=fields, **options).fit(X, y)
    model.save(tmp_path / "model")
    X = valued_rows()
    rows = as_csr_rows(X)
    rows = rows if fields is None else pooled_rows(rows, fields)
    expected = answers(model, X)
    assert_same_answers(stored_answers(tmp_path / "model", rows), expected, np.abs(expected).max())


@pytest.mark.parametrize("estimator_class", [FMClassifier, DeepFMClassifier])
def test_models_of_tables_answer_as_their_estimators(estimator_class, tmp_path):
    model = estimator_class(
        n_factors=4, n_epochs=3, init_std=0.3, random_state=0, encoder=TableEncoder(click_columns())
    ).fit(CLICKS, CLICKED)
    model.save(tmp_path / "model")
    stored = read_stored_model(tmp_path / "model")
    encoding = Encoding.from_state(*stored.encoder, plain=True)
    expected = model.decision_function(CLICKS)
    rows = encoding.table_rows(table_to_encode(CLICKS, encoding))
    assert_same_answers(stored_answers(tmp_path / "model", rows), expected)
    scorer = PlainScorer(stored)
    for at in range(len(CLICKED)):
        row = {name: values[at] for name, values in CLICKS.items()}
        one = scorer.score_one(*encoding.encode_row(row, pooled=True))
        assert one * stored.scale + stored.center + stored.shift == pytest.approx(expected[at], rel=1e-5, abs=1e-5)
