"""Units of measurement: text to dimension and size, and how a value in one unit is written in another.

A unit is ``m3/h``, ``kW/K``, ``N m``, ``1/min``, ``mg/dL/min``, ``W/(m2 K)``, ``1e-3/min``: symbols with an optional SI
prefix and a whole power (``m2``, ``m^2``, ``m²``, ``s-1``), multiplied by a space, ``*`` or ``·``, divided by ``/``,
where each ``/`` divides by the one factor behind it. A factor after that, as in ``J/kg K``, is ambiguous (people mean
either) and hence unknown; so is a symbol that is not in :mod:`edgetwin.config.unit_table`.
"""

from __future__ import annotations

import math
import re
from fractions import Fraction
from functools import cache

from edgetwin.config.unit_table import NONE, ONE, PLAIN, PREFIXED, PREFIXES, SECOND, Unit, scaled

__all__ = ["ONE", "SECOND", "Unit", "conversion", "parse_unit", "unit_text"]

TEXT_MAX = 100
_TOKEN = re.compile(
    r"\s*(?:(?P<mark>\*\*|[*·⋅/()^])|(?P<number>\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)|(?P<word>[^\s*·⋅/()^]+))"
)
_WORD = re.compile(r"(?P<symbol>[^\d⁻⁰¹²³⁴⁵⁶⁷⁸⁹+\-][^⁻⁰¹²³⁴⁵⁶⁷⁸⁹+\-]*?)(?P<power>[+\-]?\d|⁻?[⁰¹²³⁴⁵⁶⁷⁸⁹])?")
_RAISED = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")


@cache
def parse_unit(text: str) -> Unit | None:
    """The unit that ``text`` names; None when it is empty, ambiguous or not known."""
    if not text.strip() or len(text) > TEXT_MAX:
        return None
    tokens = _tokens(text)
    if tokens is None:
        return None
    try:
        unit, rest = _product(tokens)
    except (_UnknownUnitError, OverflowError, ZeroDivisionError):
        return None
    return unit if not rest and 0 < unit.size < math.inf else None


class _UnknownUnitError(Exception):
    """What the text names is not in the tables, or may mean two things."""


def _tokens(text: str) -> list[str] | None:
    found, at = [], 0
    text = text.strip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            return None
        found.append(match.group().strip())
        at = match.end()
    return found


def _product(tokens: list[str]) -> tuple[Unit, list[str]]:
    """Factors up to the end or a closing parenthesis."""
    unit, rest = _factor(tokens)
    divided = False
    while rest and rest[0] != ")":
        if rest[0] == "/":
            factor, rest = _factor(rest[1:])
            unit, divided = unit / factor, True
            continue
        if divided:
            raise _UnknownUnitError
        factor, rest = _factor(rest[1:] if rest[0] in "*·⋅" else rest)
        unit = unit * factor
    return unit, rest


def _factor(tokens: list[str]) -> tuple[Unit, list[str]]:
    if not tokens:
        raise _UnknownUnitError
    first, rest = tokens[0], tokens[1:]
    if first == "(":
        unit, rest = _product(rest)
        if not rest:
            raise _UnknownUnitError
        rest = rest[1:]
    elif first[0].isdigit() and first[0].isascii():
        unit = scaled(float(first), ONE)
    else:
        unit = _word(first)
    if rest and rest[0] in ("^", "**"):
        if len(rest) < 2 or not re.fullmatch(r"[+\-]?\d", rest[1]):
            raise _UnknownUnitError
        unit, rest = unit ** Fraction(rest[1]), rest[2:]
    return unit, rest


def _word(word: str) -> Unit:
    """A symbol, also with a power written behind it."""
    known = _symbol(word)
    if known is not None:
        return known
    match = _WORD.fullmatch(word)
    known = _symbol(match["symbol"]) if match and match["power"] else None
    if match is None or known is None:
        raise _UnknownUnitError
    return known ** Fraction(match["power"].translate(_RAISED))


def _symbol(text: str) -> Unit | None:
    if text in PLAIN:
        return PLAIN[text]
    if text in PREFIXED:
        return PREFIXED[text]
    for prefix, size in PREFIXES.items():
        if text.startswith(prefix) and text[len(prefix) :] in PREFIXED:
            return scaled(size, PREFIXED[text[len(prefix) :]])
    return None


# ---- conversion

_KELVIN_AT_ZERO = {"degC": 273.15, "°C": 273.15, "℃": 273.15, "degF": 459.67 * 5 / 9, "°F": 459.67 * 5 / 9}


def conversion(source: str, target: str) -> tuple[float, float] | None:
    """``factor`` and ``shift`` with which a value in ``source`` is ``factor*value + shift`` in ``target``.

    Temperatures are taken as points on their scales, not as differences. None when a unit is not known or they are of
    different kinds; Hz and rad/s are.
    """
    if source.strip() == target.strip():
        return 1.0, 0.0
    a, b = parse_unit(source), parse_unit(target)
    if a is None or b is None or (a.dimension, a.angle) != (b.dimension, b.angle):
        return None
    shift = _KELVIN_AT_ZERO.get(source.strip(), 0.0) - _KELVIN_AT_ZERO.get(target.strip(), 0.0)
    return a.size / b.size, shift / b.size


_USUAL = ("W", "kW", "MW", "J", "kJ", "MJ", "N", "kN", "Pa", "kPa", "bar", "V", "A", "ohm", "C", "m3/h", "W/K", "kW/K",
          "J/K", "kJ/K", "V s", "mV", "mA", "%")  # fmt: skip


@cache
def _usual() -> list[tuple[str, Unit]]:
    return [(text, unit) for text in _USUAL if (unit := parse_unit(text)) is not None]


def unit_text(unit: Unit) -> str:
    """A unit as one usually writes it; else its base units and the factor before them."""
    for text, known in _usual():
        if known.dimension == unit.dimension and math.isclose(known.size, unit.size, rel_tol=1e-9):
            return text
    factor = "" if math.isclose(unit.size, 1.0, rel_tol=1e-9) else f"{unit.size:.6g} "
    return f"{factor}{unit}" if unit.dimension != NONE else factor.strip() or "a plain number"
