"""`columns`, and columns in files of options: what is proposed, printed, and read back."""

from __future__ import annotations

import json
import sys

import pyarrow as pa
import pytest
from cli_table_tools import DECLARED, TRAINING, csv_file, lines_of, made_table, make_tables, result_of, write_table
from cli_tools import fails

from fastfm_deep import DenseFeat, SparseFeat, VarLenSparseFeat, load_model
from fastfm_deep.cli import columns, main
from fastfm_deep.data import arrow_files

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, str]:
    return make_tables(tmp_path_factory.mktemp("files"), "csv")


@pytest.fixture
def config(tmp_path):
    def write(text: str) -> str:
        return csv_file(tmp_path / "run.toml", text)

    return write


def declared(capsys, *arguments: str) -> dict[str, dict]:
    """The columns that a training makes of its options, by name."""
    found = result_of(capsys, "train", *arguments, *TRAINING)["columns"]
    return {column.pop("name"): column for column in found}


def test_from_a_table_to_scores(files, tmp_path, capsys):
    """What is printed is taken as it is."""
    toml = csv_file(
        tmp_path / "run.toml", "\n".join(lines_of(capsys, "columns", files["train"], "--target", "clicked"))
    )
    out = str(tmp_path / "m.safetensors")
    result = result_of(capsys, "train", files["train"], "--config", toml, *TRAINING, "-o", out)
    proposed = result_of(capsys, "columns", files["train"], "--target", "clicked")
    for column in proposed["columns"]:
        del column["seen"]
    assert result["columns"] == proposed["columns"]
    assert result["target"] == "clicked"
    assert result_of(capsys, "evaluate", out, files["test"], "--config", toml)["n_rows"] == 50
    assert len(lines_of(capsys, "score", out, files["test"], "--config", toml)) == 50


def test_what_is_printed(tmp_path, capsys):
    data = write_table(tmp_path / "a.parquet", made_table(100))
    assert lines_of(capsys, "columns", data, "--target", "spent")[4:] == [
        "[train]",
        'target = "spent"',
        'task = "regression"',
        "",
        "# 12 values, none missing",
        "[columns.user]",
        'type = "sparse"',
        "",
        "# 3 values, none missing",
        "[columns.city]",
        'type = "sparse"',
        "",
        f"# {_range(data)}, 6% missing",
        "[columns.price]",
        'type = "dense"',
        "",
        "# 3 values, 2.1 a row, none missing",
        "[columns.tags]",
        'type = "varlen"',
        "",
        "# 2 values, none missing",
        "[columns.clicked]",
        'type = "sparse"',
        "",
        "# Left out:",
        "#   row_id: each row has a value of its own",
    ]


def _range(data: str) -> str:
    price = [value for value in arrow_files.read_arrow_file(data)["price"].to_pylist() if value is not None]
    return f"{min(price):.6g} .. {max(price):.6g}"


def test_without_a_target_one_is_asked_for(tmp_path, capsys):
    data = write_table(tmp_path / "a.csv", made_table(100))
    text = "\n".join(lines_of(capsys, "columns", data))
    assert "# [train]\n# target = " in text
    assert set(tomllib.loads(text)) == {"columns"}
    assert "clicked" in tomllib.loads(text)["columns"]


def test_a_target_that_cannot_be_predicted(tmp_path, capsys):
    data = write_table(tmp_path / "a.csv", made_table(100))
    assert "# It has not two values, and they are no numbers: neither can be predicted." in lines_of(
        capsys, "columns", data, "--target", "city"
    )


def test_names_of_every_kind(tmp_path, capsys):
    names = ['a "quoted" name', "with.dot", "zwölf", "line\nbreak", "back\\slash", "plain-1", "\x7f", "a,b", "[x]"]
    table = pa.table(
        {name: [f"{name} {row % 3}" for row in range(60)] for name in names} | {"y": [0, 1] * 30, "": [1] * 60}
    )
    data = write_table(tmp_path / "odd\nname.parquet", table)
    text = "\n".join(lines_of(capsys, "columns", data, "--target", "y"))
    assert list(tomllib.loads(text)["columns"]) == names
    toml = csv_file(tmp_path / "run.toml", text)
    assert list(declared(capsys, data, "--config", toml)) == names


def test_options_that_are_proposed(tmp_path, capsys):
    rows = [
        {"tail": 1.5 if row % 40 else 900.5, "tags": f"a{row % 5};b{row % 7}", "y": row % 2} for row in range(400)
    ]
    data = write_table(tmp_path / "a.parquet", pa.Table.from_pylist(rows))
    found = tomllib.loads("\n".join(lines_of(capsys, "columns", data, "--target", "y")))
    assert found["columns"] == {
        "tail": {"type": "dense", "scaling": "log1p"},
        "tags": {"type": "varlen", "separator": ";"},
    }


def test_a_large_file_is_looked_into(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(columns, "ROWS_SEEN", 80)
    data = write_table(tmp_path / "a.csv", made_table(100))
    assert "proposed from the first 80 rows" in lines_of(capsys, "columns", data)[0]
    found = result_of(capsys, "columns", data)
    assert (found["n_rows"], found["is_whole"], found["task"]) == (80, False, None)
    monkeypatch.setattr(columns, "ROWS_SEEN", 100)
    assert "proposed from all 100 rows" in lines_of(capsys, "columns", data)[0]


def test_types_that_change_further_down(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(arrow_files, "_BLOCK_BYTES", 64)
    data = csv_file(
        tmp_path / "a.csv", "user,y\n" + "".join(f"{row % 7},{row % 2}\n" for row in range(90)) + "x,1\n"
    )
    found = result_of(capsys, "columns", data, "--target", "y")
    assert [column["name"] for column in found["columns"]] == ["user"]


def test_columns_in_a_file(files, config, capsys):
    path = config(
        """
        [train]
        target = "clicked"
        [columns.user]
        type = "sparse"
        hash-buckets = 5
        [columns.city]
        type = "sparse"
        min_count = 2
        handle_unknown = "ignore"
        [columns.price]
        type = "dense"
        buckets = 4
        missing = "mean"
        scaling = "none"
        [columns.tags]
        type = "varlen"
        pooling = "sqrtn"
        max_length = 2
        """
    )
    found = declared(capsys, files["train"], "--config", path)
    assert list(found) == ["user", "city", "price", "tags"]
    assert found["user"] == {"type": "sparse", "min_count": 1, "hash_buckets": 5, "handle_unknown": "bucket"}
    assert found["city"] == {"type": "sparse", "min_count": 2, "hash_buckets": None, "handle_unknown": "ignore"}
    assert found["price"] == {"type": "dense", "scaling": "none", "buckets": 4, "missing": "mean"}
    assert (found["tags"]["pooling"], found["tags"]["max_length"]) == ("sqrtn", 2)


def test_defaults_hold_where_a_column_says_nothing(files, config, capsys):
    path = config(
        "[columns.user]\ntype = 'sparse'\nmin_count = 7\n[columns.city]\ntype = 'sparse'\nhash_buckets = 3\n"
        "[columns.price]\ntype = 'dense'\n[columns.tags]\ntype = 'varlen'\n"
    )
    options = ["--min-count", "3", "--handle-unknown", "ignore", "--separator", "+"]
    found = declared(capsys, files["train"], "--target", "clicked", "--config", path, *options)
    assert [column.get("min_count") for column in found.values()] == [7, 1, None, 3]
    assert [column.get("handle_unknown") for column in found.values()] == ["ignore", "ignore", None, "ignore"]
    assert found["tags"]["separator"] == "+"


def test_the_command_line_goes_before_the_file(files, config, capsys):
    path = config("[columns.user]\ntype = 'dense'\n[columns.city]\ntype = 'sparse'\nmin_count = 2\n")
    found = declared(
        capsys, files["train"], "--target", "clicked", "--config", path, "--sparse", "user", "--varlen", "tags"
    )
    assert {name: column["type"] for name, column in found.items()} == {
        "user": "sparse",
        "city": "sparse",
        "tags": "varlen",
    }
    assert found["city"]["min_count"] == 2


def test_names_in_a_file(tmp_path, config, capsys):
    """Lists hold names as they are, text is taken apart at commas."""
    data = csv_file(
        tmp_path / "a.csv", '"a,b",c,d,y\n' + "".join(f"u{row % 3},v,w,{row % 2}\n" for row in range(9))
    )
    path = config("[train]\ntarget = 'y'\nsparse = ['a,b', 'c']\nlinear_columns = ['a,b']\ndense = []\n")
    assert "dense = [] must be a string, or a list of such." in fails(capsys, ["train", data, "--config", path], 2)
    path = config("[train]\ntarget = 'y'\nsparse = ['a,b', 'c']\nlinear_columns = ['a,b']\n")
    assert list(declared(capsys, data, "--config", path)) == ["a,b", "c"]
    path = config("[train]\ntarget = 'y'\nsparse = 'c, d'\n")
    assert list(declared(capsys, data, "--config", path)) == ["c", "d"]
    assert list(declared(capsys, data, "--target", "y", "--sparse", "c", "--sparse", "d")) == ["c", "d"]


def test_weights_of_values(tmp_path, config, capsys):
    data = csv_file(tmp_path / "a.csv", "tags,w,y\n" + "2|3,0.5|1,0\n3,2,1\n2,1,0\n" * 3)
    path = config("[columns.tags]\ntype = 'varlen'\nweights = 'w'\npooling = 'sum'\n")
    out = str(tmp_path / "m.safetensors")
    options = ["--target", "y", "--config", path, *TRAINING, "-o", out]
    assert main(["train", data, "--valid", data, *options, "-q"]) == 0
    model = load_model(out)
    rows = {"tags": ["2|3", "3", "2"], "w": ["0.5|1", "2", "1"]}
    got = [float(line) for line in lines_of(capsys, "score", out, data)]
    assert got[:3] == pytest.approx(model.predict_proba(rows)[:, 1].tolist(), rel=1e-8)
    single = csv_file(tmp_path / "b.csv", "tags,w\n3,2\n2,1\n")
    assert [float(line) for line in lines_of(capsys, "score", out, single)] == got[1:3]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "columns = 3",
            "columns = 3 must be tables: [columns.NAME], and the type and options of that column below.",
        ),
        (
            "[columns]\nuser = 3",
            "[columns] user = 3 must be a table: [columns.user], and the type and options of the column below.",
        ),
        ("[columns.user]\nmin_count = 3", '[columns.user] needs a type: "sparse", "dense" or "varlen".'),
        (
            "[columns.user]\ntype = 'text'",
            '[columns.user] type = \'text\' must be one of "sparse", "dense", "varlen".',
        ),
        ("[columns.user]\ntype = ['x']", "[columns.user] type = ['x'] must be one of "),
        (
            "[columns.user]\ntype = 'sparse'\nmin_cuont = 3",
            "[columns.user] min_cuont is no option of a sparse column; did you mean min_count?",
        ),
        (
            "[columns.user]\ntype = 'dense'\npooling = 'sum'",
            "[columns.user] pooling is no option of a dense column; known are buckets, missing, scaling.",
        ),
        ("[columns.user]\ntype = 'sparse'\nname = 'x'", "[columns.user] name is no option of a sparse column; "),
        (
            "[columns.user]\ntype = 'sparse'\nmin_count = '3'",
            "[columns.user] min_count = '3' must be an integer.",
        ),
        (
            "[columns.user]\ntype = 'sparse'\nmin_count = true",
            "[columns.user] min_count = True must be an integer.",
        ),
        ("[columns.user]\ntype = 'varlen'\nweights = 3", "[columns.user] weights = 3 must be a string."),
        (
            "[columns.user]\ntype = 'sparse'\nmin_count = 0",
            "[columns.user]: min_count of column 'user'=0 must be ",
        ),
        (
            "[columns.user]\ntype = 'dense'\nscaling = 'max'",
            "[columns.user]: scaling of column 'user'='max' is unknown; use one of 'standard', 'log1p', ",
        ),
        (
            "[columns.user]\ntype = 'sparse'\nmin_count = 2\nhash_buckets = 9",
            "[columns.user]: min_count=2 of column 'user' needs a vocabulary",
        ),
        ("[columns.'']\ntype = 'sparse'", "[columns.]: name='' must be the name of a column"),
    ],
)
def test_columns_that_are_wrong(files, config, capsys, text, message):
    path = config(text)
    for command in (["train", files["train"], "--target", "clicked"], ["score", files["model"], files["test"]]):
        line = fails(capsys, [*command, "--config", path], 2)
        assert line.replace("--min-count=", "min_count=").startswith(f"{path}: {message}")


def test_a_column_that_is_declared_twice(files, config, capsys):
    start = ["train", files["train"], "--target", "clicked"]
    line = fails(capsys, [*start, "--sparse", "user", "--dense", "price,user"], 2)
    assert line == "Column 'user' is declared by --sparse and --dense; declare it once."
    path = config("[train]\nsparse = ['user']\n[columns.user]\ntype = 'sparse'\n")
    line = fails(capsys, [*start, "--config", path], 2)
    assert line == "Column 'user' is declared by --sparse and [columns.user]; declare it once."


def test_plain_forms_are_those_of_the_classes(files, tmp_path, config, capsys):
    """Every option that a class has can stand in a file."""
    from fastfm_deep.cli.declarations import options_of
    from fastfm_deep.data.feature_columns import to_plain

    for column in (SparseFeat("a"), DenseFeat("a"), VarLenSparseFeat("a")):
        assert set(options_of(column.kind)) == set(to_plain(column)) - {"name", "type"}
    assert options_of("varlen")["weights"] is str
    assert options_of("sparse")["hash_buckets"] is int


def test_columns_refuses(tmp_path, files, capsys):
    text = csv_file(tmp_path / "a.txt", "1 1:1\n")
    assert fails(capsys, ["columns", text], 2) == f"{text} is no table; give a .csv, .tsv or .parquet file."
    assert "standard input is no table" in fails(capsys, ["columns", "-"], 2)
    line = fails(capsys, ["columns", files["train"], "--target", "click"], 2)
    assert line.startswith(f"{files['train']}: There is no column 'click'. Did you mean 'clicked'?")
    empty = csv_file(tmp_path / "empty.csv", "a,b\n")
    assert fails(capsys, ["columns", empty], 2).startswith(f"{empty}: there are no rows, only names of columns;")
    assert "No such option" in fails(capsys, ["columns", files["train"], "--config", "x"], 2)


def test_names_are_completed(files, capsys, monkeypatch):
    from fastfm_deep.cli.headers import names_on_hand

    assert names_on_hand(["a.txt", files["train"]]) == made_table(1).schema.names
    assert names_on_hand(["absent.csv"]) == names_on_hand(["absent.parquet"]) == []
    line = f"fastfm-deep train {files['train']} --sparse user,ci"
    monkeypatch.setenv("_FASTFM_DEEP_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", "4")
    assert main([]) == 0
    assert capsys.readouterr().out.split() == ["user,city"]


def test_json_has_no_numbers_of_numpy(tmp_path, capsys):
    data = write_table(tmp_path / "a.parquet", made_table(60))
    found = result_of(capsys, "columns", data, "--target", "clicked")
    assert json.dumps(found)
    assert found["task"] == "binary"
    assert DECLARED[1] == found["target"]


def test_columns_of_every_type(tmp_path, capsys):
    table = pa.table(
        {
            "coded": pa.array(["a", "b", None] * 20).dictionary_encode(),
            "large": [2**60 + 3 * row * row for row in range(60)],
            "octets": pa.array([b"x", b"y"] * 30),
            "time": pa.array(range(60), pa.time32("s")),
            "lists": [["a"], ["b"]] * 30,
            "days": pa.array([0, 1] * 30, pa.date32()),
            "target": pa.array(["no", "yes"] * 30).dictionary_encode(),
        }
    )
    data = write_table(tmp_path / "a.parquet", table)
    found = result_of(capsys, "columns", data, "--target", "target")
    assert found["task"] == "binary"
    assert list(found["left_out"]) == ["time"]
    seen = {column["name"]: column["seen"] for column in found["columns"]}
    assert seen["coded"]["n_values"] == seen["octets"]["n_values"] == seen["lists"]["n_values"] == 2
    assert seen["large"]["low"] == float(2**60)
    for target in ("lists", "days", "octets"):
        assert result_of(capsys, "columns", data, "--target", target)["task"] is None
