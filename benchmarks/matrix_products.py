"""How fast the matrix products of our training step are, against the same products alone in NumPy.

Compiled code calls SciPy's `sgemm`, whose address Numba asks for once in a process. It is given that of a wrapper
that takes the time of each call of a fit, some microseconds on top. The bare products are `np.matmul` on the same
shapes and transposes, with `out=`, in a loop, in as many threads at once, one BLAS thread each. Products with a
vector, those of the final unit, are bound by memory and left out.
"""

from __future__ import annotations

import collections
import ctypes
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from competitors.contract import Rows, Task
from competitors.ours import as_csr, model_for
from scipy.linalg import cython_blas
from threadpoolctl import threadpool_limits

from fastfm_deep.datasets import make_ctr

BARE_SECONDS = 0.5
SGEMM = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 13)


class TimedSgemm:
    """Stands in for SciPy's sgemm, and keeps the shapes and seconds of all calls.

    Must be made before compiled code multiplies matrices in this process, and outlive all of that.
    """

    def __init__(self):
        self.calls = []
        python = ctypes.pythonapi
        python.PyCapsule_GetName.restype = ctypes.c_char_p
        python.PyCapsule_GetName.argtypes = [ctypes.py_object]
        python.PyCapsule_GetPointer.restype = ctypes.c_void_p
        python.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
        python.PyCapsule_New.restype = ctypes.py_object
        python.PyCapsule_New.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
        found = cython_blas.__pyx_capi__["sgemm"]
        self._signature = python.PyCapsule_GetName(found)
        self._own = SGEMM(python.PyCapsule_GetPointer(found, self._signature))
        self._wrapper = SGEMM(self._call)
        address = ctypes.cast(self._wrapper, ctypes.c_void_p).value
        cython_blas.__pyx_capi__["sgemm"] = python.PyCapsule_New(address, self._signature, None)

    def _call(self, *pointers):
        started = time.perf_counter()
        self._own(*pointers)
        seconds = time.perf_counter() - started
        self.calls.append((product_of(pointers), seconds))


def product_of(pointers):
    """What sgemm is asked for, as a product of arrays in C order: (shape, is transposed) of either operand.

    Its own order is Fortran's, in which the product of arrays in C order is that of their transposes, exchanged.
    """
    right_turned, left_turned = (ctypes.string_at(pointer, 1) in b"TtCc" for pointer in pointers[:2])
    n_columns, n_rows, inner = (ctypes.c_int.from_address(pointer).value for pointer in pointers[2:5])
    return ((n_rows, inner), left_turned), ((inner, n_columns), right_turned)


def timed_fit(sgemm, train, task):
    """Products of a fit: {product: seconds of each call}, and its rows per second."""
    few = train.part(0, 4000)
    model_for(task._replace(n_epochs=1), train.sizes).fit(as_csr(few), few.y)
    sgemm.calls.clear()
    model = model_for(task, train.sizes).fit(as_csr(train), train.y)
    calls = collections.defaultdict(list)
    for product, seconds in sgemm.calls:
        calls[product].append(seconds)
    return calls, len(train.y) * task.n_epochs / sum(record["seconds"] for record in model.history_)


def bare_seconds(products, n_threads):
    """Median seconds of each product alone, in `n_threads` threads at once."""
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(n_threads) as pool:
        return {product: bare_product(product, pool, n_threads) for product in products}


def bare_product(product, pool, n_threads):
    seconds = [times for task in [pool.submit(loop, product) for _ in range(n_threads)] for times in task.result()]
    return float(np.median(seconds))


def loop(product):
    rng = np.random.default_rng(0)
    left, right = (operand(rng, *side) for side in product)
    out = np.empty((left.shape[0], right.shape[1]), np.float32)
    seconds = []
    end = time.perf_counter() + BARE_SECONDS
    while time.perf_counter() < end:
        started = time.perf_counter()
        np.matmul(left, right, out=out)
        seconds.append(time.perf_counter() - started)
    return seconds


def operand(rng, shape, is_transposed):
    drawn = rng.standard_normal(shape[::-1] if is_transposed else shape, dtype=np.float32)
    return drawn.T if is_transposed else drawn


def operations(product):
    (left, _), (right, _) = product
    return 2 * left[0] * left[1] * right[1]


def show_matrix_products(options):
    X, y, sizes = make_ctr(options.rows, options.fields, options.features, random_state=options.seed)
    train = Rows(X.indices.reshape(-1, options.fields), y, sizes)
    sgemm = TimedSgemm()
    for hidden in options.hidden:
        for n_threads in options.threads:
            task = Task(options.k, hidden, options.epochs, n_threads, options.seed, options=options.ours)
            show_products(sgemm, train, task)


def show_products(sgemm, train, task):
    calls, rate = timed_fit(sgemm, train, task)
    print(f"\nMLP {'-'.join(map(str, task.hidden_units))}, {task.n_threads} thread(s), {rate:,.0f} rows/s")
    # Those of whole micro-batches; the last one of an epoch may be shorter. Layers of one shape share a line.
    often = max(map(len, calls.values()), default=0) / 4
    whole = {product: seconds for product, seconds in calls.items() if len(seconds) > often}
    if not whole:
        print("No call of SciPy's sgemm was seen: nothing to time.")
        return
    bare = bare_seconds(whole, task.n_threads)
    print(f"{'product':34}{'in the step':>13}{'bare':>8}   GFLOP/s a thread")
    spent = alone = work = 0.0
    for product, seconds in whole.items():
        in_step, flops = float(np.median(seconds)), operations(product)
        spent, alone, work = (
            spent + sum(seconds),
            alone + bare[product] * len(seconds),
            work + flops * len(seconds),
        )
        names = " @ ".join(f"{shape}{'.T' if transposed else ''}" for shape, transposed in product)
        show_line(names, flops / in_step, flops / bare[product])
    show_line("together", work / spent, work / alone)
    share = spent / (task.n_epochs * len(train.y) / rate * task.n_threads)
    print(f"Products take {share:.0%} of the step.", flush=True)


def show_line(name, in_step, bare):
    print(f"{name:34}{in_step / 1e9:13.1f}{bare / 1e9:8.1f}{in_step / bare:7.2f} x")
