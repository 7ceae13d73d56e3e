"""Tables on the command line: training, measuring, scoring and inspecting CSV and Parquet files."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet
import pytest
from cli_table_tools import (
    DECLARED,
    TRAINING,
    csv_file,
    lines_of,
    made_table,
    make_tables,
    result_of,
    write_table,
)

from fastfm_deep import (
    DeepFMClassifier,
    DenseFeat,
    FMClassifier,
    SparseFeat,
    TableEncoder,
    VarLenSparseFeat,
    load_model,
)
from fastfm_deep.cli import frames, main
from fastfm_deep.cli import score as scoring
from fastfm_deep.data import arrow_files

COLUMNS = [SparseFeat("user"), SparseFeat("city"), DenseFeat("price"), VarLenSparseFeat("tags")]


@pytest.fixture(scope="module", params=["csv", "parquet"])
def files(request, tmp_path_factory) -> dict[str, str]:
    return make_tables(tmp_path_factory.mktemp("files"), request.param)


@pytest.fixture(scope="module")
def tables(tmp_path_factory) -> dict[str, str]:
    return make_tables(tmp_path_factory.mktemp("tables"), "csv")


def read(path: str) -> pd.DataFrame:
    return pd.read_csv(path) if path.endswith(".csv") else pd.read_parquet(path)


def test_the_model_is_that_of_python(files, capsys):
    train = read(files["train"])
    model = FMClassifier(3, encoder=TableEncoder(COLUMNS), n_epochs=2, random_state=0, n_jobs=1)
    model.fit(train, train["clicked"])
    loaded = load_model(files["model"])
    test = read(files["test"])
    np.testing.assert_array_equal(loaded.predict_proba(test), model.predict_proba(test))
    assert loaded.target_name_ == "clicked"
    assert loaded.classes_.tolist() == ["no", "yes"]
    scores = [float(line) for line in lines_of(capsys, "score", files["model"], files["test"])]
    np.testing.assert_allclose(scores, model.predict_proba(test)[:, 1], rtol=1e-8)


@pytest.mark.parametrize("kind", ["csv", "tsv", "parquet"])
def test_scores_as_a_table(files, tmp_path, capsys, kind):
    out = str(tmp_path / f"scores.{kind}")
    keep = ["--keep", "user,city", "--keep", "price"]
    result = result_of(capsys, "score", files["model"], files["test"], "--out", out, *keep)
    assert (result["n_rows"], result["n_unknown"], result["out"]) == (50, None, out)
    test = read(files["test"])
    got = pd.read_parquet(out) if kind == "parquet" else pd.read_csv(out, sep="\t" if kind == "tsv" else ",")
    assert list(got.columns) == ["user", "city", "price", "score"]
    assert got["score"].dtype == np.float64
    expected = load_model(files["model"]).predict_proba(test)[:, 1]
    np.testing.assert_array_equal(got["score"], expected)
    assert got["city"].tolist() == test["city"].tolist()
    np.testing.assert_array_equal(got["user"].astype(int), test["user"])
    np.testing.assert_array_equal(got["price"].astype(float), test["price"])


def test_raw_scores_and_lines_in_a_file(files, tmp_path, capsys):
    out = tmp_path / "scores.txt"
    assert main(["score", files["model"], files["test"], "--raw", "--out", str(out)]) == 0
    expected = load_model(files["model"]).decision_function(read(files["test"]))
    np.testing.assert_allclose(np.loadtxt(out), expected, rtol=1e-8)
    assert capsys.readouterr().out == f"50 rows scored, written to {out}\n"


def test_kept_text_of_csv_stays_as_it_stands(tables, tmp_path):
    new = csv_file(tmp_path / "new.csv", 'user,city,price,tags,code\n7,Rome,1.50,a,007\n8,"Os,lo",,b,\n')
    out = tmp_path / "scores.csv"
    assert main(["score", tables["model"], new, "--keep", "code,city,price", "-o", str(out), "-q"]) == 0
    lines = out.read_text().splitlines()
    assert [line.rpartition(",")[0] for line in lines] == ["code,city,price", "007,Rome,1.50", ',"Os,lo",']


def test_kept_columns_of_every_type(tables, tmp_path, monkeypatch):
    monkeypatch.setattr(frames, "CHUNK_ROWS", 2)
    kept = {
        "i": pa.array([None, None, 3, 4]),
        "b": pa.array([None, True, None, False]),
        "s": pa.array([None, None, "x", None]),
        "f": pa.array([0.5, None, 1.5, 2.5], pa.float32()),
        "d": pa.array([0, None, 1, 2], pa.int32()).cast(pa.date32()),
        "c": pa.array(["u", None, "u", "v"]).dictionary_encode(),
        "n": pa.nulls(4),
    }
    table = made_table(4).select(["user", "city", "price", "tags"])
    for name, column in kept.items():
        table = table.append_column(name, column)
    new = write_table(tmp_path / "new.parquet", table)
    for kind in ("parquet", "csv"):
        out = str(tmp_path / f"scores.{kind}")
        assert main(["score", tables["model"], new, "--keep", ",".join(kept), "-o", out, "-q"]) == 0
    got = pa.parquet.read_table(tmp_path / "scores.parquet").to_pydict()
    for name, column in kept.items():
        assert [None if value is None else str(value)[:10] for value in got[name]] == [
            None if value is None else str(value) for value in column.to_pylist()
        ]
    lines = (tmp_path / "scores.csv").read_text().splitlines()
    assert [line.rpartition(",")[0] for line in lines[1:]] == [
        ",,,0.5,1970-01-01,u,",
        ",true,,,,,",
        "3,,x,1.5,1970-01-02,u,",
        "4,false,,2.5,1970-01-03,v,",
    ]


def test_evaluation(files, capsys):
    result = result_of(capsys, "evaluate", files["model"], files["valid"], files["test"])
    test = pd.concat([read(files["valid"]), read(files["test"])])
    model = load_model(files["model"])
    p = model.predict_proba(test)[:, 1]
    hit = test["clicked"] == "yes"
    assert result["metrics"]["logloss"] == pytest.approx(-np.mean(np.log(np.where(hit, p, 1 - p))))
    assert result["n_rows"] == 100
    assert main(["evaluate", files["model"], files["test"]]) == 0
    assert "calibration" in capsys.readouterr().out


def test_the_target_of_a_model_from_python(tables, tmp_path, capsys):
    train = read(tables["train"])
    path = str(tmp_path / "m.safetensors")
    FMClassifier(2, encoder=TableEncoder(COLUMNS), n_epochs=1).fit(train, train["clicked"]).save(path)
    result = result_of(capsys, "evaluate", path, tables["test"], "--target", "clicked")
    assert result["n_rows"] == 50


def test_what_training_tells(files, capsys):
    watched = ["--valid", files["valid"], "--test", files["test"]]
    result = result_of(capsys, "train", files["train"], *DECLARED, *TRAINING, *watched)
    assert result["n_rows"] == {"train": 300, "valid": 50, "test": 50}
    assert (result["target"], result["n_fields"], result["left_out"]) == ("clicked", 4, {})
    assert [(column["type"], column["name"]) for column in result["columns"]] == [
        ("sparse", "user"),
        ("sparse", "city"),
        ("dense", "price"),
        ("varlen", "tags"),
    ]
    assert result["n_features"] == load_model(files["model"]).n_features_in_
    assert "eval_0_auc" in result["history"][0]
    assert main(["train", files["train"], *DECLARED, *TRAINING, *watched]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith(
        "300 train, 50 valid, 50 test rows; 4 columns (2 sparse, 1 dense, 1 varlen), target clicked; read in "
    )
    assert captured.err == ""


def test_columns_are_proposed(files, capsys):
    capsys.readouterr()
    assert main(["train", files["train"], "--target", "clicked", *TRAINING]) == 0
    note = capsys.readouterr().err
    assert note.startswith(
        "note: columns proposed: sparse user, city; dense price, spent; varlen tags; left out: row_id (each row "
        "has a value of its own). "
    )
    result = result_of(capsys, "train", files["train"], "--target", "clicked", "--min-count", "2", *TRAINING)
    assert [column.get("min_count") for column in result["columns"]] == [2, 2, None, 2, None]
    assert result["left_out"] == {"row_id": "each row has a value of its own"}


def test_numbers_to_predict(files, capsys, tmp_path):
    out = str(tmp_path / "m.safetensors")
    options = ["--target", "spent", "--task", "regression", "--sparse", "user,city", "--varlen", "tags"]
    result = result_of(capsys, "train", files["train"], *options, *TRAINING, "--test", files["test"], "-o", out)
    assert set(result["metrics"]["test"]) == {"rmse", "mae"}
    measured = result_of(capsys, "evaluate", out, files["test"])
    assert measured["metrics"]["rmse"] == pytest.approx(result["metrics"]["test"]["rmse"])


@pytest.mark.parametrize("values", [["0", "1"], ["true", "false"], ["-1.0", "2.0"], ["no", "maybe so"]])
def test_two_values_of_any_kind(tmp_path, capsys, values):
    rows = "".join(f"u{i % 5},{values[i * i % 3 % 2]}\n" for i in range(30))
    data = csv_file(tmp_path / "a.csv", "user,y\n" + rows)
    out = str(tmp_path / "m.safetensors")
    options = ["--target", "y", "--sparse", "user", *TRAINING, "-o", out]
    result = result_of(capsys, "train", data, "--valid", data, "--test", data, *options)
    assert result["metrics"]["train"] == result["metrics"]["test"]
    assert result_of(capsys, "evaluate", out, data)["metrics"]["logloss"] == pytest.approx(
        result["metrics"]["test"]["logloss"]
    )


def test_parts_and_models(files, capsys, tmp_path):
    out = str(tmp_path / "m.safetensors")
    parts = ["--linear-columns", "price,city", "--deep-columns", "user", "--deep-columns", "tags"]
    result = result_of(
        capsys, "train", files["train"], *DECLARED, *TRAINING, *parts, "--model", "deepfm", "-o", out
    )
    assert result["hyper_parameters"]["deep_columns"] == ["user", "tags"]
    model = load_model(out)
    assert isinstance(model, DeepFMClassifier)
    assert (model.linear_columns, model.deep_columns) == (["price", "city"], ["user", "tags"])
    assert len(lines_of(capsys, "score", out, files["test"])) == 50


def test_sampled_negatives(tables, tmp_path, capsys):
    out = str(tmp_path / "m.safetensors")
    plain = result_of(capsys, "train", tables["train"], *DECLARED, *TRAINING)
    sampled = result_of(
        capsys, "train", tables["train"], *DECLARED, *TRAINING, "--negative-downsampling", "0.1", "-o", out
    )
    assert sampled["metrics"]["train"] == pytest.approx(plain["metrics"]["train"])
    assert load_model(out).negative_downsampling == 0.1
    before = [float(line) for line in lines_of(capsys, "score", tables["model"], tables["test"], "--raw")]
    after = [float(line) for line in lines_of(capsys, "score", out, tables["test"], "--raw")]
    np.testing.assert_allclose(after, np.array(before) + np.log(0.1), rtol=1e-6)


def test_files_one_below_the_other(tmp_path, capsys):
    """Columns are found by name; what is text in one file is text in all."""
    first = csv_file(tmp_path / "1.csv", "user,y,price\n007,0,1\n8,1,\n007,1,2\n")
    second = csv_file(tmp_path / "2.csv", "price,more,user,y\n1.5,x,ann,0\n2.5,x,bob,1\n")
    third = str(tmp_path / "3.parquet")
    pl.DataFrame({"y": [True, False], "user": [8, 9], "price": [1, 2]}).write_parquet(third)
    out = str(tmp_path / "m.safetensors")
    options = ["--target", "y", "--sparse", "user", "--dense", "price", *TRAINING, "-o", out]
    result = result_of(capsys, "train", first, second, third, *options)
    assert result["n_rows"] == {"train": 7}
    names = load_model(out).encoder_.get_feature_names_out().tolist()
    assert [name for name in names if name.startswith("user=")] == [
        "user=<unknown>",
        "user=007",
        "user=8",
        "user=ann",
        "user=bob",
        "user=9",
    ]
    # In files by themselves these are integers.
    new = csv_file(tmp_path / "new.csv", "price,user\n1,007\n1,7\n")
    got = [float(line) for line in lines_of(capsys, "score", out, new)]
    expected = load_model(out).predict_proba({"user": ["007", "7"], "price": [1.0, 1.0]})[:, 1]
    np.testing.assert_allclose(got, expected, rtol=1e-8)
    assert got[0] != got[1]


def test_compressed_tables(tables, tmp_path, capsys):
    packed = tmp_path / "test.csv.gz"
    packed.write_bytes(gzip.compress(Path(tables["test"]).read_bytes()))
    expected = lines_of(capsys, "score", tables["model"], tables["test"])
    assert lines_of(capsys, "score", tables["model"], str(packed)) == expected


def test_types_of_a_part_do_not_matter(tables, tmp_path, capsys, monkeypatch):
    """Each part of this file looks like something else: numbers, text, nothing, booleans."""
    monkeypatch.setattr(arrow_files, "_BLOCK_BYTES", 64)
    monkeypatch.setattr(frames, "CHUNK_ROWS", 3)
    rows = [
        *[("7", "12", "3", "1", "1")] * 9,
        *[("x9", "Rome", "4.5", "a|b", "words")] * 9,
        *[("", "", "", "", "")] * 9,
        *[("3", "true", "NA", "b", "2024-01-01")] * 9,
    ]
    new = csv_file(tmp_path / "new.csv", "user,city,price,tags,other\n" + "\n".join(map(",".join, rows)) + "\n")
    got = [float(line) for line in lines_of(capsys, "score", tables["model"], new)]
    missing = {"": None, "NA": None}
    expected = load_model(tables["model"]).predict_proba(
        {
            "user": [int(row[0]) if row[0].isdigit() else row[0] or None for row in rows],
            "city": [row[1] or None for row in rows],
            "price": [float(missing.get(row[2], row[2]) or "nan") for row in rows],
            "tags": [row[3] or None for row in rows],
        }
    )
    np.testing.assert_allclose(got, expected[:, 1], rtol=1e-8)


@pytest.mark.parametrize(
    ("column", "odd"),
    [
        (["true", "false", "true"], "maybe"),
        (["2024-01-01", "2024-01-02", "2024-01-01"], "soon"),
        (["2024-01-01 10:00:00", "2024-01-02 00:00:00", "2024-01-01 10:00:00"], "soon"),
        (["2024-01-01 10:00:00Z", "2024-01-02 00:00:00Z", "2024-01-01 10:00:00Z"], "soon"),
        (["1.5", "2", "1.5"], "two"),
        (["1", "2", "1"], "two"),
        (["00:10", "00:20", "00:10"], "7"),
    ],
)
def test_categories_of_every_kind(tmp_path, capsys, column, odd):
    """A value that training knew scores as then, whatever else stands in the file."""
    rows = "".join(f"{value},{place % 2}\n" for place, value in enumerate(column * 5))
    data = csv_file(tmp_path / "a.csv", "kind,y\n" + rows)
    out = str(tmp_path / "m.safetensors")
    assert main(["train", data, "--target", "y", "--sparse", "kind", *TRAINING, "-q", "-o", out]) == 0
    known = lines_of(capsys, "score", out, csv_file(tmp_path / "known.csv", "kind\n" + "\n".join(column) + "\n"))
    model = load_model(out)
    names = model.encoder_.get_feature_names_out()
    assert len(names) == 4, names  # "missing", <unknown> and two values
    mixed = lines_of(capsys, "score", out, csv_file(tmp_path / "mixed.csv", "kind\n" + "\n".join([*column, odd])))
    assert mixed[:3] == known
    assert mixed[0] != mixed[1]
    assert mixed[3] not in known


def test_memory_is_bounded(tables, tmp_path, monkeypatch, capsys):
    seen = []
    answers = scoring.table_answers

    def counted(estimator, columns, n_rows, raw=False):
        seen.append(n_rows)
        return answers(estimator, columns, n_rows, raw)

    expected = lines_of(capsys, "score", tables["model"], tables["test"])
    monkeypatch.setattr(scoring, "table_answers", counted)
    monkeypatch.setattr(frames, "CHUNK_ROWS", 7)
    assert lines_of(capsys, "score", tables["model"], tables["test"]) == expected
    assert seen == [7] * 7 + [1]


def test_other_columns_and_their_order_do_not_matter(files, tmp_path, capsys):
    test = read(files["test"])
    kind = files["test"].rpartition(".")[2]
    table = pa.Table.from_pandas(test[["tags", "price", "city", "user"]].assign(more="x"), preserve_index=False)
    other = write_table(tmp_path / f"other.{kind}", table)
    expected = lines_of(capsys, "score", files["model"], files["test"])
    assert lines_of(capsys, "score", files["model"], other) == expected


@pytest.mark.parametrize("rule", ["bucket", "ignore", "error"])
def test_unknown_categories(tables, tmp_path, capsys, rule):
    out = str(tmp_path / "m.safetensors")
    # Of rows without missing values, which are an error, too.
    known = csv_file(tmp_path / "known.csv", "user,tags,y\nann,a,1\nbob,b|a,0\nann,b,0\ncid,b,1\n")
    options = ["--target", "y", "--sparse", "user", "--varlen", "tags", *TRAINING, "--handle-unknown", rule]
    assert main(["train", known, *options, "-q", "-o", out]) == 0
    new = csv_file(tmp_path / "new.csv", "user,tags\nann,a\nzed,a\n")
    if rule == "error":
        capsys.readouterr()
        assert main(["score", out, new]) == 2
        assert capsys.readouterr().err == (
            f"error: {new}: Column 'user' holds 'zed' in row 1, which did not occur in fit, and "
            "--handle-unknown=error forbids it; --handle-unknown=bucket lets such values share a feature, "
            "'ignore' leaves them out.\n"
        )
        return
    got = [float(line) for line in lines_of(capsys, "score", out, new)]
    np.testing.assert_allclose(got, load_model(out).predict_proba(read(new))[:, 1], rtol=1e-8)


def test_files_without_rows(tables, tmp_path, capsys):
    empty = csv_file(tmp_path / "empty.csv", "user,city,price,tags,clicked\n")
    assert lines_of(capsys, "score", tables["model"], empty) == []
    out = tmp_path / "scores.csv"
    assert main(["score", tables["model"], empty, "-o", str(out), "--keep", "user", "-q"]) == 0
    assert out.read_text() == "user,score\n"


def test_scores_of_text_as_a_table(tmp_path, capsys):
    text = csv_file(tmp_path / "a.txt", "1 1:1\n0 2:1\n1 1:1 2:1\n")
    model, out = str(tmp_path / "m.safetensors"), tmp_path / "scores.csv"
    assert main(["train", text, *TRAINING, "-q", "-o", model]) == 0
    assert main(["score", model, text, "-o", str(out), "-q"]) == 0
    np.testing.assert_allclose(
        pd.read_csv(out)["score"], [float(line) for line in lines_of(capsys, "score", model, text)], rtol=1e-8
    )
