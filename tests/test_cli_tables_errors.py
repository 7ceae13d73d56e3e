"""Tables on the command line when something is wrong: one line that names file, column and the way out."""

from __future__ import annotations

import os
import sys

import pyarrow as pa
import pytest
from cli_table_tools import DECLARED, TRAINING, csv_file, made_table, make_tables, write_table
from cli_tools import fails

from fastfm_deep import FMClassifier, SparseFeat, TableEncoder
from fastfm_deep.cli import frames, main
from fastfm_deep.data import arrow_files


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("files")
    found = make_tables(folder, "csv")
    found["text"] = csv_file(folder / "a.txt", "1 1:1\n0 2:1\n1 1:1 2:1\n")
    found["text_model"] = str(folder / "text.safetensors")
    assert main(["train", found["text"], *TRAINING, "-q", "-o", found["text_model"]]) == 0
    return found


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "{train}"], "{train}: a table needs --target=NAME, the column to be predicted."),
        (
            ["train", "{train}", "--target", "click"],
            "{train}: There is no column 'click'. Did you mean 'clicked'?",
        ),
        (
            ["train", "{train}", "--target", "clicked", "--sparse", "usr"],
            "{train}: There is no column 'usr'. Did you mean 'user'?",
        ),
        (
            ["train", "{train}", "--target", "user", "--sparse", "user"],
            "'user' is the target (--target), but --sparse makes it a feature; leave it out of one of them.",
        ),
        (
            ["train", "{train}", "--target", "clicked", "--format", "libsvm", "--base", "1", "--compact"],
            "--compact and --base exclude each other",
        ),
        (
            ["train", "{train}", "--target", "clicked", "--format", "libsvm", "--base", "1"],
            "--format and --base go with libsvm, libfm and libffm text, but {train} is a table; leave them out.",
        ),
        (["train", "{train}", "--target", "clicked", "--hash-features", "8"], "--hash-features goes with libsvm"),
        (["train", "{train}", "--target", "clicked", "--compact"], "--compact goes with libsvm"),
        (["train", "{train}", "--target", "clicked", "--n-features", "8"], "--n-features goes with libsvm"),
        (
            ["train", "{train}", "--target", "clicked", "--fields", "8", "--model", "deepfm"],
            "--fields goes with libsvm",
        ),
        (
            ["train", "{text}", "--target", "y", "--sparse", "a", "--min-count", "2", "--deep-columns", "a"],
            "--target and --sparse and --min-count and --deep-columns go with tables (.csv, .tsv, .parquet), but "
            "{text} is none; leave them out.",
        ),
        (
            ["train", "{train}", "--target", "clicked", "--valid", "{text}"],
            "{train} is a table, but {text} is text;",
        ),
        (
            ["train", "{text}", "--valid", "{valid}"],
            "{valid} is a table, but {text} is text; give files of one kind.",
        ),
        (["train", "absent.csv", "--target", "y"], "absent.csv does not exist; give the name of a .csv, .tsv or "),
        (["train", "a.csv.xz", "--target", "y"], "a.csv.xz does not exist;"),
        (
            ["train", "{train}", "--target", "clicked", "--sparse", "user,"],
            "--sparse=user, must be names of columns",
        ),
        (["train", "{train}", "--target", "clicked", "--min-count", "0"], "--min-count=0 must be at least 1."),
        (
            ["train", "{train}", "--target", "clicked", "--handle-unknown", "skip"],
            "--handle-unknown=skip is unknown; use one of 'bucket', 'ignore', 'error'.",
        ),
        (
            ["train", "{train}", "--target", "clicked", "--separator", ""],
            "--separator= must be a string that is not",
        ),
        (
            ["train", "{train}", *DECLARED, "--linear-columns", "cty"],
            "--linear-columns names 'cty', which is none of the columns that are features; did you mean city?",
        ),
        (
            ["train", "{train}", *DECLARED, "--negative-downsampling", "0"],
            "--negative-downsampling=0.0 must be greater than 0 and at most 1",
        ),
        (
            ["train", "{train}", "--target", "spent", "--task", "regression", "--negative-downsampling", "0.5"],
            "--negative-downsampling goes with --task=binary alone",
        ),
        (
            ["train", "{train}", "--target", "city"],
            "{train}: the target 'city' has 3 different values ('Köln', 'Oslo', 'Rome'), but --task=binary needs ",
        ),
        (
            ["train", "{train}", "--target", "city", "--task", "regression"],
            "{train}, row 2 (the header is row 1): the target 'city' is ",
        ),
        (
            ["train", "{train}", "--target", "clicked", "--dense", "city"],
            "{train}: Column 'city', row 0: 'Köln' is no number, as a dense column needs; correct it, or name the "
            "column in --sparse if its values are categories.",
        ),
        (["score", "{model}", "{text}"], "{model} was trained on a table, but {text} is none; give it a .csv, "),
        (
            ["score", "{text_model}", "{test}"],
            "{test} is a table, but {text_model} was not trained on one; give it ",
        ),
        (["evaluate", "{model}", "{text}"], "{model} was trained on a table, but {text} is none;"),
        (["evaluate", "{text_model}", "{test}"], "{test} is a table, but {text_model} was not trained on one;"),
        (["evaluate", "{model}", "{test}", "{text}"], "{test} is a table, but {text} is text; give files of one"),
        (
            ["score", "{model}", "{test}", "--unknown-ids", "ignore"],
            "--unknown-ids goes with libsvm, libfm and libffm text, but {test} is a table; leave it out.",
        ),
        (
            ["score", "{model}", "{test}", "--base", "0"],
            "--base goes with libsvm, libfm and libffm text, but {test}",
        ),
        (
            ["evaluate", "{model}", "{test}", "--format", "libfm"],
            "--format goes with libsvm, libfm and libffm text,",
        ),
        (
            ["score", "{model}", "{test}", "--keep", "user"],
            "--keep needs a table to write, but standard output has",
        ),
        (
            ["score", "{model}", "{test}", "--keep", "user", "-o", "a.txt"],
            "--keep needs a table to write, but a.txt",
        ),
        (["score", "{model}", "{test}", "--keep", "score", "-o", "a.csv"], "--keep=score names the column that "),
        (
            ["score", "{text_model}", "{text}", "--keep", "user", "-o", "a.csv"],
            "--keep goes with tables (.csv, .tsv, .parquet), but {text} is none",
        ),
        (["score", "{model}", "{test}", "-o", "a.csv.gz"], "--out=a.csv.gz: tables are written as .csv, .tsv or "),
        (["score", "{model}", "{test}", "--keep", "usr", "-o", "a.csv"], "{test}: There is no column 'usr'."),
        (["evaluate", "{text_model}", "{text}", "--target", "y"], "--target goes with tables"),
        (["evaluate", "{model}", "{test}", "--target", "user"], "'user' is the target (--target), but the model "),
        (["evaluate", "{model}", "{test}", "--target", "click"], "{test}: There is no column 'click'."),
        (["evaluate", "{model}", "{test}", "--target", "row_id"], "labels of {test}[0]='"),
        (["score", "{model}", "{test}", "--out", "{test}"], "--out={test} is one of the files to be read; take "),
    ],
)
def test_bad_usage_is_told_in_one_line(files, capsys, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    line = fails(capsys, [argument.format(**files) for argument in arguments], 2)
    if "Köln" in message and "is no number" in message:  # whichever stands first
        line = line.replace(repr(made_table()["city"][0].as_py()), "'Köln'")
    assert line.startswith(message.format(**files))
    assert os.listdir(tmp_path) == []


def test_the_target_of_a_model_from_python_must_be_named(files, tmp_path, capsys):
    path = str(tmp_path / "m.safetensors")
    table = {"user": ["1", "2"] * 5}
    FMClassifier(2, encoder=TableEncoder([SparseFeat("user")]), n_epochs=1).fit(table, [0, 1] * 5).save(path)
    line = fails(capsys, ["evaluate", path, files["test"]], 2)
    assert line == (
        f"{path} was trained from Python and does not tell which column it predicts; name it with --target=NAME."
    )


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("place", ["train", "second", "valid", "test"])
def test_a_missing_label_names_file_and_row(files, tmp_path, capsys, kind, place):
    rows = made_table(20).to_pylist()
    rows[4]["clicked"] = None
    bad = write_table(tmp_path / f"bad.{kind}", pa.Table.from_pylist(rows))
    good = files["train"]
    arguments = {
        "train": [bad],
        "second": [good, bad],
        "valid": [good, "--valid", bad],
        "test": [good, "--test", bad],
    }[place]
    line = fails(capsys, ["train", *arguments, *DECLARED], 2)
    row = "row 6 (the header is row 1)" if kind == "csv" else "row 4 (the first is row 0)"
    assert line == f"{bad}, {row}: the target 'clicked' is missing; leave out rows that have none."
    assert fails(capsys, ["evaluate", files["model"], bad], 2) == line


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("y,a\n1,x\nNaN,x\n", ", row 3 (the header is row 1): the target 'y' is missing; "),
        ("y,a\n1,x\ninf,x\n", ", row 3 (the header is row 1): the target 'y' is inf, no finite number; "),
        ("y,a\n1,x\nmany,x\n", ", row 3 (the header is row 1): the target 'y' is 'many', no finite number; "),
        (
            "y,a\n2024-01-01,x\n2024-01-02,y\n",
            ": the target 'y' is of the type date32[day], but must be numbers; ",
        ),
        ("y,a\n", ": there are no rows, only names of columns; "),
        ("", "' is empty; its first line must hold the names of the columns."),
        ("y,a\n1\n", "', row 2 (the header is row 1): '1' holds 1 values, but the header names 2 columns; "),
    ],
)
def test_files_that_are_wrong(tmp_path, capsys, text, message):
    bad = csv_file(tmp_path / "bad.csv", text)
    line = fails(capsys, ["train", bad, "--target", "y", "--sparse", "a", "--task", "regression"], 2)
    assert line.lstrip("'").startswith(f"{bad}{message}")


def test_a_column_that_is_missing_in_one_file(files, tmp_path, capsys):
    other = csv_file(tmp_path / "other.csv", "user,city,clicked\n1,Rome,yes\n")
    line = fails(capsys, ["train", files["train"], other, *DECLARED], 2)
    assert line.startswith(f"{other}: There is no column 'price'.")
    line = fails(capsys, ["train", files["train"], "--valid", other, *DECLARED], 2)
    assert line.startswith(f"{other}: There is no column 'price'.")
    line = fails(capsys, ["train", files["train"], other, "--target", "clicked"], 2)
    assert line.startswith(f"{other}: There is no column 'row_id'.")


def test_columns_that_do_not_go_together(files, tmp_path, capsys):
    rows = [{**row, "user": [row["user"]]} for row in made_table(9).to_pylist()]
    lists = write_table(tmp_path / "lists.parquet", pa.Table.from_pylist(rows))
    line = fails(capsys, ["train", files["train"], lists, *DECLARED], 2)
    assert line == (
        f"Column 'user' is int64 in {files['train']}, list<element: int64> in {lists}, which do not go together; "
        "bring it to one type first."
    )


def test_a_table_without_features(tmp_path, capsys):
    data = csv_file(tmp_path / "a.csv", "id,y\n" + "".join(f"{row},{row % 2}\n" for row in range(60)))
    line = fails(capsys, ["train", data, "--target", "y"], 2)
    assert line.startswith(f"{data} has no column to propose as a feature (id: each row has a value of its own); ")


def test_other_labels_than_in_training(files, tmp_path, capsys):
    rows = [{**row, "clicked": "perhaps"} for row in made_table(3).to_pylist()]
    other = write_table(tmp_path / "other.csv", pa.Table.from_pylist(rows))
    line = fails(capsys, ["train", files["train"], "--valid", other, *DECLARED], 2)
    assert f"labels of {other}[0]='perhaps'" in line.replace("np.str_('perhaps')", "'perhaps'")
    assert "is none of the classes" in line


def test_unknown_values_name_the_file(files, tmp_path, capsys):
    rows = [{**row, "city": "Lima"} for row in made_table(3).to_pylist()]
    rows[0]["price"] = 1.0
    other = write_table(tmp_path / "other.csv", pa.Table.from_pylist(rows))
    options = ["--target", "clicked", "--sparse", "city", "--handle-unknown", "error"]
    line = fails(capsys, ["train", files["train"], "--valid", other, *options], 2)
    assert line.startswith(f"{other}: Column 'city' holds 'Lima' in row 0, which did not occur in fit")
    line = fails(capsys, ["train", files["train"], other, *options, "--min-count", "4"], 2)
    assert line.startswith(
        f"{files['train']}, {other} (rows counted over all of them): Column 'city' holds 'Lima' in row 300, which "
    )


def test_compression_that_is_not_read(tmp_path, capsys):
    path = csv_file(tmp_path / "a.csv.xz", "x")
    line = fails(capsys, ["train", path, "--target", "y"], 2)
    assert line.startswith(
        f"{path} is a table in a form that is not read: .csv and .tsv may be compressed to .gz, "
    )


@pytest.mark.parametrize("out", ["scores.csv", "scores.parquet", "scores.txt"])
def test_a_failure_leaves_the_old_file(files, tmp_path, capsys, monkeypatch, out):
    """The fault lies in a later part, when scores have been written."""
    monkeypatch.setattr(frames, "CHUNK_ROWS", 5)
    rows = made_table(12).to_pylist()
    bad = tmp_path / "bad.csv"
    write_table(
        bad, pa.Table.from_pylist([{**row, "price": "dear" if at == 8 else "1"} for at, row in enumerate(rows)])
    )
    target = tmp_path / out
    target.write_bytes(b"as before")
    keep = [] if out.endswith("txt") else ["--keep", "user"]
    line = fails(capsys, ["score", files["model"], str(bad), "-o", str(target), *keep], 2)
    assert line.startswith(
        f"{bad}, rows counted from row 5 on: Column 'price', row 3: 'dear' is no number, as a dense column needs;"
    )
    assert target.read_bytes() == b"as before"
    assert sorted(os.listdir(tmp_path)) == sorted(["bad.csv", out])


def test_a_damaged_file_leaves_the_old_one(files, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(arrow_files, "_BLOCK_BYTES", 128)
    monkeypatch.setattr(frames, "CHUNK_ROWS", 2)
    bad = csv_file(tmp_path / "bad.csv", "user,city,price,tags\n" + "1,Rome,2,a\n" * 50 + "1,Rome\n")
    target = tmp_path / "scores.csv"
    target.write_bytes(b"as before")
    line = fails(capsys, ["score", files["model"], bad, "-o", str(target)], 2)
    assert "row 52" in line
    assert "holds 2 values, but the header names 4 columns" in line
    assert target.read_bytes() == b"as before"


def test_a_missing_column_is_told_before_any_work(files, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("fastfm_deep.cli.score.table_answers", lambda *_: pytest.fail("work has started"))
    new = csv_file(tmp_path / "new.csv", "user,city,tags\n1,Rome,a\n")
    line = fails(capsys, ["score", files["model"], new, "-o", str(tmp_path / "scores.csv")], 2)
    assert line == f"{new}: There is no column 'price'. The table has 'user', 'city', 'tags'."
    assert os.listdir(tmp_path) == ["new.csv"]
    twice = csv_file(tmp_path / "twice.csv", "user,city,tags,price,user\n1,Rome,a,2,1\n")
    assert "The column 'user' occurs 2 times" in fails(capsys, ["score", files["model"], twice], 2)


def test_lists_cannot_be_kept(files, tmp_path, capsys):
    table = made_table(3).append_column("l", pa.array([[1], [], None]))
    new = write_table(tmp_path / "new.parquet", table)
    line = fails(capsys, ["score", files["model"], new, "--keep", "l", "-o", str(tmp_path / "s.csv")], 2)
    assert line.startswith(f"{new}: --keep names 'l', which is of the type list<element: int64>; text, numbers, ")


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "{train}", "--target", "clicked"],
        ["score", "{model}", "{test}"],
        ["evaluate", "{model}", "{test}"],
        ["columns", "{train}"],
    ],
)
def test_without_pyarrow(files, capsys, monkeypatch, arguments):
    for name in [name for name in sys.modules if name.partition(".")[0] == "pyarrow"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    line = fails(capsys, [argument.format(**files) for argument in arguments], 2)
    assert line.endswith("needs pyarrow, which the extra brings: pip install 'fastfm_deep[arrow]'.")
