"""Updates of dense parameters: one pass over a flat vector, its gradient and the states of its optimizer.

Threads run these on the same vectors without locks (Hogwild, arXiv 1106.5730).
"""

from __future__ import annotations

import math

import numpy as np

from fastfm_deep.kernels._jit import kernel

TINY = 1e-30
"""States closer to 0 become 0: decaying numbers end up so small that processors take far longer for them."""


@kernel
def update_sgd(parameters, velocity, gradients, scale, rate, momentum, l2, n_decayed):
    """U = momentum·u + g, p -= rate·u (Sutskever et al., ICML 2013); g = scale·gradient (+ l2·p)."""
    for i in range(np.uintp(len(parameters))):
        g = scale * gradients[i]
        if i < np.uintp(n_decayed):
            g += l2 * parameters[i]
        u = momentum * velocity[i] + g
        velocity[i] = u if abs(u) > TINY else u * 0
        parameters[i] -= rate * u


@kernel
def update_adagrad(parameters, squares, gradients, scale, rate, l2, n_decayed):
    """G += g², p -= rate·g / sqrt(G) (Duchi et al., JMLR 12, 2011)."""
    for i in range(np.uintp(len(parameters))):
        g = scale * gradients[i]
        if i < np.uintp(n_decayed):
            g += l2 * parameters[i]
        grown = squares[i] + g * g
        squares[i] = grown
        parameters[i] -= rate * g / math.sqrt(grown)


@kernel
def update_adam(parameters, m, u, gradients, scale, rate, decay, epsilon, l2, n_decayed):
    """m, u: moving averages of g and g²; p -= rate·m / (sqrt(u) + epsilon) (Kingma & Ba, arXiv 1412.6980).

    `rate` and `epsilon` have the bias correction of section 2: rate·sqrt(1 - d2^t) / (1 - d1^t), and
    epsilon·sqrt(1 - d2^t).
    """
    keep_m, keep_u = decay
    for i in range(np.uintp(len(parameters))):
        g = scale * gradients[i]
        if i < np.uintp(n_decayed):
            g += l2 * parameters[i]
        new_m = m[i] + (g - m[i]) * (1 - keep_m)
        new_u = u[i] + (g * g - u[i]) * (1 - keep_u)
        m[i] = new_m if abs(new_m) > TINY else new_m * 0
        u[i] = new_u if new_u > TINY else new_u * 0
        parameters[i] -= rate * new_m / (math.sqrt(new_u) + epsilon)
