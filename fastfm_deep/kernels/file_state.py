"""Whether an open file is still what it was, asked by compiled code: from Python that takes as long as a score."""

from __future__ import annotations

import ctypes

import numpy as np
from numba.core import types

from fastfm_deep.kernels import lanes as ln
from fastfm_deep.kernels._jit import JIT_ENABLED, row_function

CAN_ASK: bool = JIT_ENABLED and hasattr(ctypes.pythonapi, "statx")
"""Whether the C library has statx, whose answer is laid out alike on all processors."""

_statx = types.ExternalFunction(
    "statx", types.int32(types.int32, types.intp, types.int32, types.uint32, types.intp)
)
_OF_DESCRIPTOR = np.int32(0x1000)  # AT_EMPTY_PATH
_SIZE_AND_TIME = np.uint32(0x200 | 0x40)  # STATX_SIZE, STATX_MTIME
# A struct statx is 32 numbers of 8 bytes long; which of them are the size, and the seconds and nanoseconds of the
# last change.
_N_NUMBERS, _SIZE, _SECONDS, _NANOSECONDS = 32, 5, 14, 15


@row_function
def has_changed(descriptor, state_address):
    """Whether size or time of the last change are not those at the address: int64 (3,), the time in two parts."""
    found = np.zeros(_N_NUMBERS + 1, dtype=np.int64)
    pointer, state = ln.pointer(found), ln.int64_pointer(state_address)
    no_name = ln.address_of(pointer, _N_NUMBERS)
    fault = _statx(np.int32(descriptor), no_name, _OF_DESCRIPTOR, _SIZE_AND_TIME, ln.address_of(pointer, 0))
    nanoseconds = ln.at(pointer, _NANOSECONDS) & 0xFFFFFFFF
    is_same = (
        fault == 0
        and ln.at(pointer, _SIZE) == ln.at(state, 0)
        and ln.at(pointer, _SECONDS) == ln.at(state, 1)
        and nanoseconds == ln.at(state, 2)
    )
    ln.keep(found)
    return not is_same
