"""What the encoder tests share: strategies for values and columns, tables of every kind, and comparisons."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import strategies as st

from fastfm_deep import DenseFeat, InputError, SparseFeat, TableEncoder, VarLenSparseFeat
from fastfm_deep.kernels._jit import JIT_ENABLED

UTC = dt.timezone.utc
EXAMPLES = 40 if JIT_ENABLED else 10

# Surrogates too: Python's str holds them, and what comes out of damaged files.
TEXTS = st.one_of(
    st.text(st.characters(), max_size=8),
    st.sampled_from(["", "\0", "a\0b", "\ud800", "żółw", "a" * 300, "<unknown>", "missing", "None", "nan"]),
)
INTS = st.one_of(
    st.integers(-5, 5),
    st.integers(-(2**63), 2**63 - 1),
    st.integers(-(2**70), 2**70),
    st.sampled_from([2**53, 2**53 + 1, 2**63 - 1, -(2**63), 2**63, 2**64, -(2**64)]),
)
FLOATS = st.one_of(st.floats(allow_nan=False), st.sampled_from([0.5, -0.0, 1.0, 1e300, float("inf"), 5e-324]))
DATES = st.dates()
TIMES = st.datetimes(dt.datetime(1700, 1, 1), dt.datetime(2200, 1, 1))
ZONES = st.sampled_from([UTC, dt.timezone(dt.timedelta(hours=-5)), dt.timezone(dt.timedelta(minutes=345))])
INSTANTS = st.datetimes(dt.datetime(1700, 1, 1), dt.datetime(2200, 1, 1), timezones=ZONES)
NANOSECONDS = st.integers(-(2**62), 2**62).map(lambda number: np.datetime64(number, "ns"))
BYTES = st.binary(max_size=5)
ABSENT = st.sampled_from([None, float("nan"), pd.NA, pd.NaT, np.float64("nan"), np.datetime64("NaT")])

KINDS: dict[str, st.SearchStrategy[Any]] = {
    "text": TEXTS,
    "int": INTS,
    "float": FLOATS,
    "bool": st.booleans(),
    "date": DATES,
    "datetime": TIMES,
    "instant": INSTANTS,
    "nanoseconds": NANOSECONDS,
    "bytes": BYTES,
}
VALUES = st.one_of(*KINDS.values())
MAYBE_VALUES = st.one_of(VALUES, ABSENT)
SMALL_VALUES = st.sampled_from(
    ["a", "b", "ż", "1", "2.5", "True", 1, 2, 2.5, True, None, dt.date(2020, 1, 1), b"a"]
)
NUMBERS = st.one_of(
    st.integers(-1000, 1000), st.floats(-1e6, 1e6), st.none(), st.just(float("nan")), st.booleans()
)
BAGS = st.one_of(st.none(), st.lists(st.one_of(SMALL_VALUES, st.just("c|")), max_size=5))
BAG_TEXTS = st.one_of(st.none(), st.text("ab1|ż", max_size=8))


def some_of(strategy, n_rows):
    return st.lists(strategy, min_size=n_rows, max_size=n_rows)


@st.composite
def columns_and_rows(draw, strict=True):
    """Feature columns, and two tables of them as dicts of lists: one to fit, one to go on with."""
    unknown = st.sampled_from(["bucket", "ignore", "error"] if strict else ["bucket", "ignore"])
    hashes = draw(st.sampled_from([None, None, 1, 7]))
    counts = 1 if hashes else draw(st.integers(1, 3))
    scaling = draw(st.sampled_from(["standard", "log1p", "minmax", "none"]))
    buckets = draw(st.sampled_from([None, None, 2, 4]))
    missing = draw(st.sampled_from(["indicator", "mean", "error"] if strict else ["indicator", "mean"]))
    columns = [
        SparseFeat("s", min_count=counts, hash_buckets=hashes, handle_unknown=draw(unknown)),
        DenseFeat("d", scaling=scaling, buckets=buckets, missing=missing),
        VarLenSparseFeat(
            "v",
            pooling=draw(st.sampled_from(["mean", "sum", "sqrtn", "max"])),
            max_length=draw(st.sampled_from([None, 1, 3])),
            min_count=draw(st.integers(1, 2)),
            handle_unknown=draw(unknown),
        ),
    ]
    of_values = draw(st.sampled_from([SMALL_VALUES, st.sampled_from("abc"), st.integers(0, 3), MAYBE_VALUES]))
    of_bags = draw(st.sampled_from([BAGS, BAG_TEXTS]))

    def rows(n_rows):
        return {
            "s": draw(some_of(of_values, n_rows)),
            "d": draw(some_of(NUMBERS, n_rows)),
            "v": draw(some_of(of_bags, n_rows)),
        }

    return columns, rows(draw(st.integers(1, 8))), rows(draw(st.integers(1, 6)))


def object_columns(columns):
    """A dict of arrays, of which each holds its values as they are."""
    found = {}
    for name, values in columns.items():
        found[name] = np.empty(len(values), object)
        found[name][:] = values
    return found


def tables_of(columns):
    """The same table of every kind that takes it; columns are lists of one type each, and None."""
    frame = pl.DataFrame(columns)
    names, n_rows = list(columns), len(next(iter(columns.values())))
    return {
        "dict": columns,
        "records": [{name: columns[name][row] for name in names} for row in range(n_rows)],
        "pandas": pd.DataFrame(columns),
        "pandas objects": pd.DataFrame(
            {name: pd.Series(values, dtype=object) for name, values in columns.items()}
        ),
        "polars": frame,
        "pyarrow": pa.table(columns),
    }


def entries_of(X):
    """Rows of CSR as lists of (id, value), in their order."""
    spans = zip(X.indptr[:-1], X.indptr[1:], strict=True)
    return [list(zip(X.indices[a:b].tolist(), X.data[a:b].tolist(), strict=True)) for a, b in spans]


def assert_same_rows(got, expected):
    """The same features in the same order; values up to rounding."""
    assert [[number for number, _ in row] for row in got] == [[number for number, _ in row] for row in expected]
    for row, other in zip(got, expected, strict=True):
        np.testing.assert_allclose([x for _, x in row], [x for _, x in other], rtol=2e-6, atol=2e-6)


def same_bits(got, expected):
    return got.shape == expected.shape and all(
        getattr(got, part).tobytes() == getattr(expected, part).tobytes() for part in ("indptr", "indices", "data")
    )


def learned(encoder):
    """All that an encoder has learned, as something that can be compared."""
    plain, arrays = encoder.encoding_.state()
    return repr(plain), {name: array.tobytes() for name, array in arrays.items()}, encoder.encoding_.names()


def refused(call, message, error=InputError):
    """See that a call raises an error with this text."""
    with pytest.raises(error, match=re.escape(message)) as caught:
        call()
    return str(caught.value)


CITIES = ["bj", "sh", None, "bj", "żółw", "sh", "bj", "gz"]
CLICKS = {
    "city": CITIES,
    "age": [20.0, 31.5, None, 44.0, 27.0, 20.0, 63.0, 35.0],
    "user": [2**60 + 1, 7, 7, 2**60 + 1, 3, 3, 7, 11],
    "tags": [["a", "b"], ["b"], [], None, ["c", "a", "a"], ["b", "b"], ["a"], ["d"]],
}
CLICKED = [0, 1, 1, 0, 1, 0, 0, 1]


def click_columns(**options):
    """Feature columns of CLICKS."""
    return [
        SparseFeat("city", **options),
        DenseFeat("age"),
        SparseFeat("user"),
        VarLenSparseFeat("tags", pooling="mean"),
    ]


def click_encoder(**options):
    return TableEncoder(click_columns(**options))


def many_clicks(n_rows=200, random_state=0):
    """A table of the same columns, larger, and labels; a dict of lists."""
    rng = np.random.default_rng(random_state)
    cities, tags = ["bj", "sh", "gz", None, "żółw"], ["a", "b", "c", "d"]
    columns = {
        "city": [cities[at] for at in rng.integers(0, 5, n_rows)],
        "age": [None if at % 9 == 0 else float(age) for at, age in enumerate(rng.normal(40, 12, n_rows))],
        "user": rng.integers(0, 30, n_rows).tolist(),
        "tags": [[tags[at] for at in rng.integers(0, 4, rng.integers(0, 4))] for _ in range(n_rows)],
    }
    labels = [
        int(city in ("bj", "gz")) ^ int(user % 3 == 0)
        for city, user in zip(columns["city"], columns["user"], strict=True)
    ]
    return columns, labels
