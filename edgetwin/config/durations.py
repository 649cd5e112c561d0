"""Durations as people write them: ``250ms``, ``5s``, ``10min``, ``1h``, ``1d``, ``500us``."""

from __future__ import annotations

import re

from edgetwin.config.schema import Duration
from edgetwin.errors import ConfigError

UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}
PATTERN = r"^[0-9]+(\.[0-9]+)?\s*(us|ms|s|min|h|d)$"
LONGEST_S = 36_500 * 86_400.0

_DURATION = re.compile(r"([-+]?)([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)", re.ASCII)
_HINT = "write a number and one of us, ms, s, min, h, d, such as 250ms or 10min"
_LIKELY = {
    "m": "min",
    "sec": "s",
    "secs": "s",
    "mins": "min",
    "hr": "h",
    "hours": "h",
    "days": "d",
    "µs": "us",
}


def parse_duration(text: str) -> Duration:
    """Seconds in a text such as ``250ms``; ConfigError when it is none, is negative or over 100 years."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise ConfigError("is not a duration", hint=_HINT)
    sign, number, unit = match.groups()
    if sign == "-":
        raise ConfigError("a duration cannot be negative", hint=_HINT)
    if not unit:
        raise ConfigError("a duration needs a unit", hint=_HINT)
    if unit not in UNITS:
        likely = _LIKELY.get(unit.lower(), unit.lower())
        raise ConfigError("the unit is unknown", hint=f"did you mean {likely}?" if likely in UNITS else _HINT)
    seconds = in_seconds(float(number), unit)
    if not seconds <= LONGEST_S:
        raise ConfigError("is longer than 100 years", hint="check the unit")
    return Duration(seconds)


def in_seconds(number: float, unit: str) -> float:
    """``number`` of a unit in seconds; divides for small units so that 250ms is exactly 0.25."""
    if unit == "us":
        return number / 1e6
    if unit == "ms":
        return number / 1e3
    return number * UNITS[unit]


def format_duration(seconds: float) -> str:
    """The shortest way to write a duration, in the largest unit that keeps it a whole number."""
    for unit in ("d", "h", "min", "s", "ms"):
        count = seconds / UNITS[unit]
        if count >= 1 and abs(count - round(count)) < 1e-9:
            return f"{round(count)}{unit}"
    return "0s" if seconds == 0 else f"{seconds * 1e6:.15g}us"
