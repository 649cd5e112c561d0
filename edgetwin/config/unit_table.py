"""Symbols of units, their sizes and dimensions.

Sizes: BIPM, "The International System of Units", 9th ed., 2019, tables 2, 4, 7 and 8; others: NIST Special Publication
811, 2008, appendix B.8.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

BASE = ("kg", "m", "s", "A", "K", "mol", "cd", "IU")
"""IU counts the units of a biological activity, such as those of insulin, which no SI unit measures."""

Dimension = tuple[Fraction, ...]
NONE: Dimension = (Fraction(0),) * len(BASE)


@dataclass(frozen=True, slots=True)
class Unit:
    """``size`` is what one of it is in the base units; degC and degF are taken as intervals, as for differences.

    ``angle`` is the power of the radian in it, which is no dimension: v = ω r holds as it stands. Yet 50 Hz are
    not 50 rad/s.
    """

    dimension: Dimension
    size: float = 1.0
    angle: Fraction = Fraction(0)

    def __mul__(self, other: Unit) -> Unit:
        dimension = tuple(a + b for a, b in zip(self.dimension, other.dimension, strict=True))
        return Unit(dimension, self.size * other.size, self.angle + other.angle)

    def __truediv__(self, other: Unit) -> Unit:
        return self * other ** Fraction(-1)

    def __pow__(self, power: Fraction) -> Unit:
        return Unit(tuple(a * power for a in self.dimension), self.size ** float(power), self.angle * power)

    def __str__(self) -> str:
        """The dimension in base units, such as ``kg m2 s-3``; ``1`` for none."""
        parts = [n if p == 1 else f"{n}{p}" for n, p in zip(BASE, self.dimension, strict=True) if p]
        return " ".join(parts) or "1"


ONE = Unit(NONE)


def _base(name: str) -> Unit:
    return Unit(tuple(Fraction(n == name) for n in BASE))


KG, METRE, SECOND, AMPERE, KELVIN, MOLE, CANDELA, IU = map(_base, BASE)
_AREA, _VOLUME = METRE * METRE, METRE * METRE * METRE
_NEWTON = KG * METRE / SECOND / SECOND
_PASCAL = _NEWTON / _AREA
_JOULE = _NEWTON * METRE
_WATT = _JOULE / SECOND
_COULOMB = AMPERE * SECOND
_VOLT = _WATT / AMPERE
_OHM = _VOLT / AMPERE
_WEBER = _VOLT * SECOND


def scaled(size: float, unit: Unit) -> Unit:
    """``size`` of ``unit``."""
    return Unit(unit.dimension, unit.size * size, unit.angle)


RADIAN = Unit(NONE, angle=Fraction(1))
_TURN = scaled(2 * math.pi, RADIAN)
_HOUR, _DAY = scaled(3600, SECOND), scaled(86_400, SECOND)
_LITRE = scaled(1e-3, _VOLUME)
_MINUTE = scaled(60, SECOND)

PREFIXES = {
    "q": 1e-30, "r": 1e-27, "y": 1e-24, "z": 1e-21, "a": 1e-18, "f": 1e-15, "p": 1e-12, "n": 1e-9, "u": 1e-6, "µ": 1e-6,
    "μ": 1e-6, "m": 1e-3, "c": 1e-2, "d": 1e-1, "da": 1e1, "h": 1e2, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15,
    "E": 1e18, "Z": 1e21, "Y": 1e24, "R": 1e27, "Q": 1e30,
}  # fmt: skip

PREFIXED = {
    "g": scaled(1e-3, KG), "m": METRE, "s": SECOND, "A": AMPERE, "K": KELVIN, "mol": MOLE, "cd": CANDELA, "N": _NEWTON,
    "Pa": _PASCAL, "J": _JOULE, "W": _WATT, "C": _COULOMB, "V": _VOLT, "F": _COULOMB / _VOLT, "ohm": _OHM, "Ohm": _OHM,
    "Ω": _OHM, "\u2126": _OHM, "S": ONE / _OHM, "Wb": _WEBER, "T": _WEBER / _AREA,
    "H": _WEBER / AMPERE, "Hz": ONE / SECOND,
    "lm": CANDELA, "lx": CANDELA / _AREA, "Bq": ONE / SECOND, "Gy": _JOULE / KG, "Sv": _JOULE / KG,
    "kat": MOLE / SECOND, "rad": RADIAN, "sr": RADIAN * RADIAN, "l": _LITRE, "L": _LITRE, "t": scaled(1e3, KG),
    "bar": scaled(1e5, _PASCAL), "Wh": _WATT * _HOUR, "Ah": AMPERE * _HOUR, "VA": _WATT, "VAh": _WATT * _HOUR,
    "var": _WATT, "varh": _WATT * _HOUR, "Nm": _JOULE, "eV": scaled(1.602176634e-19, _JOULE),
    "cal": scaled(4.184, _JOULE), "IU": IU, "U": IU,
}  # fmt: skip
"""Symbols that take a prefix."""

PLAIN = {
    "1": ONE, "%": scaled(1e-2, ONE), "‰": scaled(1e-3, ONE), "ppm": scaled(1e-6, ONE), "ppb": scaled(1e-9, ONE),
    "pu": ONE, "p.u.": ONE, "veh": ONE, "pcs": ONE, "count": ONE, "counts": ONE, "cycles": ONE, "strokes": ONE,
    "pulses": ONE, "beats": ONE, "items": ONE, "min": _MINUTE, "h": _HOUR, "d": _DAY, "yr": scaled(365.25, _DAY),
    "degC": KELVIN, "°C": KELVIN, "℃": KELVIN, "degF": scaled(5 / 9, KELVIN), "°F": scaled(5 / 9, KELVIN),
    "deg": scaled(math.pi / 180, RADIAN), "°": scaled(math.pi / 180, RADIAN), "rev": _TURN,
    "rpm": _TURN / _MINUTE, "rps": _TURN / SECOND, "bpm": ONE / _MINUTE,
    "kph": scaled(1 / 3.6, METRE / SECOND), "mph": scaled(0.44704, METRE / SECOND),
    "kn": scaled(1852 / 3600, METRE / SECOND), "ha": scaled(1e4, _AREA), "in": scaled(0.0254, METRE),
    "ft": scaled(0.3048, METRE), "yd": scaled(0.9144, METRE), "mi": scaled(1609.344, METRE),
    "lb": scaled(0.45359237, KG), "oz": scaled(0.028349523125, KG), "lbf": scaled(4.4482216152605, _NEWTON),
    "gal": scaled(3.785411784e-3, _VOLUME), "gpm": scaled(3.785411784e-3, _VOLUME) / _MINUTE,
    "cfm": scaled(0.3048**3, _VOLUME) / _MINUTE, "lpm": _LITRE / _MINUTE,
    "hp": scaled(745.69987158227022, _WATT),
    "BTU": scaled(1055.05585262, _JOULE), "Btu": scaled(1055.05585262, _JOULE),
    "atm": scaled(101_325, _PASCAL), "psi": scaled(6894.757293168361, _PASCAL),
    "Torr": scaled(101_325 / 760, _PASCAL),
    "mmHg": scaled(133.322387415, _PASCAL), "inHg": scaled(3386.388640341, _PASCAL),
    "mmH2O": scaled(9.80665, _PASCAL), "cmH2O": scaled(98.0665, _PASCAL), "mH2O": scaled(9806.65, _PASCAL),
    "inH2O": scaled(249.08891, _PASCAL),
}  # fmt: skip
"""Symbols that take no prefix; they are looked up first, so that ``min`` is a minute and ``cd`` a candela."""
