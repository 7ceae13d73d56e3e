"""The keys of one row, each in the table of its own column, by one call.

Each array that is passed from Python costs a third of a microsecond, so a row goes by addresses: their owner keeps
the arrays alive.
"""

from __future__ import annotations

import numpy as np
from numba import carray
from numba.core import types
from numba.core.extending import intrinsic

from fastfm_deep.kernels._jit import BOUNDS_CHECKED, JIT_ENABLED, exact_kernel
from fastfm_deep.kernels.key_layout import KeyTable
from fastfm_deep.kernels.keys import find_slot

N_ADDRESSES = 6
"""Numbers that stand for a table: the addresses of slots, data, offsets, kinds and lookup, and how many slots."""

_LOWER = 0x00000000FFFFFFFF


@intrinsic
def _pointer_to(typingctx, address):
    """The integer `address` as a pointer."""

    def codegen(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return types.voidptr(types.intp), codegen


@exact_kernel
def _find_row(content, keys, tables, ids):
    """Put the ids of keys into `ids`.

    `keys`, int64 (4 n,), says of each the number of its table, its kind, and where its bytes begin and end in
    `content`, uint8. `tables`, int64 (n_tables, N_ADDRESSES). A lookup begins with the id of what is unknown, then
    it has the id of each code.
    """
    for i in range(len(ids)):
        at = keys[4 * i]
        n_slots = tables[at, 5]
        # Of arrays that are indexed by what a sound table holds, the lengths do not matter.
        table = KeyTable(
            carray(_pointer_to(tables[at, 0]), (n_slots,), np.uint64),
            carray(_pointer_to(tables[at, 1]), (1,), np.uint8),
            carray(_pointer_to(tables[at, 2]), (1,), np.int64),
            carray(_pointer_to(tables[at, 3]), (1,), np.uint8),
        )
        lookup = carray(_pointer_to(tables[at, 4]), (1,), np.int64)
        _, slot = find_slot(content, keys[4 * i + 2], keys[4 * i + 3], np.uint8(keys[4 * i + 1]), table)
        ids[i] = lookup[table.slots[slot] & np.uint64(_LOWER)]


find_row = _find_row if JIT_ENABLED and not BOUNDS_CHECKED else None
"""None where nothing is compiled, or bounds are checked: addresses are for compiled code, and have no lengths."""
