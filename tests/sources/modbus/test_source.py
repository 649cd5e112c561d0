"""The source over real sockets: pymodbus servers, and raw servers where one has to lie.

The end of a wait is an event (a batch has come, a request was seen), never a length of time.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable

import numpy as np
import pytest
from structlog.testing import capture_logs

from edgetwin.clock import SystemClock
from edgetwin.config.registers import WORDS
from edgetwin.config.schema import ModbusSource as Config
from edgetwin.config.schema import Register
from edgetwin.errors import EdgetwinError
from edgetwin.kernels.registers import ORDERS
from edgetwin.sources.modbus import ModbusSource
from tests.conftest import free_port
from tests.sources.modbus.rig import Pauses, Recorder, holding, lying, make, replying, running, serving, simulated, twin

FORMATS = {
    "int16": ">h",
    "uint16": ">H",
    "int32": ">i",
    "uint32": ">I",
    "float32": ">f",
    "float64": ">d",
    "float16": ">e",
    "int64": ">q",
    "uint64": ">Q",
}


def to_words(kind: str, order: str, value: float) -> list[int]:
    data = struct.pack(FORMATS[kind], value)
    words = list(struct.unpack(f"{'<' if order in ('BADC', 'DCBA') else '>'}{len(data) // 2}H", data))
    return words[::-1] if order in ("CDAB", "DCBA") else words


async def test_every_type_in_every_order_from_both_register_tables() -> None:
    values = {
        "int16": -1234,
        "uint16": 54321,
        "int32": -123456789,
        "uint32": 4123456789,
        "float32": 50.2400016784668,
        "float64": -1.0e-200,
        "float16": 0.5,
        "int64": -(2**52) - 1,
        "uint64": 2**53 - 1,
    }
    memory: list[int] = []
    wanted: list[Register] = []
    expected: list[float] = []
    for kind, value in values.items():
        for order in ORDERS:
            for table in ("holding", "input"):
                wanted.append(Register(table=table, address=len(memory), type=kind, order=order))
                expected.append(value)
            memory += to_words(kind, order, value)
            assert len(to_words(kind, order, value)) == WORDS[kind]
    port, engine = free_port(), Recorder(twin(*wanted))
    source = make(port, engine)
    before = SystemClock().wall_ns()
    async with serving(simulated(memory, memory), port), running(source):
        await engine.until_heard(*range(len(wanted)))
    assert engine.latest(*range(len(wanted))) == expected
    batch = engine.batches[0]
    assert batch.slot.dtype == np.int32
    assert batch.t_ns.dtype == np.int64
    assert before <= batch.t_ns.min() == batch.t_ns.max() <= SystemClock().wall_ns()  # one instant for each request
    assert engine.invalid == 0
    assert source.messages == len(engine.batches) == source.units[1].requests.counts.sum()


async def test_bits_scale_and_offset() -> None:
    wanted = [
        Register(table="coil", address=1, type="bit"),
        Register(table="coil", address=9, type="bit", scale=10.0, offset=1.0),
        Register(table="discrete", address=2, type="bit"),
        Register(address=0, type="bit", bit=15),
        Register(address=0, type="bit", bit=1),
        Register(address=1, type="int16", scale=0.1, offset=-5.0),
    ]
    coils, discrete = [False] * 16, [False] * 16
    coils[1] = coils[9] = discrete[2] = True
    port, engine = free_port(), Recorder(twin(*wanted))
    device = simulated([0x8000, 100], coils=coils, discrete=discrete)
    async with serving(device, port), running(make(port, engine)):
        await engine.until_heard(*range(6))
    assert engine.latest(*range(6)) == [1.0, 11.0, 1.0, 1.0, 0.0, pytest.approx(5.0)]


async def test_nan_passes_on_to_the_engine() -> None:
    port, engine = free_port(), Recorder(twin(holding(0, "float32")))
    async with serving(simulated([0x7FC0, 0]), port), running(make(port, engine)):
        await engine.until_batches(1)
    assert np.isnan(engine.batches[0].value).tolist() == [True]


async def test_an_illegal_address_costs_only_its_register() -> None:
    port, engine = free_port(), Recorder(twin(holding(0), holding(1), holding(2), holding(7), holding(8)))
    source = make(port, engine)
    with capture_logs() as logs:
        async with serving(simulated([40, 41, 42]), port), running(source):
            await engine.until(lambda: len(source.refused()) == 2)
            await engine.until_heard(0, 1, 2)
            assert source.up
            assert "2 registers are refused" in source.last_error
    assert engine.latest(0, 1, 2) == [40, 41, 42]
    assert set(engine.values) == {0, 1, 2}
    assert engine.invalid == 2
    assert source.reconnects == 0
    warnings = [entry for entry in logs if entry["event"] == "modbus_register_refused"]
    assert sorted(w["address"] for w in warnings) == [7, 8]
    assert {w["error"] for w in warnings} == {"illegal data address"}


async def test_a_twin_made_later_is_polled_too() -> None:
    port, engine = free_port(), Recorder(twin(holding(0)))
    async with serving(simulated([1, 2]), port), running(make(port, engine)):
        await engine.until_batches(1)
        engine.listeners[0](twin(holding(1), first_slot=1, name="late"))
        await engine.until_heard(0, 1)


async def test_signals_of_other_sources_are_left_alone() -> None:
    engine = Recorder(twin(holding(0), source="other"))
    source = make(free_port(), engine)
    assert source.polls() == []


async def test_after_a_reload_samples_go_to_the_new_engine_on_the_same_connection() -> None:
    port, old, new = free_port(), Recorder(twin(holding(0))), Recorder(twin(holding(1), first_slot=9))
    source = make(port, old)
    async with serving(simulated([1, 2]), port), running(source):
        await old.until_batches(1)
        source.attach(new)  # type: ignore[arg-type]
        await new.until_batches(2)
    assert {tuple(b.slot.tolist()) for b in old.batches} == {(0,)}
    assert {(*b.slot.tolist(), *b.value.tolist()) for b in new.batches} == {(9, 2.0)}
    assert source.reconnects == 0


async def test_polling_goes_on_when_the_device_dies_and_returns() -> None:
    port, engine, pauses = free_port(), Recorder(twin(holding(0))), Pauses()
    source = make(port, engine, backoff=pauses)
    with capture_logs() as logs:
        async with running(source):
            async with serving(simulated([1]), port):
                await engine.until(lambda: bool(engine.batches) and engine.batches[-1].value[0] == 1)
            await pauses.next()
            assert not source.up
            assert "cannot connect" in source.last_error
            async with serving(simulated([2]), port):
                await engine.until(lambda: engine.batches[-1].value[0] == 2)
                await engine.until_batches(len(engine.batches) + 1)
                assert source.up
                assert source.last_error == ""
    assert source.reconnects == 1
    assert engine.invalid == 0
    assert [entry["event"] for entry in logs] == [
        "source_connected",
        "source_disconnected",
        "source_connected",
    ]


async def test_a_device_that_is_absent_at_the_start_is_found_later() -> None:
    port, engine, pauses = free_port(), Recorder(twin(holding(0))), Pauses()
    source = make(port, engine, backoff=pauses)
    async with running(source):
        await pauses.next()
        assert not source.up
        async with serving(simulated([5]), port):
            await engine.until_batches(2)
            assert source.up
    assert source.reconnects == 0


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda f: f[:7] + b"\x04" + f[8:], id="function"),
        pytest.param(lambda f: f[:5] + bytes([f[5] - 2]) + f[6:8] + b"\x02" + f[9:11], id="too few"),
        pytest.param(lambda f: f[:5] + bytes([f[5] + 2]) + f[6:8] + b"\x06" + f[9:] + b"\0\1", id="too many"),
        pytest.param(lambda f: f[:5] + bytes([f[5] - 1]) + f[6:8] + b"\x03" + f[9:12], id="odd"),
    ],
)
async def test_a_wrong_answer_is_counted_and_the_connection_stays(change: Callable[[bytes], bytes]) -> None:
    async with lying(replying(change)) as (liar, port):
        engine = Recorder(twin(holding(0), holding(100), holding(101)))
        async with running(make(port, engine)):
            await engine.until(lambda: len(engine.batches) >= 3 and engine.invalid >= 6)
            assert liar.connections == 1
    assert all(b.slot.tolist() == [0] and b.value.tolist() == [7.0] for b in engine.batches)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda f: f[:6] + b"\x63" + f[7:], id="unit"),
        pytest.param(lambda f: b"\xff\xff" + f[2:], id="transaction"),
        pytest.param(lambda _: b"\xde\xad\xbe\xef" * 20, id="garbage"),
        pytest.param(lambda f: f + f, id="twice"),
        pytest.param(lambda f: f[:4] + b"\xff\xff" + f[6:], id="endless length"),
    ],
)
async def test_a_stream_out_of_step_is_counted_and_made_anew(change: Callable[[bytes], bytes]) -> None:
    async with lying(replying(change)) as (liar, port):
        engine = Recorder(twin(holding(0), holding(100), holding(101)))
        source = make(port, engine, timeout=60.0)  # the fault ends the request, not the time-out
        async with running(source):
            await engine.until(lambda: engine.invalid >= 4)
            await engine.until_heard(0, times=2)  # the other block keeps flowing
            assert liar.connections >= 2
    assert all(b.slot.tolist() == [0] and b.value.tolist() == [7.0] for b in engine.batches)


async def test_answers_that_come_byte_by_byte_are_read() -> None:
    async def answer(data: bytes, writer: asyncio.StreamWriter) -> None:
        for byte in data[:4] + b"\x00\x05" + data[6:8] + b"\x02\x12\x34":
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)

    async with lying(answer) as (_, port):
        engine = Recorder(twin(holding(0)))
        async with running(make(port, engine)):
            await engine.until_batches(2)
    assert engine.batches[0].value.tolist() == [0x1234]


async def test_a_connection_closed_in_mid_request_does_not_wait_for_the_time_out() -> None:
    async def answer(data: bytes, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with lying(answer) as (liar, port):
        source = make(port, Recorder(twin(holding(0))), timeout=3600.0)
        async with running(source):
            await liar.until(lambda: liar.connections >= 3)
            assert "closed" in source.last_error


async def test_a_flood_costs_the_connection() -> None:
    async def answer(data: bytes, writer: asyncio.StreamWriter) -> None:
        for _ in range(200):
            writer.write(bytes(8192))
            await writer.drain()

    async with lying(answer) as (liar, port), running(make(port, Recorder(twin(holding(0))), timeout=0.2)):
        await liar.until(lambda: liar.connections >= 3)


async def test_a_dead_device_delays_no_other() -> None:
    async def silence(data: bytes, writer: asyncio.StreamWriter) -> None:
        return

    async with lying(silence) as (liar, dead_port):
        port, engine = free_port(), Recorder(twin(holding(0)))
        alive = make(port, engine)
        dead_engine = Recorder(twin(holding(0), source="dead"))
        dead = make(dead_port, dead_engine, name="dead", timeout=3600.0)
        async with serving(simulated([1]), port), running(alive, dead):
            await liar.until(lambda: len(liar.requests) == 1)
            polls = len(engine.batches)
            await engine.until_batches(polls + 10)
            assert len(liar.requests) == 1  # still waiting for its first answer
    assert not dead_engine.batches


async def test_a_time_out_drops_the_connection() -> None:
    async def silence(data: bytes, writer: asyncio.StreamWriter) -> None:
        return

    async with lying(silence) as (liar, port):
        engine = Recorder(twin(holding(0), holding(100)))
        source = make(port, engine, timeout=0.05)
        async with running(source):
            await liar.until(lambda: liar.connections >= 3)
            assert "no answer" in source.last_error
        assert engine.invalid == 0  # nothing came, so nothing was received
        assert source.units[1].outcomes["timed_out"] >= 2


async def test_cancellation_closes_the_connection_in_mid_request() -> None:
    async def silence(data: bytes, writer: asyncio.StreamWriter) -> None:
        return

    async with lying(silence) as (liar, port):
        async with running(make(port, Recorder(twin(holding(0))), timeout=3600.0)):
            await liar.until(lambda: len(liar.requests) == 1)
        await liar.until(lambda: liar.closed == 1)


async def test_a_url_of_another_kind_is_refused() -> None:
    for url in ("mqtt://127.0.0.1", "127.0.0.1:502", "modbus+tcp://"):
        config = Config(name="plc", url=url)
        with pytest.raises(EdgetwinError, match="URL"):
            ModbusSource(config, Recorder(), SystemClock())  # type: ignore[arg-type]
