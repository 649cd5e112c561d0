"""A configuration drafted from what was found in a device."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgetwin.config.registers import is_bit_table
from edgetwin.config.schema import Register, SunSpec
from edgetwin.sources.modbus.guess import Guess, guess, word_order
from edgetwin.sources.modbus.survey import Span

SURE = 0.5
BITS_MAX = 64


@dataclass(frozen=True, slots=True)
class FoundPoint:
    """A point of a SunSpec model that has a value."""

    point: SunSpec
    value: float
    unit: str


def draft(url: str, unit: int, spans: Sequence[Span], points: Sequence[FoundPoint]) -> str:
    """YAML that `edgetwin check` accepts: what is likely as signals, the rest as comments; "" when there is nothing."""
    read = [s for s in spans if s.readings]
    words = [np.stack(s.readings) for s in read if not is_bit_table(s.table)]
    order = word_order(words)
    guesses: list[Guess] = []
    for span in read:
        readings = np.stack(span.readings)
        if is_bit_table(span.table):
            guesses += _bits(span, readings)
        else:
            guesses += guess(span.table, span.address, readings, order)
    if not guesses and not points:
        return ""
    shown = [g for g in guesses if not g.text and (g.changed or g.confidence >= SURE)]
    if not shown and not points:
        shown = [g for g in guesses if not g.text]
    lines = [_point_line(p) for p in points]
    lines += [_line(g, active=any(g is s for s in shown)) for g in guesses]
    if not points and not shown:
        lines.append("#")  # texts only: below, a signal that stands for the first of them
        lines.append(_signal(guesses[0], "text"))
    head = [
        "# Drafted by `edgetwin modbus probe`: types and orders are guesses, with their confidence from 0 to 1.",
        f"# Word order of the device: {order}. Compare with its manual before you trust a value.",
        "gateway: probed",
        "sources:",
        f"  - {{name: device, kind: modbus, url: {json.dumps(url)}, unit: {unit}}}",
        "twins:",
        "  - name: device",
        "    signals:",
    ]
    return "\n".join(head + [f"      {line}" for line in lines]) + "\n"


def _bits(span: Span, readings: np.ndarray[tuple[int, ...], np.dtype[np.uint16]]) -> list[Guess]:
    found = []
    for i in range(min(span.count, BITS_MAX)):
        register = Register(table=span.table, address=span.address + i, type="bit")  # type: ignore[arg-type]
        changed = bool(np.ptp(readings[:, i]) > 0)
        found.append(Guess(register, 1.0 if changed else 0.3, "a bit", float(readings[-1, i]), changed))
    return found


def _line(g: Guess, *, active: bool) -> str:
    value = f'"{g.text}"' if g.text else f"{g.value:g}"
    mark = "" if active else "# "
    return f"{mark}{_signal(g, g.register.table)}  # {value}; {g.confidence:.2f}: {g.reason}"


def _signal(g: Guess, prefix: str) -> str:
    r = g.register
    keys = [f"table: {r.table}", f"address: {r.address}", f"type: {r.type}"]
    if r.type in ("float32", "uint32", "int32"):
        keys.append(f"order: {r.order}")
    if r.type == "string":
        keys += [f"length: {r.length}", f"enum: {{{json.dumps(g.text)}: 1}}"]
    return f"{prefix}_{r.address}: {{source: device, register: {{{', '.join(keys)}}}}}"


def _point_line(found: FoundPoint) -> str:
    p = found.point
    keys = [f"model: {p.model}", f"point: {p.point}"]
    name = f"m{p.model}"
    if p.instance > 1:
        keys.append(f"instance: {p.instance}")
        name += f"_{p.instance}"
    if p.group:
        keys += [f"group: {p.group}", f"index: {p.index}"]
        name += f"_{p.group}{p.index}"
    signal = f"{name}_{p.point}: {{source: device, sunspec: {{{', '.join(keys)}}}}}"
    return f"{signal}  # {found.value:g} {found.unit}".rstrip()
