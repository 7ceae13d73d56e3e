"""Tables of every kind read the same, rows of them can be picked, and what is none is told so."""

from __future__ import annotations

import pathlib
import subprocess
import sys

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse
from table_frames import CONTENT, FILE_NAMES, MAKERS, N_ROWS, Exported, listed, write_file

from fastfm_deep.data.table import Table, as_table, is_table
from fastfm_deep.validation import InputError, InputTypeError

KINDS = sorted(MAKERS)


def check_content(table, start=0, stop=N_ROWS):
    assert table.names == tuple(CONTENT)
    assert table.n_rows == len(table) == stop - start
    for name, expected in CONTENT.items():
        assert listed(table.column(name)) == expected[start:stop]


@pytest.mark.parametrize("kind", KINDS)
def test_all_kinds_read_the_same(kind):
    made = MAKERS[kind]()
    assert is_table(made)
    check_content(as_table(made))


@pytest.mark.parametrize("name", FILE_NAMES)
@pytest.mark.parametrize("make", [str, pathlib.Path])
def test_files_read_the_same(tmp_path, name, make):
    path = make(write_file(tmp_path / name))
    assert is_table(path)
    check_content(as_table(path))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("start", "stop"), [(0, 5), (1, 4), (2, 3), (3, 3), (4, 2), (1, 99)])
def test_slices(kind, start, stop):
    part = as_table(MAKERS[kind]()).slice(start, stop)
    check_content(part, start, max(start, min(stop, N_ROWS)))
    inner = part.slice(1, 3)
    assert inner.n_rows == max(0, min(part.n_rows, 3) - 1)
    assert listed(inner.column("age")) == CONTENT["age"][start:stop][1:3]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rows", [[4, 0, 0, 2], [], [1]])
def test_picked_rows_are_of_the_kind_that_was_given(kind, rows):
    made = MAKERS[kind]()
    picked = as_table(made).pick(np.array(rows, np.int64))
    assert type(picked) is (pa.Table if kind in ("stream", "array") else type(made))
    table = as_table(picked)
    assert table.n_rows == len(rows)
    if not rows and kind == "list of dicts":
        return
    for name, expected in CONTENT.items():
        assert listed(table.column(name)) == [expected[row] for row in rows]
    if isinstance(made, dict):
        assert [type(column) for column in picked.values()] == [type(column) for column in made.values()]


def test_picked_rows_keep_the_index_of_pandas():
    frame = pd.DataFrame({"a": [1, 2, 3]}, index=["x", "y", "z"])
    pd.testing.assert_frame_equal(as_table(frame).pick(np.array([2, 0])), frame.iloc[[2, 0]])


def test_tables_are_not_changed():
    frame = MAKERS["pandas objects"]()
    before = frame.copy(deep=True)
    table = as_table(frame)
    for name in table.names:
        table.column(name)
    pd.testing.assert_frame_equal(frame, before)


@pytest.mark.parametrize(
    "found",
    [
        None,
        3,
        "ann",
        "a.txt",
        pathlib.Path("a.json"),
        np.zeros((2, 2)),
        [[1, 2], [3, 4]],
        [1, 2],
        scipy.sparse.csr_array((2, 2)),
        scipy.sparse.dok_array((2, 2)),
        pd.Series([1]),
        pl.Series([1]),
        pa.array([1]),
        pa.chunked_array([[1]]),
        pd.DataFrame,
        pl.DataFrame({"a": [1]}).lazy(),
        {1, 2},
    ],
    ids=str,
)
def test_what_is_no_table(found):
    assert not is_table(found)
    with pytest.raises(InputError, match=r"a DataFrame of pandas or polars, a table of pyarrow"):
        as_table(found)


class NoTable:
    def __arrow_c_stream__(self, requested_schema=None):
        return 3


def test_messages_say_what_a_table_may_be():
    with pytest.raises(InputTypeError, match=r"^X is a numpy.ndarray, but must be a table: .* \.parquet file\.$"):
        as_table(np.zeros((2, 2)))
    with pytest.raises(
        InputTypeError, match=r"^rows is a polars.*LazyFrame.* file; call its collect\(\) first\.$"
    ):
        as_table(pl.DataFrame({"a": [1]}).lazy(), "rows")
    with pytest.raises(InputError, match=r"^X='a.txt' names no table: files end in .csv, .tsv \(either also"):
        as_table("a.txt")
    with pytest.raises(InputTypeError, match=r"^X, of the type Exported, exports no table to Arrow: "):
        as_table(Exported(NoTable()))


def test_a_table_stays_one():
    table = as_table({"a": [1]})
    assert as_table(table) is table
    assert is_table(table)


def test_missing_columns():
    table = as_table({"user": [1], "item": [2]})
    assert table.has("user")
    assert not table.has("usr")
    with pytest.raises(
        InputError, match=r"^There is no column 'usr'\. Did you mean 'user'\? The table has 'user', 'i"
    ):
        table.column("usr")
    with pytest.raises(InputError, match=r"^There is no column 'zz'\. The table has 'user', 'item'\.$"):
        table.column("zz")
    with pytest.raises(InputError, match=r"'c9' and 90 more\.$"):
        as_table({f"c{i}": [1] for i in range(100)}).column("x")
    with pytest.raises(InputError, match="no columns at all"):
        as_table([]).column("x")


def test_names_that_occur_twice():
    frame = pd.DataFrame([[1, 2, 3]], columns=["a", "b", "a"])
    table = as_table(frame)
    assert table.names == ("a", "b", "a")
    assert listed(table.column("b")) == [2]
    with pytest.raises(InputError, match="The column 'a' occurs 2 times; rename all but one of them"):
        table.column("a")


def test_names_that_are_no_text():
    frame = pd.DataFrame([[1, 2]], columns=[7, ("a", "b")])
    assert as_table(frame).names == ("7", "('a', 'b')")
    assert listed(as_table(frame).column("7")) == [1]
    assert as_table([{1: "x"}, {2: "y"}]).names == ("1", "2")
    assert as_table({3: [1]}).pick(np.array([0])) == {3: [1]}


def test_lists_of_dicts():
    table = as_table([{"a": 1}, {"b": "x", "a": 2}, {}])
    assert table.names == ("a", "b")
    assert listed(table.column("a")) == [1, 2, None]
    assert listed(table.column("b")) == [None, "x", None]
    assert table.slice(0, 1).names == ("a", "b")
    assert listed(table.slice(0, 1).column("b")) == [None]
    assert as_table([]).names == ()
    assert as_table([]).n_rows == 0
    with pytest.raises(InputTypeError, match=r"^X\[1\]=\[1, 2\] must be a dict, as the other rows"):
        as_table([{"a": 1}, [1, 2]])


def test_dicts_of_columns():
    table = as_table(
        {"r": range(3), "t": (1, 2, 3), "c": pd.Categorical(["a", "b", "a"]), "i": pd.Index([1, 2, 3])}
    )
    assert [listed(table.column(name)) for name in table.names] == [
        [0, 1, 2],
        [1, 2, 3],
        ["a", "b", "a"],
        [1, 2, 3],
    ]
    assert as_table({}).n_rows == 0
    with pytest.raises(InputError, match=r"^The columns 'a' and 'b' hold 1 value and 2 values; all columns"):
        as_table({"a": [1], "b": [1, 2]})
    for scalar in (3, "ann", None, np.array(3), np.float64(1), {"x": 1}, {1}, iter([1])):
        with pytest.raises(InputTypeError, match=r"^The column 'a' is .*, no array or list; give one value a row"):
            as_table({"a": scalar})


def test_series_are_sliced_by_place():
    table = as_table({"a": pd.Series([1, 2, 3], index=[2.0, 1.0, 0.0])})
    assert listed(table.slice(1, 3).column("a")) == [2, 3]


def test_text_is_shared_with_arrow():
    column = pa.array(["ann", "bob", "cat"] * 3)
    data = as_table(pa.table({"a": column})).slice(3, 6).column("a")
    assert data.data.ctypes.data == column.buffers()[2].address
    wide = pa.array(np.arange(10.0)).slice(3)
    found = as_table({"a": wide}).column("a").numbers
    assert found.ctypes.data == wide.buffers()[1].address + 24


SAME_WITHOUT = """
import sys
sys.modules["pyarrow"] = None
import numpy as np
from fastfm_deep.data.table import as_table
table = as_table({"a": np.array(["x", None], object), "b": [1, 2], "c": [[1], []]})
for name in table.names:
    table.column(name)
assert "pandas" not in sys.modules and "polars" not in sys.modules
"""


def run(code):
    return subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True)


def test_no_library_of_tables_is_needed():
    done = run(SAME_WITHOUT)
    assert done.returncode == 0, done.stderr


def test_polars_and_files_without_arrow(tmp_path):
    path = write_file(tmp_path / "a.csv")
    for what, said in ((repr(str(path)), "a.csv' needs pyarrow"), ("Frame()", "X, a Frame, needs pyarrow")):
        done = run(f"""
import sys
sys.modules["pyarrow"] = None
from fastfm_deep.data.table import as_table
class Frame:
    def __arrow_c_stream__(self, requested_schema=None): pass
as_table({what})
""")
        assert f"{said}" in done.stderr.replace("\\\\", "\\")
        assert "pip install 'fastfm_deep[arrow]'" in done.stderr


def test_table_is_made_of_a_source():
    assert isinstance(as_table({"a": [1]}), Table)
