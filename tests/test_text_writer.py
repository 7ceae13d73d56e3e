"""Rows written as text come back bit for bit."""

from __future__ import annotations

import io

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fastfm_deep import FieldLayout, InputError, read_text, write_libffm, write_libsvm
from fastfm_deep.datasets import make_ctr

finite = st.floats(width=32, allow_nan=False, allow_infinity=False)


@st.composite
def rows(draw):
    """CSR rows in any order, with repeated columns and stored zeros, and labels; no row is bare."""
    n_features = draw(st.sampled_from([1, 3, 40, 2**31 + 5, 2**62]))
    lengths = draw(st.lists(st.integers(0, 5), min_size=1, max_size=6))
    n_pairs = sum(lengths)
    columns = draw(st.lists(st.integers(0, n_features - 1), min_size=n_pairs, max_size=n_pairs))
    values = draw(hnp.arrays(np.float32, n_pairs, elements=finite | st.sampled_from([1.0, 0.0, -0.0, 7.0])))
    labels = draw(hnp.arrays(np.float64, len(lengths), elements=st.floats(allow_nan=False, allow_infinity=False)))
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    X = scipy.sparse.csr_array((values, np.array(columns, np.int64), indptr), shape=(len(lengths), n_features))
    unlabelled = draw(st.booleans()) and min(lengths) > 0
    return X, None if unlabelled else labels


def assert_same(data, X, y):
    assert data.X.shape == X.shape
    assert data.X.indptr.tolist() == X.indptr.tolist()
    assert data.X.indices.tolist() == X.indices.tolist()
    assert data.X.data.tobytes() == X.data.astype(np.float32).tobytes()
    if y is None:
        assert data.y is None
    else:
        assert data.y.tobytes() == np.asarray(y, np.float64).tobytes()


@settings(max_examples=150, deadline=None)
@given(rows=rows(), base=st.sampled_from([0, 1]))
def test_what_is_written_comes_back(tmp_path_factory, rows, base):
    X, y = rows
    path = tmp_path_factory.mktemp("rows") / "rows.txt"
    write_libsvm(path, X, y, base=base)
    assert_same(read_text(path, n_features=X.shape[1], base=base, labels="optional"), X, y)


@settings(max_examples=60, deadline=None)
@given(rows=rows(), base=st.sampled_from([0, 1]), seed=st.integers(0, 9))
def test_libffm_comes_back_with_its_fields(tmp_path_factory, rows, base, seed):
    X, y = rows
    if X.shape[1] > 40:
        return
    fields = np.random.default_rng(seed).choice([0, 1, 2, 77, 2**31 - 2], X.shape[1])
    path = tmp_path_factory.mktemp("rows") / "rows.txt"
    write_libffm(path, X, y, fields, base=base)
    data = read_text(path, "libffm", n_features=X.shape[1], base=base, labels="optional")
    assert_same(data, X, y)
    named = np.unique(X.indices)
    assert data.fields.field_of_column[named].tolist() == fields[named].tolist()


@settings(max_examples=300, deadline=None)
@given(bits=hnp.arrays(np.uint32, 50, elements=st.integers(0, 2**32 - 1)))
def test_any_float32(bits):
    values = bits.view(np.float32)
    values = values[np.isfinite(values)]
    out = io.BytesIO()
    write_libsvm(out, scipy.sparse.csr_array((values, np.arange(len(values)), [0, len(values)]), (1, 50)), y=[0])
    tokens = [pair.split(b":")[1] for pair in out.getvalue().split()[1:]]
    with np.errstate(under="ignore"):
        assert np.array([float(token) for token in tokens]).astype(np.float32).tobytes() == values.tobytes()


@pytest.mark.parametrize(
    ("X", "y", "base", "text"),
    [
        (np.array([[0, 2.5], [1, 0]]), [1, 0], 1, b"1 2:2.5\n0 1:1\n"),
        (np.array([[0, 2.5], [1, 0]]), [1, 0], 0, b"1 1:2.5\n0 0:1\n"),
        (np.array([[0, 2.5], [1, 0]]), None, 1, b"2:2.5\n1:1\n"),
        (scipy.sparse.csr_array(np.array([[0.1, 1e-10]])), [-0.5], 1, b"-0.5 1:0.1 2:1e-10\n"),
        (scipy.sparse.coo_matrix(np.array([[16777216.0, -3]])), [np.nan], 1, b"1:1.6777216e+07 2:-3\n"),
        (np.zeros((2, 3)), [-1, 1e20], 1, b"-1\n1e+20\n"),
    ],
)
def test_what_it_looks_like(X, y, base, text):
    out = io.BytesIO()
    write_libsvm(out, X, y, base=base)
    assert out.getvalue() == text


def test_libffm_looks_like_this():
    for fields in ([2, 1], np.array([0, 0, 1]), FieldLayout.from_sizes([2, 1])):
        out = io.BytesIO()
        write_libffm(out, np.array([[1, 0, 3], [0, 0.5, 0]]), [1, 0], fields)
        assert out.getvalue() == b"1 0:1:1 1:3:3\n0 0:2:0.5\n"


def test_many_blocks(tmp_path):
    X, y, fields = make_ctr(10_000, n_fields=20, n_features=3_000, random_state=0)
    X.data = np.random.default_rng(0).normal(size=len(X.data)).astype(np.float32)
    write_libffm(tmp_path / "rows.txt", X, y, fields)
    data = read_text(tmp_path / "rows.txt", n_features=X.shape[1], base=1)
    assert_same(data, X, y)


sparse = scipy.sparse.csr_array


@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        (np.array([[1.0, np.nan]]), [1], "X[0, 1]=nan (row 0, column 1): X contains NaN."),
        (np.array([[0, 1e39]]), [1], "X[0, 1]=1e+39 (row 0, column 1) is beyond the range of float32"),
        (np.array([["a"]]), [1], "X has dtype=<U1, but must hold numbers."),
        (np.zeros(3), [1], "Expected 2D array, got 1D array instead"),
        (np.array([[1.0], [0.0]]), None, "Row 1 has neither a label nor values, and a blank line is no row;"),
        (np.array([[1.0], [0.0]]), [1, np.nan], "Row 1 has neither a label nor values"),
        (np.array([[1.0]]), [1, 2], "y has 2 entries, but X has inconsistent numbers of samples: 1 rows;"),
        (np.array([[1.0]]), [np.inf], "y[0]=inf (row 0): y contains infinity."),
        (np.array([[1.0]]), ["1"], "y has dtype=<U1, but must hold numbers."),
        (np.array([[1.0]]), [[1]], "y of shape (1, 1) must have shape (n_rows,)"),
    ],
)
def test_what_cannot_be_written(tmp_path, X, y, message):
    path = tmp_path / "rows.txt"
    path.write_bytes(b"as it was")
    with pytest.raises(InputError) as caught:
        write_libsvm(path, X, y)
    assert str(caught.value).startswith(message)
    assert path.read_bytes() == b"as it was"
    assert list(tmp_path.iterdir()) == [path]


def test_damaged_rows(tmp_path):
    X = sparse(np.eye(3))
    X.indices[1] = 7
    with pytest.raises(InputError, match=r"damaged csr matrix: indices run from 0 to 7, but there are 3 columns"):
        write_libsvm(tmp_path / "rows.txt", X, [1, 2, 3])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (None, "fields=None must give the field of each column"),
        ([1, 1], "fields cover 2 columns, but X has 3; give each column one field."),
        (np.array([0, -1, 0]), "fields[1]=-1: column 1 has values but no field; give it one."),
        (np.array([0.5, 1, 1]), "fields of shape (3,) and dtype float64 must be a flat array of integers"),
    ],
)
def test_fields_that_do_not_fit(tmp_path, fields, message):
    with pytest.raises(InputError) as caught:
        write_libffm(tmp_path / "rows.txt", np.eye(3), [1, 0, 1], fields)
    assert str(caught.value).startswith(message)


def test_the_base_is_0_or_1(tmp_path):
    with pytest.raises(InputError, match="base=2 must be 0 or 1: the number that the ids of a text file"):
        write_libsvm(tmp_path / "rows.txt", np.eye(2), [1, 0], base=2)
