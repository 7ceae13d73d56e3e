"""Shards: slices of work that threads take from a common pile, one after the other.

The functions they run release the GIL. Threads live for one call, so that a forked child can start its own.
Numba's `prange` is no alternative: its default threading layer aborts the process when two Python threads enter
parallel kernels at once (numba issue 9288).
"""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable

# Seconds between two looks of the waiting thread: what Ctrl-C takes to be noticed, and a progress bar to move.
_WAIT = 0.1


def run_shards(
    work: Callable[[int, int, int], None],
    n_items: int,
    slice_items: int,
    n_threads: int,
    watch: Callable[[int], None] | None = None,
) -> None:
    """Call `work(start, stop, thread)` for slices of range(n_items), on `n_threads` threads.

    Parameters
    ----------
    work : callable
        Does one slice; `thread` is 0 .. n_threads - 1. With one thread slices run in order, in the caller's.
    n_items, slice_items : int
        Items in all, and in a slice: at most a second of work, because that is what an interrupt waits for.
    n_threads : int
        No more are started than there are slices.
    watch : callable, optional
        Called in the caller's thread, now and then, with the number of items done.

    Raises
    ------
    BaseException
        The first that `work` or `watch` raised, or KeyboardInterrupt; all threads have stopped by then.
    """
    n_threads = min(n_threads, -(-n_items // slice_items))
    if n_threads <= 1:
        for start in range(0, n_items, slice_items):
            stop = min(start + slice_items, n_items)
            work(start, stop, 0)
            if watch is not None:
                watch(stop)
        return
    pile = itertools.count(0, slice_items)
    done = [0] * n_threads
    errors: list[BaseException] = []
    halted = threading.Event()
    # Not Thread.join(): interrupted, it takes the thread for ended (bpo-45274, Python 3.10 to 3.12).
    ended = threading.Semaphore(0)

    def take_slices(thread: int) -> None:
        try:
            while not halted.is_set():
                start = next(pile)
                if start >= n_items:
                    return
                stop = min(start + slice_items, n_items)
                work(start, stop, thread)
                done[thread] += stop - start
        except BaseException as error:
            errors.append(error)
            halted.set()
        finally:
            ended.release()

    threads = [threading.Thread(target=take_slices, args=(number,), daemon=True) for number in range(n_threads)]
    running = 0
    try:
        for thread in threads:
            try:
                thread.start()
            except RuntimeError:  # the system gives no more threads: fewer do the same work
                break
            running += 1
        if not running:
            running = 1
            take_slices(0)
        while running:
            running -= ended.acquire(timeout=_WAIT)
            if watch is not None:
                watch(sum(done))
    except BaseException as error:
        errors.insert(0, error)
    halted.set()
    while running:  # a second interrupt waits too: what is put back next must not be written to any more
        with contextlib.suppress(KeyboardInterrupt):
            running -= ended.acquire()
    if errors:
        raise errors[0]


def available_cores() -> int:
    """Cores this process may use: its affinity and the quota of its control group."""
    from joblib import cpu_count  # knows both; imported here because it takes 0.1 s

    return max(1, int(cpu_count()))


def thread_count(n_jobs: int | None, work: float, worth: float) -> int:
    """How many threads to use for `work` multiplications.

    None: one for each `worth` multiplications, up to the cores; a negative number: cores + 1 + n_jobs, as in
    scikit-learn; a positive one: itself.
    """
    if n_jobs is None:
        wanted = int(work / worth)
        return 1 if wanted <= 1 else min(wanted, available_cores())
    return n_jobs if n_jobs > 0 else max(1, available_cores() + 1 + n_jobs)
