"""How far `score` is, on a terminal; nowhere else is anything of it seen."""

from __future__ import annotations

import fcntl
import gzip
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from cli_table_tools import made_table, make_tables, write_table
from cli_tools import child, make_files, standard_input

from fastfm_deep.cli import main, progress
from fastfm_deep.data import arrow_files, text_blocks
from fastfm_deep.data.id_map import IdMap
from fastfm_deep.data.text_chunks import read_text_chunks

DONE = r"score: 100%\|[^\r\n]*\| {} rows \[00:\d\d<00:00, [\d.]+[kM]? rows/s\]\r\n"


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, str]:
    """Models and files to score by their kind."""
    folder = tmp_path_factory.mktemp("files")
    found = make_files(folder)
    found |= {f"table {name}": path for name, path in make_tables(folder, "csv").items()}
    found["parquet"] = write_table(folder / "test.parquet", made_table().slice(350, 50))
    return found


def inputs(files, kind: str) -> tuple[str, str, int]:
    """A model, a file that it scores and the number of rows."""
    if kind == "text":
        return files["model"], files["test"], 500
    return files["table model"], files["table test" if kind == "csv" else "parquet"], 50


KINDS = ["text", "csv", "parquet"]


class Terminal:
    """What a terminal was sent."""

    def __init__(self) -> None:
        self.master, self.slave = pty.openpty()
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("4H", 24, 100, 0, 0))

    def text(self) -> str:
        """All of it, once no one can write any more."""
        parts = []
        while True:
            try:
                part = os.read(self.master, 1 << 16)
            except OSError:  # nobody has it open
                break
            if not part:
                break
            parts.append(part)
        os.close(self.master)
        return b"".join(parts).decode()


@contextmanager
def stderr_terminal(monkeypatch) -> Iterator[Terminal]:
    """Let standard error of this process be a terminal."""
    terminal = Terminal()
    with open(terminal.slave, "w") as stream, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", stream)
        yield terminal


@pytest.mark.parametrize("kind", KINDS)
def test_a_terminal_sees_rows_and_speed(files, kind, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(progress, "DELAY", 0)
    model, path, n_rows = inputs(files, kind)
    expected, out = tmp_path / "expected.txt", tmp_path / "out.txt"
    assert main(["score", model, path, "-o", str(expected), "-q"]) == 0
    with stderr_terminal(monkeypatch) as terminal:
        assert main(["score", model, path, "-o", str(out)]) == 0
    assert re.search("\r" + DONE.format(n_rows) + "$", terminal.text())
    assert out.read_bytes() == expected.read_bytes()
    assert capsys.readouterr().out == f"{n_rows} rows scored, written to {out}\n"


@pytest.mark.parametrize("kind", KINDS)
def test_scores_on_standard_output_are_not_disturbed(files, kind, monkeypatch, capsys):
    monkeypatch.setattr(progress, "DELAY", 0)
    model, path, n_rows = inputs(files, kind)
    assert main(["score", model, path, "-q"]) == 0
    expected = capsys.readouterr().out
    assert expected.count("\n") == n_rows
    with stderr_terminal(monkeypatch) as terminal:
        assert main(["score", model, path]) == 0
    assert capsys.readouterr().out == expected
    assert re.search("\r" + DONE.format(n_rows) + "$", terminal.text())


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_where_standard_error_is_no_terminal(files, kind, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(progress, "DELAY", 0)
    model, path, _ = inputs(files, kind)
    assert main(["score", model, path, "-o", str(tmp_path / "out.txt")]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("option", ["--quiet", "--json"])
def test_nothing_when_only_results_are_wanted(files, option, tmp_path, monkeypatch):
    monkeypatch.setattr(progress, "DELAY", 0)
    with stderr_terminal(monkeypatch) as terminal:
        assert main(["score", files["model"], files["test"], "-o", str(tmp_path / "out.txt"), option]) == 0
    assert terminal.text() == ""


def test_nothing_of_what_is_done_at_once(files, tmp_path, monkeypatch):
    monkeypatch.setattr(progress, "DELAY", 600)
    with stderr_terminal(monkeypatch) as terminal:
        assert main(["score", files["model"], files["test"], "-o", str(tmp_path / "out.txt")]) == 0
    assert terminal.text() == ""


def test_nothing_among_scores_that_run_over_the_terminal(files):
    terminal = Terminal()
    process = child(
        ["score", files["model"], "-"], stdin=subprocess.PIPE, stdout=terminal.slave, stderr=terminal.slave
    )
    os.close(terminal.slave)
    rows = Path(files["test"]).read_text().splitlines(keepends=True)
    process.stdin.write(rows[0])
    process.stdin.flush()
    seen = b""
    while b"\n" not in seen:
        seen += os.read(terminal.master, 1 << 16)
    time.sleep(progress.DELAY + 0.2)
    process.stdin.write(rows[1])
    process.stdin.close()
    lines = (seen.decode() + terminal.text()).replace("\r\n", "\n")
    assert process.wait() == 0
    assert re.fullmatch(r"(0\.\d+\n){2}", lines)


def test_rows_of_a_pipe_are_counted_as_they_come(files):
    """By a process of its own: it appears after a while, and knows of no end."""
    terminal = Terminal()
    process = child(["score", files["model"], "-"], stdin=subprocess.PIPE, bufsize=1, stderr=terminal.slave)
    os.close(terminal.slave)
    rows = Path(files["test"]).read_text().splitlines(keepends=True)
    process.stdin.write(rows[0])
    assert process.stdout.readline()
    time.sleep(progress.DELAY + 0.2)
    process.stdin.write("".join(rows[1:5]))
    out, _ = process.communicate()
    assert (process.returncode, out.count("\n")) == (0, 4)
    shown = terminal.text()
    assert "%" not in shown
    assert re.search(r"\rscore: 5 rows \[00:\d\d, [\d.]+ rows/s\] *\r\n$", shown)


def test_an_error_has_a_line_of_its_own(files, tmp_path, monkeypatch):
    monkeypatch.setattr(progress, "DELAY", 0)
    monkeypatch.setattr(text_blocks, "BLOCK_BYTES", 200)
    bad, out = tmp_path / "bad.txt", tmp_path / "out.txt"
    bad.write_text(Path(files["test"]).read_text() + "1 x:1\n")
    with stderr_terminal(monkeypatch) as terminal:
        assert main(["score", files["model"], str(bad), "-o", str(out)]) == 2
    *shown, last = terminal.text().removesuffix("\r\n").split("\r")
    assert any(line.startswith("score: ") for line in shown)
    assert not shown[-1].strip()  # wiped
    assert last.startswith(f"error: {bad}, line 501, ")
    assert not out.exists()


def test_a_note_follows_on_a_new_line(files, tmp_path, monkeypatch):
    monkeypatch.setattr(progress, "DELAY", 0)
    path = tmp_path / "new.txt"
    path.write_text("1 1:1 500:1\n")
    with stderr_terminal(monkeypatch) as terminal:
        assert main(["score", files["model"], str(path), "-o", str(tmp_path / "out.txt")]) == 0
    assert re.search(DONE.format(1) + "note: 1 of 2 values of [^\r\n]*\r\n$", terminal.text())


def text_shares(paths, n_jobs: int = 1) -> list[float]:
    shares: list[float] = []
    chunks = read_text_chunks(paths, IdMap.by_offset(2000, base=0), n_jobs=n_jobs, on_read=shares.append)
    for number, _ in enumerate(chunks):
        assert len(shares) == number + 1  # told before the chunk
    return shares


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_shares_of_text(files, n_jobs, monkeypatch):
    monkeypatch.setattr(text_blocks, "BLOCK_BYTES", 200)
    found = text_shares(files["test"], n_jobs)
    assert len(found) > 3
    assert found == sorted(set(found))
    assert 0 < found[0] < 0.4
    assert found[-1] == 1
    both = text_shares([files["test"], files["valid"]], n_jobs)
    assert both == sorted(both)
    assert both[-1] == 1
    assert any(0.4 < share < 0.6 for share in both)


def test_shares_of_compressed_text_are_of_its_bytes_on_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(text_blocks, "BLOCK_BYTES", 4096)
    ids = np.random.default_rng(0).integers(2000, size=(50_000, 3)).tolist()
    path = tmp_path / "rows.txt.gz"
    path.write_bytes(gzip.compress("".join(f"1 {a}:1 {b}:1 {c}:1\n" for a, b, c in ids).encode()))
    found = text_shares(str(path))
    assert len(found) > 3
    assert found == sorted(found)
    assert 0 < found[0] < 0.7
    assert found[-1] == 1


def test_a_pipe_has_no_shares():
    with standard_input(b"1 1:1\n" * 10):
        shares: list[float] = []
        chunks = read_text_chunks(text_blocks.STDIN, IdMap.by_offset(2, base=0), on_read=shares.append)
        assert sum(chunk.X.shape[0] for chunk in chunks) == 10
    assert shares == []


@pytest.mark.parametrize("batch_rows", [7, 100])
@pytest.mark.parametrize("kind", ["csv", "tsv", "parquet"])
def test_shares_of_tables(kind, batch_rows, tmp_path, monkeypatch):
    monkeypatch.setattr(arrow_files, "_BLOCK_BYTES", 1000)
    path = write_table(tmp_path / f"rows.{kind}", made_table(300))
    shares: list[float] = []
    n_rows = 0
    for table in arrow_files.iter_arrow_file(path, batch_rows, (), (), shares.append):
        n_rows += table.num_rows
        assert shares[-1] == pytest.approx(n_rows / 300, abs=0.1)
    assert (n_rows, len(shares)) == (300, -(-300 // batch_rows))
    assert shares[-1] == 1


def test_no_shares_of_compressed_csv(tmp_path):
    path = tmp_path / "rows.csv.gz"
    path.write_bytes(gzip.compress(Path(write_table(tmp_path / "rows.csv", made_table(300))).read_bytes()))
    shares: list[float] = []
    tables = arrow_files.iter_arrow_file(path, 100, (), (), shares.append)
    assert pa.concat_tables(tables).num_rows == 300
    assert shares == []
