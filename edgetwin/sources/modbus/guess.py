"""What registers of an unknown device probably hold, judged by what they showed in several readings. No I/O.

Each position is tried as a text, a float32, a 32-bit counter and a 16-bit integer; a dynamic programme takes the
sequence with the greatest sum of confidence × registers. Nothing here is proof: confidences are ranks between 0 and 1.

A float32 is plausible when every reading is finite and between 10^-4 and 10^7 in size (14 % of random patterns), and
moves little from one reading to the next; it is likely when it is a short decimal (1 in 1000 by chance), or when its
mantissa moves while sign and exponent stand still. The word order is that in which more of the device is plausible.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgetwin.config.registers import register_words
from edgetwin.config.schema import Register
from edgetwin.sources.modbus.layouts import make_layout

FLOAT_MIN, FLOAT_MAX = 1e-4, 1e7
TEXT_WORDS_MIN, TEXT_WORDS_MAX = 2, 32
ABSENT = (0x8000, 0xFFFF)
"""Words that commonly mean "no value"."""

Readings = NDArray[np.uint16]
"""uint16[readings, registers]"""


@dataclass(frozen=True, slots=True)
class Guess:
    """A register (for a text: its ``text``), why, and how sure; ``value`` is the last one read."""

    register: Register
    confidence: float
    reason: str
    value: float
    changed: bool
    text: str = ""


def guess(table: str, address: int, readings: Readings, order: str) -> list[Guess]:
    """What the registers from ``address`` hold, in the order of addresses."""
    n = readings.shape[1]
    best: list[float] = [0.0] * (n + 1)
    chosen: list[Guess | None] = [None] * n
    for at in range(n - 1, -1, -1):
        best[at] = -1.0
        for candidate in _candidates(table, address + at, readings[:, at:], order):
            words = register_words(candidate.register)
            total = candidate.confidence * words + best[at + words]
            if total > best[at]:
                best[at], chosen[at] = total, candidate
    found: list[Guess] = []
    at = 0
    while at < n:
        here = chosen[at]
        assert here is not None, "a single register can always be read as one"
        found.append(here)
        at += register_words(here.register)
    return found


def word_order(blocks: list[Readings]) -> str:
    """``ABCD`` or ``CDAB`` (or one with swapped bytes, where only that makes sense): the order of most floats."""
    scores = {order: sum(_floats(block, order) for block in blocks) for order in ("ABCD", "CDAB", "BADC", "DCBA")}
    best = max(scores, key=lambda order: scores[order])
    return best if scores[best] > 0 else "ABCD"


def _floats(readings: Readings, order: str) -> float:
    """The sum of what floats can be found side by side."""
    total, at = 0.0, 0
    while at + 2 <= readings.shape[1]:
        found = _float("holding", 0, readings[:, at : at + 2], order)
        total += found.confidence if found is not None else 0.0
        at += 1 if found is None else 2
    return total


def _candidates(table: str, address: int, readings: Readings, order: str) -> Iterator[Guess]:
    yield _integer(table, address, readings[:, :1])
    if readings.shape[1] >= 2:
        for found in (
            _float(table, address, readings[:, :2], order),
            _counter(table, address, readings[:, :2], "CDAB" if order in ("CDAB", "DCBA") else "ABCD"),
            _text(table, address, readings),
        ):
            if found is not None:
                yield found


def _values(register: Register, readings: Readings) -> NDArray[np.float64]:
    layout = make_layout([register], register.address)
    return np.array([layout.decode(np.ascontiguousarray(row))[0] for row in readings])


def _integer(table: str, address: int, readings: Readings) -> Guess:
    kind = "int16" if bool((readings >= 0xF000).any()) else "uint16"
    register = Register(table=table, address=address, type=kind)  # type: ignore[arg-type]
    values = _values(register, readings)
    changed = bool(np.ptp(values) > 0)
    if not changed and int(readings[0, 0]) in ABSENT:
        return Guess(register, 0.1, f"always {readings[0, 0]:#06x}, which often means no value", values[-1], changed)
    if not changed:
        return Guess(register, 0.2, "does not change", values[-1], changed)
    slow = _is_slow(values)
    return Guess(register, 0.5 if slow else 0.2, "changes slowly" if slow else "jumps", values[-1], changed)


def _float(table: str, address: int, readings: Readings, order: str) -> Guess | None:
    register = Register(table=table, address=address, type="float32", order=order)  # type: ignore[arg-type]
    values = _values(register, readings)
    size = np.abs(values)
    if not bool(np.all(np.isfinite(values) & (size >= FLOAT_MIN) & (size <= FLOAT_MAX))) or not _is_slow(values):
        return None
    changed = bool(np.ptp(values) > 0)
    pattern = values.astype(np.float32).view(np.uint32).astype(np.int64)
    if all(_is_short(value) for value in values):
        return Guess(register, 0.9, "a short decimal", values[-1], changed)
    if np.ptp(pattern & 0xFFFF) > 0xFF and np.ptp(pattern >> 23) == 0:
        return Guess(register, 0.85, "its mantissa moves, its exponent does not", values[-1], changed)
    return Guess(register, 0.45, "a plausible size", values[-1], changed)


def _counter(table: str, address: int, readings: Readings, order: str) -> Guess | None:
    register = Register(table=table, address=address, type="uint32", order=order)  # type: ignore[arg-type]
    values = _values(register, readings)
    steps = np.diff(values)
    if not bool(np.all(steps >= 0) and np.any(steps > 0)) or values[-1] >= 2**28 or values[-1] < 1:
        return None
    beyond = values[-1] >= 2**16
    reason = "counts up" + ("" if beyond else ", and the word beside it is 0")
    return Guess(register, 0.75 if beyond and _is_slow(values) else 0.4, reason, values[-1], changed=True)


def _text(table: str, address: int, readings: Readings) -> Guess | None:
    """Printable characters that do not change, at least four, ended by NULs or what is not printable."""
    if not bool((readings == readings[0]).all(axis=0)[0]):
        return None
    data = readings[0, :TEXT_WORDS_MAX].astype(">u2").tobytes()
    end = next((i for i, byte in enumerate(data) if not 32 <= byte < 127), len(data))
    if end < 2 * TEXT_WORDS_MIN or not any(chr(byte).isalpha() for byte in data[:end]):
        return None
    words = (end + 1) // 2
    if end % 2 and data[end] != 0:
        words -= 1
    steady = bool((readings[:, :words] == readings[0, :words]).all())
    letters = sum(chr(byte).isalnum() or byte in b" ._-/" for byte in data[:end]) / end
    if not steady or letters < 0.9:
        return None
    while words < min(readings.shape[1], TEXT_WORDS_MAX) and not readings[:, words].any():
        words += 1  # padding
    content = data[:end].decode("ascii").rstrip()
    register = Register(table=table, address=address, type="string", length=words, enum={content: 1.0})  # type: ignore[arg-type]
    return Guess(register, 0.95, "text", 1.0, changed=False, text=content)


def _is_slow(values: NDArray[np.float64]) -> bool:
    """Steps between readings are small beside the value, or beside 10."""
    scale = np.maximum(np.abs(values).max(), 10.0)
    return bool(len(values) < 2 or np.abs(np.diff(values)).max() <= 0.2 * scale)


def _is_short(value: float) -> bool:
    """A number of at most four digits, as float32 shows it."""
    return bool(np.float32(f"{value:.4g}") == np.float32(value))
