"""The command line and ids: hashed, compact, of libffm text, from standard input."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
from pathlib import Path

import numpy as np
import pytest
from cli_tools import TRAINING, child, fails, make_files, standard_input, write_fields

from fastfm_deep import FMClassifier, load_model, read_text
from fastfm_deep.cli import main
from fastfm_deep.data.id_map import hash_ids


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, str]:
    return make_files(tmp_path_factory.mktemp("files"))


@pytest.fixture(scope="module")
def ffm(tmp_path_factory) -> dict[str, str]:
    """libffm text; validation and test rows have ids that the training rows do not."""
    folder = tmp_path_factory.mktemp("ffm")
    sizes = {"train": (300, 12), "more": (100, 12), "valid": (100, 16), "test": (100, 16)}
    return {
        name: str(write_fields(folder / f"{name}.ffm", n_rows, n_values, seed))
        for seed, (name, (n_rows, n_values)) in enumerate(sizes.items())
    }


OPTIONS = {"hash": (["--hash-features", "64"], {"hash_features": 64}), "table": (["--compact"], {"compact": True})}


@pytest.mark.parametrize("kind", OPTIONS)
def test_training_files_settle_what_ids_become(ffm, tmp_path, capsys, kind):
    options, arguments = OPTIONS[kind]
    out = str(tmp_path / "m.safetensors")
    paths = [ffm["train"], ffm["more"]]
    assert main(["train", *paths, *TRAINING, *options, "--valid", ffm["valid"], "--out", out, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    train = read_text(paths, **arguments)
    valid, test = (
        read_text(ffm[name], id_map=train.id_map, unknown_ids="ignore", labels="optional")
        for name in ("valid", "test")
    )
    assert (result["ids"], result["base"], result["n_fields"]) == (kind, 0, 5)
    assert result["n_rows"] == {"train": 400, "valid": 100}
    assert result["n_unknown"] == {"train": 0, "valid": valid.n_unknown}
    assert (valid.n_unknown > 0) == (kind == "table")
    expected = FMClassifier(4, n_epochs=3, random_state=0).fit(train.X, train.y, eval_set=[(valid.X, valid.y)])
    got = load_model(out)
    assert np.array_equal(got.factors_, expected.factors_)
    assert got.history_[-1]["eval_0_logloss"] == expected.history_[-1]["eval_0_logloss"]
    assert got.id_map_[:3] == train.id_map[:3]
    assert np.array_equal(got.id_map_.ids, train.id_map.ids)
    assert np.array_equal(got.fields_.field_of_column, train.fields.field_of_column)
    assert main(["score", out, ffm["test"]]) == 0
    captured = capsys.readouterr()
    assert captured.out == "".join(f"{p:.9g}\n" for p in expected.predict_proba(test.X)[:, 1])
    n_values = test.X.nnz + test.n_unknown
    note = (
        f"note: {test.n_unknown} of {n_values} values of {ffm['test']} have ids unknown to the model; they were "
    )
    assert captured.err == (note + "left out\n" if test.n_unknown else "")
    assert main(["evaluate", out, ffm["test"], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["n_unknown"] == test.n_unknown
    assert "has no meaning for" in fails(capsys, ["score", out, ffm["test"], "--base", "1"], 2)


def test_unknown_ids_of_a_table_can_be_forbidden(ffm, tmp_path, capsys):
    out = str(tmp_path / "m.safetensors")
    assert main(["train", ffm["train"], *TRAINING, "--compact", "--valid", ffm["valid"], "--out", out]) == 0
    captured = capsys.readouterr()
    assert "features (the ids that occur, 5 fields)" in captured.out
    assert captured.err.startswith("note: ")
    assert captured.err.endswith(f"values of {ffm['valid']} have ids unknown to the model; they were left out\n")
    line = fails(capsys, ["score", out, ffm["test"], "--unknown-ids=error"], 2)
    assert "this id did not occur" in line
    assert line.endswith("Leave such ids out with --unknown-ids=ignore.")


def test_fields_move_with_the_base(tmp_path, capsys):
    """The validation file holds the only id 0, and the largest id."""
    train, valid, out = tmp_path / "t.ffm", tmp_path / "v.ffm", tmp_path / "m"
    train.write_text("1 0:1:1 3:2:1\n0 0:1:1 4:3:1\n")
    valid.write_text("1 7:0:1\n0 3:2:1 8:5:1\n")
    assert main(["train", str(train), "--valid", str(valid), "--out", str(out), "-q", *TRAINING]) == 0
    model = load_model(out)
    assert model.id_map_[:3] == ("offset", 6, 0)
    assert model.fields_.field_of_column.tolist() == [-1, 0, 3, 4, -1, -1]
    assert model.fields_.n_fields == 5


def test_ids_in_several_fields_are_told(tmp_path, capsys):
    train = tmp_path / "t.ffm"
    train.write_text("1 0:1:1 3:2:1\n0 2:1:1 4:3:1\n")
    assert main(["train", str(train), *TRAINING]) == 0
    note = f"note: 1 id stands in more than one field of {train}; each counts to the one that it came with first\n"
    assert capsys.readouterr().err == note


def test_a_giant_id_is_refused_with_the_ways_out(tmp_path, capsys):
    rows = tmp_path / "rows.txt"
    rows.write_text("1 4000000000000:1\n0 1:1\n")
    line = fails(capsys, ["train", str(rows)], 2)
    assert "--n-features=4000000000000 with --n-factors=" in line
    assert "(--hash-features=4194304, for example), or number only the columns that occur (--compact)." in line
    rows.write_text("1 0:4000000000000:1\n0 1:1:1\n")
    line = fails(capsys, ["train", str(rows)], 2)
    assert line.endswith("Hash the ids (--hash-features=4194304) or number only those that occur (--compact).")


def test_inspection_names_hashes_and_fields(ffm, tmp_path, capsys):
    out = str(tmp_path / "m.safetensors")
    assert main(["train", ffm["train"], *TRAINING, "--hash-features", "4096", "--out", out, "-q"]) == 0
    assert main(["inspect", out, "--json", "--top", "100"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["ids"], result["n_fields"]) == ({"kind": "hash", "base": 0, "n_ids": 0}, 5)
    fields = {item["id"]: item["id_field"] for item in result["strongest_weights"]}
    assert len(fields) == 25
    of_ids = {7: 4} | {1000 + i: 0 for i in range(12)} | {10**12 + i: 1 for i in range(12)}
    assert fields == {int(hash_ids(number, 4096)): field for number, field in of_ids.items()}


def test_a_map_given_in_python_is_followed(ffm, tmp_path, capsys):
    train = read_text(ffm["train"], compact=True)
    model = FMClassifier(2, n_epochs=1, random_state=0).fit(train.X, train.y)
    model.id_map_ = train.id_map
    path = str(tmp_path / "m.safetensors")
    model.save(path)
    test = read_text(ffm["test"], id_map=train.id_map, unknown_ids="ignore")
    assert main(["score", path, ffm["test"], "--quiet"]) == 0
    assert capsys.readouterr().out == "".join(f"{p:.9g}\n" for p in model.predict_proba(test.X)[:, 1])


# Standard input


COMPRESSIONS = {"plain": bytes, "gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_rows_from_standard_input(files, capsys, compression):
    """Compressed or not is the reader's to see."""
    assert main(["score", files["model"], files["test"]]) == 0
    expected = capsys.readouterr()
    with standard_input(COMPRESSIONS[compression](Path(files["test"]).read_bytes())):
        assert main(["score", files["model"], "-", "--out", "-"]) == 0
    assert capsys.readouterr() == expected


def test_a_pipe_from_another_process(files, capsys):
    assert main(["score", files["model"], files["test"]]) == 0
    expected = capsys.readouterr().out
    with open(files["test"]) as stdin, child(["score", files["model"], "-"], stdin=stdin) as process:
        assert process.communicate(timeout=60) == (expected, "")
    assert process.returncode == 0


def test_standard_input_is_measured_and_trained_on(files, tmp_path, capsys):
    assert main(["evaluate", files["model"], files["test"], files["valid"]]) == 0
    expected = capsys.readouterr().out.splitlines()
    with standard_input(Path(files["test"]).read_bytes()):
        assert main(["evaluate", files["model"], "-", files["valid"]]) == 0
    got = capsys.readouterr().out.splitlines()
    assert got[0] == f"1,000 rows of standard input, {files['valid']}"
    assert got[1:] == expected[1:]
    out = str(tmp_path / "m.safetensors")
    options = ["--valid", files["valid"], "--test", files["test"], "--out", out, "--quiet"]
    with standard_input(Path(files["train"]).read_bytes()):
        assert main(["train", "-", *TRAINING, *options]) == 0
    assert np.array_equal(load_model(out).factors_, load_model(files["model"]).factors_)


def test_errors_name_standard_input(files, capsys):
    with standard_input(b"1:1\n1:1 2:x\n"):
        line = fails(capsys, ["score", files["model"], "-"], 2)
    assert line.startswith("standard input, line 2, column 5: bad value in '2:x': a value must be a finite number")
    with standard_input(b""):
        assert fails(capsys, ["score", files["model"], "-"], 2).startswith("standard input holds no rows; ")


def test_a_closed_pipe_ends_the_help_quietly():
    with child(["train", "--help"]) as process:
        process.stdout.close()
        assert process.wait(timeout=60) == 0
        assert process.stderr.read() == ""
