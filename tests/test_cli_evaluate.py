"""`evaluate`: metrics are those of scikit-learn, bins are as they should be."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from cli_tools import TRAINING, fails, make_files
from sklearn import metrics as reference

from fastfm_deep import FMClassifier, load_model, read_text
from fastfm_deep.cli import main
from fastfm_deep.cli.calibration import calibration
from fastfm_deep.training import measures


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, str]:
    return make_files(tmp_path_factory.mktemp("files"))


def test_metrics_of_two_classes(files, capsys):
    assert main(["evaluate", files["model"], files["test"], "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["task"], result["n_rows"], result["n_unknown"]) == ("binary", 500, 0)
    data = read_text(files["test"], n_features=200, base=1)
    p = load_model(files["model"]).predict_proba(data.X)[:, 1]
    rate = data.y.mean()
    expected = {
        "logloss": reference.log_loss(data.y, p),
        "normalized_entropy": reference.log_loss(data.y, p) / reference.log_loss(data.y, np.full(500, rate)),
        "auc": reference.roc_auc_score(data.y, p),
        "accuracy": reference.accuracy_score(data.y, p > 0.5),
        "brier": reference.brier_score_loss(data.y, p),
        "mean_prediction": p.mean(),
        "base_rate": rate,
    }
    assert result["metrics"] == pytest.approx(expected, rel=1e-9)


def test_metrics_of_numbers(files, tmp_path, capsys):
    out = str(tmp_path / "m.safetensors")
    assert main(["train", files["rated"], *TRAINING, "--task", "regression", "--out", out, "-q"]) == 0
    assert main(["evaluate", out, files["rated"], "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["task"], result["n_rows"], result["calibration"]) == ("regression", 2000, None)
    data = read_text(files["rated"])
    answers = load_model(out).predict(data.X)
    expected = {
        "rmse": reference.root_mean_squared_error(data.y, answers),
        "mae": reference.mean_absolute_error(data.y, answers),
        "mse": reference.mean_squared_error(data.y, answers),
        "r2": reference.r2_score(data.y, answers),
    }
    assert result["metrics"] == pytest.approx(expected, rel=1e-9)
    assert main(["evaluate", out, files["rated"]]) == 0
    assert "calibration" not in capsys.readouterr().out


def test_several_files_are_measured_together(files, capsys):
    results = []
    for paths in (["valid", "test"], ["valid"], ["test"]):
        assert main(["evaluate", files["model"], *(files[name] for name in paths), "--json"]) == 0
        results.append(json.loads(capsys.readouterr().out))
    together, *parts = results
    assert together["n_rows"] == 1000
    mean = np.mean([part["metrics"]["logloss"] for part in parts])
    assert together["metrics"]["logloss"] == pytest.approx(mean, rel=1e-12)


def test_what_is_shown(files, capsys):
    assert main(["evaluate", files["model"], files["test"], "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert main(["evaluate", files["model"], files["test"]]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    lines = captured.out.splitlines()
    assert lines[0] == f"500 rows of {files['test']}"
    shown = {name.replace("_", " "): f"{value:.6g}" for name, value in result["metrics"].items()}
    assert {" ".join(line.split()[:-1]): line.split()[-1] for line in lines[2:9]} == shown
    assert lines[10].split() == ["calibration:", "rows", "predicted", "observed"]
    bins = [
        [f"{n_rows}", f"{predicted:.5f}", f"{observed:.5f}"] for n_rows, predicted, observed in bins_of(result)
    ]
    assert [line.split() for line in lines[11:]] == bins
    assert main(["evaluate", files["model"], files["test"], "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")


def bins_of(result):
    return [(found["n_rows"], found["predicted"], found["observed"]) for found in result["calibration"]]


def test_bins_are_tenths_of_the_rows(files, capsys):
    assert main(["evaluate", files["model"], files["test"], "--json"]) == 0
    got = bins_of(json.loads(capsys.readouterr().out))
    data = read_text(files["test"], n_features=200, base=1)
    p = load_model(files["model"]).predict_proba(data.X)[:, 1]
    order = np.argsort(p, kind="stable")
    expected = [(50, p[part].mean(), data.y[part].mean()) for part in np.split(order, 10)]
    assert np.array(got) == pytest.approx(np.array(expected), rel=1e-9)


@pytest.mark.parametrize("n_rows", [1, 2, 9, 10, 11, 101])
def test_bins_hold_all_rows_in_order(n_rows):
    rng = np.random.default_rng(n_rows)
    raw, y = rng.normal(size=n_rows), rng.choice([-1.0, 1.0], n_rows)
    bins = calibration(y, raw)
    assert len(bins) == min(10, n_rows)
    sizes = [found.n_rows for found in bins]
    assert sum(sizes) == n_rows
    assert max(sizes) - min(sizes) <= 1
    assert [found.predicted for found in bins] == sorted(found.predicted for found in bins)
    assert sum(found.n_rows * found.observed for found in bins) == pytest.approx((y > 0).sum())


def test_equal_scores_share_a_bin():
    """A file sorted by label is as well calibrated as the same rows in another order."""
    y = np.repeat([-1.0, 1.0], 50)
    assert calibration(y, np.zeros(100)) == [(100, 0.5, 0.5)]
    raw = np.repeat([2.0, -2.0, 2.0, -2.0], 25)
    assert [(found.n_rows, found.observed) for found in calibration(y, raw)] == [(50, 0.5), (50, 0.5)]


def test_extreme_scores_are_finite():
    y = np.array([-1.0, 1.0, 1.0])
    found = measures.class_metrics(y, np.array([-800.0, 800.0, -800.0]))
    assert found["logloss"] == pytest.approx(800 / 3)
    assert found["brier"] == pytest.approx(1 / 3)
    assert math.isfinite(found["normalized_entropy"])


def test_one_class_alone(files, tmp_path, capsys):
    """Neither AUC nor normalized entropy can be told; the others can."""
    only = tmp_path / "only.txt"
    only.write_text("1 1:1\n1 2:1\n")
    assert main(["evaluate", files["model"], str(only), "--json"]) == 0
    metrics = json.loads(capsys.readouterr().out)["metrics"]
    assert {name for name, value in metrics.items() if value is None} == {"auc", "normalized_entropy"}
    assert metrics["base_rate"] == 1
    assert main(["evaluate", files["model"], str(only)]) == 0
    assert "auc                          nan" in capsys.readouterr().out
    assert math.isnan(measures.number_metrics(np.ones(3), np.zeros(3))["r2"])


def test_a_model_from_python_needs_a_base(files, tmp_path, capsys):
    data = read_text(files["train"], n_features=200, base=1)
    path = str(tmp_path / "m.safetensors")
    FMClassifier(2, n_epochs=1, random_state=0).fit(data.X, data.y).save(path)
    assert fails(capsys, ["evaluate", path, files["test"]], 2).endswith("say so with --base=0 or --base=1.")
    assert main(["evaluate", path, files["test"], "--base", "1"]) == 0
