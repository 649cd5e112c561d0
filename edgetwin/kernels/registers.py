"""Modbus registers to numbers.

A block of registers arrives as 16-bit words in the order of their addresses; a plan says which values stand
in it. The four byte orders name where the bytes A (most significant) to D of a value stand on the wire:

====  ==================  ====================
name  words               bytes within a word
====  ==================  ====================
ABCD  high word first     high byte first
CDAB  low word first      high byte first
BADC  high word first     low byte first
DCBA  low word first      low byte first
====  ==================  ====================

The same two switches give the orders of values of one, three and four words. Source: Modbus Application Protocol
V1.1b3, section 4.2 (a word is big-endian on the wire); the orders are the usual names in device manuals.

A value goes through these steps; where one fails the value is NaN, which the engine counts INVALID::

    words ─order─▶ pattern ─low, bits─▶ field ─kind─▶ number ─invalid?─▶ mask, shift ─▶ enum ─▶ 10^sf ─▶ scale, offset
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edgetwin.kernels.jit import kernel

UNSIGNED, SIGNED, FLOAT16, FLOAT32, FLOAT64, BCD, TEXT = range(7)
"""What the bits of a value mean. BCD: four bits a digit. TEXT: two characters a word, ended by NUL."""

ORDERS = {"ABCD": (0, 0), "CDAB": (1, 0), "BADC": (0, 1), "DCBA": (1, 1)}
"""(low word first, low byte first) of each byte order."""

PLAN = np.dtype(
    [
        ("scale", np.float64),
        ("offset", np.float64),
        ("mask", np.uint64),  # bits of the field that count; 0: all
        ("at", np.int32),  # words from the start of the block to the first word of the value
        ("words", np.int32),  # 1 to 4; more for TEXT
        ("scale_at", np.int32),  # words from the start of the block to the scale register; -1: there is none
        ("invalid_at", np.int32),  # first row of CHOICES with a number that means "no value", and how many
        ("invalid", np.int32),
        ("enum_at", np.int32),  # first row of CHOICES with a number or text and what it stands for, and how many
        ("enum", np.int32),
        ("kind", np.uint8),
        ("low", np.uint8),  # the field begins at this bit of the pattern, 0 being the least significant
        ("bits", np.uint8),  # its width, 1 to 64
        ("shift", np.uint8),  # to the right, after mask
        ("masked_bits", np.uint8),  # width after mask and shift, 1 to 64: the highest is the sign of a SIGNED
        ("words_low_first", np.uint8),
        ("bytes_low_first", np.uint8),
    ],
    align=True,
)
"""One row for each value in a block."""

CHOICE = np.dtype([("raw", np.float64), ("value", np.float64), ("text_at", np.int32), ("text", np.int32)], align=True)
"""A number, or ``text`` bytes from ``text_at``, and the value it stands for."""

SCALE_EXPONENT_MAX = 10
"""Scale registers hold a power of ten from -10 to 10; anything else is "not implemented". Source: SunSpec Device
Information Model Specification V1.1 (sunssf)."""

_ALL = np.uint64(0xFFFF_FFFF_FFFF_FFFF)
_BYTE = np.uint64(0xFF)
_DIGIT = np.uint64(0xF)
_ZERO = np.uint64(0)
_ONE = np.uint64(1)
_FOUR = np.uint64(4)
_EIGHT = np.uint64(8)
_SIXTEEN = np.uint64(16)
_SIXTY_FOUR = np.uint64(64)


@kernel
def decode(
    words: NDArray[np.uint16],
    plan: NDArray[np.void],
    choices: NDArray[np.void],
    texts: NDArray[np.uint8],
    out: NDArray[np.float64],
) -> None:
    """Values of a block, as in the module's docstring: ``out[k] = scale * (raw * 10^sf) + offset``.

    ``words`` uint16[n] the block as read; ``plan`` PLAN[m]; ``choices`` CHOICE[c] and ``texts`` uint8[t] belong to
    it; ``out`` float64[m] is written. A NaN or infinity in the device passes on as it is. A plan row that reaches
    outside ``words`` gives NaN and reads nothing. Integers beyond 2^53 are rounded to the nearest float64.
    """
    pattern32 = np.zeros(1, np.uint32)
    pattern64 = np.zeros(1, np.uint64)
    float32 = pattern32.view(np.float32)
    float64 = pattern64.view(np.float64)
    for k in range(len(plan)):
        row = plan[k]
        kind = int(row["kind"])
        at = int(row["at"])
        count = int(row["words"])
        scale_at = int(row["scale_at"])
        if at < 0 or at + count > len(words) or scale_at >= len(words):
            out[k] = math.nan
            continue
        if kind == TEXT:
            raw = _look_up_text(words, row, choices, texts)
        else:
            pattern = _gather(words, at, count, row["words_low_first"], row["bytes_low_first"])
            if kind == FLOAT64:
                pattern64[0] = pattern
                raw = float(float64[0])
            elif kind == FLOAT32:
                pattern32[0] = np.uint32(pattern)
                raw = float(float32[0])
            elif kind == FLOAT16:
                raw = _half(pattern)
            else:
                raw = _whole(pattern, row, choices)
            if kind >= FLOAT16 and kind <= FLOAT64 and _is_listed(raw, row["invalid_at"], row["invalid"], choices):
                raw = math.nan
            if row["enum"] > 0:
                raw = _look_up(raw, row["enum_at"], row["enum"], choices)
        if scale_at >= 0:
            raw = _scaled(raw, np.uint64(words[scale_at]), row["bytes_low_first"])
        out[k] = float(row["scale"]) * raw + float(row["offset"])


@kernel
def _gather(words: NDArray[np.uint16], at: int, count: int, words_low_first: int, bytes_low_first: int) -> np.uint64:
    """The bit pattern of a value, most significant byte first."""
    pattern = np.uint64(0)
    for i in range(count):
        index = at + count - 1 - i if words_low_first else at + i
        pattern = (pattern << _SIXTEEN) | _word(np.uint64(words[index]), bytes_low_first)
    return pattern


@kernel
def _word(word: np.uint64, bytes_low_first: int) -> np.uint64:
    """A word with its high byte first."""
    return ((word & _BYTE) << _EIGHT) | (word >> _EIGHT) if bytes_low_first else word


@kernel
def _whole(pattern: np.uint64, row: np.void, choices: NDArray[np.void]) -> float:
    """The integer or BCD number in ``pattern``; NaN when it is one of the invalid ones, or no BCD."""
    kind = int(row["kind"])
    bits = np.uint64(row["bits"])
    field = (pattern >> np.uint64(row["low"])) & (_ALL >> (_SIXTY_FOUR - bits))
    raw = _bcd(field) if kind == BCD else _integer(field, bits, kind == SIGNED)
    if _is_listed(raw, row["invalid_at"], row["invalid"], choices):
        return math.nan
    mask = np.uint64(row["mask"])
    if mask == _ZERO:
        return raw
    return _integer((field & mask) >> np.uint64(row["shift"]), np.uint64(row["masked_bits"]), kind == SIGNED)


@kernel
def _integer(field: np.uint64, bits: np.uint64, signed: bool) -> float:
    """``field``, ``bits`` wide, as a number; two's complement when ``signed``."""
    if signed and (field >> (bits - _ONE)) & _ONE:
        magnitude = ((~field) & (_ALL >> (_SIXTY_FOUR - bits))) + _ONE
        return -float(magnitude)
    return float(field)


@kernel
def _bcd(field: np.uint64) -> float:
    """Four bits a digit, the first the most significant; NaN when one is no digit."""
    number = 0.0
    weight = 1.0
    while field != _ZERO:
        digit = float(field & _DIGIT)
        if digit > 9.0:
            return math.nan
        number += weight * digit
        weight *= 10.0
        field = field >> _FOUR
    return number


@kernel
def _half(pattern: np.uint64) -> float:
    """IEEE 754 binary16: 1 bit of sign, 5 of exponent (bias 15), 10 of fraction."""
    bits = int(pattern)
    sign = -1.0 if bits >> 15 else 1.0
    exponent = (bits >> 10) & 0x1F
    fraction = float(bits & 0x3FF)
    if exponent == 0x1F:
        return sign * math.inf if fraction == 0.0 else math.nan
    if exponent == 0:
        return sign * math.ldexp(fraction, -24)
    return sign * math.ldexp(1024.0 + fraction, exponent - 25)


@kernel
def _is_listed(raw: float, first: int, count: int, choices: NDArray[np.void]) -> bool:
    """Whether ``raw`` is one of the numbers from row ``first``."""
    found = False
    for i in range(first, first + count):
        found = found or choices[i]["raw"] == raw
    return found


@kernel
def _look_up(raw: float, first: int, count: int, choices: NDArray[np.void]) -> float:
    """What ``raw`` stands for; NaN when it is not listed."""
    for i in range(first, first + count):
        if choices[i]["raw"] == raw:
            return float(choices[i]["value"])
    return math.nan


@kernel
def _look_up_text(
    words: NDArray[np.uint16], row: np.void, choices: NDArray[np.void], texts: NDArray[np.uint8]
) -> float:
    """What the text in ``words`` stands for, NULs and spaces at its end left out; NaN when it is not listed."""
    size = 2 * int(row["words"])
    end = 0
    for i in range(size):
        character = _character(words, row, i)
        if character == 0:
            break
        if character != 32:
            end = i + 1
    for c in range(row["enum_at"], row["enum_at"] + row["enum"]):
        choice = choices[c]
        same = choice["text"] == end
        for i in range(end if same else 0):
            if texts[choice["text_at"] + i] != _character(words, row, i):
                same = False
                break
        if same:
            return float(choice["value"])
    return math.nan


@kernel
def _character(words: NDArray[np.uint16], row: np.void, i: int) -> int:
    """Character ``i`` of a text."""
    word = i // 2
    if row["words_low_first"]:
        word = int(row["words"]) - 1 - word
    pair = int(_word(np.uint64(words[int(row["at"]) + word]), row["bytes_low_first"]))
    return pair & 0xFF if i % 2 else pair >> 8


@kernel
def _scaled(raw: float, word: np.uint64, bytes_low_first: int) -> float:
    """``raw`` times the power of ten in a scale register, rounded once; NaN when that is out of bounds."""
    exponent = int(_integer(_word(word, bytes_low_first), _SIXTEEN, True))
    if exponent < -SCALE_EXPONENT_MAX or exponent > SCALE_EXPONENT_MAX:
        return math.nan
    power = 1.0
    for _ in range(abs(exponent)):
        power *= 10.0
    return raw / power if exponent < 0 else raw * power
