"""A Modbus TCP source: one device, one connection, one task.

Each poll reads every planned block in turn and hands what came to the engine as one batch. A block that the
device refuses or answers wrongly costs its own samples only; a time-out or a stream out of step costs the
connection, which is made anew after a jittered pause. Other sources are never waited for.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import structlog
from numpy.typing import NDArray

from edgetwin.clock import NS, Clock
from edgetwin.config import schema
from edgetwin.config.urls import MODBUS_SCHEMES, endpoint
from edgetwin.errors import PayloadError, SourceError
from edgetwin.instruments import Histogram
from edgetwin.kernels.registers import decode
from edgetwin.ratelimit import RateLimiter
from edgetwin.records import Batch, Outcome
from edgetwin.sources.backoff import Backoff
from edgetwin.sources.modbus.client import Device
from edgetwin.sources.modbus.frames import FramingError
from edgetwin.sources.modbus.plan import Binding, Block, check_fits, plan_blocks
from edgetwin.sources.modbus.schedule import Schedule, phase_ns

if TYPE_CHECKING:
    from edgetwin.engine import Engine
    from edgetwin.engine.twins import TwinInstance

log = structlog.get_logger()

WARN_EVERY_S = 10.0


class ModbusSource:
    """Polls the registers of the twins' signals; ``run`` until cancelled, under the daemon's supervision.

    For metrics: ``up`` (the last poll got an answer to every request), ``messages`` (answers), ``requests``
    (seconds from request to answer), ``overruns`` (periods left out because a poll took too long),
    ``reconnects`` and ``last_error`` (empty while up). Raises ConfigError for a URL that is not
    ``modbus+tcp://host[:port]`` and for a register that no request can read.
    """

    kind = "modbus"

    def __init__(
        self,
        config: schema.ModbusSource,
        engine: Engine,
        clock: Clock,
        *,
        backoff: Backoff | None = None,
    ) -> None:
        self.config = config
        self.name = config.name
        self.unit = config.unit
        self.up = False
        self.last_error = "not connected yet"
        self.messages = 0
        self.overruns = 0
        self.reconnects = 0
        self.requests = Histogram()
        self._clock = clock
        self._backoff = backoff or Backoff()
        place = endpoint(config.url, MODBUS_SCHEMES)
        self._address = place.address
        self._device = Device(place.host, place.port, config.unit, config.timeout)
        self._connections = 0
        self._warnings = RateLimiter(WARN_EVERY_S, clock=clock)
        self._bound = asyncio.Event()
        self.attach(engine)

    def attach(self, engine: Engine) -> None:
        """Bind to an engine; again after a reload, while the connection stays."""
        self._engine = engine
        self._bindings: list[Binding] = []
        self._blocks: tuple[Block, ...] | None = None
        engine.on_twin(self.bind)

    def bind(self, twin: TwinInstance) -> None:
        """Poll the registers of the twin's signals too, from the next poll on."""
        new = [
            Binding(twin.slots[name], signal.register)
            for name, signal in twin.spec.signals.items()
            if signal.source == self.name and signal.register is not None
        ]
        for binding in new:
            check_fits(binding, self.config.words_max)
        if new:
            self._bindings += new
            self._blocks = None
            self._bound.set()

    def blocks(self) -> tuple[Block, ...]:
        """The requests of one poll; planned when first asked for after a change."""
        if self._blocks is None:
            self._blocks = plan_blocks(self._bindings, self.config.words_max, self.config.gap_max)
        return self._blocks

    async def run(self) -> None:
        """Poll on schedule until cancelled."""
        period_ns = round(self.config.every * NS)
        await self._bound.wait()
        schedule = Schedule(self._clock.monotonic_ns() + phase_ns(self.name, period_ns), period_ns)
        try:
            while True:
                await self._wait_until(schedule.due_ns)
                await self._attempt(schedule)
        finally:
            self.up = False
            self._device.close()

    async def _attempt(self, schedule: Schedule) -> None:
        """One poll that keeps to the schedule; when it fails, a pause and at once the next one."""
        try:
            await self._connect()
            await self._poll()
        except SourceError as exc:
            self._device.close()
            self._went_down(exc)
            await asyncio.sleep(self._backoff.next_s())
            schedule.restart(self._clock.monotonic_ns())
        else:
            self._came_up()
            self.overruns += schedule.advance(self._clock.monotonic_ns())

    async def _wait_until(self, due_ns: int) -> None:
        """Returns at once when late, but never without letting other tasks run."""
        await asyncio.sleep(max(0, due_ns - self._clock.monotonic_ns()) / NS)

    async def _connect(self) -> None:
        if self._device.connected:
            return
        await self._device.connect()
        self.reconnects += self._connections > 0
        self._connections += 1

    async def _poll(self) -> None:
        """Read every block; samples that came before a SourceError reach the engine all the same."""
        engine, blocks = self._engine, self.blocks()  # a reload may attach others while this poll waits
        source = engine.source_index(self.name)
        samples = _Samples()
        try:
            for block in blocks:
                if not await self._read(block, samples):
                    engine.count(source, Outcome.INVALID, len(block))
        except FramingError:
            engine.count(source, Outcome.INVALID, len(block))
            raise
        finally:
            if samples:
                engine.ingest(source, samples.batch(), self._clock.wall_ns())

    async def _read(self, block: Block, samples: _Samples) -> bool:
        """One request; False when its answer is not valid. Samples are taken to be of the middle of it."""
        wall_ns, began_ns = self._clock.wall_ns(), self._clock.monotonic_ns()
        try:
            words = await self._device.read(block)
        except PayloadError as exc:
            self._answered(began_ns)
            self._warn_block(block, exc)
            return False
        samples.add(block, words, wall_ns + self._answered(began_ns) // 2)
        return True

    def _answered(self, began_ns: int) -> int:
        took_ns = self._clock.monotonic_ns() - began_ns
        self.messages += 1
        self.requests.observe(took_ns / NS)
        return took_ns

    # ---- what the operator hears

    def _came_up(self) -> None:
        self._backoff.reset()
        self.last_error = ""
        if not self.up:
            self.up = True
            log.info(
                "source_connected",
                source=self.name,
                address=self._address,
                unit=self.unit,
                blocks=len(self.blocks()),
            )

    def _went_down(self, exc: SourceError) -> None:
        self.last_error = str(exc)
        suppressed = self._warnings.allow("connection")
        if suppressed is not None or self.up:
            log.warning(
                "source_disconnected",
                source=self.name,
                address=self._address,
                unit=self.unit,
                error=str(exc),
                suppressed=suppressed or 0,
            )
        self.up = False

    def _warn_block(self, block: Block, exc: PayloadError) -> None:
        suppressed = self._warnings.allow((block.table, block.address))
        if suppressed is not None:
            log.warning(
                "modbus_block_invalid",
                source=self.name,
                unit=self.unit,
                table=block.table,
                address=block.address,
                count=block.count,
                samples=len(block),
                error=str(exc),
                suppressed=suppressed,
            )


@dataclass(slots=True)
class _Samples:
    """What one poll has brought so far."""

    slot: list[NDArray[np.int32]] = field(default_factory=list)
    t_ns: list[NDArray[np.int64]] = field(default_factory=list)
    value: list[NDArray[np.float64]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.slot)

    def add(self, block: Block, words: NDArray[np.uint16], t_ns: int) -> None:
        value = np.empty(len(block))
        decode(words, block.plan, value)
        self.slot.append(block.slots)
        self.t_ns.append(np.full(len(block), t_ns))
        self.value.append(value)

    def batch(self) -> Batch:
        return Batch(np.concatenate(self.slot), np.concatenate(self.t_ns), np.concatenate(self.value))
