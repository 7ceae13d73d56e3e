"""One thread for BLAS while ours are at work, however many fits there are at once and however they end."""

from __future__ import annotations

import threading

import pytest
import scipy.linalg  # noqa: F401 - its BLAS is the one that compiled matrix products call
from threadpoolctl import ThreadpoolController, threadpool_info, threadpool_limits

from fastfm_deep.model.blas import one_blas_thread


def n_threads():
    return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]


def in_thread(work):
    """Run it in a thread of its own: in threadpoolctl 3.8, who limits OpenBLAS first owns its limit for life."""
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


@pytest.fixture(autouse=True)
def two_threads():
    """A limit other than ours, on every machine."""
    before = [(library.filepath, library.num_threads) for library in ThreadpoolController().lib_controllers]
    in_thread(lambda: threadpool_limits(2, user_api="blas"))
    if not n_threads() or set(n_threads()) != {2}:
        pytest.skip("the BLAS of this NumPy has no threads that could be limited")
    yield
    after = set(n_threads())
    in_thread(lambda: [library.set_num_threads(dict(before).get(library.filepath, 1)) for library in libraries()])
    assert after == {2}, "the limits of before are back"


def libraries():
    return ThreadpoolController().select(user_api="blas").lib_controllers


def test_the_limit_holds_inside_only():
    with one_blas_thread():
        assert set(n_threads()) == {1}
    assert set(n_threads()) == {2}


def test_nested_fits_keep_the_limit_until_the_last_ends():
    with one_blas_thread():
        with one_blas_thread():
            assert set(n_threads()) == {1}
        assert set(n_threads()) == {1}
    assert set(n_threads()) == {2}


def test_fits_that_overlap_without_nesting():
    first, second = one_blas_thread(), one_blas_thread()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert set(n_threads()) == {1}, "the second is still at work"
    second.__exit__(None, None, None)
    assert set(n_threads()) == {2}


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_exception_lifts_the_limit_and_is_passed_on(error):
    with pytest.raises(error), one_blas_thread():
        raise error
    assert set(n_threads()) == {2}
    with one_blas_thread():
        assert set(n_threads()) == {1}, "and it can be set again"


def test_an_exception_in_an_inner_fit_leaves_the_outer_its_limit():
    with one_blas_thread():
        with pytest.raises(ValueError, match="inner"), one_blas_thread():
            raise ValueError("inner")
        assert set(n_threads()) == {1}


def overlapping(n_fits, wait_inside):
    """What fits in several threads see: each starts while the others may be at work."""
    seen = []
    together = threading.Barrier(n_fits)

    def fit():
        for _ in range(5):
            together.wait()
            with one_blas_thread():
                seen.append(set(n_threads()))
                if wait_inside:
                    together.wait()

    threads = [threading.Thread(target=fit) for _ in range(n_fits)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return seen


@pytest.mark.parametrize("wait_inside", [False, True])
@pytest.mark.parametrize("n_fits", [2, 8])
def test_fits_of_several_threads(n_fits, wait_inside):
    assert overlapping(n_fits, wait_inside) == [{1}] * (5 * n_fits)
    assert set(n_threads()) == {2}


def test_the_first_of_two_threads_to_begin_ends_first():
    began, ended, first_may_die = threading.Event(), threading.Event(), threading.Event()

    def first():
        with one_blas_thread():
            began.set()
            second_is_in.wait()
        ended.set()
        first_may_die.wait()

    second_is_in = threading.Event()
    thread = threading.Thread(target=first)
    thread.start()
    began.wait()
    try:
        with one_blas_thread():
            second_is_in.set()
            ended.wait()
            assert set(n_threads()) == {1}, "the second is still at work"
        assert set(n_threads()) == {2}, "the last to end lifts the limit, whoever set it"
    finally:
        first_may_die.set()
        thread.join()
