"""How values lie in Modbus registers: the types, what they fill, what may be said of them.

The arithmetic is in :mod:`edgetwin.kernels.registers`.
"""

from __future__ import annotations

import struct

from edgetwin.config.schema import Register
from edgetwin.errors import ConfigError

BIT_TABLES = ("coil", "discrete")

UNSIGNED = {"bit": 1, "uint8": 8, "uint16": 16, "uint32": 32, "uint48": 48, "uint64": 64}
SIGNED = {"int8": 8, "int16": 16, "int32": 32, "int48": 48, "int64": 64}
FLOATS = {"float16": 16, "float32": 32, "float64": 64}
BCD = {"bcd16": 16, "bcd32": 32}
"""Bits of each type, by what they mean."""

FLOAT_FORMATS = {"float16": ">e", "float32": ">f", "float64": ">d"}
"""For :mod:`struct`, most significant byte first."""

BITS = UNSIGNED | SIGNED | FLOATS | BCD
WORDS = {kind: (bits + 15) // 16 for kind, bits in BITS.items()}
"""Registers that a value of each type fills; a string fills ``length``."""

BYTES = ("int8", "uint8")
"""Types that share a register with another of their kind."""

Extent = tuple[int, int]
"""First address and address after the last."""


def is_bit_table(table: str) -> bool:
    """Whether an address of the table is one bit instead of a 16-bit register."""
    return table in BIT_TABLES


def register_words(register: Register) -> int:
    """Registers (or bits of a table of bits) that the value fills."""
    if is_bit_table(register.table):
        return 1
    return register.length or 1 if register.type == "string" else WORDS[register.type]


def value_extent(register: Register) -> Extent:
    """Where the value stands."""
    return register.address, register.address + register_words(register)


def read_extent(register: Register) -> Extent:
    """What one request must read for the value: its scale register too."""
    start, end = value_extent(register)
    at = register.scale_from
    return (start, end) if at is None else (min(start, at), max(end, at + 1))


def partial(register: Register) -> bool:
    """Whether the value is only a part of its registers, so that others may stand beside it."""
    return register.type in ("bit", *BYTES) or register.mask is not None


def enum_keys(register: Register) -> dict[float, float]:
    """The ``enum`` of a numeric type by number; ConfigError when a key is not a whole number."""
    found: dict[float, float] = {}
    for text, value in register.enum.items():
        try:
            found[float(int(text, 0))] = value
        except ValueError:
            hint = "write whole numbers, such as 0: 1.5"
            raise ConfigError(f"{text!r} is not what {register.type} can hold", hint=hint) from None
    return found


def enum_texts(register: Register) -> dict[bytes, float]:
    """The ``enum`` of a string; ConfigError when a text is not ASCII or longer than the string."""
    found: dict[bytes, float] = {}
    for text, value in register.enum.items():
        if not text.isascii() or len(text) > 2 * register_words(register):
            hint = "write ASCII texts of at most 2 × length characters"
            raise ConfigError(f"{text!r} is not what the string can hold", hint=hint)
        found[text.rstrip(" \0").encode()] = value
    return found


def sentinels(register: Register) -> list[float]:
    """The ``invalid`` numbers as the type shows them: 0x8000 is -32768 in int16. ConfigError when it cannot."""
    return [_sentinel(value, register.type) for value in register.invalid]


def _sentinel(value: float, kind: str) -> float:
    if kind in FLOATS:
        return value
    low, high = whole_range(kind)
    top = 2.0 ** BITS[kind] if kind in SIGNED else 0.0
    number = value - top if kind in SIGNED and high < value < top else value
    if number != int(number) or not float(low) <= number <= float(high):
        raise ConfigError(f"{value:g} is not what {kind} can hold", hint=f"{kind} holds {low} to {high}")
    return number


def whole_range(kind: str) -> tuple[int, int]:
    """Lowest and highest number of an integer or BCD type."""
    if kind in SIGNED:
        return -(1 << SIGNED[kind] - 1), (1 << SIGNED[kind] - 1) - 1
    if kind in BCD:
        return 0, 10 ** (BCD[kind] // 4) - 1
    return 0, (1 << UNSIGNED[kind]) - 1


def raw_number(value: float, register: Register) -> float:
    """The number that stands for ``value`` in the device, whole unless the type is a float; ConfigError when the
    register (or the coil) cannot hold it."""
    kind = register.type
    raw = (value - register.offset) / register.scale
    if register.enum:
        raw = _choice(raw, value, register)
    if kind in FLOATS:
        try:
            struct.pack(FLOAT_FORMATS[kind], raw)
        except OverflowError:
            raise _unfit(value, kind) from None
    else:
        low, high = whole_range(kind)
        raw = round(raw)
        if not low <= raw <= high:
            raise _unfit(value, kind)
    if raw in sentinels(register):
        hint = "the number means no value to the device"
        raise ConfigError(f"{value:g} would be written as {raw:g}, which is listed as invalid", hint=hint)
    return raw


def _choice(raw: float, value: float, register: Register) -> float:
    for key, meant in enum_keys(register).items():
        if abs(meant - raw) <= 1e-9 * max(1.0, abs(raw)):
            return key
    raise ConfigError(f"{value:g} is none of the values of enum", hint="take one of those that the output lists")


def _unfit(value: float, kind: str) -> ConfigError:
    return ConfigError(f"{value:g} does not fit into {kind}", hint="check type, scale, offset and range of the output")
