"""Activations of one hidden unit and their derivatives, in a form that compilers turn into vectors.

The exponential is our own: calls of the C library would be made one number at a time. Arguments beyond ±16,
where sigmoids are 0 or 1 to seven digits, are taken as ±16: their products would soon be numbers so small that
processors take a hundred times as long for them.
"""

from __future__ import annotations

import math

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.core.extending import intrinsic

from fastfm_deep.kernels._jit import JIT_ENABLED, row_function

RELU = 0
SIGMOID = 1
TANH = 2
LEAKY_RELU = 3
GELU = 4
ACTIVATION_IDS = {"relu": RELU, "sigmoid": SIGMOID, "tanh": TANH, "leaky_relu": LEAKY_RELU, "gelu": GELU}

_ZERO = np.float32(0.0)
_HALF = np.float32(0.5)
_ONE = np.float32(1.0)
_TWO = np.float32(2.0)
_LEAK = np.float32(0.01)
_SATURATED = np.float32(16.0)
_GELU = np.float32(math.sqrt(2.0 / math.pi))
_GELU_CUBE = np.float32(math.sqrt(2.0 / math.pi) * 0.044715)
_LOG2_E = np.float32(math.log2(math.e))
_LN_2 = np.float32(math.log(2.0))
# exp(r) for |r| <= ln 2 / 2 by its series; the first term left out is below 1e-8.
_SERIES = tuple(np.float32(1.0 / math.factorial(n)) for n in range(8))
# tanh(x) / x by powers of x², for |x| < _SMALL, where 1 - exp would cancel.
_SMALL = np.float32(0.3)
_TANH_SERIES = tuple(np.float32(c) for c in (1.0, -1.0 / 3.0, 2.0 / 15.0, -17.0 / 315.0, 62.0 / 2835.0))


@intrinsic
def _power_of_two_compiled(typingctx, exponent):
    """2 to the power of an int32 from -126 to 127: its bits are put together."""

    def codegen(context, builder, signature, arguments):
        int32 = ir.IntType(32)
        bits = builder.shl(builder.add(arguments[0], ir.Constant(int32, 127)), ir.Constant(int32, 23))
        return builder.bitcast(bits, ir.FloatType())

    return types.float32(types.int32), codegen


def _power_of_two_plain(exponent):
    return np.float32(2.0 ** int(exponent))


_power_of_two = _power_of_two_compiled if JIT_ENABLED else _power_of_two_plain


@row_function
def _bounded(x):
    return min(max(x, -_SATURATED), _SATURATED)


@row_function
def exponential(x):
    """exp(x) for |x| <= 87, to six digits."""
    in_twos = x * _LOG2_E
    exponent = np.int32(in_twos + (_HALF if in_twos >= _ZERO else -_HALF))
    r = x - np.float32(exponent) * _LN_2
    total = _SERIES[7]
    total = total * r + _SERIES[6]
    total = total * r + _SERIES[5]
    total = total * r + _SERIES[4]
    total = total * r + _SERIES[3]
    total = total * r + _SERIES[2]
    total = total * r + _SERIES[1]
    total = total * r + _SERIES[0]
    return total * _power_of_two(exponent)


@row_function
def _tanh_of(x):
    small = exponential(-_TWO * abs(_bounded(x)))
    far = math.copysign((_ONE - small) / (_ONE + small), x)
    square = x * x
    near = _TANH_SERIES[4]
    near = near * square + _TANH_SERIES[3]
    near = near * square + _TANH_SERIES[2]
    near = near * square + _TANH_SERIES[1]
    near = near * square + _TANH_SERIES[0]
    return near * x if abs(x) < _SMALL else np.float32(far)


@row_function
def relu(z):
    """max(z, 0), and 1 or 0."""
    return max(z, _ZERO), _ONE if z > _ZERO else _ZERO


@row_function
def leaky_relu(z):
    """z, or 0.01 z where that is negative."""
    slope = _ONE if z > _ZERO else _LEAK
    return z * slope, slope


@row_function
def sigmoid(z):
    """1 / (1 + exp(-z))."""
    out = _ONE / (_ONE + exponential(-_bounded(z)))
    return out, out * (_ONE - out)


@row_function
def tanh(z):
    """(exp(z) - exp(-z)) / (exp(z) + exp(-z))."""
    out = _tanh_of(z)
    return out, _ONE - out * out


@row_function
def gelu(z):
    """½ z (1 + tanh(sqrt(2/π) (z + 0.044715 z³))) (Hendrycks & Gimpel, arXiv 1606.08415, section 2)."""
    near = _bounded(z)
    square = near * near
    t = _tanh_of(near * (_GELU + _GELU_CUBE * square))
    bend = (_ONE - t * t) * near * (_GELU + np.float32(3.0) * _GELU_CUBE * square)
    return _HALF * z * (_ONE + t), _HALF * (_ONE + t + bend)
