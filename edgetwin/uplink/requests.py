"""What the cloud asks for again, and when it can be believed that it was lost.

Free of I/O. A request may have been written before a frame came that is on its way; so a frame goes again only when
it was sent a while ago and the latest answer still asks for it.
"""

from __future__ import annotations

from edgetwin.clock import NS, Clock
from edgetwin.ranges import Ranges


class Requests:
    """Ranges of positions asked for. A frame is sent again between ``quiet_s`` and twice as long after it was sent."""

    def __init__(self, clock: Clock, quiet_s: float) -> None:
        self._clock = clock
        self._quiet_s = quiet_s
        self._wanted: list[tuple[int, int]] = []
        self._settled = self._before = Ranges()
        self._looked_ns = clock.monotonic_ns()

    def ask(self, ranges: list[tuple[int, int]]) -> None:
        """The cloud asks for these positions (first, stop), and for no others."""
        self._wanted = ranges

    def delay_s(self) -> float | None:
        """Seconds until :meth:`due` may give something; None when nothing is asked for."""
        if not self._wanted:
            return None
        return self._looked_ns / NS + self._quiet_s - self._clock.monotonic_ns() / NS

    def due(self, sent: Ranges, front: int) -> list[tuple[int, int]]:
        """The parts of ``sent`` from ``front`` on that are to go again."""
        now = self._clock.monotonic_ns()
        if now - self._looked_ns < self._quiet_s * NS:
            return []
        self._looked_ns = now
        self._settled, self._before = self._before, sent.copy()
        found, kept = [], []
        for first, stop in self._wanted:
            settled = self._settled.common(max(first, front), stop)
            found += [part for low, high in settled for part in sent.common(low, high)]
            if not settled and stop > front:
                kept.append((first, stop))
        self._wanted = kept
        return found
