"""Storages of factors: how far rounded numbers are off, and tables that are made smaller and whole again."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays as np_arrays

from fastfm_deep.model import storage
from fastfm_deep.model.storage import from_bfloat16, from_int8, to_bfloat16, to_int8

TINY = np.finfo(np.float32).smallest_subnormal
LARGEST = np.finfo(np.float32).max
FINITE = np_arrays(
    np.float32,
    st.tuples(st.integers(0, 6), st.integers(0, 5)),
    elements=st.floats(width=32, allow_nan=False, allow_infinity=False),
)


def nearest_bfloat16(number):
    """The slow way: of the bfloat16 numbers beside a float32 one the nearer, of two the even one."""
    low = int(np.float32(abs(number)).view(np.uint32)) >> 16
    values = [float(np.uint32(bits << 16).view(np.float32)) for bits in (low, min(low + 1, 0x7F7F))]
    below, above = abs(number) - values[0], values[1] - abs(number)
    chosen = values[0] if below < above or (below == above and low % 2 == 0) else values[1]
    return np.copysign(chosen, number)


@settings(deadline=None)
@given(table=FINITE)
def test_bfloat16_is_the_nearest(table):
    got = from_bfloat16(to_bfloat16(table))
    expected = np.array([nearest_bfloat16(float(number)) for number in table.ravel()], np.float32)
    assert got.tobytes() == expected.reshape(table.shape).tobytes()
    assert to_bfloat16(got).tobytes() == to_bfloat16(table).tobytes()


def test_bfloat16_at_its_ends():
    table = np.array([[LARGEST, -LARGEST, np.inf, -np.inf, np.nan, -0.0, TINY, 257 / 256, 259 / 256]], np.float32)
    got = from_bfloat16(to_bfloat16(table))[0]
    largest = float(np.uint32(0x7F7F0000).view(np.float32))
    assert got[:4].tolist() == [largest, -largest, np.inf, -np.inf]
    assert np.isnan(got[4])
    assert np.signbit(got[5])
    assert got[6] == 0.0
    assert got[7:].tolist() == [1.0, 260 / 256]  # of two the even one
    payload = np.array([[0x7F800001, 0xFFFFFFFF]], np.uint32).view(np.float32)
    assert np.isnan(from_bfloat16(to_bfloat16(payload))).all()


@settings(deadline=None)
@given(table=FINITE)
def test_int8_is_off_by_half_a_scale_at_most(table):
    stored_rows, scales = to_int8(table)
    assert (stored_rows.dtype, scales.dtype) == (np.int8, np.float32)
    assert (stored_rows.shape, scales.shape) == (table.shape, table.shape[:1])
    got = stored_rows.astype(np.float64) * scales[:, None].astype(np.float64)
    largest = np.abs(table).max(axis=1, initial=0.0).astype(np.float64)
    # Scales are rounded to float32, and quotients are: some units in the last place.
    assert (np.abs(got - table) <= scales[:, None] * (0.5 + 1e-4)).all()
    assert (scales <= largest / 127 * (1 + 1e-6) + TINY).all()
    assert ((scales > 0) == (largest > 0)).all()
    assert stored_rows.min(initial=0) >= -127
    np.testing.assert_array_equal(from_int8(stored_rows, scales), stored_rows * scales[:, None])


def test_int8_at_its_ends():
    table = np.array([[0, 0], [TINY, -TINY], [190 * TINY, -TINY], [LARGEST, 0], [-1, 1], [-0.0, 0]], np.float32)
    stored_rows, scales = to_int8(table)
    got = from_int8(stored_rows, scales)
    assert stored_rows[[0, 5]].tolist() == [[0, 0], [0, 0]]
    assert scales[[0, 5]].tolist() == [0, 0]
    assert scales[3] == storage.LARGEST_SCALE
    assert got[:3].tolist() == [[0, 0], [TINY, -TINY], [190 * TINY, 0]]
    np.testing.assert_allclose(got[3:5], table[3:5], rtol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_int8_of_what_is_not_finite_shows(bad):
    _, scales = to_int8(np.array([[1, 2], [3, bad]], np.float32))
    assert np.isfinite(scales).tolist() == [True, False]


def test_tables_are_taken_by_blocks():
    """Of a table of 32 MB no second one in float32 is made, nor of its float64 twin."""
    table = np.random.default_rng(0).standard_normal((500_000, 16), np.float32)
    tracemalloc.start()
    try:
        for convert, back, size in ((to_bfloat16, from_bfloat16, 2), (to_int8, from_int8, 1)):
            tracemalloc.reset_peak()
            found = convert(table)
            assert tracemalloc.get_traced_memory()[1] < table.size * size + 12_000_000
            pair = found if isinstance(found, tuple) else (found,)
            wide = np.zeros((500_000, 20), np.float32)
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            assert back(*pair, out=wide[:, :16]).base is wide
            assert tracemalloc.get_traced_memory()[1] < before + 12_000_000
            # As small tables are, piece by piece.
            parts = [convert(table[first : first + 1000]) for first in (0, 499_000)]
            parts = [part if isinstance(part, tuple) else (part,) for part in parts]
            np.testing.assert_array_equal(wide[:1000, :16], back(*parts[0]))
            np.testing.assert_array_equal(wide[-1000:, :16], back(*parts[1]))
            assert not wide[:, 16:].any()
            del found, pair, wide, parts
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", storage.STORAGES)
@pytest.mark.parametrize("n_factors", [0, 1, 5])
@pytest.mark.parametrize("block", [1, 7, 1 << 18])
def test_reduced_tables_and_the_way_back(monkeypatch, kind, n_factors, block):
    monkeypatch.setattr(storage, "_BLOCK", block)
    rng = np.random.default_rng(0)
    factors = rng.standard_normal((9 if n_factors else 0, n_factors)).astype(np.float32)
    weights = rng.standard_normal(9).astype(np.float32)
    for kept in (None, np.array([0, 1, 1, 0, 0, 1, 0, 1, 1], bool), np.zeros(9, bool)):
        rows, linear = storage.reduced_tables(kind, factors, weights, kept)
        n_rows = 9 if kept is None else 1 + kept.sum()
        assert rows.shape == (n_rows if n_factors else 0, n_factors)
        assert linear.shape == ((n_rows, 2) if kind == "int8" else (n_rows,))
        got, got_weights = np.full((9, n_factors), 7, np.float32), np.full(9, 7, np.float32)
        storage.write_dense(kind, rows, linear.reshape(n_rows, -1), kept, got, got_weights)
        chosen = np.ones(9, bool) if kept is None else kept
        assert got_weights[chosen].tobytes() == weights[chosen].tobytes()
        assert (got_weights[~chosen] == 7).all()
        assert (got[~chosen] == 7).all()
        if n_factors:
            whole = {"float32": lambda x: x, "bfloat16": lambda x: from_bfloat16(to_bfloat16(x))}.get(
                kind, lambda x: from_int8(*to_int8(x))
            )
            np.testing.assert_array_equal(got[chosen], whole(factors)[chosen])
        if kept is not None:
            assert not rows[:1].any()
            assert not linear[0].any()
