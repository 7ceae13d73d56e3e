"""Columns of every type become the right form, whichever library they come from."""

from __future__ import annotations

import datetime
import decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from table_frames import listed

from fastfm_deep.data import values as forms
from fastfm_deep.data.python_values import _BLOCK, read_objects
from fastfm_deep.data.table import as_table
from fastfm_deep.data.values import BOOL, DATE, FLOAT, INT, Categories, Lists, Numbers, Objects, Texts
from fastfm_deep.validation import InputError

VIEWS = [pa.string_view()] if hasattr(pa, "string_view") else []
LIST_VIEW = pa.list_view(pa.string()) if hasattr(pa, "list_view") else None


def read(column):
    return as_table({"a": column}).column("a")


def read_series(series):
    return as_table(pd.DataFrame({"a": series})).column("a")


def check_numbers(values, kind, expected):
    assert isinstance(values, Numbers)
    assert values.kind == kind
    assert values.numbers.dtype == (np.float64 if kind == FLOAT else np.int64)
    assert values.missing is None or values.missing.dtype == bool
    assert listed(values) == expected
    assert values.n == len(expected)


def check_texts(values, expected):
    assert isinstance(values, Texts)
    assert (values.data.dtype, values.offsets.dtype) == (np.uint8, np.int64)
    assert values.missing is None or values.missing.dtype == bool
    assert listed(values) == expected


def check_objects(values, expected):
    assert isinstance(values, Objects)
    assert values.objects.dtype == object
    assert list(values.objects) == expected
    assert [type(value) for value in values.objects] == [type(value) for value in expected]


class TestText:
    @pytest.mark.parametrize("absent", [None, np.nan, float("nan"), pd.NA, pd.NaT, np.float32("nan")])
    @pytest.mark.parametrize("make", [list, tuple, lambda column: np.array(column, object)])
    def test_objects(self, absent, make):
        column = ["ann", "", "żółw", absent, "x\0y", "\0", "😀"]
        values = read(make(column))
        check_texts(values, ["ann", "", "żółw", None, "x\0y", "\0", "😀"])
        assert values.missing.tolist() == [False] * 3 + [True] + [False] * 3
        assert read(make(column[:3])).missing is None

    def test_missing_ones_of_pandas(self):
        check_texts(read_series(pd.Series(["a", pd.NA, None, np.nan], dtype=object)), ["a", None, None, None])

    @pytest.mark.parametrize("n", [_BLOCK - 1, _BLOCK, _BLOCK + 1, 3 * _BLOCK + 7])
    def test_blocks(self, n):
        column = [None if i % 7 == 3 else "é" * (i % 5) + str(i) for i in range(n)]
        check_texts(read(column), column)
        column = ["\0" if i == _BLOCK - 2 else str(i) for i in range(n)]
        check_texts(read(np.array(column, object)), column)
        check_texts(read([None] * n + ["a"]), [None] * n + ["a"])

    @given(st.lists(st.none() | st.text(max_size=5)))
    def test_the_same_as_arrow(self, column):
        if all(value is None for value in column):
            return
        got, expected = read(column), read(pa.array(column, pa.large_string()))
        assert bytes(got.data) == bytes(expected.data)
        assert got.offsets.tolist() == expected.offsets.tolist()
        assert listed(got) == listed(expected) == column

    def test_halves_of_surrogate_pairs(self):
        values = read(["a", "\ud800b", "c\udfff"])
        assert bytes(values.data).decode("utf-8", "surrogatepass") == "a\ud800bc\udfff"
        assert values.offsets.tolist() == [0, 1, 5, 9]

    def test_numpy(self):
        check_texts(read(np.array(["a", "żółw", ""])), ["a", "żółw", ""])
        check_texts(read([np.str_("a"), np.str_("")]), ["a", ""])
        check_objects(read(np.array([b"ab", b"c"])), [b"ab", b"c"])
        if hasattr(np.dtypes, "StringDType"):
            column = np.array(["a", None], np.dtypes.StringDType(na_object=None))
            check_texts(read(column), ["a", None])

    @pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), *VIEWS])
    def test_arrow(self, kind):
        column = pa.array(["ann", None, "", "żółw", "a text of more than twelve bytes"], kind)
        check_texts(read(column), column.to_pylist())
        check_texts(read(column.slice(1, 3)), column.to_pylist()[1:4])
        check_texts(
            read(pa.chunked_array([column, column.slice(3), column.slice(0, 0)])),
            column.to_pylist() + column.to_pylist()[3:],
        )
        check_texts(read(column.slice(2, 0)), [])
        check_texts(read(pa.chunked_array([], kind)), [])


class TestNumbers:
    @pytest.mark.parametrize("dtype", ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", ">i4"])
    def test_integers(self, dtype):
        column = np.array([0, 1, 100], dtype)
        check_numbers(read(column), INT, [0, 1, 100])
        check_numbers(read(column[::-2]), INT, [100, 0])
        check_numbers(read_series(pd.Series(column)), INT, [0, 1, 100])
        if dtype != ">i4":
            arrow = pa.array([0, None, 100], pa.from_numpy_dtype(dtype))
            check_numbers(read(arrow), INT, [0, None, 100])
            check_numbers(read(arrow.slice(1)), INT, [None, 100])
            check_numbers(read(pl.Series(arrow)), INT, [0, None, 100])

    def test_integers_beyond_int64(self):
        big = 2**64 - 1
        check_objects(read(np.array([1, big], np.uint64)), [1, big])
        check_objects(read([1, big, None]), [1, big, None])
        check_objects(read([np.uint64(big)]), [np.uint64(big)])
        check_objects(read([1, -(2**63) - 1]), [1, -(2**63) - 1])
        check_numbers(read([2**63 - 1, -(2**63)]), INT, [2**63 - 1, -(2**63)])
        check_objects(read(pa.array([1, None, big], pa.uint64())), [1, None, big])
        check_objects(read_series(pd.Series([1, None, big], dtype="UInt64")), [1, None, big])
        check_numbers(read(pa.array([1, None, 2**63 - 1], pa.uint64())), INT, [1, None, 2**63 - 1])

    @pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "longdouble", ">f8"])
    def test_floats(self, dtype):
        column = np.array([0.5, np.nan, 2.0], dtype)
        check_numbers(read(column), FLOAT, [0.5, None, 2.0])
        check_numbers(
            read_series(pd.Series(column.astype(column.dtype.newbyteorder("=")))), FLOAT, [0.5, None, 2.0]
        )

    @pytest.mark.parametrize("kind", [pa.float32(), pa.float64(), pa.decimal128(5, 2), pa.decimal256(50, 2)])
    def test_floats_of_arrow(self, kind):
        column = pa.array([0.5, None, 2.0]).cast(kind)
        check_numbers(read(column), FLOAT, [0.5, None, 2.0])
        check_numbers(read(column.slice(1)), FLOAT, [None, 2.0])

    def test_half_floats_of_arrow(self):
        column = pa.array([np.float16(0.5), None, np.float16(2)], pa.float16())
        check_numbers(read(column.slice(1)), FLOAT, [None, 2.0])

    def test_shared_floats(self):
        column = np.array([0.5, 1.0])
        assert np.shares_memory(read(column).numbers, column)

    def test_booleans(self):
        check_numbers(read(np.array([True, False])), BOOL, [True, False])
        column = pa.array([True, None, False] * 7)
        check_numbers(read(column), BOOL, column.to_pylist())
        check_numbers(read(column.slice(9, 5)), BOOL, column.to_pylist()[9:14])
        check_numbers(read(pa.chunked_array([column, column.slice(3)])), BOOL, (column.to_pylist() * 2)[:39])

    def test_python_objects(self):
        check_numbers(read([1, None, 3]), INT, [1, None, 3])
        check_numbers(read([1, np.nan, pd.NA, np.int8(3)]), INT, [1, None, None, 3])
        check_numbers(read([0.5, None, np.float32(2)]), FLOAT, [0.5, None, 2.0])
        check_numbers(read([True, None, np.bool_(False)]), BOOL, [True, None, False])
        check_numbers(read([None, np.nan, pd.NA]), FLOAT, [None, None, None])
        check_numbers(read([]), FLOAT, [])
        check_numbers(read(pa.nulls(3)), FLOAT, [None] * 3)

    def test_nullable_numbers_of_pandas(self):
        check_numbers(read_series(pd.Series([1, None, 3], dtype="Int16")), INT, [1, None, 3])
        check_numbers(read_series(pd.Series([0.5, None], dtype="Float32")), FLOAT, [0.5, None])
        check_numbers(read_series(pd.Series([True, None], dtype="boolean")), BOOL, [True, None])
        assert read_series(pd.Series([1, 3], dtype="Int64")).missing is None

    def test_sparse_numbers_of_pandas(self):
        check_numbers(read_series(pd.Series([0.0, 2.0], dtype=pd.SparseDtype(float, 0.0))), FLOAT, [0.0, 2.0])

    def test_masked_arrays(self):
        check_numbers(read(np.ma.array([1, 2], mask=[False, True])), INT, [1, None])
        check_texts(read(np.ma.array(["a", "b"], mask=[False, True])), ["a", None])


class TestMixtures:
    @pytest.mark.parametrize(
        "column",
        [
            [1, 2.5],
            [1, True],
            ["a", 1, None],
            ["a", b"a"],
            [decimal.Decimal("0.5"), None],
            [datetime.date(2024, 1, 1), None],
            [pd.Timestamp("2024-01-01"), pd.NaT],
            ["a", 0.5, np.nan],
        ],
        ids=str,
    )
    def test_stay_objects(self, column):
        values = read(column)
        assert isinstance(values, Objects)
        assert all(got is given for got, given in zip(values.objects, column, strict=True))

    def test_bytes_of_arrow(self):
        for kind in (pa.binary(), pa.large_binary(), pa.binary(2)):
            check_objects(read(pa.array([b"ab", None], kind)), [b"ab", None])

    def test_objects_of_polars(self):
        check_objects(read(pl.Series([1, "a"], dtype=pl.Object)), [1, "a"])


US = {"s": 10**6, "ms": 10**3, "us": 1}


class TestTimes:
    def test_dates(self):
        expected = [0, None, 19_723]
        check_numbers(read(np.array([0, "NaT", 19_723], "M8[D]")), DATE, expected)
        check_numbers(read(np.array(["1970-01", "NaT", "2024-01"], "M8[M]")), DATE, expected)
        days = [datetime.date(1970, 1, 1), None, datetime.date(2024, 1, 1)]
        for kind in (pa.date32(), pa.date64()):
            check_numbers(read(pa.array(days, kind)), DATE, expected)
        check_numbers(read(pl.Series(days)), DATE, expected)

    @pytest.mark.parametrize("unit", ["s", "ms", "us"])
    def test_microseconds(self, unit):
        expected = [3 * US[unit], None, -7 * US[unit]]
        column = np.array([3, "NaT", -7], f"M8[{unit}]")
        check_numbers(read(column), forms.DATETIME, expected)
        check_numbers(read_series(pd.Series(column)), forms.DATETIME, expected)
        utc = pd.Series(column).dt.tz_localize("UTC").dt.tz_convert("Asia/Tokyo")
        check_numbers(read_series(utc), forms.DATETIME_UTC, expected)
        arrow = pa.array([3, None, -7], pa.timestamp(unit))
        check_numbers(read(arrow), forms.DATETIME, expected)
        check_numbers(read(arrow.cast(pa.timestamp(unit, "Asia/Tokyo"))), forms.DATETIME_UTC, expected)

    def test_other_units(self):
        check_numbers(read(np.array([2], "M8[h]")), forms.DATETIME, [7_200_000_000])
        check_numbers(read(np.array([2], "M8[30m]")), forms.DATETIME, [3_600_000_000])
        check_numbers(read(np.array([2_000], "M8[25ns]")), forms.DATETIME, [50])

    def test_nanoseconds(self):
        column = np.array([3, "NaT"], "M8[ns]")
        check_numbers(read(column), forms.DATETIME_NS, [3, None])
        check_numbers(read_series(pd.Series(column)), forms.DATETIME_NS, [3, None])
        check_numbers(read_series(pd.Series(column).dt.tz_localize("UTC")), forms.DATETIME_NS_UTC, [3, None])
        check_numbers(read(pa.array(column)), forms.DATETIME_NS, [3, None])
        check_numbers(read(pa.array([3, None], pa.timestamp("ns", "UTC"))), forms.DATETIME_NS_UTC, [3, None])

    def test_beyond_microseconds(self):
        for column in (np.array([0, 10**13], "M8[s]"), pa.array([0, 10**13], pa.timestamp("s"))):
            with pytest.raises(
                InputError, match=r"^Column 'a', row 1: this datetime, in units of 1 seconds, lies bey"
            ):
                read(column)


class TestCategories:
    def test_pandas(self):
        values = read_series(pd.Series(["b", None, "a", "b"], dtype="category"))
        assert isinstance(values, Categories)
        assert values.codes.tolist() == [1, -1, 0, 1]
        check_texts(values.values, ["a", "b"])
        numbers = read_series(pd.Series([7, 3, 7]).astype("category"))
        check_numbers(numbers.values, INT, [3, 7])
        mixed = read_series(pd.Series(pd.Categorical([1, "a", None], categories=[1, "a"])))
        check_objects(mixed.values, [1, "a"])

    def test_arrow(self):
        column = pa.array(["b", None, "a", "b"]).dictionary_encode()
        for values in (read(column), read(pa.chunked_array([column.slice(0, 1), column.slice(1)]))):
            assert isinstance(values, Categories)
            assert listed(values) == ["b", None, "a", "b"]
            assert values.codes.dtype == np.int32
        assert listed(read(column.slice(2))) == ["a", "b"]

    def test_chunks_of_different_dictionaries(self):
        chunks = [pa.array(["a", "b"]).dictionary_encode(), pa.array(["c", None, "b"]).dictionary_encode()]
        assert listed(read(pa.chunked_array(chunks))) == ["a", "b", "c", None, "b"]

    def test_missing_categories(self):
        column = pa.DictionaryArray.from_arrays(pa.array([0, 1, None], pa.uint8()), pa.array([None, "a"]))
        values = read(column)
        assert values.codes.tolist() == [-1, 1, -1]
        column = pa.DictionaryArray.from_arrays(pa.array([0, 1, 0]), pa.array([float("nan"), 0.5]))
        assert read(column).codes.tolist() == [-1, 1, -1]

    def test_polars(self):
        for kind in (pl.Categorical, pl.Enum(["a", "b"])):
            assert listed(read(pl.Series(["b", None, "a"], dtype=kind))) == ["b", None, "a"]


class TestLists:
    COLUMN = (["a", "b"], [], None, ["c", None])

    @pytest.mark.parametrize(
        "make",
        [
            list,
            lambda column: np.array([*column, 0], object)[:-1],
            pa.array,
            lambda column: pa.array(column, pa.large_list(pa.string())),
            lambda column: pa.array(column, LIST_VIEW),
            lambda column: pa.array(column, pa.list_(pa.large_string())),
            lambda column: pa.chunked_array([pa.array(column[:1]), pa.array(column[1:])]),
            lambda column: pa.array([["z"], *column]).slice(1),
            lambda column: pl.Series(column),
            lambda column: pd.Series(column),
            lambda column: pd.Series(column, dtype=pd.ArrowDtype(pa.list_(pa.string()))),
            lambda column: pd.Series([None if cell is None else np.array(cell, object) for cell in column]),
            lambda column: [None if cell is None else tuple(cell) for cell in column],
        ],
    )
    def test_of_text(self, make):
        values = read(make(list(self.COLUMN)))
        assert isinstance(values, Lists)
        assert values.offsets.tolist() == [0, 2, 2, 2, 4]
        assert values.offsets.dtype == np.int64
        assert values.missing.tolist() == [False, False, True, False]
        check_texts(values.items, ["a", "b", "c", None])

    def test_of_numbers(self):
        for column in ([[1, 2], [3]], [np.array([1, 2]), np.array([3])], pa.array([[1, 2], [3]])):
            values = read(column)
            check_numbers(values.items, INT, [1, 2, 3])
            assert values.missing is None
        values = read(np.array([[1, 2], [3, 4]]))
        assert values.offsets.tolist() == [0, 2, 4]
        check_numbers(values.items, INT, [1, 2, 3, 4])

    def test_of_fixed_size(self):
        column = pa.array([[1, 2], None, [3, 4]], pa.list_(pa.int64(), 2))
        values = read(column)
        assert values.offsets.tolist() == [0, 2, 2, 4]
        check_numbers(values.items, INT, [1, 2, 3, 4])
        check_numbers(read(column.slice(2)).items, INT, [3, 4])

    def test_items_behind_a_missing_row(self):
        column = pa.ListArray.from_arrays(
            pa.array([0, 1, 3, 4]), pa.array([1, 2, 3, 4]), mask=pa.array([False, True, False])
        )
        values = read(column)
        assert values.offsets.tolist() == [0, 1, 1, 2]
        check_numbers(values.items, INT, [1, 4])

    def test_of_categories(self):
        column = pa.array([["a", "b"], ["a"]], pa.list_(pa.dictionary(pa.int32(), pa.string())))
        assert isinstance(read(column).items, Categories)

    def test_empty_ones(self):
        values = read([[], None, []])
        assert values.offsets.tolist() == [0, 0, 0, 0]
        assert values.items.n == 0


class TestSharedTexts:
    """Long columns of few text objects are told apart by these objects."""

    def strings(self, values: Categories | Texts) -> list:
        if isinstance(values, Texts):
            content = values.data.tobytes()
            missing = np.zeros(values.n, bool) if values.missing is None else values.missing
            spans = zip(values.offsets[:-1], values.offsets[1:], missing, strict=True)
            return [None if gone else content[a:b].decode() for a, b, gone in spans]
        pool = self.strings(values.values)
        return [None if code < 0 else pool[code] for code in values.codes]

    @pytest.mark.parametrize("absent", [None, float("nan"), pd.NA])
    def test_the_same_strings(self, absent):
        pool = np.array(["a", "", "ümlaut", "a" * 300, absent, "".join(["a", "b"]), "".join(["a", "b"])], object)
        column = pool[np.random.default_rng(0).integers(0, len(pool), 20_000)]
        for array in (column, column[::-1], column[5:]):
            values = read_objects(array, "c")
            assert isinstance(values, Categories)
            assert values.values.missing is None
            assert self.strings(values) == [value if isinstance(value, str) else None for value in array]

    def test_only_where_there_are_few(self):
        distinct = np.array([f"{number}" for number in range(20_000)], object)
        assert isinstance(read_objects(distinct, "c"), Texts)
        assert isinstance(read_objects(np.array(["x", "y"] * 10, object), "c"), Texts)

    def test_other_objects_are_read_as_ever(self):
        for pool in (["a", 1], [1, 2], [None, None], [1.5, None], [b"a", "b"]):
            column = np.array(pool, object)[np.random.default_rng(0).integers(0, 2, 20_000)]
            values, few = read_objects(column, "c"), read_objects(column[:50], "c")
            assert type(values) is type(few)
            assert values.n == 20_000

    def test_of_a_frame(self):
        column = np.array(["a", "b", None], object)[np.random.default_rng(0).integers(0, 3, 20_000)]
        frame = pd.DataFrame({"x": pd.Series(column, dtype=object), "y": pd.Series(column[::-1], dtype=object)})
        assert self.strings(as_table(frame).column("y")) == list(column[::-1])
