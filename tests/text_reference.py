"""The slow, obvious twin of `read_text`: its whole contract in plain Python, one token after the other."""

from __future__ import annotations

import math
import re
from typing import Any, NamedTuple

import numpy as np

LARGEST_ID = 2**62
LARGEST_FIELD = 2**31 - 2


class Fault(NamedTuple):
    """The first token that breaks a rule: line and column count from 1, columns in characters."""

    file: int
    line: int
    column: int
    what: str
    token: bytes


class FaultFound(Exception):  # noqa: N818 - carries the fault, and is none itself
    pass


class Pair(NamedTuple):
    field: int
    id: int
    value: np.float32
    place: Fault


class Expected(NamedTuple):
    """What `read_text` must return; `field_of_column` names only the columns that have a field."""

    labels: list[float]
    rows: list[list[tuple[int, np.float32]]]
    width: int
    base: int
    ids: list[int]
    n_unknown: int
    n_shared: int
    field_of_column: dict[int, int] | None


def number(token: bytes) -> float | None:
    """A finite number in the grammar of float(), without underscores."""
    if b"_" in token:
        return None
    try:
        found = float(token)
    except ValueError:
        return None
    return found if math.isfinite(found) else None


def value(token: bytes) -> np.float32 | None:
    found = number(token)
    if found is None:
        return None
    with np.errstate(all="ignore"):
        narrow = np.float32(found)
    return narrow if np.isfinite(narrow) else None


def integer(token: bytes) -> int | None:
    """An integer in the grammar of int(), without underscores; only its first digits if there are very many."""
    if re.fullmatch(rb"[+-]?[0-9]+", token) is None:
        return None
    sign = -1 if token.startswith(b"-") else 1
    return sign * int(token.lstrip(b"+-").lstrip(b"0")[:40] or b"0")


def hashed(number: int, n_columns: int) -> int:
    """As the documentation of `hash_ids` writes it."""
    h = number
    h = ((h ^ (h >> 33)) * 0xFF51AFD7ED558CCD) % 2**64
    h = ((h ^ (h >> 33)) * 0xC4CEB9FE1A85EC53) % 2**64
    return (h ^ (h >> 33)) % n_columns


def tokens_of(content: bytes, file: int) -> list[list[tuple[bytes, Fault]]]:
    """The tokens of each line and where they stand; comments and the byte order mark taken away."""
    lines = []
    for row, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").split(b"\n")):
        bare = line.partition(b"#")[0]
        tokens = []
        for match in re.finditer(rb"[^ \t\r\v\f]+", bare):
            column = len(bare[: match.start()].decode("utf-8", "replace")) + 1
            tokens.append((match[0], Fault(file, row + 1, column, "", match[0])))
        lines.append(tokens)
    return lines


def is_pair(token: bytes) -> bool:
    return b":" in token and not token.startswith(b"qid:")


def detect(lines: list[list[tuple[bytes, Fault]]]) -> str:
    for tokens in lines:
        for token, _ in tokens:
            if is_pair(token):
                return "libffm" if token.count(b":") == 2 else "libsvm"
    return "libsvm"


class Rules(NamedTuple):
    format: str
    smallest: int
    largest: int
    known: set[int] | None  # the ids that there may be; None: all
    labels: str


def read_label(tokens: list[tuple[bytes, Fault]], rules: Rules) -> tuple[float, list[tuple[bytes, Fault]]]:
    """The label, NaN where it is left out, and the tokens behind it."""
    first, place = tokens[0]
    if rules.labels == "optional" and b":" in first:
        return math.nan, tokens
    label = number(first)
    if label is None:
        raise FaultFound(place._replace(what="label"))
    return label, tokens[1:]


def read_pair(token: bytes, place: Fault, rules: Rules) -> Pair:
    parts = token.split(b":")
    if len(parts) != (3 if rules.format == "libffm" else 2):
        raise FaultFound(place._replace(what="pair"))
    field = integer(parts[0]) if rules.format == "libffm" else 0
    if field is None or not 0 <= field <= LARGEST_FIELD:
        raise FaultFound(place._replace(what="field"))
    id = integer(parts[-2])
    if (
        id is None
        or not rules.smallest <= id <= rules.largest
        or (rules.known is not None and id not in rules.known)
    ):
        raise FaultFound(place._replace(what="id"))
    number = value(parts[-1])
    if number is None:
        raise FaultFound(place._replace(what="value"))
    return Pair(field, id, number, place)


def read_rows(lines: list[list[tuple[bytes, Fault]]], rules: Rules) -> list[tuple[float, list[Pair]]]:
    rows = []
    for tokens in lines:
        if tokens:
            label, rest = read_label(tokens, rules)
            pairs = [read_pair(token, place, rules) for token, place in rest if not token.startswith(b"qid:")]
            rows.append((label, pairs))
    return rows


def read(
    contents: bytes | list[bytes],
    format: str = "auto",
    n_features: int | None = None,
    base: Any = "auto",
    *,
    hash_features: int | None = None,
    compact: bool = False,
    id_map: Any = None,
    unknown_ids: str = "error",
    labels: str = "required",
    keep_fields: bool = True,
    n_jobs: int | None = None,
) -> Expected | Fault | None:
    """What `read_text` makes of files with these contents, the fault that it tells of, or None: no rows."""
    contents = [contents] if isinstance(contents, bytes) else contents
    lines = [line for file, content in enumerate(contents) for line in tokens_of(content, file)]
    format = detect(lines) if format == "auto" else format
    kind, ids = "hash" if hash_features else "table" if compact else "offset", []
    if id_map is not None:
        kind, n_features, base, ids = id_map.kind, id_map.n_features, id_map.base, id_map.ids.tolist()
    if kind != "offset":
        base = 0
    strict = unknown_ids == "error"
    smallest, largest = 1 if base == 1 else 0, LARGEST_ID
    if kind == "offset" and strict and n_features is not None:
        # Without a base, ids may still turn out to count from 1.
        largest = min(largest, n_features - 1 + (1 if base == "auto" else base))
    known = set(ids) if kind == "table" and strict and not compact else None
    try:
        rows = read_rows(lines, Rules(format, smallest, largest, known, labels))
        all_pairs = [pair for _, pairs in rows for pair in pairs]
        if base == "auto":
            base = 0 if any(pair.id == 0 for pair in all_pairs) else 1
            for pair in all_pairs:
                if strict and n_features is not None and pair.id - base >= n_features:
                    raise FaultFound(pair.place._replace(what="id"))
    except FaultFound as found:
        return found.args[0]
    if not rows:
        return None

    column_of = {id: column for column, id in enumerate(ids)}
    if compact:
        for pair in all_pairs:
            column_of.setdefault(pair.id, len(column_of))
    width = n_features or hash_features
    if width is None:
        largest_id = max((pair.id for pair in all_pairs), default=base)
        width = max(len(column_of), 1) if kind == "table" else largest_id - base + 1

    def column_for(id: int) -> int:
        if kind == "hash":
            return hashed(id, width)
        return column_of.get(id, width) if kind == "table" else id - base

    kept_rows: list[list[tuple[int, np.float32]]] = []
    field_of: dict[int, int] = {}
    shared = set()
    for _, pairs in rows:
        kept = [(column_for(pair.id), pair) for pair in pairs if column_for(pair.id) < width]
        kept_rows.append([(column, pair.value) for column, pair in kept])
        for column, pair in kept:
            if field_of.setdefault(column, pair.field) != pair.field:
                shared.add(column)
    with_fields = format == "libffm" and keep_fields
    return Expected(
        labels=[label for label, _ in rows],
        rows=kept_rows,
        width=width,
        base=base,
        ids=list(column_of),
        n_unknown=len(all_pairs) - sum(map(len, kept_rows)),
        n_shared=len(shared) if with_fields else 0,
        field_of_column=field_of if with_fields else None,
    )


def assert_same(data: Any, expected: Expected) -> None:
    """What was read is what was expected, in its order and bit for bit."""
    n_rows = len(expected.rows)
    assert (data.X.format, data.X.data.dtype) == ("csr", np.float32)
    assert data.X.shape == (n_rows, expected.width)
    assert data.X.indptr.tolist() == np.cumsum([0, *map(len, expected.rows)]).tolist()
    assert data.X.indices.tolist() == [column for row in expected.rows for column, _ in row]
    values = np.array([number for row in expected.rows for _, number in row], np.float32)
    assert data.X.data.tobytes() == values.tobytes()
    labels = np.array(expected.labels)
    if np.isnan(labels).all():
        assert data.y is None
    else:
        assert data.y.dtype == np.float64
        assert data.y.tobytes() == labels.tobytes()
    assert data.base == data.id_map.base == expected.base
    assert data.id_map.n_features == expected.width
    assert data.id_map.ids.tolist() == expected.ids
    assert (data.n_unknown, data.n_shared) == (expected.n_unknown, expected.n_shared)
    if expected.field_of_column is None:
        assert data.fields is None
    else:
        fields = [expected.field_of_column.get(column, -1) for column in range(expected.width)]
        assert data.fields.field_of_column.dtype == np.int32
        assert data.fields.field_of_column.tolist() == fields
        assert data.fields.n_fields == max(fields) + 1


def assert_told(message: str, paths: list[str], fault: Fault) -> None:
    """The error names the file, the line, the column and the token, or calls the file binary for that token."""
    path = paths[fault.file]
    try:
        text = fault.token.decode()
        binary = re.search(r"[\x00-\x1f\x7f-\x9f]", text) is not None
    except UnicodeDecodeError:
        text = fault.token[:60].decode("utf-8", "backslashreplace")
        binary = True
    shown = repr(text) if len(text) <= 60 else f"{text[:57] + '...'!r} ({len(text)} characters)"
    place = f"line {fault.line}, column {fault.column}: "
    if binary:
        assert message.startswith(f"{path} is a binary file, no text ({place}{shown}); ")
    else:
        assert message.startswith(f"{path}, {place}bad {fault.what} in {shown}: ")
