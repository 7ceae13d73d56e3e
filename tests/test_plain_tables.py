"""Tables encoded without compiled code: the bits of rows and the refusals that the kernels give."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from encoder_tools import CLICKS, EXAMPLES, click_columns, columns_and_rows, object_columns, tables_of
from hypothesis import given, settings

from fastfm_deep import InputError, TableEncoder
from fastfm_deep.data.encoder_tables import table_to_encode
from fastfm_deep.data.encoders import Encoding
from fastfm_deep.data.rows import CsrRows


def plain_copy(encoder):
    """The encoding of a fitted encoder, through a file's arrays, for work without compiled code."""
    return Encoding.from_state(*encoder.encoding_.state(), plain=True)


def told(action):
    """What it gives, or what it is refused with."""
    try:
        return action()
    except InputError as error:
        return type(error), str(error)


def assert_same_rows(got, expected):
    if isinstance(expected, CsrRows):
        assert isinstance(got, CsrRows)
        for one, other in zip(got, expected, strict=True):
            assert one.dtype == other.dtype
            assert one.tobytes() == other.tobytes()
    else:
        assert got == expected


def assert_same_encoding(encoder, table):
    """Rows, or refusals, of the whole table and of each of its rows."""
    plain, compiled = plain_copy(encoder), encoder.encoding_

    def rows(encoding):
        return told(lambda: encoding.table_rows(table_to_encode(table, encoding)))

    assert_same_rows(rows(plain), rows(compiled))


@given(columns_and_rows())
@settings(max_examples=4 * EXAMPLES, deadline=None)
def test_tables_are_encoded_alike(case):
    columns, first, more = case
    encoder = TableEncoder(columns)
    try:
        encoder.fit(object_columns(first))
    except InputError:
        return
    for table in (first, more):
        assert_same_encoding(encoder, object_columns(table))
        for at in range(len(table["s"])):
            row = {name: values[at] for name, values in table.items()}
            expected = told(lambda row=row: encoder.encoding_.encode_row(row, pooled=True))
            assert told(lambda row=row: plain_copy(encoder).encode_row(row, pooled=True)) == expected


@pytest.mark.parametrize("options", [{}, {"handle_unknown": "error"}, {"hash_buckets": 5}, {"min_count": 2}])
def test_tables_of_every_kind_are_encoded_alike(options, tmp_path):
    known = {**CLICKS, "city": ["bj", *CLICKS["city"][:2], *CLICKS["city"][3:]]}
    encoder = TableEncoder(click_columns(**options)).fit(known)
    other = {**CLICKS, "city": [None, "new", *CLICKS["city"][2:]], "user": [5, 7, 3, 3, 3, 2**60 + 1, 11, 11]}
    for content in (CLICKS, known, other):
        kinds = tables_of(content)
        for table in kinds.values():
            assert_same_encoding(encoder, table)
        pa.parquet.write_table(pa.table(content), tmp_path / "a.parquet")
        assert_same_encoding(encoder, tmp_path / "a.parquet")
        without = {name: values for name, values in content.items() if name != "tags"}
        without["tags"] = ["|".join(tags or []) for tags in content["tags"]]
        pa.csv.write_csv(pa.table(without), tmp_path / "a.csv")
        assert_same_encoding(encoder, tmp_path / "a.csv")


def test_a_table_without_rows_is_refused_alike():
    encoder = TableEncoder(click_columns()).fit(CLICKS)
    empty = {name: values[:0] for name, values in CLICKS.items()}
    assert_same_encoding(encoder, empty)
    encoding = plain_copy(encoder)
    with pytest.raises(InputError, match="0 sample"):
        encoding.table_rows(table_to_encode(empty, encoding))


def test_many_texts_that_are_few_are_encoded_alike():
    """Objects of which many are one, and as many that are not, more than are read at a time."""
    cities = ["bj", "sh", "żółw", None, "gz"]
    shared = [cities[at] for at in np.random.default_rng(0).integers(0, 5, 20_000)]
    columns = click_columns()[:2]
    encoder = TableEncoder(columns).fit({"city": shared, "age": list(range(20_000))})
    for texts in (shared, [f"city {at % 7000}" for at in range(20_000)]):
        assert_same_encoding(encoder, {"city": np.array(texts, object), "age": np.arange(20_000.0)})
