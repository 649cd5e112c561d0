"""Keeping repeated log lines rare without losing count of them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

from edgetwin.clock import NS, Clock, SystemClock


class RateLimiter:
    """At most one line per key in ``every_s`` seconds; what was kept back is counted.

    At most ``keys_max`` keys are remembered. While all of them are in use, further keys share one allowance,
    so a flood of different keys (topics, peers) gives no more than ``keys_max + 1`` lines in ``every_s``.
    """

    def __init__(self, every_s: float = 10.0, keys_max: int = 64, clock: Clock | None = None) -> None:
        self._every_ns = round(every_s * NS)
        self._keys_max = keys_max
        self._clock = clock or SystemClock()
        self._windows: OrderedDict[Hashable, _Window] = OrderedDict()  # oldest opening first
        self._shared = _Window()

    def allow(self, key: Hashable) -> int | None:
        """None: keep the line back. Else how many were kept back since the last one for this key."""
        now = self._clock.monotonic_ns()
        window = self._windows.get(key)
        if window is None:
            window = self._new_window(key, now)
        suppressed = window.take(now, self._every_ns)
        if suppressed is not None and key in self._windows:
            self._windows.move_to_end(key)
        return suppressed

    def _new_window(self, key: Hashable, now: int) -> _Window:
        if len(self._windows) >= self._keys_max:
            oldest = next(iter(self._windows))
            if not self._windows[oldest].expired(now, self._every_ns):
                return self._shared
            del self._windows[oldest]
        window = self._windows[key] = _Window()
        return window


class _Window:
    """When a key's last line went out and what was kept back since."""

    __slots__ = ("opened_ns", "suppressed")

    def __init__(self) -> None:
        self.opened_ns: int | None = None
        self.suppressed = 0

    def expired(self, now: int, every_ns: int) -> bool:
        return self.opened_ns is None or now - self.opened_ns >= every_ns

    def take(self, now: int, every_ns: int) -> int | None:
        if not self.expired(now, every_ns):
            self.suppressed += 1
            return None
        suppressed, self.suppressed, self.opened_ns = self.suppressed, 0, now
        return suppressed
