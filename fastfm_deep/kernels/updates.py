"""The update rules: how a gradient changes one parameter and its state.

Each rule stands here twice: for one number of an array (the plain loops), and for a vector of lanes. What a rule
remembers lies beside the parameter:

================  ===========================  =================
rule              a row of the linear table    a row of factors
================  ===========================  =================
sgd               w                            v
adagrad           w, G                         v, G
adagrad_rowwise   w, G, G of the factors, 0    v
adam              w, m, u, count               v, m, u
ftrl              w, z, n, 0                   v, G
================  ===========================  =================

G: sum of squared gradients, starting at 1 (as in libffm; Duchi et al. 2011). m, u: first and second moment
(Kingma & Ba, arXiv 1412.6980), moved only when the feature occurs; `count` is how often it did, so that the
bias correction of a rare feature is its own. z, n: FTRL-Proximal (McMahan et al. 2013, algorithm 1), for the
linear weights, where its L1 makes zeros; without L1 and L2 it is AdaGrad written differently, and AdaGrad is
what the factors take.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from fastfm_deep.kernels import lanes as ln
from fastfm_deep.kernels._jit import row_function

SGD = 0
ADAGRAD = 1
ADAGRAD_ROWWISE = 2
ADAM = 3
FTRL = 4


class Rule(NamedTuple):
    """What the tables must hold for an update rule."""

    id: int
    linear_width: int  # numbers per feature in the linear table
    factor_states: int  # numbers kept per factor beside the factor itself
    start: tuple[float, ...]  # the state of a linear weight before its first update
    factor_start: float  # the state of a factor before its first update

    @property
    def marker(self) -> tuple[int, ...]:
        """What stands for the rule in `Step`."""
        return (0,) * self.id


RULES = {
    "sgd": Rule(SGD, 1, 0, (), 0.0),
    "adagrad": Rule(ADAGRAD, 2, 1, (1.0,), 1.0),
    "adagrad_rowwise": Rule(ADAGRAD_ROWWISE, 4, 0, (1.0, 1.0, 0.0), 0.0),
    "adam": Rule(ADAM, 4, 2, (0.0, 0.0, 0.0), 0.0),
    "ftrl": Rule(FTRL, 4, 1, (0.0, 0.0, 0.0), 1.0),
}

ADAM_DECAY = (0.9, 0.999)
_M = np.float32(ADAM_DECAY[0])
_U = np.float32(ADAM_DECAY[1])
_M_NEW = np.float32(1.0 - ADAM_DECAY[0])
_U_NEW = np.float32(1.0 - ADAM_DECAY[1])
ADAM_EPSILON = 1e-8
_EPSILON = np.float32(ADAM_EPSILON)
_LOG_M = np.float32(math.log(ADAM_DECAY[0]))
_LOG_U = np.float32(math.log(ADAM_DECAY[1]))
_CORRECTED = np.float32(20_000.0)  # updates after which Adam's bias correction is 1 in float32
_ONE = np.float32(1.0)
_ZERO = np.float32(0.0)


class Step(NamedTuple):
    """What one update needs to know; scalars only, so that passing it on costs no reference count.

    The rule is told by the length of a tuple: its type, so that a kernel is compiled for each rule alone.
    """

    loss: int
    rule: tuple[int, ...]
    learning_rate: np.float32
    l2_linear: np.float32
    l2_factors: np.float32
    l1_linear: np.float32
    max_gradient: np.float32  # bound on |∂loss/∂raw score| of a row
    n_factors: np.float32  # without padding, at least 1; for the mean square of a row's gradient


@row_function
def linear_width(step):
    """As in `RULES`, for kernels."""
    rule = len(step.rule)
    return 1 if rule == SGD else 2 if rule == ADAGRAD else 4


@row_function
def factor_states(step):
    """As in `RULES`, for kernels."""
    rule = len(step.rule)
    return 2 if rule == ADAM else 0 if rule in (SGD, ADAGRAD_ROWWISE) else 1


@row_function
def update_weight(step, table, at, gradient, l2, l1):
    """Change the weight `table[at]` and the state that follows it, by its gradient without the L2 part."""
    weight = table[at]
    if len(step.rule) == FTRL:
        z, n = table[at + np.uintp(1)], table[at + np.uintp(2)]
        grown = n + gradient * gradient
        z += gradient - (math.sqrt(grown) - math.sqrt(n)) / step.learning_rate * weight
        table[at + np.uintp(1)], table[at + np.uintp(2)] = z, grown
        beyond = abs(z) - l1
        if beyond <= _ZERO:
            table[at] = _ZERO
        else:
            table[at] = -math.copysign(beyond, z) / ((_ONE + math.sqrt(grown)) / step.learning_rate + l2)
        return
    gradient += l2 * weight
    if len(step.rule) == ADAGRAD or len(step.rule) == ADAGRAD_ROWWISE:
        grown = table[at + np.uintp(1)] + gradient * gradient
        table[at + np.uintp(1)] = grown
        table[at] = weight - step.learning_rate * gradient / math.sqrt(grown)
    elif len(step.rule) == ADAM:
        count = table[at + np.uintp(3)] + _ONE
        table[at + np.uintp(3)] = count
        m = _M * table[at + np.uintp(1)] + _M_NEW * gradient
        u = _U * table[at + np.uintp(2)] + _U_NEW * gradient * gradient
        table[at + np.uintp(1)], table[at + np.uintp(2)] = m, u
        table[at] = weight - adam_rate(step, count) * m / (math.sqrt(u) + _EPSILON)
    else:
        table[at] = weight - step.learning_rate * gradient


@row_function
def adam_rate(step, count):
    """The learning rate with Adam's bias correction, sqrt(1 - 0.999^t) / (1 - 0.9^t), after `count` updates."""
    if count > _CORRECTED:
        return step.learning_rate
    correction = math.sqrt(-math.expm1(_LOG_U * count)) / -math.expm1(_LOG_M * count)
    return step.learning_rate * np.float32(correction)


@row_function
def update_factor(step, table, at, states, gradient, rate):
    """Change the factor `table[at]`, whose states lie `states` and twice `states` numbers further on.

    `gradient` is without the L2 part; `rate` is used where the rule has one rate for the whole row.
    """
    factor = table[at]
    gradient += step.l2_factors * factor
    if len(step.rule) == ADAGRAD or len(step.rule) == FTRL:
        grown = table[at + states] + gradient * gradient
        table[at + states] = grown
        table[at] = factor - step.learning_rate * gradient / math.sqrt(grown)
    elif len(step.rule) == ADAM:
        m = _M * table[at + states] + _M_NEW * gradient
        u = _U * table[at + states + states] + _U_NEW * gradient * gradient
        table[at + states], table[at + states + states] = m, u
        table[at] = factor - rate * m / (math.sqrt(u) + _EPSILON)
    else:
        table[at] = factor - rate * gradient


@row_function
def row_rate(step, linear, at, mean_square):
    """The rate of a whole row of factors, whose linear weight is `linear[at]`; AdaGrad's row sum grows here."""
    if len(step.rule) == ADAGRAD_ROWWISE:
        grown = linear[at + np.uintp(2)] + mean_square
        linear[at + np.uintp(2)] = grown
        return step.learning_rate / np.float32(math.sqrt(grown))
    if len(step.rule) == ADAM:
        return adam_rate(step, linear[at + np.uintp(3)])
    return step.learning_rate


@row_function
def update_lanes(rule, learning_rate, lanes, address, states, gradient, rate):
    """Change the lanes at `address`, whose states lie `states` and twice `states` bytes further on.

    `gradient` has its L2 part; `rate` is used where the rule has one rate for the whole row.
    """
    if rule in (ADAGRAD, FTRL):
        grown = ln.add(ln.load(lanes, address + states), ln.multiply(gradient, gradient))
        ln.store(address + states, grown)
        change = ln.divide(ln.multiply(ln.splat(lanes, learning_rate), gradient), ln.square_root(grown))
    elif rule == ADAM:
        m = ln.multiply(ln.splat(lanes, _M), ln.load(lanes, address + states))
        m = ln.add(m, ln.multiply(ln.splat(lanes, _M_NEW), gradient))
        u = ln.multiply(ln.splat(lanes, _U), ln.load(lanes, address + states + states))
        u = ln.add(u, ln.multiply(ln.splat(lanes, _U_NEW), ln.multiply(gradient, gradient)))
        ln.store(address + states, m)
        ln.store(address + states + states, u)
        root = ln.add(ln.square_root(u), ln.splat(lanes, _EPSILON))
        change = ln.divide(ln.multiply(ln.splat(lanes, rate), m), root)
    else:
        change = ln.multiply(ln.splat(lanes, rate), gradient)
    ln.store(address, ln.subtract(ln.load(lanes, address), change))


@row_function
def update_weight_lanes(step, linear, at, gradient, l2, l1):
    """`update_weight` for a pointer to the linear table: FTRL by itself, the other rules as one lane."""
    weight = ln.at(linear, at)
    if len(step.rule) == FTRL:
        z, n = ln.at(linear, at + 1), ln.at(linear, at + 2)
        grown = n + gradient * gradient
        z += gradient - (math.sqrt(grown) - math.sqrt(n)) / step.learning_rate * weight
        ln.put(linear, at + 1, z)
        ln.put(linear, at + 2, grown)
        beyond = abs(z) - l1
        weight = -math.copysign(beyond, z) / ((_ONE + math.sqrt(grown)) / step.learning_rate + l2)
        ln.put(linear, at, weight if beyond > _ZERO else _ZERO)
        return
    rule, rate = len(step.rule), step.learning_rate
    if rule == ADAGRAD_ROWWISE:
        rule = ADAGRAD
    elif rule == ADAM:
        count = ln.at(linear, at + 3) + _ONE
        ln.put(linear, at + 3, count)
        rate = adam_rate(step, count)
    one = (0,)
    gradient += l2 * weight
    update_lanes(rule, step.learning_rate, one, ln.address_of(linear, at), 4, ln.splat(one, gradient), rate)


@row_function
def row_rate_lanes(step, linear, at, mean_square):
    """`row_rate` for a pointer to the linear table."""
    if len(step.rule) == ADAGRAD_ROWWISE:
        grown = ln.at(linear, at + 2) + mean_square
        ln.put(linear, at + 2, grown)
        return step.learning_rate / np.float32(math.sqrt(grown))
    if len(step.rule) == ADAM:
        return adam_rate(step, ln.at(linear, at + 3))
    return step.learning_rate
