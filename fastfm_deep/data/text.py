"""Text in: libsvm and libfm files become CSR rows and targets.

Both formats write one row a line, `label id:value id:value ...`. A *base* is the number that column ids count
from, 0 or 1; a *pair* is one `id:value`.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, cast

import numpy as np
import scipy.sparse

from fastfm_deep import validation

if TYPE_CHECKING:
    from numpy.typing import NDArray

FORMATS = ("auto", "libsvm", "libfm")
LARGEST_ID = 2**62
"""Ids beyond this are refused: sums of ids must fit into int64."""

_BLOCK_BYTES = 1 << 20
_OPENERS = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\x00": lzma.open}
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class TextData(NamedTuple):
    """What a text file holds.

    X : csr_array (n_rows, n_features), float32; y : float64 (n_rows,), or None where no line has a label;
    fields : None, these formats have none; base : what ids count from in the file (columns count from 0).
    """

    X: Any
    y: NDArray[np.float64] | None
    fields: None
    base: int


class _Rules(NamedTuple):
    """What a line has to keep."""

    path: str
    smallest_id: int
    largest_id: int
    unlabelled: bool  # lines may come without a label


class _Part(NamedTuple):
    """Some rows of a file."""

    labels: list[float] | NDArray[np.float64]  # NaN where there is none
    lengths: NDArray[np.int64]  # pairs of each row
    ids: NDArray[np.int64]
    values: NDArray[np.float32]


def read_text(
    path: str | os.PathLike[str],
    format: str = "auto",
    n_features: int | None = None,
    base: str | int = "auto",
    *,
    unknown_ids: str = "error",
    labels: str = "required",
) -> TextData:
    """Read a libsvm or libfm file.

    Comments (`#` to the end of the line), `qid:` tokens and blank lines are passed over. Ids may come in any
    order.

    Parameters
    ----------
    path : path
        A file, plain or compressed (.gz, .xz, .bz2, told by its first bytes).
    format : {"auto", "libsvm", "libfm"}
        Both are read in the same way.
    n_features : int, optional
        Width of X; by default the largest id decides. Give that of the training rows for all later files.
    base : {"auto", 0, 1}
        What ids count from; "auto" takes 0 if the file holds an id 0, else 1.
    unknown_ids : {"error", "ignore"}
        What becomes of ids beyond `n_features`.
    labels : {"required", "optional"}
        Whether lines without a label are fine: y then is NaN there, and None where no line has one.

    Returns
    -------
    TextData
        X, y, fields, base.

    Raises
    ------
    TextFormatError
        A line breaks the format, or the file is cut, empty or binary; names file, line, column and token.
    MissingFileError
        There is no such file.
    InputError
        An argument breaks its rule, or the file cannot be read.
    """
    text = os.fspath(path)
    validation.check_choice("format", format, FORMATS)
    validation.check_choice("unknown_ids", unknown_ids, ["error", "ignore"])
    validation.check_choice("labels", labels, ["required", "optional"])
    if n_features is not None:
        n_features = validation.check_integer("n_features", n_features, minimum=1)
    if base not in ("auto", 0, 1) or isinstance(base, bool):
        raise validation.base_error(base)
    known = base != "auto"
    smallest = int(base) if known else 0
    largest = LARGEST_ID
    if known and n_features is not None and unknown_ids == "error":
        largest = n_features - 1 + smallest
    parts = list(_read_parts(text, _Rules(text, smallest, largest, labels == "optional")))
    if not sum(len(part.labels) for part in parts):
        raise validation.empty_text_error(text)
    ids = np.concatenate([part.ids for part in parts])
    if not known:
        smallest = 0 if ids.size == 0 or ids.min() == 0 else 1
        if n_features is not None and unknown_ids == "error" and ids.size and ids.max() - smallest >= n_features:
            # Once more with the base that is known now, to say where that id stands.
            return read_text(text, format, n_features, smallest, unknown_ids=unknown_ids, labels=labels)
    ids -= smallest
    return _assemble(parts, ids, n_features, smallest)


def _assemble(parts: list[_Part], columns: NDArray[np.int64], n_features: int | None, base: int) -> TextData:
    """One matrix of all parts, without the columns beyond `n_features`."""
    values = np.concatenate([part.values for part in parts])
    y = np.concatenate([np.asarray(part.labels, np.float64) for part in parts])
    indptr = np.concatenate([np.zeros(1, np.int64), *(part.lengths for part in parts)]).cumsum()
    parts.clear()
    width = n_features or int(columns.max(initial=0)) + 1
    kept = columns < width
    if not kept.all():
        indptr = np.concatenate([np.zeros(1, np.int64), kept.cumsum()])[indptr]
        columns, values = columns[kept], values[kept]
    index_type = np.int32 if max(width, len(columns)) < 2**31 else np.int64
    X = scipy.sparse.csr_array(
        (values, columns.astype(index_type), indptr.astype(index_type)), shape=(len(indptr) - 1, width)
    )
    return TextData(X, None if np.isnan(y).all() else y, None, base)


def _read_parts(path: str, rules: _Rules) -> Iterator[_Part]:
    line_number = 1
    for block in _read_blocks(path):
        lines = block.split(b"\n")
        if not lines[-1]:
            lines.pop()
        part = _parse_plain(block, lines, rules)
        yield part if part is not None else _parse_lines(lines, line_number, rules)
        line_number += len(lines)


def _read_blocks(path: str) -> Iterator[bytes]:
    """The file in blocks of whole lines."""
    try:
        with _open(path) as file:
            rest = [file.read(_BLOCK_BYTES).removeprefix(_BYTE_ORDER_MARK)]
            while rest[-1]:
                if b"\0" in rest[-1]:
                    raise validation.binary_text_error(path)
                end = rest[-1].rfind(b"\n") + 1
                if end:
                    yield b"".join([*rest[:-1], rest[-1][:end]])
                    rest = [rest[-1][end:]]
                rest.append(file.read(_BLOCK_BYTES))
            last = b"".join(rest)
            if last:
                yield last
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise validation.damaged_text_error(path, error) from error
    except OSError as error:
        if error.errno is None:  # bz2 has no class of its own for damaged data
            raise validation.damaged_text_error(path, error) from error
        raise validation.unreadable_text_error(path, error) from error


def _open(path: str) -> BinaryIO:
    with open(path, "rb") as file:
        start = file.peek(8)
        for magic, opener in _OPENERS.items():
            if start.startswith(magic):
                return cast(BinaryIO, opener(path, "rb"))
    return open(path, "rb")


def _parse_plain(block: bytes, lines: list[bytes], rules: _Rules) -> _Part | None:
    """The rows of a block where every line is `label id:value ...` without fault; None if any is not."""
    if b"#" in block or b"_" in block or b"qid" in block:
        return None
    rows = [tokens for tokens in map(bytes.split, lines) if tokens]
    lengths = np.fromiter(map(len, rows), np.int64, len(rows)) - 1
    pairs = [token.split(b":") for tokens in rows for token in tokens[1:]]
    try:
        labels = np.fromiter((float(tokens[0]) for tokens in rows), np.float64, len(rows))
        ids = np.fromiter((int(name) for name, _ in pairs), np.int64, len(pairs))
        wide = np.fromiter((float(value) for _, value in pairs), np.float64, len(pairs))
    except (ValueError, OverflowError):
        return None
    with np.errstate(over="ignore"):
        values = wide.astype(np.float32)
    if not (np.isfinite(labels).all() and np.isfinite(values).all()):
        return None
    if ids.min(initial=rules.smallest_id) < rules.smallest_id or ids.max(initial=0) > rules.largest_id:
        return None
    return _Part(labels, lengths, ids, values)


def _parse_lines(lines: list[bytes], first_number: int, rules: _Rules) -> _Part:
    """Any lines, one by one; a fault is an error that says where it stands."""
    labels: list[float] = []
    lengths: list[int] = []
    ids: list[int] = []
    values: list[float] = []
    for number, whole in enumerate(lines, start=first_number):
        line = whole.partition(b"#")[0]
        tokens = line.split()
        if not tokens:
            continue
        before = len(ids)
        named = b":" in tokens[0]
        if named and not rules.unlabelled:
            raise _fault(rules, number, whole, 0, "label", "every line must begin with its label, a number")
        labels.append(np.nan if named else _number(tokens[0], "label", rules, number, whole, 0))
        for at in range(0 if named else 1, len(tokens)):
            token = tokens[at]
            if token.startswith(b"qid:"):
                continue
            name, colon, value = token.partition(b":")
            if not colon or b":" in value:
                rule = "a pair must be id:value, with one colon"
                if colon:
                    rule += "; the field:id:value of libffm files is not read here"
                raise _fault(rules, number, whole, at, "pair", rule)
            ids.append(_column_id(name, rules, number, whole, at))
            values.append(_number(value, "value", rules, number, whole, at))
        lengths.append(len(ids) - before)
    return _Part(labels, np.array(lengths, np.int64), np.array(ids, np.int64), np.array(values, np.float32))


def _column_id(name: bytes, rules: _Rules, number: int, line: bytes, at: int) -> int:
    try:
        found = int(name) if b"_" not in name and len(name) < 40 else None
    except ValueError:
        found = None
    if found is None or not rules.smallest_id <= found <= rules.largest_id:
        rule = f"an id must be an integer of {rules.smallest_id} .. {rules.largest_id}"
        if rules.largest_id < LARGEST_ID:
            rule += ", the ids that are known (unknown_ids='ignore' leaves others out)"
        raise _fault(rules, number, line, at, "id", rule)
    return found


def _number(token: bytes, what: str, rules: _Rules, number: int, line: bytes, at: int) -> float:
    try:
        found = float(token) if b"_" not in token else np.nan
    except ValueError:
        found = np.nan
    bound = np.finfo(np.float32).max if what == "value" else np.finfo(np.float64).max
    with np.errstate(over="ignore"):
        fits = abs(np.float32(found) if what == "value" else found) <= bound
    if not fits:
        rule = f"a {what} must be a finite number" + (" that float32 can hold" if what == "value" else "")
        raise _fault(rules, number, line, at, what, rule)
    return found


def _fault(
    rules: _Rules, number: int, line: bytes, at: int, what: str, rule: str
) -> validation.TextFormatError:
    """The error for token `at` of a line."""
    column = 0
    token = b""
    for token in line.split()[: at + 1]:
        column = line.index(token, column) + len(token)
    return validation.text_format_error(rules.path, number, column - len(token) + 1, token, what, rule)
