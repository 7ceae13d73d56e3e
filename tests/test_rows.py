"""The gate of the rows: one test for each sentence of its contract."""

from __future__ import annotations

import copy

import joblib
import numba
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from row_tools import DENSE, FORMATS, assert_output_types, raw_csr, to_dense, traced_peak
from strategies import csr_rows

from fastfm_deep.data.rows import as_csr_rows
from fastfm_deep.kernels.row_checks import check_rows, first_nonfinite, pack_rows


@settings(deadline=None, max_examples=150)
@given(X=csr_rows())
def test_rows_mean_what_toarray_means(X):
    rows = as_csr_rows(X)
    assert_output_types(rows)
    expected = X.toarray().astype(np.float32)
    np.testing.assert_array_equal(to_dense(rows, X.shape[1]), expected)


@settings(deadline=None, max_examples=60)
@given(X=csr_rows(), target=st.sampled_from(FORMATS), as_array=st.booleans())
def test_every_sparse_format_gives_the_same_rows(X, target, as_array):
    expected = X.toarray().astype(np.float32)
    other = getattr(sp, f"{target}_{'array' if as_array else 'matrix'}")(X.copy())
    rows = as_csr_rows(other)
    assert_output_types(rows)
    np.testing.assert_array_equal(to_dense(rows, X.shape[1]), expected)


def test_repeated_float16_columns_are_summed():
    X = raw_csr([0, 2], [1, 1], [1.5, 2], (1, 3), dtype=np.float16)
    np.testing.assert_array_equal(to_dense(as_csr_rows(X), 3), [[0, 3.5, 0]])


@pytest.mark.parametrize("dtype", [np.int8, np.uint16, np.uint32, np.uint64])
def test_odd_index_dtypes_become_int32_or_int64(dtype):
    X = raw_csr([0, 1, 3], [1, 2, 0], [1, 2, 3], (2, 3), index_dtype=dtype)
    rows = as_csr_rows(X)
    assert_output_types(rows)
    np.testing.assert_array_equal(to_dense(rows, 3), [[0, 1, 0], [3, 0, 2]])


def test_ids_beyond_the_floats_are_kept():
    big = 2**53 + 1
    X = raw_csr([0, 2], [big, 0], [1, 2], (1, 2**60), index_dtype=np.int64)
    assert as_csr_rows(X).indices.tolist() == [big, 0]
    X = raw_csr([0, 2], [2**32 - 1, 0], [1, 2], (1, 2**32), index_dtype=np.uint32)
    assert as_csr_rows(X).indices.tolist() == [2**32 - 1, 0]


def test_explicit_zeros_stay():
    X = raw_csr([0, 2], [1, 0], [0, 2], (1, 3))
    rows = as_csr_rows(X)
    assert rows.values.tolist() == [0, 2]


def test_unused_tail_of_the_arrays_is_cut():
    X = raw_csr([0, 1, 2], [1, 0, 99, -5], [1, 2, np.nan, np.inf], (2, 3))
    rows = as_csr_rows(X)
    assert rows.indices.tolist() == [1, 0]
    assert rows.values.tolist() == [1, 2]
    assert np.shares_memory(rows.values, X.data)


def test_rows_are_taken_by_compiled_code():
    if numba.config.DISABLE_JIT:
        pytest.skip("there is no compiled code under NUMBA_DISABLE_JIT=1")
    count = numba.njit(lambda rows: len(rows.indptr) - 1 + len(rows.values))
    assert count(as_csr_rows(DENSE)) == 3 + 5


@pytest.mark.parametrize("container", [sp.csr_matrix, sp.csr_array])
@pytest.mark.parametrize("index_dtype", [np.int32, np.int64])
def test_columns_and_values_share_memory(container, index_dtype):
    X = raw_csr([0, 2, 3], [2, 0, 1], [1, 2, 3], (2, 3), container, index_dtype=index_dtype)
    rows = as_csr_rows(X)
    assert rows.indices.dtype == index_dtype
    assert np.shares_memory(rows.indices, X.indices)
    assert np.shares_memory(rows.values, X.data)
    assert X.data.flags.writeable
    assert X.indices.flags.writeable
    assert X.indptr.flags.writeable


def test_rows_are_not_sorted():
    X = raw_csr([0, 3], [2, 0, 1], [1, 2, 3], (1, 3))
    rows = as_csr_rows(X)
    assert rows.indices.tolist() == [2, 0, 1]
    assert rows.values.tolist() == [1, 2, 3]


def state(X):
    """Everything SciPy keeps in a matrix, cached flags included."""
    return {name: copy.deepcopy(value) for name, value in vars(X).items()}


def assert_same_state(before, after):
    assert before.keys() == after.keys()
    for name, value in before.items():
        if isinstance(value, tuple) and any(isinstance(part, np.ndarray) for part in value):  # coords of coo
            assert_same_state(dict(enumerate(value)), dict(enumerate(after[name])))
        elif not isinstance(value, np.ndarray):
            assert type(value) is type(after[name]), name
            assert value == after[name], name
        elif value.dtype == object:
            assert value.tolist() == after[name].tolist(), name
        else:
            assert value.dtype == after[name].dtype, name
            assert value.tobytes() == after[name].tobytes(), name
            assert value.flags.writeable == after[name].flags.writeable, name


@settings(deadline=None, max_examples=120)
@given(X=csr_rows(), target=st.sampled_from(FORMATS))
def test_x_is_never_changed(X, target):
    if target != "csr":
        X = getattr(sp, f"{target}_array")(X.copy())
    arrays = [value for value in vars(X).values() if isinstance(value, np.ndarray)]
    before = state(X)
    as_csr_rows(X)
    assert_same_state(before, state(X))
    assert [id(value) for value in vars(X).values() if isinstance(value, np.ndarray)] == list(map(id, arrays))


@settings(deadline=None, max_examples=30)
@given(X=csr_rows(containers=(sp.csr_array,)))
def test_coo_with_repeated_entries_is_not_changed(X):
    rows = np.repeat(np.arange(X.shape[0]), np.diff(X.indptr))
    coo = sp.coo_array((X.data, (rows, X.indices)), shape=X.shape)
    before = state(coo)
    got = as_csr_rows(coo)
    assert_same_state(before, state(coo))
    np.testing.assert_array_equal(to_dense(got, X.shape[1]), X.toarray().astype(np.float32))


def test_repeated_columns_are_summed_in_a_copy():
    X = raw_csr([0, 3, 4], [2, 0, 2], [1, 2, 4], (2, 3))
    X.indices, X.data = np.append(X.indices, np.int32(1)), np.append(X.data, np.float32(8))
    before = state(X)
    rows = as_csr_rows(X)
    np.testing.assert_array_equal(to_dense(rows, 3), [[2, 0, 5], [0, 8, 0]])
    assert_same_state(before, state(X))
    assert not np.shares_memory(rows.values, X.data)


def test_a_wrong_flag_of_scipy_is_not_believed():
    X = raw_csr([0, 2], [1, 1], [1, 2], (1, 3))
    X.has_canonical_format = True
    np.testing.assert_array_equal(to_dense(as_csr_rows(X), 3), [[0, 3, 0]])


@pytest.mark.parametrize("length", [2, 3, 39, 511, 513, 5000])
@pytest.mark.parametrize("index_dtype", [np.int32, np.int64])
def test_repeated_columns_are_found_at_any_length(length, index_dtype):
    ids = np.random.default_rng(length).permutation(10 * length)[:length].astype(index_dtype) * 1024
    ids[:2] = ids[:2].max(), ids[:2].min()
    n_columns = 10 * length * 1024
    rows = np.concatenate([ids[:2], ids, ids])  # rows before and after, of which nothing may be left over
    indptr = np.array([0, 2, 2 + length, 2 + 2 * length])
    assert tuple(check_rows(indptr, rows, n_columns)) == (0, -1, -1, False)
    for twin in (0, length // 2 - 1):
        again = rows.copy()
        again[-1] = again[2 + length + twin]
        assert tuple(check_rows(indptr, again, n_columns)) == (0, -1, -1, True)


def test_memory_mapped_input_gives_the_same_types_and_shares_memory(tmp_path):
    X = raw_csr([0, 2, 3], [2, 0, 1], [1, 2, 3], (2, 3))
    joblib.dump(X, tmp_path / "X.joblib")
    mapped = joblib.load(tmp_path / "X.joblib", mmap_mode="r")
    assert isinstance(mapped.data, np.memmap)
    assert not mapped.data.flags.writeable
    rows = as_csr_rows(mapped)
    assert_output_types(rows)
    assert np.shares_memory(rows.values, mapped.data)
    assert np.shares_memory(rows.indices, mapped.indices)
    for got, expected in zip(rows, as_csr_rows(X), strict=True):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("target", ["csr", "csc", "coo", "bsr", "dia"])
def test_read_only_repeated_entries(target):
    X = sp.csr_array(DENSE)
    if target == "csr":
        X = raw_csr([0, 2], [1, 1], [1, 2], (1, 4))
    X = X.asformat(target)
    for value in vars(X).values():
        if isinstance(value, np.ndarray):
            value.flags.writeable = False
    np.testing.assert_array_equal(to_dense(as_csr_rows(X), 4), X.toarray())


def test_kernels_compile_once_for_all_inputs(tmp_path):
    if numba.config.DISABLE_JIT:
        pytest.skip("nothing is compiled under NUMBA_DISABLE_JIT=1")
    X = raw_csr([0, 2, 3], [2, 0, 1], [1, 2, 3], (2, 3))
    X64 = raw_csr([0, 2, 3], [2, 0, 1], [1, 2, 3], (2, 3), index_dtype=np.int64)
    as_csr_rows(X)
    as_csr_rows(X64)
    as_csr_rows(X.toarray())
    kernels = check_rows, first_nonfinite, pack_rows
    known = [len(kernel.signatures) for kernel in kernels]
    joblib.dump(X, tmp_path / "X.joblib")
    as_csr_rows(joblib.load(tmp_path / "X.joblib", mmap_mode="r"))
    for other in (X.astype(np.float64), X.astype(bool), X.tocsc(), X.toarray(), X.toarray(order="F")):
        as_csr_rows(other)
    X64.data.flags.writeable = X64.indices.flags.writeable = False
    as_csr_rows(X64)
    assert [len(kernel.signatures) for kernel in kernels] == known


@pytest.mark.parametrize("kind", ["big-endian", "unaligned", "strided"])
def test_arrays_in_other_layouts_are_converted(kind):
    def odd(array):
        if kind == "big-endian":
            return array.astype(array.dtype.newbyteorder(">"))
        if kind == "strided":
            return np.repeat(array, 2)[::2]
        raw = np.zeros(array.nbytes + 1, np.uint8)
        raw[1:] = np.frombuffer(array.tobytes(), np.uint8)
        return raw[1:].view(array.dtype)

    for columns in ([2, 0, 1], [2, 0, 0]):  # also where columns repeat
        X = raw_csr([0, 1, 3], columns, [1, 2, 3], (2, 3))
        expected = X.toarray()
        X.indptr, X.indices, X.data = odd(X.indptr), odd(X.indices), odd(X.data)
        rows = as_csr_rows(X)
        assert_output_types(rows)
        np.testing.assert_array_equal(to_dense(rows, 3), expected)
    np.testing.assert_array_equal(to_dense(as_csr_rows(odd(DENSE.ravel()).reshape(3, 4)), 4), DENSE)


@pytest.fixture(scope="module")
def wide_rows():
    n_rows, n_entries = 2000, 100
    columns = (np.arange(n_entries) * 10)[None, :] + np.arange(n_rows)[:, None] % 10
    columns[::2] = columns[::2, ::-1]  # half of the rows fall instead of rising
    return raw_csr(np.arange(n_rows + 1) * n_entries, columns.ravel(), np.ones(columns.size), (n_rows, 10**7))


def test_memory_beyond_float32_csr_is_the_pointers(wide_rows):
    assert traced_peak(lambda: as_csr_rows(wide_rows)) < 8 * len(wide_rows.indptr) + 30_000


def test_memory_beyond_float64_csr_is_one_copy_of_the_values(wide_rows):
    X = wide_rows.astype(np.float64)
    assert traced_peak(lambda: as_csr_rows(X)) < 4 * X.nnz + 8 * len(X.indptr) + 30_000
