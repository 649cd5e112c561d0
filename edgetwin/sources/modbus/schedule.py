"""When to poll: a grid on the monotonic clock, so that delays never add up."""

from __future__ import annotations

import zlib

from edgetwin.clock import NS

SPREAD_MAX_NS = NS
PERIOD_MIN_NS = 1_000_000


class Schedule:
    """Polls are due at ``start + k * period``; ``due_ns`` is the next one (monotonic nanoseconds).

    A poll that is late by less than a period follows at once; whole periods that went by are left out.
    """

    def __init__(self, start_ns: int, period_ns: int) -> None:
        self._period_ns = max(period_ns, PERIOD_MIN_NS)
        self.due_ns = start_ns

    def advance(self, now_ns: int) -> int:
        """The due poll is done at ``now_ns``; returns how many whole periods it overran."""
        self.due_ns += self._period_ns
        missed = max(0, (now_ns - self.due_ns) // self._period_ns)
        self.due_ns += missed * self._period_ns
        return missed

    def restart(self, now_ns: int) -> None:
        """After a failed poll: the next one is at once, and the grid goes on where it would have been.

        Points of the grid that passed meanwhile are no overruns.
        """
        self.due_ns += max(0, (now_ns - self.due_ns) // self._period_ns) * self._period_ns


def phase_ns(name: str, period_ns: int) -> int:
    """Where in its first period (or first second) a source starts, so that many do not poll in step.

    From a hash of the name: the same after every restart.
    """
    return zlib.crc32(name.encode()) * min(period_ns, SPREAD_MAX_NS) >> 32
