"""Scores of many items for one user, of whom everything has been added up already, and the best of them.

Linear and pair terms of a row that is made of two parts u and i are those of the parts, plus s_u · s_i: from
½ Σ_f [(s_u + s_i)² - q_u - q_i] (Rendle, ICDM 2010, lemma 3.1). The products of a network's first layer are sums
of those of the parts likewise.
"""

from __future__ import annotations

import numpy as np

from fastfm_deep.kernels import lanes as ln
from fastfm_deep.kernels import network
from fastfm_deep.kernels._jit import BOUNDS_CHECKED, JIT_ENABLED, kernel
from fastfm_deep.kernels.forward import forward_from_first, multiply_first, point_at_packed
from fastfm_deep.kernels.network import first_weights
from fastfm_deep.kernels.pointers import FLOAT_BYTES
from fastfm_deep.kernels.rounding import flush_denormals, restore_mode

# Items whose scores stay in the first-level cache while factor after factor is added.
_BLOCK = 1024


@kernel
def score_pairs(raw, turned, start, user_raw, user_sums, scores):
    """Scores of the items from `start` on, as many as `scores` is long, without a network.

    `turned`, (n_factors, n_items), are the sums of the items factor by factor, so that vectors go over items.
    """
    total = np.empty(_BLOCK, np.float32)
    for first in range(0, len(scores), _BLOCK):
        n = min(_BLOCK, len(scores) - first)
        for i in range(n):
            total[i] = raw[start + first + i]
        for f in range(len(user_sums)):
            s, of_items = user_sums[f], turned[f, start + first : start + first + n]
            for i in range(n):
                total[i] += s * of_items[i]
        for i in range(n):
            scores[first + i] = user_raw + total[i]


def multiply_first_lanes(inputs, packed, out):
    """Products of a network's first layer to `out` (n, padded units), of inputs (n, n_vectors, padded factors)."""
    network = point_at_packed(packed)
    no_shifts = np.zeros(out.shape[1], np.float32)
    input_bytes = inputs.shape[1] * inputs.shape[2] * FLOAT_BYTES
    to_inputs, to_out = (ln.address_of(ln.pointer(inputs), 0), ln.address_of(ln.pointer(out), 0))
    before = flush_denormals()
    multiply_first(network, to_inputs, input_bytes, len(out), ln.address_of(ln.pointer(no_shifts), 0), to_out)
    restore_mode(before)
    ln.keep(no_shifts)


def multiply_first_plain(inputs, net, out):
    """`multiply_first_lanes`, readable, of a network as it is trained."""
    width = inputs.shape[1] * inputs.shape[2]
    np.dot(inputs.reshape(len(out), width), first_weights(net.parameters, net.widths), out)


def add_network_lanes(first, shared, packed, room, scores):
    """Add to the scores of items what the network says, given the products of its first layer, (n, n_units).

    `shared`, (n_units,), are the products of the user, and the shifts of a packed network; `room` is scratch.
    """
    before = flush_denormals()
    to_products, to_shared = (ln.address_of(ln.pointer(first), 0), ln.address_of(ln.pointer(shared), 0))
    to_room = ln.address_of(ln.pointer(room), 0)
    forward_from_first(point_at_packed(packed), to_products, to_shared, len(scores), to_room, ln.pointer(scores))
    restore_mode(before)


def add_network_plain(first, shared, net, room, scores):
    """`add_network_lanes`, readable, in blocks of as many rows as a `NetworkRoom` has room for."""
    before = flush_denormals()
    n_units = net.widths[1]
    n_block = len(room.answers)
    for start in range(0, len(scores), n_block):
        n = min(n_block, len(scores) - start)
        z = network.first_products(net, room, n)
        for i in range(n):
            for j in range(n_units):
                z[i, j] = first[start + i, j] + shared[j]
        network.forward_from_first(net, room, n, False)
        for i in range(n):
            scores[start + i] += room.answers[i]
    restore_mode(before)


# Lanes go by address: they cannot run uncompiled, and no bounds are checked.
if JIT_ENABLED and not BOUNDS_CHECKED:
    multiply_first_rows, add_network = (kernel(multiply_first_lanes), kernel(add_network_lanes))
else:
    multiply_first_rows, add_network = (kernel(multiply_first_plain), kernel(add_network_plain))


@kernel
def keep_largest(scores, best, places):
    """Put the largest scores into `best`, in no order, and where they stand into `places`; returns how many.

    A heap whose smallest is at its top: what does not beat that costs one comparison. -inf never counts.
    """
    n = 0
    for i in range(len(scores)):
        x = scores[i]
        if not x > -np.inf:
            continue
        if n < len(best):
            at = n
            n += 1
            while at > 0 and best[(at - 1) >> 1] > x:
                best[at], places[at] = best[(at - 1) >> 1], places[(at - 1) >> 1]
                at = (at - 1) >> 1
        elif x > best[0]:
            at = 0
            while True:
                child = 2 * at + 1
                if child >= n:
                    break
                if child + 1 < n and best[child + 1] < best[child]:
                    child += 1
                if best[child] >= x:
                    break
                best[at], places[at] = best[child], places[child]
                at = child
        else:
            continue
        best[at], places[at] = x, i
    return n
