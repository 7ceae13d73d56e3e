"""Keys: what a category is known by, and the table that finds the number of a key.

See `key_layout` for what they are. The table is one of open addresses with linear probing, at most half full; a
slot holds the upper half of the hash and the number of the key, plus one.
"""

from __future__ import annotations

import numpy as np

from fastfm_deep.kernels import lanes as ln
from fastfm_deep.kernels._jit import BOUNDS_CHECKED, JIT_ENABLED, exact_function, exact_kernel
from fastfm_deep.kernels.key_layout import (
    FACTOR,
    MISSING_KIND,
    SECOND,
    START,
    hash_key,
    plain_kind,
)

# Keys whose hashes are computed together: their slots are on the way while the next ones are.
_AHEAD = 16
_UPPER = 0xFFFFFFFF00000000
_LOWER = 0x00000000FFFFFFFF


_plain_kind = exact_function(plain_kind)


def _hash_by_register(data, start, end, kind):
    """`hash_key` of data[start:end]; whole words are composed so that the compiler reads them as one."""
    at, stop = np.uint64(start), np.uint64(end)
    h = np.uint64(START) * (np.uint64(_plain_kind(kind)) + np.uint64(1)) + (stop - at)
    one, eight = np.uint64(1), np.uint64(8)
    while at + eight <= stop:
        word = (
            np.uint64(data[at])
            | np.uint64(data[at + one]) << eight
            | np.uint64(data[at + np.uint64(2)]) << np.uint64(16)
            | np.uint64(data[at + np.uint64(3)]) << np.uint64(24)
            | np.uint64(data[at + np.uint64(4)]) << np.uint64(32)
            | np.uint64(data[at + np.uint64(5)]) << np.uint64(40)
            | np.uint64(data[at + np.uint64(6)]) << np.uint64(48)
            | np.uint64(data[at + np.uint64(7)]) << np.uint64(56)
        )
        h = (h ^ word) * np.uint64(FACTOR)
        h ^= h >> np.uint64(32)
        at += eight
    if at < stop:
        word, shift = np.uint64(0), np.uint64(0)
        while at < stop:
            word |= np.uint64(data[at]) << shift
            shift += eight
            at += one
        h = (h ^ word) * np.uint64(FACTOR)
        h ^= h >> np.uint64(32)
    h = (h ^ (h >> np.uint64(33))) * np.uint64(FACTOR)
    h = (h ^ (h >> np.uint64(33))) * np.uint64(SECOND)
    return h ^ (h >> np.uint64(33))


def _hash_by_python(data, start, end, kind):
    return np.uint64(hash_key(int(kind), bytes(data[start:end])))


_hash = exact_function(_hash_by_register) if JIT_ENABLED else _hash_by_python


@exact_function
def _bytes_equal(first, at, second, start, length):
    a, b = np.uint64(at), np.uint64(start)
    for i in range(np.uint64(length)):  # noqa: SIM110
        if first[a + i] != second[b + i]:
            return False
    return True


@exact_function
def find_slot(data, start, end, kind, table):
    """Hash of a key, and its slot, or the free one that it would take."""
    h = _hash(data, start, end, kind)
    return h, _probe(h, data, start, end, kind, table)


@exact_function
def _probe(h, data, start, end, kind, table):
    """The slot of a key whose hash is known, or the free one that it would take."""
    mask = np.uint64(len(table.slots) - 1)
    slot = h & mask
    plain = _plain_kind(kind)
    while True:
        found = table.slots[slot]
        if found == np.uint64(0):
            break
        if (found ^ h) & np.uint64(_UPPER) == np.uint64(0):
            entry = np.int64(found & np.uint64(_LOWER)) - 1
            first = table.offsets[entry]
            length = table.offsets[entry + 1] - first
            if (
                length == end - start
                and _plain_kind(table.kinds[entry]) == plain
                and _bytes_equal(data, start, table.data, first, length)
            ):
                break
        slot = (slot + np.uint64(1)) & mask
    return slot


@exact_function
def _prefetch_by_address(h, table):
    slot = np.intp(h & np.uint64(len(table.slots) - 1))
    ln.prefetch(ln.address_of(ln.pointer(table.slots), slot))


@exact_function
def _prefetch_nothing(h, table):
    pass


_prefetch = _prefetch_by_address if JIT_ENABLED and not BOUNDS_CHECKED else _prefetch_nothing


@exact_function
def _hash_some(keys, first, table, hashes):
    """Hashes of as many keys as there is room for, whose slots are asked for meanwhile."""
    for i in range(first, min(first + len(hashes), len(keys.kinds))):
        start, end, kind = keys.offsets[i], keys.offsets[i + 1], keys.kinds[i]
        h = _hash(keys.data, start, start if kind == MISSING_KIND else end, kind)
        hashes[i - first] = h
        _prefetch(h, table)


@exact_kernel
def find_keys(keys, table, codes):
    """Put the number of each key into `codes`, int32 (n,); -1 where the table does not know it."""
    hashes = np.empty(_AHEAD, np.uint64)
    for i in range(len(keys.kinds)):
        if i % _AHEAD == 0:
            _hash_some(keys, i, table, hashes)
        start, end, kind = keys.offsets[i], keys.offsets[i + 1], keys.kinds[i]
        if kind == MISSING_KIND:
            end = start
        slot = _probe(hashes[i % _AHEAD], keys.data, start, end, kind, table)
        codes[i] = np.int64(table.slots[slot] & np.uint64(_LOWER)) - 1


@exact_kernel
def add_keys(keys, first, table, n_entries, codes):
    """Put the number of each key from `first` on into `codes`; a new one gets the next number.

    Returns the place where it stopped, n unless the table is full, and the number of keys in the table.
    """
    n_bytes = table.offsets[n_entries]
    hashes = np.empty(_AHEAD, np.uint64)
    for i in range(first, len(keys.kinds)):
        if (i - first) % _AHEAD == 0:
            _hash_some(keys, i, table, hashes)
        start, end, kind = keys.offsets[i], keys.offsets[i + 1], keys.kinds[i]
        if kind == MISSING_KIND:
            end = start
        h = hashes[(i - first) % _AHEAD]
        slot = _probe(h, keys.data, start, end, kind, table)
        if table.slots[slot] == np.uint64(0):
            length = end - start
            if (
                2 * n_entries >= len(table.slots)
                or n_entries == len(table.kinds)
                or n_bytes + length > len(table.data)
            ):
                return i, n_entries
            for b in range(length):
                table.data[n_bytes + b] = keys.data[start + b]
            table.kinds[n_entries] = kind
            n_bytes += length
            n_entries += 1
            table.offsets[n_entries] = n_bytes
            table.slots[slot] = (h & np.uint64(_UPPER)) | np.uint64(n_entries)
        codes[i] = np.int64(table.slots[slot] & np.uint64(_LOWER)) - 1
    return len(keys.kinds), n_entries


@exact_kernel
def fill_slots(table, n_entries):
    """Put the keys of a table, each once, into its empty slots; False where one of them comes twice."""
    for entry in range(n_entries):
        start, end = table.offsets[entry], table.offsets[entry + 1]
        h, slot = find_slot(table.data, start, end, table.kinds[entry], table)
        if table.slots[slot] != np.uint64(0):
            return False
        table.slots[slot] = (h & np.uint64(_UPPER)) | np.uint64(entry + 1)
    return True


@exact_kernel
def hash_keys(keys, n_buckets, codes):
    """Put the hash of each key, modulo `n_buckets`, into `codes`."""
    size = np.uint64(n_buckets)
    for i in range(len(keys.kinds)):
        start, end, kind = keys.offsets[i], keys.offsets[i + 1], keys.kinds[i]
        if kind == MISSING_KIND:
            end = start
        codes[i] = np.int64(_hash(keys.data, start, end, kind) % size)


@exact_kernel
def count_codes(codes, counts):
    """Add to `counts` how often each number occurs; negative ones do not count."""
    for i in range(len(codes)):
        if codes[i] >= 0:
            counts[codes[i]] += 1


@exact_kernel
def first_in_order(codes, first, order):
    """List in `order` the codes that occur, each once, as they first do; returns how many.

    `first`, int64 (n_codes + 1,), is -1 at the start and the place of each at the end; its last item is for codes
    of -1, which are listed as n_codes.
    """
    n, last = 0, np.int64(len(first) - 1)
    for i in range(len(codes)):
        code = np.int64(codes[i])
        if code < 0:
            code = last
        if first[code] < 0:
            first[code] = i
            order[n] = code
            n += 1
    return n


@exact_kernel
def take_codes(codes, by_code, out):
    """Put into `out`, int32 (n,), what `by_code`, int32 (n_codes + 1,), has at each code, or at its end."""
    last = np.uint64(len(by_code) - 1)
    for i in range(len(codes)):
        # As a number without a sign, -1 is large.
        out[i] = by_code[min(np.uint64(np.int64(codes[i])), last)]


@exact_kernel
def first_appearances(codes, first, out):
    """Copy codes that count up in order of first appearance to `out`, int32, and note where each comes first.

    Returns how many there are; `first`, int64, has room for as many as rows.
    """
    n = 0
    for i in range(len(codes)):
        if codes[i] == n:
            first[n] = i
            n += 1
        out[i] = codes[i]
    return n
