"""The header of a model file: where each array lies, and what the model is besides its arrays.

A *header* is the JSON part of a safetensors file,

    {"__metadata__": {"fastfm_deep": text, "digest": hex}, name: {"dtype", "shape", "data_offsets"}, ...}

and blanks, up to a multiple of 64 bytes. `text` is JSON again (safetensors allows strings only): the format
number, the version of the package, the description of the model and a CRC-32 of each array. There is one way to
write a header, so that a reader writes what it has read once more and compares; the digest is over all of it.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastfm_deep import __version__, validation

if TYPE_CHECKING:
    from numpy.typing import NDArray

FORMAT = 2
"""The newest that is known here: 2 may hold factors in another storage than float32, or of some features only."""
PLAIN_FORMAT = 1
"""The format of all other files, so that earlier versions read them."""
ALIGN = 64
PADDING = "padding."  # what the names of arrays that only fill holes begin with
MAX_HEADER = 100_000_000  # bytes; the limit of safetensors
PREFIX = b'{"__metadata__":{"fastfm_deep":'  # how the header of a model begins
_METADATA = "__metadata__"
_KEY = "fastfm_deep"
_MAX_DIMENSIONS = 32  # the limit of NumPy 1
_NO_DIGEST = "0" * 32

_CODES = {
    "b1": "BOOL",
    "u1": "U8",
    "i1": "I8",
    "u2": "U16",
    "i2": "I16",
    "f2": "F16",
    "u4": "U32",
    "i4": "I32",
    "f4": "F32",
    "u8": "U64",
    "i8": "I64",
    "f8": "F64",
}
_BFLOAT16 = "BF16"
_DTYPES = {code: np.dtype("<" + text) for text, code in _CODES.items()}
_DTYPES[_BFLOAT16] = np.dtype("<u2")  # NumPy has no such type; its bits are those of a uint16


class Entry(NamedTuple):
    """Type, shape and place of an array; `start` and `end` are bytes, counted from the first array on."""

    code: str
    shape: tuple[int, ...]
    start: int
    end: int

    @property
    def dtype(self) -> np.dtype[Any]:
        """Little-endian, as all numbers in the file."""
        return _DTYPES[self.code]


class Header(NamedTuple):
    """A header, read and found to be consistent."""

    description: dict[str, Any]
    entries: dict[str, Entry]
    checksums: dict[str, str]

    @property
    def data_size(self) -> int:
        """Bytes of all arrays together."""
        return max((entry.end for entry in self.entries.values()), default=0)


class HeaderError(Exception):
    """What is wrong with a header, in words that follow "its header"; the caller knows the name of the file."""


class NewerFormatError(Exception):
    """A format number that is not known yet: `number` and the `version` that wrote it."""

    def __init__(self, number: int, version: str) -> None:
        super().__init__(number, version)
        self.number, self.version = number, version


class ForeignError(Exception):
    """A header of safetensors, perhaps, but not of a model."""


def place_arrays(
    arrays: Mapping[str, NDArray[Any]], bfloat16: Collection[str] = ()
) -> dict[str, tuple[Entry, NDArray[Any]]]:
    """Entries and arrays in the order of the file, with zeros in between where an array would not be aligned.

    `bfloat16` names arrays of uint16 that are the bits of such numbers. safetensors wants arrays without holes; a
    table that is not aligned takes more cache lines when it is mapped.
    """
    placed: dict[str, tuple[Entry, NDArray[Any]]] = {}
    end = 0
    for name, array in arrays.items():
        _check_array(name, array)
        hole = -end % ALIGN
        if hole and array.size:
            filler = np.zeros(hole, np.uint8)
            placed[f"{PADDING}{len(placed)}"] = Entry("U8", filler.shape, end, end + hole), filler
            end += hole
        code = _BFLOAT16 if name in bfloat16 else _CODES[array.dtype.str[1:]]
        placed[name] = Entry(code, array.shape, end, end + array.nbytes), array
        end += array.nbytes
    return placed


def _check_array(name: str, array: NDArray[Any]) -> None:
    if not re.fullmatch(r"\w[\w.]*", name, re.ASCII) or name == _METADATA or name.startswith(PADDING):
        raise validation.model_content_error(
            f"an array is named {name!r}, but names are made of letters, digits, '_' and '.', and do not begin "
            f"with {PADDING!r}"
        )
    if array.dtype.str[1:] not in _CODES:
        raise validation.model_content_error(
            f"the array {name!r} has dtype={array.dtype}, but must hold plain numbers or booleans"
        )


def header_bytes(
    description: dict[str, Any],
    entries: dict[str, Entry],
    checksums: Mapping[str, str],
    number: int = PLAIN_FORMAT,
) -> bytes:
    """The header as it stands in the file; its length depends on the number of checksums, not on their values."""
    content = {"format": number, "version": __version__, "header": description, "checksums": dict(checksums)}
    try:
        text = _dumps(content)
    except (TypeError, ValueError, RecursionError) as error:
        raise validation.model_content_error(f"its description cannot be put into JSON ({error})") from error
    found = _compose(text, entries, _digest(text, entries))
    if len(found) > MAX_HEADER:
        raise validation.model_content_error(
            f"its header takes {len(found)} bytes, but safetensors allows {MAX_HEADER}; shorten names and labels"
        )
    return found


def _compose(text: str, entries: dict[str, Entry], digest: str) -> bytes:
    content: dict[str, Any] = {_METADATA: {_KEY: text, "digest": digest}}
    for name, entry in entries.items():
        offsets = [entry.start, entry.end]
        content[name] = {"dtype": entry.code, "shape": list(entry.shape), "data_offsets": offsets}
    part = _dumps(content).encode("ascii")
    return part + b" " * (-(8 + len(part)) % ALIGN)


def _digest(text: str, entries: dict[str, Entry]) -> str:
    return hashlib.blake2b(_compose(text, entries, _NO_DIGEST), digest_size=16).hexdigest()


def _dumps(content: Any) -> str:
    return json.dumps(content, separators=(",", ":"), allow_nan=False)


def _loads(text: str) -> Any:
    return json.loads(text, parse_constant=_refuse_constant)


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"{text} is no JSON")


def parse_header(part: bytes) -> Header:
    """Read what `header_bytes` wrote.

    Raises
    ------
    ForeignError
        The bytes are no header of a model.
    HeaderError
        They were altered.
    NewerFormatError
        They are of a newer format.
    """
    try:
        content = _loads(part.decode("utf-8"))
    except (ValueError, RecursionError):
        raise (HeaderError("is no JSON") if part.startswith(PREFIX) else ForeignError()) from None
    metadata = content.pop(_METADATA, None) if isinstance(content, dict) else None
    if not isinstance(metadata, dict) or not isinstance(metadata.get(_KEY), str):
        raise ForeignError
    text = metadata[_KEY]
    inner = _parse_text(text)
    entries = _parse_entries(content)
    digest = _digest(text, entries)
    # Written anew with the digest that it should have, it must be the same to the last blank.
    if _compose(text, entries, digest) != part:
        raise HeaderError("does not match its digest")
    description, checksums = inner.get("header"), inner.get("checksums")
    if not isinstance(checksums, dict) or checksums.keys() != entries.keys():
        raise HeaderError("has checksums of other arrays than it lists")
    if not isinstance(description, dict):
        raise HeaderError("does not describe a model")
    return Header(description, entries, checksums)


def _parse_text(text: str) -> dict[str, Any]:
    try:
        inner = _loads(text)
    except (ValueError, RecursionError):
        inner = None
    number = inner.get("format") if isinstance(inner, dict) else None
    if type(number) is not int or number < 1:
        raise HeaderError("holds no format number")
    if number > FORMAT:
        raise NewerFormatError(number, str(inner.get("version"))[:40])
    return inner


def _parse_entries(content: dict[str, Any]) -> dict[str, Entry]:
    """Arrays that lie one after the other without holes, each as long as its shape says."""
    entries: dict[str, Entry] = {}
    end = 0
    for name, found in content.items():
        entry = _parse_entry(found)
        if entry is None or entry.start != end:
            raise HeaderError(f"contradicts itself about the array {name[:40]!r}")
        entries[name] = entry
        end = entry.end
    return entries


def _parse_entry(found: Any) -> Entry | None:
    """The entry that JSON describes, None where it makes no sense."""
    if not isinstance(found, dict) or found.keys() != {"dtype", "shape", "data_offsets"}:
        return None
    code, shape, offsets = found["dtype"], found["shape"], found["data_offsets"]
    if not isinstance(code, str) or code not in _DTYPES or not _are_counts(shape) or not _are_counts(offsets):
        return None
    if len(shape) > _MAX_DIMENSIONS or len(offsets) != 2:
        return None
    itemsize = _DTYPES[code].itemsize
    # NumPy refuses shapes whose dimensions beside a 0 are too large.
    if math.prod(max(size, 1) for size in shape) * itemsize >= 2**63:
        return None
    if offsets[1] - offsets[0] != math.prod(shape) * itemsize:
        return None
    return Entry(code, tuple(shape), offsets[0], offsets[1])


def _are_counts(values: Any) -> bool:
    return isinstance(values, list) and all(type(value) is int and 0 <= value < 2**63 for value in values)
