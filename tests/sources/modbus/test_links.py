"""The contract of a link, on every kind of link, against pymodbus, libmodbus and a hostile device."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from edgetwin.clock import SystemClock
from edgetwin.config.schema import ModbusSource as Config
from edgetwin.config.schema import Register, Tls
from edgetwin.errors import ConfigError
from edgetwin.sources.modbus import Links
from edgetwin.sources.modbus.frames import LinkError, RefusalError
from edgetwin.sources.modbus.link import Link
from tests.conftest import free_port
from tests.sources.modbus.hostile import Bus, value_of
from tests.sources.modbus.peers import (
    HOST,
    KINDS,
    Peer,
    hostile_peer,
    libmodbus,
    libmodbus_peer,
    process,
    pymodbus_peer,
    serial_line,
)
from tests.sources.modbus.rig import Recorder, make_url, running, twin

__all__ = ["libmodbus"]

DEVICES = [("pymodbus", kind) for kind in KINDS] + [("libmodbus", "tcp"), ("libmodbus", "rtu")]
TABLES = ("coil", "discrete", "holding", "input")


@asynccontextmanager
async def peer_of(maker: str, kind: str, folder: Path, request: pytest.FixtureRequest) -> AsyncIterator[Peer]:
    if maker == "libmodbus":
        program = request.getfixturevalue("libmodbus")
        async with libmodbus_peer(program, kind, folder) as peer:
            yield peer
    else:
        async with pymodbus_peer(kind, folder) as peer:
            yield peer


@asynccontextmanager
async def linked(peer: Peer, **extra: object) -> AsyncIterator[Link]:
    tls = Tls(ca="ca.pem") if "tls" in peer.url else None
    link = Links(SystemClock(), peer.folder).link(Config(name="plc", url=peer.url, tls=tls, **extra))  # type: ignore[arg-type]
    try:
        yield link
    finally:
        link.close()


@pytest.fixture(params=DEVICES, ids="-".join)
async def peer(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Peer]:
    maker, kind = request.param
    if maker == "libmodbus":
        request.getfixturevalue("libmodbus")
    async with peer_of(maker, kind, tmp_path, request) as found:
        yield found


async def test_every_table_of_every_unit(peer: Peer) -> None:
    async with linked(peer) as link:
        for unit in peer.units:
            for table in TABLES:
                words = await link.read(unit, table, 3, 100, timeout_s=5)
                assert words.values.tolist() == [peer.value(unit, table, 3 + i) for i in range(100)]
        assert link.connections == 1


async def test_every_kind_of_write(peer: Peer) -> None:
    async with linked(peer) as link:
        for table, values in (("holding", [7]), ("holding", [1, 65535, 0]), ("coil", [1]), ("coil", [1, 0, 1])):
            for single in (None, False):
                for sent in (values, [1 - v if table == "coil" else v ^ 1 for v in values]):
                    await link.write(1, table, 50, sent, timeout_s=5, single=single)
                    words = await link.read(1, table, 50, len(sent), timeout_s=5)
                    assert words.values.tolist() == sent
        words = await link.read(1, "holding", 53, 1, timeout_s=5)
        assert words.values.tolist() == [peer.value(1, "holding", 53)]  # nothing else was touched


async def test_a_refusal_keeps_the_connection(peer: Peer) -> None:
    async with linked(peer) as link:
        for _ in range(3):
            with pytest.raises(RefusalError, match="illegal data address"):
                await link.read(1, "holding", 190, 20, timeout_s=5)
        await link.read(1, "holding", 180, 20, timeout_s=5)
        assert link.connections == 1


async def test_polling_finds_the_register_that_is_not_there(peer: Peer) -> None:
    wanted = [
        Register(table=t, address=a, type="bit" if t == "coil" else "uint16")
        for t in ("coil", "input")
        for a in (0, 1, 9, 195, 199, 240)
    ]
    engine = Recorder(twin(*wanted))
    source = make_url(peer.url, engine, base=peer.folder, every=0.05, **peer.tls)
    slots = [slot for slot, r in enumerate(wanted) if r.address < 200]
    async with running(source):
        await engine.until(lambda: len(source.refused()) == 2)
        await engine.until_heard(*slots, times=2)
    assert engine.latest(*slots) == [peer.value(1, wanted[s].table, wanted[s].address) for s in slots]
    assert len(engine.values) == len(slots)
    assert source.reconnects == 0


@pytest.mark.parametrize("kind", KINDS)
async def test_two_units_at_two_rates_share_a_link(kind: str, tmp_path: Path) -> None:
    async with pymodbus_peer(kind, tmp_path) as peer:
        wanted = [Register(address=a, unit=u, every=e) for u, a, e in ((1, 0, 0.02), (1, 5, 0.2), (2, 0, 0.02))]  # type: ignore[arg-type]
        engine = Recorder(twin(*wanted))
        source = make_url(peer.url, engine, base=peer.folder, **peer.tls)
        async with running(source):
            await engine.until_heard(0, 1, 2, times=3)
        assert engine.latest(0, 1, 2) == [value_of(r.unit or 0, "holding", r.address) for r in wanted]
        assert len(engine.values[0]) > len(engine.values[1])
        assert source.link.connections == 1
        assert {u: f.up for u, f in source.units.items()} == {1: True, 2: True}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mood", ["garbage", "flood", "partial", "twice", "wrong_unit", "close", "late", "wrong_count"])
async def test_after_a_fault_the_values_flow_again_and_are_true(kind: str, mood: str, tmp_path: Path) -> None:
    left = [mood] * 2
    bus = Bus(mood=lambda _u, pdu: left.pop() if left and pdu[0] == 3 else "honest", late_s=lambda: 0.12)
    async with hostile_peer(kind, tmp_path, bus) as peer:
        wanted = [Register(address=a) for a in (0, 1, 100, 101)]
        engine = Recorder(twin(*wanted))
        source = make_url(peer.url, engine, base=peer.folder, timeout=0.1, **peer.tls)
        async with running(source):
            await engine.until(lambda: not left)
            await engine.until_heard(0, 1, 2, 3, times=3)
    for slot, register in enumerate(wanted):
        assert set(engine.values[slot]) == {float(value_of(1, "holding", register.address))}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_device_that_goes_and_returns(kind: str, tmp_path: Path) -> None:
    """On a line the unit falls silent; a socket's peer goes away."""
    bus = Bus()
    async with AsyncExitStack() as stack:
        peer = await stack.enter_async_context(hostile_peer(kind, tmp_path, bus))
        engine = Recorder(twin(Register(address=0)))
        source = make_url(peer.url, engine, base=peer.folder, timeout=0.1, **peer.tls)
        async with running(source):
            await engine.until_heard(0, times=2)
            bus.dead.add(1)
            bus.seen.clear()
            await bus.seen.wait()
            async with asyncio.timeout(10):
                while source.up:
                    bus.seen.clear()
                    await bus.seen.wait()
            bus.dead.clear()
            await engine.until_heard(0, times=2)
            assert source.up
    assert source.units[1].outcomes["timed_out"] > 0


# ---- libmodbus as a client: the bus that everything else is tested on is a Modbus device


@pytest.mark.parametrize("kind", ["tcp", "rtu"])
async def test_libmodbus_takes_the_hostile_bus_for_a_device(libmodbus: str, kind: str, tmp_path: Path) -> None:
    bus = Bus(units=(1, 255))
    async with hostile_peer(kind, tmp_path, bus) as peer:
        where = [str(tmp_path / "master"), "1"] if kind == "rtu" else [peer.url.rpartition(":")[2]]
        async with process(libmodbus, "client", kind, *where) as child, asyncio.timeout(30):
            out, err = await child.communicate()
    assert child.returncode == 0, err
    unit = 1 if kind == "rtu" else 255  # libmodbus asks 255 over TCP
    lines = [line.split() for line in out.decode().splitlines()]
    for (name, *values), table in zip(lines[:4], TABLES, strict=True):
        assert name == table
        assert [int(v) for v in values] == [value_of(unit, table, 10 + i) for i in range(20)]
    assert lines[4] == ["coil", "1", "1", "0", "1", "1", "0", "0", "1", "1", "1", "0"]
    assert lines[5] == ["holding", "4711", "1", "2", "65535"]


# ---- what only some wires have


async def test_sources_of_one_url_share_a_connection(tmp_path: Path) -> None:
    async with pymodbus_peer("tcp", tmp_path) as peer:
        links = Links(SystemClock(), tmp_path)
        engine = Recorder(
            twin(Register(address=0), source="a"), twin(Register(address=1), source="b", first_slot=1, name="n")
        )
        sources = [make_url(peer.url, engine, links=links, name=name) for name in ("a", "b")]
        async with running(*sources):
            await engine.until_heard(0, 1, times=2)
        assert sources[0].link is sources[1].link
        assert sources[0].link.connections == 1
        assert not sources[0].link.connected


async def test_a_certificate_of_another_authority_is_refused(tmp_path: Path) -> None:
    async with pymodbus_peer("tls", tmp_path) as peer:
        config = Config(name="plc", url=peer.url, tls=Tls(ca="other.pem"))
        link = Links(SystemClock(), tmp_path).link(config)
        with pytest.raises(LinkError, match="CERTIFICATE_VERIFY_FAILED"):
            await link.read(1, "holding", 0, 1, timeout_s=5)
        with pytest.raises(ConfigError):
            Links(SystemClock(), tmp_path).link(Config(name="plc", url=peer.url, tls=Tls(ca="none.pem")))


async def test_nobody_there(tmp_path: Path) -> None:
    for url in (
        f"modbus+tcp://{HOST}:{free_port()}",
        f"modbus+rtu://{tmp_path}/ttyS9",
        f"modbus+rtuovertcp://{HOST}:{free_port()}",
    ):
        link = Links(SystemClock(), tmp_path).link(Config(name="plc", url=url))
        with pytest.raises(LinkError, match="cannot connect"):
            await link.read(1, "holding", 0, 1, timeout_s=5)
        assert link.wait_ns(1) >= 0
        assert not link.connected


async def test_a_line_belongs_to_one_program(tmp_path: Path) -> None:
    async with serial_line(tmp_path) as (master, _):
        url = f"modbus+rtu://{master}"
        config = Config(name="plc", url=url)
        first, second = (Links(SystemClock(), tmp_path).link(config) for _ in range(2))
        with pytest.raises(LinkError, match="no answer"):
            await first.read(1, "holding", 0, 1, timeout_s=0.05)
        with pytest.raises(LinkError, match="cannot connect"):
            await second.read(1, "holding", 0, 1, timeout_s=0.05)
        first.close()


async def test_a_line_that_is_unplugged_and_plugged_in_again(tmp_path: Path) -> None:
    engine, bus = Recorder(twin(Register(address=0))), Bus()
    async with AsyncExitStack() as plug:
        peer = await plug.enter_async_context(hostile_peer("rtu", tmp_path, bus))
        source = make_url(peer.url, engine, timeout=0.2)
        async with running(source):
            await engine.until_heard(0, times=2)
            await plug.aclose()
            async with asyncio.timeout(10):
                while source.link.connected:
                    await asyncio.sleep(0.01)
            async with hostile_peer("rtu", tmp_path, bus):
                await engine.until_heard(0, times=2)
    assert source.reconnects >= 1


async def test_cancellation_in_mid_connect(tmp_path: Path) -> None:
    bus = Bus(mood=lambda _u, _p: "silent")
    async with hostile_peer("tcp", tmp_path, bus) as peer, linked(peer) as link:
        task = asyncio.get_running_loop().create_task(link.read(1, "holding", 0, 1, timeout_s=3600))
        await bus.seen.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not link.connected
