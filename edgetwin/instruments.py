"""Figures the daemon keeps about itself, read at scrape time."""

from __future__ import annotations

from bisect import bisect_left

import numpy as np
from numpy.typing import NDArray

LATENCY_BOUNDS_S = (1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)


class Histogram:
    """Counts by bucket: ``bounds`` are inclusive upper limits, ``counts`` int64[len(bounds) + 1]."""

    def __init__(self, bounds: tuple[float, ...] = LATENCY_BOUNDS_S) -> None:
        self.bounds = bounds
        self.counts: NDArray[np.int64] = np.zeros(len(bounds) + 1, np.int64)
        self.sum = 0.0

    def observe(self, value: float, n: int = 1) -> None:
        """Enter ``value`` ``n`` times."""
        self.counts[bisect_left(self.bounds, value)] += n
        self.sum += value * n
