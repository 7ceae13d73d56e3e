"""Fields: what makes a layout, what it says, what poolings do to rows, and what an estimator takes as `fields`."""

from __future__ import annotations

import copy
import pickle
import re

import numpy as np
import pytest
import scipy.sparse as sp
from deepfm_fit_tools import BOTH, SIZES, assert_same_network, layout, new_deep, valued_rows
from fit_tools import answers, small_data

from fastfm_deep import DeepFMClassifier, FieldLayout, InputError, load_model, read_text
from fastfm_deep.data.fields import POOLINGS
from fastfm_deep.data.pooling import pooled_rows
from fastfm_deep.data.rows import as_csr_rows


def assert_same_layout(got, expected):
    assert isinstance(got, FieldLayout)
    assert got.field_of_column.dtype == np.int32
    np.testing.assert_array_equal(got.field_of_column, expected.field_of_column)
    assert got[1:] == expected[1:]


# What makes a layout


def test_sizes_are_those_of_consecutive_fields():
    got = FieldLayout.from_sizes([2, 1, 3])
    assert got.field_of_column.tolist() == [0, 0, 1, 2, 2, 2]
    assert (got.n_fields, got.n_features, got.pooling) == (3, 6, ())
    for sizes in ((2, 1, 3), np.array([2, 1, 3]), [np.int64(2), 1, np.uint8(3)]):
        assert_same_layout(FieldLayout.from_sizes(sizes), got)


@pytest.mark.parametrize("dtype", [np.int8, np.int64, np.uint16, np.int32])
def test_an_array_says_the_field_of_each_column(dtype):
    given = np.array([3, 0, 0, 5], dtype)
    got = FieldLayout.from_columns(given)
    assert_same_layout(got, FieldLayout(np.array([3, 0, 0, 5], np.int32), 6))
    given[0] = 1
    assert got.field_of_column[0] == 3  # a copy


def test_columns_without_a_field():
    assert FieldLayout.from_columns([-1, 0, -1]).n_fields == 1
    assert FieldLayout.from_columns([-1, -1]).n_fields == 0


def test_poolings_of_all_fields_or_of_each():
    assert FieldLayout.from_sizes([1, 2], "max").pooling == ("max", "max")
    assert FieldLayout.from_sizes([1, 2], ["sum", "mean"]).pooling == ("sum", "mean")
    assert FieldLayout.from_sizes([1, 2], ["sum", "sum"]).pooling == ()  # the same as none
    got = FieldLayout.from_columns([0, 1, 2, 3], POOLINGS)
    for field, name in enumerate(POOLINGS):
        assert np.flatnonzero(got.fields_with(name)).tolist() == [field]
    assert got.fields_with("mean", "max").tolist() == [False, True, False, True]
    assert FieldLayout.from_sizes([1, 2]).fields_with("sum").tolist() == [True, True]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: FieldLayout.from_columns([0.0, 1.0]),
            "fields of shape (2,) and dtype float64 must be a flat array",
        ),
        (lambda: FieldLayout.from_columns([[0, 1]]), "fields of shape (1, 2) and dtype int64 must be a flat"),
        (lambda: FieldLayout.from_columns([]), "fields of shape (0,) and dtype float64"),
        (lambda: FieldLayout.from_columns([True, False]), "fields of shape (2,) and dtype bool"),
        (
            lambda: FieldLayout.from_columns([0, -2]),
            "fields[1]=-2 must lie in -1 .. 2147483646 (-1: no field); number",
        ),
        (lambda: FieldLayout.from_columns([0, 2**31 - 1]), "fields[1]=2147483647 must lie in -1 .. 2147483646"),
        (lambda: FieldLayout.from_sizes([2, 0]), "field_sizes[1]=0 must be at least 1."),
        (lambda: FieldLayout.from_sizes([2.0]), "field_sizes[0]=2.0 must be an integer of at least 1."),
        (
            lambda: FieldLayout.from_sizes([2], "avg"),
            "pooling='avg' is unknown; use one of 'sum', 'mean', 'sqrtn'",
        ),
        (lambda: FieldLayout.from_sizes([2], ["avg"]), "pooling[0]='avg' is unknown; use one of 'sum'"),
        (
            lambda: FieldLayout.from_sizes([2, 1], ["max"]),
            "pooling names 1 ways, but there are 2 fields; give one for",
        ),
    ],
)
def test_what_is_no_layout(make, message):
    with pytest.raises(InputError, match="^" + re.escape(message)):
        make()


def test_libffm_text_brings_its_fields(tmp_path):
    """Column 4 comes in two fields and stays in the last, 1 and 3 never come, no column is in field 1 alone."""
    (tmp_path / "a.ffm").write_text("1 0:0:1 2:4:0.5\n0 4:2:1 0:4:2\n1 2:4:1\n")
    text = read_text(tmp_path / "a.ffm")
    assert_same_layout(text.fields, FieldLayout.from_columns([0, -1, 4, -1, 2]))
    assert text.n_shared == 1
    model = new_deep(DeepFMClassifier, fields=text.fields, n_epochs=1).fit(text.X, text.y)
    assert model._model.deep.shape.n_inputs == 5 * 4
    assert np.isfinite(answers(model, text.X)).all()


# As a thing that is copied and stored


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda given: pickle.loads(pickle.dumps(given))])
@pytest.mark.parametrize("kind", ["sum", "mixed"])
def test_copies(copied, kind):
    assert_same_layout(copied(layout(kind)), layout(kind))


def test_shown_with_all_it_says():
    assert repr(FieldLayout.from_sizes([2, 1], "max")) == (
        "FieldLayout(field_of_column=array([0, 0, 1], dtype=int32), n_fields=2, pooling=('max', 'max'))"
    )


@pytest.mark.parametrize("kind", ["sum", "mixed"])
def test_a_model_file_holds_them(tmp_path, kind):
    X, y = small_data(DeepFMClassifier, 60)
    new_deep(DeepFMClassifier, fields=layout(kind), n_epochs=1).fit(X, y).save(tmp_path / "m")
    got = load_model(tmp_path / "m")
    assert_same_layout(got.fields_, layout(kind))
    assert_same_layout(got.fields, layout(kind))


# What poolings do to rows


def test_values_are_divided_by_the_number_of_those_that_are_not_0():
    X = sp.csr_array(
        np.array([[1.0, 2.0, 4.0, 3.0, 6.0, 5.0], [0.0, 2.0, 0.0, 0.0, 6.0, 7.0], [0.0] * 6], np.float32)
    )
    explicit = sp.csr_array((X.toarray().ravel(), np.tile(np.arange(6), 3), np.arange(0, 24, 6)), shape=(3, 6))
    fields = FieldLayout.from_columns([0, 0, 0, 1, 1, -1], ["mean", "sqrtn"])
    root = np.float32(np.sqrt(2.0))
    expected = np.array([[1 / 3, 2 / 3, 4 / 3, 3 / root, 6 / root, 5], [0, 2, 0, 0, 6, 7], [0] * 6], np.float32)
    for given in (X, explicit):
        rows = as_csr_rows(given)
        before = rows.values.copy()
        got = pooled_rows(rows, fields)
        dense = sp.csr_array((got.values, got.indices, got.indptr), shape=(3, 6)).toarray()
        np.testing.assert_allclose(dense, expected, rtol=1e-6)
        np.testing.assert_array_equal(rows.values, before)
        assert not got.values.flags.writeable


@pytest.mark.parametrize("pooling", ["sum", "max"])
def test_other_poolings_leave_rows_alone(pooling):
    rows = as_csr_rows(valued_rows())
    assert pooled_rows(rows, FieldLayout.from_sizes(SIZES, pooling)) is rows


# What an estimator takes


@BOTH
def test_ways_to_give_the_same_fields(estimator_class):
    X, y = small_data(estimator_class, 60)
    expected = new_deep(estimator_class, fields=SIZES).fit(X, y)
    assert_same_layout(expected.fields_, FieldLayout.from_sizes(SIZES))
    columns = np.repeat(np.arange(6), 10)
    strided = np.zeros((60, 2), np.int32)
    strided[:, 0] = columns
    frozen = columns.copy()
    frozen.setflags(write=False)
    ways = [tuple(SIZES), FieldLayout.from_sizes(SIZES), columns, columns.astype(np.uint8), strided[:, 0], frozen]
    ways += [FieldLayout(frozen.astype(np.int64), 6), FieldLayout(columns.tolist(), 6), np.array(SIZES).tolist()]
    for fields in ways:
        model = new_deep(estimator_class, fields=fields).fit(X, y)
        assert model.fields is fields
        assert_same_network(model, expected)
        np.testing.assert_array_equal(answers(model, X), answers(expected, X))


def test_a_range_is_a_list_of_sizes():
    X, y = small_data(DeepFMClassifier, 60)
    model = new_deep(DeepFMClassifier, fields=range(19, 22), n_epochs=1).fit(X, y)
    assert_same_layout(model.fields_, FieldLayout.from_sizes([19, 20, 21]))


def test_fields_that_no_column_has_are_zero_vectors():
    """They cost inputs of the network, which are always 0."""
    X, y = small_data(DeepFMClassifier, 60)
    for fields in (np.repeat([1, 3], 30), FieldLayout(np.repeat([1, 3], 30).astype(np.int32), 7, ("mean",) * 7)):
        model = new_deep(DeepFMClassifier, fields=fields, n_epochs=1).fit(X, y)
        assert model._model.deep.shape.n_inputs == 4 * model.fields_.n_fields
        assert np.isfinite(answers(model, X)).all()


def test_columns_without_a_field_do_not_reach_the_network():
    """Rows of nothing else get the answer of an empty network input, and their linear and pair terms."""
    X, y = small_data(DeepFMClassifier, 60)
    fields = np.repeat([-1, 0, -1], 20)
    model = new_deep(DeepFMClassifier, fields=fields, learning_rate=0.5, init_std=0.5).fit(X, y)
    probe = sp.csr_array(([1.0, 1.0], ([0, 0], [3, 50])), shape=(2, 60))
    model._model.deep.parameters[:-1] *= 3.0  # whatever the network says, it says the same
    both, none = answers(model, probe)
    terms = model.coef_[3] + model.coef_[50] + model.factors_[3] @ model.factors_[50]
    assert both - none == pytest.approx(float(terms), abs=1e-5)
    assert abs(terms) > 0.01
