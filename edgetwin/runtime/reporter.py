"""Reports on the clock, gathered into frames."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from edgetwin.clock import NS
from edgetwin.ratelimit import RateLimiter
from edgetwin.records import Event

if TYPE_CHECKING:
    from edgetwin.runtime.daemon import Daemon

log = structlog.get_logger()

_ORDINARY = {f"output_{kind}" for kind in ("decision", "intent", "result", "armed", "disarmed")} | {"clock_trusted"}

TICK_LEAST_S = 0.02


class Reporter:
    """Lets the engine gather what is due at each multiple of the shortest interval, and puts it into the outbox when a
    frame is due. Reads the daemon's engine and configuration anew: a reload replaces them."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._limiter = RateLimiter(every_s=10.0, keys_max=64, clock=daemon.clock)

    async def run(self) -> None:
        """Report until cancelled."""
        clock = self._daemon.clock
        while True:
            tick_ns = round(max(self._shortest_s(), TICK_LEAST_S) * NS)
            now = clock.wall_ns()
            await asyncio.sleep((tick_ns - now % tick_ns) / NS)
            self.tick(clock.wall_ns())

    def flush(self) -> None:
        """A last report, and a frame of everything gathered."""
        self.tick(self._daemon.clock.wall_ns(), last=True)
        self._send()

    def _shortest_s(self) -> float:
        return min(twin.report.every for twin in self._daemon.config.twins)

    def tick(self, now_ns: int, *, last: bool = False) -> None:
        """Gather what is due; ``last``, at a stop: all there is."""
        engine, uplink = self._daemon.engine, self._daemon.config.uplink
        self._log(engine.gather(now_ns, last=last))
        if uplink is not None and engine.gathering.due(now_ns, round(uplink.every * NS)):
            self._send()

    def _log(self, events: list[Event]) -> None:
        """What a person at the gateway should know too; corrections are many and of no use there."""
        for event in events:
            if event.kind != "correction" and (suppressed := self._limiter.allow(event.kind)) is not None:
                tell = log.info if event.kind in _ORDINARY else log.warning
                tell("event", kind=event.kind, data=dict(event.data), similar_suppressed=suppressed)

    def _send(self) -> None:
        engine = self._daemon.engine
        gathering = engine.gathering
        self._daemon.outbox.put(gathering.reports, gathering.events, gathering.signals)  # or gaps alone
        if gathering:
            engine.gathered()
