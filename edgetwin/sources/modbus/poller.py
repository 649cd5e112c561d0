"""A Modbus source: the registers of the twins' signals, polled on schedule over a link that others may share.

::

    bindings ─▶ groups (unit, table, rate) ─plan─▶ polls ─due─▶ link.read ─words─▶ decode kernel ─batch─▶ engine

Each answer is one batch. A register that the device refuses is found, left out and reported; a unit that is silent is
left alone for ever longer; the other registers and units keep their cadence.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from heapq import heappop, heappush
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import structlog

from edgetwin.clock import NS, Clock
from edgetwin.config import schema
from edgetwin.config.sunspec import models_with, own_models, sunspec_of
from edgetwin.errors import PayloadError
from edgetwin.ratelimit import RateLimiter
from edgetwin.records import Batch, Outcome
from edgetwin.sources.modbus.bindings import Binding
from edgetwin.sources.modbus.discovery import Discovery
from edgetwin.sources.modbus.figures import UnitFigures
from edgetwin.sources.modbus.frames import EXCEPTIONS, UNREACHED, FramingError, LinkError, NoAnswerError, RefusalError
from edgetwin.sources.modbus.groups import Group, GroupKey, Poll, size_key
from edgetwin.sources.modbus.link import Words
from edgetwin.sources.modbus.links import Links
from edgetwin.sources.modbus.plan import Limits, check_fits, request_words
from edgetwin.sources.modbus.refusals import RETRY_FIRST_S, SPLITTING, BadRegister, BlockSize
from edgetwin.sources.modbus.sunspec import Wanted

if TYPE_CHECKING:
    from edgetwin.engine import Engine
    from edgetwin.engine.twins import TwinInstance

log = structlog.get_logger()

WARN_EVERY_S = 10.0


class ModbusSource:
    """Polls the registers of the twins' signals; ``run`` until cancelled, under the daemon's supervision.

    ``link`` is shared with the sources of the same URL; whoever writes to a device does so through it. For metrics:
    ``up`` (a unit answers), ``messages`` (answers), ``units`` (figures by unit), ``overruns`` (polls left out because
    those before took too long), ``reconnects`` and ``last_error`` (empty while nothing is amiss). Raises ConfigError
    for a URL that is not Modbus, for certificates that cannot be read and for a register that no request can read.
    """

    kind = "modbus"

    def __init__(
        self, config: schema.ModbusSource, engine: Engine, clock: Clock, *, links: Links | None = None
    ) -> None:
        self.config = config
        self.name = config.name
        links = links or Links(clock, Path())
        self.link = links.link(config)
        self.up = False
        self.messages = 0
        self.overruns = 0
        self.units: dict[int, UnitFigures] = {}
        self._clock = clock
        self._timeout_s = float(config.timeout)
        self._limits = Limits(config.words_max, config.gap_max, config.align, request_words(self.link.place))
        self._sizes: dict[tuple[int, bool], BlockSize] = {}
        self._warnings = RateLimiter(WARN_EVERY_S, clock=clock)
        self._wake = asyncio.Event()
        models = models_with(config.sunspec_models, links.base) if config.sunspec_models else None
        self._discovery = Discovery(
            self.name,
            self.link,
            self._limits,
            self._timeout_s,
            lambda: own_models() if models is None else models,
            self._add,
            self._warnings,
        )
        self.attach(engine)

    @property
    def reconnects(self) -> int:
        """Connections made after the first."""
        return max(0, self.link.connections - 1)

    @property
    def last_error(self) -> str:
        """What is amiss: units that do not answer, registers they refuse."""
        faults = [f"unit {unit}: {f.error}" for unit, f in self.units.items() if f.error]
        faults += self._discovery.errors
        if not faults and not self.up:
            return self.link.last_error or "no unit has answered yet"
        bad = self.refused()
        if bad:
            faults.append(f"{len(bad)} registers are refused, among them {bad[0].binding}")
        return "; ".join(faults[:4])

    def refused(self) -> list[BadRegister]:
        """The values that the devices refuse; they are asked again ever more rarely."""
        return [bad for group in self._groups.values() for bad in group.bad]

    def attach(self, engine: Engine) -> None:
        """Bind to an engine; again after a reload, while the connection stays."""
        for group in getattr(self, "_groups", {}).values():
            for poll in group.polls:
                poll.live = False
        self._engine = engine
        self._groups: dict[GroupKey, Group] = {}
        self._changed: dict[GroupKey, Group] = {}
        self._heap: list[tuple[int, int, Poll]] = []
        self._pushes = 0
        self._discovery.forget()
        engine.on_twin(self.bind)

    def restore(self, position: bytes, wanted: Callable[[], None]) -> None:
        """Nothing: a device does not keep what it has been asked for, so nothing comes twice and nothing is owed."""

    def position(self) -> bytes:
        """Empty, see :meth:`restore`."""
        return b""

    def mark(self) -> int:
        """0, see :meth:`restore`."""
        return 0

    def release(self, mark: int) -> None:
        """Nothing, see :meth:`restore`."""

    def bind(self, twin: TwinInstance) -> None:
        """Poll the registers of the twin's signals too, from now on."""
        new = [
            Binding(twin.slots[name], signal.register)
            for name, signal in twin.spec.signals.items()
            if signal.source == self.name and signal.register is not None
        ]
        for binding in new:
            check_fits(binding, self._limits)
        self._add(new)
        for name, signal in twin.spec.signals.items():
            if signal.source == self.name and signal.sunspec is not None:
                point = sunspec_of(name, signal.sunspec)
                unit = self.config.unit if point.unit is None else point.unit
                self.units.setdefault(unit, UnitFigures())
                self._discovery.ask(unit, Wanted(twin.slots[name], f"{twin.name}/{name}", point))

    def polls(self) -> list[Poll]:
        """What is asked now."""
        self._plan()
        return [poll for group in self._groups.values() for poll in group.polls]

    async def run(self) -> None:
        """Poll on schedule until cancelled."""
        self.link.retain()
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(1 if self.link.place.rtu else self.config.pipeline):
                    group.create_task(self._work(), name=f"modbus:{self.name}")
                group.create_task(self._discovery.run(), name=f"sunspec:{self.name}")
        finally:
            self.up = False
            self.link.release()

    # ---- what is due

    def _add(self, bindings: list[Binding]) -> None:
        for binding in bindings:
            group = self._group(binding.register)
            group.add(binding)
            self._changed[group.key] = group
        if bindings:
            self._wake.set()

    def _group(self, register: schema.Register) -> Group:
        unit = self.config.unit if register.unit is None else register.unit
        every_s = self.config.every if register.every is None else register.every
        key = GroupKey(unit, register.table, round(every_s * NS))
        group = self._groups.get(key)
        if group is None:
            size = self._sizes.setdefault(size_key(unit, register.table), BlockSize())
            group = self._groups[key] = Group(self.name, key, self._limits, size)
            self.units.setdefault(unit, UnitFigures())
        return group

    def _plan(self) -> None:
        changed, self._changed = self._changed, {}
        for group in changed.values():
            self._push(*group.replan(self._clock.monotonic_ns()))

    def _push(self, *polls: Poll) -> None:
        for poll in polls:
            self._pushes += 1
            heappush(self._heap, (poll.schedule.due_ns, self._pushes, poll))

    async def _work(self) -> None:
        """One request after the other, that which has been due longest first."""
        while True:
            if self._changed:
                self._plan()
            poll = self._next_due()
            if poll is None:
                await self._until_due()
                continue
            heap = self._heap
            try:
                await self._ask(poll)
            finally:  # whatever ends this run, the next one goes on with it
                if poll.live and heap is self._heap:
                    self._push(poll)

    def _next_due(self) -> Poll | None:
        heap, now_ns = self._heap, self._clock.monotonic_ns()
        while heap and (heap[0][0] <= now_ns or not heap[0][2].live):
            poll = heappop(heap)[2]
            if poll.live:
                return poll
        return None

    async def _until_due(self) -> None:
        """Sleep until the next poll is due, or there are others."""
        self._wake.clear()
        if not self._heap:
            await self._wake.wait()
            return
        delay_s = (self._heap[0][0] - self._clock.monotonic_ns()) / NS
        timer = asyncio.get_running_loop().call_later(max(0.0, delay_s), self._wake.set)
        try:
            await self._wake.wait()
        finally:
            timer.cancel()

    # ---- one request

    async def _ask(self, poll: Poll) -> None:
        unit, block, engine = poll.group.unit, poll.block, self._engine  # a reload may attach another meanwhile
        wait_ns = self.link.wait_ns(unit)
        if wait_ns > 0:
            self._put_off(poll, wait_ns)
            return
        try:
            words = await self.link.read(unit, block.table, block.address, block.count, timeout_s=self._timeout_s)
        except RefusalError as exc:
            self._refused(poll, engine, exc)
        except PayloadError as exc:
            self._wrong(poll, engine, exc)
        except LinkError as exc:
            self._failed(poll, engine, exc)
        else:
            self._answered(poll, engine, words)

    def _answered(self, poll: Poll, engine: Engine, words: Words) -> None:
        self.messages += 1
        self.units[poll.group.unit].answered(words.took_ns)
        if not self.up:
            self._came_up()
        block = poll.block
        value = block.decode(words.values)
        engine.ingest(
            engine.source_index(self.name),
            Batch(block.slots, np.full(len(block), words.at_ns), value),
            self._clock.wall_ns(),
        )
        self._done(poll)
        if poll.group.taken(poll):
            self._replan(poll)

    def _refused(self, poll: Poll, engine: Engine, exc: RefusalError) -> None:
        self.messages += 1
        figures = self.units[poll.group.unit]
        figures.refused(exc.took_ns)
        if exc.code in UNREACHED:
            figures.up, figures.error = False, exc.message
        self._check_up()
        bad = len(poll.group.bad)
        splitting = exc.code in SPLITTING
        if splitting:
            poll.group.refused(poll, exc.code, self._clock.monotonic_ns())
        left_out = poll.group.bad[bad:]
        for register in left_out:
            self._warn_register(poll.group.unit, register)
        if left_out or poll.retry or not splitting:
            n = len(poll.block) if poll.retry or not splitting else len(left_out)
            engine.count(engine.source_index(self.name), Outcome.INVALID, n)
        if not splitting:
            self._warn_block(poll, exc)
        self._done(poll)
        if splitting:
            self._replan(poll, refused=True)

    def _wrong(self, poll: Poll, engine: Engine, exc: PayloadError) -> None:
        self.messages += 1
        self.units[poll.group.unit].failed("wrong", exc.message)
        engine.count(engine.source_index(self.name), Outcome.INVALID, len(poll.block))
        self._warn_block(poll, exc)
        self._check_up()
        self._done(poll)

    def _failed(self, poll: Poll, engine: Engine, exc: LinkError) -> None:
        outcome = "lost"
        if isinstance(exc, FramingError):
            outcome = "wrong"
            engine.count(engine.source_index(self.name), Outcome.INVALID, len(poll.block))
        elif isinstance(exc, NoAnswerError):
            outcome = "timed_out"
        self.units[poll.group.unit].failed(outcome, str(exc))
        self._check_up(exc)
        wait_ns = self.link.wait_ns(poll.group.unit)
        if outcome == "wrong" and not wait_ns:
            self._done(poll)  # the same again would not be better: the others first
        else:
            self._put_off(poll, wait_ns)

    def _put_off(self, poll: Poll, wait_ns: int) -> None:
        now_ns = self._clock.monotonic_ns()
        poll.schedule.skip(now_ns, now_ns + wait_ns)

    def _done(self, poll: Poll) -> None:
        if poll.retry:  # has told nothing about its register
            self._put_off(poll, round(RETRY_FIRST_S * NS))
            return
        self.overruns += poll.schedule.advance(self._clock.monotonic_ns())

    def _replan(self, poll: Poll, *, refused: bool = False) -> None:
        if self._groups.get(poll.group.key) is poll.group:
            now_ns = self._clock.monotonic_ns()
            self._push(*poll.group.replan(now_ns, poll if refused else None))
            self._wake.set()

    # ---- what the operator hears

    def _came_up(self) -> None:
        self.up = True
        log.info(
            "source_connected",
            source=self.name,
            address=self.link.place.address,
            units=sorted(self.units),
            blocks=sum(len(group.polls) for group in self._groups.values()),
        )

    def _check_up(self, exc: LinkError | None = None) -> None:
        """Down when no unit answers; log that, and each unit that falls silent beside others."""
        up = any(f.up for f in self.units.values())
        if up and not self.up:
            self._came_up()
        elif not up:
            error = str(exc) if exc is not None else self.last_error
            suppressed = self._warnings.allow("connection")
            if suppressed is not None or self.up:
                log.warning(
                    "source_disconnected",
                    source=self.name,
                    address=self.link.place.address,
                    units=sorted(self.units),
                    error=error,
                    suppressed=suppressed or 0,
                )
            self.up = False
        elif exc is not None:
            silent = [unit for unit, f in self.units.items() if not f.up and f.error]
            suppressed = self._warnings.allow(("units", *silent))
            if suppressed is not None:
                log.warning("modbus_unit_failed", source=self.name, units=silent, error=str(exc), suppressed=suppressed)

    def _warn_block(self, poll: Poll, exc: PayloadError) -> None:
        block = poll.block
        suppressed = self._warnings.allow((poll.group.unit, block.table, block.address))
        if suppressed is not None:
            log.warning(
                "modbus_block_invalid",
                source=self.name,
                unit=poll.group.unit,
                table=block.table,
                address=block.address,
                count=block.count,
                samples=len(block),
                error=str(exc),
                suppressed=suppressed,
            )

    def _warn_register(self, unit: int, register: BadRegister) -> None:
        binding = register.binding
        suppressed = self._warnings.allow((unit, binding.table, binding.start, binding.end))
        if suppressed is not None:
            log.warning(
                "modbus_register_refused",
                source=self.name,
                unit=unit,
                table=binding.table,
                address=binding.start,
                registers=binding.end - binding.start,
                code=register.code,
                error=EXCEPTIONS.get(register.code, "unknown"),
                suppressed=suppressed,
            )
