"""What the text reader refuses, in which words; and that nothing else ever comes out of it."""

from __future__ import annotations

import builtins
import gzip
import os
import threading
from pathlib import Path

import numpy as np
import pytest
import text_tools
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from text_tools import COMPRESS, write

from fastfm_deep import kernels
from fastfm_deep.data import text_blocks, text_rows
from fastfm_deep.data.text import read_text
from fastfm_deep.validation import InputError, MissingFileError, TextFormatError

GOOD = b"1 1:1 3:0.5\n-1 2:1 # note\n" * 4
ADD_LABEL = "every line must begin with its label, a number. Add it; labels='optional' reads rows that have none."
NOT_A_LABEL = "a label must be a finite number. Write classes as 0 and 1."
NOT_A_PAIR = "a pair must be id:value, with one colon. Correct the line."
NOT_AN_ID = "an id must be an integer of at least 0. Correct the line."
NOT_A_VALUE = (
    "a value must be a finite number within the range of float32, +-3.4028235e+38. Correct it or take the pair "
    "out."
)
TOO_LARGE = (
    "an id must be at most 4611686018427387904. Hash such ids into a smaller range (hash_features=2**22) or "
    "shorten them."
)
LIBFFM = (
    "a pair must be id:value, with one colon. If the whole file is libffm text, read it with format='libffm'; "
    "else correct the line."
)
FAULTS = [
    (b"1 3-1 4:1", 3, "pair", "3-1", NOT_A_PAIR),
    (b"1 1:1 5", 7, "pair", "5", NOT_A_PAIR),
    (b"1 1:1:2:3", 3, "pair", "1:1:2:3", NOT_A_PAIR),
    (b"1 2:1:0.5", 3, "pair", "2:1:0.5", LIBFFM),
    (b"1 -3:1", 3, "id", "-3:1", NOT_AN_ID),
    (b"1 1.0:1", 3, "id", "1.0:1", NOT_AN_ID),
    (b"1 :1", 3, "id", ":1", NOT_AN_ID),
    (b"1 a:1", 3, "id", "a:1", NOT_AN_ID),
    (b"1 1_0:1", 3, "id", "1_0:1", NOT_AN_ID),
    (b"1 1:1 99999999999999999999:1", 7, "id", "99999999999999999999:1", TOO_LARGE),
    (b"1 4611686018427387905:1", 3, "id", "4611686018427387905:1", TOO_LARGE),
    (b"1 1:", 3, "value", "1:", NOT_A_VALUE),
    (b"1 1: 5", 3, "value", "1:", NOT_A_VALUE),
    (b"1 1:x", 3, "value", "1:x", NOT_A_VALUE),
    (b"1 1:1_0", 3, "value", "1:1_0", NOT_A_VALUE),
    (b"1 1:0x10", 3, "value", "1:0x10", NOT_A_VALUE),
    (b"1 1:nan", 3, "value", "1:nan", NOT_A_VALUE),
    (b"1 1:-inf", 3, "value", "1:-inf", NOT_A_VALUE),
    (b"1 1:1e400", 3, "value", "1:1e400", NOT_A_VALUE),
    (b"1 1:3.4028235677973366e38", 3, "value", "1:3.4028235677973366e38", NOT_A_VALUE),
    (b"x 1:1", 1, "label", "x", NOT_A_LABEL),
    (b"nan 1:1", 1, "label", "nan", NOT_A_LABEL),
    (b"1e999 1:1", 1, "label", "1e999", NOT_A_LABEL),
    (b"1_0 1:1", 1, "label", "1_0", NOT_A_LABEL),
    (b"1,0 1:1", 1, "label", "1,0", NOT_A_LABEL),
    (b"1:1 2:1", 1, "label", "1:1", ADD_LABEL),
    (b"qid:1 1:1", 1, "label", "qid:1", ADD_LABEL),
    (b" \t 1   1:1\t  5-5#c", 14, "pair", "5-5", NOT_A_PAIR),
    ("1 qid:ä 1:1 5".encode(), 13, "pair", "5", NOT_A_PAIR),
    ("1 1:1 größe:1".encode(), 7, "id", "größe:1", NOT_AN_ID),
]


def leave_all(text, end, progress, rules, rows, fields):
    """What `read_rows` does where no line is of the usual form."""
    return progress


def refused(path: str, kind=TextFormatError, **arguments) -> str:
    with pytest.raises(InputError) as caught:
        read_text(path, **arguments)
    assert type(caught.value) is kind
    return str(caught.value)


@pytest.mark.parametrize(("line", "column", "what", "token", "rule"), FAULTS)
@pytest.mark.parametrize("size", [5, 1 << 18])
def test_where_and_what_is_wrong(tmp_path, monkeypatch, line, column, what, token, rule, size):
    monkeypatch.setattr(text_blocks, "BLOCK_BYTES", size)
    path = write(tmp_path, b"# first\n1 1:1\r\n\n" + line + b"\n0 2:1\n")
    assert refused(path) == f"{path}, line 4, column {column}: bad {what} in {token!r}: {rule}"


@pytest.mark.parametrize(
    ("content", "arguments", "message"),
    [
        (
            b"1 2:1\n1 0:1\n",
            {"base": 1},
            "line 2, column 3: bad id in '0:1': with base=1, ids count from 1. Use base=0 if the ids of this file "
            "count from 0.",
        ),
        (b"1 2:1\n1 4:1\n", {"n_features": 3, "base": 1}, (2, "4:1", 3)),
        (b"1 2:1\n1 3:1\n", {"n_features": 3, "base": 0}, (2, "3:1", 2)),
        (b"1 2:1\n1 4:1\n", {"n_features": 3}, (2, "4:1", 3)),
        # The id 3 is fine until an id 0 tells that it counts from 0.
        (b"1 3:1\n1 0:1\n", {"n_features": 3}, (1, "3:1", 2)),
        (b"1 1:1\n1 3:1\n" + b"1 0:1\n" * 50 + b"1 3:1\n", {"n_features": 3}, (2, "3:1", 2)),
        (b"1 2:1\n1 " + b"9" * 20 + b":1\n", {"n_features": 3, "unknown_ids": "ignore"}, TOO_LARGE),
        (b"1 2:1\n1 " + b"9" * 20 + b":1\n", {"n_features": 3}, TOO_LARGE),
        (b"1 2:1\n1 -1:1\n", {"n_features": 3, "unknown_ids": "ignore"}, NOT_AN_ID),
        (b"1 2:1\nnan 1:1\n", {"labels": "optional"}, NOT_A_LABEL),
        (b"1 2:1\nx\n", {"labels": "optional"}, NOT_A_LABEL),
    ],
)
@pytest.mark.parametrize("size", [5, 1 << 18])
def test_what_the_arguments_forbid(tmp_path, monkeypatch, content, arguments, message, size):
    monkeypatch.setattr(text_blocks, "BLOCK_BYTES", size)
    path = write(tmp_path, content)
    got = refused(path, **arguments)
    if isinstance(message, tuple):
        line, token, largest = message
        message = (
            f"{path}, line {line}, column 3: bad id in {token!r}: n_features=3 leaves room for ids up to "
            f"{largest}. Raise n_features, or leave such ids out with unknown_ids='ignore'."
        )
    assert got.endswith(message)


def test_the_first_fault_of_a_late_block_has_its_line(tmp_path, monkeypatch):
    monkeypatch.setattr(text_blocks, "BLOCK_BYTES", 64)
    path = write(tmp_path, b"1 1:1\n" * 1000 + b"1 1:1 2\n" + b"1 x:1\n")
    assert refused(path).startswith(f"{path}, line 1001, column 7: bad pair in '2': ")


def test_long_tokens_are_shortened(tmp_path):
    path = write(tmp_path, b"1 1:1 " + b"x" * 100_000 + b"\n")
    assert f"column 7: bad pair in '{'x' * 57}...' (100000 characters): " in refused(path)
    path = write(tmp_path, b"1 " + b"9" * 100_000 + b":1\n")
    assert f"bad id in '{'9' * 57}...' (100002 characters): " in refused(path)


def test_a_fault_at_the_end_of_a_long_line(tmp_path):
    path = write(tmp_path, b"1 " + b"1:1 " * 300_000 + b"1;1")
    assert refused(path) == f"{path}, line 1, column 1200003: bad pair in '1;1': {NOT_A_PAIR}"


@pytest.mark.parametrize("content", [b"", b"\n", b" \n\t\r\n", b"# 1 1:1\n#", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n"])
@pytest.mark.parametrize("suffix", ["", *COMPRESS])
def test_files_without_rows(tmp_path, content, suffix):
    path = write(tmp_path, COMPRESS[suffix](content) if suffix else content)
    expected = f"{path} holds no rows; give a file with one row a line: label id:value id:value ..."
    assert refused(path) == expected


@pytest.mark.parametrize(
    ("content", "where"),
    [
        (b"1 1:1\n1 2:1\0\n", " (line 2, column 3: '2:1\\x00')"),
        ("1 1:1\n".encode("utf-16"), " (line 1, column 1: '\\\\xff\\\\xfe1\\x00')"),
        (b"\0" * 5_000_000, ""),
        (b"\x89PNG\r\n\x1a\n", " (line 1, column 1: '\\\\x89PNG')"),
        (b"1 1:1\n1 caf\xe9:1\n", " (line 2, column 3: 'caf\\\\xe9:1')"),
        (b"1 1:1\n1 1:\x01\n", " (line 2, column 3: '1:\\x01')"),
    ],
)
def test_binary_files(tmp_path, content, where):
    path = write(tmp_path, content)
    assert refused(path) == (
        f"{path} is a binary file, no text{where}; give libsvm, libfm or libffm text, plain or compressed as .gz, "
        ".xz, .bz2 or .zst (text in UTF-16 or Latin-1 must become UTF-8 first)."
    )


@pytest.mark.parametrize("suffix", COMPRESS)
def test_compressed_files_cut_anywhere(tmp_path, suffix):
    whole = COMPRESS[suffix](GOOD)
    for size in range(1, len(whole)):
        path = write(tmp_path, whole[:size])
        message = refused(path)
        assert message.startswith(f"{path} is a cut or damaged compressed file ("), size
        assert message.endswith("); copy or download it again.")


@pytest.mark.parametrize("suffix", COMPRESS)
def test_compressed_files_with_a_flipped_bit(tmp_path, suffix):
    """Refused, or read as if nothing had happened: some bits of the header mean nothing."""
    whole = COMPRESS[suffix](GOOD)
    n_refused = 0
    for at in range(len(whole)):
        path = write(tmp_path, whole[:at] + bytes([whole[at] ^ 16]) + whole[at + 1 :])
        try:
            text_tools.assert_same_rows(read_text(path), GOOD)
        except TextFormatError:
            n_refused += 1
    assert n_refused >= len(whole) - 10


def test_no_block_behind_what_cannot_be_read(tmp_path):
    blocks = text_blocks.TextBlocks([write(tmp_path, b"\n" + b"1" * 99 + b"\0" + b"1" * 999 + b"\n1 1:1\n")], 16)
    buffer = blocks.new_buffer()
    assert blocks.take(buffer).end == 1
    with pytest.raises(TextFormatError, match="binary file"):
        blocks.take(buffer)
    assert blocks.take(buffer) is None


def test_a_fault_is_told_of_before_a_cut_that_comes_behind_it(tmp_path, monkeypatch):
    content = b"1 x:1\n" + b"".join(b"1 %d:1\n" % number for number in range(1000))
    path = write(tmp_path, gzip.compress(content)[:-12], "rows.gz")
    monkeypatch.setattr(text_blocks, "BLOCK_BYTES", 4096)
    at_the_cut = threading.Event()
    parse, take = text_rows.RowCollector._parse, text_blocks.TextBlocks.take

    def wait_and_parse(collector, block, buffers):
        if block.number == 0:
            assert at_the_cut.wait(30)
        return parse(collector, block, buffers)

    def note_and_take(blocks, buffer):
        try:
            return take(blocks, buffer)
        except TextFormatError:
            at_the_cut.set()
            raise

    monkeypatch.setattr(text_rows.RowCollector, "_parse", wait_and_parse)
    monkeypatch.setattr(text_blocks.TextBlocks, "take", note_and_take)
    with pytest.raises(TextFormatError, match="line 1, column 3: bad id in 'x:1'"):
        read_text(path, format="libsvm", n_jobs=2)


def test_garbage_behind_a_compressed_file(tmp_path):
    path = write(tmp_path, gzip.compress(GOOD) + b"garbage")
    assert "is a cut or damaged compressed file (Not a gzipped file" in refused(path)


def test_a_file_that_is_not_there(tmp_path):
    path = str(tmp_path / "none.txt")
    assert refused(path, MissingFileError) == f"There is no file {path!r}; give the name of a text file."
    for kind in (Path, os.fsencode):
        assert refused(kind(path), MissingFileError) == refused(path, MissingFileError)
    with pytest.raises(FileNotFoundError):
        read_text(path)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (".", "Is a directory"),
        ("rows.txt/below", "Not a directory"),
        ("x" * 300, "File name too long"),
        ("a\0b", "embedded null byte"),
        ("\ud800", "surrogates not allowed"),
    ],
)
def test_files_that_cannot_be_opened(tmp_path, name, reason):
    write(tmp_path, GOOD)
    message = refused(os.path.join(tmp_path, name), InputError)
    assert "cannot be read: " in message
    assert message.endswith(f"{reason}; give the name of a text file that can be read.")
    message.encode()  # can be printed


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    path = write(tmp_path, GOOD)

    def forbid(*_, **__):
        raise PermissionError(13, "Permission denied", path)

    with monkeypatch.context() as patch:  # to root everything is allowed
        patch.setattr(builtins, "open", forbid)
        message = refused(path, InputError)
    assert message == f"{path!r} cannot be read: Permission denied; give the name of a text file that can be read."


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"base": 2}, "base=2 must be 'auto', 0 or 1: the number that the ids of a text file count from."),
        ({"base": "0"}, "base='0' must be 'auto', 0 or 1: "),
        ({"base": True}, "base=True must be 'auto', 0 or 1: "),
        ({"base": None}, "base=None must be 'auto', 0 or 1: "),
        ({"base": 1.0}, "base=1.0 must be 'auto', 0 or 1: "),
        ({"base": np.array([0, 1])}, r"base=array([0, 1]) must be 'auto', 0 or 1: "),
        ({"format": "libfmm"}, "format='libfmm' is unknown; use one of 'auto', 'libsvm', 'libfm', 'libffm'."),
        ({"unknown_ids": "drop"}, "unknown_ids='drop' is unknown; use one of 'error', 'ignore'."),
        ({"labels": None}, "labels=None is unknown; use one of 'required', 'optional'."),
        ({"n_features": 0}, "n_features=0 must be at least 1."),
        ({"n_features": 2.0}, "n_features=2.0 must be an integer of at least 1."),
        ({"n_features": 10**30}, f"n_features={10**30} must be at most 4611686018427387904."),
    ],
)
def test_arguments(arguments, message):
    """Checked before the file is looked for."""
    with pytest.raises(InputError) as caught:
        read_text("no such file", **arguments)
    assert str(caught.value).startswith(message)


options = st.fixed_dictionaries(
    {},
    optional={
        "n_features": st.integers(1, 9),
        "base": st.sampled_from(["auto", 0, 1]),
        "unknown_ids": st.sampled_from(["error", "ignore"]),
        "labels": st.sampled_from(["required", "optional"]),
    },
)
fuzz = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def read_or_refuse(folder, content: bytes, size: int, arguments) -> None:
    """Either way is fine, but nothing else: other errors, warnings, unsound rows; both walks agree."""
    path = write(folder, content)
    found = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_blocks, "BLOCK_BYTES", size)
        for _ in range(2):
            try:
                data = read_text(path, **arguments)
            except TextFormatError as error:
                found.append(str(error))
            else:
                data.X.check_format(full_check=True)
                assert np.isfinite(data.X.data).all()
                y = b"" if data.y is None else data.y.tobytes()
                found.append((data.X.shape, data.base, y, data.X.indices.tolist(), data.X.data.tobytes()))
            patch.setattr(kernels.text, "read_rows", leave_all)
    assert found[0] == found[1]
    if isinstance(found[0], str):
        assert path in found[0]
        assert len(found[0]) < 700


@fuzz
@given(
    content=st.binary(max_size=80) | st.text("01:-+.e#q id\n\t\r_n", max_size=60).map(str.encode),
    size=st.integers(1, 40),
    arguments=options,
)
@example(content=b"1 1:1\x0b2:1\x0c\n", size=9, arguments={})
@example(content=b"\x1f\x8b\x08", size=9, arguments={})
def test_random_bytes(tmp_path, content, size, arguments):
    read_or_refuse(tmp_path, content, size, arguments)


@fuzz
@given(
    suffix=st.sampled_from(["", "", "", *COMPRESS]),
    edits=st.lists(
        st.tuples(
            st.integers(0, 300), st.integers(0, 3), st.binary(max_size=2) | st.sampled_from([b":", b" ", b"\n"])
        ),
        min_size=1,
        max_size=3,
    ),
    size=st.integers(1, 40),
    arguments=options,
)
def test_changed_files(tmp_path, suffix, edits, size, arguments):
    content = COMPRESS[suffix](GOOD) if suffix else GOOD
    for place, n_removed, added in edits:
        at = place % len(content) if content else 0
        content = content[:at] + added + content[at + n_removed :]
    read_or_refuse(tmp_path, content, size, arguments)
