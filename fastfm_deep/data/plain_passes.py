"""The passes of `data.passes` in NumPy, each with the arguments and the outcome of its compiled twin.

They go over whole arrays at a time. Where the order of float32 additions matters, it is that of the loops.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

from fastfm_deep.kernels.key_layout import BOOL_KIND, FACTOR, INT_KIND, MISSING_KIND, SECOND, START, WHOLE_KIND
from fastfm_deep.kernels.row_faults import NO_FAULT, POINTER_FAULT, RANGE_FAULT

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastfm_deep.kernels.key_layout import Keys


def check_rows(indptr: NDArray[np.int64], indices: NDArray[Any], n_columns: int) -> tuple[int, int, int, bool]:
    """`kernels.row_checks.check_rows`."""
    lengths = np.diff(indptr)
    bad = np.flatnonzero((lengths < 0) | (indptr[1:] > len(indices)))
    n_sound = int(bad[0]) if len(bad) else len(lengths)  # rows before the first bad pointer
    within = indices[: indptr[n_sound]]
    outside = np.flatnonzero((within < 0) | (within >= n_columns))
    if len(outside):
        at = int(outside[0])
        return RANGE_FAULT, int(np.searchsorted(indptr[: n_sound + 1], at, side="right")) - 1, at, False
    if len(bad):
        return POINTER_FAULT, n_sound, n_sound + 1, False
    return NO_FAULT, -1, -1, _repeats_column(lengths, within)


def _repeats_column(lengths: NDArray[np.int64], indices: NDArray[Any]) -> bool:
    """Whether a row names a column twice; rows that rise are told by one look."""
    if len(indices) < 2:
        return False
    row = np.repeat(np.arange(len(lengths)), lengths)
    falls = (indices[1:] <= indices[:-1]) & (row[1:] == row[:-1])
    unsorted = np.unique(row[1:][falls])
    if not len(unsorted):
        return False
    chosen = np.isin(row, unsorted)
    order = np.lexsort((indices[chosen], row[chosen]))
    of_row, column = row[chosen][order], indices[chosen][order]
    return bool(((column[1:] == column[:-1]) & (of_row[1:] == of_row[:-1])).any())


def first_nonfinite(float32_bits: NDArray[np.uint32]) -> int:
    """`kernels.row_checks.first_nonfinite`."""
    bad = float32_bits & np.uint32(0x7FFFFFFF) >= np.uint32(0x7F800000)
    return int(bad.argmax()) if bad.any() else -1


def pack_rows(
    block: NDArray[np.float32], indptr: NDArray[np.int64], indices: NDArray[Any], values: NDArray[np.float32]
) -> None:
    """`kernels.row_checks.pack_rows`."""
    row, column = np.nonzero(block)
    indices[indptr[0] : indptr[-1]] = column
    values[indptr[0] : indptr[-1]] = block[row, column]


def divide_by_counts(
    rows: Any, field_of_column: NDArray[np.int32], powers: NDArray[np.float64], values: NDArray[np.float32]
) -> None:
    """`kernels.columns.divide_by_counts`."""
    field = field_of_column[rows.indices]
    counted = np.flatnonzero((field >= 0) & (rows.values != 0.0))
    row = np.repeat(np.arange(rows.n_rows), np.diff(rows.indptr))
    # A group: what a row has of a field.
    group = row * len(powers) + field
    known, counts = np.unique(group[counted], return_counts=True)
    divided = np.flatnonzero((field >= 0) & (np.append(powers, 0.0)[field] > 0.0))
    if not len(known) or not len(divided):
        return
    place = np.minimum(np.searchsorted(known, group[divided]), len(known) - 1)
    n = np.where(known[place] == group[divided], counts[place], 0)
    divided, n = divided[n > 1], n[n > 1].astype(np.float64)
    divisor = np.where(powers[field[divided]] == 1.0, n, np.sqrt(n))
    values[divided] = rows.values[divided].astype(np.float64) / divisor


def count_single(ids: NDArray[np.int32], counts: NDArray[np.int64]) -> None:
    """`kernels.entries.count_single`."""
    np.add(counts, ids >= 0, out=counts)


def count_bags(offsets: NDArray[np.int64], counts: NDArray[np.int64]) -> None:
    """`kernels.entries.count_bags`."""
    np.add(counts, np.diff(offsets), out=counts)


def put_single(
    ids: NDArray[np.int32],
    values: NDArray[np.float32],
    cursor: NDArray[np.int64],
    indices: NDArray[Any],
    data: NDArray[np.float32],
) -> None:
    """`kernels.entries.put_single`."""
    kept = ids >= 0
    at = cursor[kept]
    indices[at] = ids[kept]
    data[at] = values[kept] if len(values) else 1.0
    np.add(cursor, kept, out=cursor)


def put_bags(
    offsets: NDArray[np.int64],
    ids: NDArray[np.int32],
    values: NDArray[np.float32],
    cursor: NDArray[np.int64],
    indices: NDArray[Any],
    data: NDArray[np.float32],
) -> None:
    """`kernels.entries.put_bags`."""
    lengths = np.diff(offsets)
    at = np.arange(offsets[0], offsets[-1]) + np.repeat(cursor - offsets[:-1], lengths)
    indices[at] = ids[offsets[0] : offsets[-1]]
    data[at] = values[offsets[0] : offsets[-1]]
    np.add(cursor, lengths, out=cursor)


def close_bags(
    offsets: NDArray[np.int64],
    ids: NDArray[np.int32],
    values: NDArray[np.float32],
    largest: bool,
    place: NDArray[np.int64],
    out_offsets: NDArray[np.int64],
) -> int:
    """`kernels.entries.close_bags`; `place` is only asked for its length."""
    n_rows = len(offsets) - 1
    kept = np.flatnonzero(ids >= 0)
    row = np.repeat(np.arange(n_rows), np.diff(offsets))[kept]
    _, first, inverse = np.unique(row * len(place) + ids[kept], return_index=True, return_inverse=True)
    # The order in which the entries first came.
    order = np.argsort(first)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    first, to, given = first[order], rank[inverse.reshape(-1)], values[kept]
    found = given[first]
    again = np.ones(len(kept), np.bool_)
    again[first] = False
    with np.errstate(over="ignore", invalid="ignore"):
        (np.maximum if largest else np.add).at(found, to[again], given[again])
    n = len(first)
    ids[:n], values[:n] = ids[kept][first], found
    out_offsets[0] = 0
    np.cumsum(np.bincount(row[first], minlength=n_rows), out=out_offsets[1:])
    return n


def first_entries(offsets: NDArray[np.int64], most: int, kept: NDArray[np.bool_]) -> None:
    """`kernels.entries.first_entries`."""
    kept[:] = np.arange(len(kept)) - np.repeat(offsets[:-1], np.diff(offsets)) < most


def _pieces_of(data: NDArray[np.uint8], offsets: NDArray[np.int64], separator: NDArray[np.uint8]) -> Any:
    whole, places, between = data.tobytes(), offsets.tolist(), separator.tobytes()
    known: dict[bytes, list[bytes]] = {}
    for start, stop in itertools.pairwise(places):
        text = whole[start:stop]
        found = known.get(text)
        if found is None:
            found = known[text] = [piece for piece in text.split(between) if piece]
        yield found


def count_pieces(
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    separator: NDArray[np.uint8],
    row_offsets: NDArray[np.int64],
) -> int:
    """`kernels.pieces.count_pieces`."""
    n_bytes = 0
    row_offsets[0] = 0
    for row, pieces in enumerate(_pieces_of(data, offsets, separator)):
        row_offsets[row + 1] = row_offsets[row] + len(pieces)
        n_bytes += sum(map(len, pieces))
    return n_bytes


def split_pieces(
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    separator: NDArray[np.uint8],
    out: NDArray[np.uint8],
    out_offsets: NDArray[np.int64],
) -> None:
    """`kernels.pieces.split_pieces`."""
    pieces = [piece for of_row in _pieces_of(data, offsets, separator) for piece in of_row]
    out[:] = np.frombuffer(b"".join(pieces), np.uint8)
    out_offsets[0] = 0
    np.cumsum(np.fromiter(map(len, pieces), np.int64, len(pieces)), out=out_offsets[1:])


def take_codes(codes: NDArray[np.integer], by_code: NDArray[np.int32], out: NDArray[np.int32]) -> None:
    """`kernels.keys.take_codes`."""
    last = len(by_code) - 1
    out[:] = by_code[np.where((codes < 0) | (codes > last), last, codes)]


def hash_keys(keys: Keys, n_buckets: int, codes: NDArray[np.int64]) -> None:
    """`kernels.keys.hash_keys`; keys of as many bytes are hashed together, see `hash_key`."""
    lengths = np.where(keys.kinds == MISSING_KIND, 0, np.diff(keys.offsets))
    kinds = np.where(np.isin(keys.kinds, (BOOL_KIND, WHOLE_KIND)), INT_KIND, keys.kinds).astype(np.uint64)
    hashes = np.uint64(START) * (kinds + np.uint64(1)) + lengths.astype(np.uint64)
    for length in np.unique(lengths[lengths > 0]).tolist():
        chosen = np.flatnonzero(lengths == length)
        padded = np.zeros((len(chosen), -(-length // 8) * 8), np.uint8)
        padded[:, :length] = keys.data[keys.offsets[chosen][:, None] + np.arange(length)]
        h = hashes[chosen]
        for word in padded.view("<u8").T:
            h = (h ^ word) * np.uint64(FACTOR)
            h ^= h >> np.uint64(32)
        hashes[chosen] = h
    for factor in (FACTOR, SECOND):
        hashes = (hashes ^ hashes >> np.uint64(33)) * np.uint64(factor)
    hashes ^= hashes >> np.uint64(33)
    codes[:] = hashes % np.uint64(n_buckets)
