"""An output that is a register or a coil: a value to words, written, and read again."""

from __future__ import annotations

import struct

import numpy as np

from edgetwin.config.registers import BCD, BITS, FLOAT_FORMATS, FLOATS, SIGNED, raw_number
from edgetwin.config.schema import ModbusSource, Register
from edgetwin.errors import ConfigError, ControlError
from edgetwin.kernels.registers import ORDERS
from edgetwin.sources.modbus.bindings import Binding, make_block
from edgetwin.sources.modbus.frames import FramingError, LinkError, RefusalError, WrongAnswerError
from edgetwin.sources.modbus.link import Link


class ModbusWriter:
    """Writes ahead of the polls of the same link; the echo is checked by the link."""

    def __init__(self, link: Link, source: ModbusSource, register: Register) -> None:
        self._link = link
        self._unit = source.unit if register.unit is None else register.unit
        self._timeout_s = float(source.timeout)
        self._register = register
        binding = Binding(0, register)
        self._block = make_block(register.table, register.address, binding.end - binding.start, [binding])
        self._rounding = 0.0

    @property
    def resolution(self) -> float:
        """Largest difference between a value and what the register holds for it; of floats, the last one written."""
        r = self._register
        if r.enum or r.type in FLOATS:
            return self._rounding
        return abs(r.scale) / 2

    async def write(self, value: float) -> None:
        """Write and have the echo checked; ControlError when the device refuses, is silent or answers wrongly."""
        r = self._register
        data = words(value, r)
        self._rounding = abs(float(self._block.decode(np.array(data, np.uint16))[0]) - value)
        try:
            await self._link.write(self._unit, r.table, r.address, data, timeout_s=self._timeout_s)
        except RefusalError as exc:
            raise ControlError(f"the device refused the write: {exc}") from exc
        except (LinkError, WrongAnswerError, FramingError, OSError) as exc:
            raise ControlError(f"the write failed: {exc}", sent=getattr(exc, "sent", True)) from exc

    async def read(self) -> float | None:
        """What the register holds."""
        block = self._block
        try:
            found = await self._link.read(
                self._unit, block.table, block.address, block.count, timeout_s=self._timeout_s, urgent=True
            )
        except (RefusalError, LinkError, WrongAnswerError, FramingError, OSError) as exc:
            raise ControlError(f"it cannot be read back: {exc}", sent=True) from exc
        return float(block.decode(found.values)[0])


def words(value: float, register: Register) -> list[int]:
    """The registers (or the coil) that stand for ``value``; ControlError when its type cannot hold it."""
    try:
        raw = raw_number(value, register)
    except ConfigError as exc:
        raise ControlError(exc.message, hint=exc.hint) from None
    if register.table == "coil":
        return [int(raw)]
    data = _bytes(raw, register.type)
    low_word_first, low_byte_first = ORDERS[register.order]
    found = [int.from_bytes(data[k : k + 2], "little" if low_byte_first else "big") for k in range(0, len(data), 2)]
    return found[::-1] if low_word_first else found


def _bytes(raw: float, kind: str) -> bytes:
    """Most significant byte first."""
    if kind in FLOATS:
        return struct.pack(FLOAT_FORMATS[kind], raw)
    number = int(str(int(raw)), 16) if kind in BCD else int(raw)
    return number.to_bytes(BITS[kind] // 8, "big", signed=kind in SIGNED)
