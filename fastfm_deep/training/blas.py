"""One thread for BLAS while threads of our own are at work: each calls it for itself.

The limit holds for the whole process, so it is counted: of two fits at once the last to end lifts it.
"""

from __future__ import annotations

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
    # What compiled products call must be loaded to be limited.
    import scipy.linalg.cython_blas  # noqa: F401
    from threadpoolctl import ThreadpoolController  # looks at all libraries of the process: some milliseconds

    with _lock:
        if not _users:
            found = ThreadpoolController().select(user_api="blas").lib_controllers
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


def _set_threads(library: Any, n_threads: int) -> None:
    # Since threadpoolctl 3.7 only the thread that was first may limit OpenBLAS: others are silently ignored.
    getattr(library, "_real_set_num_threads", library.set_num_threads)(n_threads)
