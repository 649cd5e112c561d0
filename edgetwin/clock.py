"""The only module that reads clocks.

Wall time is integer nanoseconds since 1970-01-01 UTC and is for people and frames; monotonic time is for
time-outs and latencies. Everything else takes ``now_ns`` as an argument.
"""

from __future__ import annotations

import time
from typing import Protocol

NS = 1_000_000_000


class Clock(Protocol):
    """What the runtime needs to know about time."""

    def wall_ns(self) -> int:
        """Nanoseconds since the Unix epoch."""

    def monotonic_ns(self) -> int:
        """Nanoseconds from an arbitrary start; never steps."""


class SystemClock:
    """The machine's clocks."""

    def wall_ns(self) -> int:
        return time.time_ns()

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()


class ManualClock:
    """A clock that moves when told to; for replay and tests."""

    def __init__(self, wall_ns: int = 0) -> None:
        self._wall_ns = wall_ns
        self._monotonic_ns = 0

    def wall_ns(self) -> int:
        return self._wall_ns

    def monotonic_ns(self) -> int:
        return self._monotonic_ns

    def advance(self, ns: int) -> None:
        """Move both clocks forward by ``ns``."""
        self._wall_ns += ns
        self._monotonic_ns += ns
