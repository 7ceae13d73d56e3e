"""Options from a TOML file, and what is said of a file that is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_tools import fails, make_files

from fastfm_deep.cli import main


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, str]:
    return make_files(tmp_path_factory.mktemp("files"))


@pytest.fixture
def config(tmp_path):
    def write(text: str) -> str:
        (tmp_path / "run.toml").write_text(text)
        return str(tmp_path / "run.toml")

    return write


def trained(capsys, *arguments: str):
    assert main(["train", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_every_kind_of_option(files, config, tmp_path, capsys):
    out = str(tmp_path / "m.safetensors")
    path = config(
        f"""
        n-factors = 3          # dashes or underscores
        random_state = 7
        n_jobs = 1
        [train]
        n_epochs = 2
        learning_rate = 1      # an integer is a number, too
        l2_reg_linear = 1e-4
        eval_metric = ["logloss", "auc"]
        valid = "{files["valid"]}"
        base = 1
        out = "{out}"
        include_optimizer = true
        """
    )
    result = trained(capsys, files["train"], "--config", path)
    shown = {
        name: result["hyper_parameters"][name] for name in ("n_factors", "random_state", "n_jobs", "n_epochs")
    }
    assert shown == {"n_factors": 3, "random_state": 7, "n_jobs": 1, "n_epochs": 2}
    assert result["hyper_parameters"]["learning_rate"] == 1.0
    assert result["hyper_parameters"]["l2_reg_linear"] == 1e-4
    assert result["hyper_parameters"]["eval_metric"] == ["logloss", "auc"]
    assert (result["n_rows"], result["base"], result["out"]) == ({"train": 2000, "valid": 500}, 1, out)
    assert main(["inspect", out, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["optimizer_states"] == "adagrad"


def test_the_command_line_wins(files, config, capsys):
    path = config("n_epochs = 3\n[train]\nn_factors = 5\ncompact = true\n")
    result = trained(capsys, files["train"], "--n-epochs", "1", "-k", "2", "--no-compact", "--config", path)
    parameters = result["hyper_parameters"]
    assert (parameters["n_epochs"], parameters["n_factors"], result["ids"]) == (1, 2, "offset")
    result = trained(capsys, files["train"], "--config", path)
    parameters = result["hyper_parameters"]
    assert (parameters["n_epochs"], parameters["n_factors"], result["ids"]) == (3, 5, "table")


def test_a_table_goes_before_the_top(files, config, capsys):
    path = config("n_epochs = 3\nn_factors = 1\n[train]\nn_epochs = 2\n[score]\nraw = true\n")
    parameters = trained(capsys, files["train"], "--config", path)["hyper_parameters"]
    assert (parameters["n_epochs"], parameters["n_factors"]) == (2, 1)


def test_one_file_for_several_commands(files, config, capsys):
    path = config(
        "n_epochs = 1\nunknown-ids = 'error'\nraw = true\n[evaluate]\njson = true\n[convert]\nto = 'libsvm'\n"
    )
    assert main(["score", files["model"], files["test"], "--raw"]) == 0
    expected = capsys.readouterr().out
    assert main(["score", files["model"], files["test"], "--config", path]) == 0
    assert capsys.readouterr().out == expected
    assert main(["score", files["model"], files["test"], "--config", path, "--no-raw"]) == 0
    assert capsys.readouterr().out != expected
    assert main(["evaluate", files["model"], files["test"], "--config", path]) == 0
    assert json.loads(capsys.readouterr().out)["n_rows"] == 500
    more = Path(path).with_name("more.txt")
    more.write_text("1 1:1 9999:1\n")
    assert "9999:1" in fails(capsys, ["score", files["model"], str(more), "--config", path], 2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("n_factor = 3", "{path}: n_factor is no option; did you mean n_factors?"),
        ("learning-rat = 3", "{path}: learning-rat is no option; did you mean learning_rate?"),
        ("[train]\nn_epoch = 3", "{path}: [train] n_epoch is no option; did you mean n_epochs?"),
        # Other tables are looked at, too.
        ("[score]\nrow = true", "{path}: [score] row is no option; did you mean raw?"),
        (
            "[score]\nn_epochs = 1",
            "{path}: [score] n_epochs is no option; known are base, debug, format, json, keep, ",
        ),
        ("[trian]\nn_epochs = 1", "{path}: [trian] is no table; did you mean [train]?"),
        (
            "[demo]\nn_rows = 1",
            "{path}: [demo] is no table; known are [columns.NAME], [convert], [evaluate], [report], [score], "
            "[train].",
        ),
        ("train = 1", "{path}: train = 1 must be a table: [train], and its options below."),
        ("config = 'x'", "{path}: config is no option; "),
        ("help = true", "{path}: help is no option; "),
        ("n_epochs = 2.5", "{path}: n_epochs = 2.5 must be an integer."),
        ("n_epochs = '2'", "{path}: n_epochs = '2' must be an integer."),
        ("n_epochs = true", "{path}: n_epochs = True must be an integer."),
        ("n_epochs = [1]", "{path}: n_epochs = [1] must be an integer."),
        ("[train]\nlearning_rate = 'x'", "{path}: [train] learning_rate = 'x' must be a number."),
        ("clip = 1", "{path}: clip = 1 must be true or false."),
        ("task = true", "{path}: task = True must be a string."),
        ("task = 2026-01-01", "{path}: task = datetime.date(2026, 1, 1) must be a string."),
        ("eval_metric = [true]", "{path}: eval_metric = [True] must be a string, or a list of such."),
        ("train.n_epochs.x = 1", "{path}: [train] n_epochs = {{'x': 1}} must be an integer."),
        ("n_epochs = ", "--config={path} is no TOML: "),
        ("n_epochs = 1\nn_epochs = 2", "--config={path} is no TOML: "),
        ("optimizer = 'lbfgs'", "--optimizer=lbfgs is unknown; "),
        ("n_epochs = 0", "--n-epochs=0 must be at least 1."),
    ],
)
def test_files_that_are_wrong(files, config, capsys, text, message):
    path = config(text)
    line = fails(capsys, ["train", files["train"], "--config", path], 2)
    assert line.startswith(message.format(path=path))


def test_files_that_cannot_be_read(files, tmp_path, capsys):
    for path, reason in [("absent.toml", "No such file or directory"), (str(tmp_path), "Is a directory")]:
        line = fails(capsys, ["train", files["train"], "--config", path], 2)
        assert line == f"--config={path} cannot be read: {reason}; give a TOML file with lines like n_factors = 8."
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe\x00")
    assert "is no TOML: " in fails(capsys, ["train", files["train"], "--config", str(binary)], 2)
