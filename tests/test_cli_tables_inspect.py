"""`inspect` on models of tables: their columns, and names for the strongest features."""

from __future__ import annotations

import pytest
from cli_table_tools import DECLARED, TRAINING, lines_of, make_tables, result_of

from fastfm_deep import load_model
from fastfm_deep.cli import main


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, str]:
    return make_tables(tmp_path_factory.mktemp("files"), "parquet")


def test_inspection(files, capsys):
    found = result_of(capsys, "inspect", files["model"], "--top", "4")
    names = load_model(files["model"]).encoder_.get_feature_names_out().tolist()
    assert found["target"] == "clicked"
    assert [(column["name"], column["n_features"]) for column in found["columns"]] == [
        ("user", 13),
        ("city", 4),
        ("price", 2),
        ("tags", 4),
    ]
    assert {item["id"] for item in found["strongest_weights"]} <= set(names)
    assert {key for item in found["strongest_pairs"] for key in item} == {"id", "other_id", "strength"}
    text = "\n".join(lines_of(capsys, "inspect", files["model"], "--top", "2"))
    assert "  name   type    features  values            unknown or missing\n" in text
    assert "  price  dense          2  scaled: standard  indicator\n" in text
    assert "  target            clicked\n" in text
    assert "TableEncoder" not in text
    assert "feature  other feature" in text


def test_inspection_of_parts(files, tmp_path, capsys):
    out = str(tmp_path / "m.safetensors")
    assert main(["train", files["train"], *DECLARED, *TRAINING, "--linear-columns", "price", "-q", "-o", out]) == 0
    lines = lines_of(capsys, "inspect", out)
    assert "  city   sparse         4                    bucket              deep" in lines
    assert "  price  dense          2  scaled: standard  indicator           linear and deep" in lines
