"""Keys: what categories are known by, and the table that numbers them, against plain Python."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import itertools
import struct

import numpy as np
import pandas as pd
import pytest
from encoder_tools import EXAMPLES, KINDS, UTC, VALUES
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_encoder import name_of

from fastfm_deep import InputError
from fastfm_deep.data import keys as k
from fastfm_deep.data.python_values import read_objects
from fastfm_deep.data.values import FLOAT, INT, Numbers, Objects, Texts
from fastfm_deep.kernels import keys as kernels
from fastfm_deep.kernels import pieces as text_pieces
from fastfm_deep.kernels.key_layout import Keys, KeyTable, hash_key

WORD = struct.Struct("<q").pack

# These decide which features hashed columns of saved models have.
GOLDEN = {
    (0, b""): 0x9CA066F1A4AB2EEA,
    (1, b""): 0xD30B054265133DD7,
    (1, b"a"): 0x8DDB80682061B8B9,
    (1, b"abcdefgh"): 0x775E2733FD10AAFD,
    (1, b"abcdefghi"): 0x4C7E3B0AFBF48B1E,
    (1, "żółw".encode()): 0x1FEE2A05BFE2032C,
    (1, b"x" * 1000): 0xF2FB6F6B8A51608B,
    (2, WORD(0)): 0x6483871D34132363,
    (2, WORD(1)): 0xD4F8129E5C546AFC,
    (4, WORD(1)): 0xD4F8129E5C546AFC,
    (12, WORD(1)): 0xD4F8129E5C546AFC,
    (2, WORD(-1)): 0x3007757CA31C7976,
    (2, WORD(2**53 + 1)): 0x9B73323A165F6CFD,
    (3, struct.pack("<d", 0.5)): 0x1D680C4D63EC2BA5,
    (5, WORD(18262)): 0x9D28A08FB133BA,
    (6, WORD(1)): 0x47FE9B88B922F565,
    (7, WORD(1)): 0x26F50458E383FFBF,
    (8, WORD(1)): 0x4008CF7B957AC99,
    (9, WORD(1)): 0x3BE621D77CEBCEDB,
    (10, b"9223372036854775808"): 0xB67F1ECC4A78C0B,
    (11, b"\x00\xff"): 0x9230D8E6628BEA0E,
}


def as_keys(pairs):
    """Keys as kernels take them; the bytes of the first do not begin at 0."""
    data = b"junk" + b"".join(content for _, content in pairs)
    offsets = 4 + np.cumsum([0] + [len(content) for _, content in pairs])
    parts = (
        np.frombuffer(data, np.uint8),
        offsets.astype(np.int64),
        np.array([kind for kind, _ in pairs], np.uint8),
    )
    return Keys(*(k.read_only(part, part.dtype) for part in parts))


def pairs_of(keys):
    """Kind and bytes of each; a missing one has none, whatever stands in its place."""
    spans = zip(keys.offsets, keys.offsets[1:], keys.kinds.tolist(), strict=False)
    return [(kind, bytes(keys.data[a:b]) if kind else b"") for a, b, kind in spans]


def plain(pair):
    kind, content = pair
    return (2 if kind in (4, 12) else kind), content


PAIRS = st.one_of(
    st.tuples(st.sampled_from([1, 10, 11]), st.binary(max_size=20)),
    st.tuples(st.sampled_from([2, 3, 4, 5, 6, 7, 8, 9, 12]), st.integers(-3, 3).map(WORD)),
    st.just((0, b"")),
)


@pytest.mark.parametrize("pair", GOLDEN, ids=lambda pair: f"{pair[0]}-{pair[1][:9]!a}")
def test_hashes_never_change(pair):
    assert hash_key(*pair) == GOLDEN[pair]
    codes = np.empty(1, np.int64)
    kernels.hash_keys(as_keys([pair]), 2**31 - 2, codes)
    assert codes[0] == GOLDEN[pair] % (2**31 - 2)


@given(
    st.lists(st.one_of(PAIRS, st.tuples(st.just(1), st.binary(max_size=100))), max_size=20), st.integers(1, 2**31)
)
@settings(max_examples=EXAMPLES, deadline=None)
def test_the_kernel_hashes_as_the_formula_says(pairs, n_buckets):
    codes = np.empty(len(pairs), np.int64)
    kernels.hash_keys(as_keys(pairs), n_buckets, codes)
    assert codes.tolist() == [hash_key(*pair) % n_buckets for pair in pairs]


def new_table(n_slots=8, n_bytes=6, n_keys=2):
    return KeyTable(
        np.zeros(n_slots, np.uint64),
        np.zeros(n_bytes, np.uint8),
        np.zeros(n_keys + 1, np.int64),
        np.zeros(n_keys, np.uint8),
    )


def grown(table, n):
    """Twice as large; full on any of its three sides."""
    wide = new_table(2 * len(table.slots), 2 * len(table.data) + 32, 2 * len(table.kinds))
    for new, old in zip(wide[1:], table[1:], strict=True):
        new[: len(old)] = old
    assert kernels.fill_slots(wide, n)
    return wide


@given(st.lists(PAIRS, max_size=60), st.lists(PAIRS, max_size=20))
@settings(max_examples=EXAMPLES, deadline=None)
def test_numbers_of_keys_are_those_of_a_dict(pairs, others):
    expected = {}
    for pair in pairs:
        expected.setdefault(plain(pair), len(expected))
    keys, table, codes = as_keys(pairs), new_table(), np.full(len(pairs), -7, np.int32)
    place, n = 0, 0
    while True:
        place, n = kernels.add_keys(keys, place, table, n, codes)
        if place == len(pairs):
            break
        table = grown(table, n)
    assert n == len(expected)
    assert codes.tolist() == [expected[plain(pair)] for pair in pairs]
    assert 2 * n <= len(table.slots)
    for asked in (pairs, others):
        found = np.empty(len(asked), np.int32)
        kernels.find_keys(as_keys(asked), table, found)
        assert found.tolist() == [expected.get(plain(pair), -1) for pair in asked]


def test_slots_are_not_filled_with_a_key_that_comes_twice():
    table = new_table(8, 16, 2)
    table.data[:] = np.frombuffer(WORD(1) * 2, np.uint8)
    table.offsets[:], table.kinds[:] = [0, 8, 16], [2, 4]  # 1 and True
    assert kernels.fill_slots(table, 1)
    table.slots[:] = 0
    assert not kernels.fill_slots(table, 2)


def test_counts_leave_out_what_is_unknown():
    counts = np.zeros(3, np.int64)
    kernels.count_codes(np.array([0, 2, -1, 2], np.int32), counts)
    assert counts.tolist() == [1, 0, 2]


@given(
    st.lists(st.text("ab|,", max_size=10), max_size=6),
    st.sampled_from(["|", "||", ",|", "a", "ab"]),
)
@settings(max_examples=EXAMPLES, deadline=None)
def test_text_is_split_as_python_splits_it(texts, separator):
    keys, row_offsets = as_keys([(1, text.encode()) for text in texts]), np.empty(len(texts) + 1, np.int64)
    between = k.read_only(np.frombuffer(separator.encode(), np.uint8), np.uint8)
    n_bytes = text_pieces.count_pieces(keys.data, keys.offsets, between, row_offsets)
    expected = [[piece for piece in text.split(separator) if piece] for text in texts]
    out, offsets = np.empty(n_bytes, np.uint8), np.empty(row_offsets[-1] + 1, np.int64)
    text_pieces.split_pieces(keys.data, keys.offsets, between, out, offsets)
    pieces = [bytes(out[a:b]).decode() for a, b in itertools.pairwise(offsets)]
    assert [pieces[a:b] for a, b in itertools.pairwise(row_offsets)] == expected


# ---------------------------------------------------------------------------------------------- values and keys


def key(value):
    return plain(k.key_of(value))


@given(VALUES, VALUES)
@settings(max_examples=4 * EXAMPLES, deadline=None)
def test_keys_are_the_same_where_values_are(first, second):
    assert (key(first) == key(second)) == (name_of(first) == name_of(second))


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@settings(max_examples=EXAMPLES, deadline=None)
def test_values_come_back_from_their_keys(kind, data):
    value = data.draw(KINDS[kind])
    got = k.value_of(*k.key_of(value))
    assert name_of(got) == name_of(value)
    if kind in ("text", "float", "bool", "date", "bytes") and value not in (1e300,):
        assert got == value
    if kind == "instant":
        assert got.utcoffset() == dt.timedelta(0)


@pytest.mark.parametrize(
    "group",
    [
        [1, 1.0, True, np.int8(1), np.uint64(1), np.float32(1), np.bool_(True), decimal.Decimal(1)],
        [0, -0.0, 0.0, False],
        [2**63, float(2**63), np.uint64(2**63), decimal.Decimal(2**63)],
        [-(2**63), float(-(2**63)), np.int64(-(2**63))],
        [0.1, np.float64(0.1), decimal.Decimal("0.1")],
        ["a", np.str_("a"), enum.Enum("Letter", {"A": "a"}, type=str).A],
        [b"a", np.bytes_(b"a")],
        [dt.date(2020, 1, 1), np.datetime64("2020-01-01"), np.datetime64("2020-01"), np.datetime64("2020")],
        [
            dt.datetime(2020, 1, 1),
            pd.Timestamp(2020, 1, 1),
            np.datetime64("2020-01-01T00"),
            np.datetime64("2020-01-01", "ns"),
        ],
        [
            dt.datetime(2020, 1, 1, tzinfo=UTC),
            pd.Timestamp("2020-01-01", tz="UTC"),
            dt.datetime(2020, 1, 1, 2, tzinfo=dt.timezone(dt.timedelta(hours=2))),
            pd.Timestamp("2020-01-01 01:00", tz="Europe/Warsaw"),
        ],
        [pd.Timestamp(1577836800000000001), np.datetime64(1577836800000000001, "ns")],
        [
            None,
            float("nan"),
            np.float32("nan"),
            pd.NA,
            pd.NaT,
            np.datetime64("NaT"),
            decimal.Decimal("nan"),
            decimal.Decimal("snan"),
        ],
    ],
    ids=lambda group: repr(group[0]),
)
def test_what_is_one_category(group):
    assert len({key(value) for value in group}) == 1


def test_what_is_not_one_category():
    day = dt.datetime(2020, 1, 1)
    values = [
        "1",
        1,
        b"1",
        "1.0",
        1.5,
        "True",
        day,
        day.date(),
        day.replace(tzinfo=UTC),
        None,
        "",
        b"",
        "None",
        2**53,
        2**53 + 1,
    ]
    assert len({key(value) for value in values}) == len(values)


@pytest.mark.parametrize(
    "value",
    [[1], {"a": 1}, 1j, object(), dt.timedelta(1), np.timedelta64(1, "s"), dt.time(1), 10**5000, pd.Timedelta(1)],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_category(value):
    with pytest.raises(k.NoCategoryError):
        k.key_of(value)
    cells = np.empty(2, object)
    cells[:] = ["a", value]
    with pytest.raises(InputError, match=r"Column 'c' holds .* in row 1, a \w+, but categories are text"):
        k.keys_of(Objects(cells), "c")
    with pytest.raises(InputError, match="in row 17,"):
        k.keys_of(Objects(cells), "c", lambda place: 16 + place)


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@settings(max_examples=EXAMPLES, deadline=None)
def test_columns_have_the_keys_of_their_values(kind, data):
    """Whether a column is read into arrays or stays Python objects."""
    values = data.draw(st.lists(st.one_of(KINDS[kind], st.none()), min_size=1, max_size=6))
    form = read_objects(values, "c")
    expected = [plain(k.key_of(value)) for value in values]
    assert [plain(pair) for pair in pairs_of(k.keys_of(form, "c"))] == expected


def test_floats_of_any_size():
    floats = np.array([1.0, 0.5, np.nan, 2.0**63, -(2.0**63), 1e300, np.inf, -0.0, 2.0**62])
    missing = np.array([False] * 8 + [True])
    for form in (
        Numbers(floats, FLOAT, missing),
        Numbers(floats[[0, 1, 2, 4, 6, 7, 8]], FLOAT, missing[[0, 1, 2, 4, 6, 7, 8]]),
    ):
        expected = [
            k.key_of(None if gone else float(x)) for x, gone in zip(form.numbers, form.missing, strict=True)
        ]
        assert [plain(pair) for pair in pairs_of(k.keys_of(form, "c"))] == [plain(pair) for pair in expected]


def test_keys_share_the_memory_of_text_and_integers():
    """A transform must not copy what may be gigabytes."""
    texts = Texts(np.frombuffer(b"abc", np.uint8), np.array([0, 1, 3]), None)
    numbers = Numbers(np.arange(5), INT, None)
    assert np.shares_memory(k.keys_of(texts, "c").data, texts.data)
    assert np.shares_memory(k.keys_of(texts, "c").offsets, texts.offsets)
    assert np.shares_memory(k.keys_of(numbers, "c").data, numbers.numbers)


@given(st.one_of(st.integers(-(2**70), 2**70), st.floats(allow_nan=False, allow_infinity=False), st.booleans()))
@settings(max_examples=2 * EXAMPLES, deadline=None)
def test_numbers_are_read_as_they_are_written(number):
    assert k.number_in(k.text_of(number)) == number


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "nan",
        "inf",
        "-inf",
        "1_000",
        "+1",
        "01",
        "1.50",
        " 1",
        "٣",
        "1e5",
        "-0",
        "true",
        "\ud800",
        "9" * 5000,
    ],
    ids=lambda text: ascii(text[:5]),
)
def test_what_is_not_how_python_writes_a_number(text):
    assert k.number_in(text) is None


def test_long_integers_are_numbers():
    assert k.number_in("1" + "0" * 400) == 10**400
    assert k.text_of(10**400) == "1" + "0" * 400
    assert k.text_of(np.float32(0.1)) == "0.10000000149011612"


def test_a_nan_that_signals_is_missing():
    number = decimal.Decimal("sNaN")
    assert k.key_of(number) == k.key_of(None)
    assert read_objects([number, "a"], "x").missing.tolist() == [True, False]
