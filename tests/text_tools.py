"""What the tests of the text reader share: files, tokens hard to read, a comparison with the reference."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
from pathlib import Path
from typing import Any

import numpy as np
import text_reference

import fastfm_deep
from fastfm_deep.data import text_blocks
from fastfm_deep.data.text import TextData, read_text
from fastfm_deep.validation import TableTooLargeError, TextFormatError

DATA = Path(
    os.environ.get("FASTFM_DEEP_DATA", Path(fastfm_deep.__file__).parent.parent.parent / "shared" / "data")
)
COMPRESS = {".gz": gzip.compress, ".xz": lzma.compress, ".bz2": bz2.compress}


def words(text: str) -> list[str]:
    return text.split()


# Numbers that are hard to read, and what only looks like one.
ODD_NUMBERS = [
    *words("nan inf -inf infinity NaN 1e400 1e-400 1e39 1_0 _1 +5 -0 -5 --5 +-1 0x10 1e 1e+ 1e- e5 . + - .e1"),
    *words("1.e1 1E5 1e+5 1e05 1d5 1f 1,5 5. .5 +.5 -.5e-5 00 007 0b1 1j 1e23 1e22 1e-46 1e-45 7e-46 7.1e-46"),
    *words("3.4028235e38 3.4028235677973366e38 3.4028235677973362e38 1.00000005960464477539062 16777217"),
    *words("1.000000059604644775390625 1.0000000596046447753906251 1.5e-323 2.2250738585072011e-308 4.9e-324"),
    *words("2.4703282292062327e-324 2.4703282292062328e-324 1e99999 1e-99999 1e100000 -1e-999999999999999999999"),
    *words("0e999999999999999999999 144115188075855891 123456789012345678 1234567890123456789"),
    *[f"{2**53 + 1}", f"{2**53 + 3}", f"{2**53 + 3}.0", f"{2**53 + 3}00e-2", "9" * 25, "9" * 400, "0" * 25 + "7"],
    *["0.1234567890123456789012345", "0." + "0" * 30 + "7", "0" * 5000 + "1", "0" * 5000 + ".1", ""],
    *["\u0663", "\uff11", "\xbd"],
]
ODD_INTEGERS = [
    *[str(number + step) for number in (2**31, 2**32, 2**62, 2**63, 2**64) for step in (-2, -1, 0, 1)],
    *["9" * 18, "9" * 19, "4000000000", "0" * 19 + "1", "1.0", "-1", "+1", "-0", "+0", "1_0"],
]
ODD_PIECES = [
    *words(": :: ::: ::::::::: # qid: qid:1 qid q id:1 qid::"),
    *["# 1:1", " ", "\t", "\v", "\f", "\r", "\r\n", "\n", "\n\n", "\0", "\x01", "\x1c", "\x1f", "\x7f", "\x85"],
    *["\xa0", "\u2028", "\ufeff", "\xe9"],
]
# What readers may be asked for; each is tried with every seed.
ARGUMENTS: list[dict[str, Any]] = [
    {},
    {"labels": "optional"},
    {"base": 1},
    {"base": 0, "labels": "optional"},
    {"n_features": 3},
    {"n_features": 3, "base": 0},
    {"n_features": 3, "unknown_ids": "ignore"},
    {"n_features": 2, "base": 1, "unknown_ids": "ignore", "labels": "optional"},
    {"hash_features": 7},
    {"hash_features": 16, "labels": "optional"},
    {"hash_features": 2**33 + 1, "keep_fields": False},
    {"compact": True},
    {"compact": True, "labels": "optional"},
]


def write(folder: Path, content: bytes, name: str = "rows.txt") -> str:
    path = folder / name
    path.write_bytes(content)
    return str(path)


def assert_same_rows(data: TextData, content: bytes) -> None:
    """The rows are those of the content, in its order and bit for bit."""
    expected = text_reference.read(content, labels="optional", base=data.base, keep_fields=data.fields is not None)
    assert isinstance(expected, text_reference.Expected)
    text_reference.assert_same(data, expected._replace(width=data.X.shape[1]))


def looks_compressed(content: bytes) -> bool:
    """Whether the first bytes are those of a compressed file, or all that is left of one."""
    magics = [b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd"]
    return bool(content) and any(content[: len(magic)] == magic[: len(content)] for magic in magics)


def assert_as_reference(paths: list[str], contents: list[bytes], **arguments: Any) -> None:
    """`read_text` does what the reference does, or tells of the fault that it finds, where it is."""
    expected = text_reference.read(contents, **arguments)
    if isinstance(expected, text_reference.Expected) and expected.field_of_column and expected.width > 2**16:
        # Each column takes four bytes then, whether it occurs or not.
        arguments = arguments | {"keep_fields": False}
        expected = expected._replace(field_of_column=None, n_shared=0)
    found: TextData | str
    try:
        try:
            found = read_text(paths, **arguments)
        except TableTooLargeError:  # before a fault that stands behind
            found = read_text(paths, **arguments | {"keep_fields": False})
    except TextFormatError as error:
        found = str(error)
    if any(looks_compressed(content) for content in contents):
        return
    if isinstance(found, str) and " is a binary file, no text; " in found:
        # A line that is longer than a block is no text if there is a NUL byte in it, even in a comment.
        lines = [line for content in contents for line in content.split(b"\n")]
        assert any(b"\0" in line and len(line) >= text_blocks.BLOCK_BYTES for line in lines), found
    elif isinstance(expected, text_reference.Expected):
        assert isinstance(found, TextData), found
        text_reference.assert_same(found, expected)
        assert_sound(found)
    else:
        assert isinstance(found, str), f"{found} instead of {expected}"
        if expected is None:
            assert found.startswith(f"{', '.join(paths)} holds no rows; ")
        else:
            text_reference.assert_told(found, paths, expected)


def assert_sound(data: TextData) -> None:
    """What holds for all that is read."""
    indptr, indices = data.X.indptr, data.X.indices
    n_rows, width = data.X.shape
    assert indptr.dtype == indices.dtype
    assert (len(indptr), indptr[0], indptr[-1]) == (n_rows + 1, 0, len(indices))
    assert len(data.X.data) == len(indices)
    assert (indptr[1:] >= indptr[:-1]).all()
    assert indices.min(initial=0) >= 0
    assert indices.max(initial=0) < width
    assert np.isfinite(data.X.data).all()
    assert data.y is None or len(data.y) == n_rows
    assert data.y is None or not np.isinf(data.y).any()
    assert data.fields is None or len(data.fields.field_of_column) == width
    assert data.id_map.n_features == width
