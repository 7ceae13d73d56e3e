"""The command line: what it prints, writes and returns."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cli_tools import REPOSITORY, TRAINING, fails, make_files, make_rows, write_rows

import fastfm_deep
from fastfm_deep import FMClassifier, FMRegressor, load_model, read_text
from fastfm_deep.cli import main


@pytest.fixture(scope="module")
def made():
    return make_rows()


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, str]:
    return make_files(tmp_path_factory.mktemp("files"))


def test_train_and_score_do_what_the_estimator_does(files, made, capsys):
    X = made[0]
    train, valid, test = (read_text(files[name], n_features=200, base=1) for name in ("train", "valid", "test"))
    expected = FMClassifier(4, n_epochs=3, random_state=0).fit(train.X, train.y, eval_set=[(valid.X, valid.y)])
    got = load_model(files["model"])
    assert got.id_map_[:3] == ("offset", 200, 1)
    assert not hasattr(got, "fields_")
    assert np.array_equal(got.coef_, expected.coef_)
    assert np.array_equal(got.factors_, expected.factors_)
    capsys.readouterr()
    assert main(["score", files["model"], files["test"]]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert captured.out == "".join(f"{p:.9g}\n" for p in expected.predict_proba(test.X)[:, 1])
    assert captured.out == "".join(f"{p:.9g}\n" for p in expected.predict_proba(X[2500:])[:, 1])


def test_train_shows_a_line_for_each_epoch_and_the_final_metrics(files, capsys):
    options = ["--valid", files["valid"], "--test", files["test"]]
    assert main(["train", files["train"], *TRAINING, *options]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    heading, settings, more, _, head, *lines = captured.out.splitlines()
    assert heading.startswith(
        "2,000 train, 500 valid, 500 test rows; 200 features (ids from 1), 6.0 values a row; read in "
    )
    assert settings.startswith("FMClassifier: n_factors=4, optimizer=adagrad, learning_rate=")
    assert more.endswith("random_state=0")
    assert head.split() == ["epoch", "seconds", "rows/s", "train", "loss", "valid", "auc", "valid", "logloss"]
    model = load_model(files["model"])
    assert len(model.history_) == 3
    for line, record in zip(lines[:3], model.history_, strict=True):
        words = line.split()
        assert words[0] == str(record["epoch"])
        assert words[3:6] == [f"{record[name]:.5f}" for name in ("train_loss", "eval_0_auc", "eval_0_logloss")]
    assert lines[0].endswith("  *")
    assert lines[3] == ""
    assert lines[4].split() == ["rows", "logloss", "auc", "accuracy"]
    assert [line.split()[:2] for line in lines[5:8]] == [["train", "2,000"], ["valid", "500"], ["test", "500"]]
    test = read_text(files["test"], n_features=200, base=1)
    p = model.predict_proba(test.X)[:, 1]
    logloss = -np.mean(np.log(np.where(test.y == 1, p, 1 - p)))
    assert lines[7].split()[2] == f"{logloss:.5f}"
    assert lines[7].split()[4] == f"{model.score(test.X, test.y):.5f}"


def test_epochs_are_shown_when_they_happen(files, monkeypatch):
    """Not all at once at the end: each line is written and flushed before the next epoch begins."""
    written = []
    monkeypatch.setattr("fastfm_deep.cli.console.write_out", written.append)
    seen = []

    def fit(self, X, y, eval_set=None, callbacks=None, fit=FMClassifier.fit):
        def count(record):
            seen.append(sum(bool(re.match(r" +\d+ ", text)) for text in written))

        return fit(self, X, y, eval_set=eval_set, callbacks=[*callbacks, count])

    monkeypatch.setattr(FMClassifier, "fit", fit)
    assert main(["train", files["train"], *TRAINING]) == 0
    assert seen == [1, 2, 3]


def test_json_prints_one_object(files, tmp_path, capsys):
    out = str(tmp_path / "m.safetensors")
    assert main(["train", files["train"], *TRAINING, "--valid", files["valid"], "--out", out, "--json"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert captured.out.count("\n") == 1
    result = json.loads(captured.out)
    assert (result["task"], result["n_rows"], result["n_features"], result["base"], result["out"]) == (
        "binary",
        {"train": 2000, "valid": 500},
        200,
        1,
        out,
    )
    model = load_model(out)
    assert result["best_epoch"] == model.best_epoch_
    assert [record["eval_0_auc"] for record in result["history"]] == [r["eval_0_auc"] for r in model.history_]
    assert result["metrics"]["valid"]["logloss"] == pytest.approx(model.history_[-1]["eval_0_logloss"])
    assert result["hyper_parameters"]["n_factors"] == 4
    assert result["hyper_parameters"]["learning_rate"] == FMClassifier().learning_rate
    scores = str(tmp_path / "scores.txt")
    assert main(["score", out, files["test"], "--out", scores, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["n_rows"], result["n_unknown"], result["out"]) == (500, 0, scores)


def test_quiet_is_silent(files, tmp_path, capsys):
    model, scores = str(tmp_path / "m.safetensors"), str(tmp_path / "s.txt")
    assert main(["train", files["train"], *TRAINING, "--out", model, "--quiet"]) == 0
    assert main(["score", model, files["test"], "--out", scores, "-q"]) == 0
    assert main(["demo", "--n-rows", "1000", "--n-epochs", "2", "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")
    assert len(Path(scores).read_text().splitlines()) == 500


def test_scores_into_a_file_are_those_on_standard_output(files, tmp_path, capsys):
    assert main(["score", files["model"], files["test"]]) == 0
    expected = capsys.readouterr().out
    out = tmp_path / "scores.txt"
    out.write_text("old")
    assert main(["score", files["model"], files["test"], "--out", str(out)]) == 0
    assert out.read_text() == expected
    assert capsys.readouterr().out == f"500 rows scored, written to {out}\n"


def test_rows_without_labels_are_scored_too(files, capsys):
    scores = []
    for name in ("test", "bare"):
        assert main(["score", files["model"], files[name]]) == 0
        scores.append(capsys.readouterr().out)
    assert scores[0] == scores[1]


def test_raw_scores_are_log_odds(files, made, capsys):
    assert main(["score", files["model"], files["test"], "--raw"]) == 0
    expected = load_model(files["model"]).decision_function(made[0][2500:])
    assert capsys.readouterr().out == "".join(f"{raw:.9g}\n" for raw in expected)


def test_unknown_ids_add_nothing_and_are_counted(files, tmp_path, capsys):
    known, more = tmp_path / "known.txt", tmp_path / "more.txt"
    known.write_text("1 3:1 5:1\n0 7:1\n1\n")
    more.write_text("1 3:1 5:1 201:9\n0 7:1 99999999999:1\n1 4000:1\n")
    assert main(["score", files["model"], str(known)]) == 0
    expected = capsys.readouterr()
    assert expected.err == ""
    assert main(["score", files["model"], str(more)]) == 0
    captured = capsys.readouterr()
    assert captured.out == expected.out
    assert captured.err == f"note: 3 of 6 values of {more} have ids unknown to the model; they were left out\n"
    assert main(["score", files["model"], str(more), "--quiet"]) == 0
    assert capsys.readouterr() == (expected.out, "")
    line = fails(capsys, ["score", files["model"], str(more), "--unknown-ids", "error"], 2)
    assert "more.txt, line 1, column 11: " in line
    assert "201:9" in line


def test_regression(files, made, tmp_path, capsys):
    out = str(tmp_path / "m.safetensors")
    options = ["--task", "regression", "--valid", files["rated"], "--out", out, "--clip"]
    assert main(["train", files["rated"], *TRAINING, *options]) == 0
    captured = capsys.readouterr()
    assert "valid rmse" in captured.out
    data = read_text(files["rated"], n_features=200)
    expected = FMRegressor(4, n_epochs=3, random_state=0, clip=True).fit(data.X, data.y)
    assert main(["score", out, files["test"]]) == 0
    got = capsys.readouterr().out
    assert got == "".join(f"{value:.9g}\n" for value in expected.predict(made[0][2500:]))


def test_base_and_width_are_settled_over_all_files(tmp_path, capsys):
    train, valid = tmp_path / "train.txt", tmp_path / "valid.txt"
    train.write_text("1 1:1\n0 2:1\n" * 5)
    valid.write_text("1 0:1\n0 6:1\n")  # the only id 0, and the largest id
    out = tmp_path / "m.safetensors"
    arguments = ["train", str(train), "--out", str(out), *TRAINING]
    assert main([*arguments, "--valid", str(valid), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["base"], result["n_features"]) == (0, 7)
    model = load_model(out)
    assert model.id_map_[:3] == ("offset", 7, 0)
    assert np.flatnonzero(model.coef_).tolist() == [1, 2]
    # A file without an id 0 is not taken for one that counts from 1.
    rows = tmp_path / "rows.txt"
    rows.write_text("1:1\n")
    assert main(["score", str(out), str(rows)]) == 0
    expected = model.predict_proba([[0, 1, 0, 0, 0, 0, 0]])[0, 1]
    assert capsys.readouterr().out == f"{expected:.9g}\n"
    assert main([*arguments, "--json", "--base", "1", "--n-features", "10"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["base"], result["n_features"]) == (1, 10)
    assert "--n-features=1 is too small" in fails(capsys, [*arguments, "--n-features", "1"], 2)


def test_several_training_files_are_one(files, made, tmp_path, capsys):
    X, y = made
    parts = [write_rows(tmp_path / f"{n}.txt", X[a:b], y[a:b]) for n, (a, b) in enumerate([(0, 700), (700, 2000)])]
    out = str(tmp_path / "m.safetensors")
    assert main(["train", *map(str, parts), *TRAINING, "--n-features", "200", "--out", out, "-q"]) == 0
    assert np.array_equal(load_model(out).coef_, load_model(files["model"]).coef_)


def test_a_model_from_python_needs_a_base(files, made, tmp_path, capsys):
    X, y = made
    path = str(tmp_path / "m.safetensors")
    FMClassifier(2, n_epochs=1, random_state=0).fit(X, y).save(path)
    assert fails(capsys, ["score", path, files["test"]], 2) == (
        f"{path} was trained from Python and does not tell whether ids in text files count from 0 or from 1; "
        "say so with --base=0 or --base=1."
    )
    assert main(["score", path, files["test"], "--base", "1"]) == 0
    expected = load_model(path).predict_proba(X[2500:])[:, 1]
    assert capsys.readouterr().out == "".join(f"{p:.9g}\n" for p in expected)
    assert "which was trained on ids that count from 1" in fails(
        capsys, ["score", files["model"], files["test"], "--base", "0"], 2
    )


def test_demo_shows_curve_gain_and_equal_scores(tmp_path, capsys):
    out = str(tmp_path / "m.safetensors")
    assert main(["demo", "--n-rows", "20000", "--n-epochs", "4", "--out", out]) == 0
    text = capsys.readouterr().out
    assert "┤" in text
    assert re.search(r"● linear model, best 0\.\d{4} in epoch \d", text)
    assert re.search(r"○ factorization machine, best 0\.\d{4} in epoch \d", text)
    losses = [float(re.search(rf"  {name} +2,000 +(\S+)", text)[1]) for name in ("linear model", "reachable")]
    machine = float(re.search(r"  factorization machine +2,000 +(\S+)", text)[1])
    assert losses[0] > machine > losses[1]
    gain = float(re.search(r"gains (\S+) in logloss", text)[1])
    assert gain == pytest.approx(losses[0] - machine, abs=2e-4)
    assert "loaded and scored 2,000 rows" in text
    assert "the scores are bit-equal" in text
    assert load_model(out).n_features_in_ == 10_000


def test_demo_as_json(capsys):
    assert main(["demo", "--n-rows", "2000", "--n-epochs", "2", "--n-factors", "2", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["bit_equal"] is True
    assert set(result["metrics"]) == {"linear", "machine", "truth"}
    assert len(result["histories"]["machine"]) == 2


def test_version_and_help(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr() == (f"fastfm-deep {fastfm_deep.__version__}\n", "")
    for arguments in (["--help"], ["train", "--help"], ["score", "-h"], ["demo", "--help"]):
        assert main(arguments) == 0
        captured = capsys.readouterr()
        assert captured.out.startswith("Usage: fastfm-deep")
        assert captured.err == ""


def test_every_hyper_parameter_has_its_option(capsys):
    assert main(["train", "--help"]) == 0
    text = capsys.readouterr().out
    names = set(FMClassifier().get_params()) | set(FMRegressor().get_params())
    # These are about Python: going on in the same process, exceptions, and the bar; columns make up the encoder.
    for name in names - {"warm_start", "on_divergence", "verbose", "encoder"}:
        assert f"--{name.replace('_', '-')} " in text


def test_help_is_quick_because_heavy_modules_wait():
    code = "import sys; from fastfm_deep.cli import main; main(['train', '--help']); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert not {"numpy", "numba", "scipy", "sklearn", "safetensors"} & set(done.stdout.splitlines()[-1].split())
