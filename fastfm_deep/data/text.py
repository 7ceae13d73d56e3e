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
from collections.abc import Callable, Iterator
from typing import IO, TYPE_CHECKING, Any, Literal, NamedTuple, cast

import numpy as np
import scipy.sparse

from fastfm_deep import validation

if TYPE_CHECKING:
    from io import BufferedReader

    from numpy.typing import NDArray

FORMATS = ("auto", "libsvm", "libfm")
LARGEST_ID = 2**62
"""Ids beyond this are refused: sums of ids must fit into int64."""

# A block's tokens are Python objects, some 250 bytes a pair, so that blocks, not files, are split.
_BLOCK_BYTES = 1 << 18
_OPENERS: dict[bytes, Callable[..., Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
}
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# From here on a float64 rounds to a float32 that is infinite.
_FLOAT32_BOUND = 2.0**128 - 2.0**103


class TextData(NamedTuple):
    """What a text file holds.

    Attributes
    ----------
    X : csr_array (n_rows, n_features), float32
        Columns as they stand in the file: not sorted, and an id that a row names twice is there twice.
    y : float64 array (n_rows,), or None
        NaN for a row without a label; None where no row has one.
    fields : None
        These formats have none.
    base : int
        What ids count from in the file; columns count from 0.
    """

    X: scipy.sparse.csr_array
    y: NDArray[np.float64] | None
    fields: None
    base: int


class _Rules(NamedTuple):
    """What a line has to keep."""

    path: str
    base: int  # the smallest id
    largest_id: int
    n_features: int | None  # None: the table sets no limit
    unlabelled: bool  # lines may come without a label


class _Block(NamedTuple):
    """Whole lines of a file, and the number of the first."""

    content: bytes
    lines: list[bytes]
    first: int


class _Part(NamedTuple):
    """The rows of a block."""

    labels: NDArray[np.float64]  # NaN where there is none
    lengths: NDArray[np.int64]  # pairs of each row
    ids: NDArray[Any]  # int32 where they fit
    values: NDArray[np.float32]


def read_text(
    path: str | os.PathLike[str],
    format: str = "auto",
    n_features: int | None = None,
    base: Literal["auto"] | int = "auto",
    *,
    unknown_ids: Literal["error", "ignore"] = "error",
    labels: Literal["required", "optional"] = "required",
) -> TextData:
    r"""Read a libsvm or libfm file.

    Comments (`#` to the end of the line), `qid:` tokens and blank lines are passed over. Ids may come in any
    order.

    Parameters
    ----------
    path : path
        A file or a FIFO, plain or compressed (.gz, .xz, .bz2, told by its first bytes).
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

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile() as file:
    ...     _ = file.write(b"1 3:0.5 1:2  # ids from 1\n-1 2:1\n")
    ...     file.flush()
    ...     X, y, fields, base = read_text(file.name)
    >>> X.toarray()
    array([[2. , 0. , 0.5],
           [0. , 1. , 0. ]], dtype=float32)
    >>> y
    array([ 1., -1.])
    """
    rules, width, known = _check_arguments(path, format, n_features, base, unknown_ids, labels)
    parts, doubtful = _read_parts(rules)
    settled = rules.base
    if not known and all(part.ids.min(initial=1) > 0 for part in parts):
        settled = 1
    elif not known and doubtful is not None and width is not None:
        _parse_lines(doubtful, rules._replace(largest_id=width - 1))
    return _assemble(parts, width, settled)


def _check_arguments(
    path: str | os.PathLike[str], format: str, n_features: int | None, base: object, unknown_ids: str, labels: str
) -> tuple[_Rules, int | None, bool]:
    """Rules for the lines, the width of X if it is known, and whether the base is."""
    validation.check_choice("format", format, FORMATS)
    validation.check_choice("unknown_ids", unknown_ids, ["error", "ignore"])
    validation.check_choice("labels", labels, ["required", "optional"])
    if n_features is not None:
        n_features = validation.check_integer("n_features", n_features, minimum=1)
        if n_features > LARGEST_ID:
            raise validation.upper_bound_error("n_features", n_features, f"at most {LARGEST_ID}")
    known = isinstance(base, int | np.integer) and not isinstance(base, bool) and base in (0, 1)
    if not known and not (isinstance(base, str) and base == "auto"):
        raise validation.base_error(base)
    smallest = int(cast(int, base)) if known else 0
    limit = n_features if unknown_ids == "error" else None
    largest = LARGEST_ID
    if limit is not None:
        # Where the base is not known yet, the id n_features may turn out to be the last one of base 1.
        largest = limit - 1 + (smallest if known else 1)
    rules = _Rules(os.fsdecode(path), smallest, largest, limit, labels == "optional")
    return rules, n_features, known


def _read_parts(rules: _Rules) -> tuple[list[_Part], _Block | None]:
    """All rows, and the first block with an id that would lie beyond `n_features` if ids counted from 0."""
    parts: list[_Part] = []
    doubtful = None
    first = 1
    for content in _read_blocks(rules.path):
        lines = content.split(b"\n")
        if not lines[-1]:
            lines.pop()
        block = _Block(content, lines, first)
        part = _parse_plain(block, rules)
        if part is None:
            part = _parse_lines(block, rules)
        largest = part.ids.max(initial=0)
        if doubtful is None and rules.n_features is not None and largest >= rules.n_features:
            doubtful = block
        parts.append(part._replace(ids=part.ids.astype(np.int32)) if largest < 2**31 else part)
        first += len(lines)
    if not any(len(part.labels) for part in parts):
        raise validation.empty_text_error(rules.path)
    return parts, doubtful


def _assemble(parts: list[_Part], n_features: int | None, base: int) -> TextData:
    """One matrix of all parts, without the columns beyond `n_features`."""
    y = np.concatenate([part.labels for part in parts])
    indptr = np.concatenate([np.zeros(1, np.int64), *(part.lengths for part in parts)]).cumsum()
    columns = np.concatenate([part.ids for part in parts])
    values = np.concatenate([part.values for part in parts])
    parts.clear()
    columns -= base
    width = n_features or int(columns.max(initial=0)) + 1
    kept = columns < width
    if not kept.all():
        indptr = np.concatenate([np.zeros(1, np.int64), kept.cumsum()])[indptr]
        columns, values = columns[kept], values[kept]
    index_type = np.int32 if max(width, len(columns)) < 2**31 else np.int64
    X = scipy.sparse.csr_array(
        (values, columns.astype(index_type, copy=False), indptr.astype(index_type)), shape=(len(y), width)
    )
    return TextData(X, None if np.isnan(y).all() else y, None, base)


def _read_blocks(path: str) -> Iterator[bytes]:
    """The file in blocks of whole lines."""
    try:
        with open(path, "rb") as file:
            stream = _decompressed(file)
            rest = [stream.read(_BLOCK_BYTES).removeprefix(_BYTE_ORDER_MARK)]
            while rest[-1]:
                if b"\0" in rest[-1]:
                    raise validation.binary_text_error(path)
                end = rest[-1].rfind(b"\n") + 1
                if end:
                    yield b"".join([*rest[:-1], rest[-1][:end]])
                    rest = [rest[-1][end:]]
                rest.append(stream.read(_BLOCK_BYTES))
            last = b"".join(rest)
            if last:
                yield last
    except (EOFError, zlib.error, lzma.LZMAError) as error:
        raise validation.damaged_text_error(path, error) from error
    except validation.InputError:
        raise
    except (OSError, ValueError) as error:
        # gzip and bz2 raise OSError for damaged data; open raises ValueError for a name no file can have.
        damaged = isinstance(error, OSError) and error.errno is None
        builder = validation.damaged_text_error if damaged else validation.unreadable_text_error
        raise builder(path, error) from error


def _decompressed(file: BufferedReader) -> IO[bytes]:
    """The content of a file that is open already: a FIFO could not be opened a second time."""
    start = file.peek(8)
    for magic, opener in _OPENERS.items():
        # Files cut within these first bytes are recognised too; no line of text begins like any of them.
        if start and start[: len(magic)] == magic[: len(start)]:
            return opener(file, "rb")
    return file


def _parse_plain(block: _Block, rules: _Rules) -> _Part | None:
    """The rows of a block without any fault, else None; also None for what is rare."""
    lines, content = block.lines, block.content
    if b"#" in content:
        lines = [line.partition(b"#")[0] for line in lines]
    if b"_" in content and any(b"_" in line for line in lines):
        return None  # int and float would take it for a separator of digits
    rows = [tokens for tokens in map(bytes.split, lines) if tokens]
    if b"qid:" in content:
        rows = [[tokens[0], *(t for t in tokens[1:] if not t.startswith(b"qid:"))] for tokens in rows]
    n_unlabelled = 0
    if rules.unlabelled:
        n_unlabelled = sum(b":" in tokens[0] for tokens in rows)
        rows = [[b"nan", *tokens] if b":" in tokens[0] else tokens for tokens in rows]
    lengths = np.fromiter(map(len, rows), np.int64, len(rows)) - 1
    pairs = [token.split(b":") for tokens in rows for token in tokens[1:]]
    try:
        labels = np.fromiter((float(tokens[0]) for tokens in rows), np.float64, len(rows))
        ids = np.fromiter((int(name) for name, _ in pairs), np.int64, len(pairs))
        wide = np.fromiter((float(value) for _, value in pairs), np.float64, len(pairs))
    except (ValueError, OverflowError):
        return None
    if np.isfinite(labels).sum() != len(labels) - n_unlabelled or not (abs(wide) < _FLOAT32_BOUND).all():
        return None
    if ids.min(initial=rules.base) < rules.base or ids.max(initial=0) > rules.largest_id:
        return None
    return _Part(labels, lengths, ids, _to_float32(wide))


def _to_float32(wide: NDArray[np.float64]) -> NDArray[np.float32]:
    with np.errstate(under="ignore"):
        return wide.astype(np.float32)


def _parse_lines(block: _Block, rules: _Rules) -> _Part:
    """The rows of any block, line by line; a fault is an error that says where it stands."""
    labels: list[float] = []
    lengths: list[int] = []
    ids: list[int] = []
    values: list[float] = []
    for number, line in enumerate(block.lines, start=block.first):
        content = line.partition(b"#")[0]
        tokens = content.split()
        if not tokens:
            continue
        labelled = b":" not in tokens[0] or not rules.unlabelled
        label = _number(tokens[0]) if labelled else np.nan
        if labelled and not abs(label) < np.inf:
            raise validation.text_label_error(_place(rules, number, content, 0))
        labels.append(label)
        before = len(ids)
        for at in range(int(labelled), len(tokens)):
            if tokens[at].startswith(b"qid:"):
                continue
            name, colon, text = tokens[at].partition(b":")
            if not colon or b":" in text:
                raise validation.text_pair_error(_place(rules, number, content, at))
            found = _integer(name)
            if found is None or not rules.base <= found <= rules.largest_id:
                raise _id_error(_place(rules, number, content, at), found, rules)
            value = _number(text)
            if not abs(value) < _FLOAT32_BOUND:
                raise validation.text_value_error(_place(rules, number, content, at))
            ids.append(found)
            values.append(value)
        lengths.append(len(ids) - before)
    arrays = np.array(labels, np.float64), np.array(lengths, np.int64), np.array(ids, np.int64)
    return _Part(*arrays, _to_float32(np.array(values, np.float64)))


def _integer(token: bytes) -> int | None:
    """The integer that a token is, None if it is none; more than 4300 digits are none to Python either."""
    try:
        return int(token) if b"_" not in token else None
    except ValueError:
        return None


def _number(token: bytes) -> float:
    """The number that a token is, NaN if it is none."""
    try:
        return float(token) if b"_" not in token else np.nan
    except ValueError:
        return np.nan


def _id_error(place: validation.TextPlace, found: int | None, rules: _Rules) -> validation.TextFormatError:
    beyond_all = found is not None and found > LARGEST_ID
    n_features = None if beyond_all else rules.n_features
    largest = LARGEST_ID if beyond_all else rules.largest_id
    return validation.text_id_error(place, found, rules.base, largest, n_features)


def _place(rules: _Rules, number: int, content: bytes, at: int) -> validation.TextPlace:
    """Where token `at` of a line stands, in characters."""
    end = 0
    token = b""
    for token in content.split()[: at + 1]:
        end = content.index(token, end) + len(token)
    before = content[: end - len(token)].decode("utf-8", "replace")
    return validation.TextPlace(rules.path, number, len(before) + 1, token)
