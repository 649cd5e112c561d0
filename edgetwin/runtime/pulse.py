"""The event loop's pulse: its lag, measured on the loop itself, and the watchdog ping that depends on it."""

from __future__ import annotations

import asyncio

from edgetwin.clock import NS, Clock
from edgetwin.instruments import Histogram
from edgetwin.runtime.notify import Notifier

PERIOD_S = 0.25


class Pulse:
    """Wakes every quarter second; how late it wakes is the lag. ``lag`` is in seconds."""

    def __init__(self, clock: Clock, notifier: Notifier) -> None:
        self.lag = Histogram()
        self._clock = clock
        self._notifier = notifier

    async def run(self) -> None:
        """Beat until cancelled."""
        ping_every = self._notifier.watchdog_interval_s()
        next_ping = self._clock.monotonic_ns()
        while True:
            due = self._clock.monotonic_ns() + round(PERIOD_S * NS)
            await asyncio.sleep(PERIOD_S)
            now = self._clock.monotonic_ns()
            self.lag.observe(max(now - due, 0) / NS)
            if ping_every is not None and now >= next_ping:
                self._notifier.watchdog()
                next_ping = now + round(ping_every * NS)
