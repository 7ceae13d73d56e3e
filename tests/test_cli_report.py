"""`report`: the page of text and of tables, and what is refused before any work."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from cli_table_tools import DECLARED, made_table, make_tables, write_table
from cli_table_tools import TRAINING as TABLE_TRAINING
from cli_tools import TRAINING, fails, make_files, write_fields
from plot_tools import read_page

from fastfm_deep import FMClassifier, load_model, read_text, report
from fastfm_deep.cli import main

CLASS_FIGURES = ["history-0", "roc", "calibration", "scores"]
FIELD_FIGURES = ["importance", "interactions"]


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, str]:
    return make_files(tmp_path_factory.mktemp("files"))


@pytest.fixture(scope="module", params=["csv", "parquet"])
def tables(request, tmp_path_factory) -> dict[str, str]:
    return make_tables(tmp_path_factory.mktemp("tables"), request.param)


def body_of(path: Path) -> str:
    """Without the time it was made at."""
    text = path.read_text()
    return text[: text.index("<footer>")]


def test_text(files, tmp_path, capsys):
    out = tmp_path / "r.html"
    assert main(["report", files["model"], files["test"], "--out", str(out), "--title", "Here"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    n_bytes = out.stat().st_size
    expected = f"500 rows of {files['test']}: report of {n_bytes / 1000:,.0f} kB written to {out}\n"
    assert captured.out == expected
    page = read_page(out)
    assert set(page.figures) >= set(CLASS_FIGURES)
    assert not set(page.figures) & set(FIELD_FIGURES)
    assert "does not know which features belong together" in page.texts["no-importance"]
    data = read_text(files["test"], n_features=200, base=1)
    other = report(load_model(files["model"]), data.X, data.y, tmp_path / "other.html", title="Here")
    assert body_of(out) == body_of(other)


def test_json_quiet_and_default_name(files, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["report", files["model"], files["test"], files["valid"], "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    size = (tmp_path / "report.html").stat().st_size
    assert (result["out"], result["bytes"], result["n_rows"], result["n_unknown"]) == (
        "report.html",
        size,
        1000,
        0,
    )
    assert f"model.safetensors on {files['test']}, {files['valid']}" in Path("report.html").read_text()
    assert main(["report", files["model"], files["test"], "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")


def test_fields_of_libffm(tmp_path, capsys):
    train = write_fields(tmp_path / "t.ffm", 300, 9)
    model, out = str(tmp_path / "m.safetensors"), tmp_path / "r.html"
    options = ["--model", "deepfm", "--dnn-hidden-units", "4", "--compact", "--out", model, "-q"]
    assert main(["train", str(train), *TRAINING, *options]) == 0
    assert main(["report", model, str(train), "-o", str(out), "-q"]) == 0
    page = read_page(out)
    assert list(page.figures) == CLASS_FIGURES + FIELD_FIGURES
    capsys.readouterr()
    strange = tmp_path / "s.ffm"
    strange.write_text("1 0:5:1 1:1000:1\n0 0:1000:1\n")
    assert main(["report", model, str(strange), "-o", str(out)]) == 0
    assert "have ids unknown to the model" in capsys.readouterr().err


def test_numbers(files, tmp_path):
    model, out = str(tmp_path / "m.safetensors"), tmp_path / "r.html"
    assert main(["train", files["rated"], *TRAINING, "--task", "regression", "--out", model, "-q"]) == 0
    assert main(["report", model, files["rated"], "-o", str(out), "-q"]) == 0
    assert list(read_page(out).figures) == ["history-0", "errors", "residuals", "scores"]


def test_tables(tables, tmp_path, capsys):
    out = tmp_path / "r.html"
    assert main(["report", tables["model"], tables["test"], "--out", str(out), "--title", "T"]) == 0
    assert capsys.readouterr().out.startswith(f"50 rows of {tables['test']}: report of ")
    page = read_page(out)
    assert list(page.figures) == CLASS_FIGURES + FIELD_FIGURES
    assert "4: user, city, price, tags" in page.texts["facts"]
    assert "clicked" in page.texts["facts"]
    table = made_table().slice(350, 50)
    model = load_model(tables["model"])
    other = report(model, table, np.array(table["clicked"].to_pylist()), tmp_path / "other.html", title="T")
    assert body_of(out) == body_of(other)


def test_several_tables_and_their_target(tables, tmp_path, capsys):
    out = tmp_path / "r.html"
    arguments = ["report", tables["model"], tables["test"], tables["valid"], "--target", "clicked"]
    assert main([*arguments, "-o", str(out), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["n_rows"], result["n_unknown"]) == (100, None)
    read_page(out)


def test_numbers_of_tables(tmp_path):
    path = write_table(tmp_path / "t.csv", made_table())
    model, out = str(tmp_path / "m.safetensors"), tmp_path / "r.html"
    options = ["--target", "spent", *DECLARED[2:], *TABLE_TRAINING, "--task", "regression", "-o", model, "-q"]
    assert main(["train", path, *options]) == 0
    assert main(["report", model, path, "-o", str(out), "-q"]) == 0
    assert list(read_page(out).figures) == ["history-0", "errors", "residuals", "scores", *FIELD_FIGURES]


def test_options_from_a_file(files, tmp_path):
    config = tmp_path / "run.toml"
    out = tmp_path / "r.html"
    config.write_text(f'[report]\nout = "{out}"\ntitle = "From a file"\n')
    assert main(["report", files["model"], files["test"], "--config", str(config), "-q"]) == 0
    assert "<title>From a file</title>" in out.read_text()


def test_what_is_refused(files, tables, tmp_path, capsys):
    out = str(tmp_path / "r.html")
    model, test = files["model"], files["test"]
    cases = [
        ([model, str(tmp_path / "none.txt")], "does not exist"),
        ([model, test, "--out", str(tmp_path / "none" / "r.html")], "which does not exist"),
        ([model, test, "--out", test], "is one of the files to be read"),
        ([model, test, "--out", model], "is one of the files to be read"),
        ([model, test, "--target", "clicked"], "--target goes with tables"),
        ([model, test, "--base", "7"], "--base=7 is unknown"),
        ([model, test, "--unknown-ids", "what"], "--unknown-ids=what is unknown"),
        ([model, tables["test"]], "was not trained on one"),
        ([model, test, tables["test"]], "give files of one kind"),
        ([tables["model"], test], "was trained on a table"),
        ([tables["model"], tables["test"], "--base", "1"], "--base goes with libsvm"),
        ([tables["model"], tables["test"], "--target", "city"], "is the target"),
        ([tables["model"], tables["test"], "--target", "row"], "row"),
        ([test, test], test),
    ]
    for arguments, text in cases:
        given = arguments if "--out" in arguments else [*arguments, "--out", out]
        assert text in fails(capsys, ["report", *given], 2)
    assert not Path(out).exists()


def test_labels_that_the_model_does_not_know(files, tmp_path, capsys):
    other = tmp_path / "other.txt"
    other.write_text("5 1:1\n0 2:1\n")
    line = fails(capsys, ["report", files["model"], str(other), "-o", str(tmp_path / "r.html")], 2)
    assert line.startswith(f"labels of {other}[0]=5.0")


def test_a_table_without_rows(tables, tmp_path, capsys):
    if tables["test"].endswith(".csv"):
        empty = write_table(tmp_path / "empty.csv", made_table().slice(0, 0))
        line = fails(capsys, ["report", tables["model"], empty, "-o", str(tmp_path / "r.html")], 2)
        assert line.startswith(f"{empty}: there are no rows")


def test_a_model_from_python_needs_a_base(files, tmp_path, capsys):
    data = read_text(files["train"], n_features=200, base=1)
    path, out = str(tmp_path / "m.safetensors"), str(tmp_path / "r.html")
    FMClassifier(2, n_epochs=1, random_state=0).fit(data.X, data.y).save(path)
    assert fails(capsys, ["report", path, files["test"], "-o", out], 2).endswith(
        "say so with --base=0 or --base=1."
    )
    assert main(["report", path, files["test"], "-o", out, "--base", "1", "-q"]) == 0


def test_without_matplotlib(files, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    line = fails(capsys, ["report", files["model"], files["test"], "-o", str(tmp_path / "r.html")], 2)
    assert line == "Plots need matplotlib, which the extra brings: pip install 'fastfm_deep[plot]'."
