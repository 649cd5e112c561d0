"""The daemon: everything wired in data order, and stopped in data order.

::

    sources ─▶ engine ─▶ reporter ─▶ outbox ─▶ uplink
                  └▶ http

Stopping: sources first, so that nothing new comes; a last report of what has; the outbox is drained for three quarters
of the deadline; then the snapshot, which holds what the cloud has not acknowledged.
"""

from __future__ import annotations

import asyncio
import signal
from contextlib import AsyncExitStack, nullcontext
from pathlib import Path

import structlog

from edgetwin import __version__
from edgetwin.clock import NS, GatewayClock, Machine, SystemClock
from edgetwin.codec.encoder import Encoder
from edgetwin.config.check import runnable
from edgetwin.config.load import load
from edgetwin.config.schema import Config
from edgetwin.engine import Engine
from edgetwin.errors import ConfigError, EdgetwinError, JournalError
from edgetwin.http.server import serve
from edgetwin.instruments import Histogram
from edgetwin.runtime import logs
from edgetwin.runtime.acting import Acting
from edgetwin.runtime.lock import state_lock
from edgetwin.runtime.notify import Notifier
from edgetwin.runtime.persistence import Persistence
from edgetwin.runtime.pulse import Pulse
from edgetwin.runtime.reporter import Reporter
from edgetwin.runtime.sourcing import Source, make_source
from edgetwin.runtime.supervisor import Supervisor
from edgetwin.runtime.timekeeper import Timekeeper
from edgetwin.runtime.warmup import compile_elsewhere, warmup
from edgetwin.sources.modbus import Links
from edgetwin.uplink.encoding import make_encoder
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
        self.outbox = Outbox(config.gateway, config.limits.outbox_bytes, encoder=self._encoder())
        self.uplink: Uplink | None = None
        self.persistence: Persistence | None = None
        self.acting: Acting | None = None
        self._stopping = asyncio.Event()
        self._reload_wanted = asyncio.Event()

    @property
    def loop_lag(self) -> Histogram:
        """How late the event loop wakes, in seconds."""
        return self.pulse.lag

    @property
    def reasons(self) -> list[str]:
        """Why the daemon is not ready, or what is degraded while it is."""
        reasons = [] if self.ready else ["starting or stopping"]
        reasons += self.timekeeper.reasons
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
        state_dir = self.base / self.config.state_dir if self.config.state_dir else None
        with state_lock(state_dir) if state_dir else nullcontext():
            if state_dir:
                self.persistence = Persistence(state_dir, self.config.gateway)
                self.persistence.restore(self.engine, self.outbox, self.clock)
                # From here on frames get numbers: a crash before the next snapshot must not find the clean one.
                await self._save()
            await compile_elsewhere(self.path, self.engine)
            await asyncio.to_thread(warmup, self.engine)
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
        if self.persistence is not None:
            supervisor.start("snapshots", self._snapshots)
        if any(twin.outputs for twin in self.config.twins):
            self.acting = Acting(self, self.base / self.config.state_dir if self.config.state_dir else None)
            self.acting.start(supervisor)
        for source in self.config.sources:
            self._start_source(supervisor, make_source(source, self.engine, self.clock, self.base, self.links))

    def _start_source(self, supervisor: Supervisor, source: Source) -> None:
        self.sources.append(source)
        supervisor.start(f"source:{source.name}", source.run)

    def _start_uplink(self, supervisor: Supervisor) -> None:
        if self.config.uplink is not None:
            state_dir = self.base / self.config.state_dir if self.config.state_dir else None
            self.uplink = make_uplink(self.config, self.outbox, self.base, state_dir, self.clock)
            supervisor.start("uplink", self.uplink.run)

    def _encoder(self) -> Encoder:
        """Makes the frames; asks the engine of the day, as a reload replaces it."""
        bytes_max = self.config.limits.outbox_bytes
        return make_encoder(self.config, lambda columns: self.engine.foresee(columns), bytes_max)

    async def _snapshots(self) -> None:
        while True:
            await asyncio.sleep(self.config.snapshot_every)
            await self._save()

    async def _save(self) -> None:
        if self.persistence is None:
            return
        try:
            await self.persistence.save(self.engine, self.outbox, self.clock.wall_ns(), clean=False)
        except JournalError as exc:
            log.error("snapshot_failed", error=exc.message, hint=exc.hint)

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
        for source in self.sources:
            await supervisor.stop(f"source:{source.name}")
        await supervisor.stop("snapshots")
        await supervisor.stop("reporter")
        self.reporter.flush()
        if self.uplink is not None:
            left = STOP_DEADLINE_S * 0.75 - (self.clock.monotonic_ns() - started) / NS
            await self.uplink.drain(max(left, 0.0))
            await supervisor.stop("uplink")
        if self.persistence is not None:
            try:
                await self.persistence.save(self.engine, self.outbox, self.clock.wall_ns(), clean=True)
            except JournalError as exc:
                log.error("snapshot_failed", error=exc.message, hint=exc.hint)
        log.info("stopped", unsent_frames=len(self.outbox))


def _control(config: Config) -> object:
    """What the control of outputs is made from."""
    twins = [(twin.name, twin.outputs, twin.rules) for twin in config.twins if twin.outputs or twin.rules]
    used = {output.source for twin in config.twins for output in twin.outputs.values()} | {config.commands.source}
    return twins, config.commands, [source for source in config.sources if source.name in used]
