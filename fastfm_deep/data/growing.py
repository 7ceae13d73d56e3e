"""Arrays that grow at their end without being copied."""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FIRST_BYTES = 1 << 20
_SECOND_BYTES = 1 << 26
_STEP = 1 << 21


class GrowingArray:
    """A flat array of unknown length.

    Its memory is a mapping of its own, which the system makes longer by moving page tables, not content. Pages
    that nothing was written to yet cost nothing, so room is made generously. Huge pages are not asked for: they
    gain 6% at best, and cost half the speed where the system has to make them first.
    """

    def __init__(self, dtype: Any) -> None:
        self.dtype = np.dtype(dtype)
        self._memory: mmap.mmap | None = None
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def append(self, values: NDArray[Any]) -> None:
        """Copy values to the end, cast to the type of this array."""
        length = self._length + len(values)
        self._make_room(length * self.dtype.itemsize)
        if len(values):
            self._view(self._length, length)[...] = values
        self._length = length

    def take(self) -> NDArray[Any]:
        """The array, whole; this object is empty then."""
        if self._memory is None or not self._length:
            self._memory, self._length = None, 0
            return np.empty(0, self.dtype)
        self._memory.resize(self._length * self.dtype.itemsize)
        array = self._view(0, self._length)
        self._memory, self._length = None, 0
        return array

    def widen(self, dtype: Any) -> None:
        """Change to another type; this copies."""
        wide = GrowingArray(dtype)
        for start in range(0, self._length, _STEP):
            wide.append(self._view(start, min(start + _STEP, self._length)))
        self.__dict__ = wide.__dict__

    def _view(self, start: int, stop: int) -> NDArray[Any]:
        assert self._memory is not None
        return np.frombuffer(self._memory, self.dtype, stop - start, start * self.dtype.itemsize)

    def _make_room(self, n_bytes: int) -> None:
        try:
            if self._memory is None:
                self._memory = mmap.mmap(-1, max(n_bytes, _FIRST_BYTES), mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            elif n_bytes > len(self._memory):
                # No view is left of it here: each lives for one line of this class.
                self._memory.resize(max(n_bytes, 2 * len(self._memory), _SECOND_BYTES))
        except OSError as error:
            raise MemoryError(f"{n_bytes / 2**30:.3g} GiB for the rows of a text are not to be had") from error
