"""The bandwidth that the uplink may use: a token bucket on the monotonic clock.

Source: J. Turner, "New directions in communications", IEEE Communications Magazine 24(10), 1986 (the leaky bucket as a
meter); RFC 2697 for the wording.
"""

from __future__ import annotations

from edgetwin.clock import NS, Clock

BURST_S = 1.0
"""The bucket holds what may be sent in this time."""


class Budget:
    """Bytes a second, on average; unlimited when ``bytes_per_s`` is None. Live frames go as soon as the bucket is not
    empty and may leave a debt of one frame; the backlog waits until the whole frame is there."""

    def __init__(self, bytes_per_s: float | None, clock: Clock) -> None:
        self.bytes_per_s = bytes_per_s
        self._clock = clock
        self._capacity = BURST_S * (bytes_per_s or 0.0)
        self._tokens = self._capacity
        self._filled_ns = clock.monotonic_ns()

    def wait_s(self, size: int) -> float:
        """Seconds until a frame of ``size`` bytes may go; 0: now. Size 1 asks for a live frame."""
        if self.bytes_per_s is None:
            return 0.0
        self._fill()
        missing = min(size, self._capacity) - self._tokens
        return max(missing / self.bytes_per_s, 0.0)

    def spend(self, size: int) -> None:
        """A frame has gone."""
        if self.bytes_per_s is not None:
            self._fill()
            self._tokens -= size

    def _fill(self) -> None:
        now = self._clock.monotonic_ns()
        if self.bytes_per_s is not None:
            grown = self._tokens + self.bytes_per_s * (now - self._filled_ns) / NS
            self._tokens = min(grown, self._capacity)
        self._filled_ns = now
