"""Made-up and mutated text is read as the slow reference reads it, or refused where it finds the fault."""

from __future__ import annotations

import random
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
import text_reference
from fuzz_text import SEEDS, mutated
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from text_tools import ARGUMENTS, ODD_INTEGERS, ODD_NUMBERS, ODD_PIECES, assert_as_reference, write

from fastfm_deep import kernels
from fastfm_deep.data import text_blocks
from fastfm_deep.data.id_map import LARGEST_ID, IdMap, hash_ids
from fastfm_deep.data.text import read_text

FORMATS = ["libsvm", "libffm"]
# The folder may be shared by the examples: each of them writes the files anew.
fuzz = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
thorough = settings(fuzz, max_examples=300)


def leave_all(text, end, progress, rules, rows, fields):
    """What `read_rows` does where no line is of the usual form."""
    return progress


@pytest.fixture(autouse=True)
def usual_block(monkeypatch):
    """Blocks get their size back, whatever a test makes of it."""
    monkeypatch.setattr(text_blocks, "BLOCK_BYTES", text_blocks.BLOCK_BYTES)
    monkeypatch.setattr(kernels.text, "read_rows", kernels.text.read_rows)


def check(folder: Path, contents: list[bytes], size: int, slowly: bool, **arguments) -> None:
    """Compare with the reference, in blocks of this size, by the kernel or by Python's own numbers."""
    paths = [write(folder, content, f"rows_{number}.txt") for number, content in enumerate(contents)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_blocks, "BLOCK_BYTES", size)
        if slowly:
            patch.setattr(kernels.text, "read_rows", leave_all)
        assert_as_reference(paths, contents, **arguments)


# Numbers


def check_numbers(folder: Path, tokens: list[str]) -> None:
    """As labels the numbers keep float64, as values they become float32."""
    tokens = [token for token in tokens if abs(float(token)) < np.inf]
    with np.errstate(all="ignore"):
        values = [token if np.isfinite(np.float32(float(token))) else "0" for token in tokens]
        expected_values = np.array([np.float32(float(token)) for token in values], np.float32)
    expected_labels = np.array([float(token) for token in tokens], np.float64)
    lines = (f"{label} 1:{value}\n" for label, value in zip(tokens, values, strict=True))
    data = read_text(write(folder, "".join(lines).encode()))
    wrong = np.flatnonzero(data.y.view(np.int64) != expected_labels.view(np.int64))
    assert [(tokens[row], data.y[row]) for row in wrong[:5]] == []
    wrong = np.flatnonzero(data.X.data.view(np.int32) != expected_values.view(np.int32))
    assert [(values[row], data.X.data[row]) for row in wrong[:5]] == []


def test_numbers_from_random_bits(tmp_path):
    random_bits = np.random.default_rng(0)
    double = random_bits.integers(0, 2**64, 20_000, np.uint64, endpoint=False).view(np.float64)
    double = [number for number in double.tolist() if abs(number) < np.inf]
    single = random_bits.integers(0, 2**32, 20_000, np.uint64).astype(np.uint32).view(np.float32)
    single = single[np.isfinite(single)]
    check_numbers(
        tmp_path,
        [
            *(form % number for form in ("%r", "%.15e", "%.16e", "%.17e", "%.18g", "%.30e") for number in double),
            *(form % number for form in ("%.7e", "%.8e", "%.9g", "%.20f", "%r") for number in single.tolist()),
            *map(str, single),
        ],
    )


def test_numbers_from_random_digits(tmp_path):
    draw = random.Random(0)
    tokens = []
    for _ in range(60_000):
        digits = str(draw.randrange(10 ** draw.randrange(1, 41)))
        point = draw.randrange(len(digits) + 1)
        exponent = draw.choice([draw.randrange(-60, 61), draw.randrange(-400, 320), draw.randrange(-9, 3)])
        mark = draw.choice(["e", "E"])
        end = draw.choice(["", f"{mark}{exponent}", f"{mark}{exponent:+}", f"{mark}{exponent:+04}"])
        tokens.append(
            draw.choice(["", "-", "+"]) + digits[:point] + draw.choice([".", "."]) + digits[point:] + end
        )
        tokens.append(draw.choice(["", "-", "0", "000"]) + digits + end)
    check_numbers(tmp_path, [token.replace("0-", "-") for token in tokens])


def test_numbers_halfway_between_two_doubles(tmp_path):
    """Ties go to the even one; a digit more or less decides."""
    draw = random.Random(0)
    tokens = []
    for _ in range(3000):
        half = draw.randrange(2**53 + 1, 2**54, 2)
        for power in range(24):
            # half = whole * 5**power, as far as that is odd and of 54 bits
            whole = half // 5**power | 1
            tokens += [f"{whole}e{power}", f"{whole}{'0' * power}", f"{whole}000e{power - 3}"]
        for shift in range(8):
            for exact in (half * 5**shift, half * 5**shift + 1, half * 5**shift - 1):
                digits = str(exact)
                tokens += [f"{digits}e-{shift}", f"{digits[:-shift] or digits}.{digits[-shift:] if shift else 0}"]
            tokens += [str(half << shift), f"{half << shift}.0", f"{(half << shift) * 10**shift}e-{shift}"]
    check_numbers(tmp_path, tokens)


def test_numbers_halfway_between_two_singles(tmp_path):
    """Of two roundings, as `np.float32(float(token))` says: what is lost in the first one does not come back."""
    draw = random.Random(0)
    tokens = []
    for _ in range(4000):
        half = Decimal(draw.randrange(2**24 + 1, 2**25, 2)) * Decimal(2) ** draw.randrange(-170, 100)
        exact = f"{half:f}" if -30 < half.adjusted() < 30 else f"{half:e}"
        tokens += [exact, "-" + exact]
        if "." in exact and "e" not in exact.lower():
            tokens += [
                exact + "0" * 20 + "1",
                exact + "1",
                exact[:-1] + "4" + "9" * 20,
                exact[: draw.randrange(18, 40)],
            ]
    check_numbers(tmp_path, tokens)


decimals = st.from_regex(r"\A[+-]?([0-9]{1,22}(\.[0-9]{0,22})?|\.[0-9]{1,40})([eE][+-]?[0-9]{1,3})?\Z")


@thorough
@given(tokens=st.lists(decimals, min_size=1, max_size=30))
def test_any_decimal(tmp_path, tokens):
    check_numbers(tmp_path, [*tokens, "1"])


# Good text

numbers = st.one_of(
    st.integers(-9, 99).map(str),
    st.floats(allow_nan=False, allow_infinity=False, width=32).map(repr),
    st.floats(-1e38, 1e38).map(repr),
    decimals.filter(lambda token: text_reference.value(token.encode()) is not None),
)
ids = st.integers(0, 9) | st.integers(0, 300) | st.integers(0, 2**62) | st.sampled_from([2**31 - 1, 2**31, 2**62])
blanks = st.sampled_from([" ", "\t", "  ", " \t ", "\r", "\v", "\f"])
line_ends = st.sampled_from(["\n", "\n", "\n", "\r\n", " \n", "\n\n", "# 1:1\n", "#\n \t\n", " # caf\xe9 \0\n"])
arguments = st.one_of(
    st.sampled_from(ARGUMENTS),
    st.fixed_dictionaries(
        {"labels": st.sampled_from(["required", "optional"]), "unknown_ids": st.sampled_from(["error", "ignore"])},
        optional={"n_features": st.integers(1, 12), "base": st.sampled_from([0, 1, "auto"])},
    ),
    st.fixed_dictionaries({"hash_features": st.integers(1, 50)}),
    st.fixed_dictionaries({"hash_features": st.integers(2**17, 2**62), "keep_fields": st.just(False)}),
)
sizes = st.sampled_from([1, 3, 8, 17, 40, text_blocks.BLOCK_BYTES])


@st.composite
def pairs(draw, format):
    field = f"{draw(st.integers(0, 3) | st.sampled_from([99, 100, 2**31 - 2]))}:" if format == "libffm" else ""
    return f"{field}{draw(st.sampled_from(['', '', '', '00', '+']))}{draw(ids)}:{draw(numbers)}"


@st.composite
def texts(draw, format):
    """Lines without faults, but for labels that are missing."""
    text = draw(st.sampled_from(["", "", "", "\ufeff", "\n", "# 9:9:9\n"]))
    for _ in range(draw(st.integers(0, 6))):
        tokens = draw(st.lists(pairs(format) | st.sampled_from(["qid:3", "qid:x:"]), max_size=5))
        if draw(st.integers(0, 5)):
            tokens.insert(0, draw(numbers))
        text += draw(st.sampled_from(["", "", " "])) + draw(blanks).join(tokens) + draw(line_ends)
    return (text.rstrip("\n") if draw(st.booleans()) else text).encode()


def format_of(draw, format):
    return draw(st.sampled_from(["auto", format]))


@pytest.mark.parametrize("format", FORMATS)
@thorough
@given(data=st.data(), size=sizes, n_jobs=st.integers(1, 2), slowly=st.booleans(), asked=arguments)
def test_good_text(tmp_path, format, data, size, n_jobs, slowly, asked):
    contents = data.draw(st.lists(texts(format), min_size=1, max_size=2))
    check(tmp_path, contents, size, slowly, format=format_of(data.draw, format), n_jobs=n_jobs, **asked)


# Mutated text

pieces = st.one_of(
    st.sampled_from([piece.encode() for piece in ODD_NUMBERS + ODD_INTEGERS + ODD_PIECES]),
    numbers.map(str.encode),
    st.binary(min_size=1, max_size=3),
)


@st.composite
def mutated_texts(draw, format):
    text = draw(texts(format))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(pieces | st.just(b"")) + text[at + draw(st.integers(0, 3)) :]
    return text


@pytest.mark.parametrize("format", FORMATS)
@thorough
@given(data=st.data(), size=sizes, n_jobs=st.integers(1, 2), slowly=st.booleans(), asked=arguments)
def test_mutated_text(tmp_path, format, data, size, n_jobs, slowly, asked):
    contents = data.draw(st.lists(mutated_texts(format), min_size=1, max_size=2))
    check(tmp_path, contents, size, slowly, format=format_of(data.draw, format), n_jobs=n_jobs, **asked)


@pytest.mark.parametrize("format", FORMATS)
@settings(fuzz, max_examples=100)
@given(
    data=st.data(),
    size=sizes,
    kind=st.sampled_from([{}, {"base": 0}, {"hash_features": 11}, {"compact": True}]),
    unknown_ids=st.sampled_from(["error", "ignore"]),
    labels=st.sampled_from(["required", "optional"]),
)
def test_later_files(tmp_path, format, data, size, kind, unknown_ids, labels):
    """Bases, widths and tables are those of the first file, whatever the later one shows."""
    lines = data.draw(st.lists(st.lists(st.integers(0, 9), max_size=3), min_size=1, max_size=3))
    field = "0:" if format == "libffm" else ""
    first = "\n".join(" ".join(["1", *(f"{field}{name}:1" for name in line)]) for line in lines).encode()
    id_map = read_text(write(tmp_path, first), **kind).id_map
    content = data.draw(texts(format) | mutated_texts(format))
    asked = {"format": format, "id_map": id_map, "unknown_ids": unknown_ids, "labels": labels}
    check(tmp_path, [content], size, False, **asked)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("size", [1, 64, 1 << 19])
def test_a_long_text_with_one_fault(tmp_path, format, size):
    """Far from the start places are still right, and of several faults the first is told, by two threads too."""
    draw = random.Random(size)
    field = b"3:" if format == "libffm" else b""
    good = b"".join(b"%d %s%d:0.25 %s7:1\n" % (row, field, row % 50, field) for row in range(3000))
    for _ in range(3):
        content = good
        for _ in range(draw.randrange(1, 4)):
            at = draw.randrange(len(good))
            content = content[:at] + draw.choice([b"x", b" ", b":", b"\n", b"-", b"\0"]) + content[at + 1 :]
        check(tmp_path, [content], size, False, format=format, n_jobs=2)


# Ids


@settings(deadline=None)
@given(numbers=st.lists(st.integers(0, LARGEST_ID), max_size=20), width=st.integers(1, LARGEST_ID))
def test_the_hash_is_the_documented_one(numbers, width):
    assert hash_ids(numbers, width).tolist() == [text_reference.hashed(number, width) for number in numbers]


def test_hashes_do_not_change():
    """Models hold weights by these columns."""
    assert hash_ids([0, 1, 2, 4_000_000_000, LARGEST_ID], 2**22).tolist() == [0, 183084, 426983, 3729606, 2722208]
    assert hash_ids([0, 1, 2, 4_000_000_000, LARGEST_ID], 1_000_003).tolist() == [
        0,
        360607,
        419549,
        882289,
        186452,
    ]


def test_a_table_of_many_ids(tmp_path):
    """The table grows while it is filled."""
    names = np.random.default_rng(0).integers(0, LARGEST_ID, 30_000)
    names = np.concatenate([names, names[::3], names[::-1]])
    content = b"1 " + b" ".join(b"%d:1" % name for name in names.tolist()) + b"\n"
    check(tmp_path, [content.replace(b":1 ", b":1\n1 ", 40_000)], 5000, False, compact=True, n_jobs=2)


def test_an_empty_table_knows_no_id(tmp_path):
    id_map = IdMap.by_table(np.array([5], np.int64))
    check(tmp_path, [b"1 5:1\n1 4:1\n"], 64, False, id_map=id_map, unknown_ids="ignore")
    check(tmp_path, [b"1 5:1\n1 4:1\n"], 64, False, id_map=id_map)


# Seeds


@pytest.mark.parametrize("seed", sorted(SEEDS.glob("*.txt")), ids=lambda path: path.stem)
def test_what_once_failed(tmp_path, seed):
    content = seed.read_bytes()
    for asked in ARGUMENTS:
        for format in ["auto", *FORMATS]:
            for size in (1, 7, text_blocks.BLOCK_BYTES):
                for slowly in (False, True):
                    check(tmp_path, [content], size, slowly, format=format, n_jobs=1 + slowly, **asked)


@pytest.mark.parametrize("format", FORMATS)
def test_the_mutation_fuzzer(tmp_path, format):
    """A short run of what `fuzz_text.py` does a million times."""
    draw = random.Random(0)
    for run in range(500):
        content = mutated(
            b"1 0:3:1 1:4:0.25 # n\n-1 qid:3 0:1:1\n" if format == "libffm" else b"1 3:1 4:0.25\n", draw
        )
        check(tmp_path, [content], draw.choice([1, 9, 64]), False, format=format, n_jobs=1, **ARGUMENTS[run % 10])
