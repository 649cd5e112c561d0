"""How long to wait before a connection is tried again.

Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015 ("full jitter").
"""

from __future__ import annotations

import random


class Backoff:
    """Waits drawn uniformly between 0 and a ceiling that doubles from ``first_s`` up to ``max_s``."""

    def __init__(self, first_s: float = 0.5, max_s: float = 60.0, rng: random.Random | None = None) -> None:
        if not 0 < first_s <= max_s:
            raise ValueError(f"0 < first_s <= max_s expected, got {first_s} and {max_s}")
        self._first_s = first_s
        self._max_s = max_s
        self._rng = rng or random.Random()
        self._ceiling_s = first_s

    def next_s(self) -> float:
        """Seconds to wait before the next attempt."""
        wait_s = self._rng.uniform(0.0, self._ceiling_s)
        self._ceiling_s = min(2.0 * self._ceiling_s, self._max_s)
        return wait_s

    def reset(self) -> None:
        """Start again from ``first_s``; to be called once the connection has proved good."""
        self._ceiling_s = self._first_s
