"""Dense arrays, lists and DataFrames on their way to rows."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from row_tools import DENSE, assert_output_types, raw_csr, to_dense, traced_peak
from strategies import csr_rows

from fastfm_deep.data.dense import _BLOCK_VALUES
from fastfm_deep.data.rows import as_csr_rows
from fastfm_deep.validation import InputError


@settings(deadline=None, max_examples=60)
@given(X=csr_rows())
def test_dense_and_sparse_agree(X):
    dense = X.toarray()
    rows = as_csr_rows(dense)
    assert_output_types(rows)
    np.testing.assert_array_equal(to_dense(rows, X.shape[1]), dense.astype(np.float32))
    assert np.all(rows.values != 0.0), "zeros of a dense array take no place"


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble, np.int8, np.uint64, bool])
def test_values_of_every_real_dtype(dtype):
    dense = np.array([[0, 1, 0], [3, 0, 2]]).astype(dtype)
    expected = dense.astype(np.float32)
    np.testing.assert_array_equal(to_dense(as_csr_rows(dense), 3), expected)
    X = raw_csr([0, 1, 3], [1, 2, 0], dense[[0, 1, 1], [1, 2, 0]], (2, 3), dtype=dtype)
    rows = as_csr_rows(X)
    assert_output_types(rows)
    np.testing.assert_array_equal(to_dense(rows, 3), expected)


@pytest.mark.parametrize("order", ["C", "F"])
def test_dense_arrays_of_many_blocks(order):
    n_columns = 7
    n_rows = 2 * _BLOCK_VALUES // n_columns + 3
    step = np.arange(n_rows * n_columns).reshape(n_rows, n_columns)
    dense = np.asarray(np.where(step % 5 == 0, step % 1000, 0), np.float32, order=order)
    got = as_csr_rows(dense)
    expected = sp.csr_array(dense)
    np.testing.assert_array_equal(got.indptr, expected.indptr)
    np.testing.assert_array_equal(got.indices, expected.indices)
    np.testing.assert_array_equal(got.values, expected.data)


def test_strided_arrays():
    np.testing.assert_array_equal(to_dense(as_csr_rows(DENSE[::-1, ::2]), 2), DENSE[::-1, ::2])


def test_lists_of_numbers():
    np.testing.assert_array_equal(to_dense(as_csr_rows(DENSE.tolist()), 4), DENSE)
    np.testing.assert_array_equal(to_dense(as_csr_rows([[True, 0], [2, 0.5]]), 2), [[1, 0], [2, 0.5]])


def test_arrays_of_objects_that_are_numbers():
    dense = np.array([[1, 2.5, True], [0, np.float32(3), None]], object)
    dense[1, 2] = 0
    np.testing.assert_array_equal(to_dense(as_csr_rows(dense), 3), [[1, 2.5, 1], [0, 3, 0]])


def test_frame_of_one_dtype():
    pd = pytest.importorskip("pandas")
    rows = as_csr_rows(pd.DataFrame(DENSE, columns=list("abcd")))
    assert_output_types(rows)
    np.testing.assert_array_equal(to_dense(rows, 4), DENSE)


def test_frame_of_mixed_dtypes():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(
        {
            "int": [1, 0],
            "float": [0.5, 2.0],
            "bool": [True, False],
            "nullable": pd.array([3, 4], dtype="Int64"),
            "boolean": pd.array([True, False], dtype="boolean"),
            "sparse": pd.arrays.SparseArray([0.0, 1.5]),
            "object": pd.Series([2, 0.25], dtype=object),
            "category": pd.Categorical([7, 8]),
        }
    )
    before = frame.copy(deep=True)
    rows = as_csr_rows(frame)
    assert_output_types(rows)
    expected = [[1, 0.5, 1, 3, 1, 0, 2, 7], [0, 2, 0, 4, 0, 1.5, 0.25, 8]]
    np.testing.assert_array_equal(to_dense(rows, 8), expected)
    pd.testing.assert_frame_equal(frame, before)


def test_frame_of_sparse_columns_is_never_made_dense():
    pd = pytest.importorskip("pandas")
    n_columns = 300
    X = sp.csr_array(([1.0, 2.0], ([0, 4000], [7, 299])), shape=(5000, n_columns))
    frame = pd.DataFrame.sparse.from_spmatrix(X)
    tracemalloc.start()
    rows = as_csr_rows(frame)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert rows.indices.tolist() == [7, 299]
    assert rows.values.tolist() == [1, 2]
    assert peak < 5000 * n_columns * 4 / 2


def test_frame_with_two_columns_of_one_name():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame([[1, True], [0, False]], columns=["dtype", "dtype"])
    np.testing.assert_array_equal(to_dense(as_csr_rows(frame), 2), [[1, 1], [0, 0]])


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (["x", "y"], "Column 'city' of X cannot be read as numbers: could not convert string to float"),
        (np.array(["2020-01-01", "2020-01-02"], "M8[s]"), r"Column 'city' of X has dtype=datetime64\[s\]"),
        ([1j, 2], "Complex data not supported: Column 'city' of X has dtype=complex128"),
        ([1.0, np.nan], r"X\[1, 1\]=nan \(row 1, column 1\): X contains NaN"),
        ([0.0, -1e300], r"X\[1, 1\]=-1e\+300 \(row 1, column 1\) is beyond the range of float32"),
    ],
)
def test_frame_with_a_bad_column(column, message):
    pd = pytest.importorskip("pandas")
    with pytest.raises(InputError, match=message):
        as_csr_rows(pd.DataFrame({"age": [1, 2], "city": column}))


def test_frame_with_a_missing_value_of_a_nullable_dtype():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"a": [1, 2], "b": pd.array([1, None], dtype="Int64")})
    with pytest.raises(InputError, match=r"X\[1, 1\]=nan \(row 1, column 1\): X contains NaN"):
        as_csr_rows(frame)


def test_read_only_dense_input(tmp_path):
    np.save(tmp_path / "X.npy", DENSE)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    rows = as_csr_rows(mapped)
    assert_output_types(rows)
    np.testing.assert_array_equal(to_dense(rows, 4), DENSE)


def test_memory_for_dense_input_is_the_rows_and_a_few_blocks():
    dense = np.zeros((40_000, 50))
    dense[:, ::10] = 1.5
    result = 40_001 * 8 + 40_000 * 5 * 8
    assert traced_peak(lambda: as_csr_rows(dense)) < result + 3 * 4 * _BLOCK_VALUES < dense.nbytes / 2


def test_a_frame_without_rows():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"a": [1.0], "b": [True]}).iloc[:0]
    with pytest.raises(InputError, match=r"0 sample\(s\) \(shape=\(0, 2\)\)"):
        as_csr_rows(frame)
    assert as_csr_rows(frame, allow_empty=True).n_rows == 0
