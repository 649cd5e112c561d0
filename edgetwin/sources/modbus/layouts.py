"""What the kernel must know of the values in a block, from the registers of the configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgetwin.config.registers import BCD, BITS, SIGNED, enum_keys, enum_texts, is_bit_table, register_words, sentinels
from edgetwin.config.schema import Register
from edgetwin.kernels import registers as kernels
from edgetwin.kernels.registers import CHOICE, ORDERS, PLAN, decode

_FLOATS = {"float16": kernels.FLOAT16, "float32": kernels.FLOAT32, "float64": kernels.FLOAT64}


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """``plan`` PLAN[m], with ``choices`` CHOICE[c] and ``texts`` uint8[t]: see :mod:`edgetwin.kernels.registers`."""

    plan: NDArray[np.void]
    choices: NDArray[np.void]
    texts: NDArray[np.uint8]

    def decode(self, words: NDArray[np.uint16]) -> NDArray[np.float64]:
        """float64[m] values from the ``words`` uint16[n] of the block."""
        out = np.empty(len(self.plan))
        decode(words, self.plan, self.choices, self.texts, out)
        return out


def make_layout(registers: Sequence[Register], address: int) -> Layout:
    """The layout of a block that starts at ``address``. ConfigError for enum or invalid values its type cannot hold."""
    choices = _Choices()
    rows = [_row(register, address, choices) for register in registers]
    texts = np.array(list(choices.texts), np.uint8)  # writable: the kernel is compiled for one type
    return Layout(np.array(rows, PLAN), np.array(choices.rows, CHOICE), texts)


class _Choices:
    """Rows of CHOICE, gathered for a block."""

    def __init__(self) -> None:
        self.rows: list[tuple[float, float, int, int]] = []
        self.texts = bytearray()

    def numbers(self, numbers: Mapping[float, float]) -> tuple[int, int]:
        """First row and count."""
        first = len(self.rows)
        self.rows += [(raw, value, 0, 0) for raw, value in numbers.items()]
        return first, len(numbers)

    def strings(self, strings: Mapping[bytes, float]) -> tuple[int, int]:
        """First row and count."""
        first = len(self.rows)
        for text, value in strings.items():
            self.rows.append((0.0, value, len(self.texts), len(text)))
            self.texts += text
        return first, len(strings)


def _row(r: Register, address: int, choices: _Choices) -> tuple[float, ...]:
    of_bits = is_bit_table(r.table)
    kind = "bit" if of_bits or r.bit is not None else r.type
    text = kind == "string"
    low = 0 if of_bits else (r.bit or 0) if kind == "bit" else 8 if r.byte == "high" else 0
    mask = r.mask or 0
    return (
        r.scale,
        r.offset,
        mask,
        r.address - address,
        register_words(r),
        -1 if r.scale_from is None else r.scale_from - address,
        *choices.numbers(dict.fromkeys(sentinels(r), 0.0)),
        *(choices.strings(enum_texts(r)) if text else choices.numbers(enum_keys(r))),
        _kind(kind),
        low,
        1 if text else BITS[kind],
        r.shift,
        max(1, mask.bit_length() - r.shift) if mask else 1,
        *((0, 0) if of_bits else ORDERS[r.order]),
    )


def _kind(name: str) -> int:
    if name == "string":
        return kernels.TEXT
    if name in BCD:
        return kernels.BCD
    return _FLOATS.get(name, kernels.SIGNED if name in SIGNED else kernels.UNSIGNED)
