"""The only module that reads clocks.

Wall time is integer nanoseconds since 1970-01-01 UTC and is for people and frames; monotonic time is for
time-outs and latencies. Everything else takes ``now_ns`` as an argument.

The daemon's wall time comes from :class:`GatewayClock`, which follows the machine's clock and steps only when it is
asked to look.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import sys
import time
from dataclasses import dataclass
from typing import Protocol

NS = 1_000_000_000
NOT_BEFORE_NS = 1_767_225_600 * NS
"""2026-01-01. A machine that believes in an earlier time has not been set."""
STEP_LEAST_NS = NS // 2
SLEW_MAX = 0.1


class Clock(Protocol):
    """What the runtime needs to know about time."""

    def wall_ns(self) -> int:
        """Nanoseconds since the Unix epoch."""

    def monotonic_ns(self) -> int:
        """Nanoseconds from an arbitrary start; never steps."""


class Machine(Clock, Protocol):
    """A machine's own clocks, which people and NTP set."""

    def elapsed_ns(self) -> int:
        """As monotonic time, but it goes on while the machine is suspended."""

    def synchronized(self) -> bool | None:
        """Whether the kernel holds the wall clock to be synchronised; None when it cannot be asked."""


class _Timex(ctypes.Structure):
    """The head of struct timex (adjtimex(2)); the rest is room, more than any Linux uses."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("room", ctypes.c_char * 512),
    )


_STA_UNSYNC = 0x0040


class SystemClock:
    """The machine's clocks."""

    def __init__(self) -> None:
        self._boottime = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
        self._adjtimex = None
        if sys.platform == "linux":
            self._adjtimex = getattr(ctypes.CDLL(None), "adjtimex", None)

    def wall_ns(self) -> int:
        return time.time_ns()

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()

    def elapsed_ns(self) -> int:
        return time.clock_gettime_ns(self._boottime)

    def synchronized(self) -> bool | None:
        if self._adjtimex is None:
            return None
        timex = _Timex()  # modes 0: read only
        if self._adjtimex(ctypes.byref(timex)) < 0:
            return None
        return not timex.status & _STA_UNSYNC


class ManualClock:
    """A clock that moves when told to; for replay and tests."""

    def __init__(self, wall_ns: int = 0, synchronized: bool | None = None) -> None:
        self._wall_ns = wall_ns
        self._monotonic_ns = 0
        self._synchronized = synchronized

    def wall_ns(self) -> int:
        return self._wall_ns

    def monotonic_ns(self) -> int:
        return self._monotonic_ns

    def elapsed_ns(self) -> int:
        return self._monotonic_ns

    def synchronized(self) -> bool | None:
        return self._synchronized

    def advance(self, ns: int) -> None:
        """Move both clocks forward by ``ns``."""
        self._wall_ns += ns
        self._monotonic_ns += ns

    def set(self, wall_ns: int, synchronized: bool | None = None) -> None:
        """Set the wall clock, as NTP or a person does."""
        self._wall_ns = wall_ns
        self._synchronized = synchronized


@dataclass(frozen=True, slots=True)
class Step:
    """The gateway's clock jumped by ``ns``. ``was_wrong``: it had not been trusted before, or it went backwards: so
    what it dated was wrong. Else the time between may have passed, unseen by a machine that stood still."""

    ns: int
    was_wrong: bool


class GatewayClock:
    """The daemon's time: it runs with the machine's monotonic clock and follows the wall clock in :meth:`poll` alone.

    Small corrections are slewed in, at most SLEW_MAX of the time since the last poll, so that readings never go back.
    A wall clock that stands before ``not_before`` and that the kernel does not call synchronised has not been set: time
    then goes on from ``not_before``.
    """

    def __init__(self, machine: Machine, not_before_ns: int = NOT_BEFORE_NS) -> None:
        self._machine = machine
        self._not_before_ns = not_before_ns
        self._polled_ns = machine.elapsed_ns()
        self._base_ns = not_before_ns - self._polled_ns
        self._least_ns = 0
        self.synchronized: bool | None = None
        self.trusted = True
        self.poll()

    def wall_ns(self) -> int:
        return max(self._machine.elapsed_ns() + self._base_ns, self._least_ns)

    def monotonic_ns(self) -> int:
        return self._machine.monotonic_ns()

    def not_before(self, wall_ns: int) -> None:
        """It has been ``wall_ns`` already, as a file of an earlier run says."""
        self._not_before_ns = max(self._not_before_ns, wall_ns)
        self.poll()

    def poll(self) -> Step | None:
        """Look at the machine's clock; the step that this clock has just made, if it made one."""
        was_trusted = self.trusted
        elapsed, wall = self._machine.elapsed_ns(), self._machine.wall_ns()
        self.synchronized = self._machine.synchronized()
        unset = self.synchronized is not True and wall < self._not_before_ns
        self.trusted = self.synchronized is not False and not unset
        before = elapsed + self._base_ns
        error = (max(before, self._not_before_ns) if unset else wall) - before
        since, self._polled_ns = elapsed - self._polled_ns, elapsed
        if abs(error) >= STEP_LEAST_NS:
            self._least_ns = 0
            self._base_ns += error
            return Step(error, error < 0 or not was_trusted)
        self._least_ns = max(before, self._least_ns)
        slew = round(SLEW_MAX * since)
        self._base_ns += min(max(error, -slew), slew)
        return None
