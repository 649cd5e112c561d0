"""Times as text to integer nanoseconds since 1970-01-01 UTC, exactly, compiled.

Rounding is half to even. Instants further than ``NS_MAX`` (292 years) from the epoch are RANGE.
"""

from __future__ import annotations

import numpy as np

from edgetwin.errors import ConfigError
from edgetwin.kernels.bits import Array, at
from edgetwin.kernels.jit import kernel
from edgetwin.kernels.numbers import INVALID, OK, PUNT, RANGE, scan_decimal

ISO = -1
UNITS = {"s": 9, "ms": 6, "us": 3, "ns": 0, "iso": ISO}
"""Decimal exponent of each unit in nanoseconds; ISO is not a number."""

NS_MAX = 9_223_372_036_000_000_000
_S_MAX = 9_223_372_036
_TENS = 10 ** np.arange(19, dtype=np.int64)
_DAYS = np.array([0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31], np.int64)


def unit_exponent(unit: str) -> int:
    """The code of a ``time_unit`` of the configuration; :class:`ConfigError` if there is none."""
    if unit not in UNITS:
        raise ConfigError(f"unknown time unit {unit!r}", hint="use one of " + ", ".join(UNITS))
    return UNITS[unit]


@kernel
def to_ns(m: int, e: int, negative: bool, unit: int) -> tuple[int, int]:
    """``m * 10**e`` in units of ``10**unit`` ns as whole nanoseconds: (ns, status). ``0 <= m < 2**63``."""
    power = e + unit
    if m == 0 or power < -19:
        return 0, OK
    if power >= 0:
        if power > 18 or m > NS_MAX // _TENS[power]:
            return 0, RANGE
        ns = m * int(_TENS[power])
    elif power == -19:
        ns = 1 if m > 5_000_000_000_000_000_000 else 0
    else:
        unit_ns = int(_TENS[-power])
        ns = m // unit_ns
        rest = m - ns * unit_ns
        half = unit_ns // 2
        if rest > half or (rest == half and ns & 1 == 1):
            ns += 1
        if ns > NS_MAX:
            return 0, RANGE
    return (-ns if negative else ns), OK


@kernel
def parse_time(buf: Array, a: int, b: int, unit: int) -> tuple[int, int]:
    """All of ``buf`` uint8[:] in ``[a, b)`` as an instant: (ns, status). ``unit`` as in ``UNITS``."""
    if unit == ISO:
        return parse_iso(buf, a, b)
    m, e, negative, end, status = scan_decimal(buf, a, b, False)
    if end != b or status == INVALID:
        return 0, INVALID
    if status != OK:
        return 0, status
    return to_ns(m, e, negative, unit)


@kernel
def parse_iso(buf: Array, a: int, b: int) -> tuple[int, int]:
    """ISO 8601 text of ``buf`` uint8[:] in ``[a, b)`` as an instant: (ns, status).

    ``YYYY-MM-DDThh:mm[:ss[.fraction]][Z|±hh[:]mm]``; a space may stand for the T, no zone means UTC,
    ``:60`` is the first second of the next minute.
    """
    if b - a < 16 or at(buf, a + 4) != 45 or at(buf, a + 7) != 45 or at(buf, a + 13) != 58:
        return 0, INVALID
    separator = at(buf, a + 10)
    if separator != 84 and separator != 116 and separator != 32:
        return 0, INVALID
    century, rest = _two(buf, a), _two(buf, a + 2)
    month, day = _two(buf, a + 5), _two(buf, a + 8)
    hour, minute = _two(buf, a + 11), _two(buf, a + 14)
    if century < 0 or rest < 0 or month < 1 or month > 12 or day < 1:
        return 0, INVALID
    year = century * 100 + rest
    if day > _DAYS[month] or (month == 2 and day == 29 and not _is_leap(year)):
        return 0, INVALID
    if hour < 0 or hour > 23 or minute < 0 or minute > 59:
        return 0, INVALID
    i = a + 16
    second = 0
    fraction = 0
    status = OK
    if i < b and at(buf, i) == 58:
        if i + 3 > b:
            return 0, INVALID
        second = _two(buf, i + 1)
        if second < 0 or second > 60:
            return 0, INVALID
        i += 3
        if i < b and at(buf, i) == 46:
            fraction, i, status = _fraction(buf, i + 1, b)
            if status == INVALID:
                return 0, INVALID
    zone, valid = _zone(buf, i, b)
    if not valid:
        return 0, INVALID
    if status != OK:
        return 0, status
    seconds = days_from_civil(year, month, day) * 86_400 + (hour * 60 + minute - zone) * 60 + second
    if seconds >= _S_MAX or seconds < -_S_MAX:
        return 0, RANGE
    return seconds * 1_000_000_000 + fraction, OK


@kernel
def days_from_civil(year: int, month: int, day: int) -> int:
    """Days since 1970-01-01 in the Gregorian calendar (Hinnant, "chrono-compatible low-level date algorithms")."""
    if month <= 2:
        year -= 1
    era = year // 400
    year_of_era = year - era * 400
    day_of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    return era * 146_097 + year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year - 719_468


@kernel
def _is_leap(year: int) -> bool:
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


@kernel
def _two(buf: Array, i: int) -> int:
    """The two-digit number at ``i``, or a negative one."""
    tens, units = at(buf, i) - 48, at(buf, i + 1) - 48
    if tens < 0 or tens > 9 or units < 0 or units > 9:
        return -1
    return tens * 10 + units


@kernel
def _fraction(buf: Array, i: int, b: int) -> tuple[int, int, int]:
    """Nanoseconds of the digits at ``i``, the index after them, status (PUNT beyond 18 digits)."""
    first = i
    m = 0
    while i < b:
        d = at(buf, i) - 48
        if d < 0 or d > 9:
            break
        if i - first < 18:
            m = m * 10 + d
        i += 1
    if i == first:
        return 0, i, INVALID
    if i - first > 18:
        return 0, i, PUNT
    ns, status = to_ns(m, first - i, False, 9)
    return ns, i, status


@kernel
def _zone(buf: Array, i: int, b: int) -> tuple[int, bool]:
    """Minutes east of UTC of the zone that fills ``[i, b)``, and whether it is one."""
    if i == b:
        return 0, True
    c = at(buf, i)
    if (c == 90 or c == 122) and i + 1 == b:
        return 0, True
    if (c != 43 and c != 45) or (b - i != 5 and b - i != 6):
        return 0, False
    if b - i == 6 and at(buf, i + 3) != 58:
        return 0, False
    hour, minute = _two(buf, i + 1), _two(buf, b - 2)
    if hour < 0 or hour > 23 or minute < 0 or minute > 59:
        return 0, False
    zone = hour * 60 + minute
    return (-zone if c == 45 else zone), True
