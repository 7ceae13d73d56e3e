"""Mapped files: memory that shows a file, and what becomes of it when somebody changes the file in place.

A file that is replaced, as `save` does, stays as it was for who has mapped it. One that is written to or shortened
in place does not: its pages change under the reader, and a page that is gone ends the process by a signal, SIGBUS.
So the state of the file is compared after each use, and the signal is caught: pages of a file that was cut off
become zeros, and whoever has read them is told by `MappedFile.check`.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import signal
import sys
import threading
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from fastfm_deep import validation

if TYPE_CHECKING:
    from numpy.typing import NDArray

CAN_MAP: bool = sys.platform == "linux" and sys.maxsize > 2**32
"""Whether the signal can be caught: elsewhere files are read, not mapped."""

_SA_SIGINFO, _SA_RESTART, _SA_NODEFER = 0x4, 0x10000000, 0x40000000
_MAP_FIXED = 0x10
# Where siginfo_t holds the kind of the signal and the address of the fault, in bytes, on 64-bit Linux.
_SIGNAL_CODE, _FAULT_ADDRESS = 8, 16


class _SigAction(ctypes.Structure):
    """struct sigaction of 64-bit Linux; a mask is 1,024 bits long."""

    _fields_ = (
        ("handler", ctypes.c_void_p),
        ("mask", ctypes.c_ulong * 16),
        ("flags", ctypes.c_int),
        ("restorer", ctypes.c_void_p),
    )


class MappedFile:
    """A whole file as read-only memory, shared by all processes that map it.

    Parameters
    ----------
    file : binary file, open for reading; it may be closed afterwards
    name : str
        For messages.

    Attributes
    ----------
    memory : uint8 array (size,), read-only
    descriptor : int
    state : int64 array (3,)
        Size, and seconds and nanoseconds of the last change, as they were when it was mapped.
    is_whole : callable, or None
        Whether `memory` still holds what it did; asked where the time of the last change is another one.
    """

    is_whole: Callable[[], bool] | None = None

    def __init__(self, file: BinaryIO, name: str) -> None:
        _catch_signal()
        self.name = name
        self.descriptor = os.dup(file.fileno())
        _at_end_of(self, os.close, self.descriptor)
        self.state = np.array(self._read_state(), np.int64)
        pages = mmap.mmap(self.descriptor, int(self.state[0]), access=mmap.ACCESS_READ)
        self.memory: NDArray[np.uint8] = np.frombuffer(pages, np.uint8)
        start = self.memory.ctypes.data
        self._range = _ranges[start] = _Range(start, start + len(self.memory), self.state)
        # Arrays may outlive this object, and with them the pages.
        _at_end_of(pages, _ranges.pop, start, None)

    def _read_state(self) -> tuple[int, int, int]:
        found = os.fstat(self.descriptor)
        return found.st_size, *divmod(found.st_mtime_ns, 10**9)

    def check(self) -> None:
        """See that what has been read from `memory` so far was the file as it was when it was mapped.

        Raises
        ------
        ModelFileError
            It has been changed in place since.
        """
        state, known = self._read_state(), tuple(self.state.tolist())
        if state == known and not self._range.is_lost:
            return
        # A new time of change alone may come from a tool that has only touched the file.
        if state[0] != known[0] or self.is_whole is None or not self.is_whole() or self._range.is_lost:
            raise validation.changed_model_error(self.name)
        self.state[:] = state


def _at_end_of(owner: Any, function: Callable[..., Any], *arguments: Any) -> None:
    """Call a function once an object is gone; not at the end of the process, when threads may still use it."""
    weakref.finalize(owner, function, *arguments).atexit = False


class _Range:
    """Addresses from `start` to `end` - 1, and whether their pages have become zeros."""

    __slots__ = ("end", "is_lost", "start", "state")

    def __init__(self, start: int, end: int, state: NDArray[np.int64]) -> None:
        self.start, self.end, self.is_lost, self.state = start, end, False, state

    def lose(self) -> None:
        """The pages are zeros now, whatever becomes of the file."""
        self.is_lost = True
        self.state[0] = -1  # for compiled code: no file is of that size


_ranges: dict[int, _Range] = {}
_lock = threading.Lock()
_libc: Any = None
_before = _SigAction()
_catcher: Any = None  # kept alive: the system holds its address


def _catch_signal() -> None:
    """Install the handler, unless it is there: forked children have it, others may have taken its place."""
    global _libc, _catcher
    with _lock:
        if _catcher is None:
            # Calls through it keep the interpreter lock: the handler is no place to wait for it.
            _libc = ctypes.PyDLL(None, use_errno=True)
            _libc.mmap.restype = ctypes.c_void_p
            _libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
            _catcher = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)(_on_bus_error)
        own, found = ctypes.cast(_catcher, ctypes.c_void_p).value, _SigAction()
        _libc.sigaction(signal.SIGBUS, None, ctypes.byref(found))
        if found.handler == own:
            return
        ctypes.memmove(ctypes.byref(_before), ctypes.byref(found), ctypes.sizeof(found))
        action = _SigAction(handler=own, flags=_SA_SIGINFO | _SA_RESTART | _SA_NODEFER)
        _libc.sigaction(signal.SIGBUS, ctypes.byref(action), None)


def _on_bus_error(number: int, info: int, context: int) -> None:
    """Let a thread that has touched a lost page of ours go on, on a page of zeros.

    The signal is raised by that very instruction, in code that holds no lock of the C library: a kernel, a copy of
    NumPy's, a checksum. So it is safe to run Python here.
    """
    is_fault = True
    try:
        # 0 and below: a process has sent it, and there is no address.
        is_fault = ctypes.c_int.from_address(info + _SIGNAL_CODE).value > 0
        address = ctypes.c_size_t.from_address(info + _FAULT_ADDRESS).value if is_fault else 0
        for found in list(_ranges.values()):
            if found.start <= address < found.end:
                found.lose()
                flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_FIXED
                at = _libc.mmap(found.start, found.end - found.start, mmap.PROT_READ, flags, -1, 0)
                if at == found.start:
                    return
    except BaseException:  # nothing may leave this function; the next lines are for whatever it was
        pass
    # Not ours: the instruction fails again, for whoever was to be told before; what was sent is sent again.
    _libc.sigaction(number, ctypes.byref(_before), None)
    if not is_fault:
        signal.raise_signal(number)
