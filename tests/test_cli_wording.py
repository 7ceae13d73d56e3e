"""Messages of the library in the words of the command line."""

from __future__ import annotations

import re

import pytest
import typer

from fastfm_deep import validation
from fastfm_deep.cli.app import app
from fastfm_deep.cli.wording import OPTIONS, PHRASES, in_options


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("n_factors=-1 must be at least 0.", "--n-factors=-1 must be at least 0."),
        ("Try learning_rate=1e+19, and", "Try --learning-rate=1e+19, and"),
        ("ids with unknown_ids='ignore'.", "ids with --unknown-ids=ignore."),
        ("(hash_features=2**22) or", "(--hash-features=4194304) or"),
        ("number them (compact=True), or", "number them (--compact), or"),
        ("leave clip=False.", "leave --no-clip."),
        ("n_jobs='many words' is", "--n-jobs='many words' is"),
        # Names of files and what they hold stay as they are.
        ("/data/n_epochs=3/train.txt does not exist", "/data/n_epochs=3/train.txt does not exist"),
        ("n_epochs=3/train.txt does not exist", "n_epochs=3/train.txt does not exist"),
        ("bad label in 'base=1': a label", "bad label in 'base=1': a label"),
        ("n_rows_before=3 is no option", "n_rows_before=3 is no option"),
        ("--base=0 contradicts m", "--base=0 contradicts m"),
        ("x[0]=np.float64(5.0) is none of [np.int64(1)]", "x[0]=5.0 is none of [1]"),
    ],
)
def test_parameters_become_options(message, expected):
    assert in_options(message) == expected


def test_every_name_is_an_option():
    known = {
        text[2:].replace("-", "_")
        for command in typer.main.get_command(app).commands.values()
        for parameter in command.params
        for text in parameter.opts
        if text.startswith("--")
    }
    assert known >= OPTIONS


PLACE = validation.TextPlace("/dev/stdin", 1, 2, b"7:1")
SOURCES = [
    validation.text_label_error(PLACE),
    validation.field_table_error(10, 2**28),
    validation.table_too_large_error(10, 4, 2**40, 2**30),
    validation.text_id_error(PLACE, 7, 0, 6, 7),
    validation.no_input_error((64,)),
    validation.network_too_large_error(80, (64, 32), 2**40, 2**30),
    validation.InputError("n_jobs=0 must be None, a number of threads"),
    validation.InputError("np.float64(0.5)"),
    validation.number_value_error("age", 3, "x"),
    validation.listed_column_error("tags"),
    validation.infinite_value_error("age", 3, "x"),
    validation.category_memory_error(10),
]


@pytest.mark.parametrize("pattern", [pattern for pattern, _ in PHRASES])
def test_every_phrase_is_still_said(pattern):
    """A message that was reworded would pass unchanged."""
    assert any(re.search(pattern, str(error)) for error in SOURCES)


@pytest.mark.parametrize("error", SOURCES[:6])
def test_nothing_of_python_is_left(error):
    found = in_options(str(error))
    assert not re.search(r"\b[a-z]+_[a-z]+\b|=True|=False|\*\*|/dev/", found), found
