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
_limit: Any = None


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Let matrix products run in the thread that calls for them."""
    global _users, _limit
    from threadpoolctl import threadpool_limits  # looks at all libraries of the process: some milliseconds

    with _lock:
        if not _users:
            _limit = threadpool_limits(1, user_api="blas")
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if not _users:
                _limit.restore_original_limits()
                _limit = None
