"""Lines of text become rows: labels, pairs of ids and values, and fields where the text has them.

Lines of the usual form are read here. At any other one the kernel stops: it may be a fault, or only rare, and
`data.text_lines` knows.
"""

from __future__ import annotations

import numpy as np

from fastfm_deep.kernels._jit import exact_function, exact_kernel
from fastfm_deep.kernels.digits import (
    NEWLINE,
    POINT,
    byte_at,
    open_text,
    read_integer,
    read_number,
    read_short_fraction,
)
from fastfm_deep.kernels.text_layout import FLOAT32_BOUND, LARGEST_FIELD

_TAB, _RETURN, _BLANK, _HASH, _COLON = b"\t\r #:"
_Q, _I, _D = b"qid"


@exact_function
def _ends_token(byte):
    return byte in (_BLANK, _HASH) or _TAB <= byte <= _RETURN


@exact_function
def _skip_blanks(text, at):
    """Place of the next byte that is no blank; a line end is none here."""
    byte = byte_at(text, at)
    while byte == _BLANK or (_TAB <= byte <= _RETURN and byte != NEWLINE):
        at += 1
        byte = byte_at(text, at)
    return at, byte


@exact_function
def _skip_token(text, at):
    while not _ends_token(byte_at(text, at)):
        at += 1
    return at


@exact_function
def _skip_line(text, at):
    """Place of the line end."""
    while byte_at(text, at) != NEWLINE:
        at += 1
    return at


@exact_function
def _read_label(text, at, rules):
    """Label at place `at`: (label, next place, whether it is one); none, and NaN, before a pair."""
    label, after, good = read_number(text, at)
    byte = byte_at(text, after)
    if rules.unlabelled and byte == _COLON:
        return np.nan, at, good
    return label, after, good and _ends_token(byte) and abs(label) < np.inf


@exact_function
def _read_field(text, at):
    """Field and colon at place `at`: (field, next place, whether they are there)."""
    # One or two digits, nearly always; the processor guesses which, and goes on before it knows.
    first = byte_at(text, at) - 48
    second = byte_at(text, at + 1)
    if second == _COLON and 0 <= first <= 9:
        return first, at + 2, True
    second -= 48
    if byte_at(text, at + 2) == _COLON and 0 <= first <= 9 and 0 <= second <= 9:
        return 10 * first + second, at + 3, True
    field, at, good = read_integer(text, at)
    good = good and byte_at(text, at) == _COLON and field <= LARGEST_FIELD
    return field, at + good, good


@exact_function
def _read_pair(text, at, fields):
    """Pair at place `at`: (field, id, value, next place, whether it is one)."""
    good = True
    field = np.int64(0)
    if fields is not None:
        field, at, good = _read_field(text, at)
    found, at, whole = read_integer(text, at)
    good = good and whole and byte_at(text, at) == _COLON
    at += good
    digit = byte_at(text, at) - 48
    if 0 <= digit <= 9 and _ends_token(byte_at(text, at + 1)):
        return field, found, np.float64(digit), at + 1, good
    if 0 <= digit <= 9 and byte_at(text, at + 1) == POINT:
        value, after, short = read_short_fraction(text, at + 2, digit)
        if short and _ends_token(byte_at(text, after)):
            return field, found, value, after, good
    value, at, whole = read_number(text, at)
    return (
        field,
        found,
        value,
        at,
        good and whole and _ends_token(byte_at(text, at)) and abs(value) < FLOAT32_BOUND,
    )


@exact_kernel
def read_rows(text, end, progress, rules, rows, fields):
    """Read lines until the end, or up to one that is not of the usual form.

    Parameters
    ----------
    text : uint8 array
        Whole lines up to `end`, each with its line end, and `PADDING` bytes more.
    end : int
    progress : Progress
        Where to go on.
    rules : LineRules
    rows : RowBuffers
        With room for a row every two bytes and a pair every four.
    fields : int32 array, or None for formats without fields
        Room for the field of each pair.

    Returns
    -------
    Progress
        With `at` == `end`, or at the beginning of the line that was not read.
    """
    text = open_text(text)
    at, n_rows, n_pairs, n_lines, n_left_out, least, most = progress
    while at < end:
        line, first_pair, left_out_before = at, n_pairs, n_left_out
        at, byte = _skip_blanks(text, at)
        if byte == _HASH:
            at = _skip_line(text, at)
            byte = np.int64(NEWLINE)
        if byte == NEWLINE:
            at += 1
            n_lines += 1
            continue
        label, at, good = _read_label(text, at, rules)
        while good:
            at, byte = _skip_blanks(text, at)
            if byte == NEWLINE:
                break
            if byte == _HASH:
                at = _skip_line(text, at)
                break
            if byte == _Q:
                good = (
                    byte_at(text, at + 1) == _I and byte_at(text, at + 2) == _D and byte_at(text, at + 3) == _COLON
                )
                at = _skip_token(text, at)
                continue
            field, found, value, at, good = _read_pair(text, at, fields)
            good = good and found >= rules.smallest_id
            if found > rules.largest_id:
                good = good and rules.leave_out
                n_left_out += 1
                continue
            if not good:
                break
            least = min(least, found)
            most = max(most, found)
            rows.columns[np.uint64(n_pairs)] = found - rules.base
            rows.values[np.uint64(n_pairs)] = np.float32(value)
            if fields is not None:
                fields[np.uint64(n_pairs)] = field
            n_pairs += 1
        if not good:
            return line, n_rows, first_pair, n_lines, left_out_before, least, most
        rows.labels[np.uint64(n_rows)] = label
        rows.ends[np.uint64(n_rows)] = n_pairs
        n_rows += 1
        n_lines += 1
        at += 1
    return at, n_rows, n_pairs, n_lines, n_left_out, least, most
