"""Pieces of text: what stands between the separators of each of many texts, taken apart in two passes."""

from __future__ import annotations

from fastfm_deep.kernels._jit import exact_function, exact_kernel


@exact_function
def _starts_with(data, at, end, separator):
    if at + len(separator) > end:
        return False
    for i in range(len(separator)):  # noqa: SIM110
        if data[at + i] != separator[i]:
            return False
    return True


@exact_kernel
def count_pieces(data, offsets, separator, row_offsets):
    """How many pieces, none empty, each text is in; into `row_offsets`, int64 (n + 1,), as sums.

    Returns the bytes of all of them.
    """
    n_bytes = 0
    row_offsets[0] = 0
    for i in range(len(offsets) - 1):
        at, end = offsets[i], offsets[i + 1]
        start, n = at, 0
        while at < end:
            if _starts_with(data, at, end, separator):
                n += at > start
                n_bytes += at - start
                at += len(separator)
                start = at
            else:
                at += 1
        n += end > start
        n_bytes += end - start
        row_offsets[i + 1] = row_offsets[i] + n
    return n_bytes


@exact_kernel
def split_pieces(data, offsets, separator, out, out_offsets):
    """Copy the pieces that `count_pieces` counted to `out`, one after the other."""
    n, n_bytes = 0, 0
    out_offsets[0] = 0
    for i in range(len(offsets) - 1):
        at, end = offsets[i], offsets[i + 1]
        start = at
        while at <= end:
            is_end = at == end
            if is_end or _starts_with(data, at, end, separator):
                if at > start:
                    for b in range(start, at):
                        out[n_bytes] = data[b]
                        n_bytes += 1
                    n += 1
                    out_offsets[n] = n_bytes
                at += len(separator)
                start = at
                if is_end:
                    break
            else:
                at += 1
