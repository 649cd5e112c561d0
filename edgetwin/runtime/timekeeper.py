"""Watches the machine's clock for the engine: steps, and whether it can be trusted."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from edgetwin.clock import NS, Step

if TYPE_CHECKING:
    from edgetwin.runtime.daemon import Daemon

PERIOD_S = 0.25


class Timekeeper:
    """Polls the daemon's clock and tells the engine and the outputs what it did; events tell everybody else."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._trusted = True

    @property
    def reasons(self) -> list[str]:
        """Why the time may be wrong; empty when it is trusted."""
        if self._daemon.clock.trusted:
            return []
        return ["clock: the gateway's time is not synchronised (see docs/time.md)"]

    async def run(self) -> None:
        """Look until cancelled."""
        self.attach()
        while True:
            self.look()
            await asyncio.sleep(PERIOD_S)

    def attach(self) -> None:
        """Tell the daemon's engine, which may be a new one, how far its time is to be trusted."""
        clock, engine = self._daemon.clock, self._daemon.engine
        if engine.clocks.trusted != clock.trusted:
            engine.trust_clock(clock.trusted)

    def look(self) -> None:
        """One look."""
        clock, engine = self._daemon.clock, self._daemon.engine
        step = clock.poll()
        self.attach()
        if step is not None:
            self._stepped(step)
        if clock.trusted != self._trusted:
            self._trusted = clock.trusted
            kind = "clock_trusted" if clock.trusted else "clock_untrusted"
            engine.tell(kind, clock.wall_ns())

    def _stepped(self, step: Step) -> None:
        clock, engine = self._daemon.clock, self._daemon.engine
        engine.clock_stepped(step.ns, shift=step.was_wrong)
        if self._daemon.acting is not None and step.was_wrong:
            self._daemon.acting.controller.clock_stepped(step.ns)
        engine.tell("clock_stepped", clock.wall_ns(), seconds=step.ns / NS, states_moved=step.was_wrong)
