"""Table files: types, faults, and reading and writing them in pieces."""

from __future__ import annotations

import gzip
import io
import os

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st
from table_frames import CONTENT, FILE_NAMES, N_ROWS, listed, write_file

from fastfm_deep.data import arrow_files
from fastfm_deep.data.float_values import to_floats
from fastfm_deep.data.table import as_table
from fastfm_deep.data.table_files import iter_table_file, read_table_file
from fastfm_deep.data.table_writer import TableWriter
from fastfm_deep.data.values import BOOL, DATE, DATETIME, FLOAT, INT, Numbers, Texts
from fastfm_deep.validation import InputError, InputTypeError, MissingFileError


def csv_file(folder, text, name="a.csv"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def joined(pieces, column):
    return [value for piece in pieces for value in listed(piece.column(column))]


def both_ways(path, **given):
    """The table as a whole, and in pieces."""
    pieces = list(iter_table_file(path, 2, **given))
    return read_table_file(path), pieces


@pytest.mark.parametrize("name", FILE_NAMES)
@pytest.mark.parametrize("batch_rows", [1, 2, 3, 5, 99])
def test_pieces(tmp_path, name, batch_rows):
    pieces = list(iter_table_file(write_file(tmp_path / name), batch_rows))
    assert [len(piece) for piece in pieces[:-1]] == [batch_rows] * (len(pieces) - 1)
    assert sum(map(len, pieces)) == N_ROWS
    for column, expected in CONTENT.items():
        assert joined(pieces, column) == expected


def test_pieces_of_many_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(arrow_files, "_BLOCK_BYTES", 64)
    path = csv_file(tmp_path, "a,b\n" + "".join(f"{i},x{i}\n" for i in range(1000)))
    pieces = list(iter_table_file(path, 300))
    assert list(map(len, pieces)) == [300, 300, 300, 100]
    assert joined(pieces, "a") == list(range(1000))


def test_row_groups(tmp_path):
    table = pa.table({"a": pa.array(["x", "y", "z"] * 10).dictionary_encode()})
    pa.parquet.write_table(table, tmp_path / "a.parquet", row_group_size=7)
    pieces = list(iter_table_file(tmp_path / "a.parquet", 11))
    assert list(map(len, pieces)) == [11, 11, 8]
    assert joined(pieces, "a") == ["x", "y", "z"] * 10


@pytest.mark.parametrize(
    ("texts", "form", "kind", "expected"),
    [
        (["1", "", "NA"], Numbers, INT, [1, None, None]),
        (["0.5", "nan", "2"], Numbers, FLOAT, [0.5, None, 2.0]),
        (["true", "False", ""], Numbers, BOOL, [True, False, None]),
        (["2024-01-01", "", "1970-01-01"], Numbers, DATE, [19_723, None, 0]),
        (["1970-01-01 00:00:01", "", ""], Numbers, DATETIME, [10**6, None, None]),
        (["ann", "", "NA"], Texts, None, ["ann", None, "NA"]),
        (['"a,""b"""', '""', '"x\ny"'], Texts, None, ['a,"b"', None, "x\ny"]),
        (["12:30", "", "07:15"], Texts, None, ["12:30", None, "07:15"]),
        (["NA", "", "NA"], Texts, None, ["NA", None, "NA"]),
        (
            ["18446744073709551615", "18446744073709551614", "1"],
            Texts,
            None,
            ["18446744073709551615", "18446744073709551614", "1"],
        ),
        (["1e300", "2", "3"], Numbers, FLOAT, [1e300, 2.0, 3.0]),
    ],
)
def test_types_of_csv(tmp_path, texts, form, kind, expected):
    path = csv_file(tmp_path, "a,b\n" + "".join(f"{text},1\n" for text in texts))
    for values in (read_table_file(path).column("a"), next(iter_table_file(path, 9)).column("a")):
        assert isinstance(values, form)
        assert getattr(values, "kind", None) == kind
        assert listed(values) == expected


def test_byte_order_mark_and_windows_lines(tmp_path):
    path = csv_file(tmp_path, "\ufeffa,b\r\n1,x\r\n")
    for table in (read_table_file(path), next(iter_table_file(path, 9))):
        assert table.names == ("a", "b")
        assert listed(table.column("b")) == ["x"]


def test_text_and_number_columns(tmp_path):
    path = csv_file(tmp_path, "a,b,c\n" + "1,1,5\n" * 4 + "x,1.5,5\n")
    pieces = list(iter_table_file(path, 2, text_columns=["a", "not there"], number_columns=["b"]))
    assert joined(pieces, "a") == ["1"] * 4 + ["x"]
    assert to_floats(pieces[-1].column("b"), "b").tolist() == [1.5]
    assert pieces[0].column("b").kind == FLOAT
    assert pieces[0].column("c").kind == INT


def test_files_without_rows(tmp_path):
    pa.parquet.write_table(pa.table({"a": pa.array([], pa.int64())}), tmp_path / "a.parquet")
    for path in (csv_file(tmp_path, "a,b\n"), tmp_path / "a.parquet"):
        whole, pieces = both_ways(path)
        assert [len(piece) for piece in pieces] == [0] == [len(whole)]
        assert pieces[0].names == whole.names
        assert listed(whole.column("a")) == listed(pieces[0].column("a")) == []


def test_only_some_columns(tmp_path):
    for name in ("a.csv", "a.parquet"):
        path = write_file(tmp_path / name)
        assert read_table_file(path, ["price", "user"]).names == ("price", "user")
        with pytest.raises(InputError, match=r"^There is no column 'prize'\. Did you mean 'price'\?"):
            read_table_file(path, ["prize"])


def test_names_that_occur_twice(tmp_path):
    path = csv_file(tmp_path, "a,b,a\n1,2,3\n")
    whole, pieces = both_ways(path)
    for table in (whole, *pieces):
        assert table.names == ("a", "b", "a")
        with pytest.raises(InputError, match="occurs 2 times"):
            table.column("a")
    with pytest.raises(InputError, match="occurs 2 times"):
        read_table_file(path, ["a"])


def test_folders_of_datasets_are_no_columns(tmp_path):
    (tmp_path / "day=3").mkdir()
    assert as_table(write_file(tmp_path / "day=3" / "a.parquet")).names == tuple(CONTENT)


def fault(path, read):
    with pytest.raises(InputError) as caught:
        read(path)
    assert not type(caught.value).__module__.startswith("pyarrow")
    assert repr(os.fspath(path)) in str(caught.value)
    return caught.value


READERS = [read_table_file, lambda path: list(iter_table_file(path, 2)), as_table]


@pytest.mark.parametrize("read", READERS)
class TestFaults:
    def test_missing(self, tmp_path, read):
        error = fault(tmp_path / "none.csv", read)
        assert isinstance(error, MissingFileError)
        assert str(error).startswith("There is no file ")

    def test_folder(self, tmp_path, read):
        (tmp_path / "a.csv").mkdir()
        assert "is a folder, no regular file; give the name" in str(fault(tmp_path / "a.csv", read))

    def test_name_that_cannot_be(self, tmp_path, read):
        assert "cannot be read: " in str(fault(tmp_path / f"{'a' * 300}.csv", read))
        assert "cannot be read: embedded null byte" in str(fault("a\0.csv", read))

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
    def test_forbidden(self, tmp_path, read):
        path = csv_file(tmp_path, "a\n1\n")
        path.chmod(0)
        assert "cannot be read: Permission denied" in str(fault(path, read))

    @pytest.mark.parametrize("text", ["", "\n\n"])
    def test_empty(self, tmp_path, read, text):
        assert str(fault(csv_file(tmp_path, text), read)).endswith(
            "is empty; its first line must hold the names of the columns."
        )

    @pytest.mark.parametrize(("line", "count"), [("3", 1), ("3,4,5", 3)])
    def test_ragged(self, tmp_path, read, line, count):
        error = fault(csv_file(tmp_path, "a,b\n" + "1,2\n" * 10 + line + "\n1,2\n"), read)
        assert f", row 12 (the header is row 1): '{line}' holds {count} values, but the header names 2" in str(
            error
        )

    def test_ragged_by_tabs(self, tmp_path, read):
        error = fault(csv_file(tmp_path, "a\tb\n1\t2\n3\n", "a.tsv"), read)
        assert ", row 3 (the header is row 1): '3' holds 1 values" in str(error)

    def test_encoding(self, tmp_path, read):
        error = fault(csv_file(tmp_path, "a,b\n1,Łódź\n".encode("utf-16")[:-1]), read)
        assert "is no text in UTF-8 (the header)" in str(error)
        error = fault(csv_file(tmp_path, "a,b\n1,é\n".encode("latin1")), read)
        assert str(error).endswith("is no text in UTF-8 (column 'b'); convert the file to UTF-8 first.")

    @pytest.mark.parametrize("content", [b"", b"PAR1", b"a,b\n1,2\n" * 10, b"PAR1" + bytes(50) + b"PAR1"])
    def test_no_parquet(self, tmp_path, read, content):
        error = fault(csv_file(tmp_path, content, "a.parquet"), read)
        assert "cannot be read as Parquet: " in str(error)

    def test_damaged_parquet(self, tmp_path, read):
        path = write_file(tmp_path / "a.parquet")
        content = bytearray(path.read_bytes())
        content[4:60] = bytes(56)
        path.write_bytes(content)
        assert "cannot be read as Parquet: " in str(fault(path, read))

    @pytest.mark.parametrize("name", ["a.csv.gz", "a.csv.bz2", "a.csv.zst"])
    def test_compressed(self, tmp_path, read, name):
        path = write_file(tmp_path / name)
        assert "cannot be read as CSV: " in str(fault(csv_file(tmp_path, b"a,b\n1,2\n", name), read))
        path = write_file(tmp_path / name)
        path.write_bytes(path.read_bytes()[:-5])
        if name != "a.csv.zst":  # the content ends before these bytes
            fault(path, read)

    def test_ending(self, tmp_path, read):
        with pytest.raises(InputError, match=r"names no table: files end in \.csv, \.tsv"):
            read(tmp_path / "a.parquet.gz")


def test_cut_gzip(tmp_path):
    text = "a,b\n" + "".join(f"{i},{i * i}\n" for i in range(50_000))
    path = csv_file(tmp_path, gzip.compress(text.encode())[:-1000], "a.csv.gz")
    for read in READERS:
        fault(path, read)


def test_values_that_do_not_fit_later(tmp_path, monkeypatch):
    monkeypatch.setattr(arrow_files, "_BLOCK_BYTES", 64)
    path = csv_file(tmp_path, "a,b\n" + "1,2\n" * 98 + "1,x\n")
    error = fault(path, READERS[1])
    assert str(error).endswith(
        ", row 100 (the header is row 1): 'x' in the column 'b' is no integer, as the column was taken to hold; "
        "correct it, or have the column read as text from the start (as a SparseFeat is)."
    )
    assert read_table_file(path).n_rows == 99
    assert sum(map(len, iter_table_file(path, 10, text_columns=["b"]))) == 99
    with pytest.raises(InputError, match=r"row 100 .* 'x' in the column 'b' is no number"):
        list(iter_table_file(path, 10, number_columns=["b"]))
    path = csv_file(tmp_path, b"a,b\n" + b"1,x\n" * 98 + b"1,\xff\n")
    assert "is no text in UTF-8 (column 'b')" in str(fault(path, READERS[1]))


def test_nothing_in_the_first_block(tmp_path, monkeypatch):
    monkeypatch.setattr(arrow_files, "_BLOCK_BYTES", 64)
    path = csv_file(tmp_path, "a,b\n" + "1,\n" * 98 + "1,x\n")
    pieces = list(iter_table_file(path, 50))
    assert listed(pieces[-1].column("b"))[-1] == "x"


RESULTS = {
    "user": np.array(["ann", 'a "b", c', "x\ny", None, "żółw"], object),
    "score": np.array([0.1, 1 / 3, np.nan, 1e-30, -0.0], np.float32),
    "wide": np.array([0.1, 1 / 3, np.nan, 1e300, 5.0]),
    "rank": np.arange(5),
    "label": np.array([True, False, True, True, False]),
    "day": np.array(["2024-01-01", "NaT", "2024-01-03", "2024-01-04", "2024-01-05"], "M8[D]"),
}


class TestWriter:
    def write(self, path, columns, n_pieces=1):
        with open(path, "wb") as file, TableWriter(file, arrow_files.table_format(path).kind) as writer:
            for part in np.array_split(np.arange(5), n_pieces):
                writer.write({name: values[part] for name, values in columns.items()})
        return read_table_file(path)

    @pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.parquet"])
    @pytest.mark.parametrize("n_pieces", [1, 2, 5])
    def test_comes_back(self, tmp_path, name, n_pieces):
        table = self.write(tmp_path / name, RESULTS, n_pieces)
        expected = as_table(RESULTS)
        assert table.names == expected.names
        for column in table.names:
            got, wanted = table.column(column), expected.column(column)
            if column == "score":
                assert np.float32(got.numbers)[[0, 1, 3]].tolist() == RESULTS["score"][[0, 1, 3]].tolist()
            else:
                assert listed(got) == listed(wanted)

    def test_csv_as_text(self, tmp_path):
        self.write(tmp_path / "a.csv", RESULTS)
        assert (tmp_path / "a.csv").read_text(encoding="utf-8").splitlines()[:3] == [
            "user,score,wide,rank,label,day",
            "ann,0.1,0.1,0,true,2024-01-01",
            '"a ""b"", c",0.33333334,0.3333333333333333,1,false,',
        ]

    @pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
    def test_line_ends_in_values(self, tmp_path, name):
        texts = np.array(["a\rb", "a\nb", "a\r\nb", "\r", "a\r"], object)
        table = self.write(tmp_path / name, {"a": texts, "b": np.arange(5)}, 2)
        assert listed(table.column("a")) == texts.tolist()
        assert listed(table.column("b")) == [0, 1, 2, 3, 4]

    @given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
    def test_floats_come_back_exactly(self, numbers):
        file = io.BytesIO()
        writer = TableWriter(file, "csv")
        writer.write({"a": np.array(numbers)})
        writer.close()
        assert [float(line) for line in file.getvalue().split(b"\n")[1:-1]] == numbers

    def test_no_columns_change(self):
        for format in ("csv", "parquet"):
            writer = TableWriter(io.BytesIO(), format)
            writer.write({"a": np.arange(3)})
            with pytest.raises(InputError, match=r"^The columns \['b'\] must be those written before.*: \['a'\]"):
                writer.write({"b": np.arange(3)})

    def test_mixtures(self):
        with pytest.raises(
            InputTypeError, match=r"^The column 'a' cannot be written: .* Give it values of one type"
        ):
            TableWriter(io.BytesIO(), "parquet").write({"a": np.array(["x", 1], object)})
        file = io.BytesIO()
        TableWriter(file, "csv").write({"a": np.array(["\ud800", 1, pd.NA, b"x"], object)})
        assert file.getvalue() == b"a\n\\ud800\n1\n\"\"\nb'x'\n"

    def test_unknown_format(self):
        with pytest.raises(InputError, match=r"^format='xlsx' "):
            TableWriter(io.BytesIO(), "xlsx")

    def test_the_file_stays_open(self):
        for format in ("csv", "parquet"):
            file = io.BytesIO()
            with TableWriter(file, format) as writer:
                writer.write({"a": np.arange(3)})
            assert not file.closed
