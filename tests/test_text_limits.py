"""Texts at the edge of what a reader meets: each is read right or refused clearly, in little time and memory."""

from __future__ import annotations

import contextlib
import os
import threading

import numpy as np
import pytest
from text_tools import write

from fastfm_deep import InputError, TableTooLargeError, TextFormatError, read_text

LARGE = 4_000_000_000


def test_an_id_of_four_thousand_million(tmp_path):
    data = read_text(write(tmp_path, b"1 1:2 4000000000:1\n"))
    assert data.X.shape == (1, LARGE)
    assert data.X.indices.tolist() == [0, LARGE - 1]
    fields = write(tmp_path, b"1 0:1:2 7:4000000000:1\n")
    with pytest.raises(TableTooLargeError, match=r"n_features=4000000001?, but the fields of at most 2684"):
        read_text(fields)
    assert read_text(fields, keep_fields=False).X.shape == (1, LARGE)
    assert read_text(fields, hash_features=2**22).X.indices.tolist() == [183084, 3729606]
    compact = read_text(fields, compact=True)
    assert compact.X.toarray().tolist() == [[2, 1]]
    assert compact.fields.field_of_column.tolist() == [0, 7]
    assert compact.id_map.ids.tolist() == [1, LARGE]


def test_ten_million_empty_lines(tmp_path):
    data = read_text(write(tmp_path, b"\n" * 10_000_000 + b"1 1:1\n"))
    assert data.X.shape == (1, 1)
    path = write(tmp_path, b"\n" * 10_000_000 + b"1 1:x\n")
    with pytest.raises(TextFormatError, match="line 10000001, column 3: bad value"):
        read_text(path)


@pytest.mark.slow
def test_a_line_of_100_megabytes(tmp_path):
    data = read_text(write(tmp_path, b"1 " + b"12:3 " * 20_000_000 + b"\n"))
    assert data.X.shape == (1, 12)
    assert data.X.nnz == 20_000_000
    assert (data.X.data == 3).all()


def test_a_long_line(tmp_path):
    data = read_text(write(tmp_path, b"0 1:1\n1 " + b"12:3 " * 1_000_000 + b"\n0 1:1\n"), n_jobs=2)
    assert np.diff(data.X.indptr).tolist() == [1, 1_000_000, 1]


def test_a_label_of_400_digits(tmp_path):
    with pytest.raises(TextFormatError, match=r"line 1, column 1: bad label in '9+\.\.\.' \(400 characters\)"):
        read_text(write(tmp_path, b"9" * 400 + b" 1:1\n"))
    assert read_text(write(tmp_path, b"0" * 400 + b"7 1:1\n")).y.tolist() == [7]


def test_a_folder(tmp_path):
    with pytest.raises(InputError, match="cannot be read: Is a directory; give the name of a text file"):
        read_text(tmp_path)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_fifo(tmp_path, n_jobs):
    path = tmp_path / "fifo"
    os.mkfifo(path)

    def feed():
        with path.open("wb") as file:
            for _ in range(300):
                file.write(b"1 1:1 2:1\n" * 1000)

    writer = threading.Thread(target=feed)
    writer.start()
    data = read_text(path, n_jobs=n_jobs)
    writer.join()
    assert data.X.shape == (300_000, 2)
    assert data.X.nnz == 600_000


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_file_that_grows_while_read(tmp_path, n_jobs):
    path = write(tmp_path, b"1 1:1\n" * 300_000)
    ended = threading.Event()

    def grow():
        with open(path, "ab") as file:
            while not ended.is_set():
                file.write(b"0 1:1 2:1\n" * 100)
                file.flush()
                ended.wait(0.001)

    writer = threading.Thread(target=grow)
    writer.start()
    try:
        data = read_text(path, n_jobs=n_jobs)
    finally:
        ended.set()
        writer.join()
    assert data.X.shape[0] >= 300_000
    assert data.y.sum() == 300_000


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_file_that_is_cut_while_read(tmp_path, n_jobs):
    """A mapped file would end the process here."""
    path = write(tmp_path, b"1 1:1\n" * 3_000_000)
    timer = threading.Timer(0.01, os.truncate, (path, 100))
    timer.start()
    with contextlib.suppress(TextFormatError):  # cut within a line
        assert 0 < read_text(path, n_jobs=n_jobs).X.shape[0] <= 3_000_000
    timer.join()


def test_devices():
    with pytest.raises(TextFormatError, match="/dev/zero is a binary file, no text"):
        read_text("/dev/zero")
    with pytest.raises(TextFormatError, match="/dev/null holds no rows"):
        read_text("/dev/null")
