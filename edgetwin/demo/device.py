"""The presses' controller inside `edgetwin demo`: a Modbus TCP server whose registers are the plant's state.

Each press has ten input registers from ``10 * i``: force (int16, 0.1 kN) at +0, oil temperature (float32,
ABCD) at +2, strokes (uint32, words swapped: CDAB) at +4.
"""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from edgetwin.demo.plant import PRESSES, Plant, PressReading
from edgetwin.errors import SourceError

UNIT = 1
STRIDE = 10
FORCE, OIL, STROKES = 0, 2, 4
FORCE_SCALE = 0.1


@asynccontextmanager
async def press_controller(plant: Plant, port: int) -> AsyncIterator[str]:
    """The device on a loopback port while the context lasts; yields its URL."""

    async def refresh(
        _function: int,
        start: int,
        _address: int,
        _count: int,
        registers: list[int],
        _values: list[int] | list[bool] | None,
    ) -> ExcCodes | None:
        for i in range(len(PRESSES)):
            at = i * STRIDE - start
            registers[at : at + STRIDE] = encode(plant.press(i))
        return None

    memory = SimData(0, count=len(PRESSES) * STRIDE, values=0, datatype=DataType.REGISTERS)
    device = SimDevice(id=UNIT, simdata=[memory], action=refresh)
    server = ModbusTcpServer(device, address=("127.0.0.1", port))
    try:
        await server.serve_forever(background=True)
    except (RuntimeError, OSError) as exc:
        raise SourceError(f"the Modbus device did not start on port {port} ({exc})") from exc
    try:
        yield f"modbus+tcp://127.0.0.1:{port}"
    finally:
        await server.shutdown()  # type: ignore[no-untyped-call]


def encode(reading: PressReading) -> list[int]:
    """The registers of one press."""
    registers = [0] * STRIDE
    registers[FORCE] = round(reading.force / FORCE_SCALE) & 0xFFFF
    registers[OIL : OIL + 2] = struct.unpack(">2H", struct.pack(">f", reading.oil))
    high, low = divmod(reading.strokes & 0xFFFFFFFF, 0x10000)
    registers[STROKES : STROKES + 2] = (low, high)
    return registers
