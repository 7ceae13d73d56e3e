"""CSV by its name: what a category is does not depend on the other rows of the file, nor on who reads it."""

from __future__ import annotations

import datetime

import numpy as np
import pandas as pd
import pytest

from fastfm_deep import DenseFeat, FMClassifier, SparseFeat, TableEncoder, VarLenSparseFeat, load_model
from fastfm_deep.cli import main

# Each pair looks like another type by itself than beside the rest of the file.
MIXED = {
    "zeros": ["007", "8", "A12", "7"],
    "decimals": ["1.50", "1.5", "x", "1e5"],
    "words": ["true", "false", "maybe", "True"],
    "dates": ["2020-01-01", "2020-01-02", "zzz", "20200101"],
}


def csv(path, columns):
    names = list(columns)
    rows = zip(*columns.values(), strict=True)
    path.write_text("\n".join([",".join(names), *(",".join(row) for row in rows)]) + "\n")
    return str(path)


def names_in(encoder, X):
    names = encoder.get_feature_names_out()
    return [names[place] for place in encoder.transform(X).indices]


@pytest.mark.parametrize("kind", MIXED)
@pytest.mark.parametrize("column", [SparseFeat("a"), VarLenSparseFeat("a")])
def test_a_part_of_a_file_is_read_as_the_whole(tmp_path, kind, column):
    values = MIXED[kind]
    whole = csv(tmp_path / "whole.csv", {"a": values, "b": ["1"] * len(values)})
    encoder = TableEncoder([column]).fit(whole)
    assert names_in(encoder, whole) == [f"a={value}" for value in values]
    for value in values:
        part = csv(tmp_path / "part.csv", {"b": ["2"], "a": [value]})
        assert names_in(encoder, part) == [f"a={value}"]
    width = len(encoder.get_feature_names_out())
    encoder.partial_fit(part)
    assert len(encoder.get_feature_names_out()) == width
    # The other way round: what comes later does not change what was there.
    encoder = TableEncoder([column]).fit(part)
    assert names_in(encoder, whole)[-1] == f"a={values[-1]}"


def test_leading_zeros_stay(tmp_path):
    encoder = TableEncoder([SparseFeat("zip")]).fit(csv(tmp_path / "a.csv", {"zip": ["01234", "1234", "001234"]}))
    assert list(encoder.feature_dictionary_["zip"]) == ["01234", "1234", "001234"]


def test_a_file_of_numbers_for_a_frame_of_numbers(tmp_path):
    encoder = TableEncoder([SparseFeat("a"), DenseFeat("x")]).fit({"a": [5, 6], "x": [1.0, 2.0]})
    path = csv(tmp_path / "a.csv", {"a": ["6", "zzz", "5"], "x": ["1.5", "", "2"]})
    assert names_in(encoder, path) == ["a=6", "x", "a=<unknown>", "x=<missing>", "a=5", "x"]


def test_a_frame_for_a_file(tmp_path):
    path = csv(tmp_path / "a.csv", {"n": ["5", "6"], "d": ["2020-01-01", "2020-01-02"]})
    encoder = TableEncoder([SparseFeat("n"), SparseFeat("d")]).fit(path)
    days = [datetime.date(2020, 1, 2), datetime.date(2020, 1, 1)]
    assert names_in(encoder, {"n": [6, 5], "d": days}) == ["n=6", "d=2020-01-02", "n=5", "d=2020-01-01"]
    assert names_in(encoder, [{"n": 6.0, "d": days[0]}]) == ["n=6", "d=2020-01-02"]
    indices, _ = encoder.transform_row({"n": 6, "d": days[0]})
    assert indices.tolist() == encoder.transform([{"n": 6, "d": days[0]}]).indices.tolist()


@pytest.mark.parametrize("moment", [datetime.date(2020, 1, 2), datetime.datetime(2020, 1, 2, 3, 4)])
def test_text_for_dates(moment):
    encoder = TableEncoder([SparseFeat("d")]).fit({"d": [moment, moment + datetime.timedelta(days=1)]})
    expected = encoder.transform({"d": [moment]}).indices.tolist()
    assert encoder.transform({"d": [str(moment)]}).indices.tolist() == expected
    assert encoder.transform_row({"d": str(moment)})[0].tolist() == expected
    unknown = encoder.transform({"d": ["the day before"]}).indices.tolist()
    assert encoder.transform_row({"d": "the day before"})[0].tolist() == unknown == [1]


def test_command_line_and_python_agree(tmp_path):
    generator = np.random.default_rng(0)
    table = pd.DataFrame({"a": generator.choice(["007", "008", "A12", "7"], 400), "n": generator.normal(size=400)})
    table["y"] = (table["a"].str.len() == 3).astype(int)
    table.to_csv(tmp_path / "train.csv", index=False)
    part = table[table["a"] != "A12"].head(50)
    part.to_csv(tmp_path / "test.csv", index=False)
    options = ["--target", "y", "--sparse", "a", "--dense", "n", "--n-epochs", "2", "--random-state", "0"]
    files = [str(tmp_path / name) for name in ("train.csv", "m.safetensors", "test.csv", "scores.csv")]
    assert main(["train", files[0], *options, "-o", files[1], "--quiet"]) == 0
    assert main(["score", files[1], files[2], "--out", files[3], "--quiet"]) == 0
    scores = pd.read_csv(files[3])["score"].to_numpy()
    model = load_model(files[1])
    np.testing.assert_array_equal(model.predict_proba(files[2])[:, 1], scores)
    np.testing.assert_array_equal(model.predict_proba(part)[:, 1], scores)
    encoder = TableEncoder([SparseFeat("a"), DenseFeat("n")])
    ours = FMClassifier(encoder=encoder, n_epochs=2, random_state=0).fit(files[0], table["y"])
    np.testing.assert_array_equal(ours.predict_proba(files[2])[:, 1], scores)
