"""Tables and dicts for a scorer of a model of a table: what its estimator says, and what is refused."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet
import pytest
from encoder_tools import CLICKS, many_clicks, tables_of
from hypothesis import given, settings
from hypothesis import strategies as st
from scorer_tools import (
    BACKENDS,
    EACH_BACKEND,
    assert_answers,
    assert_raw,
    records_of,
    sizes,
    table_models,
)

from fastfm_deep import DeepFMClassifier, FMClassifier, InputError

# Values of the fit, values that were not in it, and missing ones.
ROWS = st.fixed_dictionaries(
    {
        "city": st.sampled_from(["bj", "sh", "żółw", "nowhere", "", None]),
        "age": st.one_of(st.none(), st.floats(-200, 200), st.integers(0, 90), st.just(float("nan"))),
        "user": st.one_of(st.integers(0, 40), st.just(2**60), st.none()),
        "tags": st.one_of(st.none(), st.lists(st.sampled_from(["a", "b", "c", "d", "new"]), max_size=5)),
    }
)
MODELS = pytest.mark.parametrize("kind", [FMClassifier, DeepFMClassifier])


def columns_of(rows):
    return {name: [row[name] for row in rows] for name in rows[0]}


@MODELS
@given(rows=st.lists(ROWS, min_size=1, max_size=6), handle_unknown=st.sampled_from(["bucket", "ignore"]))
@settings(max_examples=sizes(40, 5), deadline=None)
def test_answers_are_those_of_the_saved_estimator(kind, rows, handle_unknown):
    model, scorers = table_models(kind, handle_unknown=handle_unknown)
    raw, answers = model.decision_function(columns_of(rows)), model.predict_proba(columns_of(rows))[:, 1]
    for backend in BACKENDS:
        scorer = scorers[backend]
        for table in (rows, columns_of(rows)):
            assert_raw(scorer.score(table, raw=True), raw)
            assert_answers(scorer.score(table), answers, True)
        assert_raw([scorer.score_dict(row, raw=True) for row in rows], raw)
        assert_answers([scorer.score_dict(row) for row in rows], answers, True)


@EACH_BACKEND
@MODELS
def test_tables_of_every_kind(kind, backend, tmp_path):
    model, scorers = table_models(kind)
    scorer, expected = scorers[backend], model.predict_proba(CLICKS)[:, 1]
    tables = tables_of(CLICKS)
    tables["own encoder's rows"] = model.encoder_.transform(CLICKS)
    tables["arrays"] = {name: np.array(values, object) for name, values in CLICKS.items()}
    pa.parquet.write_table(pa.table(CLICKS), tmp_path / "clicks.parquet")
    tables["file"] = tmp_path / "clicks.parquet"
    tables["more columns, in another order"] = {"more": range(8)} | dict(reversed(CLICKS.items()))
    for name, table in tables.items():
        for n_jobs in (None, 2):
            found = scorer.score(table, n_jobs=n_jobs)
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6, err_msg=name)
        out = np.full(8, np.nan, np.float32)
        scorer.score_into(table, out)
        np.testing.assert_allclose(out, expected, rtol=0, atol=1e-6, err_msg=name)
    one = {name: values[0] for name, values in CLICKS.items()}
    assert scorer.score(one).shape == (1,)
    np.testing.assert_allclose(scorer.score(one | {"tags": "a|b"}), expected[:1], rtol=0, atol=1e-6)


@EACH_BACKEND
def test_many_rows_of_a_table(backend):
    model, scorers = table_models(DeepFMClassifier)
    table, _ = many_clicks(sizes(3000, 60), random_state=5)
    expected = model.predict_proba(table)[:, 1]
    assert len(np.unique(expected)) > len(expected) // 2
    assert_answers(scorers[backend].score(table), expected, True)
    assert_answers([scorers[backend].score_dict(row) for row in records_of(table)], expected, True)


@EACH_BACKEND
@MODELS
def test_encoded_rows_may_be_scored_one_by_one(kind, backend):
    """By number, pooled by the scorer: tags are a mean."""
    model, scorers = table_models(kind)
    X, expected = model.encoder_.transform(CLICKS), model.predict_proba(CLICKS)[:, 1]
    for row in range(X.shape[0]):
        part = slice(X.indptr[row], X.indptr[row + 1])
        found = scorers[backend].score_row(X.indices[part], X.data[part])
        assert_answers([found], expected[row : row + 1], True)


@EACH_BACKEND
@MODELS
def test_no_rows_have_no_scores(kind, backend):
    scorer = table_models(kind)[1][backend]
    empty = {name: [] for name in CLICKS}
    frame = pd.DataFrame(CLICKS)
    tables = [
        [],
        empty,
        frame[:0],
        pl.DataFrame(CLICKS)[:0],
        pa.table(CLICKS)[:0],
        table_models(kind)[0].encoder_.transform(CLICKS)[:0],
    ]
    for table in tables:
        found = scorer.score(table)
        assert (found.shape, found.dtype) == ((0,), np.float64)
        scorer.score_into(table, np.empty(0))
    with pytest.raises(InputError, match="city"):
        scorer.score({"age": [], "user": [], "tags": []})


@EACH_BACKEND
@MODELS
def test_what_is_no_table_is_refused(kind, backend):
    scorer = table_models(kind)[1][backend]
    row = records_of(CLICKS)[0]
    missing = {name: value for name, value in row.items() if name != "user"}
    for X, message in (
        (missing, "user"),
        ({name: values for name, values in CLICKS.items() if name != "user"}, "user"),
        (row | {"age": "old"}, "age"),
        (row | {"age": float("inf")}, "age"),
        ([[1, 2, 3]], "must be a table"),
        (np.zeros((2, scorer.n_features)), "but must be a table, a dict or a list of dicts with the columns"),
        (7, "but must be a table"),
        (None, "but must be a table"),
        (dict(CLICKS, age=[1.0]), ""),
    ):
        with pytest.raises(InputError, match=re.escape(message) or None):
            scorer.score(X)
        with pytest.raises(InputError, match=re.escape(message) or None):
            scorer.score_into(X, np.empty(2))
    for found, message in ((missing, "user"), (row | {"age": "old"}, "age"), ([1], ""), (None, ""), ({}, "")):
        with pytest.raises(InputError, match=re.escape(message) or None):
            scorer.score_dict(found)
    with pytest.raises(InputError, match=re.escape(f"indices[0]={scorer.n_features} must lie in 0 ..")):
        scorer.score_row([scorer.n_features])


@EACH_BACKEND
def test_values_not_seen_in_fit_can_be_errors(backend):
    scorer = table_models(FMClassifier, handle_unknown="error")[1][backend]
    row = records_of(many_clicks(5)[0])[0] | {"city": "bj"}
    assert 0.0 < scorer.score_dict(row) < 1.0
    for call in (scorer.score_dict, scorer.score, lambda found: scorer.score([found])):
        with pytest.raises(InputError, match="nowhere"):
            call(row | {"city": "nowhere"})
