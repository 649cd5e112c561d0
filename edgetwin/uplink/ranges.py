"""Sets of integers as ranges."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator

_BEYOND = 1 << 200


class Ranges:
    """Integers as disjoint, ascending, half-open ranges with a hole between any two. Every operation takes time linear
    in the number of ranges, which stays small: what is sent is sent in runs."""

    def __init__(self) -> None:
        self._ranges: list[tuple[int, int]] = []

    def __contains__(self, n: int) -> bool:
        return self.skip(n) != n

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """(first, stop) of each range."""
        return iter(list(self._ranges))

    def copy(self) -> Ranges:
        """A set of its own."""
        new = Ranges()
        new._ranges = list(self._ranges)
        return new

    def add(self, first: int, stop: int) -> None:
        """Put ``first`` to ``stop - 1`` in."""
        if first >= stop:
            return
        low = bisect_right(self._ranges, (first, -1))
        if low and self._ranges[low - 1][1] >= first:
            low -= 1
        high = low
        while high < len(self._ranges) and self._ranges[high][0] <= stop:
            first, stop = min(first, self._ranges[high][0]), max(stop, self._ranges[high][1])
            high += 1
        self._ranges[low:high] = [(first, stop)]

    def discard(self, first: int, stop: int) -> None:
        """Take ``first`` to ``stop - 1`` out."""
        if first >= stop:
            return
        kept = []
        for low, high in self._ranges:
            kept += [(low, min(high, first)), (max(low, stop), high)]
        self._ranges = sorted({(low, high) for low, high in kept if low < high})

    def clear(self) -> None:
        """Take everything out."""
        self._ranges = []

    def skip(self, n: int) -> int:
        """The first integer from ``n`` on that is not in."""
        at = bisect_right(self._ranges, (n, _BEYOND))
        return max(self._ranges[at - 1][1], n) if at else n

    def count(self, below: int | None = None) -> int:
        """How many there are, of those less than ``below``."""
        stop = _BEYOND if below is None else below
        return sum(min(high, stop) - low for low, high in self._ranges if low < stop)

    def common(self, first: int, stop: int) -> list[tuple[int, int]]:
        """What of ``first`` to ``stop - 1`` is in."""
        return [(max(a, first), min(b, stop)) for a, b in self._ranges if a < stop and b > first]
