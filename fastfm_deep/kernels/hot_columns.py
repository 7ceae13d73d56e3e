"""Private copies of the columns that nearly every row touches, for threads that train the same tables.

Hogwild is right in that lost updates do no harm, but a cache line that two cores write in turn costs each of them
a hundred nanoseconds a time. Few columns cause most of it (ids follow Zipf's law). So each thread trains *hot
columns* in copies of its own and now and then *exchanges* them: it adds its change since the last exchange to the
shared tables, and goes on from the sum. That is right for parameters and for sums of squared gradients.

Copies are found by a *slot*, the last bits of the column id.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fastfm_deep.kernels import lanes as ln
from fastfm_deep.kernels._jit import row_function

if TYPE_CHECKING:
    from numpy.typing import NDArray

N_SLOTS = 4096
EXCHANGE_EVERY = 64
"""Rows between two exchanges of what is hottest of all: the intercept."""

# Columns that thread copies hold at most, and the bytes of factors: they share the second-level cache.
_MOST_COLUMNS = 1024
_MOST_BYTES = 1 << 18
# Updates of a column between two exchanges: fewer cost more than they save, more save nothing further.
_LEAST_UPDATES = 16
_MOST_UPDATES = 64
# How far all threads together may move a weight between two exchanges.
_FREE_MOVE = 0.2


class HotColumns(NamedTuple):
    """The hot columns and how often they are exchanged, for the kernel."""

    tags: NDArray[np.int32]  # (N_SLOTS,) the column whose copy lies in a slot; -1 where none does
    columns: NDArray[np.int32]  # (n,)
    periods: NDArray[np.int32]  # (n,) ascending powers of two, in units of EXCHANGE_EVERY rows


class Copies(NamedTuple):
    """Where one thread keeps its copies; offsets count from the starts of the shared tables."""

    tags: int  # a pointer
    factors: int  # bytes
    linear: int  # numbers
    start_factors: int  # the same as of the last exchange
    start_linear: int


def find_hot_columns(
    indices: NDArray[np.integer], n_rows: int, row_bytes: int
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """The most frequent columns (n,) of some rows, one a slot, and the share of rows (n,) that hold each."""
    columns, counts = np.unique(indices, return_counts=True)
    chosen = np.argsort(-counts, kind="stable")[: min(_MOST_COLUMNS, _MOST_BYTES // max(row_bytes, 1))]
    columns, counts = columns[chosen], counts[chosen]
    _, first = np.unique(columns % N_SLOTS, return_index=True)
    kept = np.sort(first)
    kept = kept[(columns[kept] < 2**31) & (counts[kept] > 1)]
    return columns[kept].astype(np.int32), counts[kept] / n_rows


def plan_exchanges(
    columns: NDArray[np.int32],
    shares: NDArray[np.float64],
    rows_seen: float,
    learning_rate: float,
    n_threads: int,
) -> HotColumns | None:
    """Copies for the columns that have been trained long enough; None if no column has.

    After t updates AdaGrad moves a weight by about learning_rate / sqrt(t). Threads that cannot see each other
    all move it the same way, so the updates between two exchanges are limited by what they sum up to.
    """
    updates = _FREE_MOVE * np.sqrt(shares * rows_seen) / (learning_rate * n_threads)
    rows = np.minimum(updates, _MOST_UPDATES) / np.minimum(shares, 1.0)
    chosen = (updates >= _LEAST_UPDATES) & (rows >= EXCHANGE_EVERY)
    if not chosen.any():
        return None
    columns = columns[chosen]
    periods = (2.0 ** np.floor(np.log2(np.minimum(rows[chosen] / EXCHANGE_EVERY, 2**20)))).astype(np.int32)
    order = np.argsort(periods, kind="stable")
    tags = np.full(N_SLOTS, -1, np.int32)
    tags[columns % N_SLOTS] = columns
    return HotColumns(tags, columns[order], periods[order])


@row_function
def offsets(copies, tables, col):
    """Where the parameters of `col` lie: bytes from the start of the factors, numbers from that of the weights."""
    if copies is None:
        return col * tables.row_bytes, col * tables.linear_width
    slot = col & (N_SLOTS - 1)
    hot = -np.intp(np.intp(ln.at(copies.tags, slot)) == col)
    # By masks, not by branches: whether a column is hot cannot be foreseen.
    place = col ^ ((col ^ slot) & hot)
    return (copies.factors & hot) + place * tables.row_bytes, (copies.linear & hot) + place * tables.linear_width


@row_function
def make_copies(hot, tables, factor_buffer, linear_buffer):
    """Copies of all hot columns in two buffers, each with room for 2·N_SLOTS rows."""
    factors = ln.address_of(ln.pointer(factor_buffer), 0) - tables.factors
    linear = (ln.address_of(ln.pointer(linear_buffer), 0) - ln.address_of(tables.linear, 0)) // 4
    copies = Copies(
        ln.pointer(hot.tags),
        factors,
        linear,
        factors + N_SLOTS * tables.row_bytes,
        linear + N_SLOTS * tables.linear_width,
    )
    one = (0,)
    for col in hot.columns:
        slot = np.intp(col) & (N_SLOTS - 1)
        for byte in range(0, tables.row_bytes, 4):
            value = ln.load(one, tables.factors + np.intp(col) * tables.row_bytes + byte)
            ln.store(tables.factors + copies.factors + slot * tables.row_bytes + byte, value)
            ln.store(tables.factors + copies.start_factors + slot * tables.row_bytes + byte, value)
        for n in range(tables.linear_width):
            weight = ln.at(tables.linear, np.intp(col) * tables.linear_width + n)
            ln.put(tables.linear, copies.linear + slot * tables.linear_width + n, weight)
            ln.put(tables.linear, copies.start_linear + slot * tables.linear_width + n, weight)
    return copies


@row_function
def exchange(hot, copies, tables, number, lanes):
    """Exchange number 1, 2, ... of a thread: all columns whose period divides it (0: all columns)."""
    block_bytes = len(lanes) * 4
    for i in range(len(hot.columns)):
        if number & (np.intp(hot.periods[i]) - 1):
            break
        col = np.intp(hot.columns[i])
        slot = col & (N_SLOTS - 1)
        shared = tables.factors + col * tables.row_bytes
        own = tables.factors + copies.factors + slot * tables.row_bytes
        start = tables.factors + copies.start_factors + slot * tables.row_bytes
        for byte in range(0, tables.row_bytes, block_bytes):
            change = ln.subtract(ln.load(lanes, own + byte), ln.load(lanes, start + byte))
            total = ln.add(ln.load(lanes, shared + byte), change)
            ln.store(shared + byte, total)
            ln.store(own + byte, total)
            ln.store(start + byte, total)
        for n in range(tables.linear_width):
            at_own = copies.linear + slot * tables.linear_width + n
            at_start = copies.start_linear + slot * tables.linear_width + n
            at_shared = col * tables.linear_width + n
            weight = (
                ln.at(tables.linear, at_own) - ln.at(tables.linear, at_start) + ln.at(tables.linear, at_shared)
            )
            ln.put(tables.linear, at_shared, weight)
            ln.put(tables.linear, at_own, weight)
            ln.put(tables.linear, at_start, weight)
