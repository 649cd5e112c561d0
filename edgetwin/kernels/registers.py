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

The same two switches give the orders of 16-bit and 64-bit values. Source: Modbus Application Protocol V1.1b3,
section 4.2 (a word is big-endian on the wire); the orders are the usual names in device manuals.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edgetwin.kernels.jit import kernel

INT16, UINT16, INT32, UINT32, FLOAT32, FLOAT64, BIT = range(7)

KINDS = {
    "int16": INT16,
    "uint16": UINT16,
    "int32": INT32,
    "uint32": UINT32,
    "float32": FLOAT32,
    "float64": FLOAT64,
    "bit": BIT,
}
WORDS = {INT16: 1, UINT16: 1, INT32: 2, UINT32: 2, FLOAT32: 2, FLOAT64: 4, BIT: 1}
"""Registers that a value of each kind takes."""

ORDERS = {"ABCD": (0, 0), "CDAB": (1, 0), "BADC": (0, 1), "DCBA": (1, 1)}
"""(low word first, low byte first) of each byte order."""

PLAN = np.dtype(
    [
        ("scale", np.float64),
        ("offset", np.float64),
        ("at", np.int32),  # words from the start of the block to the first word of the value
        ("words", np.int32),  # 1, 2 or 4
        ("kind", np.uint8),  # one of KINDS
        ("words_low_first", np.uint8),
        ("bytes_low_first", np.uint8),
        ("bit", np.uint8),  # for BIT: 0 is the least significant
    ],
    align=True,
)
"""One row for each value in a block."""

_BYTE = np.uint64(0xFF)
_EIGHT = np.uint64(8)
_SIXTEEN = np.uint64(16)
_ONE = np.uint64(1)


@kernel
def decode(words: NDArray[np.uint16], plan: NDArray[np.void], out: NDArray[np.float64]) -> None:
    """Values of a block: ``out[k] = plan[k].scale * raw + plan[k].offset``.

    ``words`` uint16[n] the block as read; ``plan`` PLAN[m]; ``out`` float64[m] is written. A NaN or infinity
    in the device passes on as it is. A plan row that reaches outside ``words`` gives NaN and reads nothing.
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
        if at < 0 or at + count > len(words):
            out[k] = math.nan
            continue
        pattern = _gather(words, at, count, row["words_low_first"], row["bytes_low_first"])
        if kind == FLOAT64:
            pattern64[0] = pattern
            raw = float(float64[0])
        elif kind == FLOAT32:
            pattern32[0] = np.uint32(pattern)
            raw = float(float32[0])
        elif kind == BIT:
            raw = float((pattern >> np.uint64(row["bit"])) & _ONE)
        else:
            raw = float(pattern)
            if kind == INT16 and raw >= 32768.0:
                raw -= 65536.0
            elif kind == INT32 and raw >= 2147483648.0:
                raw -= 4294967296.0
        out[k] = float(row["scale"]) * raw + float(row["offset"])


@kernel
def _gather(words: NDArray[np.uint16], at: int, count: int, words_low_first: int, bytes_low_first: int) -> np.uint64:
    """The bit pattern of a value, most significant byte first."""
    pattern = np.uint64(0)
    for i in range(count):
        index = at + count - 1 - i if words_low_first else at + i
        word = np.uint64(words[index])
        if bytes_low_first:
            word = ((word & _BYTE) << _EIGHT) | (word >> _EIGHT)
        pattern = (pattern << _SIXTEEN) | word
    return pattern
