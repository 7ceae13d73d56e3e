"""The first layer of the network, column by column instead of row by row.

Rows of click logs name the same columns again and again: of the non-zeros of a micro-batch some quarter are
different ones. The first layer is linear, z = Σ x_i (v_i W_field(i)), so v_i W_field(i) is computed once for each
*slot* (see `slots`), and a row adds up those of its columns. On the way back a slot collects Σ x ∂z of its
rows, and the products with v_i and W_field are taken once. The field vectors themselves never come to be.

Units are taken `UNITS` at a time, so that what all slots have of them stays in the cache. Each loop stands here
twice: `*_plain`, readable, and `*_lanes`, with vectors and addresses.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastfm_deep.kernels import lanes as ln
from fastfm_deep.kernels._jit import BOUNDS_CHECKED, JIT_ENABLED, has_feature, kernel, row_function
from fastfm_deep.kernels.pointers import FLOAT_BYTES

_ZERO = np.float32(0.0)
_ONE = np.float32(1.0)
_WIDE = ln.LANES[16 if has_feature("avx512f") else 8]
_LANE_BYTES = len(_WIDE) * FLOAT_BYTES

UNITS = 2 * len(_WIDE)
"""Hidden units that are computed at a time."""

_SLOT_BYTES = UNITS * FLOAT_BYTES
# Slots of a field whose numbers stay in the nearest cache from one product to the next.
_NEAR = 64
# Rough costs in multiplications of a matrix product, per unit: of a factor of a slot, and of a non-zero.
_SLOT_COST = 1.4
_VALUE_COST = 3.0


class FirstRoom(NamedTuple):
    """What one thread needs for the first layer of a micro-batch.

    products : float32 (n, UNITS), of each slot; then the gradients it collects. (0, UNITS) where this way is never
        taken.
    sorted : int32 (n,), slots by field; starts : int64 (n_fields + 2,), where those of field f - 1 start.
    packed : float32 (n_factors, UNITS); turned : float32 (UNITS, padded_factors).
    eagerness : float, how many times the work of the usual way this one may seem to be.
    """

    products: np.ndarray
    sorted: np.ndarray
    starts: np.ndarray
    packed: np.ndarray
    turned: np.ndarray
    eagerness: float


@row_function
def is_worth_it(room, n_slots, n_values, n_inputs, n_rows, n_factors, n_units):
    """Whether this way is the faster one for a micro-batch."""
    if n_slots > len(room.products):
        return False
    padded_units = -(-n_units // UNITS) * UNITS
    work = (_SLOT_COST * n_slots * n_factors + _VALUE_COST * n_values) * padded_units
    return work < room.eagerness * n_rows * n_inputs * n_units


@kernel
def sort_by_field(fields, n_slots, starts, sorted_slots):
    """Sort slots by their field, -1 for none (counting sort)."""
    starts[:] = 0
    for slot in range(n_slots):
        if fields[slot] + 2 < len(starts):
            starts[fields[slot] + 2] += 1
    for f in range(2, len(starts)):
        starts[f] += starts[f - 1]
    # Each start serves as the place of the next one, and so moves to where the next field's starts.
    for slot in range(n_slots):
        place = starts[fields[slot] + 1]
        sorted_slots[place] = slot
        starts[fields[slot] + 1] = place + 1
    for f in range(len(starts) - 1, 0, -1):
        starts[f] = starts[f - 1]
    starts[0] = 0


@kernel
def forward(weights, rows, factors, n_factors, room, z):
    """The products of the first layer, into z (n_rows, n_units).

    weights : (n_fields * n_factors, n_units); rows : BatchRows; factors : (n_slots, padded_factors).
    """
    n_units, starts = weights.shape[1], room.starts
    for unit in range(0, n_units, UNITS):
        for place in range(starts[1]):  # columns without a field
            room.products[room.sorted[place]] = _ZERO
        for field in range(len(starts) - 2):
            first, end = starts[field + 1], starts[field + 2]
            if first < end:
                _pack(weights, field * n_factors, n_factors, unit, room.packed)
                multiply_slots(factors, n_factors, room.sorted, first, end, room.packed, room.products)
        add_up_rows(rows, room.products, room.packed, z, unit)


@kernel
def backward(weights, rows, factors, n_factors, room, behind, of_weights, gradients, lanes, blocks):
    """From ∂loss/∂z in `behind` to that of the weights, and of the factors, which is added to `gradients`."""
    n_units, starts = weights.shape[1], room.starts
    n_slots = starts[len(starts) - 1]
    for unit in range(0, n_units, UNITS):
        room.products[:n_slots] = _ZERO
        spread_rows(rows, room.products, room.packed, behind, unit)
        for field in range(len(starts) - 2):
            first, end = starts[field + 1], starts[field + 2]
            row = field * n_factors
            if first == end:
                of_weights[row : row + n_factors, unit : unit + UNITS] = _ZERO
                continue
            _turn(weights, row, n_factors, unit, room.turned)
            room.packed[:n_factors] = _ZERO
            for place in range(first, end, _NEAR):
                stop = min(place + _NEAR, end)
                add_up_products(factors, n_factors, room.sorted, place, stop, room.products, room.packed)
                multiply_back(room.products, room.sorted, place, stop, room.turned, gradients, lanes, blocks)
            width = min(UNITS, n_units - unit)
            for f in range(np.uintp(n_factors)):
                for u in range(np.uintp(width)):
                    of_weights[np.uintp(row) + f, np.uintp(unit) + u] = room.packed[f, u]


@row_function
def _pack(weights, row, n_factors, unit, packed):
    """Copy the weights of a field for UNITS units from `unit` on; those beyond the last are 0."""
    width = min(UNITS, weights.shape[1] - unit)
    for f in range(np.uintp(n_factors)):
        for u in range(np.uintp(width)):
            packed[f, u] = weights[np.uintp(row) + f, np.uintp(unit) + u]
        for u in range(np.uintp(width), np.uintp(UNITS)):
            packed[f, u] = _ZERO


@row_function
def _turn(weights, row, n_factors, unit, turned):
    """Transpose what `_pack` copies; padding of the factors stays 0."""
    width = min(UNITS, weights.shape[1] - unit)
    for u in range(np.uintp(width)):
        for f in range(np.uintp(n_factors)):
            turned[u, f] = weights[np.uintp(row) + f, np.uintp(unit) + u]
    for u in range(np.uintp(width), np.uintp(UNITS)):
        for f in range(np.uintp(n_factors)):
            turned[u, f] = _ZERO


# Plain loops ------------------------------------------------------------------------------------------------


def multiply_slots_plain(factors, n_factors, sorted_slots, first, end, packed, products):
    """The products v W of the slots of one field."""
    for place in range(first, end):
        slot = sorted_slots[place]
        for u in range(UNITS):
            total = _ZERO
            for f in range(n_factors):
                total += factors[slot, f] * packed[f, u]
            products[slot, u] = total


def add_up_rows_plain(rows, products, packed, z, unit):
    """Σ x products of each row, into the columns of z from `unit` on."""
    for row in range(len(rows.indptr) - 1):
        for u in range(min(UNITS, z.shape[1] - unit)):
            total = _ZERO
            for p in range(rows.indptr[row], rows.indptr[row + 1]):
                total += rows.values[p] * products[rows.indices[p], u]
            z[row, unit + u] = total


def spread_rows_plain(rows, products, packed, behind, unit):
    """Add x ∂z of each row to its slots."""
    for row in range(len(rows.indptr) - 1):
        for p in range(rows.indptr[row], rows.indptr[row + 1]):
            for u in range(min(UNITS, behind.shape[1] - unit)):
                products[rows.indices[p], u] += rows.values[p] * behind[row, unit + u]


def add_up_products_plain(factors, n_factors, sorted_slots, first, end, products, packed):
    """Σ v_f products over slots of one field, added to the rows f of `packed`."""
    for f in range(n_factors):
        for u in range(UNITS):
            total = packed[f, u]
            for place in range(first, end):
                total += factors[sorted_slots[place], f] * products[sorted_slots[place], u]
            packed[f, u] = total


def multiply_back_plain(products, sorted_slots, first, end, turned, gradients, lanes, blocks):
    """Add products W' of the slots of one field to their gradients."""
    for place in range(first, end):
        slot = sorted_slots[place]
        for f in range(turned.shape[1]):
            total = _ZERO
            for u in range(UNITS):
                total += products[slot, u] * turned[u, f]
            gradients[slot, f] += total


# Lanes: two vectors are UNITS numbers, and eight sums at a time keep a processor busy -------------------------


@row_function
def _zeros():
    return ln.zeros(_WIDE), ln.zeros(_WIDE)


@row_function
def _load(address):
    return ln.load(_WIDE, address), ln.load(_WIDE, address + _LANE_BYTES)


@row_function
def _store(address, units):
    ln.store(address, units[0])
    ln.store(address + _LANE_BYTES, units[1])


@row_function
def _add(left, right):
    return ln.add(left[0], right[0]), ln.add(left[1], right[1])


@row_function
def _add_scaled(totals, x, units):
    """Return totals + x units."""
    wide = ln.splat(_WIDE, x)
    return ln.add(totals[0], ln.multiply(wide, units[0])), ln.add(totals[1], ln.multiply(wide, units[1]))


@row_function
def _four_slots(slots, place, end):
    """Four slots from `place` on, the last one again where there are no more."""
    return (
        np.intp(ln.at(slots, min(place, end - 1))),
        np.intp(ln.at(slots, min(place + 1, end - 1))),
        np.intp(ln.at(slots, min(place + 2, end - 1))),
        np.intp(ln.at(slots, min(place + 3, end - 1))),
    )


@row_function
def _value(values, p):
    return _ONE if ln.all_ones(values) else ln.at(values, p)


def multiply_slots_lanes(factors, n_factors, sorted_slots, first, end, packed, products):
    """`multiply_slots_plain`, four slots at a time."""
    v, slots, width = ln.pointer(factors), ln.pointer(sorted_slots), np.intp(factors.shape[1])
    w, out = ln.address_of(ln.pointer(packed), 0), ln.address_of(ln.pointer(products), 0)
    for place in range(first, end, 4):
        a, b, c, d = _four_slots(slots, place, end)
        of_a, of_b, of_c, of_d = _zeros(), _zeros(), _zeros(), _zeros()
        for f in range(n_factors):
            weights = _load(w + f * _SLOT_BYTES)
            of_a = _add_scaled(of_a, ln.at(v, a * width + f), weights)
            of_b = _add_scaled(of_b, ln.at(v, b * width + f), weights)
            of_c = _add_scaled(of_c, ln.at(v, c * width + f), weights)
            of_d = _add_scaled(of_d, ln.at(v, d * width + f), weights)
        _store(out + a * _SLOT_BYTES, of_a)
        _store(out + b * _SLOT_BYTES, of_b)
        _store(out + c * _SLOT_BYTES, of_c)
        _store(out + d * _SLOT_BYTES, of_d)


def add_up_rows_lanes(rows, products, packed, z, unit):
    """`add_up_rows_plain`, four non-zeros at a time; `packed` is scratch."""
    indices, values, indptr = ln.pointer(rows.indices), ln.pointer(rows.values), ln.pointer(rows.indptr)
    at, to_z, scratch = ln.address_of(ln.pointer(products), 0), ln.pointer(z), ln.pointer(packed)
    n_units = np.intp(z.shape[1])
    width = min(UNITS, n_units - unit)
    for row in range(len(rows.indptr) - 1):
        first, end = ln.at(indptr, row), ln.at(indptr, row + 1)
        a, b, c, d = _zeros(), _zeros(), _zeros(), _zeros()
        fours = end - (end - first) % 4
        for p in range(first, fours, 4):
            a = _add_scaled(a, _value(values, p), _load(at + np.intp(ln.at(indices, p)) * _SLOT_BYTES))
            b = _add_scaled(b, _value(values, p + 1), _load(at + np.intp(ln.at(indices, p + 1)) * _SLOT_BYTES))
            c = _add_scaled(c, _value(values, p + 2), _load(at + np.intp(ln.at(indices, p + 2)) * _SLOT_BYTES))
            d = _add_scaled(d, _value(values, p + 3), _load(at + np.intp(ln.at(indices, p + 3)) * _SLOT_BYTES))
        for p in range(fours, end):
            a = _add_scaled(a, _value(values, p), _load(at + np.intp(ln.at(indices, p)) * _SLOT_BYTES))
        total = _add(_add(a, b), _add(c, d))
        if width == UNITS:
            _store(ln.address_of(to_z, row * n_units + unit), total)
        else:
            _store(ln.address_of(scratch, 0), total)
            for u in range(width):
                ln.put(to_z, row * n_units + unit + u, ln.at(scratch, u))


def spread_rows_lanes(rows, products, packed, behind, unit):
    """`spread_rows_plain`; `packed` is scratch."""
    indices, values, indptr = ln.pointer(rows.indices), ln.pointer(rows.values), ln.pointer(rows.indptr)
    at, from_z, scratch = ln.address_of(ln.pointer(products), 0), ln.pointer(behind), ln.pointer(packed)
    n_units = np.intp(behind.shape[1])
    width = min(UNITS, n_units - unit)
    for u in range(UNITS):
        ln.put(scratch, u, _ZERO)
    for row in range(len(rows.indptr) - 1):
        here = ln.address_of(from_z, row * n_units + unit)
        if width < UNITS:
            for u in range(width):
                ln.put(scratch, u, ln.at(from_z, row * n_units + unit + u))
            here = ln.address_of(scratch, 0)
        gradients = _load(here)
        for p in range(ln.at(indptr, row), ln.at(indptr, row + 1)):
            to = at + np.intp(ln.at(indices, p)) * _SLOT_BYTES
            _store(to, _add_scaled(_load(to), _value(values, p), gradients))


def add_up_products_lanes(factors, n_factors, sorted_slots, first, end, products, packed):
    """`add_up_products_plain`, four factors at a time."""
    v, slots, width = ln.pointer(factors), ln.pointer(sorted_slots), np.intp(factors.shape[1])
    at, out = ln.address_of(ln.pointer(products), 0), ln.address_of(ln.pointer(packed), 0)
    for f in range(0, n_factors, 4):
        g, h, i = min(f + 1, n_factors - 1), min(f + 2, n_factors - 1), min(f + 3, n_factors - 1)
        of_f, of_g = _load(out + f * _SLOT_BYTES), _load(out + g * _SLOT_BYTES)
        of_h, of_i = _load(out + h * _SLOT_BYTES), _load(out + i * _SLOT_BYTES)
        for place in range(first, end):
            slot = np.intp(ln.at(slots, place))
            units = _load(at + slot * _SLOT_BYTES)
            of_f = _add_scaled(of_f, ln.at(v, slot * width + f), units)
            of_g = _add_scaled(of_g, ln.at(v, slot * width + g), units)
            of_h = _add_scaled(of_h, ln.at(v, slot * width + h), units)
            of_i = _add_scaled(of_i, ln.at(v, slot * width + i), units)
        # All were loaded before the first is stored: a factor that stands in for one beyond the last is right.
        _store(out + f * _SLOT_BYTES, of_f)
        _store(out + g * _SLOT_BYTES, of_g)
        _store(out + h * _SLOT_BYTES, of_h)
        _store(out + i * _SLOT_BYTES, of_i)


@row_function
def _add_each(totals, products, slots, u, lanes, vector):
    """Return totals + the products of each of four slots for unit u, times `vector`."""
    return (
        ln.add(totals[0], ln.multiply(ln.splat(lanes, ln.at(products, slots[0] * UNITS + u)), vector)),
        ln.add(totals[1], ln.multiply(ln.splat(lanes, ln.at(products, slots[1] * UNITS + u)), vector)),
        ln.add(totals[2], ln.multiply(ln.splat(lanes, ln.at(products, slots[2] * UNITS + u)), vector)),
        ln.add(totals[3], ln.multiply(ln.splat(lanes, ln.at(products, slots[3] * UNITS + u)), vector)),
    )


def multiply_back_lanes(products, sorted_slots, first, end, turned, gradients, lanes, blocks):
    """`multiply_back_plain`, eight slots at a time."""
    slots, numbers = ln.pointer(sorted_slots), ln.pointer(products)
    w, out = ln.address_of(ln.pointer(turned), 0), ln.address_of(ln.pointer(gradients), 0)
    row_bytes = len(lanes) * FLOAT_BYTES if len(blocks) == 1 else np.intp(turned.shape[1] * FLOAT_BYTES)
    for away in range(0, row_bytes, len(lanes) * FLOAT_BYTES):
        for place in range(first, end, 8):
            these, others = _four_slots(slots, place, end), _four_slots(slots, place + 4, end)
            nothing = ln.zeros(lanes)
            of_these = of_others = (nothing, nothing, nothing, nothing)
            for u in range(UNITS):
                vector = ln.load(lanes, w + u * row_bytes + away)
                of_these = _add_each(of_these, numbers, these, u, lanes, vector)
                of_others = _add_each(of_others, numbers, others, u, lanes, vector)
            n = end - place
            _add_to(out + these[0] * row_bytes + away, of_these[0], lanes)
            if n > 1:
                _add_to(out + these[1] * row_bytes + away, of_these[1], lanes)
            if n > 2:
                _add_to(out + these[2] * row_bytes + away, of_these[2], lanes)
            if n > 3:
                _add_to(out + these[3] * row_bytes + away, of_these[3], lanes)
            if n > 4:
                _add_to(out + others[0] * row_bytes + away, of_others[0], lanes)
            if n > 5:
                _add_to(out + others[1] * row_bytes + away, of_others[1], lanes)
            if n > 6:
                _add_to(out + others[2] * row_bytes + away, of_others[2], lanes)
            if n > 7:
                _add_to(out + others[3] * row_bytes + away, of_others[3], lanes)


@row_function
def _add_to(address, vector, lanes):
    ln.store(address, ln.add(ln.load(lanes, address), vector))


# Lanes go by address: they cannot run uncompiled, and no bounds are checked.
_with_lanes = JIT_ENABLED and not BOUNDS_CHECKED
multiply_slots = kernel(multiply_slots_lanes if _with_lanes else multiply_slots_plain)
add_up_rows = kernel(add_up_rows_lanes if _with_lanes else add_up_rows_plain)
spread_rows = kernel(spread_rows_lanes if _with_lanes else spread_rows_plain)
add_up_products = kernel(add_up_products_lanes if _with_lanes else add_up_products_plain)
multiply_back = kernel(multiply_back_lanes if _with_lanes else multiply_back_plain)
