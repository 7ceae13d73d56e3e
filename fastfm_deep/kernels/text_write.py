"""Rows become lines of text."""

from __future__ import annotations

import numpy as np

from fastfm_deep.kernels._jit import exact_function, exact_kernel

LONGEST_PAIR = 1 + 11 + 20 + 17
"""Bytes of a blank, a field, an id and an integer value with their colons, at most."""

_BLANK, _COLON, _MINUS, _ZERO, _LINE_END = b" :-0\n"


@exact_function
def _put_integer(out, at, number):
    """Write the digits of a number from 0 on, return the place behind them."""
    n_digits = 1
    rest = number // 10
    while rest > 0:
        n_digits += 1
        rest //= 10
    for place in range(at + n_digits - 1, at - 1, -1):
        out[place] = _ZERO + number % 10
        number //= 10
    return at + n_digits


@exact_function
def _put_token(out, at, tokens, start, stop):
    for place in range(start, stop):
        out[at] = tokens[place]
        at += 1
    return at


@exact_kernel
def write_rows(out, indptr, columns, values, fields, base, value_tokens, label_tokens):
    """Write lines `label id:value ...`, or `label field:id:value ...`.

    Parameters
    ----------
    out : uint8 array
        With room for all of it.
    indptr : int64 array (n_rows + 1,)
    columns : int32 or int64 array
    values : float32 array
        Integers below 2**24, but -0.0, are written from here.
    fields : int32 array (n_features,), or None
        The field of each column.
    base : int
        Added to columns.
    value_tokens, label_tokens : tuple of (which, starts, texts)
        int64, int64 and uint8 arrays: token `which[i]` is what stands for value (label) i in
        `texts[starts[which[i]] : starts[which[i] + 1]]`; none if it is negative.

    Returns
    -------
    int
        Bytes written.
    """
    which_value, value_starts, value_texts = value_tokens
    which_label, label_starts, label_texts = label_tokens
    at = 0
    for row in range(len(indptr) - 1):
        begin = at
        token = which_label[row]
        if token >= 0:
            at = _put_token(out, at, label_texts, label_starts[token], label_starts[token + 1])
        for place in range(indptr[row], indptr[row + 1]):
            column = np.int64(columns[place])
            if at > begin:
                out[at] = _BLANK
                at += 1
            if fields is not None:
                at = _put_integer(out, at, np.int64(fields[column]))
                out[at] = _COLON
                at += 1
            at = _put_integer(out, at, column + base)
            out[at] = _COLON
            at += 1
            token = which_value[place]
            if token >= 0:
                at = _put_token(out, at, value_texts, value_starts[token], value_starts[token + 1])
                continue
            number = np.int64(values[place])
            if number < 0:
                out[at] = _MINUS
                at += 1
                number = -number
            at = _put_integer(out, at, number)
        out[at] = _LINE_END
        at += 1
    return at
