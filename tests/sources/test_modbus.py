"""The Modbus source: plan, schedule and answer check as pure functions; polling against real devices.

Devices are pymodbus servers, and raw asyncio servers where one has to lie. The end of a wait is an event (a
batch has come, a request was seen), never a length of time.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice
from structlog.testing import capture_logs

from edgetwin.clock import Clock, ManualClock, SystemClock
from edgetwin.config.schema import ModbusSource as Config
from edgetwin.config.schema import Register, Signal, Twin
from edgetwin.engine.twins import TwinInstance
from edgetwin.errors import ConfigError, EdgetwinError, PayloadError
from edgetwin.kernels.registers import KINDS, ORDERS, WORDS, decode
from edgetwin.records import Batch, Outcome
from edgetwin.sources.backoff import Backoff
from edgetwin.sources.modbus import ModbusSource
from edgetwin.sources.modbus.frames import FramingError, check_answer
from edgetwin.sources.modbus.plan import Binding, Block, plan_blocks
from edgetwin.sources.modbus.schedule import Schedule, phase_ns
from tests.conftest import free_port

HOST = "127.0.0.1"
PATIENCE_S = 30.0
"""How long a test waits for something that should happen at once."""

FORMATS = {"int16": ">h", "uint16": ">H", "int32": ">i", "uint32": ">I", "float32": ">f", "float64": ">d"}


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    """Compilation is no part of any device's time-out."""
    (block,) = plan_blocks([Binding(0, Register(address=0))], 1, 0)
    decode(np.zeros(1, np.uint16), block.plan, np.zeros(1))


# ---- plan


def holding(address: int, kind: str = "uint16", **extra: Any) -> Register:
    return Register(address=address, type=kind, **extra)


registers = st.builds(
    Register,
    table=st.sampled_from(["holding", "input", "coil", "discrete"]),
    address=st.integers(0, 400),
    type=st.sampled_from(sorted(KINDS)),
)
few_registers = st.builds(holding, st.integers(0, 30), st.sampled_from(["uint16", "float32", "float64", "bit"]))


def bind(wanted: Sequence[Register]) -> list[Binding]:
    return [Binding(slot, register) for slot, register in enumerate(wanted)]


@given(st.lists(registers, max_size=40), st.integers(4, 125), st.integers(0, 124))
def test_plan_reads_every_value_once_and_within_the_limits(
    wanted: list[Register], words_max: int, gap_max: int
) -> None:
    bindings = bind(wanted)
    blocks = plan_blocks(bindings, words_max, gap_max)
    assert sorted(int(s) for b in blocks for s in b.slots) == list(range(len(wanted)))
    for block in blocks:
        bits = block.table in ("coil", "discrete")
        assert 1 <= block.count <= (min(2000, 16 * words_max) if bits else words_max)
        covered = [False] * block.count
        for slot, row in zip(block.slots, block.plan, strict=True):
            binding = bindings[slot]
            assert binding.register.table == block.table
            assert block.address + row["at"] == binding.start
            assert row["words"] == binding.end - binding.start
            assert 0 <= row["at"] <= block.count - row["words"]
            covered[row["at"] : row["at"] + row["words"]] = [True] * row["words"]
        assert covered[0]
        assert covered[-1]
        assert longest_hole(covered) <= (16 * gap_max if bits else gap_max)


def longest_hole(covered: list[bool]) -> int:
    return max(len(run) for run in "".join(" x"[c] for c in covered).split("x"))


@settings(max_examples=60)
@given(st.lists(few_registers, min_size=1, max_size=6), st.integers(4, 12), st.integers(0, 6))
def test_plan_is_minimal(wanted: list[Register], words_max: int, gap_max: int) -> None:
    bindings = bind(wanted)
    fewest = min(
        len(groups) for groups in partitions(bindings) if all(readable(group, words_max, gap_max) for group in groups)
    )
    assert len(plan_blocks(bindings, words_max, gap_max)) == fewest


def partitions(items: list[Binding]) -> list[list[list[Binding]]]:
    """Every way to share the items out between groups."""
    if not items:
        return [[]]
    found = []
    for rest in partitions(items[1:]):
        found.append([[items[0]], *rest])
        found += [[*rest[:i], [items[0], *rest[i]], *rest[i + 1 :]] for i in range(len(rest))]
    return found


def readable(group: list[Binding], words_max: int, gap_max: int) -> bool:
    start, end = min(b.start for b in group), max(b.end for b in group)
    covered = [any(b.start <= a < b.end for b in group) for a in range(start, end)]
    return end - start <= words_max and longest_hole(covered) <= gap_max


def shape(blocks: Sequence[Block]) -> list[tuple[str, int, int]]:
    return [(b.table, b.address, b.count) for b in blocks]


def test_plan_by_example() -> None:
    wanted = bind([holding(0, "float32"), holding(2), holding(11), holding(20), holding(5, table="input")])
    assert shape(plan_blocks(wanted, 125, 8)) == [("holding", 0, 21), ("input", 5, 1)]
    assert shape(plan_blocks(wanted, 125, 7)) == [
        ("holding", 0, 3),
        ("holding", 11, 1),
        ("holding", 20, 1),
        ("input", 5, 1),
    ]


def test_a_value_is_never_split_between_requests() -> None:
    blocks = plan_blocks(bind([holding(0), holding(1), holding(2, "float64"), holding(6)]), 5, 0)
    assert shape(blocks) == [("holding", 0, 2), ("holding", 2, 5)]


@pytest.mark.parametrize(
    ("register", "words_max"),
    [(holding(65535, "int32"), 125), (holding(65533, "float64"), 125), (holding(0, "float64"), 3)],
)
def test_a_value_that_no_request_can_read_is_refused(register: Register, words_max: int) -> None:
    with pytest.raises(ConfigError, match="register"):
        plan_blocks(bind([register]), words_max, 0)


# ---- schedule


def test_schedule_keeps_to_its_grid() -> None:
    schedule = Schedule(5_000_000, 10_000_000)
    assert schedule.advance(8_000_000) == 0
    assert schedule.due_ns == 15_000_000
    assert schedule.advance(31_000_000) == 0  # late by less than a period: the next follows at once
    assert schedule.due_ns == 25_000_000
    assert schedule.advance(58_000_000) == 2  # those due at 35 and 45 are left out
    assert schedule.due_ns == 55_000_000


@given(st.integers(10**6, 10**12), st.lists(st.integers(0, 10**12), max_size=30))
def test_schedule_never_drifts(period: int, steps: list[int]) -> None:
    schedule, now, overruns = Schedule(7, period), 7, 0
    for k, step in enumerate(steps, 1):
        now = max(now, schedule.due_ns) + step
        overruns += schedule.advance(now)
        assert schedule.due_ns == 7 + (k + overruns) * period
        assert now - schedule.due_ns < period


@given(st.integers(0, 10**12), st.integers(10**6, 10**12))
def test_after_a_failure_the_next_poll_is_at_once_and_on_the_grid(now: int, period: int) -> None:
    schedule = Schedule(7, period)
    schedule.restart(now)
    assert schedule.due_ns == 7 or schedule.due_ns <= now < schedule.due_ns + period
    assert (schedule.due_ns - 7) % period == 0


def test_sources_start_apart_and_each_always_at_the_same_phase() -> None:
    phases = [phase_ns(f"plc-{i}", 10**8) for i in range(50)]
    assert phases == [phase_ns(f"plc-{i}", 10**8) for i in range(50)]
    assert all(0 <= p < 10**8 for p in phases)
    assert len(set(phases)) == 50
    assert phase_ns("plc-1", 3600 * 10**9) < 10**9


# ---- answers


def frame(tid: int, unit: int, body: bytes, protocol: int = 0) -> bytes:
    return struct.pack(">HHHB", tid, protocol, len(body) + 1, unit) + body


def request(function: int = 3, count: int = 2, tid: int = 7, unit: int = 1) -> bytes:
    return frame(tid, unit, struct.pack(">BHH", function, 0, count))


GOOD = frame(7, 1, b"\x03\x04\x00\x01\x00\x02")


def test_a_sound_answer_is_awaited_to_its_last_byte() -> None:
    for cut in range(len(GOOD)):
        assert not check_answer(request(), GOOD[:cut])
    assert check_answer(request(), GOOD)
    assert check_answer(request(1, 9), frame(7, 1, b"\x01\x02\xff\x01"))
    assert check_answer(request(), frame(7, 1, b"\x83\x02"))


@pytest.mark.parametrize(
    "answer",
    [
        frame(7, 1, b"\x04\x04\x00\x01\x00\x02"),  # another function
        frame(7, 1, b"\x84\x02"),  # an exception to another function
        frame(7, 1, b"\x83\x02\x00"),  # an exception too long
        frame(7, 1, b"\x03\x02\x00\x01"),  # too few
        frame(7, 1, b"\x03\x06\x00\x01\x00\x02\x00\x03"),  # too many
        frame(7, 1, b"\x03\x05\x00\x01\x00\x02\x00"),  # odd
        frame(7, 1, b"\x03\x04\x00\x01"),  # byte count and length disagree
        frame(7, 1, b"\x03\x02\x00\x01\x00\x02"),
    ],
)
def test_a_whole_frame_that_is_not_the_answer_costs_its_block(answer: bytes) -> None:
    with pytest.raises(PayloadError):
        check_answer(request(), answer)


@pytest.mark.parametrize(
    "answer",
    [
        frame(8, 1, GOOD[7:]),  # another transaction
        frame(7, 2, GOOD[7:]),  # another unit
        frame(7, 1, GOOD[7:], protocol=1),
        b"HTTP/1.1 400 Bad Request\r\n",
        GOOD + b"\x00",
        GOOD + GOOD,
        frame(7, 1, b"")[:6] + b"\x01\x03",  # length 1
        frame(7, 1, bytes(300)),
    ],
)
def test_a_stream_out_of_step_costs_the_connection(answer: bytes) -> None:
    with pytest.raises(FramingError):
        check_answer(request(), answer)


@given(
    st.one_of(
        st.binary(max_size=300),
        st.builds(
            lambda at, byte, cut: (GOOD[:at] + bytes([byte]) + GOOD[at + 1 :])[:cut],
            st.integers(0, len(GOOD) - 1),
            st.integers(0, 255),
            st.integers(0, len(GOOD)),
        ),
    )
)
def test_only_the_right_header_is_accepted(data: bytes) -> None:
    try:
        sound = check_answer(request(), data)
    except (FramingError, PayloadError):
        return
    if sound:
        exception = frame(7, 1, b"\x83" + data[-1:])
        assert (data[:9] == GOOD[:9] and len(data) == len(GOOD)) or data == exception


# ---- devices


class Recorder:
    """The engine's side of a source."""

    def __init__(self, *twins: TwinInstance) -> None:
        self.twins = list(twins)
        self.batches: list[Batch] = []
        self.invalid = 0
        self.listeners: list[Callable[[TwinInstance], None]] = []
        self._news = asyncio.Event()

    def source_index(self, _name: str) -> int:
        return 3

    def on_twin(self, listener: Callable[[TwinInstance], None]) -> None:
        self.listeners.append(listener)
        for twin in self.twins:
            listener(twin)

    def ingest(self, source: int, batch: Batch, _now_ns: int) -> None:
        assert source == 3
        self.batches.append(batch)
        self._news.set()

    def count(self, source: int, outcome: Outcome, n: int = 1) -> None:
        assert (source, outcome) == (3, Outcome.INVALID)
        self.invalid += n
        self._news.set()

    async def until(self, reached: Callable[[], bool]) -> None:
        """Return once something has arrived that makes ``reached`` true."""
        async with asyncio.timeout(PATIENCE_S):
            while not reached():
                self._news.clear()
                await self._news.wait()

    async def until_batches(self, n: int) -> None:
        await self.until(lambda: len(self.batches) >= n)


def twin(*wanted: Register, source: str = "plc", first_slot: int = 0, name: str = "m") -> TwinInstance:
    signals = {f"s{i}": Signal(source=source, register=r) for i, r in enumerate(wanted)}
    slots = {name: first_slot + i for i, name in enumerate(signals)}
    return TwinInstance(name, Twin(name=name, signals=signals), {}, slots)


class Pauses(Backoff):
    """Short pauses that can be waited for."""

    def __init__(self) -> None:
        super().__init__(0.01, 0.05)
        self.begun = asyncio.Event()

    def next_s(self) -> float:
        self.begun.set()
        return super().next_s()

    async def next(self) -> None:
        self.begun.clear()
        async with asyncio.timeout(PATIENCE_S):
            await self.begun.wait()


def make(
    port: int, engine: Recorder, clock: Clock | None = None, backoff: Backoff | None = None, **extra: Any
) -> ModbusSource:
    settings = {"name": "plc", "every": 0.02, "timeout": 5.0, **extra}
    config = Config(url=f"modbus+tcp://{HOST}:{port}", **settings)
    return ModbusSource(config, engine, clock or SystemClock(), backoff=backoff or Pauses())  # type: ignore[arg-type]


@asynccontextmanager
async def running(*sources: ModbusSource) -> AsyncIterator[None]:
    """Poll while the context lasts; a source that fails fails the test."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(s.run()) for s in sources]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()


@asynccontextmanager
async def serving(device: SimDevice, port: int) -> AsyncIterator[ModbusTcpServer]:
    server = ModbusTcpServer(device, address=(HOST, port))
    await server.serve_forever(background=True)
    try:
        yield server
    finally:
        await server.shutdown()


def simulated(
    holding: Sequence[int] = (0,),
    inputs: Sequence[int] = (0,),
    coils: Sequence[bool] = (False,),
    discrete: Sequence[bool] = (False,),
    unit: int = 1,
) -> SimDevice:
    bits = [[SimData(0, values=list(b), datatype=DataType.BITS)] for b in (coils, discrete)]
    words = [[SimData(0, values=list(w), datatype=DataType.REGISTERS)] for w in (holding, inputs)]
    return SimDevice(id=unit, simdata=(bits[0], bits[1], words[0], words[1]))


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
            assert len(to_words(kind, order, value)) == WORDS[KINDS[kind]]
    port, engine = free_port(), Recorder(twin(*wanted))
    source = make(port, engine)
    before = SystemClock().wall_ns()
    async with serving(simulated(memory, memory), port), running(source):
        await engine.until_batches(1)
    batch = engine.batches[0]
    got = dict(zip(batch.slot.tolist(), batch.value.tolist(), strict=True))
    assert [got[slot] for slot in range(len(wanted))] == expected
    assert batch.slot.dtype == np.int32
    assert batch.t_ns.dtype == np.int64
    assert before <= batch.t_ns.min() <= batch.t_ns.max() <= SystemClock().wall_ns()
    assert len(set(batch.t_ns.tolist())) == 2  # one instant for each request
    assert engine.invalid == 0
    assert source.messages == source.requests.counts.sum() >= 2


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
        await engine.until_batches(1)
    batch = engine.batches[0]
    got = dict(zip(batch.slot.tolist(), batch.value.tolist(), strict=True))
    assert [got[i] for i in range(6)] == [1.0, 11.0, 1.0, 1.0, 0.0, pytest.approx(5.0)]


async def test_nan_passes_on_to_the_engine() -> None:
    port, engine = free_port(), Recorder(twin(holding(0, "float32")))
    async with serving(simulated([0x7FC0, 0]), port), running(make(port, engine)):
        await engine.until_batches(1)
    assert np.isnan(engine.batches[0].value).tolist() == [True]


async def test_an_illegal_address_costs_only_its_block() -> None:
    port, engine = free_port(), Recorder(twin(holding(0), holding(500), holding(501)))
    source = make(port, engine)
    with capture_logs() as logs:
        async with serving(simulated([42]), port), running(source):
            await engine.until(lambda: len(engine.batches) >= 3 and engine.invalid >= 6)
            assert source.up
    assert all(b.value.tolist() == [42.0] for b in engine.batches)
    assert engine.invalid % 2 == 0
    assert source.reconnects == 0
    (warning,) = [entry for entry in logs if entry["event"] == "modbus_block_invalid"]
    assert warning["address"] == 500
    assert "illegal data address" in warning["error"]


async def test_a_twin_made_later_is_polled_too() -> None:
    port, engine = free_port(), Recorder(twin(holding(0)))
    async with serving(simulated([1, 2]), port), running(make(port, engine)):
        await engine.until_batches(1)
        engine.listeners[0](twin(holding(1), first_slot=1, name="late"))
        await engine.until(lambda: engine.batches[-1].slot.tolist() == [0, 1])


async def test_signals_of_other_sources_are_left_alone() -> None:
    engine = Recorder(twin(holding(0), source="other"))
    source = make(free_port(), engine)
    assert source.blocks() == ()


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


# ---- devices that misbehave


@dataclass
class Liar:
    """A server that lets ``answer`` make up what it sends for each request; counts what it saw."""

    answer: Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]
    connections: int = 0
    closed: int = 0
    requests: list[bytes] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                data = await reader.readexactly(12)
                self.requests.append(data)
                self.changed.set()
                await self.answer(data, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.closed += 1
            self.changed.set()
            writer.close()

    async def until(self, reached: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not reached():
                self.changed.clear()
                await self.changed.wait()


@asynccontextmanager
async def lying(
    answer: Callable[[bytes, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[tuple[Liar, int]]:
    liar = Liar(answer)
    server = await asyncio.start_server(liar.handle, HOST, 0)
    async with server:
        yield liar, server.sockets[0].getsockname()[1]


def replying(change: Callable[[bytes], bytes], address: int = 100) -> Any:
    """Answers truly (every register is 7), but to requests from ``address`` with ``change`` made."""

    async def answer(data: bytes, writer: asyncio.StreamWriter) -> None:
        start, count = struct.unpack(">HH", data[8:12])
        body = struct.pack(f">BB{count}H", data[7], 2 * count, *([7] * count))
        honest = data[:4] + struct.pack(">HB", len(body) + 1, data[6]) + body
        writer.write(change(honest) if start == address else honest)
        await writer.drain()

    return answer


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
            await liar.until(lambda: liar.connections >= 2)
            assert not source.up
    assert len(engine.batches) >= 2
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
        assert {r[8:10] for r in liar.requests} == {b"\0\0"}  # the second block is not asked in vain


async def test_a_slow_device_is_polled_less_and_overruns_are_counted() -> None:
    release = asyncio.Event()

    async def answer(data: bytes, writer: asyncio.StreamWriter) -> None:
        await release.wait()
        await replying(bytes)(data, writer)

    async with lying(answer) as (liar, port):
        engine, clock = Recorder(twin(holding(0))), ManualClock()
        source = make(port, engine, clock, every=0.001, timeout=60.0)
        async with running(source):
            await liar.until(lambda: len(liar.requests) == 1)
            clock.advance(20_500_000)
            release.set()
            await engine.until_batches(2)
    assert source.overruns == (20_500_000 - phase_ns("plc", 1_000_000) - 1_000_000) // 1_000_000


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
