"""Updates of dense parameters: one pass over a flat vector, its gradient and the states of its optimizer.

Threads run these on the same vectors without locks (Hogwild, arXiv 1106.5730).
"""

from __future__ import annotations

import math

import numpy as np

from fastfm_deep.kernels._jit import kernel, row_function
from fastfm_deep.kernels.network_layout import ADAGRAD, ADAM, SGD

TINY = 1e-30
"""Parameters and states closer to 0 become 0: numbers that decay end up so small that processors take a hundred
times as long for them, and their products."""

_DECAY = 0.9, 0.999
_EPSILON = 1e-8


@kernel
def update(parameters, states, gradients, scale, step):
    """One update by `scale` times the gradients (+ l2·p), with the rule of `step`."""
    if step.rule == ADAM:
        states.t[0] += 1
    # Two spans, so that no loop asks for each parameter whether it decays.
    n_decayed = np.uintp(step.n_decayed)
    none = parameters.dtype.type(0.0)
    for first, end, l2 in ((np.uintp(0), n_decayed, step.l2), (n_decayed, np.uintp(len(parameters)), none)):
        if step.rule == SGD:
            _update_sgd(parameters, states.first, gradients, scale, step, (first, end), l2)
        elif step.rule == ADAGRAD:
            _update_adagrad(parameters, states.first, gradients, scale, step, (first, end), l2)
        else:
            _update_adam(parameters, states, gradients, scale, step, (first, end), l2)


@row_function
def flushed(number, tiny):
    """The number, or 0 where it is smaller than `tiny`; NaN stays NaN.

    `tiny` is of the type of the number, as everything here: one float64 among them, even the product with an
    integer 0, and whole loops are computed in float64.
    """
    return tiny - tiny if abs(number) < tiny else number


@row_function
def _update_sgd(parameters, velocity, gradients, scale, step, span, l2):
    """U = momentum·u + g, p -= rate·u (Sutskever et al., ICML 2013)."""
    tiny = parameters.dtype.type(TINY)
    for i in range(span[0], span[1]):
        u = step.momentum * velocity[i] + scale * gradients[i] + l2 * parameters[i]
        velocity[i] = flushed(u, tiny)
        parameters[i] = flushed(parameters[i] - step.learning_rate * u, tiny)


@row_function
def _update_adagrad(parameters, squares, gradients, scale, step, span, l2):
    """G += g², p -= rate·g / sqrt(G) (Duchi et al., JMLR 12, 2011)."""
    tiny = parameters.dtype.type(TINY)
    for i in range(span[0], span[1]):
        g = scale * gradients[i] + l2 * parameters[i]
        grown = squares[i] + g * g
        squares[i] = grown
        parameters[i] = flushed(parameters[i] - step.learning_rate * g / math.sqrt(grown), tiny)


@row_function
def _update_adam(parameters, states, gradients, scale, step, span, l2):
    """m, u: moving averages of g and g²; p -= rate·m / (sqrt(u) + epsilon) (Kingma & Ba, arXiv 1412.6980).

    Rate and epsilon have the bias correction of section 2: rate·sqrt(1 - d2^t) / (1 - d1^t), and
    epsilon·sqrt(1 - d2^t).
    """
    m, u = states.first, states.second
    t = float(states.t[0])
    root = math.sqrt(1.0 - math.pow(_DECAY[1], t))
    number = parameters.dtype.type
    rate = number(step.learning_rate * root / (1.0 - math.pow(_DECAY[0], t)))
    epsilon = number(_EPSILON * root)
    new_m, new_u = number(1.0 - _DECAY[0]), number(1.0 - _DECAY[1])
    tiny = parameters.dtype.type(TINY)
    for i in range(span[0], span[1]):
        g = scale * gradients[i] + l2 * parameters[i]
        grown_m = m[i] + (g - m[i]) * new_m
        grown_u = u[i] + (g * g - u[i]) * new_u
        m[i] = flushed(grown_m, tiny)
        u[i] = flushed(grown_u, tiny)
        parameters[i] = flushed(parameters[i] - rate * grown_m / (math.sqrt(grown_u) + epsilon), tiny)
