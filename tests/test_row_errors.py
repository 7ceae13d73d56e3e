"""What the gate of the rows refuses, and in which words."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from row_tools import DENSE, FORMATS, assert_output_types, raw_csr, to_dense

from fastfm_deep.data.rows import as_csr_rows
from fastfm_deep.kernels.row_checks import first_nonfinite
from fastfm_deep.validation import InputError, InputTypeError


def bad_values(value):
    """The same bad value at row 2, column 1, in every kind of input."""
    dense = np.array([[0, 1, 0], [0, 0, 0], [5, value, 0]])
    yield dense
    yield dense.tolist()
    yield dense.astype(object)
    yield raw_csr([0, 1, 1, 3], [1, 0, 1], [1, 5, value], (3, 3), dtype=np.float64)
    yield raw_csr([0, 1, 1, 4], [1, 0, 0, 1], [1, 2, 3, value], (3, 3), dtype=np.float64)
    for name in FORMATS:
        yield getattr(sp, f"{name}_array")(dense)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.nan, r"X\[2, 1\]=nan \(row 2, column 1\): X contains NaN\. Fill in"),
        (np.inf, r"X\[2, 1\]=inf \(row 2, column 1\): X contains infinity\. Replace"),
        (-np.inf, r"X\[2, 1\]=-inf \(row 2, column 1\): X contains infinity\. Replace"),
        (
            1e39,
            r"X\[2, 1\]=1e\+39 \(row 2, column 1\) is beyond the range of float32, \+-3\.4028235e\+38, in "
            r"which rows are kept; scale column 1 down",
        ),
    ],
)
def test_values_that_are_not_finite_in_float32(value, message):
    for X in bad_values(value):
        with pytest.raises(InputError, match=message):
            as_csr_rows(X)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.longdouble])
@pytest.mark.parametrize(("value", "word"), [(np.nan, "NaN"), (np.inf, "infinity")])
def test_other_float_dtypes_with_values_that_are_not_finite(dtype, value, word):
    with pytest.raises(InputError, match=rf"X\[0, 1\]={value} \(row 0, column 1\): X contains {word}"):
        as_csr_rows(np.array([[0, value]], dtype))


def test_the_extremes_of_float32_pass():
    largest = float(np.finfo(np.float32).max)
    smallest = float(np.finfo(np.float32).smallest_subnormal)
    dense = np.array([[largest, -largest, smallest, 1e-60]])
    with np.errstate(all="raise"):
        rows = as_csr_rows(dense)
    assert rows.values[:3].tolist() == [largest, -largest, smallest]


def test_repeated_columns_whose_sum_is_too_large():
    X = raw_csr([0, 2], [1, 1], [3e38, 3e38], (1, 3), dtype=np.float64)
    with pytest.raises(InputError, match=r"X\[0, 1\]=6e\+38 \(row 0, column 1\) is beyond the range"):
        as_csr_rows(X)


@pytest.mark.parametrize("at", [0, 16383, 16384, 19_999])
def test_a_value_that_is_not_finite_is_found_in_any_place(at):
    values = np.full(20_000, -1.5, np.float32)
    assert first_nonfinite(values.view(np.uint32)) == -1
    values[at:] = -np.inf
    assert first_nonfinite(values.view(np.uint32)) == at


@pytest.mark.parametrize("container", [sp.csr_matrix, sp.csr_array])
@pytest.mark.parametrize(
    ("indptr", "message"),
    [
        (
            [0, 3, 1, 3],
            r"damaged csr matrix: X.indptr\[2\]=1 after X.indptr\[1\]=3, but pointers must never fall",
        ),
        ([0, 1, 2, 9], r"X.indptr\[3\]=9 after X.indptr\[2\]=2, .* nor lead beyond the 3 stored values"),
        ([0, 2**31 - 1, 2, 3], r"X.indptr\[1\]=2147483647 after X.indptr\[0\]=0"),
        ([0, -1, 2, 3], r"X.indptr\[1\]=-1 after X.indptr\[0\]=0"),
        ([1, 1, 2, 3], r"X.indptr\[0\]=1 must be 0"),
        ([-1, 1, 2, 3], r"X.indptr\[0\]=-1 must be 0"),
        ([0, 1, 3], "X.indptr has 3 entries, not one more than the 3 rows"),
        ([0, 1, 1, 1, 3], "X.indptr has 5 entries, not one more than the 3 rows"),
        ([], "X.indptr has 0 entries"),
    ],
)
def test_damaged_pointers(container, indptr, message):
    X = raw_csr(indptr, [0, 1, 0], [1, 2, 3], (3, 2), container)
    with pytest.raises(InputError, match=message):
        as_csr_rows(X)


@pytest.mark.parametrize("index_dtype", [np.int32, np.int64])
@pytest.mark.parametrize("bad", [-1, 5, 2**31 - 1, -(2**31)])
@pytest.mark.parametrize("columns", [[0, 4, "bad"], ["bad", 0, 4], [4, 0, "bad"], [4, "bad", 0]])
def test_columns_out_of_range(columns, bad, index_dtype):
    at = 1 + columns.index("bad")
    columns = [bad if column == "bad" else column for column in columns]
    X = raw_csr([0, 1, 1, 4], [3, *columns], np.ones(4), (3, 5), index_dtype=index_dtype)
    message = rf"X.indices\[{at}\]={bad} \(row 2\) must lie in 0 \.\. 4, as the shape of X says"
    with pytest.raises(InputError, match=message):
        as_csr_rows(X)


def test_pointers_and_columns_that_are_no_integers():
    X = raw_csr([0, 1], [0], [1], (1, 2))
    X.indices = X.indices.astype(np.float64)
    with pytest.raises(InputError, match=r"X.indices has shape=\(1,\) and dtype=float64"):
        as_csr_rows(X)
    X.indptr = X.indptr.astype(np.float64)
    with pytest.raises(InputError, match=r"X.indptr has shape=\(2,\) and dtype=float64"):
        as_csr_rows(X)


def test_values_shorter_than_columns():
    X = raw_csr([0, 3], [0, 1, 2], [1, 2], (1, 3))
    with pytest.raises(InputError, match=r"beyond the 2 stored values"):
        as_csr_rows(X)
    X.data = np.ones((3, 1), np.float32)
    with pytest.raises(InputError, match=r"X.data has shape=\(3, 1\)"):
        as_csr_rows(X)


def damaged(name):
    X = getattr(sp, f"{name.split()[0]}_array")(np.eye(4, dtype=np.float32))
    if name == "csc index":
        X.indices[1] = 4
    elif name == "csc pointer":
        X.indptr[2] = 2**30
    elif name == "bsr index":
        X = sp.bsr_array(np.eye(4), blocksize=(2, 2))
        X.indices[1] = 2
    elif name == "bsr pointer":
        X.indptr[1] = 2**30
    elif name == "coo row":
        X.row[2] = 4
    elif name == "coo column":
        X.col[2] = -1
    elif name == "coo length":
        X.data = X.data[:2]
    elif name == "lil column":
        X.rows[1] = [4]
    elif name == "lil length":
        X.data[1] = [1.0] * 50
    elif name == "dok key":
        dict.__setitem__(getattr(X, "_dict", X), (0, 4), 1.0)  # SciPy < 1.13: X is the dict
    else:
        X.offsets = np.array([0, 1, 2], np.int32)
    return X


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("csc index", r"X.indices\[1\]=4 \(column 1\) must lie in 0 \.\. 3"),
        ("csc pointer", r"damaged csc matrix: X.indptr\[2\]=1073741824 after X.indptr\[1\]=1"),
        ("bsr index", r"X.indices\[1\]=2 \(block row 1\) must lie in 0 \.\. 1"),
        ("bsr pointer", r"damaged bsr matrix: X.indptr\[1\]=1073741824 after X.indptr\[0\]=0"),
        ("coo row", r"X.row\[2\]=4 must lie in 0 \.\. 3"),
        ("coo column", r"X.col\[2\]=-1 must lie in 0 \.\. 3"),
        ("coo length", r"damaged coo matrix: X.row has 4 of 2 entries"),
        ("lil column", r"X.indices\[1\]=4 \(row 1\) must lie in 0 \.\. 3"),
        ("lil length", "damaged lil matrix: X.rows and X.data differ in the lengths of their rows"),
        ("dok key", "damaged dok matrix: .*index"),
        ("dia length", "damaged dia matrix: X.data and X.offsets differ in length"),
    ],
)
def test_other_formats_that_are_damaged(name, message):
    with pytest.raises(InputError, match=message):
        as_csr_rows(damaged(name))


def test_arrays_of_other_dimensions():
    one_dimensional = [np.ones(3), [1.0, 2.0]]
    if sp.coo_array(np.ones(3)).ndim == 1:  # SciPy >= 1.13
        one_dimensional.append(sp.coo_array(np.ones(3)))
    for X in one_dimensional:
        with pytest.raises(InputError, match=r"(?s)Expected 2D array, got 1D array instead:.*Reshape your data"):
            as_csr_rows(X)
    with pytest.raises(InputError, match=r"(?s)Expected 2D array, got scalar array instead:.*array=x\.txt"):
        as_csr_rows("x.txt")
    with pytest.raises(InputError, match=r"Found array with dim 3, while dim <= 2 is required"):
        as_csr_rows(np.ones((2, 2, 2)))


@pytest.mark.parametrize("container", [np.asarray, sp.csr_array, sp.csc_matrix, sp.dok_array])
def test_empty_matrices(container):
    with pytest.raises(InputError) as error:
        as_csr_rows(container(np.empty((0, 3))))
    expected = "Found array with 0 sample(s) (shape=(0, 3)) while a minimum of 1 is required."
    assert str(error.value) == expected
    with pytest.raises(InputError) as error:
        as_csr_rows(container(np.empty((5, 0))), allow_empty=True)
    expected = "Found array with 0 feature(s) (shape=(5, 0)) while a minimum of 1 is required."
    assert str(error.value) == expected


@pytest.mark.parametrize("container", [np.asarray, *(getattr(sp, f"{name}_array") for name in FORMATS)])
def test_a_matrix_without_rows_on_request(container):
    rows = as_csr_rows(container(np.empty((0, 3))), allow_empty=True)
    assert_output_types(rows)
    assert rows.n_rows == 0
    assert rows.indptr.tolist() == [0]


def test_a_matrix_without_entries():
    rows = as_csr_rows(sp.csr_array((2, 3)))
    assert_output_types(rows)
    assert rows.indptr.tolist() == [0, 0, 0]


def test_a_matrix_wider_than_the_model():
    message = "X has 4 features, but the model is expecting 3 features as input"
    for X in (DENSE, sp.csr_array(DENSE), sp.coo_array(DENSE)):
        with pytest.raises(InputError, match=message):
            as_csr_rows(X, n_features=3)
        assert as_csr_rows(X, n_features=4).n_rows == as_csr_rows(X, n_features=9).n_rows == 3


@pytest.mark.parametrize("container", [np.asarray, sp.csr_array, sp.coo_array, np.ndarray.tolist])
def test_complex_numbers(container):
    with pytest.raises(InputError, match=r"Complex data not supported: X has dtype=complex128; pass real"):
        as_csr_rows(container(DENSE.astype(np.complex128) + 1j))


def test_things_that_are_no_numbers():
    with pytest.raises(InputError, match=r"X has dtype=<U1, but must hold numbers. Turn text"):
        as_csr_rows([["a", "b"]])
    with pytest.raises(InputError, match=r"X has dtype=datetime64\[D\], but must hold numbers"):
        as_csr_rows(np.array([["2020-01-01"]], "M8[D]"))
    with pytest.raises(InputError, match=r"X cannot be read as numbers: could not convert string to float: 'a'"):
        as_csr_rows(np.array([["a", 1]], object))
    with pytest.raises(InputError, match=r"X cannot be read as numbers: .*too large to convert to float"):
        as_csr_rows([[10**400, 1]])
    with pytest.raises(InputError, match=r"X cannot be read as numbers: .*inhomogeneous"):
        as_csr_rows([[1, 2], [3]])


def test_objects_raise_a_type_error_in_the_words_scikit_learn_wants():
    with pytest.raises(TypeError, match=r"argument must be .* string.* number") as error:
        as_csr_rows(np.array([[{"foo": "bar"}, 1]], object))
    assert isinstance(error.value, InputTypeError)
    assert isinstance(error.value, InputError)


def test_sparse_matrices_of_objects():
    X = raw_csr([0, 2], [0, 0], np.array([1, 2.5], object), (1, 2), dtype=object)
    np.testing.assert_array_equal(to_dense(as_csr_rows(X), 2), [[3.5, 0]])
    X.data[0] = "a"
    with pytest.raises(InputError, match=r"X cannot be read as numbers: could not convert string"):
        as_csr_rows(X)
    X = sp.csc_array((1, 2))
    X.data = X.data.astype(object)
    with pytest.raises(InputError, match=r"X has dtype=object, but must hold numbers"):
        as_csr_rows(X)
