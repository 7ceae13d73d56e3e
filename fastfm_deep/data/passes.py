"""Passes: the loops over arrays that lie between a table, or a matrix, and the rows that a model takes.

Each stands twice: compiled, in `kernels`, and *plain*, in NumPy (`data.plain_passes`). Both give the same arrays;
the plain ones need no Numba, which takes half a second to load, and are some times slower on many rows.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

from fastfm_deep import kernels
from fastfm_deep.data import plain_passes


class Passes(NamedTuple):
    """The passes, by their names in `kernels`, where each is described."""

    check_rows: Callable[..., Any]
    first_nonfinite: Callable[..., Any]
    pack_rows: Callable[..., Any]
    divide_by_counts: Callable[..., Any]
    count_single: Callable[..., Any]
    count_bags: Callable[..., Any]
    put_single: Callable[..., Any]
    put_bags: Callable[..., Any]
    close_bags: Callable[..., Any]
    first_entries: Callable[..., Any]
    count_pieces: Callable[..., Any]
    split_pieces: Callable[..., Any]
    take_codes: Callable[..., Any]
    hash_keys: Callable[..., Any]


@functools.cache
def passes(plain: bool = False) -> Passes:
    """All of them, compiled or plain."""
    if plain:
        return Passes(*(getattr(plain_passes, name) for name in Passes._fields))
    checks, entries, pieces, keys = kernels.row_checks, kernels.entries, kernels.pieces, kernels.keys
    return Passes(
        check_rows=checks.check_rows,
        first_nonfinite=checks.first_nonfinite,
        pack_rows=checks.pack_rows,
        divide_by_counts=kernels.columns.divide_by_counts,
        count_single=entries.count_single,
        count_bags=entries.count_bags,
        put_single=entries.put_single,
        put_bags=entries.put_bags,
        close_bags=entries.close_bags,
        first_entries=entries.first_entries,
        count_pieces=pieces.count_pieces,
        split_pieces=pieces.split_pieces,
        take_codes=keys.take_codes,
        hash_keys=keys.hash_keys,
    )
