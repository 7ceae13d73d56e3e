"""The command line when something is wrong: one line on stderr, the right exit code, no traceback."""

from __future__ import annotations

import os
import re
import resource
import signal
from pathlib import Path

import numpy as np
import pytest
from cli_tools import TRAINING, child, fails, make_files

from fastfm_deep import load_model, read_text
from fastfm_deep.cli import main


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, str]:
    return make_files(tmp_path_factory.mktemp("files"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no command given; use train, score, evaluate or demo (fastfm-deep --help tells more)"),
        (["trian"], "No such command 'trian'"),
        (["train"], "Missing argument"),
        (["train", "{train}", "--n-factor", "3"], "No such option"),
        (["train", "{train}", "--n-factors", "many"], "Invalid value for '--n-factors'"),
        (["train", "{train}", "--n-factors", "-1"], "--n-factors=-1 must be at least 0."),
        (["train", "{train}", "--learning-rate", "nan"], "--learning-rate=nan must be a finite number"),
        (["train", "{train}", "--optimizer", "lbfgs"], "--optimizer=lbfgs is unknown; use one of '"),
        (["train", "{train}", "--n-jobs", "0"], "--n-jobs=0 must be a number of threads, or -1"),
        (
            ["train", "{train}", "--task", "ranking"],
            "--task=ranking is unknown; use one of 'binary', 'regression'.",
        ),
        (
            ["train", "{train}", "--format", "csv"],
            "--format=csv is unknown; use one of 'auto', 'libsvm', 'libfm', 'libffm'.",
        ),
        (["train", "{train}", "--base", "2"], "--base=2 is unknown; use one of 'auto', '0', '1'."),
        (["train", "{train}", "--early-stopping-rounds", "2"], "--early-stopping-rounds needs --valid"),
        (["train", "{train}", "--eval-metric", "auc"], "--eval-metric needs --valid"),
        (["train", "{train}", "--valid", "{valid}", "--eval-metric", "rmse"], "--eval-metric=rmse is unknown"),
        (["train", "{train}", "--clip"], "--clip goes with --task=regression alone"),
        (
            ["train", "{rated}", "--task", "regression", "--class-weight", "balanced"],
            "--class-weight goes with --task=binary alone",
        ),
        (["train", "{train}", "--class-weight", "x"], "--class-weight=x is unknown; use one of 'balanced'."),
        (["train", "{train}", "--include-optimizer"], "--include-optimizer needs --out"),
        (["train", "absent.txt"], "absent.txt does not exist; give the name of a text file"),
        (["train", "{train}", "--valid", "absent.txt"], "absent.txt does not exist"),
        (["train", "/"], "/ is a folder; give the name of a text file"),
        (["train", "{train}", "--out", "{train}"], "is one of the files to be read; take another name."),
        (["train", "{train}", "--out", "/dev/null"], "'/dev/null' is a character device, no regular file"),
        (["train", "{train}", "--n-features", "0"], "--n-features=0 must be at least 1."),
        (["train", "{train}", "--n-features", "99999999999999"], "needs parameter tables of"),
        (["train", "{model}"], "model.safetensors is a binary file, no text"),
        (["score", "{model}"], "Missing argument"),
        (["score", "absent.safetensors", "{test}"], "absent.safetensors does not exist"),
        (["score", "{test}", "{test}"], "The model file '{test}' "),
        (["score", "{model}", "{model}"], "model.safetensors is a binary file, no text"),
        (["score", "{model}", "{test}", "--json"], "--json needs --out"),
        (["score", "{model}", "{test}", "--unknown-ids", "guess"], "--unknown-ids=guess is unknown"),
        (["score", "{model}", "{test}", "--out", "{model}"], "is one of the files to be read"),
        (["train", "-", "-"], "'-', the standard input, is named more than once"),
        (["train", "{train}", "--valid", "-", "--test", "-"], "'-', the standard input, is named more than once"),
        (["train", "{train}", "--hash-features", "0"], "--hash-features=0 must be at least 1."),
        (["train", "{train}", "--hash-features", "8", "--compact"], "--hash-features and --compact exclude each"),
        (["train", "{train}", "--compact", "--base", "1"], "--compact and --base exclude each other:"),
        (
            ["train", "{train}", "--hash-features", "8", "--n-features", "9", "--base", "0"],
            "--hash-features and --n-features and --base exclude each other",
        ),
        (["evaluate", "{model}"], "Missing argument"),
        (["evaluate", "{model}", "{bare}"], "bare.txt, line 1, column 1: bad label in "),
        (["evaluate", "{model}", "{rated}"], "labels of {rated}[0]="),
        (["evaluate", "{model}", "{test}", "--unknown-ids", "guess"], "--unknown-ids=guess is unknown"),
        (["evaluate", "{model}", "{test}", "--base", "2"], "--base=2 is unknown; use one of '0', '1'."),
        (["inspect", "absent.safetensors"], "absent.safetensors does not exist"),
        (["inspect", "{test}"], "The model file '{test}' "),
        (["inspect", "{model}", "--top", "-1"], "--top=-1 must be at least 0."),
        (["inspect", "{model}", "--top", "99999"], "--top=99999 must be at most 10000."),
        (["demo", "--n-rows", "10"], "--n-rows=10 must be at least 1000."),
        (["demo", "--random-state", "-3"], "--random-state=-3 must be at least 0."),
    ],
)
def test_bad_usage_is_told_in_one_line(files, capsys, arguments, message):
    line = fails(capsys, [argument.format(**files) for argument in arguments], 2)
    assert message.format(**files) in line


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("1 1:1\n0 2:1\n1 3-1 4:1\n", ["bad.txt", "line 3", "column 3", "3-1"]),
        ("", ["bad.txt holds no rows"]),
        ("1 1:1\n1 2:1\n", ["one label only, 1, but --task=binary needs two"]),
        ("1 1:1\n2 2:1\n3 2:1\n", ["3 different labels (1, 2, 3)", "--task=regression"]),
        ("1:1\n2:1\n", ["bad.txt", "line 1", "column 1", "label"]),
    ],
)
def test_bad_files_are_refused(files, tmp_path, capsys, text, parts):
    bad = tmp_path / "bad.txt"
    bad.write_text(text)
    out = tmp_path / "m.safetensors"
    line = fails(capsys, ["train", str(bad), "--out", str(out)], 2)
    assert [part for part in parts if part not in line] == []
    assert not out.exists()


def test_labels_unknown_to_training_are_told_with_their_file(files, tmp_path, capsys):
    other = tmp_path / "other.txt"
    other.write_text("1 1:1\n7 2:1\n")
    line = fails(capsys, ["train", files["train"], "--valid", str(other)], 2)
    assert f"labels of {other}[1]=" in line
    assert "is none of the classes [0.0, 1.0]" in line


@pytest.mark.parametrize("command", ["train", "score", "demo"])
def test_the_output_is_checked_before_any_work(files, tmp_path, capsys, monkeypatch, command):
    for work in ("fastfm_deep.data.text.read_text", "fastfm_deep.datasets.make_ctr"):
        monkeypatch.setattr(work, lambda *_, **__: pytest.fail("work has started"))
    out = str(tmp_path / "absent" / "m.safetensors")
    inputs = {"train": [files["train"]], "score": [files["model"], files["test"]], "demo": []}[command]
    line = fails(capsys, [command, *inputs, "--out", out], 2)
    assert line == (
        f"The output '{out}' lies in the folder {tmp_path / 'absent'}, which does not exist; create it first."
    )


def test_divergence_is_a_failure_and_leaves_the_output_alone(files, tmp_path, capsys):
    out = tmp_path / "m.safetensors"
    out.write_bytes(b"as before")
    wild = ["--task", "regression", "--optimizer", "sgd", "--learning-rate", "1e20", "--init-std", "10"]
    line = fails(capsys, ["train", files["rated"], *TRAINING, *wild, "--out", str(out)], 1)
    assert line.startswith("Training diverged in epoch 1: ")
    assert "Try --learning-rate=1e+19," in line
    assert out.read_bytes() == b"as before"


def test_a_file_that_vanishes_is_a_failure(files, tmp_path, capsys, monkeypatch):
    gone = tmp_path / "gone.txt"
    gone.write_text(Path(files["train"]).read_text())
    monkeypatch.setattr("fastfm_deep.cli.train._new_estimator", lambda _: gone.unlink())
    assert "gone.txt" in fails(capsys, ["train", str(gone)], 1)


def test_debug_shows_the_traceback(capsys):
    assert main(["train", "absent.txt", "--debug"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[-1].startswith("error: absent.txt does not exist")


def test_unexpected_errors_are_told_in_one_line_too(files, capsys, monkeypatch):
    def fail(*_, **__):
        raise ZeroDivisionError("nothing\nto divide by")

    monkeypatch.setattr("fastfm_deep.cli.texts.read_sets", fail)
    line = fails(capsys, ["train", files["train"]], 1)
    assert line == "unexpected ZeroDivisionError: nothing to divide by; --debug shows where"


# What needs a process of its own


def small_files() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))


def test_a_full_disk_is_a_failure_and_the_previous_file_is_whole(files, tmp_path):
    out = tmp_path / "m.safetensors"
    out.write_bytes(b"as before")
    # Compiled code is not to be written either.
    arguments = ["train", files["train"], *TRAINING, "--out", str(out), "-q"]
    with child(arguments, preexec_fn=small_files) as process:
        output, errors = process.communicate(timeout=60)
    assert process.returncode == 1, errors
    assert output == ""
    assert len(errors.splitlines()) == 1, errors
    assert errors.startswith(f"error: The output '{out}' could not be written: File too large.")
    assert out.read_bytes() == b"as before"
    assert os.listdir(tmp_path) == ["m.safetensors"]


def test_ctrl_c_saves_the_best_weights(files, tmp_path):
    out = tmp_path / "m.safetensors"
    options = ["--n-epochs", "1000000", "--early-stopping-rounds", "1000000", "--valid", files["valid"]]
    arguments = ["train", files["train"], "--n-factors", "4", "--random-state", "0", *options, "--out", str(out)]
    # A shell that starts the tests in the background lets them ignore Ctrl-C.
    awake = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.default_int_handler)}
    with child(arguments, **awake) as process:
        for line in process.stdout:
            if line.split()[:1] == ["5"]:
                break
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    model = load_model(out)
    assert re.fullmatch(
        rf"error: interrupted in epoch \d+; the best weights so far, those of epoch {model.best_epoch_}, were "
        rf"saved to {re.escape(str(out))}\n",
        errors,
    )
    valid = read_text(files["valid"], n_features=200, base=1)
    p = model.predict_proba(valid.X)[:, 1]
    assert -np.mean(np.log(np.where(valid.y == 1, p, 1 - p))) == pytest.approx(model.best_score_, rel=1e-6)


def test_a_closed_pipe_ends_quietly(files, tmp_path):
    many = tmp_path / "many.txt"
    many.write_text(Path(files["test"]).read_text() * 100)
    with child(["score", files["model"], str(many)]) as process:
        assert process.stdout.readline()
        process.stdout.close()
        errors = process.stderr.read()
        assert process.wait(timeout=60) == 0
    assert errors == ""
