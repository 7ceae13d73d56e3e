"""Unknown and missing values: the same rule in fit, partial_fit and predict, declared column by column."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import polars as pl
import pytest
from encoder_tools import click_encoder, entries_of, learned, object_columns, refused

from fastfm_deep import DenseFeat, SparseFeat, TableEncoder, VarLenSparseFeat

CITIES = ["a", "a", "b", "c", None]
"""With min_count=2, "b", "c" and the missing one are rare."""


def names_in(encoder, values, column="c"):
    """The names of the features that rows get, one list a row."""
    names = [name.removeprefix(f"{column}=") for name in encoder.get_feature_names_out().tolist()]
    return [[names[number] for number, _ in row] for row in entries_of(encoder.transform({column: values}))]


def fitted(values=CITIES, **options):
    return TableEncoder([SparseFeat("c", **options)]).fit({"c": values})


def test_unknown_values_share_a_feature():
    encoder = fitted()
    assert names_in(encoder, ["b", "x", None, "y", "a"]) == [
        ["b"],
        ["<unknown>"],
        ["<missing>"],
        ["<unknown>"],
        ["a"],
    ]


def test_rare_values_train_that_feature():
    encoder = fitted(min_count=2)
    assert encoder.get_feature_names_out().tolist() == ["missing", "c=<unknown>", "c=a"]
    assert names_in(encoder, CITIES) == [["a"], ["a"], ["<unknown>"], ["<unknown>"], ["<unknown>"]]


def test_missing_values_that_did_not_occur_are_unknown():
    encoder = fitted(["a", "b"])
    assert names_in(encoder, [None, float("nan"), "x"]) == [["<unknown>"]] * 3


@pytest.mark.parametrize("values", [CITIES, ["a", "b"]])
def test_ignored_values_leave_nothing(values):
    encoder = fitted(values, handle_unknown="ignore")
    assert names_in(encoder, ["a", "x", None]) == [["a"], [], []]
    assert "c=<missing>" not in encoder.get_feature_names_out()
    rare = fitted(values * 2, handle_unknown="ignore", min_count=3)
    assert names_in(rare, ["a", "b"])[1] == []


@pytest.mark.parametrize(
    "missing", [None, float("nan"), np.float32("nan"), pd.NA, pd.NaT, np.datetime64("NaT")], ids=repr
)
@pytest.mark.parametrize("rule", ["bucket", "ignore", "error"])
def test_missing_values_of_every_sort(rule, missing):
    """Also where a column mixes them with other objects."""
    values = object_columns({"c": ["a", 1, missing, "a"]})["c"]
    encoder = TableEncoder([SparseFeat("c", handle_unknown=rule)])
    if rule == "error":
        message = (
            "Column 'c' holds None in row 2, a missing value, which handle_unknown='error' forbids; handle_unkn"
        )
        refused(lambda: encoder.fit({"c": values}), message)
        encoder.fit({"c": ["a", 1]})
        refused(lambda: encoder.transform({"c": values}), message)
        refused(lambda: encoder.transform_row({"c": missing}), message.replace("row 2", "row 0"))
        return
    rows = entries_of(encoder.fit_transform({"c": values}))
    assert len(rows[2]) == (rule == "bucket")
    assert encoder.transform_row({"c": missing})[0].tolist() == [number for number, _ in rows[2]]


def test_errors_name_column_value_and_row():
    encoder = fitted(["a", "b", "a", "a", "b"], handle_unknown="error")
    for values in (["a", "b", "x", "y"], pd.Categorical(["a", "b", "x", "y"]), pl.Series(["a", "b", "x", "y"])):
        text = refused(
            lambda values=values: encoder.transform({"c": values}),
            "Column 'c' holds 'x' in row 2, which did not occur in fit, and handle_unknown='error' forbids it; "
            "handle_unknown='bucket' lets such values share a feature, 'ignore' leaves them out.",
        )
        assert text.endswith(".")
    refused(
        lambda: encoder.transform({"c": [None, "a"]}), "Column 'c' holds None in row 0, a missing value, which"
    )
    refused(lambda: encoder.transform_row({"c": "x"}), "Column 'c' holds 'x' in row 0, which did not occur in fit")
    refused(lambda: encoder.transform_row({"c": None}), "Column 'c' holds None in row 0, a missing value")
    refused(lambda: encoder.to_index_value({"c": ["x"]}), "Column 'c' holds 'x' in row 0")


def test_rare_values_are_errors_in_fit_too():
    message = (
        "Column 'c' holds 'b' in row 2, which occurs less often in fit than min_count=2, so that handle_unknown="
    )
    encoder = TableEncoder([SparseFeat("c", min_count=2, handle_unknown="error")])
    refused(lambda: encoder.fit({"c": ["a", "a", "b"]}), message)
    refused(lambda: encoder.fit_transform({"c": ["a", "a", "b"]}), message)
    encoder.fit({"c": ["a", "a"]})
    before = learned(encoder)
    refused(lambda: encoder.partial_fit({"c": ["a", "a", "b"]}), message)
    assert learned(encoder) == before
    encoder.partial_fit({"c": ["b", "a", "b"]})
    assert names_in(encoder, ["b", "a"]) == [["b"], ["a"]]


def test_a_rare_value_that_is_known_by_now():
    """It has been counted, so that the message does not say that it did not occur."""
    lenient = fitted(["a", "a", "b"], min_count=2, handle_unknown="ignore")
    categories = lenient.encoding_.learned[0].categories
    strict = SparseFeat("c", min_count=2, handle_unknown="error")
    lenient.encoding_.learned[0].column = categories.column = strict
    for call in (lambda: lenient.transform({"c": ["a", "b"]}), lambda: lenient.transform_row({"c": "b"})):
        assert "occurs less often in fit than min_count=2" in refused(call, "Column 'c' holds 'b' in row")


@pytest.mark.parametrize("form", [list, np.array, pd.Series, pd.Categorical])
def test_values_are_shown_as_they_are(form):
    encoder = fitted([1, 2], handle_unknown="error")
    refused(lambda: encoder.transform({"c": form([2, 3])}), "Column 'c' holds 3 in row 1, which")
    long = fitted(["a"], handle_unknown="error")
    text = refused(lambda: long.transform({"c": form(["x" * 1_000_000])}), "Column 'c' holds 'xxx")
    assert len(text) < 400
    assert "... (1000002 characters) in row 0" in text
    times = fitted([dt.datetime(2020, 1, 1)], handle_unknown="error")
    unknown = form([dt.datetime(2021, 1, 1)])
    assert "(2021, 1, 1, 0, 0)" in refused(
        lambda: times.transform({"c": unknown}), "Column 'c' holds datetime.datetime"
    )


# --------------------------------------------------------------------------------------------------------- hashes


def test_hashed_columns_know_all_values_but_missing_ones():
    bucket = TableEncoder([SparseFeat("c", hash_buckets=10)]).fit({"c": ["a", "b"]})
    assert bucket.encoding_.n_features == 11
    assert all(len(row) == 1 for row in entries_of(bucket.transform({"c": ["a", "x", None]})))
    ignore = TableEncoder([SparseFeat("c", hash_buckets=10, handle_unknown="ignore")]).fit({"c": ["a", None]})
    assert [len(row) for row in entries_of(ignore.transform({"c": ["a", None, "x"]}))] == [1, 0, 1]
    strict = TableEncoder([SparseFeat("c", hash_buckets=10, handle_unknown="error")])
    refused(lambda: strict.fit({"c": ["a", None]}), "Column 'c' holds None in row 1, a missing value")
    strict.fit({"c": ["a"]}).transform({"c": ["x"]})
    refused(lambda: strict.transform_row({"c": None}), "Column 'c' holds None in row 0, a missing value")


@pytest.mark.parametrize("hash_buckets", [None, 1000])
def test_numbers_and_text_stand_for_each_other(hash_buckets):
    for first, asked in (
        ([5, 6], ["6", "5"]),
        (["5", "6"], [6, 5]),
        (["5", "6"], [6.0, 5.0]),
        ([True, False], ["False", "True"]),
    ):
        encoder = TableEncoder([SparseFeat("c", hash_buckets=hash_buckets)]).fit({"c": first})
        expected = encoder.transform({"c": first[::-1]}).indices.tolist()
        for form in (list, pd.Series, pd.Categorical, pl.Series, lambda values: np.array(values, object)):
            assert encoder.transform({"c": form(asked)}).indices.tolist() == expected
        assert [encoder.transform_row({"c": value})[0][0] for value in asked] == expected
        encoder.partial_fit({"c": asked}).partial_fit({"c": first})
        assert encoder.transform({"c": asked}).indices.tolist() == expected


# ----------------------------------------------------------------------------------------------------------- bags


def test_single_values_of_bags_follow_the_rule():
    rows = [["a", "b"], ["a"], [], None, ["a", None]]

    def encoder(rule, **options):
        return TableEncoder([VarLenSparseFeat("c", handle_unknown=rule, **options)])

    assert names_in(encoder("bucket").fit({"c": rows}), [["a", "x", None, "y"], None]) == [
        ["a", "<unknown>", "<missing>"],
        ["<missing>"],
    ]
    assert names_in(encoder("ignore").fit({"c": rows}), [["x", "a", None, "b"], None, ["y"]]) == [
        ["a", "b"],
        [],
        [],
    ]
    assert names_in(encoder("bucket", min_count=2).fit({"c": rows}), [["b", "a"]]) == [["<unknown>", "a"]]
    strict = encoder("error")
    refused(lambda: strict.fit({"c": rows}), "Column 'c' holds None in row 3, a missing value")
    refused(lambda: strict.fit({"c": [["a"], ["a", None]]}), "Column 'c' holds None in row 1, a missing value")
    strict.fit({"c": [["a", "b"], ["a"], []]})
    refused(
        lambda: strict.transform({"c": [["a"], [], ["b", "x"]]}), "Column 'c' holds 'x' in row 2, which did not"
    )
    refused(lambda: strict.transform({"c": ["a", "", "b|x"]}), "Column 'c' holds 'x' in row 2, which did not")
    refused(lambda: strict.transform_row({"c": ["a", "x"]}), "Column 'c' holds 'x' in row 0, which did not")
    assert names_in(strict, [[], []]) == names_in(strict, ["", "|"]) == [[], []]


def test_values_beyond_max_length_are_not_looked_at():
    encoder = TableEncoder([VarLenSparseFeat("c", max_length=2, handle_unknown="error")])
    encoder.fit({"c": [["a", "b", "x"], ["b"]]})
    assert names_in(encoder, [["b", "a", None, "z"]]) == [["b", "a"]]
    assert encoder.transform_row({"c": ["b", "a", None, "z"]})[0].tolist() == [2, 1]


# -------------------------------------------------------------------------------------------------- dense columns


def test_missing_numbers():
    rows = {"d": [1.0, None, 3.0]}
    indicator = TableEncoder([DenseFeat("d")])
    assert entries_of(indicator.fit_transform(rows)) == [[(1, -1.0)], [(2, 1.0)], [(1, 1.0)]]
    mean = TableEncoder([DenseFeat("d", missing="mean", scaling="none")])
    assert entries_of(mean.fit_transform(rows)) == [[(1, 1.0)], [(1, 2.0)], [(1, 3.0)]]
    message = (
        "Column 'd' holds no number in row 1, which missing='error' forbids; missing='indicator' gives missing"
    )
    strict = TableEncoder([DenseFeat("d", missing="error")])
    refused(lambda: strict.fit(rows), message)
    strict.fit({"d": [1, 2]})
    refused(lambda: strict.transform(rows), message)
    refused(lambda: strict.partial_fit(rows), message)
    refused(lambda: strict.transform_row({"d": None}), message.replace("row 1", "row 0"))


def test_all_of_a_column_is_missing():
    columns = [SparseFeat("c"), SparseFeat("i", handle_unknown="ignore"), DenseFeat("d"), VarLenSparseFeat("v")]
    absent = {name: [None, None] for name in "cidv"}
    encoder = TableEncoder(columns)
    for table in (
        absent,
        pd.DataFrame(absent),
        pl.DataFrame(absent),
        {name: [float("nan")] * 2 for name in "cidv"},
    ):
        assert [len(row) for row in entries_of(encoder.fit_transform(table))] == [3, 3]
        assert encoder.get_feature_names_out().tolist() == [
            *("missing", "c=<unknown>", "c=<missing>", "d", "d=<missing>", "v=<unknown>", "v=<missing>")
        ]
        assert encoder.fields_.n_fields == 4


def test_unknown_names_are_not_taken_for_the_feature():
    """Categories may be called as the features of unknown and missing ones are."""
    encoder = click_encoder().fit(
        {"city": ["<unknown>", "<missing>", "missing"], "age": [1, 2, 3], "user": [1] * 3, "tags": [[]] * 3}
    )
    assert encoder.transform_row({"city": "<unknown>", "age": 1, "user": 1, "tags": []})[0][0] == 2
    assert encoder.feature_dictionary_["city"] == {"<unknown>": 2, "<missing>": 3, "missing": 4}
