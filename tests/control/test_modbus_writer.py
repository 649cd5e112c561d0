"""Outputs that are registers: every type and order through a real connection, and devices that lie about a write."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgetwin.clock import SystemClock
from edgetwin.config.schema import ModbusSource, Register
from edgetwin.control.audit import Audit
from edgetwin.control.controller import Controller
from edgetwin.control.output import make_output
from edgetwin.control.records import Command, Result
from edgetwin.errors import ControlError
from edgetwin.sources.modbus import Links
from edgetwin.sources.modbus.bindings import Binding, make_block
from edgetwin.sources.modbus.writer import ModbusWriter, words
from tests.control.rig import STATES, spec
from tests.sources.modbus.hostile import WRITE_FAULTS, Bus
from tests.sources.modbus.peers import hostile_peer, pymodbus_peer

ORDERS = ("ABCD", "CDAB", "BADC", "DCBA")


def register(kind: str = "uint16", **extra: Any) -> Register:
    return Register(address=10, type=kind, **extra)  # type: ignore[arg-type]


def source(url: str, **extra: Any) -> ModbusSource:
    data = {"name": "plc", "kind": "modbus", "url": url, "timeout": 0.3, **extra}
    return msgspec.convert(data, ModbusSource, dec_hook=lambda kind, value: kind(value))


@settings(deadline=None)
@given(
    st.sampled_from(
        ["int16", "uint16", "int32", "uint32", "int48", "uint48", "int64", "uint64", "float32", "float64", "bcd32"]
    ),
    st.sampled_from(ORDERS),
    st.floats(0, 60_000),
    st.sampled_from([1.0, 0.1, -2.5]),
)
def test_what_is_written_reads_as_the_value(kind: str, order: str, value: float, scale: float) -> None:
    if kind == "int16":
        value = value % 3000
    if kind.startswith(("uint", "bcd")) and scale < 0:
        scale = -scale
    r = register(kind, order=order, scale=scale, offset=5.0)
    value += 5.0
    try:
        found = words(value, r)
    except ControlError:
        assert kind in ("int16", "uint16")
        assert abs((value - 5.0) / scale) > 32_767
        return
    binding = Binding(0, r)
    out = make_block("holding", 10, len(found), [binding]).decode(np.array(found, np.uint16))
    exact = 1e-6 * max(abs(value), 1) if kind.startswith("float") else 0.0
    assert abs(out[0] - value) <= abs(scale) / 2 * (not kind.startswith("float")) + exact + 1e-9


@pytest.mark.parametrize("kind", ["tcp", "rtu", "rtuovertcp", "udp"])
async def test_registers_and_coils_over_every_link(kind: str, tmp_path: Path) -> None:
    async with pymodbus_peer(kind, tmp_path) as peer:
        plc = source(peer.url, timeout=5.0)
        link = Links(SystemClock(), tmp_path).link(plc)
        with closing(link):
            for r, value in [
                (register("float32", order="CDAB"), 41.5),
                (register("int16", scale=0.1), -12.3),
                (Register(table="coil", address=3, type="bit"), 1.0),
                (Register(table="coil", address=3, type="bit"), 0.0),
            ]:
                writer = ModbusWriter(link, plc, r)
                await writer.write(value)
                held = await writer.read()
                assert held == pytest.approx(value, abs=writer.resolution + 1e-6)


@pytest.mark.parametrize("fault", WRITE_FAULTS)
async def test_a_device_that_lies_about_a_write_brings_the_fallback(fault: str, tmp_path: Path) -> None:
    """The first write is answered by a fault, everything else honestly."""
    faulty = iter([fault])
    bus = Bus(mood=lambda _unit, pdu: next(faulty, "honest") if pdu[0] in (5, 6, 15, 16) else "honest")
    bus.memory[1, "holding", 10] = 7
    events: list[str] = []
    async with hostile_peer("tcp", tmp_path, bus) as peer:
        plc = source(peer.url)
        link = Links(SystemClock(), tmp_path).link(plc)
        with closing(link):
            controller = Controller(SystemClock(), Audit(None), lambda _: {}, lambda kind, _t, _d: events.append(kind))
            output = make_output("oven", "fan", spec(read_back={"within": 0.5}), STATES)
            controller.add(output, ModbusWriter(link, plc, register()))
            now = SystemClock().wall_ns()
            command = Command("1", "scada", "oven", "fan", 42.0, now, 5 * 10**9, "http")
            _, result = await controller.submit(command)
    if result is Result.WRITTEN:
        assert fault == "late"
        assert bus.memory[1, "holding", 10] == 42
    else:
        assert result is Result.FAILED
        assert bus.memory[1, "holding", 10] == 0
        assert events[-1] == "output_fallback"
        assert not output.armed
    writes = [pdu for _, pdu in bus.asked if pdu[0] == 6]
    assert len(writes) <= 2


# ---- layouts


@pytest.mark.parametrize(
    ("r", "value", "wanted"),
    [
        (register("bcd16"), 1234.0, [0x1234]),
        (register("bcd32", order="CDAB"), 12_345_678.0, [0x5678, 0x1234]),
        (register("float16"), 1.5, [0x3E00]),
        (register("int48", order="DCBA"), -2.0, [0xFEFF, 0xFFFF, 0xFFFF]),
        (register("uint64"), 2.0**40, [0, 0x0100, 0, 0]),
        (register(enum={"0": 0.0, "0x10": 600.0}), 600.0, [16]),
        (Register(table="coil", address=3, type="bit", enum={"0": 5.0, "1": 10.0}), 5.0, [0]),
    ],
)
def test_layouts_that_can_be_written(r: Register, value: float, wanted: list[int]) -> None:
    found = words(value, r)
    assert found == wanted
    assert make_block(r.table, r.address, len(found), [Binding(0, r)]).decode(np.array(found, np.uint16))[0] == value


@pytest.mark.parametrize(
    ("r", "value", "message"),
    [
        (register("bcd16"), 10_000.0, "does not fit into bcd16"),
        (register("bcd16"), -1.0, "does not fit into bcd16"),
        (register("float16"), 1e6, "does not fit into float16"),
        (register("int48"), 2.0**47, "does not fit into int48"),
        (register(enum={"0": 0.0, "1": 600.0}), 300.0, "none of the values of enum"),
        (register("int16", invalid=[0x8000]), -32768.0, "listed as invalid"),
    ],
)
def test_what_a_layout_cannot_hold_is_not_written(r: Register, value: float, message: str) -> None:
    with pytest.raises(ControlError, match=message):
        words(value, r)


async def test_a_float_is_read_back_within_its_own_rounding(tmp_path: Path) -> None:
    """0.1 is no float32: what the device holds differs from it by more than the controller forgives by itself."""
    async with pymodbus_peer("tcp", tmp_path) as peer:
        plc = source(peer.url, timeout=5.0)
        link = Links(SystemClock(), tmp_path).link(plc)
        with closing(link):
            for kind in ("float32", "float16"):
                writer = ModbusWriter(link, plc, register(kind))
                await writer.write(0.1)
                held = await writer.read()
                assert held is not None
                assert 1e-9 * 0.1 < abs(held - 0.1) <= writer.resolution < 1e-4
