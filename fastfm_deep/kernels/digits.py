"""Decimal digits of a text become numbers, rounded as Python's `int` and `float` round them.

A *run* is the digits that stand together, eight of them at most: so many fit into one register, where three
multiplications make a number of them. The text is a uint8 array of which eight bytes may be read at every place
that is asked for. Numbers of up to 18 digits are read here; whoever calls has another way for the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.core.extending import intrinsic

from fastfm_deep.kernels._jit import BOUNDS_CHECKED, JIT_ENABLED, exact_function

if TYPE_CHECKING:
    from numpy.typing import NDArray

PLUS, MINUS, POINT, NEWLINE, LOWER_E = b"+-.\ne"

_MOST_DIGITS = 18
_INTEGER_POWERS = 10 ** np.arange(_MOST_DIGITS + 1)
# Powers of ten that float64 holds exactly; with an integer below 2**53 one operation rounds once.
_EXACT_POWERS = 10.0 ** np.arange(23)
_EXACT_INTEGER = 2**53


def _load(bits: int, docstring: str):
    def typing(typingctx, address):
        integer = ir.IntType(bits)

        def codegen(context, builder, signature, arguments):
            return builder.load(builder.inttoptr(arguments[0], integer.as_pointer()), align=1)

        return types.Integer(f"uint{bits}")(types.intp), codegen

    typing.__doc__ = docstring
    return intrinsic(typing)


_load_byte = _load(8, "The byte at an address.")
_load_eight = _load(64, "Eight bytes from an address on, the first of them lowest, as on every CPU of Numba's.")


def _count_zeros(name: str, docstring: str):
    def typing(typingctx, bits):
        def codegen(context, builder, signature, arguments):
            return getattr(builder, name)(arguments[0], ir.Constant(ir.IntType(1), 0))

        return types.uint64(types.uint64), codegen

    typing.__doc__ = docstring
    return intrinsic(typing)


_trailing_zeros = _count_zeros("cttz", "Zero bits below the lowest one; 64 for 0.")
_leading_zeros = _count_zeros("ctlz", "Zero bits above the highest one; 64 for 0.")


@intrinsic
def _full_product(typingctx, left, right):
    """The high and the low 64 bits of a product."""

    def codegen(context, builder, signature, arguments):
        wide = ir.IntType(128)
        product = builder.mul(builder.zext(arguments[0], wide), builder.zext(arguments[1], wide))
        high = builder.trunc(builder.lshr(product, ir.Constant(wide, 64)), ir.IntType(64))
        low = builder.trunc(product, ir.IntType(64))
        return context.make_tuple(builder, signature.return_type, (high, low))

    return types.UniTuple(types.uint64, 2)(types.uint64, types.uint64), codegen


def _text_by_address(text):
    return text.ctypes.data


def _byte_by_address(text, at):
    return np.int64(_load_byte(text + at))


def _text_by_index(text):
    return text


def _byte_by_index(text, at):
    return np.int64(text[at])


def _digit_run_by_register(text, at):
    """Number that up to eight digits from place `at` on make, and how many there are."""
    # Below 10 for a digit; the sum carries into the highest bit of a byte for all others.
    eight = _load_eight(text + at) ^ np.uint64(0x3030303030303030)
    others = ((eight + np.uint64(0x7676767676767676)) | eight) & np.uint64(0x8080808080808080)
    bits = _trailing_zeros(others) & np.uint64(0x78)
    if bits == np.uint64(0):
        return np.int64(0), np.int64(0)
    # Digits to the highest bytes, zeros before them: what comes last counts least.
    eight <<= np.uint64(64) - bits
    eight = (eight * np.uint64(10 * 2**8 + 1)) >> np.uint64(8)
    eight = ((eight & np.uint64(0x00FF00FF00FF00FF)) * np.uint64(100 * 2**16 + 1)) >> np.uint64(16)
    eight = ((eight & np.uint64(0x0000FFFF0000FFFF)) * np.uint64(10_000 * 2**32 + 1)) >> np.uint64(32)
    return np.int64(eight), np.int64(bits >> np.uint64(3))


def _digit_run_by_digit(text, at):
    number = np.int64(0)
    n_digits = np.int64(0)
    while n_digits < 8:
        digit = _byte_by_index(text, at + n_digits) - 48
        if digit < 0 or digit > 9:
            break
        number = number * 10 + digit
        n_digits += 1
    return number, n_digits


_by_address = JIT_ENABLED and not BOUNDS_CHECKED
if _by_address:
    # Arrays that go from function to function are counted at each call, which costs more than reading them.
    open_text = exact_function(_text_by_address)
    byte_at = exact_function(_byte_by_address)
    digit_run = exact_function(_digit_run_by_register)
else:
    _byte_by_index = exact_function(_byte_by_index)
    open_text = exact_function(_text_by_index)
    byte_at = _byte_by_index
    digit_run = exact_function(_digit_run_by_digit)


@exact_function
def _more_digits(text, at, number):
    """As `append_digits`, without a limit to runs."""
    fits = True
    n_digits = np.int64(8)
    while n_digits == 8:
        run, n_digits = digit_run(text, at)
        at += n_digits
        fits = fits and number < _INTEGER_POWERS[np.uint64(_MOST_DIGITS - n_digits)]
        if not fits:
            number = np.int64(0)
        number = number * _INTEGER_POWERS[np.uint64(n_digits)] + run
    return number, at, fits


@exact_function
def append_digits(text, at, number):
    """Digits from place `at` on behind those of `number`: (number, next place, whether 18 digits were enough)."""
    run, n_digits = digit_run(text, at)
    if n_digits < 8 and number < 10**10:
        return number * _INTEGER_POWERS[np.uint64(n_digits)] + run, at + n_digits, True
    if n_digits == 8 and number < 10:
        # As float64 is printed: 15 to 17 digits behind the point.
        number = number * 10**8 + run
        run, n_digits = digit_run(text, at + 8)
        if n_digits < 8:
            return number * _INTEGER_POWERS[np.uint64(n_digits)] + run, at + 8 + n_digits, True
        number = number * 10**8 + run
        run, n_digits = digit_run(text, at + 16)
        if n_digits == 0:
            return number, at + 16, True
        if n_digits == 1:
            return number * 10 + run, at + 17, True
        if n_digits == 2 and number < 10**16:
            return number * 100 + run, at + 18, True
        at += 16
    return _more_digits(text, at, number)


@exact_function
def read_integer(text, at):
    """Integer without a sign at place `at`: (number, next place, whether there is one of at most 18 digits)."""
    number, n_digits = digit_run(text, at)
    if n_digits < 8:
        return number, at + n_digits, n_digits > 0
    return append_digits(text, at + n_digits, number)


def _power_table() -> NDArray[np.uint64]:
    """The first 128 bits of the powers of five from 5**-342 on, high and low half in turn."""
    halves = []
    for exponent in range(-342, 309):
        power = 5 ** abs(exponent)
        if exponent < 0:
            # Rounded up; to 128 bits at once where products can lie half-way between two doubles.
            shift = (power - 1).bit_length()
            power = 2 ** (shift + 127 if exponent >= -27 else 2 * shift + 128) // power + 1
        power = power << 128 >> power.bit_length()
        halves += [power >> 64, power & (2**64 - 1)]
    return np.array(halves, np.uint64)


_POWERS = _power_table()


def _scale_by_register(number, exponent):
    """`number * 10**exponent` rounded once, for numbers from 1 to 10**18 (Lemire, arXiv 2101.11408, section 5)."""
    if exponent < -342:
        return 0.0
    if exponent > 308:
        return np.inf
    shift = _leading_zeros(np.uint64(number))
    digits = np.uint64(number) << shift
    place = np.uint64(2 * (exponent + 342))
    high, low = _full_product(digits, _POWERS[place])
    if high & np.uint64(0x1FF) == np.uint64(0x1FF):
        carry, _ = _full_product(digits, _POWERS[place + np.uint64(1)])
        low += carry
        if carry > low:
            high += np.uint64(1)
    top = high >> np.uint64(63)
    mantissa = high >> (top + np.uint64(9))
    binary = ((217706 * exponent) >> 16) + 63 + np.int64(top) - np.int64(shift) + 1023
    if binary <= 0:
        if binary <= -63:
            return 0.0
        mantissa >>= np.uint64(1 - binary)
        mantissa += mantissa & np.uint64(1)
        # A carry into the 53rd bit makes the exponent 1, as it should.
        return np.uint64(mantissa >> np.uint64(1)).view(np.float64)
    odd_half = mantissa & np.uint64(3) == np.uint64(1) and mantissa << (top + np.uint64(9)) == high
    if odd_half and low <= np.uint64(1) and -4 <= exponent <= 23:
        # Half-way between two doubles, exactly: to the even one.
        mantissa -= np.uint64(1)
    mantissa = (mantissa + (mantissa & np.uint64(1))) >> np.uint64(1)
    if mantissa >= np.uint64(2**53):
        mantissa = np.uint64(2**52)
        binary += 1
    if binary >= 2047:
        return np.inf
    return np.uint64((mantissa & np.uint64(2**52 - 1)) | (np.uint64(binary) << np.uint64(52))).view(np.float64)


def _scale_by_python(number, exponent):
    return float(f"{number}e{exponent}")


scale = exact_function(_scale_by_register) if JIT_ENABLED else _scale_by_python


@exact_function
def _scaled(digits, exponent):
    """`digits * 10**exponent`, rounded once."""
    if digits < _EXACT_INTEGER and -22 <= exponent <= 22:
        number = np.float64(digits)
        if exponent < 0:
            return number / _EXACT_POWERS[np.uint64(-exponent)]
        return number * _EXACT_POWERS[np.uint64(exponent)]
    if digits == 0:
        return 0.0
    return scale(digits, exponent)


@exact_function
def read_short_fraction(text, at, digit):
    """One digit and up to seven behind the point, from `at` on: (number, next place, whether there are so few)."""
    run, n_digits = digit_run(text, at)
    size = np.uint64(n_digits)
    number = np.float64(digit * _INTEGER_POWERS[size] + run) / _EXACT_POWERS[size]
    return number, at + n_digits, n_digits < 8


@exact_function
def read_number(text, at):
    """Number at place `at`, as `float` reads it: (number, next place, whether there is one that is read here).

    Not read here are more than 18 digits and the names of infinity and NaN.
    """
    first = byte_at(text, at)
    at += first in (MINUS, PLUS)
    start = at
    fits = True
    digits = byte_at(text, at) - 48
    if byte_at(text, at + 1) == POINT and 0 <= digits <= 9:  # most fractions begin so
        at += 1
    else:
        digits, at, fits = append_digits(text, at, np.int64(0))
    exponent = np.int64(0)
    n_digits = at - start
    mark = byte_at(text, at)
    if mark == POINT:
        start = at + 1
        digits, at, enough = append_digits(text, start, digits)
        exponent = start - at
        n_digits -= exponent
        fits = fits and enough
        mark = byte_at(text, at)
    if mark | 32 == LOWER_E:
        sign = byte_at(text, at + 1)
        shift, at, enough = read_integer(text, at + 1 + (sign in (MINUS, PLUS)))
        # Beyond this every number is 0 or infinite.
        fits = fits and enough and shift < 100_000
        exponent += -shift if sign == MINUS else shift
    number = _scaled(digits, exponent)
    return -number if first == MINUS else number, at, fits and n_digits > 0
