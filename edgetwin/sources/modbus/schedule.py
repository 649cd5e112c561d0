"""When to poll: a grid on the monotonic clock, so that delays never add up."""

from __future__ import annotations

import zlib

from edgetwin.clock import NS

SPREAD_MAX_NS = NS
PERIOD_MIN_NS = 1_000_000


class Schedule:
    """Polls are due at ``start + k * period``; ``due_ns`` is the next one (monotonic nanoseconds).

    A poll that is late by less than a period follows at once; whole periods that went by are left out. ``first_ns``
    puts a first poll before the grid.
    """

    __slots__ = ("_grid_ns", "_period_ns", "due_ns")

    def __init__(self, start_ns: int, period_ns: int, first_ns: int | None = None) -> None:
        self._period_ns = max(period_ns, PERIOD_MIN_NS)
        self._grid_ns = start_ns
        self.due_ns = start_ns if first_ns is None else first_ns

    def advance(self, now_ns: int) -> int:
        """The due poll is done at ``now_ns``; returns how many whole periods it overran."""
        if self.due_ns < self._grid_ns:  # was an extra one
            self.due_ns = self._grid_ns
            return 0
        self._grid_ns += self._period_ns
        missed = max(0, (now_ns - self._grid_ns) // self._period_ns)
        self._grid_ns += missed * self._period_ns
        self.due_ns = self._grid_ns
        return missed

    def skip(self, now_ns: int, resume_ns: int) -> None:
        """The due poll has failed or is left out: the next is at ``resume_ns`` (or at once), then on the grid again.

        Points of the grid that pass meanwhile are no overruns.
        """
        self.due_ns = max(now_ns, resume_ns)
        if self._grid_ns <= self.due_ns:
            self._grid_ns += ((self.due_ns - self._grid_ns) // self._period_ns + 1) * self._period_ns

    def copy(self) -> Schedule:
        """The same grid and the same next poll, for something else."""
        return Schedule(self._grid_ns, self._period_ns, self.due_ns)


def phase(*names: object) -> float:
    """Where in its period, 0 to 1, something of this name starts, so that many do not poll in step.

    From a hash: the same after every restart.
    """
    return zlib.crc32(repr(names).encode()) / 2**32


def spread(start_ns: int, period_ns: int, part: float) -> Schedule:
    """A schedule at ``part`` (0 to 1) of its period, whose first poll is within a second all the same."""
    first_ns = start_ns + round(part * min(period_ns, SPREAD_MAX_NS))
    return Schedule(start_ns + round(part * period_ns), period_ns, first_ns)
