"""`inspect --pairs`: which fields act together, in a model alone and on rows."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from cli_table_tools import csv_file, lines_of, make_tables, result_of
from cli_tools import TRAINING, fails, make_files, standard_input, write_fields

from fastfm_deep import FMClassifier, load_model, read_text
from fastfm_deep.cli import main
from fastfm_deep.cli.heat_map import ASCII, UNICODE, heat_map


@pytest.fixture(scope="module", params=["csv", "parquet"])
def tables(request, tmp_path_factory) -> dict[str, str]:
    return make_tables(tmp_path_factory.mktemp("tables"), request.param)


@pytest.fixture(scope="module")
def texts(tmp_path_factory) -> dict[str, str]:
    """libffm text of three fields, libsvm text, and models of both."""
    folder = tmp_path_factory.mktemp("texts")
    found = make_files(folder) | {"ffm": str(write_fields(folder / "ffm.txt", 300, 15))}
    for model in ("fm", "deepfm"):
        found[model] = str(folder / f"{model}.safetensors")
        options = [*TRAINING, "--compact", "--model", model, "--quiet", "--out", found[model]]
        assert main(["train", found["ffm"], *options]) == 0
    return found


def test_pairs_of_a_table(tables, capsys):
    model = load_model(tables["model"])
    found = result_of(capsys, "inspect", tables["model"], "--pairs", "-n", "3")
    names, strengths = model.interaction_strengths()
    assert found["fields"] == list(names) == ["user", "city", "price", "tags"]
    np.testing.assert_array_equal(found["strengths"], strengths)
    pairs = [(strengths[a, b], names[a], names[b]) for a in range(4) for b in range(a, 4)]
    assert [(item["strength"], item["field"], item["other_field"]) for item in found["strongest_pairs"]] == sorted(
        pairs, reverse=True
    )[:3]
    lines = lines_of(capsys, "inspect", tables["model"], "--pairs", "-n", "3")
    assert lines[0] == f"{tables['model']}: FMClassifier, 3 factors"
    at = lines.index("strongest pairs of fields")
    assert lines[at + 1].split() == ["field", "other", "field", "strength"]
    for line, item in zip(lines[at + 2 :], found["strongest_pairs"], strict=False):
        assert line.split() == [item["field"], item["other_field"], f"{item['strength']:.6g}"]
    assert "all pairs of fields" in lines
    assert "strongest pairs of fields" not in lines_of(capsys, "inspect", tables["model"], "--pairs", "-n", "0")


def test_contributions_on_a_table(tables, capsys, monkeypatch):
    from fastfm_deep.cli import frames

    expected = load_model(tables["model"]).explain(tables["test"])
    monkeypatch.setattr(frames, "CHUNK_ROWS", 13)
    found = result_of(capsys, "inspect", tables["model"], "--pairs", "--data", tables["test"], "-n", "2")
    assert found["n_rows"] == expected.n_rows == 50
    assert found["n_unknown"] == 0
    np.testing.assert_allclose(found["linear"], expected.linear, rtol=1e-9)
    np.testing.assert_allclose(found["pairs"], expected.pairs, rtol=1e-9)
    assert found["network"] == 0.0
    assert len(found["largest"]) == 2
    text = "\n".join(lines_of(capsys, "inspect", tables["model"], "--pairs", "--data", tables["test"]))
    assert expected.to_text().rstrip() in text
    assert "\npairs of fields\n" in text
    text = "\n".join(lines_of(capsys, "inspect", tables["model"], "--pairs", "--data", tables["test"], "-n", "0"))
    assert "mean absolute" not in text


@pytest.mark.parametrize("kind", ["fm", "deepfm"])
def test_text(texts, kind, capsys):
    model = load_model(texts[kind])
    found = result_of(capsys, "inspect", texts[kind], "--pairs")
    assert found["fields"] == ["field 0", "field 1", "field 4"]
    found = result_of(capsys, "inspect", texts[kind], "--pairs", "--data", texts["ffm"])
    expected = model.explain(read_text(texts["ffm"], id_map=model.id_map_).X)
    np.testing.assert_allclose(found["pairs"], expected.pairs, rtol=1e-9)
    assert found["network"] == pytest.approx(expected.deep)
    assert (found["network"] > 0) == (kind == "deepfm")
    text = "\n".join(lines_of(capsys, "inspect", texts[kind], "--pairs"))
    assert ("without the network" in text) == (kind == "deepfm")


def test_unknown_ids_are_counted(texts, capsys, tmp_path):
    path = tmp_path / "t.txt"
    path.write_text(Path(texts["ffm"]).read_text().splitlines()[0] + " 0:99999:1\n0:88888:1\n")
    assert main(["inspect", texts["fm"], "--pairs", "--data", str(path)]) == 0
    captured = capsys.readouterr()
    assert captured.err == f"note: 2 of 5 values of {path} have ids unknown to the model; they were left out\n"
    assert result_of(capsys, "inspect", texts["fm"], "--pairs", "--data", str(path))["n_unknown"] == 2
    with standard_input(path.read_bytes()):
        found = result_of(capsys, "inspect", texts["fm"], "--pairs", "--data", "-")
    assert found["n_rows"] == 2


def test_few_features_without_fields(tmp_path, capsys):
    path = tmp_path / "t.txt"
    path.write_text("".join(f"{at % 2} {at % 3 + 1}:1 {at % 4 + 4}:1\n" for at in range(40)))
    model = str(tmp_path / "m")
    assert main(["train", str(path), *TRAINING, "--quiet", "--out", model]) == 0
    found = result_of(capsys, "inspect", model, "--pairs")
    assert found["fields"] == [f"id {at}" for at in range(1, 8)]
    found = result_of(capsys, "inspect", model, "--pairs", "--data", str(path))
    assert found["n_rows"] == 40
    assert found["linear"][0] > 0


def test_models_from_python(tmp_path, capsys):
    X = np.eye(4)
    path, data = str(tmp_path / "m"), tmp_path / "t.txt"
    data.write_text("1:1\n4:1 2:0.5\n")
    FMClassifier(2, n_epochs=1, random_state=0).fit(X, [0, 1, 0, 1]).save(path)
    assert "say so with --base=0 or --base=1" in fails(
        capsys, ["inspect", path, "--pairs", "--data", str(data)], 2
    )
    found = result_of(capsys, "inspect", path, "--pairs", "--data", str(data), "--base", "1")
    assert found["fields"] == [f"feature {at}" for at in range(4)]
    refused = fails(capsys, ["inspect", path, "--pairs", "--data", str(data), "--base", "2"], 2)
    assert "--base=2 is unknown" in refused
    FMClassifier(0, n_epochs=1, random_state=0).fit(X, [0, 1, 0, 1]).save(path)
    assert lines_of(capsys, "inspect", path, "--pairs")[-1] == "no two fields interact"


def test_refusals(tables, texts, tmp_path, capsys):
    def refused(*arguments):
        return fails(capsys, ["inspect", *arguments], 2)

    message = "has 200 features and no fields, so that there are no pairs of fields; of single features at most 64"
    assert message in refused(texts["model"], "--pairs")
    assert "--data goes with --pairs" in refused(tables["model"], "--data", tables["test"])
    assert "--format goes with --data" in refused(texts["fm"], "--pairs", "--format", "libffm")
    assert "--base goes with --data" in refused(texts["fm"], "--base", "1")
    assert "goes with libsvm" in refused(tables["model"], "--pairs", "--data", tables["test"], "--base", "1")
    assert "was trained on a table" in refused(tables["model"], "--pairs", "--data", texts["ffm"])
    assert "was not trained on one" in refused(texts["fm"], "--pairs", "--data", tables["test"])
    assert "does not exist" in refused(texts["fm"], "--pairs", "--data", str(tmp_path / "none"))
    assert "--top=-1 must be at least 0" in refused(texts["fm"], "--pairs", "--top", "-1")
    empty = csv_file(tmp_path / "empty.csv", "user,city,price,tags\n")
    assert "there are no rows" in refused(tables["model"], "--pairs", "--data", empty)
    bad = csv_file(tmp_path / "bad.csv", "user,city,price,tags\n1,Rome,cheap,a\n")
    assert f"{bad}: " in refused(tables["model"], "--pairs", "--data", bad)


def test_heat_map():
    values = np.array([[0.0, 1.0, 0.1], [1.0, 0.0, 4.0], [0.1, 4.0, 2.0]])
    assert heat_map(["user", "city", "tags"], values, ASCII) == [
        "            1  2  3",
        "  tags   1 :: ## ..",
        "  city   2 ##    ..",
        "  user   3 .. ..",
        "  '.' up to 1, ':' up to 2, '*' up to 3, '#' up to 4",
    ]
    assert heat_map(["a"], np.zeros((1, 1)), UNICODE) == []
    many = heat_map([f"column {at}" for at in range(30)], np.full((30, 30), 2.0))
    assert len(many) == 23
    assert many[-1] == "  the 20 with the largest sums of 30 (--json has all)"
    assert max(map(len, many[:-2])) < 100
    assert len(heat_map(["x\n" * 99, "b"], np.ones((2, 2)))[1]) < 50


def test_plain_output_where_nothing_else_can_be_shown(tables, monkeypatch):
    shown = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", shown)
    assert main(["inspect", tables["model"], "--pairs"]) == 0
    shown.flush()
    assert "'#' up to" in shown.buffer.getvalue().decode()
