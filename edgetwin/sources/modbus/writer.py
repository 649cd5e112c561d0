"""An output that is a register or a coil: a value to words, written, and read again."""

from __future__ import annotations

import struct

import numpy as np

from edgetwin.config.schema import ModbusSource, Register
from edgetwin.errors import ControlError
from edgetwin.kernels.registers import ORDERS, decode
from edgetwin.sources.modbus.bindings import Binding, make_block
from edgetwin.sources.modbus.frames import FramingError, LinkError, RefusalError, WrongAnswerError
from edgetwin.sources.modbus.link import Link

_FORMATS = {"int16": ">h", "uint16": ">H", "int32": ">i", "uint32": ">I", "float32": ">f", "float64": ">d"}
_WHOLE = {
    "int16": (-(2**15), 2**15 - 1),
    "uint16": (0, 2**16 - 1),
    "int32": (-(2**31), 2**31 - 1),
    "uint32": (0, 2**32 - 1),
}


class ModbusWriter:
    """Writes ahead of the polls of the same link; the echo is checked by the link."""

    def __init__(self, link: Link, source: ModbusSource, register: Register) -> None:
        self._link = link
        self._unit = source.unit if register.unit is None else register.unit
        self._timeout_s = float(source.timeout)
        self._register = register
        binding = Binding(0, register)
        self._block = make_block(register.table, register.address, binding.end - binding.start, [binding])

    @property
    def resolution(self) -> float:
        """Largest difference between a value and what the register can hold next to it."""
        r = self._register
        if r.table == "coil" or r.type in _WHOLE:
            return abs(r.scale) / 2
        return 0.0

    async def write(self, value: float) -> None:
        """Write and have the echo checked; ControlError when the device refuses, is silent or answers wrongly."""
        r = self._register
        try:
            await self._link.write(self._unit, r.table, r.address, words(value, r), timeout_s=self._timeout_s)
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
        out = np.empty(1)
        decode(found.values, block.plan, out)
        return float(out[0])


def words(value: float, register: Register) -> list[int]:
    """The registers (or the coil) that stand for ``value``; ControlError when its type cannot hold it."""
    raw = (value - register.offset) / register.scale
    if register.table == "coil":
        return [int(raw >= 0.5)]
    kind = register.type
    if kind in _WHOLE:
        low, high = _WHOLE[kind]
        raw = round(raw)
        if not low <= raw <= high:
            raise ControlError(f"{value:g} does not fit into {kind}", hint="check scale and range of the output")
    data = struct.pack(_FORMATS[kind], raw)
    low_word_first, low_byte_first = ORDERS[register.order]
    found = [int.from_bytes(data[k : k + 2], "little" if low_byte_first else "big") for k in range(0, len(data), 2)]
    return found[::-1] if low_word_first else found
