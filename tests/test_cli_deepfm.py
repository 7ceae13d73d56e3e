"""The command line with `--model=deepfm`: options of the network, fields, and what other commands make of it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from cli_tools import TRAINING, fails, make_files, write_fields

from fastfm_deep import DeepFMClassifier, DeepFMRegressor, FieldLayout, FMClassifier, load_model, read_text
from fastfm_deep.cli import main

SIZES = [40, 60, 20, 80]  # of the 200 features
LAYERS = ["--dnn-hidden-units", "8,4"]
DEEP = ["--model", "deepfm", *LAYERS, *TRAINING]


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("files")
    names = make_files(folder)
    names["ffm"] = str(write_fields(folder / "a.ffm", 300, 20))
    names["deep"] = str(folder / "deep.safetensors")
    options = ["--fields", "40,60,20,80", "--valid", names["valid"], "--include-optimizer", "-o", names["deep"]]
    assert main(["train", names["train"], *DEEP, *options, "--quiet"]) == 0
    return names


@pytest.fixture
def trained(tmp_path, capsys):
    """Train on files and options, and look at the model."""

    def train(*arguments: str, layers=LAYERS):
        out = str(tmp_path / "m.safetensors")
        rest = ["--model", "deepfm", *TRAINING, "--n-epochs", "1", "--json"]
        capsys.readouterr()
        assert main(["train", *arguments, *layers, *rest, "--out", out]) == 0
        return load_model(out), json.loads(capsys.readouterr().out)

    return train


@pytest.fixture
def write(tmp_path):
    def write(text: str, name: str = "fields") -> str:
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)

    return write


def texts(files, *names: str):
    return [read_text(files[name], n_features=200, base=1) for name in names]


# The same as from Python


def test_commands_do_what_the_estimator_does(files, capsys):
    train, valid, test = texts(files, "train", "valid", "test")
    expected = DeepFMClassifier(
        4, n_epochs=3, random_state=0, fields=SIZES, dnn_hidden_units=(8, 4), eval_metric=["auc", "logloss"]
    )
    expected.fit(train.X, train.y, eval_set=[(valid.X, valid.y)])
    got = load_model(files["deep"])
    assert np.array_equal(got.factors_, expected.factors_)
    assert np.array_equal(got._model.deep.parameters, expected._model.deep.parameters)
    assert got.fields_.field_of_column.tolist() == np.repeat(range(4), SIZES).tolist()
    capsys.readouterr()
    p = expected.predict_proba(test.X)[:, 1]
    assert main(["score", files["deep"], files["test"]]) == 0
    assert capsys.readouterr().out == "".join(f"{score:.9g}\n" for score in p)
    assert main(["evaluate", files["deep"], files["test"], "--json"]) == 0
    logloss = -np.mean(np.log(np.where(test.y == 1, p, 1 - p)))
    assert json.loads(capsys.readouterr().out)["metrics"]["logloss"] == pytest.approx(logloss)


def test_every_option_arrives(files, trained):
    options = {
        "dnn_activation": "tanh",
        "dnn_dropout": 0.25,
        "dnn_optimizer": "sgd",
        "dnn_learning_rate": 0.02,
        "l2_reg_dnn": 0.001,
        "batch_size": 32,
        "dnn_batch_norm": True,
    }
    given: list[str] = []
    for name, value in options.items():
        given += ["--" + name.replace("_", "-")] + ([] if value is True else [str(value)])
    model, result = trained(files["rated"], "--task", "regression", *given, layers=["--dnn-hidden-units", "8,4"])
    assert type(model) is DeepFMRegressor
    expected = options | {"dnn_hidden_units": (8, 4), "n_factors": 4}
    assert {name: value for name, value in model.get_params().items() if name in expected} == expected
    assert {name: result[name] for name in ("model", "task", "n_fields")} == {
        "model": "deepfm",
        "task": "regression",
        "n_fields": None,
    }
    assert result["hyper_parameters"]["dnn_hidden_units"] == [8, 4]
    assert "fields" not in result["hyper_parameters"]


def test_fm_is_the_default(files, tmp_path):
    out = str(tmp_path / "m.safetensors")
    assert main(["train", files["ffm"], "--compact", *TRAINING, "-o", out, "-q", "--model", "fm"]) == 0
    assert type(load_model(out)) is type(load_model(files["model"])) is FMClassifier


# Fields


def test_libffm_text_brings_its_fields(files, trained):
    model, result = trained(files["ffm"], "--compact")
    own = read_text(files["ffm"], compact=True).fields
    assert np.array_equal(model.fields_.field_of_column, own.field_of_column)
    assert (result["n_fields"], model._model.deep.shape.n_inputs) == (5, 5 * 4)


def test_fields_of_libffm_text_give_way(files, trained):
    model, result = trained(files["ffm"], "--compact", "--fields", "none")
    assert (result["n_fields"], model.fields_, model._model.deep.shape.n_inputs) == (None, None, 2 * 4)
    width = result["n_features"]
    model, result = trained(files["ffm"], "--compact", "--fields", f"{width - 1},1")
    assert (result["n_fields"], model.fields_.n_features) == (2, width)


@pytest.mark.parametrize(
    "text",
    [
        "40,60,20,80",
        "# sizes\n40, 60,\n20,80,\n",
        "# one a line\n" + "".join(f"{field}\n" * size for field, size in enumerate(SIZES)),
    ],
)
def test_fields_from_a_file(files, trained, write, text):
    model, _ = trained(files["train"], "--fields", write(text))
    assert model.fields_.field_of_column.tolist() == np.repeat(range(4), SIZES).tolist()


def test_columns_without_a_field(files, trained, write):
    model, _ = trained(files["train"], "--fields", write("-1\n" + "1\n" * 199))
    assert model.fields_.field_of_column.tolist() == [-1] + [1] * 199


def test_rows_become_as_wide_as_the_fields(files, trained):
    """Ids of later files may lie beyond those of the training files."""
    model, result = trained(files["train"], "--valid", files["valid"], "--fields", "100,150")
    assert (result["n_features"], model.n_features_in_, model.id_map_[:3]) == (250, 250, ("offset", 250, 1))
    model, result = trained(files["train"], "--fields", "100,101", "--base", "0")
    assert (result["n_features"], model.id_map_[:3]) == (201, ("offset", 201, 0))


def test_fields_of_hashed_ids_are_those_of_their_columns(files, trained):
    model, _ = trained(files["ffm"], "--hash-features", "64", "--fields", "32,32")
    assert (model.id_map_.kind, model.n_features_in_, model.fields_.n_fields) == ("hash", 64, 2)


def test_text_without_fields_is_told(files, capsys):
    arguments = ["train", files["train"], *DEEP]
    capsys.readouterr()
    assert main(arguments) == 0
    captured = capsys.readouterr()
    assert captured.err == (
        f"note: {files['train']} names no fields, so the network is fed with vectors of the whole row; --fields "
        "says which columns belong together\n"
    )
    assert "dnn_hidden_units=(8, 4)" in captured.out
    for fields in ("none", "100,100"):
        assert main([*arguments, "--fields", fields]) == 0
        captured = capsys.readouterr()
        assert captured.err == ""
        assert ("2 fields" in captured.out) == (fields != "none")


# Files of options


@pytest.mark.parametrize("top", ["", "[train]\n"])
@pytest.mark.parametrize(
    "options",
    [
        'dnn_hidden_units = [8, 4]\nfields = [40, 60, 20, 80]\nmodel = "deepfm"\ndnn-dropout = 0.5',
        'dnn_hidden_units = "8, 4"\nfields = "40,60,20,80"\nmodel = "deepfm"\ndnn_dropout = 0.5',
    ],
)
def test_options_from_a_file(files, write, capsys, top, options):
    path = write(top + options, "run.toml")
    assert main(["train", files["train"], "--config", path, "--n-epochs", "1", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    parameters = result["hyper_parameters"]
    assert (parameters["dnn_hidden_units"], parameters["dnn_dropout"], result["n_fields"]) == ([8, 4], 0.5, 4)


def test_one_layer_from_a_file(files, write, capsys):
    path = write("dnn_hidden_units = 16", "run.toml")
    assert main(["train", files["train"], "--config", path, "--model=deepfm", "--n-epochs=1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["hyper_parameters"]["dnn_hidden_units"] == [16]


# What is refused


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "fmm"], "--model=fmm is unknown; "),
        (["--model", "fm", "--dnn-dropout", "0.1"], "--dnn-dropout goes with --model=deepfm alone; add that, or "),
        (
            ["--batch-size", "9", "--dnn-batch-norm", "--fields", "none"],
            "--dnn-batch-norm and --batch-size and --fields go with --model=deepfm alone; add that, or leave them",
        ),
        ([*DEEP, "--dnn-hidden-units", "64,0"], "--dnn-hidden-units=8,4,64,0 must be the widths of the hidden "),
        (["--model=deepfm", "--dnn-hidden-units=-1"], "--dnn-hidden-units=-1 must be the widths of the hidden "),
        (["--model=deepfm", "--dnn-hidden-units="], "--dnn-hidden-units= must be the widths of the hidden layers"),
        ([*DEEP, "--dnn-dropout", "1"], "--dnn-dropout=1.0 must be below 1"),
        ([*DEEP, "--dnn-activation", "elu"], "--dnn-activation=elu is unknown; "),
        ([*DEEP, "--dnn-optimizer", "ftrl"], "--dnn-optimizer=ftrl is unknown; "),
        ([*DEEP, "--dnn-learning-rate", "0"], "--dnn-learning-rate=0.0 must be "),
        ([*DEEP, "--l2-reg-dnn", "-1"], "--l2-reg-dnn=-1.0 must be "),
        ([*DEEP, "--batch-size", "0"], "--batch-size=0 must be at least 1."),
        ([*DEEP, "--batch-size", "1", "--dnn-batch-norm"], "--batch-size=1 leaves --dnn-batch-norm without "),
        ([*DEEP, "--n-factors", "0"], "--n-factors=0 leaves the network without inputs; use --n-factors of at "),
        (["--model=deepfm", "--dnn-hidden-units=9999999999"], "A network of 16 inputs and hidden layers of 99999"),
        ([*DEEP, "--fields", "7,0"], "--fields=7,0 holds a field of no ids; "),
        ([*DEEP, "--fields", "7,9999999999999"], "--fields=7,9999999999999 covers 10,000,000,000,006 columns, "),
        ([*DEEP, "--fields", "absent"], "--fields=absent is neither a list of sizes nor a file; "),
        ([*DEEP, "--fields", "{words}"], "--fields={words} is a file without fields ("),
        ([*DEEP, "--fields", "{nothing}"], "--fields={nothing} is a file without fields ("),
        ([*DEEP, "--fields", "{sizes}"], "--fields={sizes} is a file without fields (something in it is no size)"),
        (
            [*DEEP, "--fields", "3,4", "--n-features", "9"],
            "--fields=3,4 gives the fields of 7 columns, but by --n-features there are 9; give the field of each",
        ),
        (
            [*DEEP, "--fields", "3,4", "--hash-features", "9"],
            "--fields=3,4 gives the fields of 7 columns, but by --hash-features there are 9; give the field of ",
        ),
    ],
)
def test_before_a_file_is_read(write, capsys, arguments, message):
    names = {
        "train": write("no text of rows", "train.txt"),
        "words": write("a b\nc d\n", "words"),
        "nothing": write("", "nothing"),
        "sizes": write("3,4\nx\n", "sizes"),
    }
    line = fails(capsys, ["train", names["train"], *(argument.format(**names) for argument in arguments)], 2)
    assert line.startswith(message.format(**names))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["{train}", "--fields", "100,50"],
            "--fields=100,50 gives the fields of 150 ids, 1 .. 150, but {train} holds the id 200; ",
        ),
        (
            ["{train}", "--fields", "100,50", "--valid", "{more}"],
            "--fields=100,50 gives the fields of 150 ids, 1 .. 150, but {more} holds the id 999; ",
        ),
        (
            ["{ffm}", "--compact", "--fields", "3,4"],
            "--fields=3,4 gives the fields of 7 columns, but of the ids that occur (--compact) there are 41; ",
        ),
    ],
)
def test_fields_that_do_not_cover_the_columns(files, write, capsys, arguments, message):
    names = files | {"more": write("1 999:1\n", "more.txt")}
    line = fails(capsys, ["train", *(argument.format(**names) for argument in arguments), *DEEP], 2)
    assert line.startswith(message.format(**names))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dnn_hidden_units = []", "{path}: dnn_hidden_units = [] must be a string, or a list of such"),
        ("dnn_hidden_units = [1.5]", "{path}: dnn_hidden_units = [1.5] must be a string, or a list of such"),
        ("dnn_dropout = 'x'", "{path}: dnn_dropout = 'x' must be a number."),
        ("[train]\ndnn_dropuot = 0.1", "{path}: [train] dnn_dropuot is no option; did you mean dnn_dropout?"),
        ("batch_size = 64", "--batch-size goes with --model=deepfm alone; "),
    ],
)
def test_files_of_options_that_are_wrong(files, write, capsys, text, message):
    path = write(text, "run.toml")
    assert fails(capsys, ["train", files["train"], "--config", path], 2).startswith(message.format(path=path))


# inspect


def test_inspect_shows_the_network(files, capsys):
    assert main(["inspect", files["deep"], "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    n_parameters = load_model(files["deep"])._model.deep.shape.n_parameters
    assert n_parameters == 16 * 8 + 8 * 4 + 4 + 8 + 4 + 1
    assert result["network"] == {
        "feeds_on": "fields",
        "n_inputs": 16,
        "hidden_units": [8, 4],
        "n_parameters": n_parameters,
        "activation": "relu",
        "dropout": 0.0,
        "batch_norm": False,
        "optimizer_states": "adam",
    }
    assert (result["n_fields"], result["features_per_field"], result["pooling"]) == (4, SIZES, ["sum"] * 4)
    assert main(["inspect", files["deep"], "-n", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    facts = {line[2:20].strip(): line[20:] for line in lines[1:11]}
    assert facts["fields"] == "4, of 40, 60, 20, 80 features"
    assert facts["network"] == "16 -> 8 -> 4 -> 1, fed with a vector of each field; 177 parameters"
    assert facts["hidden layers"] == "relu, dropout 0, no batch normalisation"
    assert facts["optimizer"] == "states of adagrad (network: adam) are kept: training can go on"
    assert "strongest linear weights, the network left out of account" in lines


def test_inspect_shows_models_from_python(files, tmp_path, capsys):
    train = texts(files, "train")[0]
    path = str(tmp_path / "m.safetensors")
    options = {"n_epochs": 1, "dnn_hidden_units": (3,), "dnn_batch_norm": True, "dnn_dropout": 0.25}
    layout = FieldLayout.from_columns(np.arange(200) // 10, ["max"] * 10 + ["mean"] * 10)
    DeepFMClassifier(4, fields=layout, **options).fit(train.X, train.y).save(path)
    assert main(["inspect", path]) == 0
    text = capsys.readouterr().out
    assert f"fields            20, of {'10, ' * 12}... features; pooled by {'max, ' * 10}mean, mean, ...\n" in text
    assert "hidden layers     relu, dropout 0.25, batch normalisation\n" in text
    assert "are kept" not in text
    assert main(["inspect", path, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["network"]["optimizer_states"] is None
    DeepFMClassifier(4, **options).fit(train.X, train.y).save(path)
    assert main(["inspect", path]) == 0
    text = capsys.readouterr().out
    assert "network           8 -> 3 -> 1, fed with two vectors of the whole row; 34 parameters\n" in text
    assert "fields   " not in text


def test_inspect_knows_models_without_a_network(files, capsys):
    assert main(["inspect", files["model"], "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    names = ("network", "n_fields", "features_per_field", "pooling")
    assert [result[name] for name in names] == [None] * 4
    assert main(["inspect", files["model"]]) == 0
    assert "network" not in capsys.readouterr().out


def test_help_shows_an_example(capsys):
    assert main(["train", "--help"]) == 0
    text = capsys.readouterr().out
    assert "--model deepfm --fields 957,4081,7" in text
    assert "--dnn-hidden-units" in text
