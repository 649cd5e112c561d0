"""Payloads and PUBLISH packets in plain Python: the slow path, and the oracle of the wire kernel.

Same results as :mod:`edgetwin.kernels.mqtt`, for everything the kernel leaves alone: any number of digits,
escapes, deep nesting, topics with an alias.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import MAX_EMAX, MIN_EMIN, ROUND_HALF_EVEN, Context, Decimal
from math import isfinite
from typing import Any, NoReturn

from edgetwin.errors import PayloadError
from edgetwin.kernels.paths import Binding, Path
from edgetwin.kernels.times import NS_MAX, UNITS

_SPACE = " \t\r\n"
_NUMBER = re.compile(r"[+-]?(?P<digits>[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE](?P<power>[+-]?[0-9]+))?", re.ASCII)
_ISO = re.compile(
    r"(?P<year>[0-9]{4})-(?P<month>[0-9]{2})-(?P<day>[0-9]{2})[Tt ](?P<hour>[0-9]{2}):(?P<minute>[0-9]{2})"
    r"(?::(?P<second>[0-9]{2})(?:\.(?P<fraction>[0-9]+))?)?"
    r"(?P<zone>[Zz]|(?P<sign>[+-])(?P<zone_hour>[0-9]{2}):?(?P<zone_minute>[0-9]{2}))?",
    re.ASCII,
)
_EPOCH = date(1970, 1, 1).toordinal()
_POWER_DIGITS_MAX = 12  # a larger exponent is beyond the digits of any payload to make up for
_ABSENT = object()


class _Number(str):
    """The text of a JSON number, not yet rounded to anything."""


@dataclass(slots=True)
class Reading:
    """What one payload came to: ``samples`` (slot, t_ns, value) and counts of those that were none."""

    samples: list[tuple[int, int, float]] = field(default_factory=list)
    invalid: int = 0
    late_dropped: int = 0


@dataclass(frozen=True, slots=True)
class Publish:
    """A PUBLISH packet; ``mid`` is 0 at QoS 0, ``alias`` is the MQTT 5 topic alias or None."""

    topic: bytes
    payload: bytes
    qos: int
    mid: int
    retain: bool
    dup: bool
    alias: int | None


def read_payload(payload: bytes, bindings: Sequence[Binding], arrival_ns: int, retained: bool) -> Reading:
    """The samples of a payload for the bindings of its topic; never raises on what the payload holds.

    A sample without a time of its own is of ``arrival_ns``; if the message was ``retained`` its age is
    unknown and it is counted ``late_dropped``. Absent paths are nothing, but one ``invalid`` if all are.
    """
    reading = Reading()
    if not payload:
        reading.invalid = 1
        return reading
    document = _Lazy(payload)
    absent = 0
    for binding in bindings:
        value = _value_of(document, binding)
        if value is _ABSENT:
            absent += 1
            continue
        t_ns = _time_of(document, binding)
        if value is None or t_ns is None:
            reading.invalid += 1
        elif t_ns is _ABSENT and retained:
            reading.late_dropped += 1
        else:
            reading.samples.append((binding.slot, arrival_ns if t_ns is _ABSENT else t_ns, value))
    if bindings and absent == len(bindings):
        reading.invalid = 1
    return reading


class _Lazy:
    """A payload, decoded as plain text or as JSON when first asked for; None where it is neither."""

    def __init__(self, payload: bytes) -> None:
        self._payload = payload
        self._document: Any = _ABSENT

    def text(self) -> str | None:
        try:
            return self._payload.decode("ascii")
        except UnicodeDecodeError:
            return None

    def at(self, path: Path) -> Any:
        """The value at ``path``; _ABSENT; or None if the document is malformed (null reads the same)."""
        if self._document is _ABSENT:
            self._document = _load(self._payload)
        node = self._document
        if node is _MALFORMED:
            return None
        for step in path:
            if isinstance(step, str):
                if not isinstance(node, dict) or step not in node:
                    return _ABSENT
            elif not isinstance(node, list) or step >= len(node):
                return _ABSENT
            node = node[step]
        return node


_MALFORMED = object()


def _load(payload: bytes) -> Any:
    """The document, numbers as text; _MALFORMED also where it nests too deep for Python."""
    try:
        return _DECODER.decode(payload.decode("utf-8"))
    except (ValueError, RecursionError):
        return _MALFORMED


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_float=_Number, parse_int=_Number, parse_constant=_refuse)


def _value_of(document: _Lazy, binding: Binding) -> Any:
    """A float, _ABSENT, or None if there is something else."""
    if binding.value_path is None:
        text = document.text()
        return None if text is None else read_number(text)
    value = document.at(binding.value_path)
    if value is _ABSENT:
        return _ABSENT
    if isinstance(value, bool):
        return float(value)
    if isinstance(value, _Number) or (binding.numeric_strings and isinstance(value, str)):
        return read_number(value)
    return None


def _time_of(document: _Lazy, binding: Binding) -> Any:
    """Nanoseconds, _ABSENT, or None if there is something else."""
    if binding.time_path is None:
        return _ABSENT
    value = document.at(binding.time_path)
    if value is _ABSENT:
        return _ABSENT
    if binding.time_unit == "iso":
        return read_time(value, "iso") if isinstance(value, str) and not isinstance(value, _Number) else None
    if isinstance(value, _Number) or (binding.numeric_strings and isinstance(value, str)):
        return read_time(value, binding.time_unit)
    return None


def read_number(text: str) -> float | None:
    """A plain number, ``true`` or ``false`` between white space, correctly rounded; None if it is none or infinite."""
    text = text.strip(_SPACE)
    if text in ("true", "false"):
        return float(text == "true")
    if _NUMBER.fullmatch(text) is None:
        return None
    value = float(text)
    return value if isfinite(value) else None


def read_time(text: str, unit: str) -> int | None:
    """Nanoseconds since the epoch, rounded half to even; None if ``text`` is no time or beyond ±292 years."""
    if unit == "iso":
        return _read_iso(text)
    match = _NUMBER.fullmatch(text)
    if match is None:
        return None
    ns = _scaled(match["digits"], match["power"] or "0", UNITS[unit])
    if ns is None or ns > NS_MAX:
        return None
    return -ns if text.startswith("-") else ns


def _scaled(digits: str, power: str, exponent: int) -> int | None:
    """``digits * 10**(power + exponent)`` as a whole number, ties to even; None if it has over 20 digits."""
    number = Decimal(digits)
    if not number:
        return 0
    sign, size = power.startswith("-"), power.lstrip("+-").lstrip("0") or "0"
    if len(size) > _POWER_DIGITS_MAX:
        return 0 if sign else None
    shift = exponent + (-int(size) if sign else int(size))
    magnitude = number.adjusted() + shift
    if magnitude > 20:
        return None
    if magnitude < -2:
        return 0
    context = Context(prec=len(digits) + 30, rounding=ROUND_HALF_EVEN, Emax=MAX_EMAX, Emin=MIN_EMIN)
    return int(number.scaleb(shift, context).to_integral_value(ROUND_HALF_EVEN, context))


def _read_iso(text: str) -> int | None:
    match = _ISO.fullmatch(text)
    if match is None:
        return None
    part = {name: int(match[name] or 0) for name in ("hour", "minute", "second", "zone_hour", "zone_minute")}
    try:
        day = date(int(match["year"]), int(match["month"]), int(match["day"])).toordinal() - _EPOCH
    except ValueError:
        return None
    if part["hour"] > 23 or part["minute"] > 59 or part["second"] > 60:
        return None
    if part["zone_hour"] > 23 or part["zone_minute"] > 59:
        return None
    zone = (part["zone_hour"] * 60 + part["zone_minute"]) * (-1 if match["sign"] == "-" else 1)
    seconds = day * 86_400 + (part["hour"] * 60 + part["minute"] - zone) * 60 + part["second"]
    if not -NS_MAX <= seconds * 1_000_000_000 < NS_MAX:
        return None
    return seconds * 1_000_000_000 + (_scaled("." + (match["fraction"] or "0"), "0", 9) or 0)


def split_publish(packet: bytes, v5: bool) -> Publish:
    """Take one whole PUBLISH packet apart; :class:`PayloadError` if it is malformed."""
    size, i = _variable(packet, 1)
    header = packet[0]
    qos = header >> 1 & 3
    if header >> 4 != 3 or qos == 3 or i + size != len(packet):
        raise PayloadError("not one PUBLISH packet")
    topic, i = _string(packet, i)
    mid = 0
    if qos:
        mid = int.from_bytes(_take(packet, i, 2), "big")
        i += 2
        if mid == 0:
            raise PayloadError("a packet identifier of 0")
    alias = None
    if v5:
        length, i = _variable(packet, i)
        alias = _alias_of(_take(packet, i, length))
        i += length
    return Publish(topic, packet[i:], qos, mid, bool(header & 1), bool(header & 8), alias)


def _take(data: bytes, i: int, n: int) -> bytes:
    if i + n > len(data):
        raise PayloadError("a PUBLISH packet ends too early")
    return data[i : i + n]


def _string(data: bytes, i: int) -> tuple[bytes, int]:
    n = int.from_bytes(_take(data, i, 2), "big")
    return _take(data, i + 2, n), i + 2 + n


def _variable(data: bytes, i: int) -> tuple[int, int]:
    value = 0
    for k in range(4):
        byte = _take(data, i + k, 1)[0]
        value |= (byte & 127) << 7 * k
        if byte < 128:
            return value, i + k + 1
    raise PayloadError("a variable byte integer of more than 4 bytes")


_FIXED = {0x01: 1, 0x02: 4, 0x23: 2}
_STRINGS = {0x03: 1, 0x08: 1, 0x09: 1, 0x26: 2}


def _alias_of(properties: bytes) -> int | None:
    """The topic alias among the properties of a PUBLISH (MQTT 5, table 2-4)."""
    alias = None
    i = 0
    while i < len(properties):
        kind = properties[i]
        i += 1
        if kind in _FIXED:
            value = _take(properties, i, _FIXED[kind])
            i += _FIXED[kind]
            if kind == 0x23:
                alias = int.from_bytes(value, "big")
        elif kind == 0x0B:
            _, i = _variable(properties, i)
        elif kind in _STRINGS:
            for _ in range(_STRINGS[kind]):
                _, i = _string(properties, i)
        else:
            raise PayloadError(f"property {kind:#04x} in a PUBLISH packet")
    return alias
