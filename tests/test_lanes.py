"""Lane vectors, one operation at a time, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from table_tools import INTERPRETED

from fastfm_deep.kernels import lanes as ln
from fastfm_deep.kernels._jit import kernel
from fastfm_deep.kernels.lanes import LANES

pytestmark = pytest.mark.skipif(INTERPRETED, reason="lanes cannot run under NUMBA_DISABLE_JIT=1")


@kernel
def combine(left, right, out, lanes):  # type: ignore[no-untyped-def]
    """Each operation into its own row of `out`, (7, width)."""
    a = ln.load(lanes, ln.address_of(ln.pointer(left), 0))
    b = ln.load(lanes, ln.address_of(ln.pointer(right), 0))
    to, row_bytes = ln.address_of(ln.pointer(out), 0), out.shape[1] * 4
    ln.store(to, ln.add(a, b))
    ln.store(to + row_bytes, ln.subtract(a, b))
    ln.store(to + 2 * row_bytes, ln.multiply(a, b))
    ln.store(to + 3 * row_bytes, ln.divide(a, b))
    ln.store(to + 4 * row_bytes, ln.square_root(ln.multiply(b, b)))
    ln.store(to + 5 * row_bytes, ln.splat(lanes, left[0]))
    ln.store(to + 6 * row_bytes, ln.zeros(lanes))
    return ln.sum_lanes(a)


@kernel
def copy_one(source, target, start, index, value, lanes):  # type: ignore[no-untyped-def]
    """Lanes from source[start:] to target[start:], then one number: read back, replaced."""
    ln.prefetch(ln.address_of(ln.pointer(source), start))
    ln.prefetch(0)  # an address that is not ours is no fault
    here, there = ln.pointer(source), ln.pointer(target)
    ln.store(ln.address_of(there, start), ln.load(lanes, ln.address_of(here, start)))
    found = ln.at(there, index)
    ln.put(there, index, value)
    return found


@kernel
def is_all_ones(values):  # type: ignore[no-untyped-def]
    return ln.all_ones(ln.pointer(values))


@kernel
def read(array, index):  # type: ignore[no-untyped-def]
    return ln.at(ln.pointer(array), index)


@pytest.mark.parametrize("width", LANES)
def test_arithmetic(width):
    rng = np.random.default_rng(width)
    left, right = rng.normal(size=(2, width)).astype(np.float32)
    out = np.full((7, width), np.nan, np.float32)
    total = combine(left, right, out, LANES[width])
    expected = [left + right, left - right, left * right, left / right, abs(right), left[0] + 0 * left, 0 * left]
    np.testing.assert_allclose(out, expected, rtol=1e-6)
    np.testing.assert_allclose(total, left.astype(np.float64).sum(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("width", LANES)
def test_nan_and_infinity_pass_through(width):
    for bad in (np.nan, np.inf):
        left, right = np.ones((2, width), np.float32)
        left[-1] = bad
        out = np.zeros((7, width), np.float32)
        assert not np.isfinite(combine(left, right, out, LANES[width]))
        assert np.isfinite(out[:4]).sum() == 4 * (width - 1)


@pytest.mark.parametrize("start", range(18))
@pytest.mark.parametrize("width", LANES)
def test_loads_and_stores_at_any_multiple_of_four_bytes(width, start):
    n = width + 24
    source, target = np.arange(n, dtype=np.float32), np.full(n, -1, np.float32)
    last = start + width - 1
    assert copy_one(source, target, start, last, np.float32(0.5), LANES[width]) == last
    expected = np.full(n, -1, np.float32)
    expected[start:last], expected[last] = source[start:last], 0.5
    np.testing.assert_array_equal(target, expected)


def test_broadcast_values_are_known_as_ones_by_their_type():
    assert is_all_ones(np.broadcast_to(np.float32(1.0), 5))
    assert not is_all_ones(np.ones(5, np.float32))


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.float32, np.float64, np.uint8])
def test_reads_of_every_dtype(dtype):
    array = np.array([1, 2, 100], dtype)
    assert read(array, 2) == 100
    array.setflags(write=False)
    assert read(array, 1) == 2
