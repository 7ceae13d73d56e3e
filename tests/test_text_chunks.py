"""Chunks of rows: the rows of the whole read, in its order, as soon as they are there."""

from __future__ import annotations

import gzip
import os
import threading

import numpy as np
import pytest
import scipy.sparse as sp
from text_tools import write

from fastfm_deep import IdMap, InputError, TextFormatError, read_text
from fastfm_deep.data import text_blocks
from fastfm_deep.data.text_chunks import read_text_chunks

MAP = IdMap.by_offset(9, base=1)


def rows(n_rows: int, seed: int = 0) -> bytes:
    """Rows of one to four pairs, every third without a label, with comments and blank lines between."""
    rng = np.random.default_rng(seed)
    lines = []
    for number in range(n_rows):
        pairs = [f"{rng.integers(1, 10)}:{rng.normal():.17g}" for _ in range(rng.integers(1, 5))]
        lines.append(" ".join([f"{rng.normal():.3g}"] * (number % 3 > 0) + pairs))
        if number % 50 == 0:
            lines += ["# a comment", ""]
    return "\n".join(lines).encode()


def assert_same_rows(chunks, expected):
    chunks = list(chunks)
    X = sp.vstack([chunk.X for chunk in chunks], format="csr")
    for got, wanted in ((X.indptr, expected.X.indptr), (X.indices, expected.X.indices)):
        assert np.array_equal(got, wanted)
    assert X.data.tobytes() == expected.X.data.tobytes()
    assert X.shape == expected.X.shape
    y = [np.full(chunk.X.shape[0], np.nan) if chunk.y is None else chunk.y for chunk in chunks]
    assert np.array_equal(np.concatenate(y), expected.y, equal_nan=True)
    assert sum(chunk.n_unknown for chunk in chunks) == expected.n_unknown
    assert all(chunk.X.shape[0] > 0 for chunk in chunks)
    return chunks


@pytest.mark.parametrize("n_jobs", [1, 3])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_chunks_are_the_whole_in_pieces(tmp_path, monkeypatch, n_jobs, suffix):
    monkeypatch.setattr(text_blocks, "BLOCK_BYTES", 100)
    compress = gzip.compress if suffix else bytes
    paths = [write(tmp_path, compress(rows(500, seed)), f"{seed}{suffix}") for seed in range(2)]
    whole = read_text(paths, id_map=MAP, labels="optional")
    chunks = assert_same_rows(read_text_chunks(paths, MAP, labels="optional", n_jobs=n_jobs), whole)
    assert len(chunks) > 20
    assert all(chunk.id_map is MAP and chunk.base == 1 and chunk.fields is None for chunk in chunks)


@pytest.mark.parametrize(
    "id_map",
    [IdMap.by_offset(5, 0), IdMap.by_offset(20, 0), IdMap.by_hash(4), IdMap.by_table(np.array([9, 2, 7]))],
    ids=lambda id_map: f"{id_map.kind} {id_map.n_features}",
)
def test_ids_become_columns_as_in_the_whole(tmp_path, monkeypatch, id_map):
    monkeypatch.setattr(text_blocks, "BLOCK_BYTES", 100)
    path = write(tmp_path, rows(500))
    rules = {"id_map": id_map, "unknown_ids": "ignore", "labels": "optional"}
    assert_same_rows(read_text_chunks(path, **rules), read_text(path, **rules))


def test_the_format_is_that_of_the_first_pair(tmp_path, monkeypatch):
    monkeypatch.setattr(text_blocks, "BLOCK_BYTES", 20)
    content = b"# nothing\n" * 50 + b"1\n0 qid:3\n" * 50 + b"1 4:2:0.5 1:9:1\n" * 50
    path = write(tmp_path, content)
    assert_same_rows(read_text_chunks(path, MAP), read_text(path, id_map=MAP))
    later = write(tmp_path, content + b"1 2:1\n")
    with pytest.raises(TextFormatError, match=r"line 201, column 3: bad pair in '2:1': a pair must be field:id"):
        list(read_text_chunks(later, MAP))


def until_error(chunks) -> tuple[int, str]:
    """How many rows come, and what is said then."""
    n_rows = 0
    try:
        for chunk in chunks:
            n_rows += chunk.X.shape[0]
    except TextFormatError as error:
        return n_rows, str(error)
    raise AssertionError("no error")


@pytest.mark.parametrize("n_jobs", [1, 2])
@pytest.mark.parametrize(
    "bad", [b"1 2:x\n", b"1 10:1\n", b"x 1:1\n", b"1 1:1:1\n", b"1 1:\0\n"], ids=lambda bad: repr(bad)[2:-3]
)
def test_a_fault_is_told_of_as_in_the_whole_behind_the_rows_before_it(tmp_path, monkeypatch, bad, n_jobs):
    monkeypatch.setattr(text_blocks, "BLOCK_BYTES", 100)
    path = write(tmp_path, rows(400) + b"\n" + bad + rows(10))
    options = {"id_map": MAP, "labels": "optional", "n_jobs": n_jobs}
    with pytest.raises(TextFormatError) as whole:
        read_text(path, **options)
    n_rows, message = until_error(read_text_chunks(path, **options))
    assert message == str(whole.value)
    assert 380 < n_rows <= 400


def test_a_cut_file_gives_what_it_holds(tmp_path, monkeypatch):
    monkeypatch.setattr(text_blocks, "BLOCK_BYTES", 4096)
    whole = rows(40_000)
    path = write(tmp_path, gzip.compress(whole)[:-2000], "rows.gz")
    n_rows, message = until_error(read_text_chunks(path, MAP, labels="optional"))
    assert "is a cut or damaged compressed file" in message
    assert 30_000 < n_rows < 40_000


@pytest.mark.parametrize("content", [b"", b"\n", b"# 1 1:1\n\n"])
def test_no_rows(tmp_path, content):
    path = write(tmp_path, content)
    with pytest.raises(TextFormatError, match="holds no rows"):
        list(read_text_chunks(path, MAP))


def test_arguments_are_checked_at_once(tmp_path):
    with pytest.raises(InputError, match="id_map=None must be an IdMap"):
        read_text_chunks(write(tmp_path, b"1 1:1\n"), None)
    with pytest.raises(InputError, match="format='csv'"):
        read_text_chunks("nowhere", MAP, "csv")
    chunks = read_text_chunks(str(tmp_path / "nowhere"), MAP)
    with pytest.raises(InputError, match="There is no file"):
        next(chunks)


@pytest.fixture
def pipe(tmp_path):
    """A FIFO, open for writing once somebody reads."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    opened = threading.Event()
    files = []

    def connect():
        files.append(path.open("wb", buffering=0))
        opened.set()

    thread = threading.Thread(target=connect)
    thread.start()

    def send(content: bytes) -> None:
        assert opened.wait(30)
        files[0].write(content)

    def end() -> None:
        assert opened.wait(30)
        files[0].close()

    yield str(path), send, end
    end()
    thread.join()


def in_background(action, *arguments):
    thread = threading.Thread(target=action, args=arguments)
    thread.start()
    return thread


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_what_a_pipe_holds_is_not_kept_waiting(pipe, n_jobs):
    path, send, end = pipe
    chunks = read_text_chunks(path, MAP, n_jobs=n_jobs)
    sender = in_background(send, b"1 1:1\n0 2:1\n1 3:")
    assert next(chunks).y.tolist() == [1, 0]
    sender.join()
    send(b"1")
    sender = in_background(send, b"\n")
    assert next(chunks).X.indices.tolist() == [2]
    sender.join()
    send(b"# nothing to answer\n")
    send(b"0 9:1")
    end()  # the last line end may be missing
    assert next(chunks).X.indices.tolist() == [8]
    assert next(chunks, None) is None


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_one_byte_at_a_time(pipe, monkeypatch, n_jobs):
    monkeypatch.setattr(text_blocks, "BLOCK_BYTES", 8)
    path, send, end = pipe
    content = b"\xef\xbb\xbf1 1:1 2:0.5\n\n# comment\n" + b"0 3:1\n" * 20

    def dribble():
        for byte in content:
            send(bytes([byte]))
        end()

    sender = in_background(dribble)
    chunks = list(read_text_chunks(path, MAP, n_jobs=n_jobs))
    sender.join()
    assert np.concatenate([chunk.y for chunk in chunks]).tolist() == [1] + [0] * 20
    assert np.concatenate([chunk.X.indices for chunk in chunks]).tolist() == [0, 1] + [2] * 20


def test_lines_are_counted_through_all_chunks(pipe):
    path, send, _ = pipe
    chunks = read_text_chunks(path, MAP)
    for _ in range(3):
        sender = in_background(send, b"1 1:1\n# comment\n")
        assert next(chunks).X.shape == (1, 9)
        sender.join()
    sender = in_background(send, b"1 1:1\n1 1:y\n")
    with pytest.raises(TextFormatError, match="line 8, column 3: bad value in '1:y'"):
        list(chunks)
    sender.join()


def test_a_long_line_comes_through_a_pipe_in_parts(pipe):
    path, send, end = pipe

    def write_slowly():
        for _ in range(100):
            send(b"1 " + b"7:1 " * 4000)
            send(b"8:2 " * 4000 + b"\n")
        end()

    sender = in_background(write_slowly)
    chunks = list(read_text_chunks(path, MAP, n_jobs=2))
    sender.join()
    assert sum(chunk.X.nnz for chunk in chunks) == 800_000
    assert sum(chunk.X.shape[0] for chunk in chunks) == 100


def test_a_reader_may_stop_early(pipe):
    path, send, _ = pipe
    chunks = read_text_chunks(path, MAP)
    sender = in_background(send, b"1 1:1\n")
    assert next(chunks).X.shape == (1, 9)
    sender.join()
    chunks.close()
    with pytest.raises(BrokenPipeError):
        send(b"1 1:1\n")


def test_a_pipe_that_never_blocks(tmp_path):
    """As programs hand it down that set their end so, both ends being one."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    kept = os.dup(0)
    os.dup2(reading, 0)
    try:
        chunks = read_text_chunks(text_blocks.STDIN, MAP)
        for _ in range(2):
            timer = threading.Timer(0.1, os.write, (writing, b"1 1:1\n"))
            timer.start()
            assert next(chunks).y.tolist() == [1]
            timer.join()
        timer = threading.Timer(0.1, os.close, (writing,))
        timer.start()
        assert next(chunks, None) is None
        timer.join()
    finally:
        os.dup2(kept, 0)
        for number in (kept, reading):
            os.close(number)
