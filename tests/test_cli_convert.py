"""`convert`: the same rows in another format."""

from __future__ import annotations

import gzip
import subprocess

import numpy as np
import pytest
from cli_tools import child, fails, standard_input

from fastfm_deep import read_text
from fastfm_deep.cli import main

SVM = "1 1:0.5 3:2 # a comment\n\n-1 qid:7 2:1e-3\n0.25\n"
FFM = "1 0:1:0.5 4:3:2\n-1 2:2:0.125\n0.25\n"


@pytest.fixture
def write(tmp_path):
    def write(name: str, text: str) -> str:
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)

    return write


def rows(path, **options):
    data = read_text(path, **options)
    return data.X.toarray().tolist(), data.y.tolist(), data.fields and data.fields.field_of_column.tolist()


def test_libffm_becomes_libsvm(write, tmp_path, capsys):
    source, target = write("in.ffm", FFM), str(tmp_path / "out.txt")
    assert main(["convert", source, target, "--to", "libsvm"]) == 0
    assert capsys.readouterr() == (f"3 rows written to {target}\n", "")
    assert rows(target) == (rows(source)[0], [1.0, -1.0, 0.25], None)
    assert read_text(target, format="libsvm").base == 1


@pytest.mark.parametrize("how", ["sizes", "file"])
def test_libsvm_becomes_libffm(write, tmp_path, how):
    """Ids count from 1 here: the first field is that of the id 1."""
    source, target = write("in.txt", SVM), str(tmp_path / "out.ffm")
    fields = "1,2" if how == "sizes" else write("fields", "0\n4 # of the id 2\n4\n")
    assert main(["convert", source, target, "--to", "libffm", "--fields", fields, "-q"]) == 0
    last = 1 if how == "sizes" else 4
    assert rows(target) == (*rows(source)[:2], [0, last, last])


def test_ids_that_count_from_0(write, tmp_path):
    source, target = write("in.txt", "1 0:1 2:1\n0 1:1\n"), str(tmp_path / "out.ffm")
    assert main(["convert", source, target, "--to", "libffm", "--fields", "1,1,1", "-q"]) == 0
    assert rows(target, base=0) == ([[1, 0, 1], [0, 1, 0]], [1, 0], [0, 1, 2])
    # A part of such text, without an id 0 in it.
    part = write("part.txt", "1 2:1\n")
    assert main(["convert", part, target, "--to", "libffm", "--fields", "1,1,1", "--base", "0", "-q"]) == 0
    assert rows(target, base=0) == ([[0, 0, 1]], [1], [-1, -1, 2])


def test_ids_stay_or_move(write, tmp_path):
    source, target = write("in.txt", SVM), str(tmp_path / "out.txt")
    for options, base in ([], 1), (["--base-out", "0"], 0), (["--base-out", "1"], 1):
        assert main(["convert", source, target, "--to", "libsvm", "-q", *options]) == 0
        assert rows(target, base=base)[0] == rows(source, base=1)[0]


def test_libffm_stays_libffm(write, tmp_path):
    source, target = write("in.ffm", FFM), str(tmp_path / "out.ffm")
    assert main(["convert", source, target, "--to", "libffm", "--base-out", "0"]) == 0
    assert rows(target, base=0) == rows(source, base=1)


def test_what_is_lost_is_told(write, tmp_path, capsys):
    source, target = write("in.ffm", "1 0:1:1 3:2:1\n0 2:1:1 3:2:1\n"), str(tmp_path / "out.ffm")
    assert main(["convert", source, target, "--to", "libffm"]) == 0
    note = (
        f"note: 1 id stands in more than one field of {source}; each counts to the one that it came with first\n"
    )
    assert capsys.readouterr().err == note
    assert rows(target)[2] == [0, 3]
    assert main(["convert", source, target, "--to", "libsvm"]) == 0
    assert capsys.readouterr().err == ""


def test_rows_without_labels(write, capsys):
    assert main(["convert", write("in.txt", "1:1 2:0.5\n3:1\n"), "-", "--to", "libsvm"]) == 0
    assert capsys.readouterr() == ("1:1 2:0.5\n3:1\n", "")


def test_giant_ids_stay(write, capsys):
    assert main(["convert", write("in.txt", "1 4000000000000:1 2:0.5\n"), "-", "--to", "libsvm"]) == 0
    assert capsys.readouterr() == ("1 4000000000000:1 2:0.5\n", "")


def test_standard_input_and_output(capsys):
    with standard_input(gzip.compress(FFM.encode())):
        assert main(["convert", "-", "-", "--to", "libsvm"]) == 0
    assert capsys.readouterr() == ("1 1:0.5 3:2\n-1 2:0.125\n0.25\n", "")


def test_a_closed_pipe_ends_quietly(write):
    source = write("in.txt", SVM * 20_000)
    with child(["convert", source, "-", "--to", "libsvm"], stderr=subprocess.PIPE) as process:
        assert process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(timeout=60) == 0


def test_values_are_the_same_bits(tmp_path, capsys):
    rng = np.random.default_rng(0)
    values = rng.integers(0, 2**32, 2000, dtype=np.uint64).astype(np.uint32).view(np.float32)
    values = values[np.isfinite(values)]
    source, target = tmp_path / "in.txt", tmp_path / "out.txt"
    source.write_text("".join(f"{float(v)!r} {i + 1}:{v:.9g}\n" for i, v in enumerate(values.tolist())))
    assert main(["convert", str(source), str(target), "--to", "libsvm", "-q"]) == 0
    expected, got = read_text(source), read_text(target)
    assert got.X.data.tobytes() == values.tobytes()
    assert got.X.indices.tolist() == expected.X.indices.tolist()
    assert got.y.tobytes() == expected.y.tobytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["{svm}", "{svm}", "--to", "libsvm"],
            "{svm} is the file to be read, too; take another name for the output.",
        ),
        (["absent.txt", "-", "--to", "libsvm"], "absent.txt does not exist"),
        (["{svm}", "-"], "Missing option '--to'"),
        (["{svm}", "-", "--to", "libfm"], "--to=libfm is unknown; use one of 'libsvm', 'libffm'."),
        (
            ["{svm}", "-", "--to", "libsvm", "--from", "csv"],
            "--from=csv is unknown; use one of 'auto', 'libsvm', ",
        ),
        (["{svm}", "-", "--to", "libsvm", "--base-out", "2"], "--base-out=2 is unknown; use one of '0', '1'."),
        (
            ["{svm}", "-", "--to", "libffm"],
            "{svm} names no fields, which libffm text needs; give them with --fields=",
        ),
        (
            ["{svm}", "-", "--to", "libsvm", "--fields", "3"],
            "--fields goes with --to=libffm and libsvm text, not ",
        ),
        (
            ["{ffm}", "-", "--to", "libffm", "--fields", "3"],
            "--fields goes with --to=libffm and libsvm text, not ",
        ),
        (
            ["{svm}", "-", "--to", "libffm", "--fields", "1,1"],
            "--fields=1,1 gives the fields of 2 ids, 1 .. 2, but ",
        ),
        (
            ["{svm}", "-", "--to", "libffm", "--fields", "1,0"],
            "--fields=1,0 holds a field of no ids; give sizes of",
        ),
        (
            ["{svm}", "-", "--to", "libffm", "--fields", "a"],
            "--fields=a is neither a list of sizes nor a file; give",
        ),
        (["{svm}", "-", "--to", "libffm", "--fields", "{ffm}"], "--fields={ffm} is a file without fields ("),
        (["{svm}", "-", "--to", "libffm", "--from", "libffm"], "{svm}, line 1, column 3: bad pair in '1:0.5'"),
        (["{svm}", "/absent/out", "--to", "libsvm"], "which does not exist; create it first."),
    ],
)
def test_what_is_refused(write, capsys, arguments, message):
    names = {"svm": write("in.txt", SVM), "ffm": write("in.ffm", FFM)}
    line = fails(capsys, ["convert", *(argument.format(**names) for argument in arguments)], 2)
    assert message.format(**names) in line
