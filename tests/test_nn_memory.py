"""Passes of a network take no memory, and threads share its parameters."""

from __future__ import annotations

import threading
import tracemalloc

import numpy as np
import pytest
from network_tools import FORMS, Net, inputs
from table_tools import INTERPRETED

from fastfm_deep.nn.activations import ACTIVATIONS
from fastfm_deep.nn.mlp import MLPShape

N_ROWS = 12
N_WIDE = 300
each_form = pytest.mark.parametrize("form", FORMS)


@each_form
@pytest.mark.parametrize(("dropout", "batch_norm"), [(0.0, False), (0.25, False), (0.25, True)])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_batch_allocates_nothing(form, activation, dropout, batch_norm):
    if INTERPRETED and (form == "compiled" or dropout):
        pytest.skip("interpreted loops take minutes under tracemalloc, and say nothing of compiled ones")
    # 120 kB in a layer, so that any array of a batch would be seen.
    net = Net(form, MLPShape(50, (100, 100), activation, dropout, batch_norm), N_WIDE)
    x, gradient = inputs(N_WIDE, 50), np.ones(N_WIDE, np.float32)

    def batch():
        net.forward(x, training=True)[1](gradient)

    batch()
    batch()
    peaks = []
    tracemalloc.start()
    try:
        batch()
        start = tracemalloc.get_traced_memory()[0]
        for _ in range(4):
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            batch()
            peaks.append(tracemalloc.get_traced_memory()[1] - before)
        left = tracemalloc.get_traced_memory()[0] - start
    finally:
        tracemalloc.stop()
    assert left < 4 * 1024
    # Views and functions in flight are a kilobyte or two; where a vector is spread over rows, NumPy's universal
    # functions take 2 * 32 KiB of buffers.
    assert min(peaks) < (4096 if form == "compiled" else 75_000), peaks


@pytest.mark.skipif(INTERPRETED, reason="there is no runtime of Numba under NUMBA_DISABLE_JIT=1")
def test_compiled_batches_allocate_nothing_that_python_does_not_see():
    runtime = pytest.importorskip("numba.core.runtime")
    stats = runtime._nrt_python
    found = []
    was_enabled = stats.memsys_stats_enabled()
    for units, dropout, batch_norm in [((7,), 0.0, False), ((7, 7, 7), 0.25, True)]:
        net = Net("compiled", MLPShape(6, units, "gelu", dropout, batch_norm), N_ROWS)
        x, gradient = inputs(N_ROWS, 6), np.ones(N_ROWS, np.float32)
        net.forward(x, training=True)[1](gradient)
        stats.memsys_enable_stats()
        try:
            before = stats.memsys_get_stats_alloc()
            net.forward(x, training=True)[1](gradient)
            found.append(stats.memsys_get_stats_alloc() - before)
        finally:
            if not was_enabled:
                stats.memsys_disable_stats()
    # Each array that Python hands over costs one; layers cost none.
    assert found[0] == found[1], found
    assert found[0] < 60


@each_form
def test_two_threads_on_the_same_parameters(form):
    shape = MLPShape(6, (16, 8), "sigmoid", 0.2, False)
    nets = [Net(form, shape, 64, seed=seed) for seed in range(2)]
    nets[1].parameters = nets[0].parameters
    nets[1].reseed(1)
    x, gradient = inputs(64, 6), np.ones(64, np.float32)

    def work(net, found):
        for _ in range(100):
            out, back = net.forward(x, training=True)
            found.append((out.copy(), back(gradient).copy(), net.gradients.copy()))

    alone: list[list] = [[], []]
    for net, found in zip(nets, alone, strict=True):
        work(net, found)
    for seed, net in enumerate(nets):
        net.reseed(seed)
    together: list[list] = [[], []]
    threads = [threading.Thread(target=work, args=(net, found)) for net, found in zip(nets, together, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for expected, got in zip(alone, together, strict=True):
        assert len(got) == 100
        for one, two in zip(expected, got, strict=True):
            for first, second in zip(one, two, strict=True):
                np.testing.assert_array_equal(second, first)
    assert not np.array_equal(alone[0][0][0], alone[1][0][0]), "a mask for each thread"
