"""What the text reader reads, and that it reads it exactly."""

from __future__ import annotations

import doctest
import os
import threading

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from row_tools import traced_peak
from test_text_errors import leave_all
from text_tools import COMPRESS, DATA, assert_same_rows, write

from fastfm_deep import kernels
from fastfm_deep.data import text, text_blocks, text_rows
from fastfm_deep.data.rows import as_csr_rows
from fastfm_deep.data.text import TextData, read_text

# The folder may be shared by the examples: each of them writes the file anew.
shared_folder = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def test_what_comes_out(tmp_path):
    data = read_text(write(tmp_path, b"1 1:2 4:0.5\n-1 2:-1\n"))
    assert isinstance(data, TextData)
    assert data._fields == ("X", "y", "fields", "base")
    assert data.X.format == "csr"
    assert data.X.toarray().tolist() == [[2, 0, 0, 0.5], [0, -1, 0, 0]]
    assert (data.X.dtype, data.X.indices.dtype) == (np.float32, np.int32)
    assert (data.y.dtype, data.y.tolist()) == (np.float64, [1, -1])
    assert (data.fields, data.base) == (None, 1)


@pytest.mark.parametrize(
    "content",
    [
        b"1 1:1\n0 2:1",  # no last newline
        b"1 1:1\r\n0 2:1\r\n",
        b"\n\n1 1:1\n\n \t \n0 2:1\n\n",
        b"\t 1\t\t1:1   7:2 \n0 2:1 \n",
        b"# header\n1 1:1 # note\n0 2:1# 9:9 x\n#1 3:3\n",
        b"1 1:1 # user_1 caf\xe9\n0 2:1\n",
        b"1 qid:3 1:1\n0 qid:3 2:1 qid:x\n",
        b"\xef\xbb\xbf1 1:1\n0 2:1\n",
        b"1 3:1 1:2 2:3\n0 5:1 4:1\n",
        b"1 1:1 1:2 1:1\n",
        b"1\n0 1:1\n-1\n",
        b"+1 1:+1\n-1 +2:-1.5\n1e2 3:1e-3\n.5 4:.5\n2. 5:2.\n-0 6:-0\n",
        b"1 0001:1 " + b"0" * 60 + b"5:1\n",
        b"1 1:0 2:0.0\n",
        b"1 1:1e-60 2:1e-45 3:3.4028235677973362e38 4:-3.4028235e38\n",
        b"1e300 1:1\n",
        b"1 4611686018427387904:1\n",
    ],
)
@pytest.mark.parametrize("slowly", [False, True])
def test_what_a_line_may_look_like(tmp_path, monkeypatch, content, slowly):
    if slowly:
        monkeypatch.setattr(kernels.text, "read_rows", leave_all)
    with np.errstate(all="raise"):
        data = read_text(write(tmp_path, content))
    assert_same_rows(data, content)


def test_good_blocks_take_the_fast_way(tmp_path, monkeypatch):
    monkeypatch.setattr(text_rows, "read_line", None)
    content = b"1 qid:1 1:1 # a_b\n\n2:1\n-1.5 3:1e3\r\n"
    assert_same_rows(read_text(write(tmp_path, content), labels="optional"), content)


def test_repeated_ids_are_left_to_the_gate(tmp_path):
    X = read_text(write(tmp_path, b"1 2:1 1:1 2:3\n")).X
    assert X.indices.tolist() == [1, 0, 1]
    rows = as_csr_rows(X)
    assert dict(zip(rows.indices.tolist(), rows.values.tolist(), strict=True)) == {0: 1, 1: 4}


@pytest.mark.parametrize(
    ("content", "arguments", "base", "columns", "width"),
    [
        (b"1 1:1 3:1\n", {}, 1, [0, 2], 3),
        (b"1 0:1 3:1\n", {}, 0, [0, 3], 4),
        (b"1 2:1 3:1\n", {}, 1, [1, 2], 3),
        (b"1 2:1 3:1\n", {"base": 0}, 0, [2, 3], 4),
        (b"1 2:1 3:1\n", {"base": np.int64(1)}, 1, [1, 2], 3),
        (b"1\n0\n", {}, 1, [], 1),
        (b"1\n0\n", {"base": 0}, 0, [], 1),
        (b"1 1:1 3:1\n", {"n_features": 3}, 1, [0, 2], 3),
        (b"1 1:1 3:1\n", {"n_features": 8}, 1, [0, 2], 8),
        (b"1 0:1 3:1\n", {"n_features": 4}, 0, [0, 3], 4),
        (b"1 1:1 3:1\n", {"n_features": 2, "unknown_ids": "ignore"}, 1, [0], 2),
        (b"1 3:1 0:1\n", {"n_features": 3, "unknown_ids": "ignore"}, 0, [0], 3),
        (b"1 3:1 3000000000:1\n", {"n_features": 3, "unknown_ids": "ignore", "base": 0}, 0, [], 3),
        (b"1 3:1\n", {"format": "libfm"}, 1, [2], 3),
        (b"1 3:1\n", {"format": "libsvm"}, 1, [2], 3),
    ],
)
def test_base_and_width(tmp_path, content, arguments, base, columns, width):
    data = read_text(write(tmp_path, content), **arguments)
    assert data.base == base
    assert data.X.indices.tolist() == columns
    assert data.X.shape[1] == width


def test_the_base_is_settled_by_the_whole_file(tmp_path, monkeypatch):
    monkeypatch.setattr(text_blocks, "BLOCK_BYTES", 8)
    content = b"1 5:1\n" * 20 + b"1 0:1\n"
    data = read_text(write(tmp_path, content))
    assert data.base == 0
    assert_same_rows(data, content)


def test_ignored_ids_leave_their_rows(tmp_path):
    data = read_text(write(tmp_path, b"1 9:1\n2 1:1 9:2 2:3\n3 9:1\n4 2:4\n"), "auto", 2, 1, unknown_ids="ignore")
    assert data.X.toarray().tolist() == [[0, 0], [1, 3], [0, 0], [0, 4]]
    assert data.y.tolist() == [1, 2, 3, 4]


def test_wide_ids_keep_int64(tmp_path):
    X = read_text(write(tmp_path, b"1 1:1\n0 3000000000:1\n")).X
    assert X.indices.dtype == np.int64
    assert X.indices.tolist() == [0, 2_999_999_999]
    assert X.shape == (2, 3_000_000_000)
    assert as_csr_rows(X).indices.tolist() == [0, 2_999_999_999]


@pytest.mark.parametrize("name", [2**31 - 1, 2**31, 2**31 + 1])
@pytest.mark.parametrize("base", [0, 1])
def test_ids_about_the_end_of_int32(tmp_path, name, base):
    X = read_text(write(tmp_path, b"1 %d:1 1:1\n" % name), base=base).X
    assert X.shape == (1, name - base + 1)
    assert X.indices.tolist() == [name - base, 1 - base]


def test_rows_without_labels(tmp_path):
    bare = read_text(write(tmp_path, b"1:1 2:2\nqid:4 3:1\n"), labels="optional")
    assert bare.y is None
    assert bare.X.toarray().tolist() == [[1, 2, 0], [0, 0, 1]]
    mixed = read_text(write(tmp_path, b"1:1\n-1 2:2\n7\n"), labels="optional")
    np.testing.assert_array_equal(mixed.y, [np.nan, -1, 7])
    labelled = read_text(write(tmp_path, b"5 1:1\n"), labels="optional")
    assert labelled.y.tolist() == [5]


@pytest.mark.parametrize("suffix", COMPRESS)
@pytest.mark.parametrize("named", [True, False])
def test_compressed_files_are_told_by_their_content(tmp_path, suffix, named):
    content = b"1 1:1\n0 2:0.5\n" * 50
    path = write(tmp_path, COMPRESS[suffix](content), f"rows{suffix}" if named else "rows")
    assert_same_rows(read_text(path), content)


@pytest.mark.parametrize("suffix", COMPRESS)
def test_joined_compressed_files(tmp_path, suffix):
    """As `cat a.gz b.gz` makes them, here in the middle of a line."""
    packed = COMPRESS[suffix](b"1 1:1\n0 ") + COMPRESS[suffix](b"2:0.5\n")
    assert_same_rows(read_text(write(tmp_path, packed)), b"1 1:1\n0 2:0.5\n")


def test_plain_text_with_the_name_of_a_compressed_file(tmp_path):
    assert_same_rows(read_text(write(tmp_path, b"1 1:1\n", "rows.gz")), b"1 1:1\n")


def test_paths_of_any_kind(tmp_path):
    path = write(tmp_path, b"1 1:1\n")
    assert read_text(tmp_path / "rows.txt").X.shape == (1, 1)
    assert read_text(os.fsencode(path)).X.shape == (1, 1)


@pytest.mark.parametrize("suffix", ["", *COMPRESS])
def test_a_fifo_is_read_once(tmp_path, suffix):
    content = b"1 1:1\n0 3:0.5\n" * 20_000
    path = tmp_path / "pipe"
    os.mkfifo(path)
    packed = COMPRESS[suffix](content) if suffix else content
    writer = threading.Thread(target=path.write_bytes, args=(packed,), daemon=True)
    writer.start()
    data = read_text(path, n_features=3)
    writer.join(10)
    assert not writer.is_alive()
    assert_same_rows(data, content)


def test_a_line_of_a_million_pairs(tmp_path):
    content = b"1 " + b" ".join(b"%d:1" % name for name in range(1_000_000)) + b"\n0 5:2\n"
    X = read_text(write(tmp_path, content)).X
    assert np.diff(X.indptr).tolist() == [1_000_000, 1]
    assert np.array_equal(X.indices, [*range(1_000_000), 5])


def test_memory_stays_near_the_result(tmp_path):
    path = write(tmp_path, b"1 123456:0.5 234567:1 345678:1 456789:1 567890:1\n" * 60_000)
    result = 300_000 * 8 + 60_000 * 12
    assert traced_peak(lambda: read_text(path)) < 4 * result + 12e6  # all tokens at once: 75 MB


numbers = st.one_of(
    st.floats(-1e38, 1e38).map(repr),
    st.floats(allow_nan=False, allow_infinity=False, width=32).map(repr),
    st.from_regex(r"\A[+-]?([0-9]{1,30}(\.[0-9]{0,30})?|\.[0-9]{1,30})([eE][+-]?[0-9])?\Z"),
)
blanks = st.sampled_from([" ", "\t", "  ", " \t "])


@st.composite
def lines(draw, unlabelled: bool):
    tokens = [
        f"{name}:{value}"
        for name, value in draw(
            st.lists(st.tuples(st.integers(0, 9) | st.integers(0, 2**40), numbers), max_size=6)
        )
    ]
    if draw(st.booleans()):
        tokens.insert(0, f"qid:{draw(st.integers(0, 99))}")
    if not unlabelled or draw(st.booleans()):
        tokens.insert(0, draw(numbers))
    joined = "".join(token + draw(blanks) for token in tokens)
    comment = draw(st.sampled_from(["", "", "#", "# 1:1 note_1"]))
    return draw(st.sampled_from(["", " "])) + joined + comment + draw(st.sampled_from(["\n", "\r\n", "\n\n"]))


@shared_folder
@given(data=st.data())
def test_any_text_as_the_plain_parser_reads_it(tmp_path, data):
    unlabelled = data.draw(st.booleans())
    drawn = data.draw(st.lists(lines(unlabelled), min_size=1, max_size=8))
    content = ("".join(drawn) + "3 1:1").encode()
    size = data.draw(st.integers(1, 64) | st.just(1 << 18))
    path = write(tmp_path, content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_blocks, "BLOCK_BYTES", size)
        found = read_text(path, labels="optional" if unlabelled else "required")
        assert_same_rows(found, content)
        patch.setattr(kernels.text, "read_rows", leave_all)
        slowly = read_text(path, labels="optional" if unlabelled else "required")
    assert_same_rows(slowly, content)
    assert (slowly.base, slowly.X.shape) == (found.base, found.X.shape)


def test_the_example():
    assert doctest.testmod(text).failed == 0


@pytest.mark.parametrize(
    ("name", "shape", "positive"),
    [
        ("frappe/frappe.validation.libfm.xz", (57_722, 5382), 19_063),
        ("a9a/a9a.t.xz", (16_281, 123), 3846),
    ],
)
def test_public_files(name, shape, positive):
    path = DATA / name
    if not path.exists():
        pytest.skip(f"{path} is not there; FASTFM_DEEP_DATA names the folder of the data sets")
    data = read_text(path)
    assert data.X.shape == shape
    assert np.unique(data.y).tolist() == [-1, 1]
    assert (data.y == 1).sum() == positive
