"""The README's commands on real data: they work, and tell the same as the estimators and scikit-learn in Python.

The data sets may not be redistributed; they are looked for in the folder that FASTFM_DEEP_DATA names.
"""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from cli_tools import REPOSITORY
from sklearn import metrics as reference
from table_tools import INTERPRETED
from text_tools import DATA

from fastfm_deep import load_model, read_text
from fastfm_deep.cli import main

pytestmark = pytest.mark.skipif(INTERPRETED, reason="real data take hours without the compiler")


class RealSet(NamedTuple):
    """Files below the folder of the data sets, and what must come out of them."""

    folder: str
    train: str
    test: str
    valid: str | None
    format: str
    base: int
    least_auc: float


SETS = {
    "frappe": RealSet(
        "frappe",
        "frappe.train.resampled.libfm.xz",
        "frappe.test.libfm.xz",
        "frappe.validation.libfm.xz",
        "libfm",
        0,
        0.967,  # as published in BARS
    ),
    "a9a": RealSet("a9a", "a9a.xz", "a9a.t.xz", None, "libsvm", 1, 0.901),  # logistic regression: 0.902
    "xlearn_criteo_ctr": RealSet("xlearn_criteo_ctr", "small_train.txt", "small_test.txt", None, "libffm", 0, 0.5),
}


def commands() -> dict[str, str]:
    """What the table of the README says to do what."""
    text = (REPOSITORY / "README.md").read_text()
    lines = text.partition("| to | xLearn | libffm | here |")[2].splitlines()[2:]
    cells = [line.strip("|").split("|") for line in lines if line.startswith("|")]
    return {row[0].strip(): row[-1].strip().strip("`") for row in cells[:5]}


def run(command: str, files: dict[str, str], capsys, *more: str) -> str:
    """Run a command of the README with other files, and return what it prints."""
    name, *words = shlex.split(command)
    assert name == "fastfm-deep"
    capsys.readouterr()
    assert main([files.get(word, word) for word in words] + list(more)) == 0
    captured = capsys.readouterr()
    assert all(line.startswith("note: ") for line in captured.err.splitlines())
    return captured.out


def found(real: RealSet, folder: Path) -> dict[str, str]:
    """The files that take the place of those in the README."""
    files = {"train.ffm": real.train, "test.ffm": real.test, "valid.ffm": real.valid}
    paths = {name: DATA / real.folder / file for name, file in files.items() if file}
    for path in paths.values():
        if not path.exists():
            pytest.skip(f"{path} is absent: set FASTFM_DEEP_DATA to the folder of the data sets to run this test")
    results = {name: folder / name for name in ("model.safetensors", "scores.txt")}
    return {name: str(path) for name, path in (paths | results).items()}


@pytest.mark.parametrize("name", SETS)
def test_train_score_evaluate(name, tmp_path, capsys):
    real = SETS[name]
    files = found(real, tmp_path)
    tell = commands()
    train = tell["train"]
    if real.valid:
        train += " " + tell["stop early"].removeprefix("… ")
    shown = run(train, files, capsys, "--random-state", "0")
    assert "train loss" in shown
    shown = run(tell["score"], files, capsys)
    result = json.loads(run(tell["measure"], files, capsys, "--json"))

    model = load_model(files["model.safetensors"])
    assert (model.id_map_.kind, model.id_map_.base) == ("offset", real.base)
    assert hasattr(model, "fields_") == (real.format == "libffm")
    test = read_text(files["test.ffm"], real.format, id_map=model.id_map_, unknown_ids="ignore")
    p = model.predict_proba(test.X)[:, 1]
    assert shown == f"{len(p):,} rows scored, written to {files['scores.txt']}\n"
    scores = Path(files["scores.txt"]).read_text().split()
    assert scores == [f"{score:.9g}" for score in p]
    expected = {
        "logloss": reference.log_loss(test.y, p),
        "auc": reference.roc_auc_score(test.y, p),
        "accuracy": reference.accuracy_score(test.y == model.classes_[1], p > 0.5),
        "brier": reference.brier_score_loss(test.y, p),
        "mean_prediction": p.mean(),
        "base_rate": (test.y == model.classes_[1]).mean(),
    }
    assert {key: result["metrics"][key] for key in expected} == pytest.approx(expected, rel=1e-9)
    assert result["n_rows"] == len(p) == sum(found["n_rows"] for found in result["calibration"])
    assert result["metrics"]["auc"] >= real.least_auc
    assert np.isfinite(p).all()
    inside = run(tell["look inside"], files, capsys)
    assert f"{model.n_features_in_:,}" in inside
