"""Scores come as rows do: a chunk's are written before the next is read."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from cli_tools import REPOSITORY, child, fails, make_files, standard_input

from fastfm_deep.cli import main
from fastfm_deep.data import text_blocks

WAIT = 60  # seconds; a process needs about one to start


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, str]:
    return make_files(tmp_path_factory.mktemp("files"))


@pytest.fixture(scope="module")
def scored(files) -> list[str]:
    """The lines that belong to the rows of the test file."""
    out = Path(files["model"]).with_name("expected.txt")
    assert main(["score", files["model"], files["test"], "--out", str(out), "--quiet"]) == 0
    return out.read_text().splitlines()


def rows_of(files) -> list[str]:
    return Path(files["test"]).read_text().splitlines()


@pytest.fixture
def scorer(files):
    """A process that scores its standard input, which nothing stands in yet."""
    process = child(["score", files["model"], "-"], stdin=subprocess.PIPE, bufsize=1)
    yield process
    process.kill()
    process.communicate()


def answer(process) -> str:
    """The next score, which must come without further input."""
    ready, _, _ = select.select([process.stdout], [], [], WAIT)
    assert ready, "no answer"
    return process.stdout.readline().rstrip("\n")


def test_each_row_is_answered_when_it_comes(files, scored, scorer):
    for row, score in zip(rows_of(files)[:5], scored, strict=False):
        scorer.stdin.write(row + "\n")
        assert answer(scorer) == score
    out, err = scorer.communicate("\n".join(rows_of(files)[5:20]), timeout=WAIT)
    assert (out.splitlines(), err, scorer.returncode) == (scored[5:20], "", 0)


def test_a_bad_row_ends_a_dialogue(files, scored, scorer):
    scorer.stdin.write(rows_of(files)[0] + "\n\n")
    assert answer(scorer) == scored[0]
    out, err = scorer.communicate("1 1:1 2:x\n", timeout=WAIT)
    assert (out, scorer.returncode) == ("", 2)
    assert err.startswith("error: standard input, line 3, column 7: bad value in '2:x': ")
    assert err.count("\n") == 1


def test_ctrl_c_ends_a_dialogue(files, scored, scorer):
    scorer.stdin.write(rows_of(files)[0] + "\n")
    assert answer(scorer) == scored[0]
    scorer.send_signal(signal.SIGINT)
    out, err = scorer.communicate(timeout=WAIT)
    assert (out, err, scorer.returncode) == ("", "error: interrupted; there are more rows than scores\n", 130)


def test_a_socket_as_standard_input(files, scored):
    """Some programs start others so; a socket cannot be opened by the name /dev/stdin."""
    ours, theirs = socket.socketpair()
    process = child(["score", files["model"], "-"], stdin=theirs)
    theirs.close()
    with ours:
        ours.sendall((rows_of(files)[0] + "\n").encode())
        assert answer(process) == scored[0]
        ours.shutdown(socket.SHUT_WR)
        assert process.communicate(timeout=WAIT) == ("", "")
    assert process.returncode == 0


def test_standard_input_begins_where_others_have_left_it(files, scored, capfd):
    kept = os.dup(0)
    with open(files["test"], "rb", buffering=0) as file:
        file.seek(len(rows_of(files)[0]) + 1)
        os.dup2(file.fileno(), 0)
        try:
            assert main(["score", files["model"], "-"]) == 0
        finally:
            os.dup2(kept, 0)
            os.close(kept)
    assert capfd.readouterr() == ("\n".join(scored[1:]) + "\n", "")


def test_chunks_do_not_change_a_score(files, scored, monkeypatch, capsys):
    monkeypatch.setattr(text_blocks, "BLOCK_BYTES", 200)
    for options in ([], ["--n-jobs", "2"]):
        assert main(["score", files["model"], files["test"], *options]) == 0
        assert capsys.readouterr().out.splitlines() == scored


def bad_at_the_end(files, folder: Path) -> str:
    path = folder / "bad.txt"
    path.write_text("\n".join([*rows_of(files), "1 1:1 x:1"]) + "\n")
    return str(path)


def test_scores_before_a_bad_row_are_written(files, scored, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(text_blocks, "BLOCK_BYTES", 200)
    path = bad_at_the_end(files, tmp_path)
    assert main(["score", files["model"], path]) == 2
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert len(lines) > 490
    assert lines == scored[: len(lines)]
    assert captured.err.startswith(f"error: {path}, line 501, column 7: bad id in 'x:1': ")


def test_a_bad_row_leaves_no_file(files, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(text_blocks, "BLOCK_BYTES", 200)
    path, out = bad_at_the_end(files, tmp_path), tmp_path / "scores.txt"
    for content in (None, "kept"):
        if content:
            out.write_text(content)
        assert "line 501" in fails(capsys, ["score", files["model"], path, "--out", str(out)], 2)
        assert (out.read_text() if out.exists() else None) == content
    assert sorted(found.name for found in tmp_path.iterdir()) == ["bad.txt", "scores.txt"]


def test_unknown_ids_of_all_chunks_are_counted(files, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(text_blocks, "BLOCK_BYTES", 200)
    path = tmp_path / "new.txt"
    path.write_text("1 1:1 500:1\n" * 100)
    assert main(["score", files["model"], str(path)]) == 0
    captured = capsys.readouterr()
    assert captured.out.count("\n") == 100
    assert captured.err == f"note: 100 of 200 values of {path} have ids unknown to the model; they were left out\n"


def test_no_rows_at_all(files, capsys):
    with standard_input(b"# nothing\n"):
        message = fails(capsys, ["score", files["model"], "-"], 2)
    assert message.startswith("standard input holds no rows; ")


def test_a_closed_pipe_ends_it_while_rows_still_come(files):
    """As `yes ROW | fastfm-deep score MODEL - | head -1` does."""
    process = child(["score", files["model"], "-"], stdin=subprocess.PIPE, text=False, bufsize=0)

    def feed():
        with suppress(BrokenPipeError):
            while True:
                process.stdin.write(b"1 1:1 2:1\n" * 1000)

    feeder = threading.Thread(target=feed)
    feeder.start()
    assert process.stdout.readline().strip()
    process.stdout.close()
    assert process.wait(WAIT) == 0
    feeder.join(WAIT)
    assert process.stderr.read() == b""
    for pipe in (process.stdin, process.stderr):
        pipe.close()


MEASURED = """
import resource, sys
from fastfm_deep.cli import main
code = main(sys.argv[1:])
print(code, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
"""


@pytest.mark.parametrize("to_file", [False, True])
def test_memory_does_not_grow_with_the_input(files, tmp_path, to_file):
    """Half a million rows more would take sixty megabytes."""
    line = b" ".join([b"1", *(b"%d:1" % id for id in range(1, 15))]) + b"\n"
    block = line * 10_000
    peaks = []
    for n_blocks in (10, 60):
        out = ["--out", str(tmp_path / "scores.txt"), "--quiet"] if to_file else []
        process = subprocess.Popen(
            [sys.executable, "-c", MEASURED, "score", files["model"], "-", *out],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd=REPOSITORY,
        )
        for _ in range(n_blocks):
            process.stdin.write(block)
        _, err = process.communicate(timeout=WAIT)
        code, peak = err.split()
        assert code == b"0"
        peaks.append(int(peak) / 1024)
    assert peaks[1] - peaks[0] < 25, peaks
    if to_file:
        assert (tmp_path / "scores.txt").stat().st_size > 5_000_000
