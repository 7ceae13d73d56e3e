"""Single lines of a text, by Python's own numbers: the exact rules, and what stands where when one is broken."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fastfm_deep import validation
from fastfm_deep.data.id_map import LARGEST_ID
from fastfm_deep.kernels.text_layout import FLOAT32_BOUND, LARGEST_FIELD, LineRules

if TYPE_CHECKING:
    from numpy.typing import NDArray


_LEADING_ZEROS = re.compile(rb"^([+-]?)0+(?=\d)")


class TextRules(NamedTuple):
    """What all lines have to keep, and what errors say of it."""

    line: LineRules
    with_fields: bool  # pairs are field:id:value
    n_features: int | None  # None: the table sets no limit
    known: Callable[[int], bool] | None  # which ids may occur, where that is no range


class LineFault(Exception):  # noqa: N818 - becomes an error once its place in the file is known
    """A token that breaks a rule."""

    def __init__(
        self, build: Callable[[validation.TextPlace], validation.TextFormatError], content: bytes, at: int
    ) -> None:
        self.build, self.content, self.at = build, content, at

    def error(self, path: str, line: int) -> validation.TextFormatError:
        """What to tell of it."""
        return self.build(_place(path, line, self.content, self.at))


class LineRow(NamedTuple):
    """One row."""

    label: float  # NaN where there is none
    columns: list[int]
    values: NDArray[np.float32]
    fields: list[int]
    n_left_out: int
    least: int
    most: int


def read_line(line: bytes, rules: TextRules) -> LineRow | None:
    """The row of a line, None if it has none.

    Raises
    ------
    LineFault
        At the first token that breaks a rule.
    """
    content = line.partition(b"#")[0]
    tokens = content.split()
    if not tokens:
        return None
    labelled = b":" not in tokens[0] or not rules.line.unlabelled
    label = _number(tokens[0]) if labelled else np.nan
    if labelled and not abs(label) < np.inf:
        raise LineFault(validation.text_label_error, content, 0)
    columns: list[int] = []
    values: list[float] = []
    fields: list[int] = []
    n_left_out, least, most = 0, LARGEST_ID, -1
    for at in range(int(labelled), len(tokens)):
        if tokens[at].startswith(b"qid:"):
            continue
        parts = tokens[at].split(b":")
        if len(parts) != 2 + rules.with_fields:
            raise LineFault(validation.text_pair_error(rules.with_fields), content, at)
        field = _integer(parts[0]) if rules.with_fields else 0
        if field is None or not 0 <= field <= LARGEST_FIELD:
            raise LineFault(validation.text_field_error, content, at)
        found = _integer(parts[-2])
        if not _may_be(found, rules):
            raise LineFault(_id_error(found, rules), content, at)
        value = _number(parts[-1])
        if not abs(value) < FLOAT32_BOUND:
            raise LineFault(validation.text_value_error, content, at)
        assert found is not None
        if found > rules.line.largest_id:
            n_left_out += 1
            continue
        least, most = min(least, found), max(most, found)
        columns.append(found - rules.line.base)
        values.append(value)
        fields.append(field)
    with np.errstate(under="ignore"):
        narrow = np.array(values, np.float64).astype(np.float32)
    return LineRow(label, columns, narrow, fields, n_left_out, least, most)


def first_fault(lines: list[bytes], rules: TextRules) -> tuple[int, LineFault] | None:
    """The first line, counted from 0, that breaks a rule."""
    number = -1
    try:
        for number, line in enumerate(lines):  # noqa: B007 - the handler asks for it
            read_line(line, rules)
    except LineFault as fault:
        return number, fault
    return None


def _may_be(found: int | None, rules: TextRules) -> bool:
    if found is None or not rules.line.smallest_id <= found <= LARGEST_ID:
        return False
    if rules.known is not None and not rules.known(found):
        return False
    return found <= rules.line.largest_id or rules.line.leave_out


def _integer(token: bytes) -> int | None:
    """The integer that a token is, None if it is none."""
    try:
        return int(token) if b"_" not in token else None
    except ValueError:
        # Python reads 4300 digits at most, zeros before the others included.
        short = _LEADING_ZEROS.sub(rb"\1", token)
        return _integer(short) if short != token else None


def _number(token: bytes) -> float:
    """The number that a token is, NaN if it is none."""
    try:
        return float(token) if b"_" not in token else np.nan
    except ValueError:
        return np.nan


def _id_error(found: int | None, rules: TextRules) -> Callable[[validation.TextPlace], validation.TextFormatError]:
    beyond_all = found is not None and found > LARGEST_ID
    n_features = None if beyond_all else rules.n_features
    largest = LARGEST_ID if beyond_all else rules.line.largest_id
    smallest = rules.line.smallest_id
    if not beyond_all and found is not None and found >= smallest and rules.known is not None:
        return validation.text_unknown_id_error
    return lambda place: validation.text_id_error(place, found, smallest, largest, n_features)


def _place(path: str, number: int, content: bytes, at: int) -> validation.TextPlace:
    """Where token `at` of a line stands, in characters."""
    end = 0
    token = b""
    for token in content.split()[: at + 1]:
        end = content.index(token, end) + len(token)
    before = content[: end - len(token)].decode("utf-8", "replace")
    return validation.TextPlace(path, number, len(before) + 1, token)
