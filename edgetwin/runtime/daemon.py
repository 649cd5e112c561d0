"""The daemon: everything wired in data order, and stopped in data order.

::

    sources ─▶ engine ─▶ reporter ─▶ outbox ─▶ uplink
       ▲          └▶ http               ▲
       └──────── checkpoints ───────────┘

Stopping: a checkpoint while the sources can still acknowledge; the sources, so that nothing new comes; a last report of
what has, made durable; the outbox is drained for three quarters of the deadline; then the journal is closed with a
whole state.
"""

from __future__ import annotations

import asyncio
import signal
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

import msgspec
import structlog

from edgetwin import __version__
from edgetwin.clock import NS, GatewayClock, Machine, SystemClock
from edgetwin.codec.encoder import Encoder
from edgetwin.config.check import runnable
from edgetwin.config.load import load
from edgetwin.config.schema import Config
from edgetwin.control.audit import Audit
from edgetwin.engine import Engine
from edgetwin.engine.inputs import InputLog
from edgetwin.errors import ConfigError, EdgetwinError, JournalError, JournalUnwritableError, SourceError
from edgetwin.http.server import serve
from edgetwin.instruments import Histogram
from edgetwin.journal.journal import Journal
from edgetwin.runtime import logs
from edgetwin.runtime.acting import Acting
from edgetwin.runtime.checkpoint import Checkpoints, open_journal, restore
from edgetwin.runtime.lock import state_lock
from edgetwin.runtime.notify import Notifier
from edgetwin.runtime.pulse import Pulse
from edgetwin.runtime.reporter import Reporter
from edgetwin.runtime.sourcing import Source, make_source
from edgetwin.runtime.supervisor import Supervisor
from edgetwin.runtime.timekeeper import Timekeeper
from edgetwin.runtime.warmup import compile_elsewhere, warmup
from edgetwin.sources.modbus import Links
from edgetwin.uplink.encoding import make_encoder
from edgetwin.uplink.journaled import JournalOutbox
from edgetwin.uplink.make import make_uplink
from edgetwin.uplink.outbox import Outbox
from edgetwin.uplink.port import Uplink

log = structlog.get_logger()

STOP_DEADLINE_S = 10.0


class Daemon:
    """One gateway, from its configuration file. ``run`` returns after SIGTERM or SIGINT, or when ``stop`` is called."""

    def __init__(
        self, path: Path, config: Config, machine: Machine | None = None, notifier: Notifier | None = None
    ) -> None:
        self.path = path
        self.base = path.parent
        self.config = config
        self.clock = GatewayClock(machine or SystemClock())
        self.notifier = notifier or Notifier()
        self.version = __version__
        self.started_ns = self.clock.wall_ns()
        self.ready = False
        self.interrupted = False
        self.http_address: tuple[str, int] | None = None
        self.pulse = Pulse(self.clock, self.notifier)
        self.timekeeper = Timekeeper(self)
        self.engine = Engine(config)
        self.links = Links(self.clock, self.base)
        self.sources: list[Source] = []
        self.outbox: Outbox | JournalOutbox = Outbox(
            config.gateway, config.limits.outbox_bytes, encoder=self._encoder()
        )
        self.uplink: Uplink | None = None
        self.state_dir: Path | None = None
        self.checkpoints: Checkpoints | None = None
        self._undurable = ""
        self._positions: dict[str, bytes] = {}
        self.acting: Acting | None = None
        self._stopping = asyncio.Event()
        self._reload_wanted = asyncio.Event()

    @property
    def loop_lag(self) -> Histogram:
        """How late the event loop wakes, in seconds."""
        return self.pulse.lag

    @property
    def journal(self) -> Journal | None:
        """What makes things durable; None when nothing is."""
        return None if self.checkpoints is None else self.checkpoints.journal

    @property
    def reasons(self) -> list[str]:
        """Why the daemon is not ready, or what is degraded while it is."""
        reasons = [] if self.ready else ["starting or stopping"]
        reasons += self.timekeeper.reasons
        if problem := self._undurable or (self.checkpoints.problem if self.checkpoints is not None else ""):
            reasons.append(f"nothing becomes durable: {problem}")
        reasons += [f"source {s.name}: {s.last_error}" for s in self.sources if s.last_error or not s.up]
        if self.uplink is not None and not self.uplink.up:
            reasons.append(f"uplink: {self.uplink.last_error}")
        return reasons

    def stop(self) -> None:
        """Ask for an orderly stop."""
        self._stopping.set()

    def interrupt(self) -> None:
        """As :meth:`stop`, from the keyboard: ``interrupted`` tells afterwards."""
        self.interrupted = True
        self.stop()

    async def run(self) -> None:
        """Start, serve until asked to stop, stop. Raises EdgetwinError when it cannot start."""
        with ExitStack() as held:
            self._open_state(held)
            await compile_elsewhere(self.path, self.engine)
            await asyncio.to_thread(warmup, self.engine)
            self._restore()
            self._handle_signals()
            async with AsyncExitStack() as stack:
                if self.config.http is not None:
                    self.http_address = await stack.enter_async_context(serve(self, self.config.http.listen))
                supervisor = await stack.enter_async_context(Supervisor())
                self._start(supervisor)
                self.ready = True
                self.notifier.ready(f"{len(self.sources)} sources")
                log.info(
                    "ready",
                    gateway=self.config.gateway,
                    http=self.http_address,
                    twins=len(self.engine.names()),
                )
                await self._until_stopped(supervisor)
                await self._stop(supervisor)

    def _open_state(self, held: ExitStack) -> None:
        """Become the owner of the state directory. One that cannot be written leaves the daemon without durability,
        which it says; one that belongs to another process or a newer release is a JournalError."""
        if self.config.state_dir is None:
            return
        path = self.base / self.config.state_dir
        try:
            held.enter_context(state_lock(path))
            journal = open_journal(path, self.config.journal, self.clock)
        except JournalUnwritableError as exc:
            self._undurable = exc.message
            log.error("not_durable", error=exc.message, hint=exc.hint, consequence="a stop loses the state")
            return
        held.callback(journal.close)
        self.state_dir = path
        self.outbox = outbox = JournalOutbox(
            self.config.gateway, journal, self._encoder(), self.clock, staged_bytes_max=self.config.limits.outbox_bytes
        )
        self.checkpoints = Checkpoints(self, journal, outbox)

    def _restore(self) -> None:
        """Take up the state of the last checkpoint; a state that cannot be used is told of and left behind."""
        if self.checkpoints is None:
            return
        journal = self.checkpoints.journal
        try:
            found = restore(journal.state(), journal.positions(), self.engine, self.clock.wall_ns())
        except JournalError as exc:
            log.error("state_refused", error=exc.message, hint=exc.hint, consequence="starting empty")
            self.engine, found = Engine(self.config), None
        if found is not None:
            self.clock.not_before(found.wall_ns)
            self._positions = found.sources
            log.info("state_restored", twins=len(self.engine.names()), unsent_frames=len(self.outbox))
        self.engine.inputs = InputLog()

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self.stop)
        loop.add_signal_handler(signal.SIGINT, self.interrupt)
        loop.add_signal_handler(signal.SIGHUP, self._reload_wanted.set)

    # ---- start

    def _start(self, supervisor: Supervisor) -> None:
        supervisor.start("pulse", self.pulse.run)
        supervisor.start("timekeeper", self.timekeeper.run)
        self._start_uplink(supervisor)
        self.reporter = Reporter(self)
        supervisor.start("reporter", self.reporter.run)
        if self.checkpoints is not None:
            supervisor.start("journal", self.checkpoints.writer.run)
            supervisor.start("checkpoints", self.checkpoints.run)
        if any(twin.outputs for twin in self.config.twins):
            writer = self.checkpoints.writer if self.checkpoints is not None else None
            self.acting = Acting(self, Audit(writer, missing=self._undurable))
            self.acting.start(supervisor)
        for source in self.config.sources:
            self._start_source(supervisor, make_source(source, self.engine, self.clock, self.base, self.links))

    def _start_source(self, supervisor: Supervisor, source: Source) -> None:
        if self.checkpoints is not None:
            self._hold(source, self.checkpoints)
        self.sources.append(source)
        supervisor.start(f"source:{source.name}", source.run)

    def _hold(self, source: Source, checkpoints: Checkpoints) -> None:
        """From now on the source acknowledges what is durable, and knows what of it is in the state already."""
        try:
            source.restore(self._positions.pop(source.name, b""), checkpoints.soon)
        except SourceError as exc:
            log.error("position_refused", source=source.name, error=exc.message, consequence="some may count twice")
            source.restore(b"", checkpoints.soon)

    def _start_uplink(self, supervisor: Supervisor) -> None:
        if self.config.uplink is not None:
            self.uplink = make_uplink(self.config, self.outbox, self.base, self.state_dir, self.clock)
            supervisor.start("uplink", self.uplink.run)

    def _encoder(self) -> Encoder:
        """Makes the frames; asks the engine of the day, as a reload replaces it."""
        bytes_max = min(self.config.limits.outbox_bytes, self.config.journal.bytes_max // 4)
        return make_encoder(self.config, lambda columns: self.engine.foresee(columns), bytes_max)

    # ---- run

    async def _until_stopped(self, supervisor: Supervisor) -> None:
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            while not self._stopping.is_set():
                wanted = asyncio.ensure_future(self._reload_wanted.wait())
                await asyncio.wait([stopping, wanted], return_when=asyncio.FIRST_COMPLETED)
                wanted.cancel()
                if self._reload_wanted.is_set() and not self._stopping.is_set():
                    self._reload_wanted.clear()
                    self.notifier.reloading()
                    await self._reload(supervisor)
                    self.notifier.ready()
        finally:
            stopping.cancel()

    async def _reload(self, supervisor: Supervisor) -> None:
        """Take over a changed file. A bad one changes nothing; state is kept wherever the twin and signal remain."""
        try:
            new = await asyncio.to_thread(load, self.path)
            runnable(new, self.base)
            if new == self.config:
                log.info("reload_unchanged", file=str(self.path))
                return
            self._refuse_fixed_changes(new)
            engine = Engine(new)
            await compile_elsewhere(self.path, engine)
            await asyncio.to_thread(warmup, engine)
        except EdgetwinError as exc:
            log.error("reload_refused", error=str(exc))
            return
        restored = engine.restore(self.engine.snapshot(), self.clock.wall_ns())
        if self.checkpoints is not None:
            engine.inputs = InputLog()
            self.checkpoints.start_over()
        old, self.config, self.engine = self.config, new, engine
        self.timekeeper.attach()
        if self.acting is not None:
            self.acting.attach()
        self.outbox.encoder = self._encoder()
        logs.configure(new.log.level, new.log.format)
        await self._replace_sources(supervisor)
        if new.uplink != old.uplink:
            await supervisor.stop("uplink")
            self.uplink = None
            self._start_uplink(supervisor)
        log.info("reloaded", file=str(self.path), signals_kept=restored, twins=len(engine.names()))

    def _refuse_fixed_changes(self, new: Config) -> None:
        for key in ("gateway", "state_dir", "http"):
            if getattr(new, key) != getattr(self.config, key):
                raise ConfigError(f"{key} cannot change while running", path=key, file=str(self.path), hint="restart")
        if msgspec.structs.replace(new.journal, every=self.config.journal.every) != self.config.journal:
            message = "bounds of the journal cannot change while running"
            raise ConfigError(message, path="journal", file=str(self.path), hint="restart")
        if _control(new) != _control(self.config):
            message = "outputs, rules and commands cannot change while running"
            raise ConfigError(message, path="twins", file=str(self.path), hint="restart")

    async def _replace_sources(self, supervisor: Supervisor) -> None:
        """Sources whose record is the same keep their connection; the others are stopped and made anew."""
        wanted = {s.name: s for s in self.config.sources}
        kept: dict[str, Source] = {}
        for source in self.sources:
            if wanted.get(source.name) == source.config:
                source.attach(self.engine)
                kept[source.name] = source
        for source in self.sources:
            if source.name not in kept:
                await supervisor.stop(f"source:{source.name}")
                self._positions[source.name] = source.position()  # for the one that takes its place
        self.sources = list(kept.values())
        for name, config in wanted.items():
            if name not in kept:
                self._start_source(supervisor, make_source(config, self.engine, self.clock, self.base, self.links))

    # ---- stop

    async def _stop(self, supervisor: Supervisor) -> None:
        started = self.clock.monotonic_ns()
        self.ready = False
        self.notifier.stopping()
        log.info("stopping")
        if self.acting is not None:
            await self.acting.stop(supervisor)
        for _ in range(2):  # while the sources can acknowledge: one keeps the newest message back, the next does not
            await self._checkpoint()
        for source in self.sources:
            await supervisor.stop(f"source:{source.name}")
        await supervisor.stop("reporter")
        self.reporter.flush()
        await supervisor.stop("checkpoints")
        await self._checkpoint()  # what is in the outbox may be sent from here on
        if self.uplink is not None:
            left = STOP_DEADLINE_S * 0.75 - (self.clock.monotonic_ns() - started) / NS
            await self.uplink.drain(max(left, 0.0))
            await supervisor.stop("uplink")
        if self.checkpoints is not None:
            self.checkpoints.start_over()
            await self._checkpoint()
            await supervisor.stop("journal")
        log.info("stopped", unsent_frames=len(self.outbox))

    async def _checkpoint(self) -> None:
        if self.checkpoints is not None:
            await self.checkpoints.take()


def _control(config: Config) -> object:
    """What the control of outputs is made from."""
    twins = [(twin.name, twin.outputs, twin.rules) for twin in config.twins if twin.outputs or twin.rules]
    used = {output.source for twin in config.twins for output in twin.outputs.values()} | {config.commands.source}
    return twins, config.commands, [source for source in config.sources if source.name in used]
