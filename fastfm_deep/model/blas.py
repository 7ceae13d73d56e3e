"""One thread for BLAS while a network is at work: threads of our own call it, each for itself.

Its own threads would wait for each other after every small product, spinning: where another process takes a core,
a network was 60 times slower so. The limit holds for the whole process and is counted: of two users at once the
last to end lifts it.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_lock = threading.Lock()
_users = 0
_limits: list[tuple[Any, int]] = []


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Let matrix products run in the thread that calls for them."""
    global _users
    with _lock:
        if not _users:
            found = _libraries()
            _limits[:] = [(library, library.num_threads) for library in found]
            for library in found:
                _set_threads(library, 1)
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if not _users:
                for library, n_threads in _limits:
                    _set_threads(library, n_threads)
                _limits.clear()


@functools.cache
def _libraries() -> list[Any]:
    """The BLAS of this process; found once, as looking at all its libraries takes milliseconds."""
    # What compiled products call must be loaded to be limited.
    import scipy.linalg.cython_blas  # noqa: F401
    from threadpoolctl import ThreadpoolController

    return list(ThreadpoolController().select(user_api="blas").lib_controllers)


def _set_threads(library: Any, n_threads: int) -> None:
    # Since threadpoolctl 3.7 only the thread that was first may limit OpenBLAS: others are silently ignored.
    getattr(library, "_real_set_num_threads", library.set_num_threads)(n_threads)
