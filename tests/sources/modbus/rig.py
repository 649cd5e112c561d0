"""Engine's side, servers and helpers for tests of the Modbus source. The end of a wait is an event, never a length of time."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from edgetwin.clock import Clock, SystemClock
from edgetwin.config.schema import ModbusSource as Config
from edgetwin.config.schema import Register, Signal, Twin
from edgetwin.engine.twins import TwinInstance
from edgetwin.records import Batch, Outcome
from edgetwin.sources.backoff import Backoff
from edgetwin.sources.modbus import Links, ModbusSource

HOST = "127.0.0.1"
PATIENCE_S = 30.0
"""How long a test waits for something that should happen at once."""


def holding(address: int, kind: str = "uint16", **extra: Any) -> Register:
    return Register(address=address, type=kind, **extra)


class Recorder:
    """The engine's side of a source: what came for each slot."""

    def __init__(self, *twins: TwinInstance) -> None:
        self.twins = list(twins)
        self.batches: list[Batch] = []
        self.values: dict[int, list[float]] = {}
        self.times: dict[int, list[int]] = {}
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
        for slot, t_ns, value in zip(batch.slot.tolist(), batch.t_ns.tolist(), batch.value.tolist(), strict=True):
            self.values.setdefault(slot, []).append(value)
            self.times.setdefault(slot, []).append(t_ns)
        self._news.set()

    def count(self, source: int, outcome: Outcome, n: int = 1) -> None:
        assert (source, outcome) == (3, Outcome.INVALID)
        self.invalid += n
        self._news.set()

    def latest(self, *slots: int) -> list[float]:
        return [self.values[slot][-1] for slot in slots]

    async def until(self, reached: Callable[[], bool]) -> None:
        """Return once something has arrived that makes ``reached`` true."""
        async with asyncio.timeout(PATIENCE_S):
            while not reached():
                self._news.clear()
                await self._news.wait()

    async def until_batches(self, n: int) -> None:
        await self.until(lambda: len(self.batches) >= n)

    async def until_heard(self, *slots: int, times: int = 1) -> None:
        """Every slot has had that many samples from now on."""
        before = {slot: len(self.values.get(slot, ())) for slot in slots}
        await self.until(lambda: all(len(self.values.get(s, ())) >= n + times for s, n in before.items()))


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


def make_url(url: str, engine: Recorder, clock: Clock | None = None, **extra: Any) -> ModbusSource:
    """A source and its link; reconnecting takes no time to speak of."""
    clock = clock or SystemClock()
    backoff = extra.pop("backoff", None) or Pauses()
    links = extra.pop("links", None) or Links(clock, extra.pop("base", Path()), backoff=lambda: backoff)
    config = Config(url=url, **{"name": "plc", "every": 0.02, "timeout": 5.0, **extra})
    return ModbusSource(config, engine, clock, links=links)  # type: ignore[arg-type]


def make(port: int, engine: Recorder, clock: Clock | None = None, **extra: Any) -> ModbusSource:
    return make_url(f"modbus+tcp://{HOST}:{port}", engine, clock, **extra)


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
