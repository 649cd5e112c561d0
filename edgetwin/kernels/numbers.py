"""Decimal text to the nearest double, compiled.

Exact powers of ten where the mantissa and the power are exact (Clinger, "How to read floating point numbers
accurately", PLDI 1990), else a 128-bit approximation of the power of five (Lemire, "Number parsing at a
gigabyte per second", Software: Practice and Experience 51(8), 2021). What needs more than 63 bits of
mantissa is left to Python.

Legend: ``m`` mantissa, ``e`` decimal exponent: the number is ``m * 10**e``.
"""

from __future__ import annotations

import numpy as np

from edgetwin.kernels.bits import Array, at, leading_zeros, multiply_high, multiply_low
from edgetwin.kernels.jit import kernel

OK = 0
INVALID = 1
"""Not the grammar asked for."""
PUNT = 2
"""Well formed, but for Python to evaluate."""
RANGE = 3
"""Well formed, and no finite value of the type asked for."""

E_MIN, E_MAX = -342, 308
_M_FULL = (2**63 - 1) // 10
_POWERS_OF_TEN = 10.0 ** np.arange(23)
_U1, _U3 = np.uint64(1), np.uint64(3)
_LOW_NINE = np.uint64(0x1FF)
_ALL = np.uint64(2**64 - 1)


def _powers_of_five() -> tuple[Array, Array]:
    """The leading 128 bits of ``5**q`` (rounded up where q < 0, truncated elsewhere), q from E_MIN to E_MAX."""
    high, low = [], []
    for q in range(E_MIN, E_MAX + 1):
        if q < 0:
            power = 5**-q
            bits = power.bit_length() if power & (power - 1) else power.bit_length() - 1
            shift = bits + 127 if q >= -27 else 2 * bits + 128
            c = (1 << shift) // power + 1
        else:
            c = 5**q << 128
        c >>= c.bit_length() - 128
        high.append(c >> 64)
        low.append(c & (2**64 - 1))
    return np.array(high, np.uint64), np.array(low, np.uint64)


_FIVES_HIGH, _FIVES_LOW = _powers_of_five()


@kernel
def scan_decimal(buf: Array, a: int, b: int, strict: bool) -> tuple[int, int, bool, int, int]:
    """Read a decimal number from ``buf`` uint8[:] at ``[a, b)``: (m, e, negative, end, status).

    ``strict`` is the grammar of JSON (RFC 8259 §6); otherwise ``+1``, ``.5`` and ``5.`` are numbers too.
    ``end`` is the index after the number. PUNT: more digits than ``m`` holds (m and e then mean nothing).
    """
    i = a
    negative = False
    if i < b:
        c = at(buf, i)
        if c == 45:
            negative = True
            i += 1
        elif c == 43 and not strict:
            i += 1
    m = 0
    first = i
    status = OK
    while i < b:
        d = at(buf, i) - 48
        if d < 0 or d > 9:
            break
        if m >= _M_FULL:
            status = PUNT
        else:
            m = m * 10 + d
        i += 1
    digits = i - first
    if strict:
        if digits == 0 or (digits > 1 and at(buf, first) == 48):
            return 0, 0, negative, i, INVALID
    e = 0
    if i < b and at(buf, i) == 46:
        i += 1
        point = i
        while i < b:
            d = at(buf, i) - 48
            if d < 0 or d > 9:
                break
            if m >= _M_FULL:
                status = PUNT
            else:
                m = m * 10 + d
            i += 1
        e = point - i
        if strict and e == 0:
            return 0, 0, negative, i, INVALID
        digits -= e
    if digits == 0:
        return 0, 0, negative, i, INVALID
    if i < b and at(buf, i) | 32 == 101:
        power, i = _scan_exponent(buf, i + 1, b)
        if i < 0:
            return 0, 0, negative, -i, INVALID
        e += power
    return m, e, negative, i, status


@kernel
def _scan_exponent(buf: Array, i: int, b: int) -> tuple[int, int]:
    """(exponent, end) of the text after the letter e; ``-end`` where there is no digit."""
    negative = False
    if i < b:
        c = at(buf, i)
        if c == 45 or c == 43:
            negative = c == 45
            i += 1
    first = i
    power = 0
    while i < b:
        d = at(buf, i) - 48
        if d < 0 or d > 9:
            break
        if power < 100_000_000_000:  # far more than the digits of any payload can make up for
            power = power * 10 + d
        i += 1
    if i == first:
        return 0, -i
    if negative:
        power = -power
    return power, i


@kernel
def to_double(m: int, e: int, negative: bool) -> tuple[float, int]:
    """The double nearest to ``m * 10**e`` (ties to even): (value, status). ``0 <= m < 2**63``."""
    if m <= 9007199254740992 and -22 <= e <= 22:
        value = float(m)
        if e < 0:
            value /= _POWERS_OF_TEN[-e]
        else:
            value *= _POWERS_OF_TEN[e]
        status = OK
    else:
        value, status = _eisel_lemire(m, e)
    return (-value if negative else value), status


@kernel
def _eisel_lemire(m: int, e: int) -> tuple[float, int]:
    """Lemire 2021, algorithm 1, for any ``m`` and ``e``."""
    if m == 0 or e < E_MIN:
        return 0.0, OK
    if e > E_MAX:
        return 0.0, RANGE
    zeros = leading_zeros(m)
    w = np.uint64(m) << np.uint64(zeros)
    high = multiply_high(w, _FIVES_HIGH[e - E_MIN])
    low = multiply_low(w, _FIVES_HIGH[e - E_MIN])
    if high & _LOW_NINE == _LOW_NINE:
        more = multiply_high(w, _FIVES_LOW[e - E_MIN])
        room = _ALL - more
        if low > room:
            low = low - room - _U1
            high = high + _U1
        else:
            low = low + more
        if low == _ALL and (e < -27 or e > 55):
            return 0.0, PUNT
    top = int(high >> np.uint64(63))
    shift = top + 9
    mantissa = high >> np.uint64(shift)
    exponent = ((217706 * e) >> 16) + 63 + top - zeros + 1023
    if exponent <= 0:
        return _subnormal(int(mantissa), exponent)
    if low <= _U1 and -4 <= e <= 23 and mantissa & _U3 == _U1:
        if mantissa << np.uint64(shift) == high:
            mantissa = mantissa - _U1  # exactly half way, and the upper neighbour is odd
    rounded = (int(mantissa) + 1) >> 1
    if rounded >= 1 << 53:
        rounded = 1 << 52
        exponent += 1
    if exponent >= 2047:
        return 0.0, RANGE
    return _from_bits(rounded, exponent), OK


@kernel
def _subnormal(mantissa: int, exponent: int) -> tuple[float, int]:
    if exponent < -62:
        return 0.0, OK
    rounded = ((mantissa >> (1 - exponent)) + 1) >> 1
    return _from_bits(rounded, 0 if rounded < 1 << 52 else 1), OK


@kernel
def _from_bits(mantissa: int, exponent: int) -> float:
    bits = (exponent << 52) | (mantissa & ((1 << 52) - 1))
    return float(np.int64(bits).view(np.float64))


@kernel
def parse_number(buf: Array, a: int, b: int, strict: bool) -> tuple[float, int, int]:
    """Read one number of ``buf`` uint8[:] in ``[a, b)``: (value, end, status).

    ``strict``: a JSON number at ``a``; what follows it is the caller's business. Otherwise the whole of
    ``[a, b)`` is one plain payload: a number, ``true`` or ``false`` between ASCII white space, and
    anything else is INVALID. Correctly rounded; RANGE instead of an infinity; never NaN.
    """
    if strict:
        m, e, negative, i, status = scan_decimal(buf, a, b, True)
        if status != OK:
            return 0.0, i, status
        value, status = to_double(m, e, negative)
        return value, i, status
    while a < b and is_space(at(buf, a)):
        a += 1
    while a < b and is_space(at(buf, b - 1)):
        b -= 1
    m, e, negative, i, status = scan_decimal(buf, a, b, False)
    if i != b or status == INVALID:
        value = _boolean(buf, a, b)
        return value, b, (OK if value >= 0.0 else INVALID)
    if status != OK:
        return 0.0, i, status
    value, status = to_double(m, e, negative)
    return value, i, status


@kernel
def is_space(c: int) -> bool:
    """Space, tab, line feed or carriage return."""
    return c == 32 or (9 <= c <= 10) or c == 13


@kernel
def _boolean(buf: Array, a: int, b: int) -> float:
    """1 for ``true``, 0 for ``false``, -1 for anything else."""
    if b - a == 4 and is_true(buf, a):
        return 1.0
    if b - a == 5 and is_false(buf, a):
        return 0.0
    return -1.0


@kernel
def is_true(buf: Array, a: int) -> bool:
    """``true`` stands at ``a``; four bytes are readable."""
    return at(buf, a) == 116 and at(buf, a + 1) == 114 and at(buf, a + 2) == 117 and at(buf, a + 3) == 101


@kernel
def is_false(buf: Array, a: int) -> bool:
    """``false`` stands at ``a``; five bytes are readable."""
    return (
        at(buf, a) == 102
        and at(buf, a + 1) == 97
        and at(buf, a + 2) == 108
        and (at(buf, a + 3) == 115 and at(buf, a + 4) == 101)
    )
