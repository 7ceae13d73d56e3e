"""Keys as Python and kernels both know them: their arrays, the table that finds them, their hash.

A *key* is a kind (text, integer, ..., see `data.values`) and some bytes. Nothing here is compiled, so that a
process can read keys without Numba.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

MISSING_KIND, INT_KIND, BOOL_KIND, WHOLE_KIND = 0, 2, 4, 12
START, FACTOR = 0x9E3779B97F4A7C15, 0xFF51AFD7ED558CCD
SECOND = 0xC4CEB9FE1A85EC53


class Keys(NamedTuple):
    """Keys of many values; all arrays are read-only.

    data : uint8; offsets : int64 (n + 1,), where the bytes of each begin; kinds : uint8 (n,).
    """

    data: np.ndarray
    offsets: np.ndarray
    kinds: np.ndarray


class KeyTable(NamedTuple):
    """The keys that are known, and the way to their numbers.

    slots : uint64 (a power of 2,); 0 for free.
    data, offsets, kinds : as of `Keys`, with room for more at their ends.
    """

    slots: np.ndarray
    data: np.ndarray
    offsets: np.ndarray
    kinds: np.ndarray


def plain_kind(kind):
    """The kind that decides whether keys are the same: True is 1 is 1.0, as in Python."""
    return INT_KIND if kind in (BOOL_KIND, WHOLE_KIND) else kind


def hash_key(kind: int, content: bytes) -> int:
    """The 64-bit hash of a key; the same on every platform, now and later.

    With arithmetic modulo 2**64, over the words w of 8 bytes, little-endian, the last one filled up with zeros::

        h = 0x9e3779b97f4a7c15 * (kind + 1) + number of bytes
        h = (h ^ w) * 0xff51afd7ed558ccd;  h = h ^ (h >> 32)        for each word

    and at the end MurmurHash3's finaliser (Appleby), as in `hash_ids`. The kind of True and of 1.0 is that of 1,
    and their content 8 bytes.
    """
    mask = 2**64 - 1
    h = (START * (int(plain_kind(kind)) + 1) + len(content)) & mask
    for at in range(0, len(content), 8):
        h = ((h ^ int.from_bytes(content[at : at + 8], "little")) * FACTOR) & mask
        h ^= h >> 32
    h = ((h ^ h >> 33) * FACTOR) & mask
    h = ((h ^ h >> 33) * SECOND) & mask
    return h ^ h >> 33
