"""Sets of integers as ranges."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator

Range = tuple[int, int]
"""(first, stop): ``first`` to ``stop - 1``."""


class Ranges:
    """Integers as disjoint, ascending, half-open ranges with a hole between any two. Every operation takes at most time
    linear in the number of ranges, which stays small: what is numbered comes in runs."""

    def __init__(self, ranges: Iterable[Range] = ()) -> None:
        self._ranges: list[Range] = []
        for first, stop in ranges:
            self.add(first, stop)

    def __len__(self) -> int:
        """How many ranges there are."""
        return len(self._ranges)

    def __contains__(self, n: int) -> bool:
        return self.skip(n) != n

    def __iter__(self) -> Iterator[Range]:
        """The ranges, lowest first."""
        return iter(tuple(self._ranges))

    @property
    def stop(self) -> int:
        """What follows the greatest member; 0 when there is none."""
        return self._ranges[-1][1] if self._ranges else 0

    def copy(self) -> Ranges:
        """A set of its own."""
        new = Ranges()
        new._ranges = list(self._ranges)
        return new

    def add(self, first: int, stop: int) -> None:
        """Put ``first`` to ``stop - 1`` in."""
        if first >= stop:
            return
        at = self._touched(first, stop)
        if touched := self._ranges[at]:
            first, stop = min(first, touched[0][0]), max(stop, touched[-1][1])
        self._ranges[at] = [(first, stop)]

    def discard(self, first: int, stop: int) -> None:
        """Take ``first`` to ``stop - 1`` out."""
        if first >= stop:
            return
        at = self._touched(first, stop)
        parts = [part for low, high in self._ranges[at] for part in ((low, min(high, first)), (max(low, stop), high))]
        self._ranges[at] = [(low, high) for low, high in parts if low < high]

    def clear(self) -> None:
        """Take everything out."""
        self._ranges = []

    def first(self, n: int) -> int | None:
        """The first integer from ``n`` on that is in; None when there is none."""
        at = bisect_right(self._ranges, n, key=_stop)
        return max(self._ranges[at][0], n) if at < len(self._ranges) else None

    def skip(self, n: int) -> int:
        """The first integer from ``n`` on that is not in."""
        at = bisect_right(self._ranges, n, key=_first)
        return max(self._ranges[at - 1][1], n) if at else n

    def count(self, below: int | None = None) -> int:
        """How many there are, of those less than ``below``."""
        stop = self.stop if below is None else below
        return sum(min(high, stop) - low for low, high in self._ranges if low < stop)

    def common(self, first: int, stop: int) -> list[Range]:
        """What of ``first`` to ``stop - 1`` is in."""
        parts = [(max(low, first), min(high, stop)) for low, high in self._ranges[self._touched(first, stop)]]
        return [(low, high) for low, high in parts if low < high]

    def missing(self, first: int, stop: int) -> list[Range]:
        """What of ``first`` to ``stop - 1`` is not in."""
        holes = []
        for low, high in self.common(first, stop):
            if first < low:
                holes.append((first, low))
            first = high
        if first < stop:
            holes.append((first, stop))
        return holes

    def _touched(self, first: int, stop: int) -> slice:
        """Where the ranges stand that overlap or adjoin ``first`` to ``stop - 1``, or where such a one would stand."""
        low = bisect_left(self._ranges, first, key=_stop)
        return slice(low, bisect_right(self._ranges, stop, lo=low, key=_first))


def _first(part: Range) -> int:
    return part[0]


def _stop(part: Range) -> int:
    return part[1]
